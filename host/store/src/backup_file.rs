//! A file for a backup, which has its name only when it is complete.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

/// A file that is being written beside the one that it will be.
///
/// It is named after the target and locked while it is written. If the writer is killed, the partial
/// file is taken over by the next backup to the same target, so it does not stay for good.
#[derive(Debug)]
pub struct BackupFile {
    target: PathBuf,
    partial: PathBuf,
    file: File,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Partial,
    Finished,
}

/// What becomes of a file that has the target's name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and finishing fails.
    Keep,
    /// The backup takes its place.
    Replace,
}

impl BackupFile {
    /// Begins a file that is to become `target`.
    ///
    /// # Errors
    ///
    /// If the system refuses; [`io::ErrorKind::WouldBlock`] if another process is writing a backup
    /// to the same target.
    pub fn create(target: impl Into<PathBuf>) -> io::Result<Self> {
        let target = target.into();
        let name = target.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let partial = target.with_file_name(format!(".{}.partial", name.to_string_lossy()));
        loop {
            let mut options = OpenOptions::new();
            // A backup says what documents say, which is its owner's alone; and the name can be guessed.
            options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
            let file = options.read(true).write(true).create(true).truncate(false).open(&partial)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() || metadata.uid() != geteuid().as_raw() {
                let problem = format!("{} is another user's, or no file", partial.display());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
            }
            file.set_permissions(Permissions::from_mode(0o600))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let problem = "another process is writing a backup to the same file";
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, problem));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Its writer may have finished between opening and locking: then the name is gone, or
            // another file's.
            let same = fs::metadata(&partial).is_ok_and(|named| {
                file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (named.dev(), named.ino()))
            });
            if same {
                file.set_len(0)?;
                return Ok(Self { target, partial, file, state: State::Partial });
            }
        }
    }

    /// The file, to write to.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// Brings the file to the disk and gives it its name. Returns how many bytes it has.
    ///
    /// # Errors
    ///
    /// If the system refuses; [`io::ErrorKind::AlreadyExists`] if the target is there and stays.
    pub fn finish(mut self, existing: Existing) -> io::Result<u64> {
        self.file.sync_all()?;
        let bytes = self.file.metadata()?.len();
        match existing {
            Existing::Replace => fs::rename(&self.partial, &self.target)?,
            // A link is refused if somebody else has made the target meanwhile.
            Existing::Keep => {
                fs::hard_link(&self.partial, &self.target)?;
                fs::remove_file(&self.partial)?;
            }
        }
        self.state = State::Finished;
        let dir = self.target.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
        Ok(bytes)
    }
}

impl Drop for BackupFile {
    fn drop(&mut self) {
        if self.state == State::Partial {
            // If it cannot be removed, the next backup takes it over.
            let _ = fs::remove_file(&self.partial);
        }
    }
}
