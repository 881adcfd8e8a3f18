//! Reductor, to embed: a host that runs reducers as plugins.
//!
//! A *reducer* turns the state of a document and an *action* into a new state. It is a plugin: a
//! WebAssembly component in a sandbox with hard limits, or for code that you trust plain Rust.
//! A [`Host`] queues jobs (lists of actions on one document), executes them, turns every applied
//! action into an operation of an append-only log, and publishes events.
//!
//! ```
//! use reductor_host::{Host, Submission};
//!
//! # let counter = reductor_tests::COUNTER;
//! let host = Host::builder().plugin_file(counter).start()?;
//! let result = host.run_blocking(Submission::from_json(
//!     r#"{"documentId": "c1", "documentType": "example/counter",
//!         "actions": [{"type": "INCREMENT", "input": {"by": 2}}]}"#,
//! )?)?;
//! assert!(result.success);
//! assert_eq!(result.operations.len(), 2, "the first created the document");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The host has threads of its own. It works beside an async runtime or without one: what is
//! `async` here needs no particular runtime, and dropping a future ends the wait and nothing
//! else. Dropping the host stops it and its threads. With a data directory, stop it gracefully first:
//! that leaves a snapshot of every document, so that the next host may have newer plugins. After a
//! mere drop, as after a crash, it needs the same plugins or [`HostBuilder::replay_plugin`].
//!
//! ```
//! use reductor_host::{Host, Submission};
//!
//! # let counter = reductor_tests::COUNTER;
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let host = Host::builder().plugin_file(counter).start()?;
//! let submission = Submission::from_json(
//!     r#"{"documentId": "c1", "documentType": "example/counter",
//!         "actions": [{"type": "INCREMENT", "input": {"by": "many"}}]}"#,
//! )?;
//! let result = host.run(submission).await?;
//! let metadata = result.metadata.as_ref().expect("a job that ended has metadata");
//! assert_eq!(metadata.reason, Some(reductor_host::Reason::Rejected));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Reducers in Rust are written with the crate `reductor-guest` (and `serde` and `schemars`, as
//! its documentation says), the same code that compiles to
//! a plugin, and may stand beside plugins:
//!
//! ```
//! use reductor_guest::prelude::*;
//! use reductor_host::{Event, Host, Received, Submission};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Light { on: bool }
//!
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
//! enum LightAction { Toggle }
//!
//! impl Reducer for Light {
//!     const DOCUMENT_TYPE: &'static str = "house/light";
//!     type Action = LightAction;
//!     fn apply(&mut self, _: LightAction, _: &mut Context) -> Result<(), Rejection> {
//!         self.on = !self.on;
//!         Ok(())
//!     }
//! }
//!
//! let host = Host::builder().native::<Light>().start()?;
//! let mut events = host.manager().events().subscribe();
//! let ticket = host.manager().enqueue(Submission::from_json(
//!     r#"{"documentId": "hall", "documentType": "house/light", "actions": [{"type": "TOGGLE"}]}"#,
//! )?)?;
//! let job_id = ticket.job_id.clone();
//! let completed = std::iter::from_fn(|| events.recv_blocking()).any(|received| {
//!     matches!(received, Received::Event(event)
//!         if matches!(&*event, Event::JobCompleted(event) if event.job.id == job_id))
//! });
//! assert!(completed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

//! Documents and jobs outlive the process in a data directory. A job that was accepted is executed
//! by a later host if this one does not come to it, and once only:
//!
//! ```
//! use reductor_host::{Host, Stop, Submission};
//!
//! # let counter = reductor_tests::COUNTER;
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path().join("data");
//! let increment = || Submission::from_json(
//!     r#"{"documentId": "c1", "documentType": "example/counter",
//!         "actions": [{"type": "INCREMENT", "input": {"by": 2}}]}"#,
//! );
//! let host = Host::builder().plugin_file(counter).data_dir(&directory).start()?;
//! let result = host.run_blocking(increment()?)?;
//! assert!(result.success, "and it is on the disk");
//! host.manager().stop_blocking(Stop::Graceful);
//! drop(host);
//!
//! // Not started: the job is accepted, and waits.
//! let host = Host::builder().plugin_file(counter).data_dir(&directory).build()?;
//! let accepted = host.manager().enqueue(increment()?)?;
//! let job_id = accepted.job_id.clone();
//! drop(host);
//!
//! let host = Host::builder().plugin_file(counter).data_dir(&directory).start()?;
//! let result = host.manager().watch(&job_id)?.wait_blocking();
//! assert!(result.success);
//! let head = host.manager().head(&result.job.lane())?.expect("the document is there");
//! assert_eq!(&*head.snapshot()[0].json, br#"{"value":4}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;

use std::sync::Arc;

pub use reductor_core::*;
pub use reductor_sandbox::{
    AdmissionError, ArtefactCache, BinaryMeasures, Blame, CacheError, CodeOrigin, CompileError, CompileLimits,
    CompileWorker, Difference, EPOCH_TICK, GuestLimits, Measure, OverLimit, Plugin, Sandbox, SandboxBuilder,
    SandboxError, StaticLimits, compile_worker_main, printable, printable_json,
};
pub use reductor_store::{
    BackupError, BackupFile, DiskStore, Existing as ExistingBackup, KeyspaceStats, OpenError, Problem as StoreProblem,
    Progress as StoreProgress, RestoreError, StoreOptions, StoreStats, Summary as BackupSummary, Sync as StoreSync,
    VerifyReport, report_engine_errors, restore as restore_store,
};

pub use crate::builder::{HostBuilder, HostError, PluginSource};

/// A host: plugins, a log, and a [`JobExecutorManager`] that executes jobs with them.
///
/// Made by [`Host::builder`]. Dropping it interrupts what runs, waits for its threads, and leaves no
/// snapshots; [`stop`](JobExecutorManager::stop) with [`Stop::Graceful`] before it does.
pub struct Host {
    manager: JobExecutorManager,
    reducers: Arc<Reducers>,
    store: Arc<dyn OperationStore>,
    disk: Option<Arc<DiskStore>>,
}

impl Host {
    /// Begins to describe a host. All it needs is a plugin or a native reducer.
    pub fn builder() -> HostBuilder {
        HostBuilder::new()
    }

    /// What takes submissions, executes jobs, and can be started, paused and watched.
    pub fn manager(&self) -> &JobExecutorManager {
        &self.manager
    }

    /// The reducers that documents run on, by model.
    pub fn reducers(&self) -> &Arc<Reducers> {
        &self.reducers
    }

    /// The log.
    pub fn store(&self) -> &Arc<dyn OperationStore> {
        &self.store
    }

    /// The store in the data directory, if the host has one.
    pub fn disk_store(&self) -> Option<&Arc<DiskStore>> {
        self.disk.as_ref()
    }

    /// Hands in a submission and waits for its result. Dropping the future ends the wait and
    /// not the job.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if it was not accepted.
    pub async fn run(&self, submission: Submission) -> Result<Arc<JobResult>, Refusal> {
        Ok(self.manager.submit(submission)?.wait().await)
    }

    /// The same, blocking the thread. Inside an async runtime it blocks a thread of that runtime.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if it was not accepted.
    pub fn run_blocking(&self, submission: Submission) -> Result<Arc<JobResult>, Refusal> {
        Ok(self.manager.submit(submission)?.wait_blocking())
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("manager", &self.manager).field("reducers", &self.reducers).finish_non_exhaustive()
    }
}
