//! What a process did to a directory, as the shim wrote it down.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// A file or directory, by the number that the file system gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inode(pub u64);

/// Something that a process did. Paths are relative to the directory; it itself is the empty one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A file came to be, with a name.
    Create {
        /// Which.
        inode: Inode,
        /// Its name.
        path: String,
    },
    /// A directory came to be. The first record is about the directory that is watched.
    MakeDir {
        /// Which.
        inode: Inode,
        /// Its name.
        path: String,
    },
    /// Bytes were written.
    Write {
        /// To which file.
        inode: Inode,
        /// Where.
        at: u64,
        /// What.
        data: Arc<[u8]>,
    },
    /// A file was cut, or grew by zeros.
    Resize {
        /// Which.
        inode: Inode,
        /// How long it is now.
        bytes: u64,
    },
    /// A file or directory was synced.
    Sync {
        /// Which.
        inode: Inode,
    },
    /// Everything was synced.
    SyncAll,
    /// A sync failed.
    SyncFailed {
        /// Of what.
        inode: Inode,
    },
    /// A name was changed. What had the new one before has lost it.
    Rename {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// A file lost a name.
    Unlink {
        /// Which.
        path: String,
    },
    /// An empty directory was removed.
    RemoveDir {
        /// Which.
        path: String,
    },
    /// A file got another name.
    Link {
        /// One that it has.
        from: String,
        /// The other.
        to: String,
    },
    /// The process wrote something to its standard output, for the world to know.
    Say {
        /// What.
        data: Arc<[u8]>,
    },
    /// A fault was injected into the next operation, or in its place.
    Fault,
    /// Something that the simulation does not know.
    Unsupported {
        /// What.
        what: String,
    },
}

/// All that a process did, in order.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// What it did.
    pub ops: Vec<Op>,
}

const HEADER_BYTES: usize = 40;

impl Recording {
    /// Reads the shim's log. A record that was not written to its end is none.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not such a log.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(path)?;
        let (mut rest, mut ops) = (&bytes[..], Vec::new());
        while let Some((op, after)) = record(rest)? {
            ops.push(op);
            rest = after;
        }
        Ok(Self { ops })
    }

    /// What the process had told the world when `count` operations were done.
    pub fn said(&self, count: usize) -> Vec<u8> {
        let said = self.ops[..count].iter().filter_map(|op| if let Op::Say { data } = op { Some(data) } else { None });
        said.flat_map(|data| data.iter().copied()).collect()
    }
}

/// Reads one record, and returns what follows it.
fn record(bytes: &[u8]) -> io::Result<Option<(Op, &[u8])>> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else { return Ok(None) };
    let small = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| header[at + byte])) as usize;
    let large = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| header[at + byte]));
    let (inode, at) = (Inode(large(16)), large(24));
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let Some((path, rest)) = rest.split_at_checked(small(4)) else { return Ok(None) };
    let Some((other, rest)) = rest.split_at_checked(small(8)) else { return Ok(None) };
    let data_bytes = usize::try_from(large(32)).map_err(|_| invalid("a record is too large".to_owned()))?;
    let Some((data, rest)) = rest.split_at_checked(data_bytes) else { return Ok(None) };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| invalid("a path is not UTF-8".to_owned()));
    let path = text(path)?;
    let op = match small(0) {
        1 => Op::Create { inode, path },
        2 => Op::MakeDir { inode, path },
        3 => Op::Write { inode, at, data: data.into() },
        4 => Op::Resize { inode, bytes: at },
        5 => Op::Sync { inode },
        6 => Op::SyncAll,
        7 => Op::SyncFailed { inode },
        8 => Op::Rename { from: path, to: text(other)? },
        9 => Op::Unlink { path },
        10 => Op::RemoveDir { path },
        11 => Op::Link { from: path, to: text(other)? },
        12 => Op::Say { data: data.into() },
        13 => Op::Fault,
        14 => Op::Unsupported { what: path },
        kind => return Err(invalid(format!("a record of the unknown kind {kind}; does the shim fit?"))),
    };
    Ok(Some((op, rest)))
}
