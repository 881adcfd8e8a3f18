//! A disk of the tests' own: it outlives managers, and fails, waits and forgets on command.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reductor_core::{
    ActionId, Durability, Entry, Head, IdempotencyKey, JobId, JobOutcome, JobQuery, JobRecord, JobRetention, JobStatus,
    JournaledJob, LaneKey, MemoryStore, OperationStore, Pausing, Position, Scope, StoreError, StoredOperation,
    Timestamp,
};

use crate::executor::host::BOUND;

/// What survives a process.
///
/// It keeps only the snapshots that it is given, so that documents are loaded from their
/// operations; and it checks of every entry that it can come where it comes.
#[derive(Default)]
pub(super) struct Disk {
    inner: MemoryStore,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    snapshots: HashMap<LaneKey, Vec<Arc<Head>>>,
    /// What was written so far, batch by batch, as words such as `accepted a`.
    batches: Vec<Vec<String>>,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is written.
    Written,
    /// It is written, and nobody is told so.
    WrittenUnknown,
    /// It is lost.
    Lost,
    /// It is written, and the store panics.
    Panics,
}

/// The disk as one process has it. When a batch has failed, nothing more is written through it.
pub(super) struct Mount {
    disk: Arc<Disk>,
    levers: Mutex<Levers>,
    changed: Condvar,
}

#[derive(Default)]
struct Levers {
    held: bool,
    /// Whether a batch waits, or is being written.
    waits: bool,
    writes: bool,
    /// What becomes of the next batches; they do not wait.
    fates: VecDeque<Fate>,
    stopped: bool,
    full: bool,
    unreadable: bool,
    panics_when_pruned: bool,
    prune_held: bool,
    is_pruning: bool,
}

impl Disk {
    /// A disk that keeps jobs as `retention` says.
    pub(super) fn with_retention(retention: JobRetention) -> Self {
        Self { inner: MemoryStore::with_retention(retention), kept: Mutex::default() }
    }

    pub(super) fn mount(self: &Arc<Self>) -> Arc<Mount> {
        Arc::new(Mount { disk: self.clone(), levers: Mutex::default(), changed: Condvar::new() })
    }

    pub(super) fn batches(&self) -> Vec<Vec<String>> {
        self.kept().batches.clone()
    }

    /// All that was written, in order.
    pub(super) fn written(&self) -> Vec<String> {
        self.batches().concat()
    }

    pub(super) fn store(&self) -> &MemoryStore {
        &self.inner
    }

    /// Every job that it knows.
    pub(super) fn jobs(&self) -> Vec<JobRecord> {
        let all = JobQuery { status: None, document: None, after: 0, limit: usize::MAX };
        self.inner.jobs(&all).expect("a readable journal")
    }

    pub(super) fn job(&self, id: &JobId) -> Option<JobRecord> {
        self.inner.job(id).expect("a readable journal")
    }

    pub(super) fn operations(&self, lane: &LaneKey) -> Vec<StoredOperation> {
        self.inner.operations(lane, 0, usize::MAX).expect("readable operations")
    }

    fn write(&self, batch: &[Entry]) -> Vec<Result<(), StoreError>> {
        let mut kept = self.kept();
        kept.batches.push(batch.iter().map(|entry| self.say(entry)).collect());
        batch.iter().map(|entry| self.write_one(&mut kept, entry)).collect()
    }

    fn write_one(&self, kept: &mut Kept, entry: &Entry) -> Result<(), StoreError> {
        let status = |id: &JobId| self.job(id).map(|record| record.status());
        match entry {
            Entry::Accepted(journaled) => assert_eq!(status(&journaled.accepted.job.id), None, "{entry:?}"),
            Entry::Ended(ended) => {
                // Nobody may have asked for its acceptance.
                let before = status(&ended.journaled.accepted.job.id);
                assert!(matches!(before, None | Some(JobStatus::Pending)), "{entry:?}");
            }
            Entry::AttemptFailed { job_id, .. } => {
                assert_eq!(status(job_id), Some(JobStatus::Pending), "{entry:?}");
            }
            Entry::Retried(journaled) => {
                assert_eq!(status(&journaled.accepted.job.id), Some(JobStatus::Failed), "{entry:?}");
            }
            Entry::Discarded(job_id) => assert_eq!(status(job_id), Some(JobStatus::Failed), "{entry:?}"),
            Entry::Snapshot { lane, head } => {
                let operations = self.operations(lane);
                let stands = operations.len() as u64;
                assert!(head.revision <= stands, "a snapshot of {lane} at {}, which stands at {stands}", head.revision);
                for scope in head.scopes.iter().filter(|scope| scope.next_index > 0) {
                    let last = operations.iter().find(|stored| {
                        let operation = &stored.operation;
                        (&operation.action.scope, operation.index + 1) == (&scope.state.scope, scope.next_index)
                    });
                    assert_eq!(last.map(|last| &last.operation.hash), Some(&scope.hash), "a snapshot of {lane}");
                }
                kept.snapshots.entry(lane.clone()).or_default().push(head.clone());
            }
            // It may have been cancelled meanwhile.
            Entry::DependencyFailed { job_id, .. } => assert!(status(job_id).is_some(), "{entry:?}"),
            Entry::Append(_) | Entry::Pausing(_) => {}
        }
        self.inner.commit(std::slice::from_ref(entry))?.remove(0)
    }

