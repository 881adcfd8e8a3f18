//! The jobs that can be asked about: those under way, and the latest that ended.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use foldhash::fast::RandomState as FoldHash;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::dispatch::Lineage;
use crate::failure::{JobError, JobErrorCode};
use crate::ids::{DocumentType, IdempotencyKey, JobId, LaneKey};
use crate::job::{JobResult, JobStatus};
use crate::journal::{FailedDependency, JobOutcome};
use crate::outcomes::Outcomes;
use crate::store::StoreError;
use crate::submission::{Accepted, ActionIds};
use crate::time::{Moment, Timestamp};

/// How long the results of ended jobs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many results.
    pub results_max: usize,
    /// Bytes of the actions' inputs that they carry, all together.
    pub results_bytes_max: usize,
    /// How old the oldest may be.
    pub age_max: Duration,
    /// How many ended jobs are remembered after their results are gone: how each ended, and its
    /// idempotency key. Where the store outlives the process, it remembers them instead.
    pub outcomes_max: usize,
}

impl Default for Retention {
    /// 10,000 results of the last ten minutes, and the outcomes of 1,000,000 jobs.
    fn default() -> Self {
        Self {
            results_max: 10_000,
            results_bytes_max: 256 << 20,
            age_max: Duration::from_secs(600),
            outcomes_max: 1_000_000,
        }
    }
}

/// Every job that has not ended, and the latest of those that have.
pub(crate) struct Records {
    retention: Retention,
    kept: Mutex<Kept>,
}

struct Kept {
    records: HashMap<JobId, Arc<Record>, FoldHash>,
    by_key: HashMap<IdempotencyKey, Arc<Record>>,
    /// Those that ended, in that order, with the moment.
    ended: VecDeque<Ended>,
    /// Bytes of the inputs of those.
    ended_bytes: usize,
    outcomes: Outcomes,
}

/// A job that ended. What is asked of it when it is forgotten is here: by then its record is in no
/// cache of the processor, and others wait for the lock.
struct Ended {
    at: Duration,
    record: Arc<Record>,
    input_bytes: usize,
    outcome: Option<JobOutcome>,
}

/// A job, and who waits for its result.
pub(crate) struct Record {
    pub(crate) accepted: Accepted,
    /// Where it comes from by dispatch.
    pub(crate) lineage: Lineage,
    pub(crate) action_ids: ActionIds,
    /// By the manager's clock.
    pub(crate) accepted_at: Duration,
    pub(crate) journal: JournalPlace,
    progress: Mutex<Progress>,
}

/// Where a job stands in the journal, where there is one.
#[derive(Debug)]
pub(crate) struct JournalPlace {
    order: AtomicU64,
    /// By the time of day.
    pub(crate) accepted_at: Timestamp,
    /// An [`Acceptance`]. Changes under the committer's lock.
    acceptance: AtomicU8,
}

/// What the journal has, or is about to have, of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Acceptance {
    /// Nothing: nobody has asked for its acceptance yet.
    Deferred,
    /// Its acceptance is to be in the next batch.
    Gathered,
    /// Its acceptance.
    Written,
    /// Its end, written or gathered.
    Ended,
}

impl JournalPlace {
    fn new(accepted_at: Timestamp) -> Self {
        Self { order: AtomicU64::new(0), accepted_at, acceptance: AtomicU8::new(Acceptance::Deferred as u8) }
    }

    /// Its number in the journal; 0 without one.
    pub(crate) fn order(&self) -> u64 {
        self.order.load(Ordering::Relaxed)
    }

    pub(crate) fn set_order(&self, order: u64) {
        self.order.store(order, Ordering::Relaxed);
    }

    pub(crate) fn acceptance(&self) -> Acceptance {
        match self.acceptance.load(Ordering::Relaxed) {
            0 => Acceptance::Deferred,
            1 => Acceptance::Gathered,
            2 => Acceptance::Written,
            _ => Acceptance::Ended,
        }
    }

    pub(crate) fn set_acceptance(&self, acceptance: Acceptance) {
        self.acceptance.store(acceptance as u8, Ordering::Relaxed);
    }
}

