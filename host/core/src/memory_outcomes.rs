//! What a store in memory remembers of jobs whose results are gone.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::ids::{IdempotencyKey, JobId};
use crate::journal::JobOutcome;
use crate::time::Timestamp;

/// How jobs ended, and their keys, in the order in which the jobs were forgotten.
#[derive(Debug, Default)]
pub(crate) struct MemoryOutcomes {
    /// With the number of the memory, which tells it from an older one of the same job.
    by_id: HashMap<JobId, (u64, JobOutcome)>,
    by_key: HashMap<IdempotencyKey, (u64, JobId)>,
    remembered: VecDeque<Remembered>,
    next: u64,
}

#[derive(Debug)]
struct Remembered {
    number: u64,
    job_id: JobId,
    key: Option<IdempotencyKey>,
    completed_at: Timestamp,
}

impl MemoryOutcomes {
    pub(crate) fn remember(
        &mut self,
        job_id: JobId,
        outcome: JobOutcome,
        key: Option<IdempotencyKey>,
        completed_at: Timestamp,
    ) {
        let number = self.next;
        self.next += 1;
        self.by_id.insert(job_id.clone(), (number, outcome));
        if let Some(key) = &key {
            self.by_key.insert(key.clone(), (number, job_id.clone()));
        }
        self.remembered.push_back(Remembered { number, job_id, key, completed_at });
    }

    pub(crate) fn outcome(&self, job: &JobId) -> Option<JobOutcome> {
        self.by_id.get(job).map(|(_, outcome)| *outcome)
    }

    pub(crate) fn job_of_key(&self, key: &IdempotencyKey) -> Option<&JobId> {
        self.by_key.get(key).map(|(_, job_id)| job_id)
    }

    /// Forgets the oldest, so that no more than this many are left.
    pub(crate) fn forget_beyond(&mut self, count_max: usize) {
        while self.remembered.len() > count_max {
            self.forget_oldest();
        }
    }

    /// Forgets all that are too old.
    pub(crate) fn forget_older(&mut self, now: Timestamp, age_max: Duration) {
        while self.remembered.front().is_some_and(|oldest| now.since(oldest.completed_at) > age_max) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(Remembered { number, job_id, key, .. }) = self.remembered.pop_front() else { return };
        if self.by_id.get(&job_id).is_some_and(|(newest, _)| *newest == number) {
            self.by_id.remove(&job_id);
        }
        if let Some(key) = key
            && self.by_key.get(&key).is_some_and(|(newest, _)| *newest == number)
        {
            self.by_key.remove(&key);
        }
    }
}

/// Budgets that are kept before the older half is forgotten.
const BUDGETS_MAX: usize = 131_072;

/// What is left of the dispatch budgets of roots.
#[derive(Debug, Default)]
pub(crate) struct MemoryBudgets {
    newer: HashMap<JobId, u32>,
    older: HashMap<JobId, u32>,
}

impl MemoryBudgets {
    pub(crate) fn set(&mut self, root: JobId, left: u32) {
        if self.newer.len() >= BUDGETS_MAX {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(root, left);
    }

    pub(crate) fn left(&self, root: &JobId) -> Option<u32> {
        self.newer.get(root).or_else(|| self.older.get(root)).copied()
    }
}
