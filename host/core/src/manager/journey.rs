//! The journey of a job: start, attempt, and what comes of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::{Pending, Run, Shared};
use crate::attempt::{Attempt, Committed};
use crate::event::{Event, JobCompletedEvent, JobFailedEvent, JobRetryEvent, JobStartedEvent};
use crate::failure::{ApplyError, AttemptError, HostFault, JobErrorCode, Reason};
use crate::ids::LaneKey;
use crate::job::{JobExecutionConfig, JobMetadata, JobResult, JobStatus};
use crate::plugin::PluginRef;
use crate::records::{FailedDependency, Record};
use crate::reducer::Call;
use crate::report::Report;
use crate::residents::Resident;
use crate::retry::{self, Fault, Verdict};
use crate::roll::Ended;

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
        let config = accepted.config.unwrap_or_default();
        let Some(reducer) = self.reducers.get(&accepted.document_type) else {
            let report = Report::unserved(&accepted.document_type);
            return self.failed(run, pending, &config, report, Ran { plugin: None, fuel_consumed: 0 });
        };
        let plugin = reducer.plugin().clone();
        let deadline = Instant::now() + run.defaults.timeout(&config);
        let mut call = Call::new(lane, deadline, &run.interrupt, &self.config.limits);
        let attempt = Attempt {
            accepted,
            lane,
            lineage: &pending.lineage,
            reducer,
            reducers: &self.reducers,
            grants: &self.config.grants,
            store: &*self.store,
            residents: &self.residents,
        };
        let result = guarded(&attempt, slot, &mut call);
        let ran = Ran { plugin: Some(plugin.clone()), fuel_consumed: call.fuel_consumed };
        match result {
            Ok(committed) => {
                self.complete(&pending, committed, ran);
                Outcome::Ended
            }
            Err(error) => {
                let report = Report::of(error, &accepted.job, &plugin);
                self.failed(run, pending, &config, report, ran)
            }
        }
    }

    fn start(&self, pending: &mut Pending) {
        pending.attempts += 1;
        pending.started_at.get_or_insert_with(|| self.config.clock.elapsed());
        let job = &pending.record.accepted.job;
        if let Some(before) = &pending.failed_before {
            let (job, error) = (job.with_status(JobStatus::Pending), before.error.clone());
            let retry_count = pending.attempts - 1;
            self.bus.tell(|| Event::JobRetry(JobRetryEvent { job, error, retry_count }));
        }
        let started_at = || self.config.clock.now();
        self.bus.tell(|| {
            Event::JobStarted(JobStartedEvent { job: job.with_status(JobStatus::Running), started_at: started_at() })
        });
    }

    fn complete(&self, pending: &Pending, committed: Committed, ran: Ran) {
        self.enqueue_dispatched(committed.dispatched, &pending.lineage);
        let took = self.time_since_start(pending);
        let result = Arc::new(JobResult {
            job: pending.record.accepted.job.with_status(JobStatus::Completed),
            success: true,
            completed_at: self.config.clock.now(),
            duration: took.into(),
            operations: committed.operations,
            metadata: Some(self.metadata(pending, ran)),
            error_code: None,
            error_message: None,
        });
        self.end_attempt(Ended::Succeeded(took));
        self.bus.tell(|| Event::JobCompleted(JobCompletedEvent { job: result.job.clone(), result: result.clone() }));
        self.resolve(&pending.record, &result);
    }

    fn failed(
        &self,
        run: &Run,
        mut pending: Pending,
        config: &JobExecutionConfig,
        report: Report,
        ran: Ran,
    ) -> Outcome {
        if report.fault.code == JobErrorCode::GracefulAbort {
            self.end_attempt(Ended::Unfinished);
            self.abort(&pending);
            return Outcome::Ended;
        }
        let now = self.config.clock.elapsed();
        if let (Some(Reason::Timeout), Some(plugin)) = (report.fault.reason, &ran.plugin) {
            self.suspects.timed_out(plugin, now);
        }
        let before = pending.failed_before.as_ref().map(|before: &Report| -> &Fault { &before.fault });
        let verdict = retry::decide(&report.fault, before, pending.attempts, run.defaults.retry(config));
        match verdict {
            Verdict::RetryWithin(longest) => {
                self.end_attempt(Ended::Unfinished);
                self.publish_failure(&pending, &report, Some(pending.attempts));
                pending.failed_before = Some(report);
                Outcome::Again(Box::new(pending), now + longest.mul_f64(fastrand::f64()))
            }
            Verdict::GiveUp { deterministic } => {
                let took = self.time_since_start(&pending);
                self.end_attempt(Ended::Failed(took));
                self.publish_failure(&pending, &report, None);
                let metadata = self.metadata(&pending, ran);
                let failure = Failure { report, deterministic, status: JobStatus::Failed, took };
                self.resolve(&pending.record, &self.failure_result(&pending.record, failure, metadata));
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
        let report = Report::failed_dependency(failed);
        self.roll.failed_unbegun(self.config.clock.elapsed(), self.config.clock.now());
        self.publish_failure(pending, &report, None);
        let result = self.unstarted_result(&pending.record, report);
        self.resolve(&pending.record, &result);
    }

    /// Gives back a job that the manager will not run, without calling it failed.
    pub(super) fn abort(&self, pending: &Pending) {
        let metadata = self.metadata(pending, Ran { plugin: None, fuel_consumed: 0 });
        // The job is as it was before it began: a durable queue would run it again.
        let (status, took) = (JobStatus::Pending, self.time_since_start(pending));
        let failure = Failure { report: Report::aborted(), deterministic: false, status, took };
        self.resolve(&pending.record, &self.failure_result(&pending.record, failure, metadata));
    }

    /// The result of a job that failed before it started.
    pub(super) fn unstarted_result(&self, record: &Record, report: Report) -> Arc<JobResult> {
        let waited = self.config.clock.elapsed().saturating_sub(record.accepted_at);
        let metadata = metadata(record, 0, waited, Ran { plugin: None, fuel_consumed: 0 });
        let failure = Failure { report, deterministic: false, status: JobStatus::Failed, took: Duration::ZERO };
        self.failure_result(record, failure, metadata)
    }

    fn failure_result(&self, record: &Record, failure: Failure, mut metadata: JobMetadata) -> Arc<JobResult> {
        let error = failure.report.error.clone();
        failure.report.fill(&mut metadata, failure.deterministic);
        Arc::new(JobResult {
            job: record.accepted.job.with_status(failure.status),
            success: false,
            completed_at: self.config.clock.now(),
            duration: failure.took.into(),
            operations: Vec::new(),
            metadata: Some(metadata),
            error_code: Some(error.error_code),
            error_message: Some(error.error_message),
        })
    }

    /// Hands the result to everybody who waits for it, and lets dependents go.
    fn resolve(&self, record: &Record, result: &Arc<JobResult>) {
        let dependents = record.end(result);
        self.records.ended(record, self.config.clock.elapsed());
        self.release(dependents);
    }

    pub(super) fn end_attempt(&self, ended: Ended) {
        self.roll.end(ended, self.config.clock.elapsed(), self.config.clock.now());
    }

    fn time_since_start(&self, pending: &Pending) -> Duration {
        let ran = |started| self.config.clock.elapsed().saturating_sub(started);
        pending.started_at.map_or(Duration::ZERO, ran)
    }

    fn metadata(&self, pending: &Pending, ran: Ran) -> JobMetadata {
        let queued_until = pending.started_at.unwrap_or_else(|| self.config.clock.elapsed());
        let queued = queued_until.saturating_sub(pending.record.accepted_at);
        metadata(&pending.record, pending.attempts, queued, ran)
    }
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
        reason: None,
        failed_dependency: None,
        deterministic: None,
        rejection_code: None,
        action_index: None,
        trap: None,
        panic: None,
        backtrace: None,
    }
}

/// Runs an attempt. A reducer that is the embedder's own Rust may panic; that must not end the
/// worker.
fn guarded(attempt: &Attempt<'_>, slot: &mut Option<Resident>, call: &mut Call<'_>) -> Result<Committed, AttemptError> {
    let ran = catch_unwind(AssertUnwindSafe(|| attempt.run(slot, call)));
    ran.unwrap_or_else(|panic| {
        *slot = None;
        let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let fault = HostFault::Broken(format!("the host panicked: {said}"));
        Err(AttemptError::Apply { action: None, error: ApplyError::Host(fault) })
    })
}
