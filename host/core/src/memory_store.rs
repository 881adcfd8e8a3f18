//! A log that lives as long as the process does.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::action::StoredOperation;
use crate::ids::{ActionId, LaneKey, Scope};
use crate::store::{Append, Head, OperationStore, StoreError};

/// Keeps every operation in memory.
///
/// Lanes do not disturb one another: the shared map is only written when a document is new.
#[derive(Debug, Default)]
pub struct MemoryStore {
    lanes: RwLock<HashMap<LaneKey, Arc<Mutex<Log>>>>,
}

/// One branch of one document.
#[derive(Debug)]
struct Log {
    head: Arc<Head>,
    /// By sequence.
    operations: Vec<StoredOperation>,
    /// The sequence that an action became.
    by_action: HashMap<(Scope, ActionId), usize>,
}

impl MemoryStore {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn log(&self, lane: &LaneKey) -> Option<Arc<Mutex<Log>>> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner).get(lane).cloned()
    }

    fn read<T>(&self, lane: &LaneKey, read: impl FnOnce(&Log) -> T) -> Option<T> {
        let log = self.log(lane)?;
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        Some(read(&log))
    }
}

impl OperationStore for MemoryStore {
    fn head(&self, lane: &LaneKey) -> Result<Option<Arc<Head>>, StoreError> {
        Ok(self.read(lane, |log| log.head.clone()))
    }

    fn append(&self, append: Append) -> Result<(), StoreError> {
        if let Some(log) = self.log(&append.lane) {
            return log.lock().unwrap_or_else(PoisonError::into_inner).append(append);
        }
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have created the document between the two locks.
        if let Some(log) = lanes.get(&append.lane) {
            return log.lock().unwrap_or_else(PoisonError::into_inner).append(append);
        }
        let lane = append.lane.clone();
        let mut log = Log::empty(&append.head);
        log.append(append)?;
        lanes.insert(lane, Arc::new(Mutex::new(log)));
        Ok(())
    }

    fn operations(&self, lane: &LaneKey, from: u64, limit: usize) -> Result<Vec<StoredOperation>, StoreError> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let page = |log: &Log| log.operations.iter().skip(from).take(limit).cloned().collect();
        Ok(self.read(lane, page).unwrap_or_default())
    }

    fn operation_of(
        &self,
        lane: &LaneKey,
        scope: &Scope,
        action: &ActionId,
    ) -> Result<Option<StoredOperation>, StoreError> {
        let key = (scope.clone(), action.clone());
        let find = |log: &Log| log.by_action.get(&key).map(|&at| log.operations[at].clone());
        Ok(self.read(lane, find).flatten())
    }
}

impl Log {
    fn empty(head: &Head) -> Self {
        let head = Head { document_type: head.document_type.clone(), revision: 0, scopes: Vec::new() };
        Self { head: Arc::new(head), operations: Vec::new(), by_action: HashMap::new() }
    }

    fn append(&mut self, append: Append) -> Result<(), StoreError> {
        self.check(&append)?;
        for stored in append.operations {
            let action = &stored.operation.action;
            self.by_action.insert((action.scope.clone(), action.id.clone()), self.operations.len());
            self.operations.push(stored);
        }
        self.head = Arc::new(append.head);
        Ok(())
    }

    fn check(&self, append: &Append) -> Result<(), StoreError> {
        if append.expected_revision != self.head.revision {
            return Err(StoreError::RevisionConflict {
                lane: append.lane.clone(),
                expected: append.expected_revision,
                found: self.head.revision,
            });
        }
        let mut seen = HashSet::with_capacity(append.operations.len());
        let mut next_index: Vec<(&Scope, u64)> =
            self.head.scopes.iter().map(|scope| (&scope.state.scope, scope.next_index)).collect();
        for (stored, sequence) in append.operations.iter().zip(self.head.revision..) {
            let action = &stored.operation.action;
            let at = next_index.iter().position(|(scope, _)| **scope == action.scope).unwrap_or_else(|| {
                next_index.push((&action.scope, 0));
                next_index.len() - 1
            });
            let next = &mut next_index[at].1;
            let known = self.by_action.contains_key(&(action.scope.clone(), action.id.clone()));
            let problem = if stored.sequence != sequence {
                Some("its sequence is not the next")
            } else if stored.operation.index != *next {
                Some("its index is not the next of its scope")
            } else if known || !seen.insert((&action.scope, &action.id)) {
                Some("its action is in the log already")
            } else {
                None
            };
            if let Some(problem) = problem {
                return Err(StoreError::Misfit {
                    lane: append.lane.clone(),
                    operation: stored.operation.id.to_string(),
                    problem,
                });
            }
            *next += 1;
        }
        Ok(())
    }
}
