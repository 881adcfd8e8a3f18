//! A copy of a whole store as a stream, taken while it is written to.
//!
//! The stream begins with the line `reductor backup 1`. Then come frames, each of them a kind (one
//! byte), the length of its key (two bytes) and of its value (four), key, value, and the xxh3 (64
//! bits) of all that; numbers are little-endian. The kinds are the records of the store, in this
//! order, each kind sorted by its key: names (1), lanes (2), operations (3), snapshots (4), the
//! jobs that have not ended (5), failed (6) and completed (7), what is remembered of others (9), the
//! budgets of roots (10), how far retention has come (11), and the state (8); the records are
//! those of the store, so that their first byte is their version. The last frame (0) has the
//! number of the others (8 bytes) and the xxh3 of their checksums, so that a stream that was cut
//! is told from a whole one. There is no index in it: whoever reads it makes its own.

use std::io::{self, Write};

use fjall::{Keyspace, Readable as _};
use reductor_core::StoreError;
use xxhash_rust::xxh3::Xxh3;

use crate::Progress;
use crate::engine::{Engine, RETENTION_KEY, STATE_KEY};
use crate::error::read_error;
use crate::store::DiskStore;

pub(crate) const MAGIC: &[u8] = b"reductor backup 1\n";

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    End = 0,
    Name = 1,
    Lane = 2,
    Operation = 3,
    Snapshot = 4,
    Pending = 5,
    Failed = 6,
    Completed = 7,
    State = 8,
    Outcome = 9,
    Budget = 10,
    Retention = 11,
}

impl Kind {
    pub(crate) const ALL: [Self; 12] = [
        Self::End,
        Self::Name,
        Self::Lane,
        Self::Operation,
        Self::Snapshot,
        Self::Pending,
        Self::Failed,
        Self::Completed,
        Self::Outcome,
        Self::Budget,
        Self::Retention,
        Self::State,
    ];

    /// Where such records are.
    pub(crate) fn keyspace(self, engine: &Engine) -> Option<&Keyspace> {
        match self {
            Self::End => None,
            Self::Name | Self::Retention | Self::State => Some(&engine.meta),
            Self::Lane => Some(&engine.lanes),
            Self::Operation => Some(&engine.operations),
            Self::Snapshot => Some(&engine.snapshots),
            Self::Pending => Some(&engine.pending),
            Self::Failed => Some(&engine.failed),
            Self::Completed => Some(&engine.completed),
            Self::Outcome => Some(&engine.outcomes),
            Self::Budget => Some(&engine.budgets),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::End => "the end",
            Self::Name => "a name",
            Self::Lane => "the record of a lane",
            Self::Operation => "an operation",
            Self::Snapshot => "a snapshot",
            Self::Pending => "a job that has not ended",
            Self::Failed => "a job that failed",
            Self::Completed => "a job that completed",
            Self::State => "the counters",
            Self::Outcome => "the outcome of a job",
            Self::Budget => "the budget of a root",
            Self::Retention => "what is remembered of jobs",
        })
    }
}

/// What a backup has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Branches of documents.
    pub lanes: u64,
    /// Operations of all of them.
    pub operations: u64,
    /// Jobs in the journal, whatever became of them.
    pub jobs: u64,
    /// Bytes of the stream.
    pub bytes: u64,
}

impl Summary {
    pub(crate) fn count(&mut self, kind: Kind, key: &[u8]) {
        match kind {
            Kind::Lane if key.first() == Some(&b'k') => self.lanes += 1,
            Kind::Operation => self.operations += 1,
            Kind::Pending | Kind::Failed | Kind::Completed => self.jobs += 1,
            _ => {}
        }
    }
}

/// Why a store was not copied. What was written of the stream is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stream could not be written.
    #[error("the backup could not be written")]
    Write(#[from] io::Error),
}

impl DiskStore {
    /// Writes a copy of the whole store as it is now, while it goes on. [`crate::restore`] makes a
    /// store of it again.
    ///
    /// # Errors
    ///
    /// [`BackupError`]: also if a record is damaged, so that no backup is silently incomplete.
    pub fn backup(&self, to: &mut dyn Write, progress: &mut dyn FnMut(Progress)) -> Result<Summary, BackupError> {
        let engine = &self.inner.engine;
        let (view, completed_from, remembered) = {
            let shared = self.inner.shared();
            (shared.view.clone(), shared.state.completed_from, shared.remembered.clone())
        };
        let total = engine.keyspaces().into_iter().filter(|(name, _)| *name != "actions");
        let total = total.map(|(_, keyspace)| keyspace.approximate_len() as u64).sum();
        let mut stream =
            Stream { to, frames: 0, checksum: Xxh3::new(), summary: Summary::default(), buffer: Vec::new() };
        stream.begin()?;
        for kind in Kind::ALL {
            let Some(keyspace) = kind.keyspace(engine) else { continue };
            let records = match kind {
                Kind::Completed => view.range(keyspace, completed_from.to_be_bytes()..),
                Kind::Outcome => view.range(keyspace, remembered.first_generation().to_be_bytes()..),
                Kind::Budget => view.range(keyspace, remembered.first_budgets().to_be_bytes()..),
                Kind::Retention => view.range(keyspace, RETENTION_KEY..=RETENTION_KEY),
                Kind::State => view.range(keyspace, STATE_KEY..=STATE_KEY),
                _ => view.iter(keyspace),
            };
            stream.all(kind, records, &mut |records| progress(Progress { records, total }))?;
        }
        stream.end()
    }
}

struct Stream<'a> {
    to: &'a mut dyn Write,
    frames: u64,
    checksum: Xxh3,
    summary: Summary,
    buffer: Vec<u8>,
}

/// Frames between two calls of the progress.
const PROGRESS_EVERY: u64 = 4096;

impl Stream<'_> {
    fn begin(&mut self) -> io::Result<()> {
        self.summary.bytes += MAGIC.len() as u64;
        self.to.write_all(MAGIC)
    }

    fn all(&mut self, kind: Kind, records: fjall::Iter, progress: &mut dyn FnMut(u64)) -> Result<(), BackupError> {
        for guard in records {
            let (key, value) = guard.into_inner().map_err(|error| read_error(error, || kind.to_string()))?;
            if kind == Kind::Name && (*key == *STATE_KEY || *key == *RETENTION_KEY) {
                continue;
            }
            self.frame(kind, &key, &value)?;
            self.summary.count(kind, &key);
            if self.frames.is_multiple_of(PROGRESS_EVERY) {
                progress(self.frames);
            }
        }
        progress(self.frames);
        Ok(())
    }

    fn frame(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.push(kind as u8);
        self.buffer.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.buffer.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        let checksum = xxhash_rust::xxh3::xxh3_64(&self.buffer).to_le_bytes();
        self.buffer.extend_from_slice(&checksum);
        self.checksum.update(&checksum);
        self.frames += 1;
        self.summary.bytes += self.buffer.len() as u64;
        self.to.write_all(&self.buffer)
    }

    fn end(mut self) -> Result<Summary, BackupError> {
        let (frames, checksum) = (self.frames, self.checksum.digest());
        self.frame(Kind::End, &frames.to_le_bytes(), &checksum.to_le_bytes())?;
        self.to.flush()?;
        Ok(self.summary)
    }
}
