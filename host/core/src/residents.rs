//! Documents that stay alive between their jobs.

use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use crate::ids::LaneKey;
use crate::reducer::{LiveDocument, Reducer};
use crate::store::Head;

/// A live document and where its branch stands.
///
/// While its lane has a worker, the worker owns it; between turns it lies in [`Residents`].
pub(crate) struct Resident {
    pub(crate) reducer: Arc<dyn Reducer>,
    pub(crate) live: Box<dyn LiveDocument>,
    /// As last committed, with the states as `reducer` writes them.
    pub(crate) head: Head,
    /// The head with the states of the revision that made the last operation, if that is another one. Out of
    /// date once `head` has gone on.
    pub(crate) moved_from: Option<Box<Head>>,
    /// Whether `live` has gone beyond `head`, so that it must be loaded again.
    pub(crate) ahead: bool,
    /// Whether `live` failed although its job did not, so that it must only be dropped.
    pub(crate) is_dead: bool,
    /// The revision of the newest snapshot that is known.
    pub(crate) loaded_from: u64,
}

impl Resident {
    /// Where the document stands, with the states of the revision that made its last operation.
    /// Only these states are saved and moved to another revision, so that every replay of the log comes
    /// to the same states, whatever revisions the document was loaded with in between.
    pub(crate) fn head_at_rest(&self) -> &Head {
        self.moved_from.as_deref().filter(|before| before.revision == self.head.revision).unwrap_or(&self.head)
    }

    pub(crate) fn into_head_at_rest(self) -> Head {
        let Self { head, moved_from, .. } = self;
        moved_from.map(|before| *before).filter(|before| before.revision == head.revision).unwrap_or(head)
    }

    /// How many operations it has since the newest snapshot that is known.
    pub(crate) fn unsaved_operations(&self) -> u64 {
        self.head.revision.saturating_sub(self.loaded_from)
    }
}

/// How many live documents may lie idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResidentBudget {
    /// How many.
    pub documents_max: usize,
    /// How many bytes they may take together: their own memory, as far as they can tell, and their
    /// states, which the host keeps beside them.
    pub bytes_max: usize,
}

impl Default for ResidentBudget {
    fn default() -> Self {
        Self { documents_max: 8_192, bytes_max: 2 << 30 }
    }
}

/// The idle live documents, the least recently used first to go.
pub(crate) struct Residents {
    budget: ResidentBudget,
    idle: Mutex<Idle>,
}

struct Idle {
    documents: LruCache<LaneKey, (Resident, usize)>,
    bytes: usize,
}

impl Residents {
    pub(crate) fn new(budget: ResidentBudget) -> Self {
        Self { budget, idle: Mutex::new(Idle { documents: LruCache::unbounded(), bytes: 0 }) }
    }

    /// Takes the live document of a lane, if it has one.
    pub(crate) fn take(&self, lane: &LaneKey) -> Option<Resident> {
        let mut idle = self.lock();
        let (resident, bytes) = idle.documents.pop(lane)?;
        idle.bytes -= bytes;
        Some(resident)
    }

    /// Keeps a live document for its lane's next turn. Others may go for it, and come back; so
    /// does this one if it is spent.
    pub(crate) fn keep(&self, lane: &LaneKey, resident: Resident) -> Vec<(LaneKey, Resident)> {
        if resident.live.is_spent() {
            return vec![(lane.clone(), resident)];
        }
        let bytes = resident.live.memory_bytes() + resident.head.state_bytes();
        let mut gone = Vec::new();
        let mut idle = self.lock();
        idle.bytes += bytes;
        idle.documents.put(lane.clone(), (resident, bytes));
        while idle.documents.len() > self.budget.documents_max || idle.bytes > self.budget.bytes_max {
            gone.extend(idle.evict());
        }
        // Tearing down an instance takes a while; others need not wait for it.
        gone
    }

    /// Lets an eighth of the idle documents go, at least one if there is one.
    pub(crate) fn make_room(&self) -> Vec<(LaneKey, Resident)> {
        let mut idle = self.lock();
        let count = (idle.documents.len() / 8).max(1);
        (0..count).map_while(|_| idle.evict()).collect()
    }

    /// Where those stand that have operations since their newest snapshot, so far as is known. They
    /// are taken to have a snapshot there from now on.
    pub(crate) fn take_unsaved(&self) -> Vec<(LaneKey, Head)> {
        let mut idle = self.lock();
        let mut unsaved = Vec::new();
        for (lane, (resident, _)) in idle.documents.iter_mut() {
            if resident.unsaved_operations() > 0 {
                unsaved.push((lane.clone(), resident.head_at_rest().clone()));
                resident.loaded_from = resident.head.revision;
            }
        }
        unsaved
    }

    /// Lets all of them go, and says nothing of where they stood.
    pub(crate) fn clear(&self) {
        let mut idle = self.lock();
        idle.bytes = 0;
        let gone = std::mem::replace(&mut idle.documents, LruCache::unbounded());
        drop(idle);
        drop(gone);
    }

    /// How many documents lie idle, and how many bytes they take with their states.
    pub(crate) fn level(&self) -> (usize, usize) {
        let idle = self.lock();
        (idle.documents.len(), idle.bytes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn evict(&mut self) -> Option<(LaneKey, Resident)> {
        let (lane, (resident, bytes)) = self.documents.pop_lru()?;
        self.bytes -= bytes;
        Some((lane, resident))
    }
}
