//! A store's directory: who has it open, which version it is, what was acknowledged.
//!
//! `lock` is held by the process that has the store open. `version` says that this is a store,
//! and of which version; it is written last when a store is made. `acknowledged` says how many
//! batches have reached the disk, so that the loss of one is noticed. `data` is the engine's. `torn` is
//! what was last cut off the end of its files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::OpenError;
use crate::mirror;

/// The version of stores that are made.
pub(crate) const VERSION: u32 = 1;

const VERSION_TEXT: &str = "reductor store ";
const ENTRIES: [&str; 6] = ["lock", "version", "version.new", "acknowledged", "data", "torn"];
const RESTORING: &str = "restoring";

/// A directory that this process has locked.
#[derive(Debug)]
pub(crate) struct Directory {
    dir: PathBuf,
    /// Held until it is dropped. A store without the file to lock cannot be written by anybody.
    _lock: Option<File>,
    /// Through which the store is read, if it must not be written to.
    mirror: Option<TempDir>,
}

/// What a directory has been found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing, or a store that was not made to the end.
    Nothing,
    /// A store.
    Store,
}

impl Directory {
    /// Locks a directory, which is made if it does not exist.
    /// Another process that has it open is waited for, so long.
    pub(crate) fn open(dir: &Path, lock_wait: Duration) -> Result<(Self, Found), OpenError> {
        let io = |doing| move |error| OpenError::io(dir, doing, error);
        if dir.exists() && !dir.is_dir() {
            return Err(OpenError::NotADirectory(dir.to_owned()));
        }
        make_private(dir).map_err(io("make it"))?;
        for entry in fs::read_dir(dir).map_err(io("read it"))? {
            let name = entry.map_err(io("read it"))?.file_name();
            if name == RESTORING {
                return Err(OpenError::Unfinished(dir.to_owned()));
            }
            if !ENTRIES.iter().any(|known| name == *known) {
                // Whatever else lies in a store is nobody's business; but a store it must be.
                if !dir.join("version").exists() {
                    return Err(OpenError::NotAStore(dir.to_owned()));
                }
            }
        }
        let lock = lock(dir, lock_wait)?;
        let found = found(dir)?;
        Ok((Self { dir: dir.to_owned(), _lock: Some(lock), mirror: None }, found))
    }

    /// Locks the directory of a store against writers, and makes one through which it is read.
    pub(crate) fn open_read_only(dir: &Path, lock_wait: Duration) -> Result<(Self, Found), OpenError> {
        let io = |doing| move |error| OpenError::io(dir, doing, error);
        match fs::metadata(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(OpenError::Missing(dir.to_owned())),
            Err(error) => return Err(io("look at it")(error)),
            Ok(metadata) if !metadata.is_dir() => return Err(OpenError::NotADirectory(dir.to_owned())),
            Ok(_) => {}
        }
        if dir.join(RESTORING).exists() {
            return Err(OpenError::Unfinished(dir.to_owned()));
        }
        let lock = match File::open(dir.join("lock")) {
            Ok(file) => Some(wait_for_lock(dir, file, lock_wait, File::try_lock_shared)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io("open its lock")(error)),
        };
        if found(dir)? == Found::Nothing {
            return Err(OpenError::NotAStore(dir.to_owned()));
        }
        let mirror = mirror::mirror(dir).map_err(io("copy its small files to a temporary directory"))?;
        Ok((Self { dir: dir.to_owned(), _lock: lock, mirror: Some(mirror) }, Found::Store))
    }

    /// Whether the store may be written to.
    pub(crate) fn is_read_only(&self) -> bool {
        self.mirror.is_some()
    }

