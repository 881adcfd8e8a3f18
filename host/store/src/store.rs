//! The store: opening it, writing to it, reading from it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use fjall::{OwnedWriteBatch, PersistMode, Readable as _, Snapshot};
use reductor_core::{
    ActionId, Durability, Entry, Head, IdempotencyKey, JobId, JobOutcome, JobQuery, JobRecord, JobStatus, JournaledJob,
    LaneKey, OperationStore, Pausing, Position, Scope, StoreError, StoredOperation, Timestamp,
};

use crate::codec::{
    self, CompletedRecord, FailedRecord, JournaledMore, LaneName, LaneText, SnapshotRecord, StateRecord,
};
use crate::directory::{Acknowledged, Directory, Found};
use crate::engine::{Engine, get};
use crate::error::{OpenError, describe, read_error};
use crate::jobs::{Change, JobIndex, Place};
use crate::keys::{self, ActionKey};
use crate::lanes::{Lane, LaneCache, corrupt};
use crate::names::{NameWriter, Names};
use crate::options::{StoreOptions, Sync};
use crate::plan::{Ground, Plan, Planned, pending_job, read_operation, stored_operation, stored_sequence};
use crate::start;
use crate::ticker::Ticker;

/// A store in a directory, which one process at a time may have open.
///
/// Whoever writes takes turns; a batch of entries is one write and one sync. Readers never wait
/// for that: they read what the last batch left, until the next is on the disk.
///
/// After a write or a sync failed, nothing more is written until the store is opened again,
/// because nobody knows what is on the disk. Reads go on, of what was there before.
pub struct DiskStore {
    // Its thread uses what follows.
    _ticker: Option<Ticker>,
    pub(crate) inner: Arc<Inner>,
}

/// What the store's threads share.
pub(crate) struct Inner {
    pub(crate) engine: Engine,
    options: StoreOptions,
    pub(crate) names: RwLock<Names>,
    lanes: LaneCache,
    shared: RwLock<Shared>,
    writer: Mutex<Writer>,
    room: Mutex<Option<Room>>,
    acknowledged: Acknowledged,
    /// Batches that are on the disk for certain.
    synced: AtomicU64,
    // Unlocked last, when the engine is closed.
    pub(crate) directory: Directory,
}

/// What readers see, all of it after the same batch.
pub(crate) struct Shared {
    pub(crate) view: Snapshot,
    pub(crate) jobs: JobIndex,
    pub(crate) state: StateRecord,
    /// Why nothing more is written.
    stopped: Option<String>,
}

/// What only the writer has.
struct Writer {
    names: NameWriter,
}

/// How much of the disk was free, and when.
struct Room {
    free_bytes: u64,
    at: Instant,
}

/// How long the free space of a disk is believed.
const ROOM_BELIEVED: Duration = Duration::from_millis(100);

/// Tables in memory that may wait to be written before a batch waits, too. The engine itself
/// waits at four without looking whether anybody writes them.
const TABLES_WAITING_MAX: usize = 3;

/// Completed jobs that are forgotten before the engine is asked to free their tables.
const FREE_EVERY: u64 = 50_000;

/// Damaged snapshots of a lane that are passed over.
const SNAPSHOTS_TRIED_MAX: usize = 16;

