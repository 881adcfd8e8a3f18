//! Where a document stood: states out of a snapshot and the operations since.
//!
//! Operations are applied again by the revision of the plugin that made them, and by no other. At
//! each change of revision the document moves: the states as the earlier one left them are read by
//! the later one, after its `upgrade` if its version is higher. The same happens to a document that
//! is in memory when its model gets another revision, so both come to the same states.

mod revise;

use std::sync::Arc;
use std::time::Duration;

use crate::action::{Operation, StoredOperation};
use crate::failure::{ApplyError, GuestFailure, Reason};
use crate::hash;
use crate::ids::{DocumentType, LaneKey, Scope, StateHash};
use crate::plugin::PluginRef;
use crate::reducer::{Allowance, Call, LiveDocument, Reducer, ScopeState};
use crate::registry::Reducers;
use crate::store::{Head, OperationStore, Position, ScopeHead, StoreError};

use revise::with_room;
pub(crate) use revise::{Room, check_version, enter, initial};

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
        /// The branch.
        lane: LaneKey,
        /// The revision that was asked for.
        revision: u64,
        /// Where it stands.
        newest: u64,
    },
    /// No revision of the model's plugin is there.
    #[error("no plugin for `{0}` is loaded to replay its documents with")]
    Unserved(DocumentType),
    /// The revision that made an operation is not there, and the one that serves the model does
    /// not come to the same states.
    #[error(
        "operation {sequence} of {lane} was made by {made_by} ({}), which is not loaded{}: load that plugin \
         for replay too (`--replay-plugin FILE`), and retry the jobs that failed without it (`reductor job retry`)",
        .made_by.digest,
        in_brackets(.instead.as_deref())
    )]
    RevisionMissing {
        /// The branch.
        lane: LaneKey,
        /// The operation's sequence.
        sequence: u64,
        /// The revision that made it.
        made_by: Arc<PluginRef>,
        /// What the revision that serves the model came to, if it was tried.
        instead: Option<String>,
    },
    /// The states are of a newer version of the model than the plugin.
    #[error(
        "{lane} has states of version {version} of its model, and {plugin} ({}) is older: load a plugin of \
         version {version} or later",
        .plugin.digest
    )]
    OlderVersion {
        /// The branch.
        lane: LaneKey,
        /// The version that wrote its states.
        version: u32,
        /// The revision that should have gone on from there.
        plugin: Arc<PluginRef>,
    },
    /// The revision that made an operation does not apply it again.
    #[error("operation {sequence} of {lane} could not be applied again by {plugin}, which made it: {error}")]
    NotApplied {
        /// The branch.
        lane: LaneKey,
        /// The operation's sequence.
        sequence: u64,
        /// The revision.
        plugin: Arc<PluginRef>,
        /// What came instead.
        #[source]
        error: ApplyError,
    },
    /// An operation led to another state than when the same revision applied it first.
    #[error(
        "operation {sequence} of {lane}, applied again by {plugin}, which made it, came to a state that hashes \
         to {found}, not to {expected}"
    )]
    Differs {
        /// The branch.
        lane: LaneKey,
        /// The operation's sequence.
        sequence: u64,
        /// The revision.
        plugin: Arc<PluginRef>,
        /// The hash in the log.
        expected: StateHash,
        /// The hash it came to.
        found: StateHash,
    },
    /// The states before the first of these operations did not load.
    #[error("{lane} could not be loaded by {plugin}: {error}")]
    NotLoaded {
        /// The branch.
        lane: LaneKey,
        /// The revision.
        plugin: Arc<PluginRef>,
        /// Why.
        #[source]
        error: ApplyError,
    },
}

fn in_brackets(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(" ({text})"))
}