    /// Where the files are that are used.
    fn base(&self) -> &Path {
        self.mirror.as_ref().map_or(&self.dir, TempDir::path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// Where the engine's files are that must not be changed.
    pub(crate) fn stored_data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where the engine's files are.
    pub(crate) fn data(&self) -> PathBuf {
        self.base().join("data")
    }

    /// Removes what is left of a store that was not made to the end.
    pub(crate) fn clear(&self) -> io::Result<()> {
        for leftover in [self.data(), self.dir.join("acknowledged"), self.dir.join("version.new")] {
            let removed = if leftover.is_dir() { fs::remove_dir_all(&leftover) } else { fs::remove_file(&leftover) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes a store of it, now that everything else is there.
    pub(crate) fn finish(&self) -> io::Result<()> {
        sync_dirs(&self.data())?;
        let (new, version) = (self.dir.join("version.new"), self.dir.join("version"));
        let mut file = File::create(&new)?;
        writeln!(file, "{VERSION_TEXT}{VERSION}")?;
        file.sync_all()?;
        fs::rename(&new, &version)?;
        File::open(&self.dir)?.sync_all()?;
        if let Some(parent) = self.dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }

    /// Notes that a restore has begun: until it is finished, this is no store.
    pub(crate) fn begin_restore(&self) -> io::Result<()> {
        File::create(self.dir.join(RESTORING))?.sync_all()?;
        File::open(&self.dir)?.sync_all()
    }

    /// Makes a store of it, now that everything is restored.
    pub(crate) fn finish_restore(&self) -> io::Result<()> {
        self.finish()?;
        fs::remove_file(self.dir.join(RESTORING))?;
        File::open(&self.dir)?.sync_all()
    }

    /// How many batches had reached the disk for certain.
    pub(crate) fn acknowledged(&self) -> io::Result<(Acknowledged, u64)> {
        let path = self.base().join("acknowledged");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        (&file).take(64).read_to_end(&mut bytes)?;
        Ok((Acknowledged { file }, parse_acknowledged(&bytes).unwrap_or(0)))
    }
}

/// How many batches have reached the disk. It is written without being synced: after a loss of
/// power it may say less than there were, and never more.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    file: File,
}

impl Acknowledged {
    pub(crate) fn write(&self, commits: u64) -> io::Result<()> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&commits.to_le_bytes());
        bytes[8..].copy_from_slice(&xxh3_64(&commits.to_le_bytes()).to_le_bytes());
        self.file.write_all_at(&bytes, 0)
    }
}

fn parse_acknowledged(bytes: &[u8]) -> Option<u64> {
    let (commits, checksum) = bytes.split_first_chunk::<8>()?;
    let fits = checksum == xxh3_64(commits).to_le_bytes();
    fits.then(|| u64::from_le_bytes(*commits))
}

/// Makes a directory that only its owner can look into: what documents say is nobody else's. One
/// that is there stays as it is.
fn make_private(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(dir) {
        // Somebody else was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Brings the names in a directory, and in those in it, to the disk.
fn sync_dirs(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_dirs(&entry.path())?;
        }
    }
    File::open(dir)?.sync_all()
}

/// How often a lock is tried that another process has.
const LOCK_TRIED_EVERY: Duration = Duration::from_millis(20);

fn lock(dir: &Path, wait: Duration) -> Result<File, OpenError> {
    let io = |doing| move |error| OpenError::io(dir, doing, error);
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(io("open its lock"))?;
    let mut file = wait_for_lock(dir, file, wait, File::try_lock)?;
    // Who it is, for the message to others. It is not what locks.
    let note = || -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    let mut note = note;
    note().map_err(io("write its lock"))?;
    Ok(file)
}

/// Locks a file, and waits so long for another process that has locked it.
fn wait_for_lock(
    dir: &Path,
    file: File,
    wait: Duration,
    try_lock: impl Fn(&File) -> Result<(), TryLockError>,
) -> Result<File, OpenError> {
    let began = Instant::now();
    // There is no call that waits for a lock up to some moment.
    loop {
        match try_lock(&file) {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < wait => std::thread::sleep(LOCK_TRIED_EVERY),
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.take(32).read_to_string(&mut pid);
                return Err(OpenError::InUse { dir: dir.to_owned(), pid: pid.trim().parse().ok() });
            }
            Err(TryLockError::Error(error)) => return Err(OpenError::io(dir, "lock it", error)),
        }
    }
}

fn found(dir: &Path) -> Result<Found, OpenError> {
    let text = match fs::read(dir.join("version")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(OpenError::io(dir, "read its version", error)),
    };
    let version = std::str::from_utf8(&text).ok().and_then(|text| text.strip_prefix(VERSION_TEXT));
    let version = version.and_then(|version| version.strip_suffix('\n')).and_then(|version| version.parse().ok());
    match version {
        Some(VERSION) => Ok(Found::Store),
        Some(found) if found > VERSION => Err(OpenError::Newer { dir: dir.to_owned(), found, supported: VERSION }),
        _ => Err(OpenError::Damaged { dir: dir.to_owned(), problem: "its version cannot be read".to_owned() }),
    }
}