    /// An entry in words, with the id of its job's first action for the job.
    fn say(&self, entry: &Entry) -> String {
        let name = |journaled: &JournaledJob| journaled.accepted.job.actions[0].id.clone();
        let of_id = |id: &JobId| match self.job(id) {
            Some(JobRecord::Unfinished(journaled) | JobRecord::Failed { journaled, .. }) => name(&journaled),
            _ => ActionId::from("?"),
        };
        match entry {
            Entry::Append(append) => format!("append {}", append.lane.document),
            Entry::Accepted(journaled) => format!("accepted {}", name(journaled)),
            Entry::AttemptFailed { job_id, attempt, .. } => format!("attempt {} of {}", attempt.attempt, of_id(job_id)),
            Entry::DependencyFailed { job_id, .. } => format!("dependency of {} failed", of_id(job_id)),
            Entry::Ended(ended) if ended.result.success => format!("completed {}", name(&ended.journaled)),
            Entry::Ended(ended) => format!("failed {}", name(&ended.journaled)),
            Entry::Snapshot { lane, head } => format!("snapshot {} {}", lane.document, head.revision),
            Entry::Pausing(pausing) => format!("{pausing:?}"),
            Entry::Retried(journaled) => format!("retried {}", name(journaled)),
            Entry::Discarded(id) => format!("discarded {}", of_id(id)),
        }
    }

    fn snapshot(&self, lane: &LaneKey, revision_max: u64) -> Option<Arc<Head>> {
        let kept = self.kept();
        let usable = kept.snapshots.get(lane)?.iter().filter(|head| head.revision <= revision_max);
        usable.max_by_key(|head| head.revision).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mount {
    /// Lets batches wait from now on.
    pub(super) fn hold(&self) {
        self.lock().held = true;
    }

    /// Lets them through again.
    pub(super) fn release(&self) {
        self.lock().held = false;
        self.changed.notify_all();
    }

    /// Waits until a batch waits.
    pub(super) fn wait_until_held(&self) {
        let waited = self.changed.wait_timeout_while(self.lock(), BOUND, |levers| !levers.waits);
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "no batch came");
    }

    /// Says what becomes of the next batch, whether it waits or is still to come.
    pub(super) fn next(&self, fate: Fate) {
        self.lock().fates.push_back(fate);
        self.changed.notify_all();
    }

    /// Ends the process at once, as far as the disk sees: a batch that waits meets its fate, and no
    /// later one is written.
    pub(super) fn kill(&self, fate: Fate) {
        let mut levers = self.lock();
        if levers.waits && fate != Fate::Lost {
            levers.fates.clear();
            levers.fates.push_back(Fate::WrittenUnknown);
        } else {
            levers.stopped = true;
        }
        levers.held = false;
        self.changed.notify_all();
        // What is on the disk does not change any more when this returns.
        let _levers = self.changed.wait_while(levers, |levers| levers.waits || levers.writes);
    }

    /// So little room is left that no job should be accepted.
    pub(super) fn fill(&self) {
        self.lock().full = true;
    }

    /// Lets reads fail, or succeed again.
    pub(super) fn set_unreadable(&self, unreadable: bool) {
        self.lock().unreadable = unreadable;
    }

    /// Lets the next prune wait.
    pub(super) fn hold_prune(&self) {
        self.lock().prune_held = true;
    }

    pub(super) fn release_prune(&self) {
        self.lock().prune_held = false;
        self.changed.notify_all();
    }

    pub(super) fn wait_until_pruning(&self) {
        let waited = self.changed.wait_timeout_while(self.lock(), BOUND, |levers| !levers.is_pruning);
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "nothing was pruned");
    }

    pub(super) fn panic_when_pruned(&self) {
        self.lock().panics_when_pruned = true;
    }

