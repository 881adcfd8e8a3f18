//! Where lanes stand: out of the store, and in memory.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fjall::{Readable as _, Snapshot};
use foldhash::fast::RandomState;
use lru::LruCache;
use reductor_core::{DocumentType, Head, LaneKey, Position, Scope, ScopePosition, StateHash, StoreError};

use crate::codec::{self, BadRecord, LaneRecord, OperationRecord};
use crate::engine::{Engine, get};
use crate::error::read_error;
use crate::keys;
use crate::names::Names;
use crate::snapshots::Snapshots;

/// A lane that exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lane {
    pub(crate) number: u32,
    pub(crate) document_type: DocumentType,
    pub(crate) revision: u64,
    pub(crate) scopes: Vec<ScopeLine>,
    pub(crate) snapshots: Snapshots,
}

/// A scope of a lane.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScopeLine {
    pub(crate) scope: Scope,
    pub(crate) next_index: u64,
    pub(crate) hash: StateHash,
    /// Its last operation, if it came after what the lane's record says.
    pub(crate) last: Option<u64>,
}

impl Lane {
    /// A lane that stands at `head`, all of which its record is to say.
    pub(crate) fn at(number: u32, head: &Head, snapshots: Snapshots) -> Self {
        let line = |head: &reductor_core::ScopeHead| ScopeLine {
            scope: head.state.scope.clone(),
            next_index: head.next_index,
            hash: head.hash.clone(),
            last: None,
        };
        Self {
            number,
            document_type: head.document_type.clone(),
            revision: head.revision,
            scopes: head.scopes.iter().map(line).collect(),
            snapshots,
        }
    }

    pub(crate) fn position(&self) -> Position {
        let scope = |line: &ScopeLine| ScopePosition {
            scope: line.scope.clone(),
            next_index: line.next_index,
            hash: line.hash.clone(),
        };
        Position {
            document_type: self.document_type.clone(),
            revision: self.revision,
            scopes: self.scopes.iter().map(scope).collect(),
        }
    }

    /// Whether it stands where `head` says.
    pub(crate) fn stands_at(&self, head: &Head) -> bool {
        let same = |(line, head): (&ScopeLine, &reductor_core::ScopeHead)| {
            line.scope == head.state.scope && line.next_index == head.next_index && line.hash == head.hash
        };
        self.document_type == head.document_type
            && self.revision == head.revision
            && self.scopes.len() == head.scopes.len()
            && self.scopes.iter().zip(&head.scopes).all(same)
    }

    /// Reads a lane from the store.
    pub(crate) fn load(
        engine: &Engine,
        view: &Snapshot,
        names: &Names,
        lane: &LaneKey,
    ) -> Result<Option<Self>, StoreError> {
        let place = || format!("the record of {lane}");
        let Some(value) = get(view, &engine.lanes, &keys::lane(lane), place)? else { return Ok(None) };
        let fields = codec::open(&value).map_err(|bad| corrupt(place(), &bad))?;
        let record: LaneRecord<'_> = codec::decode(&fields).map_err(|bad| corrupt(place(), &bad))?;
        let line = |record: &codec::ScopeRecord<'_>| ScopeLine {
            scope: Scope::from(record.scope),
            next_index: record.next_index,
            hash: record.hash.restore(),
            last: None,
        };
        let mut loaded = Self {
            number: record.number,
            document_type: DocumentType::from(record.document_type),
            revision: record.revision,
            scopes: record.scopes.iter().map(line).collect(),
            snapshots: Snapshots::load(engine, view, record.number)?,
        };
        loaded.advance(engine, view, names, lane)?;
        Ok(Some(loaded))
    }

    /// Goes on to where its last operation says.
    fn advance(&mut self, engine: &Engine, view: &Snapshot, names: &Names, lane: &LaneKey) -> Result<(), StoreError> {
        let range = keys::in_lane(self.number, self.revision)..=keys::in_lane(self.number, u64::MAX);
        let Some(last) = view.range(&engine.operations, range).next_back() else { return Ok(()) };
        let place = || format!("the last operation of {lane}");
        let (key, value) = last.into_inner().map_err(|error| read_error(error, place))?;
        let bad = |bad| corrupt(place(), &bad);
        let (_, sequence) = keys::split(&key).ok_or_else(|| bad(BadRecord::fields("its key is none")))?;
        let fields = codec::open(&value).map_err(bad)?;
        let record: OperationRecord<'_> = codec::decode(&fields).map_err(bad)?;
        let scope = names.text(record.scope()).map_err(bad)?;
        let line = self.scopes.iter_mut().find(|line| line.scope.as_str() == &*scope);
        let line = line.ok_or_else(|| bad(BadRecord::fields("its scope is not one of the lane's")))?;
        line.follow(&record, sequence);
        self.revision = sequence + 1;
        for other in &record.others {
            self.advance_other(engine, view, lane, *other)?;
        }
        Ok(())
    }

    fn advance_other(
        &mut self,
        engine: &Engine,
        view: &Snapshot,
        lane: &LaneKey,
        other: codec::ScopeLast,
    ) -> Result<(), StoreError> {
        let place = || format!("operation {} of {lane}", other.sequence);
        let bad = |bad| corrupt(place(), &bad);
        let value = get(view, &engine.operations, &keys::in_lane(self.number, other.sequence), place)?;
        let value = value.ok_or_else(|| bad(BadRecord::fields("it is missing")))?;
        let fields = codec::open(&value).map_err(bad)?;
        let record: OperationRecord<'_> = codec::decode(&fields).map_err(bad)?;
        let line = self.scopes.get_mut(other.scope as usize);
        line.ok_or_else(|| bad(BadRecord::fields("it has no such scope")))?.follow(&record, other.sequence);
        Ok(())
    }
}

