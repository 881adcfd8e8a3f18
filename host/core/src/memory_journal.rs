//! The journal of a store in memory.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::ids::{IdempotencyKey, JobId};
use crate::journal::{
    EndedJob, JobOutcome, JobQuery, JobRecord, JobRetention, JournaledJob, PRUNE_JOBS_MAX, RetentionClock,
};
use crate::memory_outcomes::{MemoryBudgets, MemoryOutcomes};
use crate::store::{Entry, Pausing};
use crate::time::Timestamp;

/// Jobs by their number in the journal.
#[derive(Debug)]
pub(crate) struct MemoryJournal {
    records: BTreeMap<u64, JobRecord>,
    by_id: HashMap<JobId, u64>,
    by_key: HashMap<IdempotencyKey, JobId>,
    /// The key of the job with a number, if it has one.
    key_of: HashMap<u64, IdempotencyKey>,
    /// The numbers of the jobs that ended, by when they ended among the others.
    completed: BTreeMap<u64, u64>,
    failed: BTreeMap<u64, u64>,
    /// When the job with a number ended among the others.
    end_of: HashMap<u64, u64>,
    next_end: u64,
    last_order: u64,
    pausing: Pausing,
    retention: JobRetention,
    clock: RetentionClock,
    outcomes: MemoryOutcomes,
    budgets: MemoryBudgets,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new(JobRetention::default())
    }
}

impl MemoryJournal {
    /// An empty journal that keeps ended jobs for so long.
    pub(crate) fn new(retention: JobRetention) -> Self {
        Self {
            records: BTreeMap::new(),
            by_id: HashMap::new(),
            by_key: HashMap::new(),
            key_of: HashMap::new(),
            completed: BTreeMap::new(),
            failed: BTreeMap::new(),
            end_of: HashMap::new(),
            next_end: 1,
            last_order: 0,
            pausing: Pausing::Resumed,
            retention,
            clock: RetentionClock::new(None),
            outcomes: MemoryOutcomes::default(),
            budgets: MemoryBudgets::default(),
        }
    }

    /// Takes down everything but operations and ends.
    pub(crate) fn write(&mut self, entry: &Entry) {
        match entry {
            Entry::Accepted(journaled) | Entry::Retried(journaled) => self.accept(journaled.clone()),
            Entry::AttemptFailed { order, attempt, not_before, .. } => {
                if let Some(JobRecord::Unfinished(journaled)) = self.records.get_mut(order) {
                    journaled.attempt_failed(attempt.clone(), Some(*not_before));
                }
            }
            Entry::DependencyFailed { order, failed, .. } => {
                if let Some(JobRecord::Unfinished(journaled)) = self.records.get_mut(order) {
                    journaled.dependency_failed(failed.clone());
                }
            }
            Entry::Pausing(pausing) => self.pausing = *pausing,
            Entry::Discarded(job_id) => {
                let failed = |order: &u64| matches!(self.records.get(order), Some(JobRecord::Failed { .. }));
                if let Some(order) = self.by_id.get(job_id).copied().filter(failed) {
                    self.forget(order);
                }
            }
            Entry::Append(_) | Entry::Ended(_) | Entry::Snapshot { .. } => {}
        }
    }

    /// Takes down the end of a job, and the jobs that it dispatched.
    pub(crate) fn end(&mut self, ended: &EndedJob) {
        let EndedJob { journaled, result, revision, dispatched, budget_left, append: _ } = ended;
        self.accept(journaled.clone());
        let (order, result) = (journaled.order, result.clone());
        let (ends, record) = if result.success {
            (&mut self.completed, JobRecord::Completed { order, result })
        } else {
            (&mut self.failed, JobRecord::Failed { journaled: journaled.clone(), result, revision: *revision })
        };
        ends.insert(self.next_end, order);
        self.end_of.insert(order, self.next_end);
        self.next_end += 1;
        self.records.insert(order, record);
        if let Some(left) = budget_left {
            self.budgets.set(journaled.lineage.root.clone(), *left);
        }
        dispatched.iter().for_each(|journaled| self.accept(journaled.clone()));
    }

    fn accept(&mut self, journaled: JournaledJob) {
        self.last_order = self.last_order.max(journaled.order);
        let job_id = journaled.accepted.job.id.clone();
        if let Some(key) = &journaled.accepted.idempotency_key {
            self.by_key.insert(key.clone(), job_id.clone());
            self.key_of.insert(journaled.order, key.clone());
        }
        self.by_id.insert(job_id, journaled.order);
        self.forget_end(journaled.order);
        self.records.insert(journaled.order, JobRecord::Unfinished(journaled));
    }

