//! The journal of a store in memory.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::ids::{IdempotencyKey, JobId};
use crate::job::JobStatus;
use crate::journal::{EndedJob, JobQuery, JobRecord, JobRetention, JournaledJob};
use crate::store::{Entry, Pausing};
use crate::time::Timestamp;

/// Jobs by their number in the journal.
#[derive(Debug)]
pub(crate) struct MemoryJournal {
    records: BTreeMap<u64, JobRecord>,
    by_id: HashMap<JobId, u64>,
    by_key: HashMap<IdempotencyKey, JobId>,
    /// The numbers of those that ended, as they did.
    ended: BTreeMap<u64, u64>,
    last_order: u64,
    pausing: Pausing,
    retention: JobRetention,
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
            ended: BTreeMap::new(),
            last_order: 0,
            pausing: Pausing::Resumed,
            retention,
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
        let EndedJob { journaled, result, revision, dispatched, .. } = ended;
        self.accept(journaled.clone());
        let (order, result) = (journaled.order, result.clone());
        let record = if result.success {
            JobRecord::Completed { order, result }
        } else {
            JobRecord::Failed { journaled: journaled.clone(), result, revision: *revision }
        };
        self.records.insert(order, record);
        let last = self.ended.last_key_value().map_or(0, |(end, _)| *end);
        self.ended.insert(last + 1, order);
        dispatched.iter().for_each(|journaled| self.accept(journaled.clone()));
    }

    fn accept(&mut self, journaled: JournaledJob) {
        self.last_order = self.last_order.max(journaled.order);
        let job_id = journaled.accepted.job.id.clone();
        if let Some(key) = &journaled.accepted.idempotency_key {
            self.by_key.insert(key.clone(), job_id.clone());
        }
        self.by_id.insert(job_id, journaled.order);
        if matches!(self.records.get(&journaled.order), Some(JobRecord::Completed { .. } | JobRecord::Failed { .. })) {
            self.ended.retain(|_, order| *order != journaled.order);
        }
        self.records.insert(journaled.order, JobRecord::Unfinished(journaled));
    }

    fn forget(&mut self, order: u64) {
        let Some(record) = self.records.remove(&order) else { return };
        self.by_id.remove(record.job_id());
        self.by_key.retain(|_, job_id| job_id != record.job_id());
        self.ended.retain(|_, ended| *ended != order);
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
        self.records.values().filter(|record| query.wants(record)).take(query.limit).cloned().collect()
    }

    pub(crate) fn job_of_key(&self, key: &IdempotencyKey) -> Option<JobId> {
        self.by_key.get(key).cloned()
    }

    pub(crate) fn pausing(&self) -> Pausing {
        self.pausing
    }

    pub(crate) fn prune(&mut self, now: Timestamp) -> u64 {
        let JobRetention { completed_max, completed_age_max, failed_max, failed_age_max } = self.retention;
        let completed = self.surplus(JobStatus::Completed, completed_max, completed_age_max, now);
        let failed = self.surplus(JobStatus::Failed, failed_max, failed_age_max, now);
        let surplus: Vec<_> = completed.into_iter().chain(failed).collect();
        surplus.iter().for_each(|order| self.forget(*order));
        surplus.len() as u64
    }

    /// The ended jobs that are too old or too many: those that ended first, up to one to keep.
    fn surplus(&self, status: JobStatus, count_max: usize, age_max: Duration, now: Timestamp) -> Vec<u64> {
        let age_ms_max = i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX);
        let ended = |order: &u64| {
            let record = self.records.get(order).filter(|record| record.status() == status)?;
            Some((*order, record.result()?.completed_at))
        };
        let ended: Vec<_> = self.ended.values().filter_map(ended).collect();
        let too_many = ended.len().saturating_sub(count_max);
        let surplus = |(at, (_, ended)): &(usize, &(u64, Timestamp))| {
            *at < too_many || now.ms.saturating_sub(ended.ms) > age_ms_max
        };
        ended.iter().enumerate().take_while(surplus).map(|(_, (order, _))| *order).collect()
    }
}