struct Progress {
    stage: Stage,
    watchers: Watchers,
    dependents: Vec<Dependent>,
}

enum Stage {
    Waiting,
    Started,
    /// It was cancelled: it starts no more, and ends when the journal has that.
    Leaving,
    Ended(Arc<JobResult>),
}

/// Who waits for a job that has just ended.
#[must_use = "they wait"]
pub(crate) struct Waiters {
    watchers: Watchers,
    dependents: Vec<Dependent>,
}

/// Nearly always the one who handed the job in.
type Watchers = SmallVec<[oneshot::Sender<Arc<JobResult>>; 1]>;

/// A job that waits for another to complete. Both are gone once the job is: it may be cancelled
/// while it waits.
struct Dependent {
    record: Weak<Record>,
    hold: Weak<Hold>,
}

/// What the end of a job means for the jobs that depend on it.
#[derive(Default)]
pub(crate) struct Released {
    /// The lanes of jobs that are held no more.
    pub(crate) lanes: Vec<LaneKey>,
    /// The jobs that fail, because a dependency did for the first time.
    pub(crate) failed: Vec<(Arc<Record>, FailedDependency)>,
}

/// What holds a job back: jobs that it depends on.
#[derive(Default)]
pub(crate) struct Hold {
    left: AtomicUsize,
    failed: OnceLock<FailedDependency>,
}

/// Whether a job may start, as far as others are concerned.
pub(crate) enum Readiness<'a> {
    Ready,
    Held,
    Failed(&'a FailedDependency),
}

