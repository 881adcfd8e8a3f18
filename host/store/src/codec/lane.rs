//! Lanes, snapshots and the store's own counters as records.

use std::sync::Arc;

use bincode::{BorrowDecode, Encode};
use reductor_core::{DocumentType, Head, Scope, ScopeHead, ScopeState};

use super::{BadRecord, Hash, PluginText};
use crate::names::{FreshName, restore};

/// A lane: its number, its model, and where it stood at some revision.
#[derive(Clone, Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct LaneRecord<'a> {
    pub(crate) number: u32,
    pub(crate) document_type: &'a str,
    /// Operations from here on change what the scopes say.
    pub(crate) revision: u64,
    pub(crate) scopes: Vec<ScopeRecord<'a>>,
}

/// Where a scope stood.
#[derive(Clone, Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct ScopeRecord<'a> {
    pub(crate) scope: &'a str,
    pub(crate) next_index: u64,
    pub(crate) hash: Hash<'a>,
}

/// The name of a lane, by its number.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct LaneText<'a> {
    pub(crate) document: &'a str,
    pub(crate) branch: &'a str,
}

/// What a number stands for.
#[derive(Clone, Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) enum NameRecord<'a> {
    Text(&'a str),
    Plugin(PluginText<'a>),
}

/// What the store knows of itself, written with every batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct StateRecord {
    /// How many batches were written.
    pub(crate) commits: u64,
    /// The largest number in the journal that any job ever had.
    pub(crate) last_order: u64,
    pub(crate) paused: bool,
    /// The number of the next lane.
    pub(crate) next_lane: u32,
    /// The number of the next job that ends.
    pub(crate) next_end: u64,
    /// Completed jobs that ended before are forgotten, though some may still be on the disk.
    pub(crate) completed_from: u64,
}

impl Default for StateRecord {
    fn default() -> Self {
        Self { commits: 0, last_order: 0, paused: false, next_lane: 0, next_end: 1, completed_from: 0 }
    }
}

/// The states of a lane. Its lane and revision are its key.
#[derive(Clone, Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct SnapshotRecord<'a> {
    document_type: &'a str,
    scopes: Vec<ScopeStateRecord<'a>>,
}

#[derive(Clone, Debug, PartialEq, Encode, BorrowDecode)]
struct ScopeStateRecord<'a> {
    scope: &'a str,
    next_index: u64,
    hash: Hash<'a>,
    json: &'a [u8],
}

impl<'a> SnapshotRecord<'a> {
    pub(crate) fn of(head: &'a Head) -> Self {
        let scope = |head: &'a ScopeHead| ScopeStateRecord {
            scope: head.state.scope.as_str(),
            next_index: head.next_index,
            hash: Hash::of(&head.hash),
            json: &head.state.json,
        };
        Self { document_type: head.document_type.as_str(), scopes: head.scopes.iter().map(scope).collect() }
    }

    pub(crate) fn restore(&self, revision: u64) -> Head {
        let scope = |record: &ScopeStateRecord<'_>| ScopeHead {
            next_index: record.next_index,
            hash: record.hash.restore(),
            state: ScopeState { scope: Scope::from(record.scope), json: Arc::from(record.json) },
        };
        Head {
            document_type: DocumentType::from(self.document_type),
            revision,
            scopes: self.scopes.iter().map(scope).collect(),
            // That of the operation before.
            plugin: None,
        }
    }
}

impl<'a> NameRecord<'a> {
    pub(crate) fn of(name: &'a FreshName) -> Self {
        match name {
            FreshName::Text(_, text) => Self::Text(text),
            FreshName::Plugin(_, plugin) => Self::Plugin(PluginText {
                document_type: plugin.document_type.as_str(),
                version: plugin.version,
                digest: &plugin.digest,
            }),
        }
    }

    pub(crate) fn restore(&self, number: u32) -> FreshName {
        match self {
            Self::Text(text) => FreshName::Text(number, Arc::from(*text)),
            Self::Plugin(text) => FreshName::Plugin(number, Arc::new(restore(text))),
        }
    }
}

/// Reads a name's key: the kind and the number.
pub(crate) fn name_number(key: &[u8]) -> Result<u32, BadRecord> {
    let number: &[u8; 4] = key.last_chunk().ok_or_else(|| BadRecord::fields("its key is too short"))?;
    Ok(u32::from_be_bytes(*number))
}
