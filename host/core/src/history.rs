//! Where a document stood: states out of a snapshot and the operations since.

use std::sync::Arc;

use crate::action::{Operation, StoredOperation};
use crate::failure::ApplyError;
use crate::hash;
use crate::ids::{DocumentType, LaneKey, Scope, StateHash};
use crate::plugin::PluginRef;
use crate::reducer::{Call, LiveDocument, Reducer, ScopeState};
use crate::store::{Head, OperationStore, Position, ScopeHead, StoreError};

/// Operations that are read from the store at once.
const PAGE: usize = 256;

/// Why the states of a branch could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The branch has not come so far.
    #[error("{lane} stands at revision {newest}; it has no revision {revision}")]
    NoSuchRevision {
        /// Which branch.
        lane: LaneKey,
        /// What was asked for.
        revision: u64,
        /// Where it stands.
        newest: u64,
    },
    /// The operations cannot be applied again without the plugin.
    #[error("no plugin for `{0}` is loaded to replay its documents with")]
    Unserved(DocumentType),
    /// The reducer did not apply an operation that it had applied before.
    #[error("operation {sequence} of {lane} could not be applied again by {plugin}: {error}")]
    NotApplied {
        /// Which branch.
        lane: LaneKey,
        /// The operation's sequence.
        sequence: u64,
        /// What it was replayed with, and if something else made it, what that was.
        plugin: String,
        /// What came instead.
        #[source]
        error: ApplyError,
    },
    /// An operation led to another state than when it was applied first.
    #[error(
        "operation {sequence} of {lane}, applied again by {plugin}, came to a state that hashes to {found}, \
         not to {expected}"
    )]
    Differs {
        /// Which branch.
        lane: LaneKey,
        /// The operation's sequence.
        sequence: u64,
        /// What it was replayed with, and if something else made it, what that was.
        plugin: String,
        /// The hash in the log.
        expected: StateHash,
        /// The hash it came to.
        found: StateHash,
    },
    /// The states before the first of these operations did not load.
    #[error("{lane} could not be loaded: {error}")]
    NotLoaded {
        /// Which branch.
        lane: LaneKey,
        /// Why.
        #[source]
        error: ApplyError,
    },
}

/// Finds out where a branch stood after `revision` operations; where it stands, with
/// `u64::MAX`. `None` if it does not exist.
///
/// Operations since the nearest snapshot are applied again by `reducer`, and every one must come
/// to the hash that was recorded: what does not is an error and never an answer. Nothing is
/// dispatched.
///
/// # Errors
///
/// [`HistoryError`].
pub fn head_at(
    store: &dyn OperationStore,
    reducer: &dyn Reducer,
    lane: &LaneKey,
    revision: u64,
    call: &mut Call<'_>,
) -> Result<Option<Head>, HistoryError> {
    let Some(position) = store.position(lane)? else { return Ok(None) };
    let newest = position.revision;
    if revision != u64::MAX && revision > newest {
        return Err(HistoryError::NoSuchRevision { lane: lane.clone(), revision, newest });
    }
    let to = revision.min(newest);
    let from = store.snapshot(lane, to)?;
    if let Some(head) = from.as_ref().filter(|head| head.revision == to) {
        return Ok(Some(Head::clone(head)));
    }
    let not_loaded = |error| HistoryError::NotLoaded { lane: lane.clone(), error };
    let snapshot = from.as_ref().map_or_else(Vec::new, |head| head.snapshot());
    let mut live = reducer.load(&snapshot, call).map_err(not_loaded)?;
    let from = match from {
        Some(head) => Head::clone(&head),
        None => initial(reducer, &mut *live, call).map_err(not_loaded)?,
    };
    let mut replay = Replay { lane, reducer, live: &mut *live, head: from };
    replay.up_to(to, store, call)?;
    Ok(Some(replay.head))
}

/// Where a branch stands before its first operation.
pub(crate) fn initial(
    reducer: &dyn Reducer,
    live: &mut dyn LiveDocument,
    call: &mut Call<'_>,
) -> Result<Head, ApplyError> {
    let mut scopes = Vec::new();
    for scope in &reducer.manifest().scopes {
        let state = live.state(scope, call)?;
        scopes.push(ScopeHead { next_index: 0, hash: hash::state_hash(&state.json), state });
    }
    Ok(Head { document_type: reducer.manifest().document_type.clone(), revision: 0, scopes })
}

