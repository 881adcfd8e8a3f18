//! Brings a document to another revision of its plugin.

use crate::failure::{ApplyError, GuestFailure, HostFault, Reason};
use crate::hash;
use crate::history::HistoryError;
use crate::ids::{LaneKey, Scope};
use crate::reducer::{Call, LiveDocument, Reducer, ScopeState};
use crate::store::{Head, ScopeHead};

/// Makes room for a live document. Says whether there may be some now.
pub(crate) type Room<'a> = &'a dyn Fn() -> bool;

/// Refuses a revision whose version is lower than that of the states.
pub(crate) fn check_version(lane: &LaneKey, head: &Head, reducer: &dyn Reducer) -> Result<(), HistoryError> {
    let plugin = reducer.plugin();
    match head.plugin.as_ref().map(|writer| writer.version).filter(|version| *version > plugin.version) {
        Some(version) => Err(HistoryError::OlderVersion { lane: lane.clone(), version, plugin: plugin.clone() }),
        None => Ok(()),
    }
}

/// Loads a document in its initial state: where a branch stands before its first operation.
pub(crate) fn initial(
    reducer: &dyn Reducer,
    room: Room<'_>,
    call: &mut Call<'_>,
) -> Result<(Box<dyn LiveDocument>, Head), ApplyError> {
    let mut live = with_room(room, || reducer.load(&[], call))?;
    let mut scopes = Vec::new();
    for scope in &reducer.manifest().scopes {
        let state = live.state(scope, call)?;
        scopes.push(ScopeHead { next_index: 0, hash: hash::state_hash(&state.json), state });
    }
    let document_type = reducer.manifest().document_type.clone();
    Ok((live, Head { document_type, revision: 0, scopes, plugin: Some(reducer.plugin().clone()) }))
}

/// Loads a document from where its branch stands. If another revision wrote the states, they are
/// upgraded where they are of an earlier version, and read back: this one may write them in another
/// way.
pub(crate) fn enter(
    reducer: &dyn Reducer,
    mut head: Head,
    room: Room<'_>,
    call: &mut Call<'_>,
) -> Result<(Box<dyn LiveDocument>, Head), ApplyError> {
    let plugin = reducer.plugin();
    let mut snapshot = head.snapshot();
    if head.plugin.as_ref() == Some(plugin) {
        return Ok((with_room(room, || reducer.load(&snapshot, call))?, head));
    }
    let written_by = head.plugin.as_ref().map_or(plugin.version, |writer| writer.version);
    if written_by < plugin.version {
        let upgraded = with_room(room, || reducer.upgrade(written_by, &snapshot, call))?;
        check_scopes(&snapshot, &upgraded)?;
        snapshot = upgraded;
    }
    let mut live = with_room(room, || reducer.load(&snapshot, call))?;
    for scope in snapshot.iter().map(|state| &state.scope).filter(|scope| reducer.manifest().scopes.contains(scope)) {
        let state = live.state(scope, call)?;
        match head.scopes.iter_mut().find(|known| known.state.scope == *scope) {
            // Its hash stays what the log says.
            Some(known) => known.state = state,
            None => head.scopes.push(ScopeHead { next_index: 0, hash: hash::state_hash(&state.json), state }),
        }
    }
    head.plugin = Some(plugin.clone());
    Ok((live, head))
}

/// Checks that an upgrade keeps every scope that the document has: it has a history of its own, which
/// does not end.
fn check_scopes(before: &[ScopeState], after: &[ScopeState]) -> Result<(), ApplyError> {
    let has = |states: &[ScopeState], scope: &Scope| states.iter().filter(|state| state.scope == *scope).count();
    let problem = if let Some(lost) = before.iter().find(|state| has(after, &state.scope) == 0) {
        format!("its `upgrade` leaves out the scope `{}`, which the document has", lost.scope)
    } else if let Some(twice) = after.iter().find(|state| has(after, &state.scope) > 1) {
        format!("its `upgrade` returned the scope `{}` twice", twice.scope)
    } else {
        return Ok(());
    };
    Err(GuestFailure::new(Reason::InvalidOutput, problem).into())
}

/// Tries again as long as there is no room and some can be made.
pub(super) fn with_room<T>(
    room: Room<'_>,
    mut attempt: impl FnMut() -> Result<T, ApplyError>,
) -> Result<T, ApplyError> {
    loop {
        match attempt() {
            Err(ApplyError::Host(HostFault::NoRoom(_))) if room() => {}
            outcome => return outcome,
        }
    }
}
