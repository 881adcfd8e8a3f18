//! What tests of the manager do to it besides feeding it, and what they expect of results.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use reductor_core::{
    ActionId, ApplyError, AuditPolicy, BatchRefusal, ExecutorStats, ExecutorStatus, HostFault, Job, JobErrorCode,
    JobExecutorManagerConfig, JobId, JobMetadata, JobResult, JobStatus, NotCancelled, NotWatched, Phase, Reason, Stop,
    Submission, Ticket,
};
use serde_json::{Value, json};

use crate::executor::host::{BOUND, Host, hold, job, with, within};

/// A stop that has begun.
pub(super) struct BegunStop<'a>(Pin<Box<dyn Future<Output = ()> + 'a>>);

impl BegunStop<'_> {
    pub(super) fn wait(self) {
        within(self.0);
    }

    /// Whether the manager has stopped.
    pub(super) fn is_over(&mut self) -> bool {
        poll(&mut self.0).is_some()
    }
}

impl Host {
    /// A manager for one worker that is not started yet.
    pub(super) fn stopped() -> Self {
        Self::not_started(|config| config.manager.max_concurrency = Some(1))
    }

    /// The same with every job audited.
    pub(super) fn stopped_auditing() -> Self {
        Self::not_started(|config| {
            config.manager.max_concurrency = Some(1);
            config.audit = AuditPolicy::Every;
        })
    }

    /// Starts the manager with so many workers.
    #[track_caller]
    pub(super) fn start_manager_with(&self, workers: usize) {
        let config = JobExecutorManagerConfig { max_concurrency: Some(workers), ..Default::default() };
        self.manager().start(Some(config)).expect("it is stopped, and threads are left");
    }

    pub(super) fn start_manager(&self) {
        self.manager().start(None).expect("it is stopped");
    }

    pub(super) fn pause(&self) {
        self.manager().pause().expect("it is started");
    }

    pub(super) fn resume(&self) {
        self.manager().resume().expect("it is started");
    }

    /// Begins to stop; the manager has heard of it when this returns.
    pub(super) fn stopping(&self, how: Stop) -> BegunStop<'_> {
        let mut stop = BegunStop(Box::pin(self.manager().stop(how)));
        // A manager that is stopped has stopped at once.
        if stop.is_over() {
            stop.0 = Box::pin(std::future::ready(()));
        }
        stop
    }

    /// Stops, so that it can be started again.
    pub(super) fn stop_for_now(&self, how: Stop) {
        self.stopping(how).wait();
    }

    /// Keeps a worker busy with the document `gate` until `gate` is released.
    pub(super) fn shut_gate(&self) -> Ticket {
        let ticket = self.accept(&job("gate", &[hold("gate")]));
        self.script.wait_until_held("gate");
        ticket
    }

    pub(super) fn open_gate(&self) {
        self.script.release("gate");
    }

    /// Waits until no job is left.
    pub(super) fn wait_until_idle(&self) {
        within(self.manager().wait_until_idle());
    }

    pub(super) fn phase(&self) -> Phase {
        self.manager().phase()
    }

    pub(super) fn status(&self) -> ExecutorStatus {
        self.manager().get_status()
    }

    pub(super) fn stats(&self) -> ExecutorStats {
        self.manager().get_stats()
    }

    pub(super) fn watch(&self, job_id: &JobId) -> Result<Ticket, NotWatched> {
        self.manager().watch(job_id)
    }

    /// The result of a job that is known, if it has ended.
    #[track_caller]
    pub(super) fn result_now(&self, job_id: &JobId) -> Option<Arc<JobResult>> {
        self.watch(job_id).expect("the job is known").try_wait()
    }

    pub(super) fn cancel(&self, job_id: &JobId) -> Result<Arc<JobResult>, NotCancelled> {
        self.manager().cancel(job_id)
    }

    /// Hands in many submissions at once.
    pub(super) fn submit_all(&self, submissions: &[Value]) -> Result<Vec<Ticket>, BatchRefusal> {
        let read = |submission: &Value| Submission::from_json(&submission.to_string()).expect("a submission");
        self.manager().enqueue_all(submissions.iter().map(read).collect())
    }

    #[track_caller]
    pub(super) fn accept_all(&self, submissions: &[Value]) -> Vec<Ticket> {
        self.submit_all(submissions).expect("acceptable submissions")
    }

    /// Which jobs have started so far, each named for its first action, once for each attempt.
    pub(super) fn started(&self) -> Vec<String> {
        self.said_of("started ")
    }

    /// The rests of all sentences that begin so.
    pub(super) fn said_of(&self, beginning: &str) -> Vec<String> {
        self.said().iter().filter_map(|said| said.strip_prefix(beginning)).map(str::to_owned).collect()
    }

    /// Looks again and again, for what no event tells.
    #[track_caller]
    pub(super) fn wait_until(&self, what: &str, come: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !come(self) {
            assert!(began.elapsed() < BOUND, "waited too long for {what}");
            std::thread::yield_now();
        }
    }
}

/// Looks at a future once.
pub(super) fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

/// `submission`, to wait for these jobs.
pub(crate) fn after<'a>(submission: Value, jobs: impl IntoIterator<Item = &'a JobId>) -> Value {
    let ids: Vec<_> = jobs.into_iter().map(JobId::as_str).collect();
    with(submission, "dependsOn", json!(ids))
}

/// `submission`, with an idempotency key.
pub(crate) fn keyed(submission: Value, key: &str) -> Value {
    with(submission, "idempotencyKey", json!(key))
}

/// A job for a document that exists, made elsewhere from one that was done.
pub(crate) fn another(done: &JobResult, id: &str) -> Job {
    let mut action = (*done.job.actions[0]).clone();
    action.id = ActionId::from(id);
    Job { id: JobId::from(id), actions: Arc::new([action.into()]), ..done.job.clone() }
}

/// A fault that is retried.
pub(crate) fn broken() -> ApplyError {
    ApplyError::Host(HostFault::Broken("for a moment".to_owned()))
}

pub(crate) fn metadata(result: &JobResult) -> &JobMetadata {
    result.metadata.as_ref().expect("a result has metadata")
}

/// Asserts that the job was given back, not failed.
#[track_caller]
pub(crate) fn given_back(result: &JobResult, attempts: u32) {
    assert_eq!((result.error_code, result.job.status), (Some(JobErrorCode::GracefulAbort), JobStatus::Pending));
    assert_eq!((metadata(result).attempts, metadata(result).reason), (attempts, None));
}

/// Asserts that the job was cancelled.
#[track_caller]
pub(crate) fn cancelled(result: &JobResult) {
    assert_eq!((result.error_code, result.job.status), (Some(JobErrorCode::GracefulAbort), JobStatus::Failed));
    assert_eq!((metadata(result).attempts, metadata(result).reason), (0, Some(Reason::Cancelled)));
    assert_eq!((result.success, result.operations.len(), result.duration.us), (false, 0, 0));
}

/// Asserts that the job failed because `dependency` did, with this code.
#[track_caller]
pub(crate) fn failed_with(result: &JobResult, dependency: &JobId, code: JobErrorCode) {
    let metadata = metadata(result);
    assert_eq!((metadata.reason, metadata.attempts), (Some(Reason::DependencyFailed), 0), "{result:?}");
    assert_eq!((metadata.failed_dependency.as_ref(), result.error_code), (Some(dependency), Some(code)));
    assert_eq!((result.success, result.job.status, result.operations.len()), (false, JobStatus::Failed, 0));
}