/// Brings a live document from where it was loaded to where its branch stands.
pub(crate) fn catch_up(
    store: &dyn OperationStore,
    reducer: &dyn Reducer,
    lane: &LaneKey,
    live: &mut dyn LiveDocument,
    from: Head,
    position: &Position,
    call: &mut Call<'_>,
) -> Result<Head, HistoryError> {
    let mut replay = Replay { lane, reducer, live, head: from };
    replay.up_to(position.revision, store, call)?;
    Ok(replay.head)
}

struct Replay<'a> {
    lane: &'a LaneKey,
    reducer: &'a dyn Reducer,
    live: &'a mut dyn LiveDocument,
    head: Head,
}

impl Replay<'_> {
    fn up_to(&mut self, revision: u64, store: &dyn OperationStore, call: &mut Call<'_>) -> Result<(), HistoryError> {
        while self.head.revision < revision {
            let limit = usize::try_from(revision - self.head.revision).unwrap_or(PAGE).min(PAGE);
            let operations = store.operations(self.lane, self.head.revision, limit)?;
            if operations.is_empty() {
                let place = format!("{}, operation {}", self.lane, self.head.revision);
                return Err(StoreError::Corrupt { place, problem: "it is missing".to_owned() }.into());
            }
            for stored in &operations {
                self.step(stored, call)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, stored: &StoredOperation, call: &mut Call<'_>) -> Result<(), HistoryError> {
        let operation = &stored.operation;
        if stored.sequence != self.head.revision {
            let place = format!("{}, operation {}", self.lane, self.head.revision);
            let problem = format!("operation {} is there", stored.sequence);
            return Err(StoreError::Corrupt { place, problem }.into());
        }
        let state = self.state_after(stored, call)?;
        let hash = hash::state_hash(&state.json);
        if hash != operation.hash {
            return Err(HistoryError::Differs {
                lane: self.lane.clone(),
                sequence: stored.sequence,
                plugin: revisions(self.reducer.plugin(), &stored.plugin),
                expected: operation.hash.clone(),
                found: hash,
            });
        }
        self.head.revision += 1;
        self.advance(operation, hash, state);
        Ok(())
    }

    /// The state of the operation's scope after it.
    fn state_after(&mut self, stored: &StoredOperation, call: &mut Call<'_>) -> Result<ScopeState, HistoryError> {
        let action = &stored.operation.action;
        if action.scope.as_str() == Scope::DOCUMENT {
            let limits = reductor_json::Limits::default();
            let json = reductor_json::canonicalize(action.input.as_str().as_bytes(), limits).map_err(|error| {
                let place = format!("{}, operation {}", self.lane, stored.sequence);
                StoreError::Corrupt { place, problem: error.to_string() }
            })?;
            return Ok(ScopeState { scope: action.scope.clone(), json: json.into() });
        }
        let applied = call.check_time().and_then(|()| self.live.apply(action, call));
        // What it dispatched, it dispatched when it was applied first.
        drop(call.outbox.take());
        applied.map_err(|error| HistoryError::NotApplied {
            lane: self.lane.clone(),
            sequence: stored.sequence,
            plugin: revisions(self.reducer.plugin(), &stored.plugin),
            error,
        })
    }

    fn advance(&mut self, operation: &Operation, hash: StateHash, state: ScopeState) {
        let head = ScopeHead { next_index: operation.index + 1, hash, state };
        let scopes = &mut self.head.scopes;
        match scopes.iter_mut().find(|scope| scope.state.scope == operation.action.scope) {
            Some(scope) => *scope = head,
            // The host's own scope comes first, as it did when the document was created.
            None => scopes.insert(0, head),
        }
    }
}

/// Names what an operation is replayed with, and what made it if that is something else.
fn revisions(with: &Arc<PluginRef>, made_by: &Arc<PluginRef>) -> String {
    if with == made_by {
        return with.to_string();
    }
    format!("{with} ({}), which did not make it ({made_by}, {})", with.digest, made_by.digest)
}