impl DiskStore {
    /// Opens the store in a directory, or makes one if there is none.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(dir: impl AsRef<Path>, options: StoreOptions) -> Result<Self, OpenError> {
        let (directory, found) = Directory::open(dir.as_ref())?;
        Self::open_in(directory, found, options)
    }

    pub(crate) fn open_in(directory: Directory, found: Found, options: StoreOptions) -> Result<Self, OpenError> {
        let started = Instant::now();
        let (engine, acknowledged, synced) = start::open_engine(&directory, found, &options)?;
        let loaded = start::load(&engine, &directory, &options.retention)?;
        if loaded.state.commits < synced {
            let lost = synced - loaded.state.commits;
            let problem = format!("the last {lost} batches that were acknowledged are missing");
            return Err(OpenError::Damaged { dir: directory.path().to_owned(), problem });
        }
        if found == Found::Nothing {
            let io = |error| OpenError::Io { dir: directory.path().to_owned(), doing: "finish making it", error };
            directory.finish().map_err(io)?;
        }
        let (unfinished, failed, completed) = loaded.jobs.counts();
        tracing::info!(
            dir = %directory.path().display(), unfinished, failed, completed, commits = loaded.state.commits,
            elapsed_ms = started.elapsed().as_millis() as u64, "opened the store"
        );
        let view = engine.database.snapshot();
        let shared = Shared { view, jobs: loaded.jobs, state: loaded.state, stopped: None };
        let inner = Arc::new(Inner {
            lanes: LaneCache::new(options.lanes_cached),
            names: RwLock::new(loaded.names),
            writer: Mutex::new(Writer { names: loaded.name_writer }),
            room: Mutex::new(None),
            acknowledged,
            synced: AtomicU64::new(synced),
            shared: RwLock::new(shared),
            engine,
            options,
            directory,
        });
        let ticker = match inner.options.sync {
            Sync::Interval(every) => Some(Ticker::start(&inner, every).map_err(|error| OpenError::Io {
                dir: inner.directory.path().to_owned(),
                doing: "start the thread that syncs it",
                error,
            })?),
            Sync::Always | Sync::Never => None,
        };
        Ok(Self { _ticker: ticker, inner })
    }
}

impl DiskStore {
    /// Writes tables of all that is in memory, so that the next start has nothing to read again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a table cannot be written; the store then stops writing.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.inner.check_running()?;
        for (_, keyspace) in self.inner.engine.keyspaces() {
            keyspace.rotate_memtable().map_err(|error| self.inner.stop("write a table", &describe(&error)))?;
        }
        self.inner.wait_for_tables(1)
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        // What was not to be synced before an acknowledgement is at an orderly end.
        self._ticker = None;
        if self.inner.options.sync != Sync::Always {
            let _ = self.inner.sync();
        }
    }
}

