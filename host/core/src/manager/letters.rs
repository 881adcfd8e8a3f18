//! Jobs that the journal knows: the results of earlier ones, and the dead letters.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::oneshot;

use super::committer::{self, Item, Then};
use super::shared::{Origin, Shared};
use crate::ids::{IdempotencyKey, JobId, LaneKey};
use crate::job::JobStatus;
use crate::journal::{JobOutcome, JobQuery, JobRecord, JournaledJob};
use crate::records::{Record, UnknownJob};
use crate::roll::Phase;
use crate::store::{Append, Entry, StoreError};
use crate::submission::Refusal;
use crate::time::Moment;

/// Why a job that failed for good was not taken out of the dead letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADeadLetter {
    /// Its id is not known.
    #[error(transparent)]
    Unknown(#[from] UnknownJob),
    /// It has not failed for good.
    #[error("job {job_id} is {}: only jobs that failed for good are retried or discarded", word(*.status))]
    NotFailed {
        /// The job.
        job_id: JobId,
        /// Where it stands.
        status: JobStatus,
    },
    /// Its document has gone on without it.
    #[error(
        "job {job_id} cannot be retried: it failed at revision {failed_at} of its document, which stands at {now}; \
         its place is taken. Submit its actions as a new job if they still make sense"
    )]
    Overtaken {
        /// The job.
        job_id: JobId,
        /// Where its branch stood when it failed.
        failed_at: u64,
        /// Where it stands.
        now: u64,
    },
    /// A job of its document runs, or the host is stopping.
    #[error("job {0} cannot be retried while a job of its document runs or the host stops; try again")]
    Busy(JobId),
    /// Where the log is kept in memory, there is no journal.
    #[error("this host has no journal of its jobs, as its store does not outlive it")]
    NoJournal,
    /// The journal could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn word(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Pending => "pending",
        JobStatus::Running => "running",
        JobStatus::Completed => "completed",
        JobStatus::Failed => "failed",
    }
}

/// Branches of which it is remembered how far retried dead letters have moved them.
const MOVED_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// How far retried dead letters, and nothing else, have moved their branches. After an outage the
/// dead letters of a document can be retried one after the other, in their order.
pub(super) struct Retried(Mutex<LruCache<LaneKey, Moved>>);

/// Operations of a branch that retried dead letters made, one after the other.
#[derive(Clone, Copy)]
struct Moved {
    from_revision: u64,
    to_revision: u64,
    /// The number in the journal of the last of them.
    last_order: u64,
}

impl Default for Retried {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOVED_MAX)))
    }
}

impl Retried {
    /// Takes note that a retried dead letter moved its branch.
    pub(super) fn note(&self, append: &Append, order: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, to_revision) = (append.expected_revision, append.head.revision);
        let before = known.get(&append.lane).filter(|moved| moved.to_revision == from && moved.last_order < order);
        let from_revision = before.map_or(from, |moved| moved.from_revision);
        known.put(append.lane.clone(), Moved { from_revision, to_revision, last_order: order });
    }

    /// Whether only dead letters of an earlier number have moved a branch from where a job failed to
    /// where it stands.
    fn leads(&self, lane: &LaneKey, order: u64, failed_at: u64, now: u64) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(lane).is_some_and(|moved| {
            moved.from_revision <= failed_at && moved.to_revision == now && moved.last_order < order
        })
    }
}

impl Shared {
    /// A job that is known here, or to the journal from an earlier time.
    pub(super) fn find_record(
        &self,
        job_id: &JobId,
        at: Moment,
    ) -> Result<Result<Arc<Record>, UnknownJob>, StoreError> {
        let known = self.records.get(job_id, at.elapsed);
        if known.is_ok() || self.committer.is_none() {
            return Ok(known);
        }
        Ok(match self.log.store().job(job_id)? {
            Some(JobRecord::Completed { order, result }) => Ok(Record::ended_before(order, &result)),
            Some(JobRecord::Failed { journaled, result, .. }) => Ok(Record::ended_before(journaled.order, &result)),
            // It ended just now, or is about to: what is unfinished is in the records.
            Some(JobRecord::Unfinished(_)) | None => self.records.get(job_id, at.elapsed),
        })
    }

