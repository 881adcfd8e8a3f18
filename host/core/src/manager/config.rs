//! What a manager goes by.

use std::time::Duration;

use crate::audit::{AuditPolicy, OnDivergence};
use crate::grants::DispatchGrants;
use crate::job::{JobExecutionConfig, JobExecutorManagerConfig};
use crate::limits::Limits;
use crate::records::Retention;
use crate::residents::ResidentBudget;
use crate::retry::RetryPolicy;
use crate::time::Clock;

/// What a manager goes by for all its life.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// Concurrency, timeout and backoff, where `start` does not say.
    pub manager: JobExecutorManagerConfig,
    /// How often a failed attempt is repeated, unless the job says otherwise.
    pub max_retries: u32,
    /// Bounds of jobs and guests.
    pub limits: Limits,
    /// Which models may dispatch beyond their own documents.
    pub grants: DispatchGrants,
    /// How many live documents may lie idle.
    pub residents: ResidentBudget,
    /// How long results are kept for [`watch`](crate::JobExecutorManager::watch).
    pub retention: Retention,
    /// Which jobs are executed a second time, to see whether their reducers are pure.
    pub audit: AuditPolicy,
    /// What becomes of a plugin that is not.
    pub on_divergence: OnDivergence,
    /// What tells the time.
    pub clock: Clock,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self {
            manager: JobExecutorManagerConfig::default(),
            max_retries: 3,
            limits: Limits::default(),
            grants: DispatchGrants::none(),
            residents: ResidentBudget::default(),
            retention: Retention::default(),
            audit: AuditPolicy::default(),
            on_divergence: OnDivergence::default(),
            clock: Clock::system(),
        }
    }
}

/// [`JobExecutorManagerConfig`] with defaults, in types to calculate with.
pub(super) struct Defaults {
    job_timeout: Duration,
    retry: RetryPolicy,
}

impl Defaults {
    pub(super) fn new(manager: &JobExecutorManagerConfig, retries_max: u32) -> Self {
        let ms = |value: Option<u64>| Duration::from_millis(value.expect("a resolved configuration has every field"));
        Self {
            job_timeout: ms(manager.job_timeout),
            retry: RetryPolicy {
                retries_max,
                base_delay: ms(manager.retry_base_delay),
                max_delay: ms(manager.retry_max_delay),
            },
        }
    }

    pub(super) fn timeout(&self, config: &JobExecutionConfig) -> Duration {
        config.job_timeout.map_or(self.job_timeout, Duration::from_millis)
    }

    pub(super) fn retry(&self, config: &JobExecutionConfig) -> RetryPolicy {
        RetryPolicy {
            retries_max: config.max_retries.unwrap_or(self.retry.retries_max),
            base_delay: config.retry_base_delay.map_or(self.retry.base_delay, Duration::from_millis),
            max_delay: config.retry_max_delay.map_or(self.retry.max_delay, Duration::from_millis),
        }
    }
}