impl Inner {
    pub(crate) fn shared(&self) -> RwLockReadGuard<'_, Shared> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view(&self) -> Snapshot {
        self.shared().view.clone()
    }

    pub(crate) fn names(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_running(&self) -> Result<(), StoreError> {
        match &self.shared().stopped {
            Some(because) => Err(StoreError::Stopped { because: because.clone() }),
            None => Ok(()),
        }
    }

    /// Says that nothing more is written.
    fn stop(&self, doing: &'static str, problem: &str) -> StoreError {
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        if shared.stopped.is_none() {
            tracing::error!(problem, "the store could not {doing}, and stops writing");
            shared.stopped = Some(format!("it could not {doing}: {problem}"));
        }
        StoreError::Io { doing, problem: problem.to_owned() }
    }

    fn commit(&self, entries: &[Entry]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let mut writer = self.writer();
        self.check_running()?;
        let (planned, outcomes) = {
            let shared = self.shared();
            let ground = Ground {
                engine: &self.engine,
                view: &shared.view,
                names: &self.names,
                lanes: &self.lanes,
                jobs: &shared.jobs,
                snapshot_every: self.options.snapshot_every,
            };
            let mut plan = Plan::new(ground, &mut writer.names, shared.state, entries.len());
            let outcomes: Vec<_> = entries.iter().map(|entry| plan.add(entry)).collect();
            (plan.finish(), outcomes)
        };
        self.write(planned)?;
        Ok(outcomes)
    }

    /// Writes a batch and lets everybody see it. The writer's lock is held.
    fn write(&self, planned: Planned) -> Result<(), StoreError> {
        let Planned { batch, state, lanes, changes, names } = planned;
        self.wait_for_tables(TABLES_WAITING_MAX)?;
        let mode = match self.options.sync {
            // The file's length does not change by writing to it: its data are enough.
            Sync::Always => PersistMode::SyncData,
            Sync::Interval(_) | Sync::Never => PersistMode::Buffer,
        };
        self.write_batch(batch, mode)?;
        {
            let mut known = self.names.write().unwrap_or_else(PoisonError::into_inner);
            names.iter().for_each(|name| known.learn(name));
        }
        let view = self.engine.database.snapshot();
        {
            let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
            shared.view = view;
            shared.state = state;
            changes.into_iter().for_each(|change| shared.jobs.apply(change));
        }
        self.lanes.put(lanes);
        if self.options.sync == Sync::Always {
            self.acknowledge(state.commits)?;
        }
        Ok(())
    }

    fn write_batch(&self, batch: OwnedWriteBatch, mode: PersistMode) -> Result<(), StoreError> {
        batch.durability(Some(mode)).commit().map_err(|error| self.stop("write a batch", &describe(&error)))
    }

    fn acknowledge(&self, commits: u64) -> Result<(), StoreError> {
        self.synced.store(commits, Ordering::Release);
        self.acknowledged.write(commits).map_err(|error| self.stop("note what is on the disk", &error.to_string()))
    }

    /// Brings what was written to the disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.check_running()?;
        let commits = self.shared().state.commits;
        if commits == self.synced.load(Ordering::Acquire) {
            return Ok(());
        }
        self.engine.sync().map_err(|error| self.stop("sync a batch", &describe(&error)))?;
        self.acknowledge(commits)
    }

    /// Waits while the engine has so many tables of a keyspace to write, as long as it does write.
    fn wait_for_tables(&self, too_many: usize) -> Result<(), StoreError> {
        let crowded =
            || self.engine.keyspaces().iter().any(|(_, keyspace)| keyspace.sealed_memtable_count() >= too_many);
        while crowded() {
            let alive = self.engine.database.persist(PersistMode::Buffer);
            alive.map_err(|error| self.stop("write a table", &describe(&error)))?;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    pub(crate) fn lane(&self, key: &LaneKey) -> Result<Option<Arc<Lane>>, StoreError> {
        let missed = match self.lanes.get(key) {
            Ok(known) => return Ok(known),
            Err(missed) => missed,
        };
        let read = Lane::load(&self.engine, &self.view(), &self.names(), key)?.map(Arc::new);
        self.lanes.put_read(key, &read, &missed);
        Ok(read)
    }

    fn prune(&self, now: Timestamp) -> Result<u64, StoreError> {
        let _writer = self.writer();
        self.check_running()?;
        let (surplus, mut state) = {
            let shared = self.shared();
            (shared.jobs.surplus(&self.options.retention, now), shared.state)
        };
        let count = surplus.completed as u64 + surplus.failed.len() as u64;
        if count == 0 {
            return Ok(0);
        }
        let freed = state.completed_from;
        state.completed_from = surplus.completed_before.unwrap_or(freed);
        state.commits += 1;
        let mut batch = self.engine.database.batch();
        let mut scratch = Vec::new();
        codec::encode(&state, &mut scratch);
        batch.insert(&self.engine.meta, crate::engine::STATE_KEY, &scratch[..]);
        for order in &surplus.failed {
            batch.remove(&self.engine.failed, &order.to_be_bytes()[..]);
        }
        let failed = surplus.failed.iter().map(|order| Change::Forgotten(Place::Failed(*order)));
        let changes = failed.collect();
        self.write(Planned { batch, state, lanes: Vec::new(), changes, names: Vec::new() })?;
        self.shared.write().unwrap_or_else(PoisonError::into_inner).jobs.forget_completed_before(state.completed_from);
        if state.completed_from / FREE_EVERY != freed / FREE_EVERY {
            self.free_completed(state.completed_from);
        }
        Ok(count)
    }

    /// Lets the engine drop the tables that have nothing but forgotten jobs.
    fn free_completed(&self, before: u64) {
        use fjall::AbstractTree as _;
        let range = 0_u64.to_be_bytes()..before.to_be_bytes();
        if let Err(error) = self.engine.completed.tree.drop_range(range) {
            tracing::warn!(%error, "the tables of forgotten jobs could not be freed; they are at the next time");
        }
    }

    pub(crate) fn free_bytes(&self) -> Result<u64, StoreError> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = room.as_ref().filter(|known| known.at.elapsed() < ROOM_BELIEVED) {
            return Ok(known.free_bytes);
        }
        let stat = rustix::fs::statvfs(self.directory.path());
        let stat =
            stat.map_err(|error| StoreError::Io { doing: "ask for the free space", problem: error.to_string() })?;
        let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        *room = Some(Room { free_bytes, at: Instant::now() });
        Ok(free_bytes)
    }

    // Jobs.

    pub(crate) fn job_at(&self, view: &Snapshot, place: Place) -> Result<Option<JobRecord>, StoreError> {
        match place {
            Place::Unfinished(order) => {
                Ok(pending_job(&self.engine, view, &self.names, order)?.map(JobRecord::Unfinished))
            }
            Place::Failed(order) => self.failed_job(view, order),
            Place::Completed(end) => self.completed_job(view, end),
        }
    }

    fn failed_job(&self, view: &Snapshot, order: u64) -> Result<Option<JobRecord>, StoreError> {
        let place = || format!("job number {order}, failed");
        let Some(value) = get(view, &self.engine.failed, &order.to_be_bytes(), place)? else { return Ok(None) };
        let read = || {
            let fields = codec::open(&value)?;
            let (record, more): (FailedRecord<'_>, Option<JournaledMore<'_>>) = codec::decode_with_more(&fields)?;
            let (mut journaled, result) = record.restore(order, &self.names())?;
            more.iter().try_for_each(|more| more.restore(&mut journaled))?;
            Ok(JobRecord::Failed { journaled, result: Arc::new(result), revision: record.revision })
        };
        read().map(Some).map_err(|bad| corrupt(place(), &bad))
    }

    fn completed_job(&self, view: &Snapshot, end: u64) -> Result<Option<JobRecord>, StoreError> {
        let place = || format!("the {end}th job that ended");
        let Some(value) = get(view, &self.engine.completed, &end.to_be_bytes(), place)? else { return Ok(None) };
        let bad = |bad| corrupt(place(), &bad);
        let fields = codec::open(&value).map_err(bad)?;
        let record: CompletedRecord<'_> = codec::decode(&fields).map_err(bad)?;
        let mut stored = Vec::new();
        let lane = match &record.lane {
            LaneName::Text { document, branch } => LaneKey { document: (*document).into(), branch: (*branch).into() },
            LaneName::Known(number) => {
                let lane = self.lane_of(view, *number)?;
                for sequence in record.sequences() {
                    let found = stored_operation(&self.engine, view, &self.names, &lane, *number, sequence)?;
                    let missing = || codec::BadRecord::fields(format!("its operation {sequence} is missing"));
                    stored.push(found.ok_or_else(|| bad(missing()))?.operation);
                }
                lane
            }
        };
        let result = record.restore(lane, stored, &self.names()).map_err(bad)?;
        Ok(Some(JobRecord::Completed { order: record.header.order, result: Arc::new(result) }))
    }

    pub(crate) fn lane_of(&self, view: &Snapshot, number: u32) -> Result<LaneKey, StoreError> {
        let place = || format!("the name of lane {number}");
        let bad = |bad| corrupt(place(), &bad);
        let value = get(view, &self.engine.lanes, &keys::lane_number(number), place)?;
        let value = value.ok_or_else(|| bad(codec::BadRecord::fields("it is missing")))?;
        let fields = codec::open(&value).map_err(bad)?;
        let text: LaneText<'_> = codec::decode(&fields).map_err(bad)?;
        Ok(LaneKey { document: text.document.into(), branch: text.branch.into() })
    }

    /// A job that the index has: it is there, or the store is damaged.
    pub(crate) fn known_job(&self, view: &Snapshot, place: Place) -> Result<JobRecord, StoreError> {
        self.job_at(view, place)?.ok_or_else(|| StoreError::Corrupt {
            place: format!("{place:?} of the journal"),
            problem: "its record is missing".to_owned(),
        })
    }

    /// Where a job is, and what the store looked like then.
    fn find_job(&self, find: impl FnOnce(&JobIndex) -> Option<Place>) -> Option<(Snapshot, Place)> {
        let shared = self.shared();
        find(&shared.jobs).map(|place| (shared.view.clone(), place))
    }
}

