//! Why a store could not be opened, and what the engine's errors mean.

use std::io;
use std::path::{Path, PathBuf};

use reductor_core::StoreError;

use crate::engine_log;

/// Why a directory could not be opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open, or this one does already.
    #[error("the store {} is in use{}; only one process at a time can open it", .dir.display(), by(.pid))]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process, if it wrote down who it is.
        pid: Option<u32>,
    },
    /// There is something else of that name.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// It has files, but not those of a store.
    #[error("{} is not a store and not empty; name an empty directory, or one that does not exist", .0.display())]
    NotAStore(PathBuf),
    /// There is nothing of that name. Only opening to look refuses that; opening to write makes it.
    #[error("there is no store at {}: it does not exist", .0.display())]
    Missing(PathBuf),
    /// It is there, but this process may not look into it or change it.
    #[error("the store {} may not be used by this user: could not {doing}", .dir.display())]
    Forbidden {
        /// The directory.
        dir: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A restore into it was begun and not finished.
    #[error("the store {} was not restored completely; delete it and restore it again", .0.display())]
    Unfinished(PathBuf),
    /// A newer host wrote it.
    #[error("the store {} has version {found}, and this host knows up to {supported}; use a newer host", .dir.display())]
    Newer {
        /// The directory.
        dir: PathBuf,
        /// Its version.
        found: u32,
        /// The latest that this host knows.
        supported: u32,
    },
    /// Something in it is not what was written. Nothing was changed.
    #[error("the store {} is damaged: {problem}; restore a backup of it", .dir.display())]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The system refused.
    #[error("the store {} could not be opened: could not {doing}", .dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

impl OpenError {
    /// Whether the store may be there and cannot be written to: the medium is for reading only or
    /// has no room, or the user may not. Then it can still be looked at, with
    /// [`DiskStore::open_read_only`](crate::DiskStore::open_read_only).
    pub fn is_unwritable(&self) -> bool {
        match self {
            Self::Forbidden { .. } => true,
            Self::Io { error, .. } => {
                matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull)
            }
            _ => false,
        }
    }

    /// What the system refused, and how.
    pub(crate) fn io(dir: &Path, doing: &'static str, error: io::Error) -> Self {
        let dir = dir.to_owned();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Forbidden { dir, doing, error },
            _ => Self::Io { dir, doing, error },
        }
    }
}

fn by(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}

/// What it means that a record could not be read.
pub(crate) fn read_error(error: fjall::Error, place: impl FnOnce() -> String) -> StoreError {
    match io_error(&error) {
        Some(io) if !matches!(io.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
            StoreError::Io { doing: "read a record", problem: io.to_string() }
        }
        // A file that is missing or too short is damage, as is anything that does not add up.
        _ => StoreError::Corrupt { place: place(), problem: describe(&error) },
    }
}

/// The system's own error, if it is one.
pub(crate) fn io_error(error: &fjall::Error) -> Option<&io::Error> {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => Some(error),
        _ => None,
    }
}

/// The system's own error, or the engine's if it is none.
pub(crate) fn into_io_error(error: fjall::Error) -> Result<io::Error, fjall::Error> {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => Ok(error),
        other => Err(other),
    }
}

/// The engine's error in words.
pub(crate) fn describe(error: &fjall::Error) -> String {
    use fjall::{Error, LsmError};
    let text = match error {
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => return error.to_string(),
        Error::Storage(LsmError::ChecksumMismatch { .. }) => "a checksum does not fit",
        Error::Storage(LsmError::Unrecoverable) | Error::Unrecoverable => "files that belong together do not fit",
        Error::Storage(LsmError::InvalidVersion(version)) => {
            return format!("a file has version {version}, which is not known");
        }
        Error::InvalidVersion(Some(_)) => "its files have a version that is not known",
        Error::InvalidVersion(None) => "the version of its files cannot be read",
        Error::Decompress(_) | Error::Storage(LsmError::Decompress(_)) => "something cannot be decompressed",
        Error::InvalidTag((what, tag)) | Error::Storage(LsmError::InvalidTag((what, tag))) => {
            return format!("{tag} is no {what}");
        }
        Error::InvalidTrailer | Error::Storage(LsmError::InvalidTrailer) => "a block does not end as it must",
        Error::Storage(LsmError::InvalidHeader(what)) => return format!("{what} does not begin as it must"),
        Error::Storage(LsmError::Utf8(_)) => "a text is none",
        Error::JournalRecovery(_) => "a write-ahead file is not what was written",
        Error::KeyspaceDeleted => "a part of it was deleted",
        Error::Locked => "another process has it open",
        Error::Poisoned => {
            return match engine_log::last_error() {
                Some(cause) => format!("the storage engine could not write in the background: {cause}"),
                None => "the storage engine could not write in the background".to_owned(),
            };
        }
        other => return format!("the storage engine failed: {other}"),
    };
    text.to_owned()
}
