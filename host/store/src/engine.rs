//! The storage engine: its keyspaces, how each is laid out, and reading from them.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `meta` | `state`; `retention`; `t` or `p` and a number | counters; what is remembered; what a number stands for |
//! | `lanes` | `k` and the lane's name; `n` and its number | number, model, where it stood; its name |
//! | `operations` | lane, sequence | the operation |
//! | `actions` | lane, hash of scope and action id | the sequence of the live operation |
//! | `snapshots` | lane, revision | the states |
//! | `pending` | number in the journal | a job that has not ended |
//! | `failed` | number in the journal | a dead letter |
//! | `completed` | when it ended among the others | a job that completed, without its operations |
//! | `outcomes` | generation; `o` and a job's id, or `k` and the hash of a key | how it ended; its job |
//! | `budgets` | generation, root's id | how many more jobs the root may lead to |
//!
//! Numbers are big-endian, so that they sort. Operations are written once and never change: their
//! values lie in files of their own, and compaction moves nothing but keys. Completed jobs are
//! written in the order of their keys, so that their tables never overlap and are moved, not
//! rewritten.

use std::path::Path;

use fjall::compaction::Leveled;
use fjall::config::{BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode, Readable as _,
    Snapshot, UserValue,
};
use reductor_core::StoreError;

use crate::error::read_error;
use crate::options::StoreOptions;

pub(crate) const STATE_KEY: &[u8] = b"state";

pub(crate) const RETENTION_KEY: &[u8] = b"retention";

/// Threads that write tables in the background. More would take the cores from the host.
const WORKER_THREADS: usize = 1;

/// Files that are kept open.
const OPEN_FILES_MAX: usize = 256;

/// The write-ahead files are at most about so large, and so is what has to be read at a start.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;

/// Values of operations from this size on lie apart from their keys.
const SEPARATED_FROM_BYTES: u32 = 64;

const MIB: u64 = 1 << 20;

/// The engine's database and what is in it.
pub(crate) struct Engine {
    pub(crate) database: Database,
    pub(crate) meta: Keyspace,
    pub(crate) lanes: Keyspace,
    pub(crate) operations: Keyspace,
    pub(crate) actions: Keyspace,
    pub(crate) snapshots: Keyspace,
    pub(crate) pending: Keyspace,
    pub(crate) failed: Keyspace,
    pub(crate) completed: Keyspace,
    pub(crate) outcomes: Keyspace,
    pub(crate) budgets: Keyspace,
    /// Whether the keyspaces of what is remembered were there.
    pub(crate) remembered: Remembered,
}

/// Whether a store had the keyspaces of what is remembered of jobs when it was opened. A store that
/// an earlier host made has not, until it is opened by this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remembered {
    There,
    MadeNow,
}

const KEYSPACES: [&str; 10] =
    ["meta", "lanes", "operations", "actions", "snapshots", "pending", "failed", "completed", "outcomes", "budgets"];

/// The keyspaces that every store has. What is missing of them was lost.
const KEYSPACES_NEEDED: usize = 8;

/// Whether a database is made or must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Nothing,
    Everything,
}

