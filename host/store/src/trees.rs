//! Looks at the files that the engine's trees start from before the engine does.
//!
//! The engine checks the checksum of every block that it reads, but not that of the list of a
//! tree's tables; and a tree without that list it takes for new, and removes what it finds.

use std::fs;
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

/// Why the engine's files cannot be used.
#[derive(Debug)]
pub(crate) enum FilesError {
    Damaged(String),
    Io(io::Error),
}

impl From<io::Error> for FilesError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Checks that every tree has a list of its tables, as it was written.
pub(crate) fn check(data: &Path) -> Result<(), FilesError> {
    for needed in ["version", "lock", "keyspaces"] {
        if !data.join(needed).exists() {
            return Err(missing(&data.join(needed)));
        }
    }
    for tree in fs::read_dir(data.join("keyspaces"))? {
        let tree = tree?.path();
        if tree.is_dir() {
            check_tree(&tree)?;
        }
    }
    Ok(())
}

/// `current` has the number of the list, its checksum and the kind of that, which is 0.
fn check_tree(tree: &Path) -> Result<(), FilesError> {
    let path = tree.join("current");
    let current = read(&path)?;
    let damaged = |path: &Path| FilesError::Damaged(format!("{} is not what was written", path.display()));
    let (number, rest) = current.split_first_chunk::<8>().ok_or_else(|| damaged(&path))?;
    let (checksum, kind) = rest.split_first_chunk::<16>().ok_or_else(|| damaged(&path))?;
    if kind != [0] {
        return Err(damaged(&path));
    }
    let path = tree.join(format!("v{}", u64::from_le_bytes(*number)));
    if xxh3_128(&read(&path)?) != u128::from_le_bytes(*checksum) {
        return Err(damaged(&path));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(path),
        _ => error.into(),
    })
}

fn missing(path: &Path) -> FilesError {
    FilesError::Damaged(format!("{} is missing", path.display()))
}