impl ScopeLine {
    fn follow(&mut self, record: &OperationRecord<'_>, sequence: u64) {
        self.next_index = record.index + 1;
        self.hash = record.hash.restore();
        self.last = Some(sequence);
    }
}

/// Says that a record is damaged.
pub(crate) fn corrupt(place: String, bad: &BadRecord) -> StoreError {
    StoreError::Corrupt { place, problem: bad.to_string() }
}

/// The lanes that were asked for last; `None` for those that do not exist.
pub(crate) struct LaneCache {
    cached: Mutex<Cached>,
}

struct Cached {
    lanes: LruCache<LaneKey, Option<Arc<Lane>>, RandomState>,
    /// How often a lane was dropped for another.
    evictions: u64,
}

/// What a reader has to show to put in what it read.
pub(crate) struct Missed {
    evictions: u64,
}

impl LaneCache {
    pub(crate) fn new(lanes_max: usize) -> Self {
        let lanes_max = NonZero::new(lanes_max).unwrap_or(NonZero::<usize>::MIN);
        let lanes = LruCache::with_hasher(lanes_max, RandomState::default());
        Self { cached: Mutex::new(Cached { lanes, evictions: 0 }) }
    }

    pub(crate) fn get(&self, lane: &LaneKey) -> Result<Option<Arc<Lane>>, Missed> {
        let mut cached = self.lock();
        match cached.lanes.get(lane) {
            Some(known) => Ok(known.clone()),
            None => Err(Missed { evictions: cached.evictions }),
        }
    }

    /// Takes what a reader read, unless the writer may have written the lane meanwhile: it puts
    /// in every lane before it writes it, so that it is here then or was dropped.
    pub(crate) fn put_read(&self, lane: &LaneKey, read: &Option<Arc<Lane>>, missed: &Missed) {
        let mut cached = self.lock();
        if cached.evictions == missed.evictions && !cached.lanes.contains(lane) {
            cached.put(lane.clone(), read.clone());
        }
    }

    /// Takes what the writer knows.
    pub(crate) fn put(&self, lanes: impl IntoIterator<Item = (LaneKey, Option<Arc<Lane>>)>) {
        let mut cached = self.lock();
        for (key, lane) in lanes {
            cached.put(key, lane);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cached {
    fn put(&mut self, key: LaneKey, lane: Option<Arc<Lane>>) {
        if let Some(known) = self.lanes.get_mut(&key) {
            *known = lane;
            return;
        }
        if let Some((dropped, _)) = self.lanes.push(key.clone(), lane)
            && dropped != key
        {
            self.evictions += 1;
        }
    }
}
