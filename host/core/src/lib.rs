//! The nouns, the queue, the executor and the events of Reductor, a plugin host for reducers.
//!
//! A *reducer* turns the state of a document and an *action* into a new state. Clients hand
//! in [`Submission`]s; each becomes a [`Job`] in the lane of its document and branch. Worker
//! threads of the [`JobExecutorManager`] take lanes in turn, apply the jobs' actions to live documents,
//! append the [`Operation`]s to an [`OperationStore`], and publish [`Event`]s.
//!
//! This crate knows neither WebAssembly nor disks. What runs a reducer is behind
//! [`Reducer`]; [`NativeReducer`] is one, for trusted Rust. What keeps the log is behind
//! [`OperationStore`]; [`MemoryStore`] is one.
//!
//! ```
//! use std::sync::Arc;
//!
//! use reductor_core::{EventBus, ExecutorConfig, JobExecutorManager, MemoryStore, NativeReducer, Reducers, Submission};
//! use reductor_guest::prelude::*;
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Counter { value: i64 }
//!
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
//! enum CounterAction { Increment { by: i64 } }
//!
//! impl Reducer for Counter {
//!     const DOCUMENT_TYPE: &'static str = "example/counter";
//!     type Action = CounterAction;
//!     fn apply(&mut self, action: CounterAction, _: &mut Context) -> Result<(), Rejection> {
//!         let CounterAction::Increment { by } = action;
//!         self.value += by;
//!         Ok(())
//!     }
//! }
//!
//! let reducers = Arc::new(Reducers::new());
//! reducers.register(Arc::new(NativeReducer::<Counter>::new()));
//! let store = Arc::new(MemoryStore::new());
//! let manager = JobExecutorManager::new(ExecutorConfig::default(), reducers, store, EventBus::new(1024));
//! manager.start(None)?;
//!
//! let submission = Submission::from_json(
//!     r#"{"documentId": "c1", "documentType": "example/counter",
//!         "actions": [{"type": "INCREMENT", "input": {"by": 2}}]}"#,
//! )?;
//! let lane = submission.lane();
//! let result = manager.enqueue(submission)?.wait_blocking();
//! assert!(result.success);
//!
//! let head = manager.head(&lane)?.expect("the job created the document");
//! assert_eq!(&*head.snapshot()[0].json, br#"{"value":2}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod attempt;
mod audit;
mod blocking;
mod dispatch;
mod divergence;
mod event;
mod failure;
mod grants;
mod hash;
mod history;
mod ids;
mod job;
mod journal;
mod json;
mod limits;
mod log;
mod manager;
mod memory_journal;
mod memory_outcomes;
mod memory_store;
mod native;
mod outcomes;
mod plugin;
mod quarantine;
mod queue;
mod records;
mod reducer;
mod registry;
mod report;
mod residents;
mod retry;
mod roll;
mod store;
mod submission;
mod suspects;
mod text;
mod time;

pub use action::{Action, ActionContext, ActionSigner, Operation, SignerApp, SignerUser, StoredOperation};
pub use audit::{AuditBudget, AuditPolicy, AuditStats, OnDivergence};
pub use divergence::{Divergence, DivergenceKind, Evidence, Hint};
pub use event::{
    Event, EventBus, ExecutorStartedEvent, ExecutorStoppedEvent, JobAvailableEvent, JobCompletedEvent, JobFailedEvent,
    JobRetryEvent, JobStartedEvent, Received, Subscription,
};
pub use failure::{
    ApplyError, Frame, GuestFailure, HostFault, JobError, JobErrorCode, PanicNote, Reason, UnknownErrorCode,
};
pub use grants::DispatchGrants;
pub use hash::{dispatched_action_id, operation_id, scopes_hash, state_hash};
pub use history::{HistoryError, ReplayedHistory, head_at, replay_all};
pub use ids::{
    ActionId, ActionType, Branch, DocumentId, DocumentType, IdempotencyKey, JobId, LaneKey, OperationId, Scope,
    StateHash,
};
pub use job::{Causation, Job, JobExecutionConfig, JobExecutorManagerConfig, JobMetadata, JobResult, JobStatus};
pub use journal::{
    EndedJob, FAILED_ATTEMPTS_MAX, FailedAttempt, FailedDependency, JobOutcome, JobQuery, JobRecord, JobRetention,
    JournaledJob, JournaledLineage, PRUNE_JOBS_MAX, RetentionClock,
};
pub use json::Json;
pub use limits::Limits;
pub use manager::{
    BatchRefusal, Cancelled, ExecuteError, ExecutorConfig, JobExecutorManager, NotADeadLetter, NotPaused, NotStarted,
    NotWatched, StartError, Stop, Submitted, Ticket, WaitCancelled, resolve_type,
};
pub use memory_store::MemoryStore;
pub use native::NativeReducer;
pub use plugin::{ActionSchema, Manifest, PluginRef};
pub use quarantine::Quarantine;
pub use queue::{JobsMax, Limited, NotQueued, Queue, Rest, Turn};
pub use records::{NotCancelled, Retention, UnknownJob};
pub use reducer::{Allowance, Call, DispatchRequest, LiveDocument, Outbox, Reducer, ScopeState};
pub use registry::Reducers;
pub use residents::ResidentBudget;
pub use roll::{ExecutorStats, ExecutorStatus, Phase};
pub use store::{
    Append, DuplicateCheck, Durability, Entry, Head, OperationStore, Pausing, Position, ScopeHead, ScopePosition,
    StoreError, taken_back,
};
pub use submission::{Accepted, ActionDraft, Refusal, Submission};
pub use text::is_invisible;
pub use time::{Clock, NotATimestamp, Span, Timestamp, TimestampText};
/// Ends a wait; [`Ticket::wait_unless`] and [`JobExecutorManager::execute`] take one.
pub use tokio_util::sync::CancellationToken;
