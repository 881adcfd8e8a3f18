//! The durable store keeps the promises of every store, also if it is closed and opened between
//! each write and the next read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};

use reductor_core::{
    ActionId, Append, Durability, Entry, Head, IdempotencyKey, JobId, JobOutcome, JobQuery, JobRecord, JobRetention,
    JournaledJob, LaneKey, OperationStore, Pausing, Position, Scope, StoreError, StoredOperation, Timestamp,
};
use reductor_store::{DiskStore, StoreOptions, Sync};
use tempfile::TempDir;

/// A store in a directory of its own.
struct Own {
    store: RwLock<Option<DiskStore>>,
    options: StoreOptions,
    dir: TempDir,
    /// Whether it is opened again before something is read that was written.
    reopens: bool,
    written: AtomicBool,
}

impl Own {
    fn new(retention: JobRetention, sync: Sync, reopens: bool) -> Self {
        let dir = TempDir::new().expect("a directory");
        let options = StoreOptions { retention, sync, reserve_bytes: 0, ..StoreOptions::default() };
        let store = RwLock::new(Some(DiskStore::open(dir.path(), options.clone()).expect("a new store")));
        Self { store, options, dir, reopens, written: AtomicBool::new(false) }
    }

    fn lasting(retention: JobRetention) -> Self {
        Self::new(retention, Sync::Always, false)
    }

    fn reopening(retention: JobRetention) -> Self {
        Self::new(retention, Sync::Never, true)
    }

    fn reading(&self) -> Lent<'_> {
        if self.reopens && self.written.swap(false, Ordering::SeqCst) {
            let mut store = self.store.write().expect("no panics");
            drop(store.take());
            *store = Some(DiskStore::open(self.dir.path(), self.options.clone()).expect("the store opens again"));
        }
        Lent(self.store.read().expect("no panics"))
    }

    fn writing(&self) -> Lent<'_> {
        let lent = Lent(self.store.read().expect("no panics"));
        self.written.store(true, Ordering::SeqCst);
        lent
    }
}

struct Lent<'a>(RwLockReadGuard<'a, Option<DiskStore>>);

impl std::ops::Deref for Lent<'_> {
    type Target = DiskStore;

    fn deref(&self) -> &DiskStore {
        self.0.as_ref().expect("it is open")
    }
}

impl OperationStore for Own {
    fn durability(&self) -> Durability {
        self.reading().durability()
    }

    fn position(&self, lane: &LaneKey) -> Result<Option<Position>, StoreError> {
        self.reading().position(lane)
    }

    fn snapshot(&self, lane: &LaneKey, revision_max: u64) -> Result<Option<Arc<Head>>, StoreError> {
        self.reading().snapshot(lane, revision_max)
    }

    fn operations(&self, lane: &LaneKey, from: u64, limit: usize) -> Result<Vec<StoredOperation>, StoreError> {
        self.reading().operations(lane, from, limit)
    }

    fn operation_of(
        &self,
        lane: &LaneKey,
        scope: &Scope,
        action: &ActionId,
    ) -> Result<Option<StoredOperation>, StoreError> {
        self.reading().operation_of(lane, scope, action)
    }

    fn lanes(&self, after: Option<&LaneKey>, limit: usize) -> Result<Vec<LaneKey>, StoreError> {
        self.reading().lanes(after, limit)
    }

    fn commit(&self, batch: &[Entry]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.writing().commit(batch)
    }

    fn append(&self, append: Append) -> Result<(), StoreError> {
        self.writing().append(append)
    }

    fn unfinished(&self) -> Result<Vec<JournaledJob>, StoreError> {
        self.reading().unfinished()
    }

    fn last_order(&self) -> Result<u64, StoreError> {
        self.reading().last_order()
    }

    fn job(&self, job: &JobId) -> Result<Option<JobRecord>, StoreError> {
        self.reading().job(job)
    }

    fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRecord>, StoreError> {
        self.reading().jobs(query)
    }

    fn outcome(&self, job: &JobId) -> Result<Option<JobOutcome>, StoreError> {
        self.reading().outcome(job)
    }

    fn budget_left(&self, root: &JobId) -> Result<Option<u32>, StoreError> {
        self.reading().budget_left(root)
    }

    fn job_of_key(&self, key: &IdempotencyKey) -> Result<Option<JobId>, StoreError> {
        self.reading().job_of_key(key)
    }

    fn pausing(&self) -> Result<Pausing, StoreError> {
        self.reading().pausing()
    }

    fn check_room(&self) -> Result<(), StoreError> {
        self.reading().check_room()
    }

    fn prune(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.writing().prune(now)
    }
}

mod lasting {
    crate::conformance::conformance_tests!(crate::conforming::Own::lasting);
}

mod reopening {
    crate::conformance::conformance_tests!(crate::conforming::Own::reopening);
}
