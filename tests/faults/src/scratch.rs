//! Files for a short time, in memory where there is room for them: syncs cost nothing there, and
//! what they do is simulated.

use std::io;
use std::path::PathBuf;

use tempfile::{Builder, TempDir, TempPath};

const PREFIX: &str = "reductor-faults-";

/// A new directory.
pub(crate) fn dir() -> io::Result<TempDir> {
    Builder::new().prefix(PREFIX).tempdir_in(place())
}

/// A new file.
pub(crate) fn file() -> io::Result<TempPath> {
    Ok(Builder::new().prefix(PREFIX).tempfile_in(place())?.into_temp_path())
}

fn place() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}
