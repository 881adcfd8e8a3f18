//! The durable store of Reductor: operations, snapshots and the journal of jobs, in a directory.
//!
//! [`DiskStore`] keeps the promises of [`reductor_core::OperationStore`] across the end of the
//! process, of the kernel and of the power: what it acknowledged is there at the next start, and
//! what it cannot read as it was written is an error and never an answer.
//!
//! ```
//! use reductor_core::OperationStore as _;
//! use reductor_store::{DiskStore, StoreOptions};
//!
//! let dir = tempfile::tempdir()?;
//! let store = DiskStore::open(dir.path(), StoreOptions::default())?;
//! assert!(store.lanes(None, 10)?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backup;
mod backup_file;
mod codec;
mod directory;
mod engine;
mod engine_log;
mod error;
mod forget;
mod jobs;
mod journal;
mod keys;
mod lanes;
mod mirror;
mod names;
mod options;
mod outcomes;
mod plan;
mod prune;
mod restore;
mod size;
mod snapshots;
mod start;
mod stats;
mod store;
mod tail;
mod ticker;
mod trees;
mod verify;

pub use backup::{BackupError, Summary};
pub use backup_file::{BackupFile, Existing};
pub use engine_log::report_engine_errors;
pub use error::OpenError;
pub use options::{StoreOptions, Sync};
pub use restore::{RestoreError, restore};
pub use stats::{KeyspaceStats, StoreStats};
pub use store::DiskStore;
pub use verify::{Problem, VerifyReport};

/// How far something is that takes long: records dealt with, and about how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Records dealt with.
    pub records: u64,
    /// About how many there are; 0 if nobody knows.
    pub total: u64,
}