/// Finds out where a branch stood after `revision` operations; where it stands, with
/// `u64::MAX`. `None` if it does not exist.
///
/// Operations since the nearest snapshot are applied again, each by the revision among `reducers`
/// that made it, and every one must come to the hash that was recorded: what does not is an error
/// and never an answer. Where that revision is missing, the one that serves the model may do if it
/// comes to the same hashes. Nothing is dispatched.
///
/// # Errors
///
/// [`HistoryError`].
pub fn head_at(
    store: &dyn OperationStore,
    reducers: &Reducers,
    lane: &LaneKey,
    revision: u64,
    call: &mut Call<'_>,
) -> Result<Option<Head>, HistoryError> {
    head_within(store, reducers, lane, revision, None, call)
}

/// As [`head_at`], with time limits: `pace` for each load, and `pace` times their number for operations.
pub(crate) fn head_within(
    store: &dyn OperationStore,
    reducers: &Reducers,
    lane: &LaneKey,
    revision: u64,
    pace: Option<Duration>,
    call: &mut Call<'_>,
) -> Result<Option<Head>, HistoryError> {
    let Some(position) = store.position(lane)? else { return Ok(None) };
    let newest = position.revision;
    if revision != u64::MAX && revision > newest {
        return Err(HistoryError::NoSuchRevision { lane: lane.clone(), revision, newest });
    }
    let to = revision.min(newest);
    let serving = reducers.get(&position.document_type);
    let room = || false;
    let mut replay = Replay::new(store, reducers, serving, lane, &room, pace);
    replay.begin(store.snapshot(lane, to)?)?;
    replay.up_to(to, &position, call)?;
    Ok(Some(replay.end().head))
}

/// What [`replay_all`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayedHistory {
    /// Operations that were applied again.
    pub replayed: u64,
    /// Operations that were not, because the revision that made them is missing: how many, by the
    /// revision at which the replay stopped.
    pub skipped: Vec<(Arc<PluginRef>, u64)>,
}

/// Applies all operations of a branch again, from the first on and without regard to snapshots,
/// each by the revision that made it. Where that one is missing, the replay goes on at the next
/// snapshot that it can go on from.
///
/// # Errors
///
/// [`HistoryError`], with what was found so far.
pub fn replay_all(
    store: &dyn OperationStore,
    reducers: &Reducers,
    lane: &LaneKey,
    call: &mut Call<'_>,
) -> (ReplayedHistory, Result<(), HistoryError>) {
    let mut found = ReplayedHistory::default();
    let outcome = replay_into(&mut found, store, reducers, lane, call);
    (found, outcome)
}

fn replay_into(
    found: &mut ReplayedHistory,
    store: &dyn OperationStore,
    reducers: &Reducers,
    lane: &LaneKey,
    call: &mut Call<'_>,
) -> Result<(), HistoryError> {
    let Some(position) = store.position(lane)? else { return Ok(()) };
    let serving = reducers.get(&position.document_type);
    let room = || false;
    let mut from: Option<Arc<Head>> = None;
    loop {
        let mut replay = Replay::new(store, reducers, serving.clone(), lane, &room, None);
        let start = from.as_ref().map_or(0, |head| head.revision);
        replay.begin(from.take())?;
        let ended = replay.up_to(position.revision, &position, call);
        found.replayed += replay.end().head.revision.max(start) - start;
        let Err(HistoryError::RevisionMissing { sequence, made_by, .. }) = ended else { return ended };
        from = next_start(store, reducers, lane, sequence)?;
        let goes_on_at = from.as_ref().map_or(position.revision, |head| head.revision);
        found.skipped.push((made_by, goes_on_at - sequence));
        if from.is_none() {
            return Ok(());
        }
    }
}

/// The first snapshot after `sequence` from which operations can be applied again.
fn next_start(
    store: &dyn OperationStore,
    reducers: &Reducers,
    lane: &LaneKey,
    sequence: u64,
) -> Result<Option<Arc<Head>>, StoreError> {
    let mut next = sequence + 1;
    loop {
        let operations = store.operations(lane, next, PAGE)?;
        if operations.is_empty() {
            return Ok(None);
        }
        for stored in &operations {
            if reducers.revision(&stored.plugin).is_some()
                && let Some(head) =
                    store.snapshot(lane, stored.sequence)?.filter(|head| head.revision == stored.sequence)
            {
                return Ok(Some(head));
            }
        }
        next += operations.len() as u64;
    }
}

