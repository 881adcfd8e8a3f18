//! The journey of a job: start, attempt, and what comes of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::committer::{self, Item, Then};
use super::shared::{Origin, Pending, Run, Shared};
use crate::attempt::{Applied, Attempt, QueuePlaces};
use crate::event::{Event, JobCompletedEvent, JobFailedEvent, JobRetryEvent, JobStartedEvent};
use crate::failure::{ApplyError, AttemptError, HostFault, JobError, JobErrorCode, Reason};
use crate::ids::LaneKey;
use crate::job::{JobExecutionConfig, JobMetadata, JobResult, JobStatus};
use crate::journal::{EndedJob, FailedAttempt, FailedDependency, JournaledJob, keep_attempt};
use crate::plugin::PluginRef;
use crate::records::{Acceptance, Record};
use crate::reducer::{Call, Reducer};
use crate::report::Report;
use crate::residents::Resident;
use crate::retry::{self, Fault, Verdict};
use crate::roll::Ended;
use crate::store::{Append, Entry, StoreError};
use crate::submission::ActionIds;
use crate::time::{Moment, Timestamp};

/// What became of a job's turn.
pub(super) enum Outcome {
    /// It has its result.
    Ended,
    /// It failed and is tried again from this moment on.
    Again(Box<Pending>, Duration),
}

/// When a job got its result.
#[derive(PartialEq, Eq)]
enum Resolved {
    Now,
    Before,
}

/// What a finished attempt ran on.
struct Ran {
    plugin: Option<Arc<PluginRef>>,
    /// Absent if it is not known.
    fuel_consumed: Option<u64>,
}

/// How a job ended, to be told when nothing can undo it.
pub(super) struct End {
    pub(super) record: Arc<Record>,
    pub(super) result: Arc<JobResult>,
    /// The jobs that it dispatched.
    pub(super) dispatched: Vec<Arc<Record>>,
    pub(super) counts: Ended,
    pub(super) event: EndEvent,
    pub(super) at: Moment,
}

/// What is published when a job has ended.
pub(super) enum EndEvent {
    Completed,
    Failed { error: JobError, retries: u32 },
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
    /// Executes one attempt at a job that has begun, on the reducer that serves its model.
    pub(super) fn execute(
        &self,
        run: &Run,
        lane: &LaneKey,
        mut pending: Pending,
        reducer: Option<Arc<dyn Reducer>>,
        slot: &mut Option<Resident>,
    ) -> Outcome {
        self.start(&mut pending);
        let accepted = &pending.record.accepted;
        let Some(reducer) = reducer else {
            let report = Report::unserved(&accepted.document_type);
            return self.failed(run, pending, report, Ran { plugin: None, fuel_consumed: Some(0) });
        };
        let plugin = reducer.plugin().clone();
        let timeout = run.defaults.timeout(&accepted.config.unwrap_or_default());
        let mut call = Call::new(lane, Instant::now() + timeout, &run.interrupt, &self.config.limits);
        call.timeout = Some(timeout);
        let attempt = Attempt {
            accepted,
            lane,
            action_ids: pending.record.action_ids,
            lineage: &pending.record.lineage,
            reducer,
            reducers: &self.reducers,
            grants: &self.config.grants,
            log: &self.log,
            residents: &self.residents,
            auditor: &self.auditor,
            places: self,
            load_time: run.defaults.timeout(&JobExecutionConfig::default()),
        };
        let result = guarded(&attempt, slot, &mut call);
        // Where the document stood before it moved is written before what the job appended.
        self.hand_over_snapshots();
        let fuel_consumed = call.fuel_is_known.then_some(call.fuel_consumed);
        let ran = Ran { plugin: Some(plugin.clone()), fuel_consumed };
        match result {
            Ok(applied) => {
                self.complete(pending, applied, ran);
                Outcome::Ended
            }
            Err(error) => {
                let report = Report::of(error, &accepted.job, &plugin);
                self.failed(run, pending, report, ran)
            }
        }
    }

