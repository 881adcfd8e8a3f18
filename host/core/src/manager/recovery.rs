//! Goes on where an earlier process ended.

use std::sync::Arc;
use std::time::Duration;

use super::shared::{Pending, Shared, Waiting};
use crate::dispatch::Lineage;
use crate::failure::{JobError, JobErrorCode};
use crate::ids::DocumentType;
use crate::journal::{FailedDependency, JobRecord, JournaledJob};
use crate::records::{Hold, Record};
use crate::report::Report;
use crate::store::StoreError;
use crate::time::Moment;

impl Shared {
    /// Puts every job of the journal that has not ended into the queue, in the order of their
    /// acceptance: with the attempts it has had, the moment it waits for, and what it depends on.
    pub(super) fn recover(&self) -> Result<(), StoreError> {
        if self.committer.is_none() {
            return Ok(());
        }
        let unfinished = self.log.store().unfinished()?;
        let at = self.config.clock.moment();
        let mut waiting = self.lock();
        for journaled in unfinished {
            self.requeue(&mut waiting, journaled, at)?;
        }
        Ok(())
    }

    /// Queues the jobs again that were given back, for the next start; whoever watches them from
    /// now on waits for that.
    pub(super) fn keep_for_next_start(&self, waiting: &mut Waiting) {
        let mut given_back = std::mem::take(&mut waiting.given_back);
        given_back.sort_by_key(|pending| pending.record.journal.order());
        for pending in given_back {
            let record = pending.record.anew();
            if pending.failed_before.is_some() {
                record.start();
            }
            self.records.insert(&record);
            let (lane, document_type) = (record.accepted.job.lane(), record.accepted.document_type.clone());
            let hold = pending.hold.as_ref().and_then(|hold| self.hold_again(hold, &record));
            waiting.queue.push_beyond(lane, document_type, Pending { record, hold, ..pending });
        }
    }

    /// Recreates the hold of a job that was given back at a stop.
    fn hold_again(&self, hold: &Hold, record: &Arc<Record>) -> Option<Arc<Hold>> {
        let again = self.hold_of(record, hold.failure().cloned(), self.config.clock.elapsed());
        again.unwrap_or_else(|error| {
            // Whether a dependency failed cannot be read. The job must not run if one did.
            let again = Arc::new(Hold::default());
            let error = JobError { error_code: JobErrorCode::IoError, error_message: error.to_string() };
            again.fail(FailedDependency { job_id: record.accepted.depends_on[0].clone(), error });
            Some(again)
        })
    }

    fn requeue(&self, waiting: &mut Waiting, journaled: JournaledJob, at: Moment) -> Result<(), StoreError> {
        let (lane, document_type) = (journaled.accepted.job.lane(), journaled.accepted.document_type.clone());
        let pending = self.pending_of(journaled, at)?;
        self.records.insert(&pending.record);
        self.block_if_unserved(waiting, &document_type);
        waiting.queue.push_beyond(lane, document_type, pending);
        Ok(())
    }

    /// Lets the jobs of a model wait until it has a plugin: that may be loaded later, and no job of
    /// the journal is failed for it.
    pub(super) fn block_if_unserved(&self, waiting: &mut Waiting, document_type: &DocumentType) {
        if self.reducers.get(document_type).is_none() {
            waiting.queue.block(document_type.clone());
        }
    }

    /// A job of the journal, ready to be queued.
    pub(super) fn pending_of(&self, journaled: JournaledJob, at: Moment) -> Result<Pending, StoreError> {
        let JournaledJob { order, accepted, accepted_at, not_before, lineage, failed_attempts, failed_dependency } =
            journaled;
        let budget = self.budgets.recover(&lineage, &**self.log.store())?;
        let lineage = Lineage::recovered(&lineage, &accepted.job.id, budget);
        let record = Record::recovered(accepted, lineage, order, accepted_at, at);
        let hold = self.hold_of(&record, failed_dependency, at.elapsed)?;
        let mut pending = Pending::new(record, hold);
        // Without a moment to wait for, the attempts are those of a dead letter that begins anew.
        if let (Some(not_before), Some(last)) = (not_before, failed_attempts.last()) {
            pending.record.start();
            let first = failed_attempts.iter().rev().find(|failed| failed.attempt == 1).unwrap_or(last);
            pending.started_at = Some(at.elapsed.saturating_sub(at.now.since(first.failed_at)));
            pending.attempts = last.attempt;
            // The time of day may have gone back since, by decades on a machine whose clock has no
            // battery: the job waits no longer than the delay that was drawn for it.
            let backoff = not_before.since(at.now).min(not_before.since(last.failed_at));
            pending.not_before = Some(at.elapsed + backoff);
            pending.failed_before = Some(Report::recovered(last));
        }
        pending.failed_attempts = failed_attempts;
        Ok(pending)
    }

    /// What holds a job back that depends on others, of which `failed` is known to have failed.
    fn hold_of(
        &self,
        record: &Arc<Record>,
        failed: Option<FailedDependency>,
        now: Duration,
    ) -> Result<Option<Arc<Hold>>, StoreError> {
        let depends_on = &record.accepted.depends_on;
        if depends_on.is_empty() {
            return Ok(None);
        }
        let hold = Arc::new(Hold::default());
        if let Some(failed) = failed {
            hold.fail(failed);
        }
        for dependency in depends_on {
            if let Ok(known) = self.records.get(dependency, now) {
                known.hold(record, &hold);
                continue;
            }
            match self.log.store().job(dependency)? {
                Some(JobRecord::Failed { result, .. }) => hold.ended_before(&result),
                Some(JobRecord::Completed { .. } | JobRecord::Unfinished(_)) => {}
                // A failure that the journal forgets is remembered as an outcome, and was recorded
                // with the jobs that waited for it.
                None => {
                    if let Some(outcome) = self.log.store().outcome(dependency)? {
                        hold.ended_as(dependency, outcome);
                    }
                }
            }
        }
        Ok(Some(hold))
    }
}
