//! A store out of a backup.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fjall::{OwnedWriteBatch, PersistMode, Readable as _};
use foldhash::fast::RandomState;
use reductor_core::{ActionId, Scope};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::Progress;
use crate::backup::{Kind, MAGIC, Summary};
use crate::codec::{self, BadRecord, NameRecord, OperationRecord, StateRecord};
use crate::directory::{Directory, Found};
use crate::engine::{Engine, EngineError, Expect, RETENTION_KEY, STATE_KEY};
use crate::error::{OpenError, describe};
use crate::keys::{self, ActionKey};
use crate::names::Names;
use crate::options::StoreOptions;
use crate::start;

/// Why a backup did not become a store. What is in the directory then is not one.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory is a store already.
    #[error("{} is a store already; name an empty directory, or one that does not exist", .0.display())]
    Exists(PathBuf),
    /// The directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The stream is no backup, or of a newer host.
    #[error("it is not a backup that this host can read")]
    NotABackup,
    /// The stream is not what was written.
    #[error("the backup is damaged at byte {at}: {problem}")]
    Damaged {
        /// Where.
        at: u64,
        /// What is wrong.
        problem: String,
    },
    /// The stream could not be read.
    #[error("the backup could not be read")]
    Read(#[source] io::Error),
    /// The store could not be written.
    #[error("the store could not be written: {0}")]
    Write(String),
}

/// Makes a store of a backup, in a directory that is empty or does not exist. It is equal to the
/// one that was copied: positions, operations, snapshots and jobs, with their numbers.
///
/// # Errors
///
/// [`RestoreError`].
pub fn restore(
    from: &mut dyn Read,
    dir: impl AsRef<Path>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, RestoreError> {
    let mut frames = Frames::begin(from)?;
    let (directory, found) = Directory::open(dir.as_ref(), Duration::ZERO)?;
    if found == Found::Store {
        return Err(RestoreError::Exists(dir.as_ref().to_owned()));
    }
    let write = |error: io::Error| RestoreError::Write(error.to_string());
    directory.clear().map_err(write)?;
    directory.begin_restore().map_err(write)?;
    let engine = Engine::open(&directory.data(), &StoreOptions::default(), Expect::Nothing);
    let engine = engine.map_err(|error| {
        RestoreError::Write(match error {
            EngineError::Engine(error) => describe(&error),
            EngineError::Damaged(problem) => problem,
        })
    })?;
    let mut into = Restore::new(&engine);
    let mut summary = Summary::default();
    loop {
        let at = frames.at;
        let Some((kind, key, value)) = frames.next()? else { break };
        summary.count(kind, key);
        into.take(kind, key, value).map_err(|problem| match problem {
            Trouble::Write(problem) => RestoreError::Write(problem),
            Trouble::Bad(bad) => RestoreError::Damaged { at, problem: bad.to_string() },
        })?;
        if frames.frames.is_multiple_of(4096) {
            progress(Progress { records: frames.frames, total: 0 });
        }
    }
    summary.bytes = frames.at;
    let commits = into.finish().map_err(|problem| match problem {
        Trouble::Write(problem) => RestoreError::Write(problem),
        Trouble::Bad(bad) => RestoreError::Damaged { at: frames.at, problem: bad.to_string() },
    })?;
    // What a start would refuse is not to be called a store.
    start::load(&engine, &directory, &StoreOptions::default().retention)?;
    let (acknowledged, _) = directory.acknowledged().map_err(write)?;
    acknowledged.write(commits).map_err(write)?;
    drop(engine);
    directory.finish_restore().map_err(write)?;
    progress(Progress { records: frames.frames, total: frames.frames });
    Ok(summary)
}

/// A record: its kind, its key and its value.
type Frame<'a> = (Kind, &'a [u8], &'a [u8]);

/// Reads frames and checks them.
struct Frames<'a> {
    from: &'a mut dyn Read,
    at: u64,
    frames: u64,
    checksum: Xxh3,
    buffer: Vec<u8>,
}

impl<'a> Frames<'a> {
    fn begin(from: &'a mut dyn Read) -> Result<Self, RestoreError> {
        let mut magic = vec![0; MAGIC.len()];
        match from.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(RestoreError::Read(error)),
            _ => return Err(RestoreError::NotABackup),
        }
        Ok(Self { from, at: MAGIC.len() as u64, frames: 0, checksum: Xxh3::new(), buffer: Vec::new() })
    }

    /// The next frame, or `None` after the last.
    fn next(&mut self) -> Result<Option<Frame<'_>>, RestoreError> {
        self.buffer.clear();
        self.read(7)?;
        let key = usize::from(u16::from_le_bytes([self.buffer[1], self.buffer[2]]));
        let value = u32::from_le_bytes([self.buffer[3], self.buffer[4], self.buffer[5], self.buffer[6]]) as usize;
        if value > codec::MEMORY_BYTES_MAX {
            return Err(self.damaged("a record is longer than any"));
        }
        self.read(key + value)?;
        let expected = xxh3_64(&self.buffer).to_le_bytes();
        let content = self.buffer.len();
        self.read(8)?;
        if self.buffer[content..] != expected {
            return Err(self.damaged("a checksum does not fit"));
        }
        self.at += self.buffer.len() as u64;
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == self.buffer[0]);
        let kind = kind.ok_or_else(|| self.damaged("a record is of a kind that this host does not know"))?;
        if kind == Kind::End {
            let whole =
                self.buffer[7..content] == [self.frames.to_le_bytes(), self.checksum.digest().to_le_bytes()].concat();
            return if whole { Ok(None) } else { Err(self.damaged("records are missing")) };
        }
        self.checksum.update(&expected);
        self.frames += 1;
        Ok(Some((kind, &self.buffer[7..7 + key], &self.buffer[7 + key..content])))
    }

    /// Reads so many bytes. What is allocated grows with what is there.
    fn read(&mut self, count: usize) -> Result<(), RestoreError> {
        let from = self.buffer.len();
        let read = (&mut *self.from).take(count as u64).read_to_end(&mut self.buffer).map_err(RestoreError::Read)?;
        debug_assert_eq!(self.buffer.len(), from + read);
        if read < count { Err(self.damaged("it ends too early")) } else { Ok(()) }
    }

    fn damaged(&self, problem: &str) -> RestoreError {
        RestoreError::Damaged { at: self.at, problem: problem.to_owned() }
    }
}

