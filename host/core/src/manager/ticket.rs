//! Waiting for the result of a job.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::ids::JobId;
use crate::job::JobResult;
use crate::records::Record;
use crate::submission::Refusal;

/// A place to wait for the result of one job. Dropping it does not cancel the job.
#[derive(Debug)]
pub struct Ticket {
    /// The job.
    pub job_id: JobId,
    done: oneshot::Receiver<Arc<JobResult>>,
}

/// The wait was cancelled. The job goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wait for job {0} was cancelled; the job goes on")]
pub struct WaitCancelled(pub JobId);

/// Why [`JobExecutorManager::execute`](crate::JobExecutorManager::execute) has no result to
/// give.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The job was not accepted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The wait was cancelled. The job goes on.
    #[error(transparent)]
    WaitCancelled(#[from] WaitCancelled),
}

impl Ticket {
    pub(super) fn of(record: &Record) -> Self {
        Self { job_id: record.job_id().clone(), done: record.watch() }
    }

    /// Waits for the result.
    pub async fn wait(self) -> Arc<JobResult> {
        self.done.await.expect("every accepted job gets a result")
    }

    /// The same for threads without an async runtime.
    pub fn wait_blocking(self) -> Arc<JobResult> {
        self.done.blocking_recv().expect("every accepted job gets a result")
    }

    /// Waits for the result, but no longer than until `signal` is cancelled.
    ///
    /// # Errors
    ///
    /// [`WaitCancelled`].
    pub async fn wait_unless(self, signal: &CancellationToken) -> Result<Arc<JobResult>, WaitCancelled> {
        let job_id = self.job_id.clone();
        signal.run_until_cancelled(self.wait()).await.ok_or(WaitCancelled(job_id))
    }

    /// The result, if it is there already.
    pub fn try_wait(&mut self) -> Option<Arc<JobResult>> {
        self.done.try_recv().ok()
    }
}
