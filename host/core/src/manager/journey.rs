//! The journey of a job: start, attempt, and what comes of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::{Pending, Run, Shared};
use crate::attempt::{Applied, Attempt};
use crate::event::{Event, JobCompletedEvent, JobFailedEvent, JobRetryEvent, JobStartedEvent};
use crate::failure::{ApplyError, AttemptError, HostFault, JobErrorCode, Reason};
use crate::ids::LaneKey;
use crate::job::{JobMetadata, JobResult, JobStatus};
use crate::plugin::PluginRef;
use crate::records::{FailedDependency, Record};
use crate::reducer::Call;
use crate::report::Report;
use crate::residents::Resident;
use crate::retry::{self, Fault, Verdict};
use crate::roll::Ended;
use crate::time::Moment;

/// What became of a job's turn.
pub(super) enum Outcome {
    /// It has its result.
    Ended,
    /// It failed and is tried again from this moment on.
    Again(Box<Pending>, Duration),
}

/// What a finished attempt ran on.
struct Ran {
    plugin: Option<Arc<PluginRef>>,
    fuel_consumed: u64,
}

/// How a job failed, or was given back.
struct Failure {
    report: Report,
    deterministic: bool,
    status: JobStatus,
    /// From its first start to its end.
    took: Duration,
    at: Moment,
}

impl Shared {
    /// Executes one attempt at a job that has begun.
    pub(super) fn execute(
        &self,
        run: &Run,
        lane: &LaneKey,
        mut pending: Pending,
        slot: &mut Option<Resident>,
    ) -> Outcome {
        self.start(&mut pending);
        let accepted = &pending.record.accepted;
        let Some(reducer) = self.reducers.get(&accepted.document_type) else {
            let report = Report::unserved(&accepted.document_type);
            return self.failed(run, pending, report, Ran { plugin: None, fuel_consumed: 0 });
        };
        let plugin = reducer.plugin().clone();
        let deadline = Instant::now() + run.defaults.timeout(&accepted.config.unwrap_or_default());
        let mut call = Call::new(lane, deadline, &run.interrupt, &self.config.limits);
        let attempt = Attempt {
            accepted,
            lane,
            lineage: &pending.lineage,
            reducer,
            reducers: &self.reducers,
            grants: &self.config.grants,
            log: &self.log,
            residents: &self.residents,
        };
        let result = guarded(&attempt, slot, &mut call);
        let ran = Ran { plugin: Some(plugin.clone()), fuel_consumed: call.fuel_consumed };
        match result {
            Ok(applied) => {
                self.complete(&pending, applied, ran);
                Outcome::Ended
            }
            Err(error) => {
                let report = Report::of(error, &accepted.job, &plugin);
                self.failed(run, pending, report, ran)
            }
        }
    }

    fn start(&self, pending: &mut Pending) {
        pending.attempts += 1;
        pending.started_at.get_or_insert_with(|| self.config.clock.elapsed());
        let job = &pending.record.accepted.job;
        if let Some(before) = &pending.failed_before {
            self.bus.tell(|| {
                let (job, error) = (job.with_status(JobStatus::Pending), before.error.clone());
                Event::JobRetry(JobRetryEvent { job, error, retry_count: pending.attempts - 1 })
            });
        }
        self.bus.tell(|| {
            let (job, started_at) = (job.with_status(JobStatus::Running), self.config.clock.now());
            Event::JobStarted(JobStartedEvent { job, started_at })
        });
    }

    fn complete(&self, pending: &Pending, applied: Applied, ran: Ran) {
        self.enqueue_dispatched(applied.dispatched, &pending.lineage);
        let ended = self.config.clock.moment();
        let took = pending.time_since_start(ended);
        let result = Arc::new(JobResult {
            job: pending.record.accepted.job.with_status(JobStatus::Completed),
            success: true,
            completed_at: ended.now,
            duration: took.into(),
            operations: applied.operations,
            metadata: Some(pending.metadata(ended, ran)),
            error_code: None,
            error_message: None,
        });
        self.roll.end(Ended::Succeeded(took), ended);
        self.bus.tell(|| Event::JobCompleted(JobCompletedEvent { job: result.job.clone(), result: result.clone() }));
        self.resolve(&pending.record, &result, ended);
    }

    fn failed(&self, run: &Run, mut pending: Pending, report: Report, ran: Ran) -> Outcome {
        let at = self.config.clock.moment();
        if report.fault.code == JobErrorCode::GracefulAbort {
            self.roll.end(Ended::Unfinished, at);
            self.abort(&pending);
            return Outcome::Ended;
        }
        if let (Some(Reason::Timeout), Some(plugin)) = (report.fault.reason, &ran.plugin) {
            self.suspects.timed_out(plugin, at.elapsed);
        }
        let before = pending.failed_before.as_ref().map(|before: &Report| -> &Fault { &before.fault });
        let policy = run.defaults.retry(&pending.record.accepted.config.unwrap_or_default());
        let verdict = retry::decide(&report.fault, before, pending.attempts, policy);
        match verdict {
            Verdict::RetryWithin(longest) => {
                self.roll.end(Ended::Unfinished, at);
                self.publish_failure(&pending, &report, Some(pending.attempts));
                pending.failed_before = Some(report);
                Outcome::Again(Box::new(pending), at.elapsed + longest.mul_f64(fastrand::f64()))
            }
            Verdict::GiveUp { deterministic } => {
                let took = pending.time_since_start(at);
                self.roll.end(Ended::Failed(took), at);
                self.publish_failure(&pending, &report, None);
                let metadata = pending.metadata(at, ran);
                let failure = Failure { report, deterministic, status: JobStatus::Failed, took, at };
                self.resolve(&pending.record, &failure.result(&pending.record, metadata), at);
                Outcome::Ended
            }
        }
    }

