//! A directory through which a store is read that must not be written to.
//!
//! The engine cannot open a store without writing: it locks a file, cuts the write-ahead files,
//! removes what it does not need any more. So it is given a directory of its own: the tables and blobs,
//! which never change, are links to the ones of the store, and all else is copied. What is copied
//! is bounded by the write-ahead files, 128 MiB and as much again at worst; their free room at the end
//! is not copied.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use tempfile::TempDir;

/// Where the kernel keeps files in memory: used if the usual directory for temporary files has no
/// room, as when the only disk is full.
const IN_MEMORY: &str = "/dev/shm";

/// The directories of files that are written once.
const LINKED: [&str; 2] = ["tables", "blobs"];

/// Makes such a directory for the store in `dir`, which somebody else must not change meanwhile.
pub(crate) fn mirror(dir: &Path) -> io::Result<TempDir> {
    let dir = dir.canonicalize()?;
    mirror_in(&dir, &std::env::temp_dir()).or_else(|first| mirror_in(&dir, Path::new(IN_MEMORY)).map_err(|_| first))
}

fn mirror_in(dir: &Path, parent: &Path) -> io::Result<TempDir> {
    let made = tempfile::Builder::new().prefix("reductor-look-").tempdir_in(parent)?;
    for name in ["version", "acknowledged"] {
        match copy(&dir.join(name), &made.path().join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => copied?,
        }
    }
    mirror_all(&dir.join("data"), &made.path().join("data"))?;
    Ok(made)
}

fn mirror_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if !entry.file_type()?.is_dir() {
            copy(&path, &target)?;
        } else if LINKED.iter().any(|linked| entry.file_name() == *linked) {
            link_all(&path, &target)?;
        } else {
            mirror_all(&path, &target)?;
        }
    }
    Ok(())
}

fn link_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        std::os::unix::fs::symlink(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Copies a file; of a write-ahead file not the zeros at its end, which are the room that it has left.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let is_write_ahead = from.extension().is_some_and(|extension| extension == "jnl");
    // Not with the permissions of the file, which may be for reading only.
    let (mut source, mut target) = (File::open(from)?, File::create(to)?);
    if !is_write_ahead {
        io::copy(&mut source, &mut target)?;
        return Ok(());
    }
    let (mut buffer, mut zeros) = (vec![0; 1 << 16], 0_u64);
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return target.flush();
        }
        let part = &buffer[..read];
        let Some(last) = part.iter().rposition(|byte| *byte != 0) else {
            zeros += read as u64;
            continue;
        };
        io::copy(&mut io::repeat(0).take(zeros), &mut target)?;
        target.write_all(&part[..=last])?;
        zeros = (read - last - 1) as u64;
    }
}
