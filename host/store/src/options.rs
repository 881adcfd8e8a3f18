//! What a store is told when it is opened.

use std::time::Duration;

use reductor_core::JobRetention;

use crate::codec::RECORD_BYTES_MAX;

/// How a store works. Nothing of it is kept in the store: it may be another at the next start.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// When what was written reaches the disk.
    pub sync: Sync,
    /// After how many operations of a branch its states are written, so that no more have to be
    /// applied again to load it. 0 for never.
    pub snapshot_every: u64,
    /// How long jobs that ended are kept.
    pub retention: JobRetention,
    /// Bytes of the disk that are left free: with fewer, no more jobs are accepted, and the
    /// accepted ones have the room to end.
    pub reserve_bytes: u64,
    /// Bytes of the store's files that are kept in memory, of those that are not compressed.
    pub cache_bytes: u64,
    /// Bytes of the largest record that is written, before it is compressed: 512 MiB, or less. What
    /// has more is refused with [`StoreError::TooLarge`](reductor_core::StoreError::TooLarge).
    pub record_bytes_max: usize,
    /// How long opening waits for another process that has the store open, such as a command that reads
    /// or copies it for a moment.
    pub lock_wait: Duration,
    /// Branches whose position is kept in memory: about 400 bytes each.
    pub lanes_cached: usize,
}

impl Default for StoreOptions {
    /// Synchronous writes, a snapshot every 64 operations, the usual retention, 256 MiB of the
    /// disk in reserve, 32 MiB of files and 65,536 branches in memory, records of 512 MiB, and three
    /// seconds of waiting for another process.
    fn default() -> Self {
        Self {
            sync: Sync::Always,
            snapshot_every: 64,
            retention: JobRetention::default(),
            reserve_bytes: 256 << 20,
            cache_bytes: 32 << 20,
            record_bytes_max: RECORD_BYTES_MAX,
            lock_wait: Duration::from_secs(3),
            lanes_cached: 65_536,
        }
    }
}

/// When what was written reaches the disk.
///
/// Whatever is chosen, the store is whole after a crash: it stands where it did after some batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before it is acknowledged: nothing that was acknowledged is ever lost.
    Always,
    /// So often. What was acknowledged since is lost if the machine loses its power or its
    /// kernel; if only the process ends, nothing is.
    Interval(Duration),
    /// When the system thinks it right, on Linux within about half a minute. Lost is what is
    /// lost with an interval, of that time.
    Never,
}

impl Sync {
    /// An interval of 100 milliseconds.
    pub const INTERVAL: Self = Self::Interval(Duration::from_millis(100));
}
