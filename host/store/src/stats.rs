//! How much a store has.

use reductor_core::StoreError;

use crate::store::DiskStore;

/// How much a store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Branches of documents.
    pub lanes: u64,
    /// Operations of all of them.
    pub operations: u64,
    /// Snapshots of states, about.
    pub snapshots: u64,
    /// Jobs that have not ended.
    pub unfinished: u64,
    /// Jobs that failed for good.
    pub dead_letters: u64,
    /// Jobs that completed and are kept.
    pub completed: u64,
    /// Batches that were written since the store was made.
    pub commits: u64,
    /// Each kind of records.
    pub keyspaces: Vec<KeyspaceStats>,
    /// Bytes of the write-ahead files, which are made larger than what is in them.
    pub write_ahead_bytes: u64,
    /// Bytes of all files.
    pub disk_bytes: u64,
    /// Bytes that are free on the disk.
    pub free_bytes: u64,
}

/// How much there is of a kind of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceStats {
    /// Which.
    pub name: &'static str,
    /// About how many.
    pub records: u64,
    /// Bytes of their files; what was written last is in memory and in the write-ahead files.
    pub bytes: u64,
}

impl DiskStore {
    /// How much there is of everything. It takes no longer for a large store than for a small one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the system cannot say how large a file is.
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        let inner = &self.inner;
        let (state, (unfinished, dead_letters, completed)) = {
            let _settled = inner.settled();
            (inner.shared().state, inner.jobs().counts())
        };
        let keyspaces = inner.engine.keyspaces().map(|(name, keyspace)| KeyspaceStats {
            name,
            records: keyspace.approximate_len() as u64,
            bytes: keyspace.disk_space(),
        });
        let records = |wanted| keyspaces.iter().find(|stats| stats.name == wanted).map_or(0, |stats| stats.records);
        let size = |error: fjall::Error| StoreError::Io {
            doing: "ask for the size of its files",
            problem: crate::error::describe(&error),
        };
        Ok(StoreStats {
            lanes: u64::from(state.next_lane),
            operations: records("operations"),
            snapshots: records("snapshots"),
            unfinished: unfinished as u64,
            dead_letters: dead_letters as u64,
            completed: completed as u64,
            commits: state.commits,
            write_ahead_bytes: inner.engine.database.journal_disk_space().map_err(size)?,
            disk_bytes: inner.engine.database.disk_space().map_err(size)?,
            free_bytes: inner.free_bytes()?,
            keyspaces: keyspaces.into(),
        })
    }
}