    /// `retry` is the number of the retry that follows, if one does.
    fn publish_failure(&self, pending: &Pending, report: &Report, retry: Option<u32>) {
        let retries_before = pending.attempts.saturating_sub(1);
        self.bus.tell(|| {
            Event::JobFailed(JobFailedEvent {
                job: pending.record.accepted.job.with_status(JobStatus::Failed),
                error: report.error.clone(),
                will_retry: retry.is_some(),
                retry_count: retry.unwrap_or(retries_before),
            })
        });
    }

    /// Fails a job that never started, because one that it depends on failed.
    pub(super) fn fail_unstarted(&self, pending: &Pending, failed: FailedDependency) {
        if !pending.record.start() {
            // It was cancelled meanwhile.
            return;
        }
        let (report, at) = (Report::failed_dependency(failed), self.config.clock.moment());
        self.roll.failed_unbegun(at);
        self.publish_failure(pending, &report, None);
        let result = unstarted_result(&pending.record, report, at);
        self.resolve(&pending.record, &result, at);
    }

    /// Gives back a job that the manager will not run, without calling it failed.
    pub(super) fn abort(&self, pending: &Pending) {
        let at = self.config.clock.moment();
        let metadata = pending.metadata(at, Ran { plugin: None, fuel_consumed: 0 });
        // The job is as it was before it began: a durable queue would run it again.
        let (status, took) = (JobStatus::Pending, pending.time_since_start(at));
        let failure = Failure { report: Report::aborted(), deterministic: false, status, took, at };
        self.resolve(&pending.record, &failure.result(&pending.record, metadata), at);
    }

    /// Hands the result to everybody who waits for it, and lets dependents go.
    fn resolve(&self, record: &Arc<Record>, result: &Arc<JobResult>, at: Moment) {
        // A job that was cancelled has its result already.
        if let Some(waiters) = record.end(result) {
            self.records.ended(record, at.elapsed);
            self.release(waiters.tell(result));
        }
    }
}

impl Pending {
    fn time_since_start(&self, at: Moment) -> Duration {
        self.started_at.map_or(Duration::ZERO, |started| at.elapsed.saturating_sub(started))
    }

    fn metadata(&self, at: Moment, ran: Ran) -> JobMetadata {
        let queued = self.started_at.unwrap_or(at.elapsed).saturating_sub(self.record.accepted_at);
        metadata(&self.record, self.attempts, queued, ran)
    }
}

impl Failure {
    fn result(self, record: &Record, mut metadata: JobMetadata) -> Arc<JobResult> {
        let error = self.report.error.clone();
        self.report.fill(&mut metadata, self.deterministic);
        Arc::new(JobResult {
            job: record.accepted.job.with_status(self.status),
            success: false,
            completed_at: self.at.now,
            duration: self.took.into(),
            operations: Vec::new(),
            metadata: Some(metadata),
            error_code: Some(error.error_code),
            error_message: Some(error.error_message),
        })
    }
}

/// The result of a job that failed before it started.
pub(super) fn unstarted_result(record: &Record, report: Report, at: Moment) -> Arc<JobResult> {
    let waited = at.elapsed.saturating_sub(record.accepted_at);
    let metadata = metadata(record, 0, waited, Ran { plugin: None, fuel_consumed: 0 });
    let (status, took) = (JobStatus::Failed, Duration::ZERO);
    Failure { report, deterministic: false, status, took, at }.result(record, metadata)
}

fn metadata(record: &Record, attempts: u32, queued: Duration, ran: Ran) -> JobMetadata {
    let accepted = &record.accepted;
    JobMetadata {
        attempts,
        queued_ms: queued.into(),
        plugin: ran.plugin,
        fuel_consumed: ran.fuel_consumed,
        document_type: accepted.named_type.clone(),
        config: accepted.config,
        depends_on: accepted.depends_on.clone(),
        idempotency_key: accepted.idempotency_key.clone(),
        causation: accepted.causation.clone(),
        ..JobMetadata::default()
    }
}

/// Runs an attempt. A reducer that is the embedder's own Rust may panic; that must not end the
/// worker.
fn guarded(attempt: &Attempt<'_>, slot: &mut Option<Resident>, call: &mut Call<'_>) -> Result<Applied, AttemptError> {
    let ran = catch_unwind(AssertUnwindSafe(|| attempt.run(slot, call)));
    ran.unwrap_or_else(|panic| {
        *slot = None;
        let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let fault = HostFault::Broken(format!("the host panicked: {said}"));
        Err(AttemptError::Apply { action: None, error: ApplyError::Host(fault) })
    })
}