    fn start(&self, pending: &mut Pending) {
        self.announce_retry(pending);
        pending.attempts += 1;
        (pending.not_before, pending.is_retry_announced) = (None, false);
        pending.attempt_began = self.config.clock.elapsed();
        pending.started_at.get_or_insert(pending.attempt_began);
        let job = &pending.record.accepted.job;
        self.bus.tell(|| {
            let (job, started_at) = (job.with_status(JobStatus::Running), self.config.clock.now());
            Event::JobStarted(JobStartedEvent { job, started_at })
        });
    }

    /// Publishes that a job that failed is queued again, unless that was published already.
    pub(super) fn announce_retry(&self, pending: &mut Pending) {
        let Some(before) = pending.failed_before.as_ref().filter(|_| !pending.is_retry_announced) else { return };
        let job = &pending.record.accepted.job;
        self.bus.tell(|| {
            let (job, error) = (job.with_status(JobStatus::Pending), before.error.clone());
            Event::JobRetry(JobRetryEvent { job, error, retry_count: pending.attempts })
        });
        pending.is_retry_announced = true;
    }

    fn complete(&self, mut pending: Pending, applied: Applied, ran: Ran) {
        let at = self.config.clock.moment();
        pending.attempt_ended(at);
        if let (Origin::DeadLetter, Some(append)) = (pending.origin, &applied.append) {
            self.retried.note(append, pending.record.journal.order());
        }
        let took = pending.time_since_start(at);
        let result = Arc::new(JobResult {
            job: pending.record.accepted.job.with_status(JobStatus::Completed),
            success: true,
            completed_at: at.now,
            duration: took.into(),
            operations: applied.operations,
            metadata: Some(pending.metadata(at, ran)),
            error_code: None,
            error_message: None,
        });
        let children = pending.record.lineage.child(pending.record.job_id());
        let end = End {
            record: pending.record,
            result,
            dispatched: applied
                .dispatched
                .into_iter()
                .map(|accepted| Record::new(accepted, children.clone(), ActionIds::Given, at))
                .collect(),
            counts: Ended::Succeeded(pending.executed),
            event: EndEvent::Completed,
            at,
        };
        self.roll.end(Ended::Unfinished, at);
        self.end(end, applied.append, applied.revision, pending.failed_attempts);
    }

    fn failed(&self, run: &Run, mut pending: Pending, report: Report, ran: Ran) -> Outcome {
        let at = self.config.clock.moment();
        let took = pending.attempt_ended(at);
        self.roll.end(Ended::Unfinished, at);
        if report.fault.code == JobErrorCode::GracefulAbort {
            // The attempt that was interrupted does not count.
            let attempts = pending.attempts - 1;
            self.give_back(pending, attempts);
            return Outcome::Ended;
        }
        if let (JobErrorCode::LibraryError, Some(plugin)) = (report.fault.code, &ran.plugin) {
            // Not timeouts alone: the host may need a second to check a state that it then refuses.
            let lost = match report.fault.reason {
                Some(Reason::Timeout) => run.defaults.timeout(&pending.record.accepted.config.unwrap_or_default()),
                _ => took,
            };
            self.suspects.lost(plugin, lost, run.defaults.own_timeout(), at.elapsed);
        }
        self.answer_divergence(&pending.record, &report, ran.plugin.as_ref());
        let before = pending.failed_before.as_ref().map(|before: &Report| -> &Fault { &before.fault });
        let policy = run.defaults.retry(&pending.record.accepted.config.unwrap_or_default());
        let verdict = retry::decide(&report.fault, before, pending.attempts, policy);
        let failed_attempt = report.attempt(pending.attempts, at.now);
        match verdict {
            Verdict::RetryWithin(longest) => {
                let delay = longest.mul_f64(fastrand::f64());
                if self.journal_retry(&mut pending, failed_attempt, at.now.after(delay)).is_err() {
                    return Outcome::Ended;
                }
                let retry = Some(pending.attempts);
                self.publish_failure(&pending.record, &report.error, retry, pending.attempts);
                let not_before = at.elapsed + delay;
                (pending.failed_before, pending.not_before) = (Some(report), Some(not_before));
                Outcome::Again(Box::new(pending), not_before)
            }
            Verdict::GiveUp { deterministic } => {
                let took = pending.time_since_start(at);
                let metadata = pending.metadata(at, ran);
                let retries = pending.attempts.saturating_sub(1);
                let event = EndEvent::Failed { error: report.error.clone(), retries };
                let failure = Failure { report, deterministic, status: JobStatus::Failed, took, at };
                let end = End {
                    result: failure.result(&pending.record, metadata),
                    record: pending.record,
                    dispatched: Vec::new(),
                    counts: Ended::Failed(pending.executed),
                    event,
                    at,
                };
                keep_attempt(&mut pending.failed_attempts, failed_attempt);
                self.end_failed(end, pending.failed_attempts);
                Outcome::Ended
            }
        }
    }

