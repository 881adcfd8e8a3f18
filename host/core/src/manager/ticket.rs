//! Waiting for the result of a job.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::committer::{self, Committer, Written};
use crate::blocking::block_on;
use crate::ids::JobId;
use crate::job::JobResult;
use crate::records::Record;
use crate::submission::Refusal;

/// A place to wait for the result of one job. Dropping it does not cancel the job.
///
/// The blocking waits may be called on any thread, those of an async runtime included, which they
/// block like any other.
#[derive(Debug)]
pub struct Ticket {
    /// The job.
    pub job_id: JobId,
    done: oneshot::Receiver<Arc<JobResult>>,
    /// What came through `done`, which gives it once.
    result: Option<Arc<JobResult>>,
}

/// A job on its way into the queue.
///
/// It may run already, but it is accepted only when the journal has it, where there is one: until
/// then it has no id that anybody should go by. Dropping this changes nothing for the job.
#[derive(Debug)]
#[must_use = "the job is not accepted before this says so"]
pub struct Submitted {
    ticket: Ticket,
    acceptance: JobAcceptance,
}

/// How to have the acceptance of a job written.
pub(super) enum JobAcceptance {
    /// Nothing is to be written, or it is.
    Done,
    /// The committer writes it when it is asked to.
    OnRequest(Arc<Committer>, Arc<Record>),
}

impl JobAcceptance {
    /// Asks for it. Returns where to wait, if there is something to wait for.
    pub(super) fn request(self) -> Option<Written> {
        match self {
            Self::Done => None,
            // Its end is durable, and that is more than its acceptance.
            Self::OnRequest(_, record) if record.outcome().is_some() => None,
            Self::OnRequest(committer, record) => Some(committer.accept(&record)),
        }
    }
}

impl std::fmt::Debug for JobAcceptance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Done => "Done",
            Self::OnRequest(..) => "OnRequest",
        })
    }
}

impl Submitted {
    pub(super) fn new(record: &Record, acceptance: JobAcceptance) -> Self {
        Self { ticket: Ticket::of(record), acceptance }
    }

    /// Waits until the job is accepted.
    ///
    /// # Errors
    ///
    /// [`Refusal::Store`] if it could not be written down. Whether a later start finds it is not
    /// known then.
    pub async fn accepted(self) -> Result<Ticket, Refusal> {
        if let Some(written) = self.acceptance.request() {
            written.await.expect("the committer tells everybody")?;
        }
        Ok(self.ticket)
    }

    /// The same, waiting no longer than until `signal` is cancelled. The job goes on.
    ///
    /// # Errors
    ///
    /// As [`Submitted::accepted`], and [`ExecuteError::WaitCancelled`].
    pub async fn accepted_unless(self, signal: &CancellationToken) -> Result<Ticket, ExecuteError> {
        if let Some(written) = self.acceptance.request() {
            let written = signal.run_until_cancelled(written).await;
            let written = written.ok_or_else(|| WaitCancelled(self.ticket.job_id.clone()))?;
            written.expect("the committer tells everybody").map_err(Refusal::Store)?;
        }
        Ok(self.ticket)
    }

    /// The same for threads without an async runtime.
    ///
    /// # Errors
    ///
    /// As [`Submitted::accepted`].
    pub fn accepted_blocking(mut self) -> Result<Ticket, Refusal> {
        self.wait_until_accepted_blocking()?;
        Ok(self.ticket)
    }

    /// As [`Submitted::accepted_blocking`], and `self` still waits for the result. A job that could not be written
    /// down has a result too, which says so.
    ///
    /// # Errors
    ///
    /// As [`Submitted::accepted`], the first time that it is called.
    pub fn wait_until_accepted_blocking(&mut self) -> Result<(), Refusal> {
        let acceptance = std::mem::replace(&mut self.acceptance, JobAcceptance::Done);
        Ok(acceptance.request().map_or(Ok(()), committer::wait)?)
    }

    /// The result of the job, if it is there already.
    pub fn try_wait(&mut self) -> Option<Arc<JobResult>> {
        self.ticket.try_wait()
    }

    /// Waits for the result of the job, which comes after its acceptance.
    pub async fn wait(self) -> Arc<JobResult> {
        self.ticket.wait().await
    }

    /// The same for threads without an async runtime.
    pub fn wait_blocking(self) -> Arc<JobResult> {
        self.ticket.wait_blocking()
    }

    /// Waits for the result as [`Ticket::wait_unless`] does.
    ///
    /// # Errors
    ///
    /// [`WaitCancelled`].
    pub async fn wait_unless(self, signal: &CancellationToken) -> Result<Arc<JobResult>, WaitCancelled> {
        self.ticket.wait_unless(signal).await
    }
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
        Self { job_id: record.job_id().clone(), done: record.watch(), result: None }
    }

    /// Waits for the result.
    pub async fn wait(self) -> Arc<JobResult> {
        match self.result {
            Some(result) => result,
            None => self.done.await.expect("every accepted job gets a result"),
        }
    }

    /// The same for threads without an async runtime.
    pub fn wait_blocking(self) -> Arc<JobResult> {
        block_on(self.wait())
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

    /// The result, if it is there already. Asking changes nothing: the same result comes again,
    /// here and from the other waits.
    pub fn try_wait(&mut self) -> Option<Arc<JobResult>> {
        if self.result.is_none() {
            self.result = self.done.try_recv().ok();
        }
        self.result.clone()
    }
}