    /// The job that was submitted with a key.
    pub(super) fn known_by_key(&self, key: &IdempotencyKey, at: Moment) -> Result<Option<Arc<Record>>, Refusal> {
        if let Some(record) = self.records.of_key(key, at.elapsed) {
            return Ok(Some(record));
        }
        let job_id = match &self.committer {
            None => self.records.forgotten_of_key(key),
            Some(_) => self.log.store().job_of_key(key)?,
        };
        let Some(job_id) = job_id else { return Ok(None) };
        match self.find_record(&job_id, at)? {
            Ok(record) => Ok(Some(record)),
            // A job that failed changed nothing, and may be submitted again.
            Err(_) => match self.outcome(&job_id)? {
                Some(JobOutcome::Completed) => Err(Refusal::AlreadyCompleted { job_id }),
                Some(JobOutcome::Failed) | None => Ok(None),
            },
        }
    }

    /// How a job ended, also long after its result is gone.
    pub(super) fn outcome(&self, job_id: &JobId) -> Result<Option<JobOutcome>, StoreError> {
        match &self.committer {
            None => Ok(self.records.outcome(job_id)),
            Some(_) => self.log.store().outcome(job_id),
        }
    }

    pub(super) fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRecord>, StoreError> {
        self.log.store().jobs(query)
    }

    /// Queues a job again that failed for good, at its old place in its lane.
    pub(super) fn retry_failed(&self, job_id: &JobId) -> Result<Arc<Record>, NotADeadLetter> {
        let committer = self.committer.as_ref().ok_or(NotADeadLetter::NoJournal)?;
        let _letters = self.letters();
        let (journaled, failed_at) = self.dead_letter(job_id)?;
        // Its retries begin anew; its history stays.
        let journaled = JournaledJob { not_before: None, ..journaled };
        let lane = journaled.accepted.job.lane();
        let mut pending = self.pending_of(journaled.clone(), self.config.clock.moment())?;
        pending.origin = Origin::DeadLetter;
        // Read once without the queue's lock, so that what is read under it is in memory.
        self.log.revision(&lane)?;
        let (record, order) = (pending.record.clone(), journaled.order);
        let mut waiting = self.lock();
        // While the manager stops, the jobs before it may be on their way back into the queue.
        if waiting.queue.is_taken(&lane) || self.roll.phase() == Phase::Stopping {
            return Err(NotADeadLetter::Busy(job_id.clone()));
        }
        let now = self.log.revision(&lane)?;
        if now != failed_at && !self.retried.leads(&lane, order, failed_at, now) {
            return Err(NotADeadLetter::Overtaken { job_id: job_id.clone(), failed_at, now });
        }
        let document_type = journaled.accepted.document_type.clone();
        self.block_if_unserved(&mut waiting, &document_type);
        let (told, written) = oneshot::channel();
        let then = Then::Accepted { record: record.clone(), told: Some(told) };
        committer.push(Item { entry: Some(Entry::Retried(journaled)), then }).map_err(|refused| refused.1)?;
        self.records.insert(&record);
        waiting.queue.insert(lane, document_type, pending, |other| other.record.journal.order() > order);
        self.arrived(waiting);
        committer::wait(written)?;
        Ok(record)
    }

    /// Forgets a job that failed for good.
    pub(super) fn discard_failed(&self, job_id: &JobId) -> Result<(), NotADeadLetter> {
        let committer = self.committer.as_ref().ok_or(NotADeadLetter::NoJournal)?;
        let _letters = self.letters();
        self.dead_letter(job_id)?;
        committer.write_now(Entry::Discarded(job_id.clone()))?;
        self.records.discard(job_id);
        Ok(())
    }

    /// One dead letter is taken out at a time, so that none is taken out twice. The lock is nobody
    /// else's, and is held until the journal has it.
    fn letters(&self) -> MutexGuard<'_, ()> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dead_letter(&self, job_id: &JobId) -> Result<(JournaledJob, u64), NotADeadLetter> {
        match self.log.store().job(job_id)? {
            Some(JobRecord::Failed { journaled, revision, .. }) => Ok((journaled, revision)),
            Some(other) => Err(NotADeadLetter::NotFailed { job_id: job_id.clone(), status: other.status() }),
            None => Err(UnknownJob(job_id.clone()).into()),
        }
    }
}
