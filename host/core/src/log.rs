//! The log as those see it who write it: what is committed, and what is on its way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
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
    unsaved: Mutex<Unsaved>,
    /// How many snapshots are in there, so that no job needs the lock as long as there are none.
    snapshots: AtomicUsize,
}

/// States that are not on the disk yet.
#[derive(Default)]
struct Unsaved {
    /// Where documents stood that had to go or moved to another revision, for the committer to
    /// write down.
    snapshots: Vec<(LaneKey, Arc<Head>)>,
    /// Lanes without a live document that may have operations since their last snapshot.
    lanes: HashSet<LaneKey>,
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
/// Lanes that are remembered for a snapshot at the next stop. Of more, documents leave a snapshot when
/// they go.
const UNSAVED_LANES_MAX: usize = 65_536;

/// The appends of a lane that are on their way, oldest first; never empty.
struct LaneAhead {
    appends: VecDeque<Arc<Append>>,
    /// Where the operation of an action is: in which append, and at which place there.
    operations: HashMap<(Scope, ActionId), (Arc<Append>, usize)>,
}

impl Log {
    pub(crate) fn new(store: Arc<dyn OperationStore>) -> Self {
        let ahead = (store.durability() == Durability::Disk).then(Ahead::default);
        Self { store, ahead, unsaved: Mutex::default(), snapshots: AtomicUsize::new(0) }
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
        if self.ahead.is_none() || gone.is_empty() {
            return;
        }
        let mut unsaved = self.unsaved();
        for (lane, resident) in gone {
            let operations = resident.unsaved_operations();
            if operations >= REPLAY_GLADLY || (operations > 0 && unsaved.lanes.len() >= UNSAVED_LANES_MAX) {
                unsaved.lanes.remove(&lane);
                unsaved.snapshots.push((lane, Arc::new(resident.into_head_at_rest())));
            } else if operations > 0 {
                unsaved.lanes.insert(lane);
            }
        }
        self.count(&unsaved);
    }

    /// Takes down where a document stands, for a snapshot.
    pub(crate) fn save(&self, lane: &LaneKey, head: Head) {
        if self.ahead.is_none() {
            return;
        }
        let mut unsaved = self.unsaved();
        unsaved.snapshots.push((lane.clone(), Arc::new(head)));
        self.count(&unsaved);
    }

    /// Takes note that a lane has lost its live document, which may have made operations.
    pub(crate) fn lost(&self, lane: &LaneKey) {
        if self.ahead.is_none() {
            return;
        }
        let mut unsaved = self.unsaved();
        if unsaved.lanes.len() < UNSAVED_LANES_MAX {
            unsaved.lanes.insert(lane.clone());
        }
    }

    /// Hands over the waiting snapshots. On return, every snapshot that was waiting at the call has
    /// been handed over, by this thread or another.
    pub(crate) fn hand_over_snapshots(&self, mut hand_over: impl FnMut(LaneKey, Arc<Head>)) {
        if self.snapshots.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut unsaved = self.unsaved();
        unsaved.snapshots.drain(..).for_each(|(lane, head)| hand_over(lane, head));
        self.count(&unsaved);
    }

    /// Lanes without a live document that may have operations since their last snapshot.
    pub(crate) fn take_unsaved_lanes(&self) -> HashSet<LaneKey> {
        std::mem::take(&mut self.unsaved().lanes)
    }

    fn count(&self, unsaved: &Unsaved) {
        self.snapshots.store(unsaved.snapshots.len(), Ordering::Release);
    }

    fn unsaved(&self) -> MutexGuard<'_, Unsaved> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
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
