//! How records are spelled in bytes: the only module that knows `bincode`.
//!
//! A record is a version byte and the fields of a type of its own, in `bincode`'s variable-length
//! integers. What the wire spells as text but is a number, a UUID or a digest is kept as that,
//! if the text can be told from it again exactly. JSON stays text.
//!
//! `bincode` 2.0.1 is the last release that works and is pinned. Its format is documented and
//! small, so that this module could be written without it.

mod job;
mod lane;
mod operation;
mod retention;
mod texts;

use std::borrow::Cow;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::de::BorrowDecode;
use bincode::enc::Encode;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;

pub(crate) use job::{
    CompletedHeader, CompletedRecord, FailedHeader, FailedRecord, JournaledMore, LaneName, PendingHeader, PendingRecord,
};
pub(crate) use lane::{LaneRecord, LaneText, NameRecord, ScopeRecord, SnapshotRecord, StateRecord, name_number};
pub(crate) use operation::{ActionRecord, OperationRecord, ScopeLast};
pub(crate) use retention::{GenerationRecord, RetentionRecord};
pub(crate) use texts::{Hash, Id, Moment, Name, PluginName, PluginText};

/// The version of nearly every record that is written. A later one must still read it.
pub(crate) const VERSION: u8 = 1;

/// The version of a record with more fields behind those of version 1.
const VERSION_MORE: u8 = 2;

/// Set in the version byte of a record whose fields are compressed.
const COMPRESSED: u8 = 0x80;

/// Records larger than this are compressed if that makes them smaller.
const COMPRESS_FROM_BYTES: usize = 1024;

/// No record is larger, before it is compressed.
pub(crate) const RECORD_BYTES_MAX: usize = 512 << 20;

/// What reading a record may take of memory. Lists take more there than in the record, so that
/// this is more: what was written can be read.
pub(crate) const MEMORY_BYTES_MAX: usize = 1 << 30;

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRecord {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// A newer host wrote it.
    #[error("it has version {0}, and this host reads up to {VERSION_MORE}")]
    Version(u8),
    /// The fields are not what they must be.
    #[error("{0}")]
    Fields(String),
}

impl BadRecord {
    pub(crate) fn fields(problem: impl ToString) -> Self {
        Self::Fields(problem.to_string())
    }
}

fn config() -> Configuration<LittleEndian, Varint, Limit<MEMORY_BYTES_MAX>> {
    bincode::config::standard().with_limit::<MEMORY_BYTES_MAX>()
}

/// Spells a record in `into`, which is emptied first. Small ones, of which there are many.
pub(crate) fn encode(record: &impl Encode, into: &mut Vec<u8>) {
    into.clear();
    into.push(VERSION);
    append(record, into);
}

/// The same, compressed where that pays. Returns how many bytes it has when it is not.
pub(crate) fn encode_compressed(record: &impl Encode, into: &mut Vec<u8>) -> usize {
    encode(record, into);
    compress(into)
}

/// The same, with more fields behind it where there are any.
pub(crate) fn encode_with_more(record: &impl Encode, more: Option<&impl Encode>, into: &mut Vec<u8>) -> usize {
    encode(record, into);
    if let Some(more) = more {
        into[0] = VERSION_MORE;
        append(more, into);
    }
    compress(into)
}

/// How many bytes a record has when it is not compressed, without spelling it.
pub(crate) fn encoded_bytes(record: &impl Encode) -> usize {
    let mut counted = Counter(1);
    bincode::encode_into_writer(record, &mut counted, config()).expect("every record can be counted");
    counted.0
}

fn append(record: &impl Encode, into: &mut Vec<u8>) {
    bincode::encode_into_writer(record, Bytes(into), config()).expect("memory takes every record");
}

fn compress(into: &mut Vec<u8>) -> usize {
    let bytes = into.len();
    if bytes < COMPRESS_FROM_BYTES {
        return bytes;
    }
    let compressed = lz4_flex::compress_prepend_size(&into[1..]);
    if compressed.len() + into.len() / 16 < into.len() {
        let version = into[0];
        into.clear();
        into.push(version | COMPRESSED);
        into.extend_from_slice(&compressed);
    }
    bytes
}

/// The fields of a record, whichever way it was spelled.
pub(crate) fn open(record: &[u8]) -> Result<Cow<'_, [u8]>, BadRecord> {
    let (&version, body) = record.split_first().ok_or(BadRecord::Empty)?;
    if !(VERSION..=VERSION_MORE).contains(&(version & !COMPRESSED)) {
        return Err(BadRecord::Version(version & !COMPRESSED));
    }
    if version & COMPRESSED == 0 {
        return Ok(Cow::Borrowed(body));
    }
    let size = body.first_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    if size > MEMORY_BYTES_MAX {
        return Err(BadRecord::fields("it says that it is larger than any record"));
    }
    lz4_flex::decompress_size_prepended(body).map(Cow::Owned).map_err(BadRecord::fields)
}

/// Reads the fields of a record that [`open`] returned: all of them.
pub(crate) fn decode<'a, T: BorrowDecode<'a, ()>>(fields: &'a [u8]) -> Result<T, BadRecord> {
    let (record, rest) = decode_first(fields)?;
    if rest.is_empty() { Ok(record) } else { Err(BadRecord::fields(format!("{} bytes are left over", rest.len()))) }
}

/// Reads the fields of a record, and the ones behind them if there are any.
pub(crate) fn decode_with_more<'a, T, M>(fields: &'a [u8]) -> Result<(T, Option<M>), BadRecord>
where
    T: BorrowDecode<'a, ()>,
    M: BorrowDecode<'a, ()>,
{
    let (record, rest) = decode_first(fields)?;
    Ok((record, if rest.is_empty() { None } else { Some(decode(rest)?) }))
}

/// Reads what a record begins with.
pub(crate) fn decode_first<'a, T: BorrowDecode<'a, ()>>(fields: &'a [u8]) -> Result<(T, &'a [u8]), BadRecord> {
    let (record, read) = bincode::borrow_decode_from_slice(fields, config()).map_err(BadRecord::fields)?;
    Ok((record, &fields[read..]))
}

/// What is written goes to the end of a vector.
struct Bytes<'a>(&'a mut Vec<u8>);

impl Writer for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Counts what would be written.
struct Counter(usize);

impl Writer for &mut Counter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0 += bytes.len();
        Ok(())
    }
}