impl OperationStore for DiskStore {
    fn durability(&self) -> Durability {
        Durability::Disk
    }

    fn position(&self, lane: &LaneKey) -> Result<Option<Position>, StoreError> {
        Ok(self.inner.lane(lane)?.map(|lane| lane.position()))
    }

    /// A snapshot that is damaged is passed over: an older one and the operations since lead to
    /// the same states.
    fn snapshot(&self, lane: &LaneKey, revision_max: u64) -> Result<Option<Arc<Head>>, StoreError> {
        let Some(known) = self.inner.lane(lane)? else { return Ok(None) };
        let range = keys::in_lane(known.number, 0)..=keys::in_lane(known.number, revision_max);
        let place = || format!("a snapshot of {lane}");
        // The engine may come upon the same damage again and again.
        for guard in self.inner.view().range(&self.inner.engine.snapshots, range).rev().take(SNAPSHOTS_TRIED_MAX) {
            let read = || -> Result<Head, StoreError> {
                let (key, value) = guard.into_inner().map_err(|error| read_error(error, place))?;
                let bad = |bad| corrupt(place(), &bad);
                let (_, revision) = keys::split(&key).ok_or_else(|| bad(codec::BadRecord::fields("it has no key")))?;
                let fields = codec::open(&value).map_err(bad)?;
                Ok(codec::decode::<SnapshotRecord<'_>>(&fields).map_err(bad)?.restore(revision))
            };
            match read() {
                Ok(head) => return Ok(Some(Arc::new(head))),
                Err(error @ StoreError::Corrupt { .. }) => tracing::error!(%error, "an older snapshot is used"),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn operations(&self, lane: &LaneKey, from: u64, limit: usize) -> Result<Vec<StoredOperation>, StoreError> {
        let Some(known) = self.inner.lane(lane)? else { return Ok(Vec::new()) };
        let count = known.revision.saturating_sub(from).min(limit as u64);
        let mut operations = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(4096));
        if count == 0 {
            return Ok(operations);
        }
        let range = keys::in_lane(known.number, from)..keys::in_lane(known.number, from + count);
        let view = self.inner.view();
        let mut stored = view.range(&self.inner.engine.operations, range);
        for sequence in from..from + count {
            let place = || format!("operation {sequence} of {lane}");
            let missing = || StoreError::Corrupt { place: place(), problem: "it is missing".to_owned() };
            let (key, value) =
                stored.next().ok_or_else(missing)?.into_inner().map_err(|error| read_error(error, place))?;
            if keys::split(&key) != Some((known.number, sequence)) {
                return Err(missing());
            }
            let read = read_operation(&value, sequence, &self.inner.names());
            operations.push(read.map_err(|bad| corrupt(place(), &bad))?);
        }
        Ok(operations)
    }

    fn operation_of(
        &self,
        lane: &LaneKey,
        scope: &Scope,
        action: &ActionId,
    ) -> Result<Option<StoredOperation>, StoreError> {
        let Some(known) = self.inner.lane(lane)? else { return Ok(None) };
        let (inner, view) = (&self.inner, self.inner.view());
        let mut key = ActionKey::new(known.number, scope, action);
        while let Some(sequence) = stored_sequence(&inner.engine, &view, key, lane)? {
            let found = stored_operation(&inner.engine, &view, &inner.names, lane, known.number, sequence)?;
            let Some(found) = found else {
                let place = format!("operation {sequence} of {lane}");
                return Err(StoreError::Corrupt { place, problem: "it is missing".to_owned() });
            };
            if found.operation.action.scope == *scope && found.operation.action.id == *action {
                return Ok(Some(found));
            }
            key = key.next();
        }
        Ok(None)
    }

    fn lanes(&self, after: Option<&LaneKey>, limit: usize) -> Result<Vec<LaneKey>, StoreError> {
        use std::ops::Bound::{Excluded, Included};
        let place = || "the list of lanes".to_owned();
        let from = after.map_or_else(|| Included(b"k".to_vec()), |after| Excluded(keys::lane(after)));
        let view = self.inner.view();
        let range = view.range::<Vec<u8>, _>(&self.inner.engine.lanes, (from, Excluded(b"l".to_vec())));
        let lane = |guard: fjall::Guard| {
            let key = guard.key().map_err(|error| read_error(error, place))?;
            keys::parse_lane(&key).ok_or_else(|| corrupt(place(), &codec::BadRecord::fields("a key is no lane's")))
        };
        range.take(limit).map(lane).collect()
    }

    fn commit(&self, batch: &[Entry]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.inner.commit(batch)
    }

    fn unfinished(&self) -> Result<Vec<JournaledJob>, StoreError> {
        let (view, places) = {
            let shared = self.inner.shared();
            let unfinished = |place| matches!(place, Place::Unfinished(_));
            (shared.view.clone(), shared.jobs.places_after(0, unfinished))
        };
        let mut jobs = Vec::with_capacity(places.len());
        for (_, place) in places {
            if let JobRecord::Unfinished(journaled) = self.inner.known_job(&view, place)? {
                jobs.push(journaled);
            }
        }
        Ok(jobs)
    }

    fn last_order(&self) -> Result<u64, StoreError> {
        Ok(self.inner.shared().state.last_order)
    }

    fn job(&self, job: &JobId) -> Result<Option<JobRecord>, StoreError> {
        let Some((view, place)) = self.inner.find_job(|jobs| jobs.place(job)) else { return Ok(None) };
        let found = self.inner.known_job(&view, place)?;
        Ok(Some(found).filter(|found| found.job_id() == job))
    }

    fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRecord>, StoreError> {
        let wanted = |place| match query.status {
            None => true,
            Some(JobStatus::Pending) => matches!(place, Place::Unfinished(_)),
            Some(JobStatus::Completed) => matches!(place, Place::Completed(_)),
            Some(JobStatus::Failed) => matches!(place, Place::Failed(_)),
            Some(JobStatus::Running) => false,
        };
        let (view, places) = {
            let shared = self.inner.shared();
            (shared.view.clone(), shared.jobs.places_after(query.after, wanted))
        };
        let mut found = Vec::new();
        for (_, place) in places {
            if found.len() >= query.limit {
                break;
            }
            let record = self.inner.known_job(&view, place)?;
            if query.wants(&record) {
                found.push(record);
            }
        }
        Ok(found)
    }

    fn outcome(&self, job: &JobId) -> Result<Option<JobOutcome>, StoreError> {
        Ok(self.job(job)?.and_then(|record| record.outcome()))
    }

    fn budget_left(&self, _: &JobId) -> Result<Option<u32>, StoreError> {
        Ok(None)
    }

    fn job_of_key(&self, key: &IdempotencyKey) -> Result<Option<JobId>, StoreError> {
        let Some((view, place)) = self.inner.find_job(|jobs| jobs.place_of_key(key)) else { return Ok(None) };
        Ok(Some(self.inner.known_job(&view, place)?.job_id().clone()))
    }

    fn pausing(&self) -> Result<Pausing, StoreError> {
        Ok(if self.inner.shared().state.paused { Pausing::Paused } else { Pausing::Resumed })
    }

    fn check_room(&self) -> Result<(), StoreError> {
        self.inner.check_running()?;
        let (free_bytes, reserve_bytes) = (self.inner.free_bytes()?, self.inner.options.reserve_bytes);
        if free_bytes < reserve_bytes { Err(StoreError::DiskFull { free_bytes, reserve_bytes }) } else { Ok(()) }
    }

    fn prune(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.inner.prune(now)
    }
}