/// Why a job was not cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCancelled {
    /// Its id is not known, or its result is not kept any more.
    #[error(transparent)]
    Unknown(#[from] UnknownJob),
    /// It has been started, even if it waits for another attempt.
    #[error("job {0} has started and is not cancelled any more")]
    Started(JobId),
    /// It has ended.
    #[error("job {0} has ended")]
    Ended(JobId),
    /// The journal could not be read, or not be told; then the next start decides.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// No job of this id was accepted, or it ended so long ago that its result is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no job {0}, or its result is not kept any more")]
pub struct UnknownJob(pub JobId);

impl Records {
    pub(crate) fn new(retention: Retention) -> Self {
        let kept = Kept {
            records: HashMap::default(),
            by_key: HashMap::default(),
            ended: VecDeque::new(),
            ended_bytes: 0,
            outcomes: Outcomes::new(retention.outcomes_max),
        };
        Self { retention, kept: Mutex::new(kept) }
    }

    /// Takes note of a job that is about to be queued.
    pub(crate) fn insert(&self, record: &Arc<Record>) {
        let mut kept = self.lock();
        if let Some(key) = &record.accepted.idempotency_key {
            kept.by_key.insert(key.clone(), record.clone());
        }
        kept.records.insert(record.job_id().clone(), record.clone());
    }

    /// Takes note that the job has its result. Older results may go for it.
    pub(crate) fn ended(&self, record: &Arc<Record>, now: Duration) {
        let (input_bytes, outcome) = (record.accepted.job.input_bytes(), record.outcome());
        let mut kept = self.lock();
        kept.ended.push_back(Ended { at: now, record: record.clone(), input_bytes, outcome });
        kept.ended_bytes += input_bytes;
        let mut forgotten: SmallVec<[_; 2]> = SmallVec::new();
        // Two for one, so that results that grew old while nothing ended go as well; more if one large
        // result came.
        while forgotten.len() < 2 || kept.ended_bytes > self.retention.results_bytes_max {
            let Some(record) = kept.forget_one(self.retention, now) else { break };
            forgotten.push(record);
        }
        // Freeing them takes longer than all the rest; others need not wait for it.
        drop(kept);
        drop(forgotten);
    }

    /// Forgets a job that has ended, before its time.
    pub(crate) fn discard(&self, job_id: &JobId) {
        let mut kept = self.lock();
        let Some(record) = kept.records.get(job_id).filter(|record| record.has_ended()).cloned() else { return };
        kept.forget(&record);
    }

    pub(crate) fn get(&self, job_id: &JobId, now: Duration) -> Result<Arc<Record>, UnknownJob> {
        self.forget(now);
        self.lock().records.get(job_id).cloned().ok_or_else(|| UnknownJob(job_id.clone()))
    }

    /// The job that was submitted with this key.
    pub(crate) fn of_key(&self, key: &IdempotencyKey, now: Duration) -> Option<Arc<Record>> {
        self.forget(now);
        // A job that was given back did not run: with its key it may be submitted again.
        self.lock().by_key.get(key).filter(|record| !record.is_given_back()).cloned()
    }

    /// How a job ended whose result is gone.
    pub(crate) fn outcome(&self, job_id: &JobId) -> Option<JobOutcome> {
        self.lock().outcomes.outcome(job_id)
    }

    /// The job with a key, if its result is gone.
    pub(crate) fn forgotten_of_key(&self, key: &IdempotencyKey) -> Option<JobId> {
        self.lock().outcomes.job_of_key(key)
    }

    /// The record of the same job that is known now: a manager that stops and starts makes new ones
    /// for the jobs that it keeps.
    pub(crate) fn current(&self, record: Arc<Record>) -> Arc<Record> {
        self.lock().records.get(record.job_id()).cloned().unwrap_or(record)
    }

    /// Forgets all that is to be kept no longer, before somebody asks for it.
    fn forget(&self, now: Duration) {
        let mut kept = self.lock();
        let forgotten: Vec<_> = std::iter::from_fn(|| kept.forget_one(self.retention, now)).collect();
        drop(kept);
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Forgets the oldest result if it is to be kept no longer, and hands it to the caller to be
    /// freed.
    fn forget_one(&mut self, retention: Retention, now: Duration) -> Option<Arc<Record>> {
        let oldest = self.ended.front()?;
        let too_many = self.ended.len() > retention.results_max || self.ended_bytes > retention.results_bytes_max;
        if !too_many && now.saturating_sub(oldest.at) <= retention.age_max {
            return None;
        }
        let Ended { record, input_bytes, outcome, .. } = self.ended.pop_front()?;
        self.ended_bytes -= input_bytes;
        self.forget(&record);
        if let Some(outcome) = outcome {
            self.outcomes.remember(record.job_id(), record.accepted.idempotency_key.as_ref(), outcome);
        }
        Some(record)
    }

    /// Forgets a record, but not one that came in its place: the job may be under way again.
    fn forget(&mut self, record: &Arc<Record>) {
        if self.records.get(record.job_id()).is_some_and(|known| Arc::ptr_eq(known, record)) {
            self.records.remove(record.job_id());
        }
        if let Some(key) = &record.accepted.idempotency_key
            && self.by_key.get(key).is_some_and(|known| Arc::ptr_eq(known, record))
        {
            self.by_key.remove(key);
        }
    }
}

impl Record {
    pub(crate) fn new(accepted: Accepted, lineage: Lineage, action_ids: ActionIds, at: Moment) -> Arc<Self> {
        Self::accepted(accepted, lineage, action_ids, at.elapsed, at.now)
    }

    fn accepted(
        accepted: Accepted,
        lineage: Lineage,
        action_ids: ActionIds,
        accepted_at: Duration,
        time_of_day: Timestamp,
    ) -> Arc<Self> {
        let journal = JournalPlace::new(time_of_day);
        let progress = Progress { stage: Stage::Waiting, watchers: SmallVec::new(), dependents: Vec::new() };
        Arc::new(Self { accepted, lineage, action_ids, accepted_at, journal, progress: Mutex::new(progress) })
    }

    /// The record of a job that the journal has.
    pub(crate) fn recovered(
        accepted: Accepted,
        lineage: Lineage,
        order: u64,
        accepted_at: Timestamp,
        at: Moment,
    ) -> Arc<Self> {
        let waited = at.now.since(accepted_at);
        let record =
            Self::accepted(accepted, lineage, ActionIds::Given, at.elapsed.saturating_sub(waited), accepted_at);
        record.journal.set_order(order);
        record.journal.set_acceptance(Acceptance::Written);
        record
    }

    /// The record of the same job for another start of the manager: nobody waits for it yet.
    pub(crate) fn anew(&self) -> Arc<Self> {
        let (accepted, lineage) = (self.accepted.clone(), self.lineage.clone());
        let record = Self::accepted(accepted, lineage, self.action_ids, self.accepted_at, self.journal.accepted_at);
        record.journal.set_order(self.journal.order());
        record.journal.set_acceptance(Acceptance::Written);
        record
    }

    /// The record of a job that ended so long ago that only the journal has its result.
    pub(crate) fn ended_before(order: u64, result: &Arc<JobResult>) -> Arc<Self> {
        let metadata = result.metadata.clone().unwrap_or_default();
        let unknown = || DocumentType::from("");
        let accepted = Accepted {
            job: result.job.clone(),
            document_type: metadata.plugin.as_ref().map_or_else(unknown, |plugin| plugin.document_type.clone()),
            named_type: metadata.document_type,
            config: metadata.config,
            depends_on: metadata.depends_on,
            idempotency_key: metadata.idempotency_key,
            causation: metadata.causation,
        };
        let record = Self::accepted(accepted, Lineage::root(), ActionIds::Given, Duration::ZERO, result.completed_at);
        record.journal.set_order(order);
        record.journal.set_acceptance(Acceptance::Written);
        record.lock().stage = Stage::Ended(result.clone());
        record
    }

    pub(crate) fn job_id(&self) -> &JobId {
        &self.accepted.job.id
    }

    /// How it ended, unless it has not, was given back, or nobody knows.
    pub(crate) fn outcome(&self) -> Option<JobOutcome> {
        match &self.lock().stage {
            Stage::Ended(result) => match result.job.status {
                JobStatus::Completed => Some(JobOutcome::Completed),
                JobStatus::Failed => Some(JobOutcome::Failed),
                JobStatus::Pending | JobStatus::Running => None,
            },
            Stage::Waiting | Stage::Started | Stage::Leaving => None,
        }
    }

    /// Whether it has a result although it has not ended: a stop gave it back.
    pub(crate) fn is_given_back(&self) -> bool {
        self.has_ended() && self.outcome().is_none()
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.lock().stage, Stage::Ended(_))
    }

    /// Whether it has ended, or is about to without being started.
    pub(crate) fn starts_no_more(&self) -> bool {
        matches!(self.lock().stage, Stage::Ended(_) | Stage::Leaving)
    }

    /// A place to wait for the result at; it may lie there already.
    pub(crate) fn watch(&self) -> oneshot::Receiver<Arc<JobResult>> {
        let (sender, receiver) = oneshot::channel();
        let mut progress = self.lock();
        match &progress.stage {
            Stage::Ended(result) => {
                // The receiver is right here.
                let _ = sender.send(result.clone());
            }
            Stage::Waiting | Stage::Started | Stage::Leaving => {
                if progress.watchers.len() == progress.watchers.capacity() {
                    progress.watchers.retain(|watcher| !watcher.is_closed());
                }
                progress.watchers.push(sender);
            }
        }
        receiver
    }

    /// Holds back the job of `dependent` until this one completes.
    pub(crate) fn hold(&self, dependent: &Arc<Record>, hold: &Arc<Hold>) {
        let mut progress = self.lock();
        match &progress.stage {
            Stage::Ended(result) => {
                hold.take_note(result);
            }
            Stage::Waiting | Stage::Started | Stage::Leaving => {
                hold.left.fetch_add(1, Ordering::AcqRel);
                // Where dependents come and are cancelled again and again, as many are kept as wait.
                if progress.dependents.len() == progress.dependents.capacity() {
                    progress.dependents.retain(|dependent| dependent.hold.strong_count() > 0);
                }
                let dependent = Dependent { record: Arc::downgrade(dependent), hold: Arc::downgrade(hold) };
                progress.dependents.push(dependent);
            }
        }
    }

    /// Begins an attempt, unless the job has ended without one.
    pub(crate) fn start(&self) -> bool {
        let mut progress = self.lock();
        match progress.stage {
            Stage::Ended(_) | Stage::Leaving => false,
            Stage::Waiting | Stage::Started => {
                progress.stage = Stage::Started;
                true
            }
        }
    }

    /// Cancels the job, if it has not started. The caller ends it with [`Record::left`].
    pub(crate) fn leave(&self) -> Result<(), NotCancelled> {
        let mut progress = self.lock();
        match progress.stage {
            Stage::Waiting => {
                progress.stage = Stage::Leaving;
                Ok(())
            }
            Stage::Started => Err(NotCancelled::Started(self.job_id().clone())),
            Stage::Leaving | Stage::Ended(_) => Err(NotCancelled::Ended(self.job_id().clone())),
        }
    }

    /// Ends a job that was cancelled. Whoever waits for it is told by the caller.
    pub(crate) fn left(&self, result: &Arc<JobResult>) -> Waiters {
        self.lock().end(result)
    }

    /// Ends the job, unless it has ended or somebody is about to. Whoever waits for it is told by
    /// the caller.
    pub(crate) fn end(&self, result: &Arc<JobResult>) -> Option<Waiters> {
        let mut progress = self.lock();
        match progress.stage {
            Stage::Leaving | Stage::Ended(_) => None,
            Stage::Waiting | Stage::Started => Some(progress.end(result)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn end(&mut self, result: &Arc<JobResult>) -> Waiters {
        self.stage = Stage::Ended(result.clone());
        let (watchers, dependents) = (std::mem::take(&mut self.watchers), std::mem::take(&mut self.dependents));
        Waiters { watchers, dependents }
    }
}

impl Waiters {
    /// Hands them the result. Returns what it means for those that depend on the job.
    pub(crate) fn tell(self, result: &Arc<JobResult>) -> Released {
        for watcher in self.watchers {
            // Whoever waited may have gone.
            let _ = watcher.send(result.clone());
        }
        let mut released = Released::default();
        // A job that was given back has not ended: the jobs that depend on it are given back, too.
        if !matches!(result.job.status, JobStatus::Completed | JobStatus::Failed) {
            return released;
        }
        for Dependent { record, hold } in self.dependents {
            let (Some(record), Some(hold)) = (record.upgrade(), hold.upgrade()) else { continue };
            if let Some(failed) = hold.take_note(result) {
                released.failed.push((record.clone(), failed.clone()));
            }
            hold.left.fetch_sub(1, Ordering::AcqRel);
            if !matches!(hold.readiness(), Readiness::Held) {
                released.lanes.push(record.accepted.job.lane());
            }
        }
        released
    }
}

impl Hold {
    /// Whether the job may start.
    pub(crate) fn readiness(&self) -> Readiness<'_> {
        match self.failed.get() {
            Some(failed) => Readiness::Failed(failed),
            None if self.left.load(Ordering::Acquire) > 0 => Readiness::Held,
            // A job that failed was noted before it was counted.
            None => self.failed.get().map_or(Readiness::Ready, Readiness::Failed),
        }
    }

    /// The dependency that failed, if one did.
    pub(crate) fn failure(&self) -> Option<&FailedDependency> {
        self.failed.get()
    }

    /// Takes note of a dependency that failed. The first is the one to name: it is returned if this
    /// is it.
    pub(crate) fn fail(&self, failed: FailedDependency) -> Option<&FailedDependency> {
        self.failed.set(failed).ok().and_then(|()| self.failed.get())
    }

    /// Notes how a dependency ended, if its result is gone.
    pub(crate) fn ended_as(&self, job_id: &JobId, outcome: JobOutcome) {
        if outcome == JobOutcome::Failed {
            // The code was forgotten with the result; `IO_ERROR` claims the least about the job.
            let error_message = "it failed; the reason is no longer remembered".to_owned();
            let error = JobError { error_code: JobErrorCode::IoError, error_message };
            self.fail(FailedDependency { job_id: job_id.clone(), error });
        }
    }

    /// Takes note of a dependency that ended before this process began.
    pub(crate) fn ended_before(&self, result: &JobResult) {
        self.take_note(result);
    }

    fn take_note(&self, result: &JobResult) -> Option<&FailedDependency> {
        let (false, Some(error_code)) = (result.success, result.error_code) else { return None };
        let error_message = result.error_message.clone().unwrap_or_default();
        let error = JobError { error_code, error_message };
        self.fail(FailedDependency { job_id: result.job.id.clone(), error })
    }
}
