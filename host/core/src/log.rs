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
    /// It has appends on their way.
    Ahead(Arc<Head>),
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

/// The appends of a lane that are on their way.
struct LaneAhead {
    head: Arc<Head>,
    operations: HashMap<(Scope, ActionId), StoredOperation>,
    /// Their keys, by sequence.
    order: VecDeque<(u64, (Scope, ActionId))>,
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
        if let Some(head) = self.ahead.as_ref().and_then(|ahead| ahead.head(lane)) {
            return Ok(Standing::Ahead(head));
        }
        Ok(self.store.position(lane)?.map_or(Standing::New, Standing::Committed))
    }

    /// The model of a branch, if it exists.
    pub(crate) fn document_type(&self, lane: &LaneKey) -> Result<Option<DocumentType>, StoreError> {
        Ok(match self.standing(lane)? {
            Standing::New => None,
            Standing::Ahead(head) => Some(head.document_type.clone()),
            Standing::Committed(position) => Some(position.document_type),
        })
    }

    /// How many operations a branch has.
    pub(crate) fn revision(&self, lane: &LaneKey) -> Result<u64, StoreError> {
        Ok(match self.standing(lane)? {
            Standing::New => 0,
            Standing::Ahead(head) => head.revision,
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
    pub(crate) fn append(&self, append: &Append) -> Result<(), StoreError> {
        match &self.ahead {
            Some(ahead) => {
                ahead.add(append);
                Ok(())
            }
            None => self.store.append(append.clone()),
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
    fn head(&self, lane: &LaneKey) -> Option<Arc<Head>> {
        self.lock().get(lane).map(|lane| lane.head.clone())
    }

    fn operation_of(&self, lane: &LaneKey, scope: &Scope, action: &ActionId) -> Option<StoredOperation> {
        self.lock().get(lane)?.operations.get(&(scope.clone(), action.clone())).cloned()
    }

    fn add(&self, append: &Append) {
        let head = Arc::new(append.head.clone());
        let mut lanes = self.lock();
        let lane = lanes.entry(append.lane.clone()).or_insert_with(|| LaneAhead {
            head: head.clone(),
            operations: HashMap::new(),
            order: VecDeque::new(),
        });
        lane.head = head;
        for stored in &append.operations {
            let action = &stored.operation.action;
            let key = (action.scope.clone(), action.id.clone());
            lane.order.push_back((stored.sequence, key.clone()));
            lane.operations.insert(key, stored.clone());
        }
    }

    fn committed(&self, key: &LaneKey, revision: u64) {
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(key) else { return };
        while let Some((sequence, _)) = lane.order.front()
            && *sequence < revision
        {
            let (_, action) = lane.order.pop_front().expect("just seen");
            lane.operations.remove(&action);
        }
        if lane.order.is_empty() {
            lanes.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LaneKey, LaneAhead>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
