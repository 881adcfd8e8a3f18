//! The log as those see it who write it: what is committed, and what is on its way.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::action::StoredOperation;
use crate::ids::{ActionId, DocumentType, LaneKey, Scope};
use crate::residents::Resident;
use crate::store::{Append, Durability, Head, OperationStore, Position, StoreError};

/// A store, and the appends that lanes have made ahead of it.
///
/// A lane need not wait for the disk before it runs its next job: what it appended is here until
/// it is durable. Nobody else sees it.
pub(crate) struct Log {
    store: Arc<dyn OperationStore>,
    /// Absent where an append is done when it returns.
    ahead: Option<Ahead>,
    /// Where documents stood that had to go, for the committer to write down.
    evicted: Mutex<Vec<(LaneKey, Arc<Head>)>>,
}

/// Where a branch stands, for the lane that goes on from there.
pub(crate) enum Standing {
    /// It does not exist.
    New,
    /// It has appends on their way, of which this is the last.
    Ahead(Arc<Append>),
    /// All of it is committed.
    Committed(Position),
}

#[derive(Default)]
struct Ahead {
    lanes: Mutex<HashMap<LaneKey, LaneAhead>>,
}

/// Operations of a document since its last snapshot that are not worth a new one when it has to
/// go: replaying so few costs less than writing its states.
const REPLAY_GLADLY: u64 = 8;

/// The appends of a lane that are on their way, oldest first; never empty.
struct LaneAhead {
    appends: VecDeque<Arc<Append>>,
    /// Where the operation of an action is: in which append, and at which place there.
    operations: HashMap<(Scope, ActionId), (Arc<Append>, usize)>,
}

impl Log {
    pub(crate) fn new(store: Arc<dyn OperationStore>) -> Self {
        let ahead = (store.durability() == Durability::Disk).then(Ahead::default);
        Self { store, ahead, evicted: Mutex::default() }
    }

    /// What is committed.
    pub(crate) fn store(&self) -> &Arc<dyn OperationStore> {
        &self.store
    }

    pub(crate) fn standing(&self, lane: &LaneKey) -> Result<Standing, StoreError> {
        // First what is on its way: it leaves for the store only when it is there.
        if let Some(last) = self.ahead.as_ref().and_then(|ahead| ahead.last(lane)) {
            return Ok(Standing::Ahead(last));
        }
        Ok(self.store.position(lane)?.map_or(Standing::New, Standing::Committed))
    }

    /// The model of a branch, if it exists.
    pub(crate) fn document_type(&self, lane: &LaneKey) -> Result<Option<DocumentType>, StoreError> {
        Ok(match self.standing(lane)? {
            Standing::New => None,
            Standing::Ahead(append) => Some(append.head.document_type.clone()),
            Standing::Committed(position) => Some(position.document_type),
        })
    }

    /// How many operations a branch has.
    pub(crate) fn revision(&self, lane: &LaneKey) -> Result<u64, StoreError> {
        Ok(match self.standing(lane)? {
            Standing::New => 0,
            Standing::Ahead(append) => append.head.revision,
            Standing::Committed(position) => position.revision,
        })
    }

    pub(crate) fn operation_of(
        &self,
        lane: &LaneKey,
        scope: &Scope,
        action: &ActionId,
    ) -> Result<Option<StoredOperation>, StoreError> {
        match self.ahead.as_ref().and_then(|ahead| ahead.operation_of(lane, scope, action)) {
            Some(stored) => Ok(Some(stored)),
            None => self.store.operation_of(lane, scope, action),
        }
    }

    /// Appends, or takes down that it is on its way: then whoever called hands it to the
    /// committer.
    pub(crate) fn append(&self, append: &Arc<Append>) -> Result<(), StoreError> {
        match &self.ahead {
            Some(ahead) => {
                ahead.add(append);
                Ok(())
            }
            None => self.store.append(Append::clone(append)),
        }
    }

    /// Forgets the appends of a lane up to a revision, now that they are committed.
    pub(crate) fn committed(&self, lane: &LaneKey, revision: u64) {
        if let Some(ahead) = &self.ahead {
            ahead.committed(lane, revision);
        }
    }

    /// Takes leave of live documents, and takes down where they stood if many operations would
    /// have to be replayed else.
    pub(crate) fn evict(&self, gone: Vec<(LaneKey, Resident)>) {
        if self.ahead.is_none() {
            return;
        }
        let worth_it = |resident: &Resident| resident.head.revision >= resident.loaded_from + REPLAY_GLADLY;
        let heads = gone.into_iter().filter(|(_, resident)| worth_it(resident));
        self.evicted().extend(heads.map(|(lane, resident)| (lane, Arc::new(resident.head))));
    }

    pub(crate) fn take_evicted(&self) -> Vec<(LaneKey, Arc<Head>)> {
        std::mem::take(&mut *self.evicted())
    }

    fn evicted(&self) -> MutexGuard<'_, Vec<(LaneKey, Arc<Head>)>> {
        self.evicted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets every append that is on its way. The lanes stand where the store says.
    pub(crate) fn fall_back(&self) {
        if let Some(ahead) = &self.ahead {
            ahead.lock().clear();
        }
    }
}

impl Ahead {
    fn last(&self, lane: &LaneKey) -> Option<Arc<Append>> {
        self.lock().get(lane)?.appends.back().cloned()
    }

    fn operation_of(&self, lane: &LaneKey, scope: &Scope, action: &ActionId) -> Option<StoredOperation> {
        let lanes = self.lock();
        let (append, at) = lanes.get(lane)?.operations.get(&(scope.clone(), action.clone()))?;
        Some(append.operations[*at].clone())
    }

    fn add(&self, append: &Arc<Append>) {
        let mut lanes = self.lock();
        let lane = lanes
            .entry(append.lane.clone())
            .or_insert_with(|| LaneAhead { appends: VecDeque::new(), operations: HashMap::default() });
        for (at, stored) in append.operations.iter().enumerate() {
            lane.operations.insert(key_of(stored), (append.clone(), at));
        }
        lane.appends.push_back(append.clone());
    }

    fn committed(&self, key: &LaneKey, revision: u64) {
        let mut done = Vec::new();
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(key) else { return };
        while let Some(append) = lane.appends.pop_front_if(|append| append.head.revision <= revision) {
            for stored in &append.operations {
                lane.operations.remove(&key_of(stored));
            }
            done.push(append);
        }
        if lane.appends.is_empty() {
            lanes.remove(key);
        }
        drop(lanes);
        // Freeing states takes longer than the rest; workers need not wait for it.
        drop(done);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LaneKey, LaneAhead>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(stored: &StoredOperation) -> (Scope, ActionId) {
    let action = &stored.operation.action;
    (action.scope.clone(), action.id.clone())
}
