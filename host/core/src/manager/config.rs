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
    /// How often a failed attempt is repeated, unless the job asks for fewer.
    pub max_retries: u32,
    /// The most that a job may ask for; a larger wish is lowered to it. An absent field stands for the value
    /// that a job gets by default, from `manager` and `max_retries`.
    pub job_config_max: JobExecutionConfig,
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
            job_config_max: JobExecutionConfig::default(),
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

/// What a run gives its jobs: the manager's configuration with defaults, in types to calculate with,
/// and the most that a job may ask for itself.
pub(super) struct Defaults {
    job_timeout: Duration,
    retry: RetryPolicy,
    job_timeout_max: Duration,
    retry_max: RetryPolicy,
}

impl Defaults {
    pub(super) fn new(manager: &JobExecutorManagerConfig, config: &ExecutorConfig) -> Self {
        let given = |value: Option<u64>| ms(value.expect("a resolved configuration has every field"));
        let retry = RetryPolicy {
            retries_max: config.max_retries,
            base_delay: given(manager.retry_base_delay),
            max_delay: given(manager.retry_max_delay),
        };
        let (job_timeout, max) = (given(manager.job_timeout), config.job_config_max);
        Self {
            job_timeout,
            retry,
            job_timeout_max: max.job_timeout.map_or(job_timeout, ms),
            retry_max: retry.with(&max),
        }
    }

    /// The timeout of one attempt at a job with this configuration.
    pub(super) fn timeout(&self, asked: &JobExecutionConfig) -> Duration {
        asked.job_timeout.map_or(self.job_timeout, |timeout| ms(timeout).min(self.job_timeout_max))
    }

    /// How long an attempt may take if its job asks for nothing.
    pub(super) fn own_timeout(&self) -> Duration {
        self.job_timeout
    }

    /// The retry policy of a job with this configuration.
    pub(super) fn retry(&self, asked: &JobExecutionConfig) -> RetryPolicy {
        let (own, max) = (self.retry, self.retry_max);
        RetryPolicy {
            retries_max: asked.max_retries.map_or(own.retries_max, |retries| retries.min(max.retries_max)),
            base_delay: asked.retry_base_delay.map_or(own.base_delay, |delay| ms(delay).min(max.base_delay)),
            max_delay: asked.retry_max_delay.map_or(own.max_delay, |delay| ms(delay).min(max.max_delay)),
        }
    }
}

impl RetryPolicy {
    /// The same but for what `config` says.
    fn with(self, config: &JobExecutionConfig) -> Self {
        Self {
            retries_max: config.max_retries.unwrap_or(self.retries_max),
            base_delay: config.retry_base_delay.map_or(self.base_delay, ms),
            max_delay: config.retry_max_delay.map_or(self.max_delay, ms),
        }
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