    /// Takes down that an attempt failed and another follows. Blocks until it is durable, as the
    /// world is told of it. If nothing is written any more, the job has its result already.
    fn journal_retry(
        &self,
        pending: &mut Pending,
        attempt: FailedAttempt,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(committer) = &self.committer else { return Ok(()) };
        let (job_id, order) = (pending.record.job_id().clone(), pending.record.journal.order());
        let entry = Entry::AttemptFailed { job_id, order, attempt: attempt.clone(), not_before };
        committer.write_about(&pending.record, entry).inspect_err(|error| self.suspend(&pending.record, error))?;
        keep_attempt(&mut pending.failed_attempts, attempt);
        Ok(())
    }

    /// `retry` is the number of the retry that follows, if one does.
    fn publish_failure(&self, record: &Record, error: &JobError, retry: Option<u32>, retries: u32) {
        self.bus.tell(|| {
            Event::JobFailed(JobFailedEvent {
                job: record.accepted.job.with_status(JobStatus::Failed),
                error: error.clone(),
                will_retry: retry.is_some(),
                retry_count: retry.unwrap_or(retries),
            })
        });
    }

    /// Fails a job that never started, because one that it depends on failed.
    pub(super) fn fail_unstarted(&self, pending: Pending, failed: FailedDependency) {
        if !pending.record.start() {
            // It was cancelled meanwhile.
            return;
        }
        let (report, at) = (Report::failed_dependency(failed), self.config.clock.moment());
        let failed_attempt = report.attempt(0, at.now);
        let end = End {
            event: EndEvent::Failed { error: report.error.clone(), retries: 0 },
            result: unstarted_result(&pending.record, report, at),
            record: pending.record,
            dispatched: Vec::new(),
            counts: Ended::FailedUnstarted,
            at,
        };
        let mut failed_attempts = pending.failed_attempts;
        keep_attempt(&mut failed_attempts, failed_attempt);
        self.end_failed(end, failed_attempts);
    }

    pub(super) fn end_failed(&self, end: End, failed_attempts: Vec<FailedAttempt>) {
        // A branch whose position cannot be read now is one that a retry finds moved.
        let revision = self.log.revision(&end.record.accepted.job.lane()).unwrap_or(u64::MAX);
        self.end(end, None, revision, failed_attempts);
    }

    /// Ends a job: at once, or where there is a journal when it has it.
    fn end(&self, end: End, append: Option<Arc<Append>>, revision: u64, failed_attempts: Vec<FailedAttempt>) {
        let Some(committer) = &self.committer else { return self.announce(end) };
        let dispatched = end.dispatched.iter().map(|record| {
            record.journal.set_order(committer.next_order());
            record.journal.set_acceptance(Acceptance::Written);
            journaled(record, Vec::new())
        });
        let lineage = &end.record.lineage;
        let budget_left = if end.dispatched.is_empty() { None } else { lineage.budget_left() };
        if budget_left.is_some() {
            self.budgets.note(end.record.job_id(), lineage);
        }
        let ended = EndedJob {
            dispatched: dispatched.collect(),
            journaled: journaled(&end.record, failed_attempts),
            result: end.result.clone(),
            append,
            revision,
            budget_left,
        };
        let item = Item { entry: Some(Entry::Ended(ended)), then: Then::Ended(Box::new(end)) };
        if let Err(refused) = committer.push(item) {
            let (item, error) = *refused;
            self.not_written(item.then, &error);
        }
    }

