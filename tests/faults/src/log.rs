//! All operations of a store, read and replayed from the first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reductor_core::{
    ActionId, Call, LaneKey, Limits, OperationStore, Reducers, Scope, StoredOperation, head_at, operation_id,
    state_hash,
};

/// How long the replay of one document may take.
const REPLAY_TIME_MAX: Duration = Duration::from_mins(1);

/// The operations of every branch, and where each action is.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Log {
    pub(crate) lanes: BTreeMap<LaneKey, Vec<StoredOperation>>,
    places: HashMap<ActionId, (LaneKey, usize)>,
}

impl Log {
    /// Reads everything, and checks what can be checked without knowing what was written: that
    /// nothing is missing between two operations or there twice, and that every hash is the one
    /// that a replay comes to.
    pub(crate) fn read(store: &dyn OperationStore, reducers: &Reducers) -> Result<Self> {
        let mut log = Self::default();
        for lane in store.lanes(None, usize::MAX)? {
            let operations = store.operations(&lane, 0, usize::MAX)?;
            log.check_numbers(store, &lane, &operations)?;
            replay(store, reducers, &lane, &operations).with_context(|| format!("{lane}"))?;
            for (at, stored) in operations.iter().enumerate() {
                let action = stored.operation.action.id.clone();
                if let Some((other, _)) = log.places.insert(action.clone(), (lane.clone(), at)) {
                    bail!("action {action} was applied in {lane} and in {other}");
                }
            }
            log.lanes.insert(lane, operations);
        }
        Ok(log)
    }

    /// Where an action was applied.
    pub(crate) fn place(&self, action: &str) -> Option<&(LaneKey, usize)> {
        self.places.get(&ActionId::from(action))
    }

    /// The operation that an action became.
    pub(crate) fn operation(&self, action: &str) -> Option<&StoredOperation> {
        self.place(action).map(|(lane, at)| &self.lanes[lane][*at])
    }

    /// Whether everything of `earlier` is here, at its place.
    pub(crate) fn goes_on_from(&self, earlier: &Self) -> bool {
        earlier.lanes.iter().all(|(lane, operations)| {
            self.lanes.get(lane).and_then(|now| now.get(..operations.len())) == Some(&operations[..])
        })
    }

    fn check_numbers(&self, store: &dyn OperationStore, lane: &LaneKey, operations: &[StoredOperation]) -> Result<()> {
        let position = store.position(lane)?.with_context(|| format!("{lane} is listed and stands nowhere"))?;
        ensure!(position.revision == operations.len() as u64, "{lane} does not have as many operations as it says");
        let mut next: HashMap<&Scope, u64> = HashMap::new();
        for (sequence, stored) in operations.iter().enumerate() {
            let (operation, action) = (&stored.operation, &stored.operation.action);
            ensure!(stored.sequence == sequence as u64, "{lane} has operation {} at {sequence}", stored.sequence);
            let index = next.entry(&action.scope).or_default();
            ensure!(operation.index == *index, "{lane} has index {} where {index} should be", operation.index);
            *index += 1;
            ensure!(operation.id == operation_id(lane, &action.scope, &action.id), "{lane}: a wrong id at {sequence}");
            let found = store.operation_of(lane, &action.scope, &action.id)?;
            ensure!(found.as_ref() == Some(stored), "{lane}: action {} leads to {found:?}", action.id);
        }
        for scope in &position.scopes {
            let count = next.get(&scope.scope).copied().unwrap_or_default();
            ensure!(scope.next_index == count, "{lane}: scope {} stands at a wrong index", scope.scope);
        }
        Ok(())
    }
}

/// Applies all operations again, from nothing, and compares with what the store's snapshots lead to.
fn replay(
    store: &dyn OperationStore,
    reducers: &Reducers,
    lane: &LaneKey,
    operations: &[StoredOperation],
) -> Result<()> {
    let position = store.position(lane)?.context("it stands nowhere")?;
    let reducer = reducers.get(&position.document_type).context("no reducer")?;
    let (interrupt, limits) = (Arc::new(AtomicBool::new(false)), Limits::default());
    let mut call = Call::new(lane, Instant::now() + REPLAY_TIME_MAX, &interrupt, &limits);
    let mut live = reducer.load(&[], &mut call)?;
    let mut states = HashMap::new();
    for stored in operations.iter().filter(|stored| stored.operation.action.scope.as_str() != Scope::DOCUMENT) {
        let state = live.apply(&stored.operation.action, &mut call)?;
        drop(call.outbox.take());
        let hash = state_hash(&state.json);
        ensure!(hash == stored.operation.hash, "operation {} comes to another state", stored.sequence);
        states.insert(state.scope.clone(), state);
    }
    let head = head_at(store, reducers, lane, u64::MAX, &mut call)?.context("no head")?;
    for scope in &head.scopes {
        if let Some(state) = states.get(&scope.state.scope) {
            ensure!(*state == scope.state, "the snapshots lead to another state of {}", state.scope);
        }
    }
    ensure!(head.position() == position, "the snapshots lead to another position");
    Ok(())
}