    fn readable(&self) -> Result<&MemoryStore, StoreError> {
        if self.lock().unreadable {
            return Err(StoreError::Io { doing: "read", problem: "a bad sector".to_owned() });
        }
        Ok(&self.disk.inner)
    }

    /// What becomes of the batch that has come.
    fn fate(&self, mut levers: MutexGuard<'_, Levers>) -> Fate {
        levers.waits = true;
        self.changed.notify_all();
        let waits = |levers: &mut Levers| levers.held && levers.fates.is_empty() && !levers.stopped;
        levers = self.changed.wait_while(levers, waits).unwrap_or_else(PoisonError::into_inner);
        let fate = if levers.stopped { Fate::Lost } else { levers.fates.pop_front().unwrap_or(Fate::Written) };
        levers.stopped |= fate != Fate::Written;
        (levers.waits, levers.writes) = (false, true);
        fate
    }

    fn lock(&self) -> MutexGuard<'_, Levers> {
        self.levers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OperationStore for Mount {
    fn durability(&self) -> Durability {
        Durability::Disk
    }

    fn position(&self, lane: &LaneKey) -> Result<Option<Position>, StoreError> {
        self.readable()?.position(lane)
    }

    fn snapshot(&self, lane: &LaneKey, revision_max: u64) -> Result<Option<Arc<Head>>, StoreError> {
        self.readable()?;
        Ok(self.disk.snapshot(lane, revision_max))
    }

    fn operations(&self, lane: &LaneKey, from: u64, limit: usize) -> Result<Vec<StoredOperation>, StoreError> {
        self.readable()?.operations(lane, from, limit)
    }

    fn operation_of(
        &self,
        lane: &LaneKey,
        scope: &Scope,
        action: &ActionId,
    ) -> Result<Option<StoredOperation>, StoreError> {
        self.readable()?.operation_of(lane, scope, action)
    }

    fn lanes(&self, after: Option<&LaneKey>, limit: usize) -> Result<Vec<LaneKey>, StoreError> {
        self.readable()?.lanes(after, limit)
    }

    fn commit(&self, batch: &[Entry]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let levers = self.lock();
        if levers.stopped {
            return Err(StoreError::Stopped { because: "a batch failed".to_owned() });
        }
        let fate = self.fate(levers);
        let outcomes = if fate == Fate::Lost { Vec::new() } else { self.disk.write(batch) };
        self.lock().writes = false;
        self.changed.notify_all();
        match fate {
            Fate::Panics => panic!("a store that is broken"),
            Fate::Written => Ok(outcomes),
            Fate::WrittenUnknown | Fate::Lost => {
                Err(StoreError::Io { doing: "sync a batch", problem: "the disk is gone".to_owned() })
            }
        }
    }

    fn unfinished(&self) -> Result<Vec<JournaledJob>, StoreError> {
        self.readable()?.unfinished()
    }

    fn last_order(&self) -> Result<u64, StoreError> {
        self.readable()?.last_order()
    }

    fn job(&self, job: &JobId) -> Result<Option<JobRecord>, StoreError> {
        self.readable()?.job(job)
    }

    fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRecord>, StoreError> {
        self.readable()?.jobs(query)
    }

    fn outcome(&self, job: &JobId) -> Result<Option<JobOutcome>, StoreError> {
        self.readable()?.outcome(job)
    }

    fn budget_left(&self, root: &JobId) -> Result<Option<u32>, StoreError> {
        self.readable()?.budget_left(root)
    }

    fn job_of_key(&self, key: &IdempotencyKey) -> Result<Option<JobId>, StoreError> {
        self.readable()?.job_of_key(key)
    }

    fn pausing(&self) -> Result<Pausing, StoreError> {
        self.readable()?.pausing()
    }

    fn check_room(&self) -> Result<(), StoreError> {
        match self.lock().full {
            true => Err(StoreError::DiskFull { free_bytes: 1, reserve_bytes: 2 }),
            false => Ok(()),
        }
    }

    fn prune(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut levers = self.lock();
        levers.is_pruning = true;
        self.changed.notify_all();
        levers = self.changed.wait_while(levers, |levers| levers.prune_held).unwrap_or_else(PoisonError::into_inner);
        levers.is_pruning = false;
        let panics = levers.panics_when_pruned;
        drop(levers);
        assert!(!panics, "the engine found damage");
        self.readable()?.prune(now)
    }
}

/// A long time for a manual clock; no backoff of these tests is longer.
pub(super) const LONG: Duration = Duration::from_hours(1);