impl Engine {
    /// Opens the database. The engine reports some damage by a panic, which is caught here.
    pub(crate) fn open(dir: &Path, options: &StoreOptions, expect: Expect) -> Result<Self, EngineError> {
        let open = || Self::open_or_panic(dir, options, expect);
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(open)) {
            Ok(opened) => opened,
            Err(panic) => {
                let message = panic.downcast_ref::<String>().map(String::as_str);
                let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
                Err(EngineError::Damaged(message.to_owned()))
            }
        }
    }

    fn open_or_panic(dir: &Path, options: &StoreOptions, expect: Expect) -> Result<Self, EngineError> {
        let database = Database::builder(dir)
            .cache_size(options.cache_bytes.max(MIB))
            .max_cached_files(Some(OPEN_FILES_MAX))
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(WORKER_THREADS)
            // Large values are compressed before they get there.
            .journal_compression(CompressionType::None)
            .open()?;
        if expect == Expect::Everything
            && let Some(lost) = KEYSPACES[..KEYSPACES_NEEDED].iter().find(|name| !database.keyspace_exists(name))
        {
            return Err(EngineError::Damaged(format!("its keyspace `{lost}` is missing")));
        }
        let there = ["outcomes", "budgets"].into_iter().all(|name| database.keyspace_exists(name));
        let keyspace = |name: &str| database.keyspace(name, || layout(name));
        Ok(Self {
            meta: keyspace("meta")?,
            lanes: keyspace("lanes")?,
            operations: keyspace("operations")?,
            actions: keyspace("actions")?,
            snapshots: keyspace("snapshots")?,
            pending: keyspace("pending")?,
            failed: keyspace("failed")?,
            completed: keyspace("completed")?,
            outcomes: keyspace("outcomes")?,
            budgets: keyspace("budgets")?,
            remembered: match expect {
                Expect::Everything if !there => Remembered::MadeNow,
                Expect::Everything | Expect::Nothing => Remembered::There,
            },
            database,
        })
    }

    /// All keyspaces, by name.
    pub(crate) fn keyspaces(&self) -> [(&'static str, &Keyspace); 10] {
        let Self { database: _, meta, lanes, operations, actions, snapshots, pending, failed, completed, .. } = self;
        let Self { outcomes, budgets, .. } = self;
        let keyspaces = [meta, lanes, operations, actions, snapshots, pending, failed, completed, outcomes, budgets];
        std::array::from_fn(|at| (KEYSPACES[at], keyspaces[at]))
    }

    /// Brings everything written so far to the disk.
    pub(crate) fn sync(&self) -> Result<(), fjall::Error> {
        // Its length does not change by writing: the data are enough.
        self.database.persist(PersistMode::SyncData)
    }
}

/// Why the engine did not open.
#[derive(Debug)]
pub(crate) enum EngineError {
    Engine(fjall::Error),
    Damaged(String),
}

impl From<fjall::Error> for EngineError {
    fn from(error: fjall::Error) -> Self {
        Self::Engine(error)
    }
}

/// Reads a value as it was when `view` was taken.
pub(crate) fn get(
    view: &Snapshot,
    keyspace: &Keyspace,
    key: &[u8],
    place: impl FnOnce() -> String,
) -> Result<Option<UserValue>, StoreError> {
    view.get(keyspace, key).map_err(|error| read_error(error, place))
}

/// Tables in memory are small: all of them are filled again from the write-ahead files at a start.
fn layout(name: &str) -> KeyspaceCreateOptions {
    let options = KeyspaceCreateOptions::default().compaction_strategy(std::sync::Arc::new(Leveled::default()));
    let compressed = || CompressionPolicy::all(CompressionType::Lz4);
    let no_filter = FilterPolicy::disabled;
    match name {
        // What is read is nearly always there: no filters.
        "operations" => options
            .max_memtable_size(16 * MIB)
            .filter_policy(no_filter())
            .data_block_compression_policy(compressed())
            .with_kv_separation(Some(separated(SEPARATED_FROM_BYTES))),
        // Nearly every look-up is for an action that is new: filters answer it.
        "actions" | "outcomes" => options
            .max_memtable_size(16 * MIB)
            .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0)))),
        "snapshots" => options
            .max_memtable_size(16 * MIB)
            .filter_policy(no_filter())
            .data_block_compression_policy(compressed())
            .with_kv_separation(Some(separated(1024))),
        "completed" => {
            options.max_memtable_size(8 * MIB).filter_policy(no_filter()).data_block_compression_policy(compressed())
        }
        "pending" | "failed" => options.max_memtable_size(8 * MIB).data_block_compression_policy(compressed()),
        _ => options.max_memtable_size(8 * MIB),
    }
}

/// Values are compressed before they get there, if at all: the engine's own compression of
/// separated values trusts a length that no checksum covers.
fn separated(from_bytes: u32) -> KvSeparationOptions {
    KvSeparationOptions::default().separation_threshold(from_bytes).compression(CompressionType::None)
}