/// Applies operations of a branch again, each by the revision that made it.
pub(crate) struct Replay<'a> {
    store: &'a dyn OperationStore,
    reducers: &'a Reducers,
    /// The revision that serves the model: it may do for one that is missing.
    serving: Option<Arc<dyn Reducer>>,
    lane: &'a LaneKey,
    room: Room<'a>,
    /// How long a load may take, and each operation on average.
    pace: Option<Duration>,
    live: Option<(Arc<dyn Reducer>, Box<dyn LiveDocument>)>,
    head: Option<Head>,
    /// Whether the document began its life on a revision that stood in for the one that made it.
    began_on_another: bool,
}

/// What a replay came to.
pub(crate) struct Replayed {
    pub(crate) head: Head,
    /// The document, on the revision that its last operations were applied by. Absent if none was.
    pub(crate) live: Option<(Arc<dyn Reducer>, Box<dyn LiveDocument>)>,
}

/// Which revision applies an operation again.
enum Hand {
    /// The one that made it.
    Maker(Arc<dyn Reducer>),
    /// Another one, which must come to the same hash.
    Another(Arc<dyn Reducer>),
}

impl<'a> Replay<'a> {
    pub(crate) fn new(
        store: &'a dyn OperationStore,
        reducers: &'a Reducers,
        serving: Option<Arc<dyn Reducer>>,
        lane: &'a LaneKey,
        room: Room<'a>,
        pace: Option<Duration>,
    ) -> Self {
        Self { store, reducers, serving, lane, room, pace, live: None, head: None, began_on_another: false }
    }

    /// Begins at a snapshot, or before the first operation.
    pub(crate) fn begin(&mut self, from: Option<Arc<Head>>) -> Result<(), StoreError> {
        let Some(from) = from else { return Ok(()) };
        let mut head = Head::clone(&from);
        if head.plugin.is_none() && head.revision > 0 {
            let last = self.store.operations(self.lane, head.revision - 1, 1)?;
            head.plugin = last.first().map(|stored| stored.plugin.clone());
        }
        self.head = Some(head);
        Ok(())
    }

    pub(crate) fn end(self) -> Replayed {
        let none = Head { document_type: DocumentType::from(""), revision: 0, scopes: Vec::new(), plugin: None };
        Replayed { head: self.head.unwrap_or(none), live: self.live }
    }

