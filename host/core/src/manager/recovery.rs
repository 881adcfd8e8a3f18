//! Goes on where an earlier process ended.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::shared::{Pending, Shared, Waiting};
use crate::dispatch::Lineage;
use crate::ids::{DocumentType, JobId, LaneKey};
use crate::journal::{JobRecord, JournaledJob};
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
        let budgets = budgets(&unfinished);
        let at = self.config.clock.moment();
        let mut waiting = self.lock();
        for journaled in unfinished {
            let budget = budgets.get(&journaled.lineage.root).cloned();
            self.requeue(&mut waiting, journaled, budget, at)?;
        }
        Ok(())
    }

    /// Queues the jobs again that were given back, for the next start; whoever watches them from
    /// now on waits for that.
    pub(super) fn keep_for_next_start(&self, waiting: &mut Waiting) {
        let mut given_back = std::mem::take(&mut waiting.given_back);
        given_back.sort_by_key(|pending| pending.record.journal.order());
        let ids: HashSet<_> = given_back.iter().map(|pending| pending.record.job_id().clone()).collect();
        for pending in given_back {
            let record = pending.record.anew();
            if pending.failed_before.is_some() {
                record.start();
            }
            self.records.insert(&record);
            let (lane, document_type) = (record.accepted.job.lane(), record.accepted.document_type.clone());
            let hold = pending.hold.as_ref().map(|hold| self.hold_again(hold, &record, &ids));
            waiting.queue.push_beyond(lane, document_type, Pending { record, hold, ..pending });
        }
    }

    /// What holds a job back that was given back: jobs that it depends on and that were given back
    /// as well have not failed, whatever its old hold says.
    fn hold_again(&self, hold: &Hold, record: &Record, given_back: &HashSet<JobId>) -> Arc<Hold> {
        let again = Arc::new(Hold::default());
        if let Some(failed) = hold.failure().filter(|failed| !given_back.contains(&failed.job_id)) {
            again.fail(failed.clone());
        }
        let (lane, now) = (record.accepted.job.lane(), self.config.clock.elapsed());
        for dependency in &record.accepted.depends_on {
            // One that is forgotten has ended, and if it failed, that was noted.
            if let Ok(known) = self.records.get(dependency, now) {
                known.hold(&lane, &again);
            }
        }
        again
    }

    fn requeue(
        &self,
        waiting: &mut Waiting,
        journaled: JournaledJob,
        budget: Option<Arc<AtomicU32>>,
        at: Moment,
    ) -> Result<(), StoreError> {
        let (lane, document_type) = (journaled.accepted.job.lane(), journaled.accepted.document_type.clone());
        let pending = self.pending_of(journaled, budget, at)?;
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
    pub(super) fn pending_of(
        &self,
        journaled: JournaledJob,
        budget: Option<Arc<AtomicU32>>,
        at: Moment,
    ) -> Result<Pending, StoreError> {
        let JournaledJob { order, accepted, accepted_at, not_before, lineage, failed_attempts, failed_dependency: _ } =
            journaled;
        let lineage = Lineage::recovered(&lineage, &accepted.job.id, budget);
        let hold = self.hold_of(&accepted.depends_on, &accepted.job.lane(), at)?;
        let record = Record::recovered(accepted, lineage, order, accepted_at, at);
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

    /// What holds a job back that depends on these.
    fn hold_of(&self, depends_on: &[JobId], lane: &LaneKey, at: Moment) -> Result<Option<Arc<Hold>>, StoreError> {
        if depends_on.is_empty() {
            return Ok(None);
        }
        let hold = Arc::new(Hold::default());
        for dependency in depends_on {
            if let Ok(record) = self.records.get(dependency, at.elapsed) {
                record.hold(lane, &hold);
                continue;
            }
            match self.log.store().job(dependency)? {
                Some(JobRecord::Failed { result, .. }) => hold.ended_before(&result),
                // One that is forgotten did not fail, or this job would have failed with it.
                Some(JobRecord::Completed { .. } | JobRecord::Unfinished(_)) | None => {}
            }
        }
        Ok(Some(hold))
    }
}

/// How many more jobs each root may lead to: as the latest of its jobs was told.
fn budgets(unfinished: &[JournaledJob]) -> HashMap<JobId, Arc<AtomicU32>> {
    let mut left: HashMap<JobId, u32> = HashMap::new();
    for lineage in unfinished.iter().map(|journaled| &journaled.lineage) {
        if let Some(budget) = lineage.budget_left {
            left.entry(lineage.root.clone()).and_modify(|left| *left = budget.min(*left)).or_insert(budget);
        }
    }
    left.into_iter().map(|(root, left)| (root, Arc::new(AtomicU32::new(left)))).collect()
}
