//! Looks at the engine's write-ahead files before the engine does.
//!
//! After a loss of power the end of the last file may be torn: whole pages of a batch that nobody
//! was told of may be missing. The engine either cuts such a file at the first byte that it does
//! not understand, or refuses to open. Both are wrong here: what was acknowledged must not be cut
//! off because a byte of it was damaged, and a torn batch must not keep a store closed. So the
//! files are read once before: a torn end is cut off, and damage is an error that changes nothing.
//!
//! What lies beyond the last acknowledgement is written again, the same bytes at the same place, and
//! synced. A process before this one may have failed to sync it; the kernel marks such pages clean
//! and drops them some time later, so that this process reads from memory what the disk never got
//! (<https://lwn.net/Articles/752063/>). Without writing again, no later sync would bring those pages
//! to the disk, and what is acknowledged behind them would be lost with the power.
//!
//! The format is that of `fjall` 3 (disk format 3); a test reads what the engine writes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::codec::{self, StateRecord};
use crate::engine::STATE_KEY;
use crate::trees::FilesError;

const TRAILER: [u8; 4] = *b"FJL\x03";

/// What the write-ahead files end with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The state record of the last whole batch, if the files have one.
    pub(crate) state: Option<StateRecord>,
}

/// A batch as it lies in a file.
struct Batch {
    end: usize,
    state: Option<StateRecord>,
}

/// Checks the write-ahead files in `dir`, cuts off a torn end, and brings the rest to the disk.
/// `synced` says that batches number up to this one had reached the disk.
pub(crate) fn check(dir: &Path, synced: u64) -> Result<Tail, FilesError> {
    let files = files(dir)?;
    let mut tail = Tail::default();
    for (position, (number, path)) in files.iter().enumerate() {
        if position > 0 && *number != files[position - 1].0 + 1 {
            let problem = format!("the write-ahead file {} is missing", files[position - 1].0 + 1);
            return Err(FilesError::Damaged(problem));
        }
        let bytes = fs::read(path)?;
        let (mut end, mut synced_end) = (0, 0);
        while let Some(batch) = batch(&bytes, end) {
            end = batch.end;
            if batch.state.is_some_and(|state| state.commits <= synced) {
                synced_end = end;
            }
            tail.state = batch.state.or(tail.state);
        }
        let rest = &bytes[end..];
        if rest.iter().all(|byte| *byte == 0) {
            write_again(path, &bytes, synced_end..end)?;
            continue;
        }
        let damaged = |what: &str| FilesError::Damaged(format!("{what} at byte {end} of {}", path.display()));
        if position + 1 < files.len() {
            return Err(damaged("a batch is not what was written"));
        }
        let known = tail.state.map_or(0, |state| state.commits);
        if known < synced && follows(&bytes, end) {
            return Err(damaged("a batch that was acknowledged is not what was written"));
        }
        if known < synced && tail.state.is_some() {
            return Err(damaged("the last batch that was acknowledged is not what was written"));
        }
        // Where the file begins with it, only the tables can tell whether it was acknowledged; and
        // whoever has to find out what happened wants to see it.
        let torn = dir.with_file_name("torn");
        fs::write(&torn, &rest[..rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)])?;
        tracing::warn!(
            file = %path.display(), at = end, kept = %torn.display(),
            "the last batch was not written whole and is cut off"
        );
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(end as u64)?;
        file.sync_all()?;
        write_again(path, &bytes, synced_end..end)?;
        File::open(dir)?.sync_all()?;
    }
    Ok(tail)
}

/// Brings a part of a file to the disk, whatever the kernel believes of its pages.
fn write_again(path: &Path, bytes: &[u8], part: Range<usize>) -> io::Result<()> {
    if part.is_empty() {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&bytes[part.clone()], part.start as u64)?;
    file.sync_all()
}

fn files(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|extension| extension == "jnl")) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a whole batch lies somewhere after `from`: then what is there was written before it.
fn follows(bytes: &[u8], from: usize) -> bool {
    (from + 1..bytes.len()).any(|at| bytes[at] == 1 && batch(bytes, at).is_some())
}

/// The whole batch at `at`, if there is one.
fn batch(bytes: &[u8], at: usize) -> Option<Batch> {
    let mut reader = Reader { bytes, at };
    if reader.take(1)? != [1] {
        return None;
    }
    let items = reader.u32()?;
    reader.take(8)?;
    let mut hasher = Xxh3::new();
    let mut state = None;
    for _ in 0..items {
        let from = reader.at;
        match reader.take(1)? {
            [2] => {
                reader.take(2 + 8)?;
                let key = u16::from_le_bytes(*reader.take(2)?.first_chunk()?);
                reader.take(4)?;
                let value = reader.u32()?;
                let key = reader.take(usize::from(key))?;
                let value = reader.take(value as usize)?;
                if key == STATE_KEY {
                    state = codec::open(value).ok().and_then(|fields| codec::decode(&fields).ok());
                }
            }
            [4] => {
                reader.take(8)?;
            }
            _ => return None,
        }
        hasher.update(&bytes[from..reader.at]);
    }
    let whole =
        reader.take(1)? == [3] && reader.take(8)? == hasher.digest().to_le_bytes() && reader.take(4)? == TRAILER;
    whole.then_some(Batch { end: reader.at, state })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use reductor_core::{Entry, OperationStore as _, Pausing};
    use tempfile::TempDir;

    use super::*;
    use crate::{DiskStore, StoreOptions};

    /// A store with two batches, and its write-ahead file.
    fn store() -> (TempDir, PathBuf) {
        let dir = TempDir::new().expect("a directory");
        let options = StoreOptions { reserve_bytes: 0, ..StoreOptions::default() };
        let store = DiskStore::open(dir.path(), options).expect("a new store");
        for pausing in [Pausing::Paused, Pausing::Resumed] {
            store.commit(&[Entry::Pausing(pausing)]).expect("a batch is written");
        }
        drop(store);
        let mut files = files(&dir.path().join("data")).expect("a directory");
        let (_, path) = files.pop().expect("a write-ahead file");
        (dir, path)
    }

    /// Checks the files. Returns how many batches they have, and whether one was written to.
    fn checked(dir: &TempDir, path: &Path, synced: u64) -> (u64, bool) {
        let file = OpenOptions::new().write(true).open(path).expect("a file");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("a time is set");
        let before = fs::read(path).expect("readable");
        let tail = check(&dir.path().join("data"), synced).expect("nothing is wrong");
        assert!(fs::read(path).expect("readable") == before, "the content stays the same");
        let modified = file.metadata().expect("readable").modified().expect("a time");
        (tail.state.expect("there are batches").commits, modified != SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn what_was_not_acknowledged_is_written_again() {
        let (dir, path) = store();
        assert_eq!(checked(&dir, &path, 2), (2, false), "everything was acknowledged");
        assert_eq!(checked(&dir, &path, 1), (2, true), "one was not");
        assert_eq!(checked(&dir, &path, 0), (2, true), "none was");
    }
}
