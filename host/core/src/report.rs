//! Says what came of an attempt: error codes, messages and metadata in one place.

use std::sync::Arc;

use crate::divergence::Divergence;
use crate::failure::{ApplyError, AttemptError, GuestFailure, JobError, JobErrorCode, Reason, Unreadable};
use crate::ids::JobId;
use crate::job::{Job, JobMetadata};
use crate::journal::FailedAttempt;
use crate::journal::FailedDependency;
use crate::plugin::PluginRef;
use crate::retry::Fault;
use crate::store::StoreError;
use crate::time::Timestamp;

/// A failed attempt, in the words of the interface.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) error: JobError,
    pub(crate) fault: Fault,
    details: Details,
}

#[derive(Clone, Debug, Default)]
struct Details {
    action: Option<usize>,
    rejection_code: Option<String>,
    failure: Option<Box<GuestFailure>>,
    failed_dependency: Option<JobId>,
    divergence: Option<Box<Divergence>>,
    /// The revision that did something else than when it made an operation.
    impure: Option<Arc<PluginRef>>,
}

impl Report {
    /// Describes why an attempt at `job` failed on `plugin`.
    pub(crate) fn of(error: AttemptError, job: &Job, plugin: &Arc<PluginRef>) -> Self {
        use JobErrorCode::{HashMismatch, IoError, LibraryError, RebaseFailed};
        match error {
            AttemptError::Hash { action, expected, found } => {
                let message = format!("the state hashes to {found}, not to {expected}");
                match action {
                    Some(action) => Self::at(action, HashMismatch, &format!("{message}, before it")),
                    None => Self::plain(HashMismatch, message),
                }
            }
            AttemptError::Position { action, message } => Self::at(action, RebaseFailed, &message),
            AttemptError::Store(error) => Self::plain(IoError, error.to_string()),
            AttemptError::Diverged(divergence) => {
                let action = Some(divergence.action_index);
                let name = Reason::Diverged.name();
                let mut report = Self::plain(
                    LibraryError,
                    format!("{plugin} failed ({name}) in {}: {divergence}", place(job, action)),
                );
                report.fault.reason = Some(Reason::Diverged);
                report.details = Details { action, divergence: Some(divergence), ..Details::default() };
                report
            }
            AttemptError::History(unreadable) => {
                let Unreadable { reason, impure, message } = *unreadable;
                let text = match &impure {
                    Some(impure) => format!("{impure} failed ({}) in loading the document: {message}", reason.name()),
                    None => format!("the document could not be loaded ({}): {message}", reason.name()),
                };
                let mut report = Self::plain(LibraryError, text);
                report.fault.reason = Some(reason);
                report.details.impure = impure;
                report
            }
            AttemptError::Apply { error: ApplyError::Host(fault), .. } => Self::plain(IoError, fault.to_string()),
            AttemptError::Apply { error: ApplyError::Interrupted, .. } => Self::aborted(),
            AttemptError::Apply { action, error: ApplyError::Rejected { code, message } } => {
                let text = format!("{plugin} refused {}: {message} ({code})", place(job, action));
                let mut report = Self::plain(LibraryError, text);
                report.fault.reason = Some(Reason::Rejected);
                report.details = Details { action, rejection_code: Some(code), ..Details::default() };
                report
            }
            AttemptError::Apply { action, error: ApplyError::Failed(failure) } => {
                let reason = failure.reason;
                let text =
                    format!("{plugin} failed ({}) in {}: {}", reason.name(), place(job, action), failure.message);
                let mut report = Self::plain(LibraryError, text);
                report.fault.reason = Some(reason);
                report.fault.trap = failure.trap.clone();
                report.details = Details { action, failure: Some(failure), ..Details::default() };
                report
            }
        }
    }

    /// A job that the host gave back because it stopped.
    pub(crate) fn aborted() -> Self {
        Self::plain(JobErrorCode::GracefulAbort, "the host stopped before the job ended".to_owned())
    }

    /// A job whose end could not be written down.
    pub(crate) fn unknown(error: &StoreError) -> Self {
        Self::plain(JobErrorCode::IoError, error.to_string())
    }

    /// What the journal keeps of it.
    pub(crate) fn attempt(&self, attempt: u32, failed_at: Timestamp) -> FailedAttempt {
        let Fault { reason, trap, .. } = self.fault.clone();
        FailedAttempt { attempt, failed_at, error: self.error.clone(), reason, trap }
    }

    /// The same from the journal, as far as it keeps it.
    pub(crate) fn recovered(attempt: &FailedAttempt) -> Self {
        let FailedAttempt { error, reason, trap, .. } = attempt.clone();
        let fault = Fault { code: error.error_code, reason, trap };
        Self { error, fault, details: Details::default() }
    }

    /// A job that was cancelled before it started.
    pub(crate) fn cancelled() -> Self {
        let mut report = Self::plain(JobErrorCode::GracefulAbort, "the job was cancelled before it started".to_owned());
        report.fault.reason = Some(Reason::Cancelled);
        report
    }

    /// A job that waited for another, which failed.
    pub(crate) fn failed_dependency(failed: FailedDependency) -> Self {
        let FailedDependency { job_id, error } = failed;
        let message = format!("job {job_id}, which it depends on, failed: {}", error.error_message);
        let mut report = Self::plain(error.error_code, message);
        report.fault.reason = Some(Reason::DependencyFailed);
        report.details.failed_dependency = Some(job_id);
        report
    }

    /// A job whose model has no reducer any more.
    pub(crate) fn unserved(document_type: &crate::ids::DocumentType) -> Self {
        Self::plain(JobErrorCode::IoError, format!("no plugin for `{document_type}` is loaded"))
    }

    fn at(action: usize, code: JobErrorCode, message: &str) -> Self {
        let mut report = Self::plain(code, format!("actions[{action}]: {message}"));
        report.details.action = Some(action);
        report
    }

    fn plain(code: JobErrorCode, message: String) -> Self {
        Self {
            fault: Fault { code, reason: None, trap: None },
            error: JobError { error_code: code, error_message: message },
            details: Details::default(),
        }
    }

    /// How a fresh instance differed, if that is what failed.
    pub(crate) fn divergence(&self) -> Option<&Divergence> {
        self.details.divergence.as_deref()
    }

    /// The revision that was found not to be pure, if that is what failed on the attempt, which
    /// ran on `ran_on`.
    pub(crate) fn impure<'a>(&'a self, ran_on: Option<&'a Arc<PluginRef>>) -> Option<&'a Arc<PluginRef>> {
        self.details.impure.as_ref().or_else(|| ran_on.filter(|_| self.details.divergence.is_some()))
    }

    /// Adds what is known of the failure to the metadata of the job's result.
    pub(crate) fn fill(self, metadata: &mut JobMetadata, deterministic: bool) {
        metadata.reason = self.fault.reason;
        metadata.deterministic = self.fault.reason.map(|_| deterministic);
        metadata.failed_dependency = self.details.failed_dependency;
        metadata.rejection_code = self.details.rejection_code;
        metadata.action_index = self.details.action;
        metadata.divergence = self.details.divergence;
        if let Some(failure) = self.details.failure {
            metadata.trap = failure.trap;
            metadata.panic = failure.panic;
            metadata.backtrace = Some(failure.backtrace).filter(|frames| !frames.is_empty());
        }
    }
}

/// Where in the job it happened, for people.
fn place(job: &Job, action: Option<usize>) -> String {
    match action {
        Some(at) => format!("actions[{at}] `{}`", job.actions[at].action_type),
        None => "loading the document".to_owned(),
    }
}
