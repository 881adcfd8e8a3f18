//! The store: opening it, writing to it, reading from it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use fjall::{OwnedWriteBatch, PersistMode, Readable as _, Snapshot};
use reductor_core::{
    ActionId, Durability, Entry, Head, IdempotencyKey, JobId, JobOutcome, JobQuery, JobRecord, JobStatus, JournaledJob,
    LaneKey, OperationStore, Pausing, Position, RetentionClock, Scope, StoreError, StoredOperation, Timestamp,
};

use crate::codec::{self, RetentionRecord, SnapshotRecord, StateRecord};
use crate::directory::{Acknowledged, Directory, Found};
use crate::engine::Engine;
use crate::error::{OpenError, describe, read_error};
use crate::jobs::{Change, Filter, JobIndex};
use crate::keys::{self, ActionKey};
use crate::lanes::{Lane, LaneCache, corrupt};
use crate::names::{NameWriter, Names};
use crate::options::{StoreOptions, Sync};
use crate::outcomes;
use crate::plan::{Ground, Plan, Planned, read_operation, stored_operation, stored_sequence};
use crate::prune::Freed;
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
    pub(crate) options: StoreOptions,
    pub(crate) names: RwLock<Names>,
    lanes: LaneCache,
    shared: RwLock<Shared>,
    /// It follows `shared` in small steps, so that nobody waits long for the lock. A lock of both is
    /// taken in this order: jobs, then shared.
    pub(crate) jobs: RwLock<JobIndex>,
    /// Readers that wait for it.
    jobs_awaited: AtomicUsize,
    /// Held while a batch that is on the disk is shown to readers.
    showing: Mutex<()>,
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
    pub(crate) state: StateRecord,
    /// What is remembered of jobs whose results are gone.
    pub(crate) remembered: Arc<RetentionRecord>,
    /// Why nothing more is written.
    stopped: Option<String>,
}

/// What only the writer has.
pub(crate) struct Writer {
    names: NameWriter,
    pub(crate) clock: RetentionClock,
    pub(crate) freed: Freed,
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

/// Changes of the index that are made before readers have their turn: some 50 microseconds.
const CHANGES_AT_ONCE: usize = 256;

/// How often the writer gives way between two such steps while a reader waits.
const YIELDS_MAX: usize = 50;

/// Damaged snapshots of a lane that are passed over.
const SNAPSHOTS_TRIED_MAX: usize = 16;

impl DiskStore {
    /// Opens the store in a directory, or makes one if there is none.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(dir: impl AsRef<Path>, options: StoreOptions) -> Result<Self, OpenError> {
        let (directory, found) = Directory::open(dir.as_ref(), options.lock_wait)?;
        Self::open_in(directory, found, options)
    }