    fn revision(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.revision)
    }

    /// Goes on to where the branch stood after `revision` operations; it stands at `position`.
    pub(crate) fn up_to(
        &mut self,
        revision: u64,
        position: &Position,
        call: &mut Call<'_>,
    ) -> Result<(), HistoryError> {
        let before = std::mem::replace(&mut call.allowance, Allowance::Replay);
        let outcome = self.go_to(revision, position, call);
        call.allowance = before;
        outcome
    }

    fn go_to(&mut self, revision: u64, position: &Position, call: &mut Call<'_>) -> Result<(), HistoryError> {
        self.allow(revision - self.revision().min(revision), call);
        while self.revision() < revision {
            let from = self.revision();
            let limit = usize::try_from(revision - from).unwrap_or(PAGE).min(PAGE);
            let operations = self.store.operations(self.lane, from, limit)?;
            if operations.is_empty() {
                let place = format!("{}, operation {from}", self.lane);
                return Err(StoreError::Corrupt { place, problem: "it is missing".to_owned() }.into());
            }
            for stored in &operations {
                if stored.sequence != self.revision() {
                    let place = format!("{}, operation {}", self.lane, self.revision());
                    let problem = format!("operation {} is there", stored.sequence);
                    return Err(StoreError::Corrupt { place, problem }.into());
                }
                self.step(stored, call)?;
            }
        }
        self.check_beginning(position)?;
        self.keep_to(position)
    }

    /// A stand-in may have other scopes than the maker, or have them in another order: where the
    /// document stands is what the log says.
    fn keep_to(&mut self, position: &Position) -> Result<(), HistoryError> {
        let Some(head) = self.head.as_mut().filter(|head| self.began_on_another && head.revision == position.revision)
        else {
            return Ok(());
        };
        let mut found = std::mem::take(&mut head.scopes);
        for scope in &position.scopes {
            if let Some(at) = found.iter().position(|head| head.state.scope == scope.scope) {
                head.scopes.push(found.swap_remove(at));
            }
        }
        Ok(())
    }

    /// Gives so many operations their time, all together.
    fn allow(&self, operations: u64, call: &mut Call<'_>) {
        if let Some(pace) = self.pace {
            let operations = u32::try_from(operations).unwrap_or(u32::MAX);
            // A load comes on top.
            call.give(pace.saturating_mul(operations.saturating_add(1)));
        }
    }

    fn step(&mut self, stored: &StoredOperation, call: &mut Call<'_>) -> Result<(), HistoryError> {
        let hand = self.hand(stored)?;
        let (Hand::Maker(reducer) | Hand::Another(reducer)) = &hand;
        let outcome = self.step_with(reducer, stored, call);
        let Hand::Another(reducer) = hand else { return outcome };
        // A failure of a stand-in does not prove that the maker is impure.
        outcome.map_err(|error| {
            let instead = match error {
                HistoryError::Differs { .. } => format!("{} comes to another state", reducer.plugin().digest),
                HistoryError::NotApplied { error, .. } | HistoryError::NotLoaded { error, .. }
                    if !matches!(error, ApplyError::Interrupted | ApplyError::Host(_)) =>
                {
                    format!("{} fails: {error}", reducer.plugin().digest)
                }
                other => return other,
            };
            self.missing(stored, Some(instead))
        })
    }

    /// Which revision is to apply an operation again.
    fn hand(&self, stored: &StoredOperation) -> Result<Hand, HistoryError> {
        let made_by = &stored.plugin;
        let serves = self.serving.as_ref().filter(|serving| serving.plugin() == made_by).cloned();
        let maker = serves.or_else(|| self.reducers.revision(made_by));
        if let Some(maker) = maker {
            return Ok(Hand::Maker(maker));
        }
        if !self.reducers.knows(&made_by.document_type) && self.serving.is_none() {
            return Err(HistoryError::Unserved(made_by.document_type.clone()));
        }
        // Another version's states have another shape.
        let same_version = |serving: &&Arc<dyn Reducer>| serving.plugin().version == made_by.version;
        let another = self.serving.as_ref().filter(same_version);
        another.cloned().map(Hand::Another).ok_or_else(|| self.missing(stored, None))
    }

    fn missing(&self, stored: &StoredOperation, instead: Option<String>) -> HistoryError {
        HistoryError::RevisionMissing {
            lane: self.lane.clone(),
            sequence: stored.sequence,
            made_by: stored.plugin.clone(),
            instead,
        }
    }

    fn step_with(
        &mut self,
        reducer: &Arc<dyn Reducer>,
        stored: &StoredOperation,
        call: &mut Call<'_>,
    ) -> Result<(), HistoryError> {
        let operation = &stored.operation;
        self.stand_on(reducer, stored, call)?;
        let state = self.state_after(reducer, stored, call)?;
        let hash = hash::state_hash(&state.json);
        if hash != operation.hash {
            return Err(HistoryError::Differs {
                lane: self.lane.clone(),
                sequence: stored.sequence,
                plugin: stored.plugin.clone(),
                expected: operation.hash.clone(),
                found: hash,
            });
        }
        let head = self.head.as_mut().expect("the document stands on a revision");
        head.revision += 1;
        advance(head, operation, hash, state);
        Ok(())
    }

    /// Brings the document to the revision that applies the next operation.
    fn stand_on(
        &mut self,
        reducer: &Arc<dyn Reducer>,
        stored: &StoredOperation,
        call: &mut Call<'_>,
    ) -> Result<(), HistoryError> {
        let stands = self.live.as_ref().is_some_and(|(on, _)| Arc::ptr_eq(on, reducer));
        if stands && self.head.as_ref().is_some_and(|head| head.plugin.as_ref() == Some(&stored.plugin)) {
            return Ok(());
        }
        // There may be no room for two.
        self.live = None;
        let not_loaded =
            |error| HistoryError::NotLoaded { lane: self.lane.clone(), plugin: reducer.plugin().clone(), error };
        let made_by = &stored.plugin;
        let (live, mut head) = match &self.head {
            // One that stands in for the maker leaves all states as they are.
            Some(head) if head.plugin.as_ref() == Some(made_by) => {
                with_room(self.room, || reducer.load(&head.snapshot(), call)).map(|live| (live, head.clone()))
            }
            // What a stand-in makes of other revisions' states, no later operation proves.
            Some(_) if reducer.plugin() != made_by => return Err(self.missing(stored, None)),
            Some(head) => enter(&**reducer, head.clone(), self.room, call),
            None => {
                self.began_on_another = reducer.plugin() != made_by;
                initial(&**reducer, self.room, call)
            }
        }
        .map_err(not_loaded)?;
        // A revision that stands in for the maker comes to the same hashes, so its work counts as the maker's.
        head.plugin = Some(made_by.clone());
        (self.live, self.head) = (Some((reducer.clone(), live)), Some(head));
        Ok(())
    }

    /// The state of the operation's scope after it.
    fn state_after(
        &mut self,
        reducer: &Arc<dyn Reducer>,
        stored: &StoredOperation,
        call: &mut Call<'_>,
    ) -> Result<ScopeState, HistoryError> {
        let action = &stored.operation.action;
        if action.scope.as_str() == Scope::DOCUMENT {
            let limits = reductor_json::Limits::default();
            let json = reductor_json::canonicalize(action.input.as_str().as_bytes(), limits).map_err(|error| {
                let place = format!("{}, operation {}", self.lane, stored.sequence);
                StoreError::Corrupt { place, problem: error.to_string() }
            })?;
            return Ok(ScopeState { scope: action.scope.clone(), json: json.into() });
        }
        let (_, live) = self.live.as_mut().expect("the document stands on a revision");
        let applied = call.check_time().and_then(|()| live.apply(action, call));
        // What it dispatched, it dispatched when it was applied first.
        drop(call.outbox.take());
        applied.map_err(|error| HistoryError::NotApplied {
            lane: self.lane.clone(),
            sequence: stored.sequence,
            plugin: reducer.plugin().clone(),
            error: out_of_time(error),
        })
    }

    /// Scopes that no operation has changed are as the document began, which no operation's hash
    /// proves: where another revision began it, what the log says of them is compared.
    fn check_beginning(&self, position: &Position) -> Result<(), HistoryError> {
        let Some(head) = self.head.as_ref().filter(|_| self.began_on_another) else { return Ok(()) };
        for scope in position.scopes.iter().filter(|scope| scope.next_index == 0) {
            let same = head.scope(&scope.scope).is_some_and(|found| found.hash == scope.hash);
            let first = self.store.operations(self.lane, 0, 1)?;
            if let Some(first) = first.first().filter(|_| !same) {
                return Err(self.missing(first, Some("the document would have begun otherwise".to_owned())));
            }
        }
        Ok(())
    }
}

fn advance(head: &mut Head, operation: &Operation, hash: StateHash, state: ScopeState) {
    let scope = ScopeHead { next_index: operation.index + 1, hash, state };
    match head.scopes.iter_mut().find(|known| known.state.scope == operation.action.scope) {
        Some(known) => *known = scope,
        // The host's own scope comes first, as it did when the document was created.
        None => head.scopes.insert(0, scope),
    }
}

/// Reports that a replay ran out of time, instead of a timeout of the job.
fn out_of_time(error: ApplyError) -> ApplyError {
    match error {
        ApplyError::Failed(failure) if failure.reason == Reason::Timeout => {
            let message = "applying its operations again took longer than all of them may take";
            GuestFailure::new(Reason::ReplayTimeout, message).into()
        }
        other => other,
    }
}
