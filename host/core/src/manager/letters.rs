//! Jobs that the journal knows: the results of earlier ones, and the dead letters.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::committer::{self, Item, Then};
use super::shared::Shared;
use crate::ids::{IdempotencyKey, JobId};
use crate::job::JobStatus;
use crate::journal::{JobQuery, JobRecord, JournaledJob};
use crate::records::{Record, UnknownJob};
use crate::roll::Phase;
use crate::store::{Entry, StoreError};
use crate::time::Moment;

/// Why a job that failed for good was not taken out of the dead letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADeadLetter {
    /// Its id is not known.
    #[error(transparent)]
    Unknown(#[from] UnknownJob),
    /// It has not failed for good.
    #[error("job {job_id} is {status:?}: only jobs that failed for good are retried or discarded")]
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
    pub(super) fn known_by_key(&self, key: &IdempotencyKey, at: Moment) -> Result<Option<Arc<Record>>, StoreError> {
        if let Some(record) = self.records.of_key(key, at.elapsed) {
            return Ok(Some(record));
        }
        if self.committer.is_none() {
            return Ok(None);
        }
        match self.log.store().job_of_key(key)? {
            Some(job_id) => Ok(self.find_record(&job_id, at)?.ok()),
            None => Ok(None),
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
        let budget = journaled.lineage.budget_left.map(|left| Arc::new(AtomicU32::new(left)));
        let pending = self.pending_of(journaled.clone(), budget, self.config.clock.moment())?;
        let (record, order) = (pending.record.clone(), journaled.order);
        let mut waiting = self.lock();
        // While the manager stops, the jobs before it may be on their way back into the queue.
        if waiting.queue.is_taken(&lane) || self.roll.phase() == Phase::Stopping {
            return Err(NotADeadLetter::Busy(job_id.clone()));
        }
        let now = self.log.revision(&lane)?;
        if now != failed_at {
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