    /// Opens the store in a directory to look only: nothing in it is written to, so that it may lie on
    /// a medium that cannot be written, or on a disk without any room. Writing fails with
    /// [`StoreError::Stopped`]. Several processes may look at once, and nobody can write meanwhile.
    ///
    /// What is not written once and for all is copied to a temporary directory, some 128 MiB at
    /// most, or into memory if there is no room for it on the disk either.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: also if there is no store.
    pub fn open_read_only(dir: impl AsRef<Path>, options: StoreOptions) -> Result<Self, OpenError> {
        let (directory, found) = Directory::open_read_only(dir.as_ref(), options.lock_wait)?;
        // Nothing is written, so that nothing is to be synced.
        Self::open_in(directory, found, StoreOptions { sync: Sync::Always, ..options })
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
            directory.finish().map_err(|error| OpenError::io(directory.path(), "finish making it", error))?;
        }
        let (unfinished, failed, completed) = loaded.jobs.counts();
        tracing::info!(
            dir = %directory.path().display(), unfinished, failed, completed, commits = loaded.state.commits,
            elapsed_ms = started.elapsed().as_millis() as u64, "opened the store"
        );
        let view = engine.database.snapshot();
        let clock = RetentionClock::new(loaded.retention.clock_ms.map(|ms| Timestamp { ms }));
        let remembered = Arc::new(loaded.retention);
        let stopped = directory.is_read_only().then(|| "it is open for looking only".to_owned());
        let shared = Shared { view, state: loaded.state, remembered, stopped };
        let inner = Arc::new(Inner {
            lanes: LaneCache::new(options.lanes_cached),
            names: RwLock::new(loaded.names),
            writer: Mutex::new(Writer { names: loaded.name_writer, clock, freed: Freed::default() }),
            jobs: RwLock::new(loaded.jobs),
            jobs_awaited: AtomicUsize::new(0),
            showing: Mutex::new(()),
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

    pub(crate) fn jobs(&self) -> RwLockReadGuard<'_, JobIndex> {
        if let Ok(jobs) = self.jobs.try_read() {
            return jobs;
        }
        self.jobs_awaited.fetch_add(1, Ordering::Relaxed);
        let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        self.jobs_awaited.fetch_sub(1, Ordering::Relaxed);
        jobs
    }

    /// Waits until no batch is being shown: what is read with this held fits together.
    pub(crate) fn settled(&self) -> MutexGuard<'_, ()> {
        self.showing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view(&self) -> Snapshot {
        self.shared().view.clone()
    }

    pub(crate) fn names(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check_running(&self) -> Result<(), StoreError> {
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
            // Only a writer changes these, so that the locks need not be held.
            let (view, state, remembered) = {
                let shared = self.shared();
                (shared.view.clone(), shared.state, shared.remembered.clone())
            };
            let jobs = self.jobs();
            let ground = Ground {
                engine: &self.engine,
                view: &view,
                names: &self.names,
                lanes: &self.lanes,
                jobs: &jobs,
                remembered: &remembered,
                options: &self.options,
            };
            let mut plan = Plan::new(ground, &mut writer.names, state, entries.len());
            let outcomes: Vec<_> = entries.iter().map(|entry| plan.add(entry)).collect();
            (plan.finish(), outcomes)
        };
        self.write(planned)?;
        Ok(outcomes)
    }

    /// Writes a batch and lets everybody see it. The writer's lock is held.
    pub(crate) fn write(&self, planned: Planned) -> Result<(), StoreError> {
        let Planned { batch, state, lanes, changes, names, remembered } = planned;
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
        self.show(state, &changes, remembered);
        self.lanes.put(lanes);
        if self.options.sync == Sync::Always {
            self.acknowledge(state.commits)?;
        }
        Ok(())
    }

    /// Lets readers see a batch that was written: its records, and then where its jobs are.
    fn show(&self, state: StateRecord, changes: &[Change], remembered: Option<Arc<RetentionRecord>>) {
        let _showing = self.settled();
        let view = self.engine.database.snapshot();
        let before = {
            let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
            shared.state = state;
            let remembered = remembered.map(|remembered| std::mem::replace(&mut shared.remembered, remembered));
            (std::mem::replace(&mut shared.view, view), remembered)
        };
        // Freed when nobody waits for the lock.
        drop(before);
        for some in changes.chunks(CHANGES_AT_ONCE) {
            let mut jobs = self.jobs.write().unwrap_or_else(PoisonError::into_inner);
            some.iter().for_each(|change| jobs.apply(*change));
            drop(jobs);
            // The lock is not fair: without this, the next step would have it before a reader that
            // is only just woken.
            for _ in 0..YIELDS_MAX {
                if self.jobs_awaited.load(Ordering::Relaxed) == 0 {
                    break;
                }
                std::thread::yield_now();
            }
        }
        self.jobs.write().unwrap_or_else(PoisonError::into_inner).set_commits(state.commits);
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
        let query = JobQuery { status: Some(JobStatus::Pending), document: None, after: 0, limit: usize::MAX };
        let unfinished = |record| match record {
            JobRecord::Unfinished(journaled) => Some(journaled),
            JobRecord::Completed { .. } | JobRecord::Failed { .. } => None,
        };
        Ok(self.jobs(&query)?.into_iter().filter_map(unfinished).collect())
    }

    fn last_order(&self) -> Result<u64, StoreError> {
        Ok(self.inner.shared().state.last_order)
    }

    fn job(&self, job: &JobId) -> Result<Option<JobRecord>, StoreError> {
        let found = self.inner.find_job(|jobs| jobs.place(jobs.handles(job, None).id()))?;
        Ok(found.filter(|found| found.job_id() == job))
    }

    fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRecord>, StoreError> {
        let documents = query.document.as_ref().map(|document| self.inner.tags_of(document)).transpose()?;
        let filter = Filter { status: query.status, documents };
        let (mut found, mut after) = (Vec::new(), Some(query.after));
        while let Some(from) = after.filter(|_| found.len() < query.limit) {
            let (view, page) = self.inner.page(from, &filter, query.limit - found.len());
            for (_, place) in page.places {
                let record = self.inner.known_job(&view, place)?;
                if query.wants(&record) {
                    found.push(record);
                }
            }
            after = page.next;
        }
        Ok(found)
    }

    fn outcome(&self, job: &JobId) -> Result<Option<JobOutcome>, StoreError> {
        let inner = &self.inner;
        let (id, place) = {
            let jobs = inner.jobs();
            let id = jobs.handles(job, None).id();
            (id, jobs.place(id))
        };
        match place {
            Some(place) => Ok(place.outcome()),
            None => {
                let (view, remembered) = inner.remembered();
                outcomes::outcome(&inner.engine, &view, &remembered, id)
            }
        }
    }

    fn budget_left(&self, root: &JobId) -> Result<Option<u32>, StoreError> {
        let (view, remembered) = self.inner.remembered();
        let root = self.inner.jobs().handles(root, None).id();
        outcomes::budget_left(&self.inner.engine, &view, &remembered, root)
    }

    fn job_of_key(&self, key: &IdempotencyKey) -> Result<Option<JobId>, StoreError> {
        let inner = &self.inner;
        let hash = inner.jobs().key_hash(key);
        if let Some(found) = inner.find_job(|jobs| jobs.place_of_key(hash))? {
            return Ok(Some(found.job_id().clone()));
        }
        let (view, remembered) = inner.remembered();
        outcomes::job_of_key(&inner.engine, &view, &remembered, hash)
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
