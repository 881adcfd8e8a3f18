//! A log that lives as long as the process does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::action::{Action, StoredOperation};
use crate::ids::{ActionId, IdempotencyKey, JobId, LaneKey, Scope};
use crate::journal::{JobOutcome, JobQuery, JobRecord, JobRetention, JournaledJob};
use crate::memory_journal::MemoryJournal;
use crate::store::{
    Append, DuplicateCheck, Durability, Entry, Head, OperationStore, Pausing, Position, StoreError, taken_back,
};
use crate::time::Timestamp;

/// Keeps every operation in memory.
///
/// Lanes do not disturb one another: the shared map is only written when a document is new.
#[derive(Debug, Default)]
pub struct MemoryStore {
    lanes: RwLock<HashMap<LaneKey, Arc<Mutex<Log>>>>,
    journal: Mutex<MemoryJournal>,
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

    /// An empty log that keeps ended jobs for so long.
    pub fn with_retention(retention: JobRetention) -> Self {
        Self { lanes: RwLock::default(), journal: Mutex::new(MemoryJournal::new(retention)) }
    }

    fn log(&self, lane: &LaneKey) -> Option<Arc<Mutex<Log>>> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner).get(lane).cloned()
    }

    fn journal(&self) -> MutexGuard<'_, MemoryJournal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, entry: &Entry) -> Result<(), StoreError> {
        match entry {
            Entry::Append(append) => self.append(append.clone()),
            Entry::Ended(ended) => {
                if let Some(append) = &ended.append {
                    self.append(Append::clone(append))?;
                }
                self.journal().end(ended);
                Ok(())
            }
            // The head of every branch is here, states and all.
            Entry::Snapshot { lane, head } => self.check_stands(lane, head),
            other => {
                self.journal().write(other);
                Ok(())
            }
        }
    }

    fn check_stands(&self, lane: &LaneKey, head: &Head) -> Result<(), StoreError> {
        let stands = |log: &Log| head.revision < log.head.revision || head.position() == log.head.position();
        if self.read(lane, stands) == Some(true) {
            return Ok(());
        }
        let found = self.read(lane, |log| log.head.revision).unwrap_or(0);
        Err(StoreError::RevisionConflict { lane: lane.clone(), expected: head.revision, found })
    }

    fn read<T>(&self, lane: &LaneKey, read: impl FnOnce(&Log) -> T) -> Option<T> {
        let log = self.log(lane)?;
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        Some(read(&log))
    }
}

impl OperationStore for MemoryStore {
    fn durability(&self) -> Durability {
        Durability::Process
    }

    fn position(&self, lane: &LaneKey) -> Result<Option<Position>, StoreError> {
        Ok(self.read(lane, |log| log.head.position()))
    }

    /// The states where the branch stands are always here, earlier ones are not.
    fn snapshot(&self, lane: &LaneKey, revision_max: u64) -> Result<Option<Arc<Head>>, StoreError> {
        Ok(self.read(lane, |log| log.head.clone()).filter(|head| head.revision <= revision_max))
    }

    fn lanes(&self, after: Option<&LaneKey>, limit: usize) -> Result<Vec<LaneKey>, StoreError> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        let mut keys: Vec<_> = lanes.keys().filter(|key| after.is_none_or(|after| *key > after)).cloned().collect();
        keys.sort();
        keys.truncate(limit);
        Ok(keys)
    }

    fn commit(&self, batch: &[Entry]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        Ok(batch.iter().map(|entry| self.write(entry)).collect())
    }

    fn unfinished(&self) -> Result<Vec<JournaledJob>, StoreError> {
        Ok(self.journal().unfinished())
    }

    fn last_order(&self) -> Result<u64, StoreError> {
        Ok(self.journal().last_order())
    }

    fn job(&self, job: &JobId) -> Result<Option<JobRecord>, StoreError> {
        Ok(self.journal().job(job))
    }

    fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRecord>, StoreError> {
        Ok(self.journal().jobs(query))
    }

    fn outcome(&self, job: &JobId) -> Result<Option<JobOutcome>, StoreError> {
        Ok(self.journal().outcome(job))
    }

    fn budget_left(&self, root: &JobId) -> Result<Option<u32>, StoreError> {
        Ok(self.journal().budget_left(root))
    }

    fn job_of_key(&self, key: &IdempotencyKey) -> Result<Option<JobId>, StoreError> {
        Ok(self.journal().job_of_key(key))
    }

    fn pausing(&self) -> Result<Pausing, StoreError> {
        Ok(self.journal().pausing())
    }

    fn check_room(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn prune(&self, now: Timestamp) -> Result<u64, StoreError> {
        Ok(self.journal().prune(now))
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
        let head = Head { document_type: head.document_type.clone(), revision: 0, scopes: Vec::new(), plugin: None };
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
        let mut next_index: Vec<(&Scope, u64)> =
            self.head.scopes.iter().map(|scope| (&scope.state.scope, scope.next_index)).collect();
        let by_store = append.duplicate_check == DuplicateCheck::ByStore;
        let mut seen = HashMap::with_capacity(append.operations.len());
        for (position, (stored, sequence)) in append.operations.iter().zip(self.head.revision..).enumerate() {
            let action = &stored.operation.action;
            let at = next_index.iter().position(|(scope, _)| **scope == action.scope).unwrap_or_else(|| {
                next_index.push((&action.scope, 0));
                next_index.len() - 1
            });
            let next = &mut next_index[at].1;
            let problem = if stored.sequence != sequence {
                Some("its sequence is not the next")
            } else if stored.operation.index != *next {
                Some("its index is not the next of its scope")
            } else if by_store
                && self.is_live(
                    action,
                    &append.operations[..=position],
                    seen.insert((&action.scope, &action.id), position),
                )
            {
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

    /// Whether the operation that the action of the last of these became before counts still.
    /// `seen` is its place among them, if it is one of them.
    fn is_live(&self, action: &Action, new: &[StoredOperation], seen: Option<usize>) -> bool {
        let in_log = || self.by_action.get(&(action.scope.clone(), action.id.clone())).copied();
        let (log, new) = match (seen, in_log()) {
            (Some(at), _) => (&[][..], &new[at..]),
            (None, Some(at)) => (&self.operations[at..], new),
            (None, None) => return false,
        };
        let stream = log.iter().chain(new).filter(|stored| stored.operation.action.scope == action.scope);
        let stream: Vec<_> = stream.map(|stored| (stored.operation.index, stored.operation.skip)).collect();
        !taken_back(stream[0].0, stream[1..].iter().rev().copied())
    }
}
