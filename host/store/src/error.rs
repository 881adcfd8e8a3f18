//! Why a store could not be opened, and what the engine's errors mean.

use std::io;
use std::path::PathBuf;

use reductor_core::StoreError;

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
    #[error("the store {} could not be opened: could not {doing}: {error}", .dir.display())]
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

/// The engine's error in words.
pub(crate) fn describe(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Storage(fjall::LsmError::ChecksumMismatch { .. }) => "a checksum does not fit".to_owned(),
        fjall::Error::Poisoned => "the storage engine had failed before".to_owned(),
        other => io_error(other).map_or_else(|| format!("{other:?}"), ToString::to_string),
    }
}
