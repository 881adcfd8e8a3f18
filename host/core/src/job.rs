//! Jobs, what is asked of them, and what comes of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::action::{Action, Operation};
use crate::divergence::Divergence;
use crate::failure::{Frame, JobErrorCode, PanicNote, Reason};
use crate::ids::{Branch, DocumentId, DocumentType, IdempotencyKey, JobId, LaneKey, OperationId, Scope, StateHash};
use crate::plugin::PluginRef;
use crate::time::{Span, Timestamp};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobStatus {
    /// Queued, not yet started.
    Pending,
    /// Being executed.
    Running,
    /// Applied and committed.
    Completed,
    /// An attempt failed; another may follow.
    Failed,
}

/// A list of actions on one branch of one document, applied together or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Unique; made by the queue.
    pub id: JobId,
    /// The document it acts on.
    pub document_id: DocumentId,
    /// The scopes that its actions change.
    pub scopes: Arc<[Scope]>,
    /// The branch it acts on.
    pub branch: Branch,
    /// What to apply, in order.
    pub actions: Arc<[Arc<Action>]>,
    /// What the state must hash to afterwards, for the job to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resulting_hash: Option<StateHash>,
    /// Where it stood when this copy of it was made.
    pub status: JobStatus,
}

impl Job {
    /// Bytes of the inputs of its actions, which are nearly all that it takes in memory.
    pub(crate) fn input_bytes(&self) -> usize {
        self.actions.iter().map(|action| action.input.as_str().len()).sum()
    }

    /// Whether `other`, which has the same id, asks for the same actions on the same document.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let same = |(one, two): (&Arc<Action>, &Arc<Action>)| {
            (&one.id, &one.action_type, &one.scope) == (&two.id, &two.action_type, &two.scope)
                && one.input.same_value(&two.input)
        };
        (&self.document_id, &self.branch, &self.resulting_hash)
            == (&other.document_id, &other.branch, &other.resulting_hash)
            && self.actions.len() == other.actions.len()
            && self.actions.iter().zip(other.actions.iter()).all(same)
    }

    /// The lane that the job belongs to.
    pub fn lane(&self) -> LaneKey {
        LaneKey { document: self.document_id.clone(), branch: self.branch.clone() }
    }

    /// The same job, standing elsewhere.
    pub fn with_status(&self, status: JobStatus) -> Self {
        Self { status, ..self.clone() }
    }
}

/// What a job asks for itself; what it leaves out, the manager decides.
///
/// The host gives no more than its [`ExecutorConfig::job_config_max`](crate::ExecutorConfig): a
/// larger wish counts as that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobExecutionConfig {
    /// How often a failed attempt is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Milliseconds that one attempt may take, from its first entry into the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_timeout: Option<u64>,
    /// Milliseconds that the backoff starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_base_delay: Option<u64>,
    /// Milliseconds that the backoff never exceeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_max_delay: Option<u64>,
}

/// What the executor manager goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobExecutorManagerConfig {
    /// How many jobs run at once; the number of cores by default, and never more than
    /// [`CONCURRENCY_MAX`](Self::CONCURRENCY_MAX).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<usize>,
    /// Milliseconds that one attempt may take; 30,000 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_timeout: Option<u64>,
    /// Milliseconds that the backoff starts from; 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_base_delay: Option<u64>,
    /// Milliseconds that the backoff never exceeds; 5,000 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_max_delay: Option<u64>,
}

impl JobExecutorManagerConfig {
    /// The most jobs that run at once: each takes a thread with a stack of megabytes, and more
    /// threads than that are of no use on any machine.
    pub const CONCURRENCY_MAX: usize = 1_024;

    /// The same configuration; what it leaves out is as in `other`.
    pub fn or(self, other: Self) -> Self {
        Self {
            max_concurrency: self.max_concurrency.or(other.max_concurrency),
            job_timeout: self.job_timeout.or(other.job_timeout),
            retry_base_delay: self.retry_base_delay.or(other.retry_base_delay),
            retry_max_delay: self.retry_max_delay.or(other.retry_max_delay),
        }
    }

    /// The same configuration with every default filled in, and within its bounds.
    pub fn resolved(self) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            max_concurrency: Some(self.max_concurrency.unwrap_or_else(cores).clamp(1, Self::CONCURRENCY_MAX)),
            job_timeout: Some(self.job_timeout.unwrap_or(30_000)),
            retry_base_delay: Some(self.retry_base_delay.unwrap_or(100)),
            retry_max_delay: Some(self.retry_max_delay.unwrap_or(5_000)),
        }
    }
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobResult {
    /// The job.
    pub job: Job,
    /// Whether all its actions were applied and committed.
    pub success: bool,
    /// When it ended.
    pub completed_at: Timestamp,
    /// How long it took from its first start to its end.
    pub duration: Span,
    /// The operations it made; empty if it failed.
    pub operations: Vec<Operation>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JobMetadata>,
    /// Why it failed, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<JobErrorCode>,
    /// Why it failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// What a result says beyond the interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobMetadata {
    /// How often it was started.
    pub attempts: u32,
    /// How long it waited from acceptance to its first start.
    pub queued_ms: Span,
    /// The plugin revision that its last attempt ran on; absent if it never reached one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Arc<PluginRef>>,
    /// Units of fuel that its last attempt burned; 0 in native reducers. Absent where the guest was
    /// stopped from outside while it ran, by its timeout: what it had burned is not known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel_consumed: Option<u64>,
    /// The model, where the submission named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_type: Option<DocumentType>,
    /// What the submission asked for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<JobExecutionConfig>,
    /// Jobs that had to complete before it started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<JobId>,
    /// What its client calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,
    /// What dispatched it, where a reducer did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<Causation>,
    /// Why it failed, more exactly than its code says: always for a `LIBRARY_ERROR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The job that it depends on and that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_dependency: Option<JobId>,
    /// Whether the same attempt would fail again in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deterministic: Option<bool>,
    /// The code of a rejection, in the reducer's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection_code: Option<String>,
    /// The action that failed: its position in the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_index: Option<usize>,
    /// The kind of trap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trap: Option<String>,
    /// The guest's last words, if its language has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panic: Option<PanicNote>,
    /// Where a trap happened, innermost call first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backtrace: Option<Vec<Frame>>,
    /// How a fresh instance differed, where that is what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<Box<Divergence>>,
}

/// Where a dispatched job came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Causation {
    /// The job whose reducer dispatched it.
    pub job_id: JobId,
    /// The operation whose action did.
    pub operation_id: OperationId,
    /// How many dispatches lie between it and a job that somebody submitted.
    pub depth: u32,
}
