//! The jobs that can be asked about: those under way, and the latest that ended.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState as FoldHash;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::failure::JobError;
use crate::ids::{IdempotencyKey, JobId, LaneKey};
use crate::job::JobResult;
use crate::submission::Accepted;

/// How long the results of ended jobs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many results.
    pub results_max: usize,
    /// How old the oldest may be.
    pub age_max: Duration,
}

impl Default for Retention {
    /// 10,000 results, of the last ten minutes.
    fn default() -> Self {
        Self { results_max: 10_000, age_max: Duration::from_secs(600) }
    }
}

/// Every job that has not ended, and the latest of those that have.
pub(crate) struct Records {
    retention: Retention,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    records: HashMap<JobId, Arc<Record>, FoldHash>,
    by_key: HashMap<IdempotencyKey, Arc<Record>>,
    /// Those that ended, in that order, with the moment.
    ended: VecDeque<(Duration, Arc<Record>)>,
}

/// A job, and who waits for its result.
pub(crate) struct Record {
    pub(crate) accepted: Accepted,
    /// By the manager's clock.
    pub(crate) accepted_at: Duration,
    progress: Mutex<Progress>,
}

struct Progress {
    stage: Stage,
    watchers: Watchers,
    dependents: Vec<Dependent>,
}

enum Stage {
    Waiting,
    Started,
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

/// A job that waits for another to complete.
pub(crate) struct Dependent {
    pub(crate) lane: LaneKey,
    pub(crate) hold: Arc<Hold>,
}

/// What holds a job back: jobs that it depends on.
#[derive(Default)]
pub(crate) struct Hold {
    left: AtomicUsize,
    failed: OnceLock<FailedDependency>,
}

/// A job that failed although others depend on it.
#[derive(Clone, Debug)]
pub(crate) struct FailedDependency {
    pub(crate) job_id: JobId,
    pub(crate) error: JobError,
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
}

/// No job of this id was accepted, or it ended so long ago that its result is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no job {0}, or its result is not kept any more")]
pub struct UnknownJob(pub JobId);

impl Records {
    pub(crate) fn new(retention: Retention) -> Self {
        Self { retention, kept: Mutex::default() }
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
        let mut kept = self.lock();
        kept.ended.push_back((now, record.clone()));
        // Two for one, so that those that grew old while nothing ended go as well.
        let forgotten = [kept.forget_one(self.retention, now), kept.forget_one(self.retention, now)];
        // Freeing them takes longer than all the rest; others need not wait for it.
        drop(kept);
        drop(forgotten);
    }

    pub(crate) fn get(&self, job_id: &JobId, now: Duration) -> Result<Arc<Record>, UnknownJob> {
        self.forget(now);
        self.lock().records.get(job_id).cloned().ok_or_else(|| UnknownJob(job_id.clone()))
    }

    /// The job that was submitted with this key.
    pub(crate) fn of_key(&self, key: &IdempotencyKey, now: Duration) -> Option<Arc<Record>> {
        self.forget(now);
        self.lock().by_key.get(key).cloned()
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
        let (ended, _) = self.ended.front()?;
        let too_many = self.ended.len() > retention.results_max;
        if !too_many && now.saturating_sub(*ended) <= retention.age_max {
            return None;
        }
        let (_, record) = self.ended.pop_front()?;
        self.records.remove(record.job_id());
        if let Some(key) = &record.accepted.idempotency_key {
            self.by_key.remove(key);
        }
        Some(record)
    }
}

impl Record {
    pub(crate) fn new(accepted: Accepted, accepted_at: Duration) -> Arc<Self> {
        let progress = Progress { stage: Stage::Waiting, watchers: SmallVec::new(), dependents: Vec::new() };
        Arc::new(Self { accepted, accepted_at, progress: Mutex::new(progress) })
    }

    pub(crate) fn job_id(&self) -> &JobId {
        &self.accepted.job.id
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.lock().stage, Stage::Ended(_))
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
            Stage::Waiting | Stage::Started => {
                if progress.watchers.len() == progress.watchers.capacity() {
                    progress.watchers.retain(|watcher| !watcher.is_closed());
                }
                progress.watchers.push(sender);
            }
        }
        receiver
    }

    /// Lets a job wait for this one to complete.
    pub(crate) fn hold(&self, dependent: Dependent) {
        let mut progress = self.lock();
        match &progress.stage {
            Stage::Ended(result) => dependent.hold.take_note(result),
            Stage::Waiting | Stage::Started => {
                dependent.hold.left.fetch_add(1, Ordering::AcqRel);
                progress.dependents.push(dependent);
            }
        }
    }

    /// Begins an attempt, unless the job has ended without one.
    pub(crate) fn start(&self) -> bool {
        let mut progress = self.lock();
        match progress.stage {
            Stage::Ended(_) => false,
            Stage::Waiting | Stage::Started => {
                progress.stage = Stage::Started;
                true
            }
        }
    }

    /// Ends the job, if it has not started. Whoever waits for it is told by the caller.
    pub(crate) fn cancel(&self, result: &Arc<JobResult>) -> Result<Waiters, NotCancelled> {
        let mut progress = self.lock();
        match progress.stage {
            Stage::Waiting => Ok(progress.end(result)),
            Stage::Started => Err(NotCancelled::Started(self.job_id().clone())),
            Stage::Ended(_) => Err(NotCancelled::Ended(self.job_id().clone())),
        }
    }

    /// Ends the job, unless it has ended. Whoever waits for it is told by the caller.
    pub(crate) fn end(&self, result: &Arc<JobResult>) -> Option<Waiters> {
        let mut progress = self.lock();
        match progress.stage {
            Stage::Ended(_) => None,
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
    /// Hands them the result. Returns the lanes of jobs that are held no more.
    pub(crate) fn tell(self, result: &Arc<JobResult>) -> Vec<LaneKey> {
        for watcher in self.watchers {
            // Whoever waited may have gone.
            let _ = watcher.send(result.clone());
        }
        let released = self.dependents.into_iter().filter_map(|Dependent { lane, hold }| {
            hold.take_note(result);
            hold.left.fetch_sub(1, Ordering::AcqRel);
            (!matches!(hold.readiness(), Readiness::Held)).then_some(lane)
        });
        released.collect()
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

    fn take_note(&self, result: &JobResult) {
        if let (false, Some(error_code)) = (result.success, result.error_code) {
            let error_message = result.error_message.clone().unwrap_or_default();
            let error = JobError { error_code, error_message };
            // The first that failed is the one to name.
            let _ = self.failed.set(FailedDependency { job_id: result.job.id.clone(), error });
        }
    }
}