enum Trouble {
    Write(String),
    Bad(BadRecord),
}

impl From<BadRecord> for Trouble {
    fn from(bad: BadRecord) -> Self {
        Self::Bad(bad)
    }
}

impl From<fjall::Error> for Trouble {
    fn from(error: fjall::Error) -> Self {
        Self::Write(describe(&error))
    }
}

/// Records that are written together.
const BATCH: usize = 1000;

/// Writes records, and makes the index of actions anew.
struct Restore<'a> {
    engine: &'a Engine,
    batch: OwnedWriteBatch,
    names: Names,
    lane: u32,
    next_sequence: u64,
    /// The lane's actions so far, by their keys.
    actions: HashMap<ActionKey, u64, RandomState>,
    commits: Option<u64>,
}

impl<'a> Restore<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            batch: engine.database.batch(),
            names: Names::default(),
            lane: 0,
            next_sequence: 0,
            actions: HashMap::default(),
            commits: None,
        }
    }

    fn take(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<(), Trouble> {
        let fields = codec::open(value)?;
        match kind {
            Kind::Name => {
                self.names.learn(&codec::decode::<NameRecord<'_>>(&fields)?.restore(codec::name_number(key)?))
            }
            Kind::Operation => self.operation(key, &codec::decode(&fields)?)?,
            Kind::State => self.commits = Some(codec::decode::<StateRecord>(&fields)?.commits),
            _ => {}
        }
        let expected = match kind {
            Kind::State => STATE_KEY,
            Kind::Retention => RETENTION_KEY,
            _ => key,
        };
        if key != expected {
            return Err(BadRecord::fields(format!("{kind} has another key")).into());
        }
        if let Some(keyspace) = kind.keyspace(self.engine) {
            self.batch.insert(keyspace, key, value);
        }
        if self.batch.len() >= BATCH { self.write() } else { Ok(()) }
    }

    fn operation(&mut self, key: &[u8], record: &OperationRecord<'_>) -> Result<(), Trouble> {
        let (lane, sequence) = keys::split(key).ok_or_else(|| BadRecord::fields("an operation has no key"))?;
        if lane != self.lane {
            self.write_actions()?;
            (self.lane, self.next_sequence) = (lane, 0);
        }
        if sequence != self.next_sequence {
            let problem = format!("operation {} of lane {lane} is missing", self.next_sequence);
            return Err(BadRecord::fields(problem).into());
        }
        self.next_sequence += 1;
        let action = record.restore_bare(&self.names)?.action;
        let mut key = ActionKey::new(lane, &action.scope, &action.id);
        while let Some(earlier) = self.actions.get(&key).copied() {
            if self.is(lane, earlier, &action.scope, &action.id)? {
                break;
            }
            key = key.next();
        }
        self.actions.insert(key, sequence);
        Ok(())
    }

    /// Whether an earlier operation is of this action.
    fn is(&mut self, lane: u32, sequence: u64, scope: &Scope, id: &ActionId) -> Result<bool, Trouble> {
        self.write()?;
        let view = self.engine.database.snapshot();
        let value = view.get(&self.engine.operations, keys::in_lane(lane, sequence))?;
        let value = value.ok_or_else(|| BadRecord::fields("an operation is missing"))?;
        let fields = codec::open(&value)?;
        let action = codec::decode::<OperationRecord<'_>>(&fields)?.restore_bare(&self.names)?.action;
        Ok(action.scope == *scope && action.id == *id)
    }

    /// Writes the index of the lane that is complete.
    fn write_actions(&mut self) -> Result<(), Trouble> {
        let mut scratch = Vec::new();
        for (key, sequence) in std::mem::take(&mut self.actions) {
            codec::encode(&sequence, &mut scratch);
            self.batch.insert(&self.engine.actions, &key.0[..], &scratch[..]);
            if self.batch.len() >= BATCH {
                self.write()?;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Trouble> {
        let batch = std::mem::replace(&mut self.batch, self.engine.database.batch());
        batch.durability(Some(PersistMode::Buffer)).commit()?;
        Ok(())
    }

    fn finish(mut self) -> Result<u64, Trouble> {
        self.write_actions()?;
        self.write()?;
        self.engine.database.persist(PersistMode::SyncAll)?;
        self.commits.ok_or_else(|| BadRecord::fields("it has no state").into())
    }
}
