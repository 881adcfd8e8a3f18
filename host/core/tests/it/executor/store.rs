//! A memory store that fails, or lets something happen, on command.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use reductor_core::{
    ActionId, Append, Durability, Entry, Head, IdempotencyKey, JobId, JobOutcome, JobQuery, JobRecord, JournaledJob,
    LaneKey, MemoryStore, OperationStore, Pausing, Position, Scope, StoreError, StoredOperation, Timestamp,
};

/// A memory store with two levers.
#[derive(Default)]
pub(crate) struct LeveredStore {
    inner: MemoryStore,
    appends_to_fail: AtomicU32,
    after_next_head: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl LeveredStore {
    /// Makes this many appends fail.
    pub(crate) fn fail_appends(&self, count: u32) {
        self.appends_to_fail.store(count, Ordering::Relaxed);
    }

    /// Runs `happen` after the next head was read and before its reader gets it.
    pub(crate) fn after_next_head(&self, happen: impl FnOnce() + Send + 'static) {
        *self.after_next_head.lock().expect("no test panics with the lock") = Some(Box::new(happen));
    }
}

impl OperationStore for LeveredStore {
    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    fn position(&self, lane: &LaneKey) -> Result<Option<Position>, StoreError> {
        let position = self.inner.position(lane);
        let happen = self.after_next_head.lock().expect("no test panics with the lock").take();
        if let Some(happen) = happen {
            happen();
        }
        position
    }

    fn snapshot(&self, lane: &LaneKey, revision_max: u64) -> Result<Option<Arc<Head>>, StoreError> {
        self.inner.snapshot(lane, revision_max)
    }

    fn commit(&self, batch: &[Entry]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.inner.commit(batch)
    }

    fn append(&self, append: Append) -> Result<(), StoreError> {
        let fails = |left: u32| left.checked_sub(1);
        if self.appends_to_fail.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails).is_ok() {
            let Append { lane, expected_revision: expected, .. } = append;
            return Err(StoreError::RevisionConflict { lane, expected, found: expected + 1 });
        }
        self.inner.append(append)
    }

    fn operations(&self, lane: &LaneKey, from: u64, limit: usize) -> Result<Vec<StoredOperation>, StoreError> {
        self.inner.operations(lane, from, limit)
    }

    fn operation_of(
        &self,
        lane: &LaneKey,
        scope: &Scope,
        action: &ActionId,
    ) -> Result<Option<StoredOperation>, StoreError> {
        self.inner.operation_of(lane, scope, action)
    }

    fn lanes(&self, after: Option<&LaneKey>, limit: usize) -> Result<Vec<LaneKey>, StoreError> {
        self.inner.lanes(after, limit)
    }

    fn unfinished(&self) -> Result<Vec<JournaledJob>, StoreError> {
        self.inner.unfinished()
    }

    fn last_order(&self) -> Result<u64, StoreError> {
        self.inner.last_order()
    }

    fn job(&self, job: &JobId) -> Result<Option<JobRecord>, StoreError> {
        self.inner.job(job)
    }

    fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRecord>, StoreError> {
        self.inner.jobs(query)
    }

    fn outcome(&self, job: &JobId) -> Result<Option<JobOutcome>, StoreError> {
        self.inner.outcome(job)
    }

    fn budget_left(&self, root: &JobId) -> Result<Option<u32>, StoreError> {
        self.inner.budget_left(root)
    }

    fn job_of_key(&self, key: &IdempotencyKey) -> Result<Option<JobId>, StoreError> {
        self.inner.job_of_key(key)
    }

    fn pausing(&self) -> Result<Pausing, StoreError> {
        self.inner.pausing()
    }

    fn check_room(&self) -> Result<(), StoreError> {
        self.inner.check_room()
    }

    fn prune(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.inner.prune(now)
    }
}