    /// Tells the world how a job ended, now that nothing can undo it.
    pub(super) fn announce(&self, end: End) {
        let End { record, result, dispatched, counts, event, at } = end;
        self.roll.count(counts, at);
        match event {
            EndEvent::Completed => self
                .bus
                .tell(|| Event::JobCompleted(JobCompletedEvent { job: result.job.clone(), result: result.clone() })),
            EndEvent::Failed { error, retries } => self.publish_failure(&record, &error, None, retries),
        }
        // A subscriber hears of a job before it hears of the jobs that it dispatched.
        self.enqueue_dispatched(dispatched);
        self.resolve(&record, &result, at);
    }

    /// Gives back a job that the manager will not run now, without calling it failed. Where there
    /// is a journal, it runs after the next start, as one that has had so many `attempts`.
    fn give_back(&self, pending: Pending, attempts: u32) {
        if let Some(committer) = &self.committer
            && pending.record.journal.acceptance() == Acceptance::Deferred
            && let Err(error) = committer::wait(committer.accept(&pending.record))
        {
            return self.suspend(&pending.record, &error);
        }
        let at = self.config.clock.moment();
        let metadata = pending.metadata(at, Ran { plugin: None, fuel_consumed: Some(0) });
        // The job is as it was before it began.
        let (status, took) = (JobStatus::Pending, pending.time_since_start(at));
        let failure = Failure { report: Report::aborted(), deterministic: false, status, took, at };
        let resolved = self.resolve(&pending.record, &failure.result(&pending.record, metadata), at);
        if self.committer.is_some() && resolved == Resolved::Now {
            self.lock().given_back.push(Pending { attempts, ..pending });
        }
    }

    /// Gives back a job that does not run.
    pub(super) fn give_back_waiting(&self, pending: Pending) {
        let attempts = pending.attempts;
        self.give_back(pending, attempts);
    }

    /// Tells whoever waits for a job that nobody knows what becomes of it before the next start,
    /// because nothing can be written.
    pub(super) fn suspend(&self, record: &Arc<Record>, error: &StoreError) {
        let at = self.config.clock.moment();
        self.resolve(record, &self.unknown_result(record, error, at), at);
    }

    /// The result of a job of which nobody knows what becomes before the next start.
    pub(super) fn unknown_result(&self, record: &Record, error: &StoreError, at: Moment) -> Arc<JobResult> {
        let report = Report::unknown(error);
        let waited = at.elapsed.saturating_sub(record.accepted_at);
        let metadata = metadata(record, 0, waited, Ran { plugin: None, fuel_consumed: Some(0) });
        let (status, took) = (JobStatus::Pending, Duration::ZERO);
        Failure { report, deterministic: false, status, took, at }.result(record, metadata)
    }

    /// Hands the result to everybody who waits for it, and lets dependents go.
    fn resolve(&self, record: &Arc<Record>, result: &Arc<JobResult>, at: Moment) -> Resolved {
        // A job that was cancelled has its result already, or will have it from who cancelled it.
        let Some(waiters) = record.end(result) else { return Resolved::Before };
        self.records.ended(record, at.elapsed);
        self.release(waiters.tell(result));
        Resolved::Now
    }
}

impl QueuePlaces for Shared {
    fn reserve(&self, count: usize) -> Result<(), HostFault> {
        self.reserve_places(count)
    }

    fn release(&self, count: usize) {
        self.give_up_places(&mut self.lock(), count);
    }
}

/// What the journal keeps of a job.
pub(super) fn journaled(record: &Record, failed_attempts: Vec<FailedAttempt>) -> JournaledJob {
    JournaledJob {
        order: record.journal.order(),
        accepted: record.accepted.clone(),
        accepted_at: record.journal.accepted_at,
        not_before: None,
        lineage: record.lineage.journaled(record.job_id()),
        failed_attempts,
        failed_dependency: None,
    }
}

impl Pending {
    /// Counts the time of an attempt, and returns it.
    fn attempt_ended(&mut self, at: Moment) -> Duration {
        let took = at.elapsed.saturating_sub(self.attempt_began);
        self.executed += took;
        took
    }

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
    let metadata = metadata(record, 0, waited, Ran { plugin: None, fuel_consumed: Some(0) });
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