    fn forget_end(&mut self, order: u64) {
        if let Some(end) = self.end_of.remove(&order) {
            self.completed.remove(&end);
            self.failed.remove(&end);
        }
    }

    /// Forgets a job that ended, but remembers how.
    fn forget(&mut self, order: u64) {
        self.forget_end(order);
        let Some(record) = self.records.remove(&order) else { return };
        let key = self.key_of.remove(&order).filter(|key| self.by_key.get(key) == Some(record.job_id()));
        if let Some(key) = &key {
            self.by_key.remove(key);
        }
        if self.by_id.get(record.job_id()) == Some(&order) {
            self.by_id.remove(record.job_id());
        }
        if let (Some(outcome), Some(result)) = (record.outcome(), record.result()) {
            self.outcomes.remember(record.job_id().clone(), outcome, key, result.completed_at);
            self.outcomes.forget_beyond(self.retention.outcomes_max);
        }
    }

    pub(crate) fn unfinished(&self) -> Vec<JournaledJob> {
        let unfinished = |record: &JobRecord| match record {
            JobRecord::Unfinished(journaled) => Some(journaled.clone()),
            JobRecord::Completed { .. } | JobRecord::Failed { .. } => None,
        };
        self.records.values().filter_map(unfinished).collect()
    }

    pub(crate) fn last_order(&self) -> u64 {
        self.last_order
    }

    pub(crate) fn job(&self, job: &JobId) -> Option<JobRecord> {
        self.records.get(self.by_id.get(job)?).cloned()
    }

    pub(crate) fn jobs(&self, query: &JobQuery) -> Vec<JobRecord> {
        let after = self.records.range(query.after.saturating_add(1)..).map(|(_, record)| record);
        after.filter(|record| query.wants(record)).take(query.limit).cloned().collect()
    }

    pub(crate) fn job_of_key(&self, key: &IdempotencyKey) -> Option<JobId> {
        self.by_key.get(key).or_else(|| self.outcomes.job_of_key(key)).cloned()
    }

    pub(crate) fn outcome(&self, job: &JobId) -> Option<JobOutcome> {
        match self.by_id.get(job).and_then(|order| self.records.get(order)) {
            Some(known) => known.outcome(),
            None => self.outcomes.outcome(job),
        }
    }

    pub(crate) fn budget_left(&self, root: &JobId) -> Option<u32> {
        self.budgets.left(root)
    }

    pub(crate) fn pausing(&self) -> Pausing {
        self.pausing
    }

    pub(crate) fn prune(&mut self, now: Timestamp) -> u64 {
        let newest = [&self.completed, &self.failed].into_iter().filter_map(|ends| ends.last_key_value()).max();
        let newest_end = newest.and_then(|(_, order)| self.completed_at(*order));
        let now = self.clock.read(now, newest_end);
        let JobRetention { completed_max, completed_age_max, failed_max, failed_age_max, .. } = self.retention;
        let completed = self.surplus(&self.completed, completed_max, completed_age_max, now);
        let failed = self.surplus(&self.failed, failed_max, failed_age_max, now);
        let surplus: Vec<_> = completed.into_iter().chain(failed).take(PRUNE_JOBS_MAX).collect();
        surplus.iter().for_each(|order| self.forget(*order));
        self.outcomes.forget_older(now, self.retention.outcomes_age_max);
        self.clock.forgot(surplus.len() as u64);
        surplus.len() as u64
    }

    fn completed_at(&self, order: u64) -> Option<Timestamp> {
        Some(self.records.get(&order)?.result()?.completed_at)
    }

    /// The ended jobs that are too old or too many: the ones that ended first, up to one to keep.
    fn surplus(&self, ends: &BTreeMap<u64, u64>, count_max: usize, age_max: Duration, now: Timestamp) -> Vec<u64> {
        let too_many = ends.len().saturating_sub(count_max);
        let is_old = |order: u64| self.completed_at(order).is_some_and(|ended| now.since(ended) > age_max);
        let surplus = |(at, order): &(usize, &u64)| *at < too_many || is_old(**order);
        ends.values().enumerate().take_while(surplus).take(PRUNE_JOBS_MAX).map(|(_, order)| *order).collect()
    }
}
