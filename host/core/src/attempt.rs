//! One attempt at a job, from the live document to the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::action::{Action, Operation, StoredOperation};
use crate::audit::Auditor;
use crate::dispatch::{Lineage, Targets};
use crate::failure::{ApplyError, AttemptError, GuestFailure, HostFault, Reason};
use crate::grants::DispatchGrants;
use crate::hash;
use crate::history::{self, Replay, Replayed};
use crate::ids::{ActionId, ActionType, LaneKey, Scope, StateHash};
use crate::job::Job;
use crate::json::Json;
use crate::limits::Limits;
use crate::log::{Log, Standing};
use crate::plugin::PluginRef;
use crate::reducer::{Call, DispatchRequest, LiveDocument, Reducer, ScopeState, check_dispatched};
use crate::registry::Reducers;
use crate::residents::{Resident, Residents};
use crate::store::{Append, DuplicateCheck, Head, Position, ScopeHead};
use crate::submission::{Accepted, ActionIds};

/// What an attempt works with.
pub(crate) struct Attempt<'a> {
    pub(crate) accepted: &'a Accepted,
    pub(crate) lane: &'a LaneKey,
    pub(crate) action_ids: ActionIds,
    pub(crate) lineage: &'a Lineage,
    pub(crate) reducer: Arc<dyn Reducer>,
    /// Those that dispatches may go to.
    pub(crate) reducers: &'a Reducers,
    pub(crate) grants: &'a DispatchGrants,
    pub(crate) log: &'a Log,
    pub(crate) residents: &'a Residents,
    pub(crate) auditor: &'a Auditor,
    pub(crate) places: &'a dyn QueuePlaces,
    /// Time limit for loading a document, and on average for each operation that is replayed to load it.
    pub(crate) load_time: Duration,
}

/// Where an attempt takes places in the queue for the jobs that it dispatches.
pub(crate) trait QueuePlaces {
    /// Reserves `count` places, or none and fails with [`HostFault::QueueFull`].
    fn reserve(&self, count: usize) -> Result<(), HostFault>;

    /// Releases reserved places that will not be used.
    fn release(&self, count: usize);
}

/// A replay that takes longer is followed by a snapshot.
const REPLAY_SLOW: Duration = Duration::from_secs(1);

/// A job that was applied. Where the log takes appends at once, it is committed; else it is when
/// the committer has written what is here.
pub(crate) struct Applied {
    pub(crate) operations: Vec<Operation>,
    /// What was appended, unless nothing was new.
    pub(crate) append: Option<Arc<Append>>,
    pub(crate) dispatched: Vec<Accepted>,
    /// Where the branch stands now.
    pub(crate) revision: u64,
}

impl Attempt<'_> {
    /// Applies the job's actions to the lane's live document and appends their operations:
    /// all of them or none.
    ///
    /// `slot` holds the live document; afterwards it stands at the log's head, or is marked
    /// as ahead of it, or is gone because its instance died.
    ///
    /// The call's deadline is the job's. To bring the document to life has a time of its own: how long
    /// that takes depends on the document's history, and not on the job.
    pub(crate) fn run(&self, slot: &mut Option<Resident>, call: &mut Call<'_>) -> Result<Applied, AttemptError> {
        let stands = |resident: &Resident| !resident.ahead && Arc::ptr_eq(&resident.reducer, &self.reducer);
        if !slot.as_ref().is_some_and(stands) {
            let began = Instant::now();
            let mut loading = Call::new(call.lane, began + self.load_time, call.interrupt, call.limits);
            let enlivened = self.enliven(slot.take(), &mut loading);
            call.fuel_consumed += loading.fuel_consumed;
            *slot = Some(enlivened?);
            call.deadline += began.elapsed();
        }
        let resident = slot.as_mut().expect("it stands where the log does");
        let result = self.apply_all(resident, call);
        // After anything else the instance is dead, or the log is not where this head says.
        let keeps = match &result {
            Ok(_) | Err(AttemptError::Position { .. } | AttemptError::Hash { .. }) => true,
            Err(AttemptError::Apply { error, .. }) => matches!(error, ApplyError::Rejected { .. }),
            Err(AttemptError::Store(_) | AttemptError::Diverged(_) | AttemptError::History(_)) => false,
        };
        if !keeps || slot.as_ref().is_some_and(|resident| resident.is_dead) {
            *slot = None;
        }
        result
    }

    fn apply_all(&self, resident: &mut Resident, call: &mut Call<'_>) -> Result<Applied, AttemptError> {
        let job = &self.accepted.job;
        let mut draft = Draft::begin(self.lane, &resident.head, self.reducer.plugin(), job);
        let mut audit = self.auditor.begin(resident, self.residents, call);
        for (position, action) in job.actions.iter().enumerate() {
            if let Some(existing) = self.applied_before(action, position)? {
                draft.repeat(existing);
                continue;
            }
            draft.check_position(action, position)?;
            let failed = |error| AttemptError::Apply { action: Some(position), error };
            call.check_time().map_err(failed)?;
            // From here on the live document may have moved, whatever comes of it.
            resident.ahead = true;
            let applied = resident.live.apply(action, call);
            let requests = call.outbox.take();
            audit.follow(position, action, &applied, &requests, call)?;
            let state = applied.map_err(failed)?;
            draft.check_size(&state, call.limits).map_err(|failure| failed(failure.into()))?;
            let operation = draft.record(action, state);
            if !requests.is_empty() {
                let bytes: usize = requests.iter().map(DispatchRequest::bytes).sum();
                let planned = self.targets().plan(requests, job, operation, self.lineage.depth);
                draft.dispatched_bytes += bytes;
                check_dispatched(draft.dispatched_bytes, call.limits).map_err(|failure| failed(failure.into()))?;
                draft.dispatched.extend(planned.map_err(failed)?);
            }
        }
        audit.finish(resident, &draft.head, call)?;
        draft.check_resulting_hash(job)?;
        self.commit(draft, resident, call.limits)
    }

    fn targets(&self) -> Targets<'_> {
        Targets { reducer: &*self.reducer, reducers: self.reducers, log: self.log, grants: self.grants }
    }

    fn commit(&self, draft: Draft<'_>, resident: &mut Resident, limits: &Limits) -> Result<Applied, AttemptError> {
        let Draft { operations, appended, dispatched, head, .. } = draft;
        let (job, reserved) = (&self.accepted.job, dispatched.len());
        let failed = |error| AttemptError::Apply { action: job.actions.len().checked_sub(1), error };
        self.lineage.reserve(reserved, limits).map_err(failed)?;
        if reserved > 0
            && let Err(full) = self.places.reserve(reserved)
        {
            self.lineage.release(reserved);
            return Err(failed(full.into()));
        }
        let mut append = None;
        if !appended.is_empty() {
            let new = Arc::new(Append {
                lane: self.lane.clone(),
                expected_revision: resident.head.revision,
                operations: appended,
                head: head.clone(),
                // Each action was looked for at the revision that the lane stands at.
                duplicate_check: DuplicateCheck::ByWriter,
            });
            if let Err(error) = self.log.append(&new) {
                self.lineage.release(reserved);
                self.places.release(reserved);
                return Err(AttemptError::Store(error));
            }
            resident.head = head;
            resident.ahead = false;
            append = Some(new);
        }
        Ok(Applied { operations, append, dispatched, revision: resident.head.revision })
    }

    /// Makes a live document that stands where the log does, on the revision that serves its model.
    fn enliven(&self, before: Option<Resident>, call: &mut Call<'_>) -> Result<Resident, AttemptError> {
        match before {
            Some(mut resident) if Arc::ptr_eq(&resident.reducer, &self.reducer) => {
                let snapshot = if resident.head.revision == 0 { Vec::new() } else { resident.head.snapshot() };
                let reloaded = resident.live.reload(&snapshot, call);
                reloaded.map_err(|error| AttemptError::Apply { action: None, error })?;
                resident.ahead = false;
                Ok(resident)
            }
            // A live document of another model is no earlier revision of this one: its log says so below.
            Some(resident)
                if resident.head.revision > 0 && resident.head.document_type == self.accepted.document_type =>
            {
                let loaded_from = resident.loaded_from;
                // Its instance goes first: there may be no room for two.
                self.move_here(resident.into_head_at_rest(), loaded_from, call)
            }
            _ => self.load(call),
        }
    }

    /// Moves a document from the head of its branch to this attempt's revision of the model. Unless that
    /// head has a snapshot already, one is written no later than the next operations, so that
    /// later loads do not need the earlier revision.
    fn move_here(&self, from: Head, saved: u64, call: &mut Call<'_>) -> Result<Resident, AttemptError> {
        history::check_version(self.lane, &from, &*self.reducer)?;
        let moves = from.plugin.as_ref() != Some(self.reducer.plugin());
        let before = moves.then(|| Box::new(from.clone()));
        let entered = history::enter(&*self.reducer, from, &|| self.make_room(), call);
        let (live, head) = entered.map_err(|error| AttemptError::Apply { action: None, error })?;
        let mut resident = self.resident(live, head, saved);
        if let Some(before) = before {
            if resident.unsaved_operations() > 0 {
                self.log.save(self.lane, Head::clone(&before));
                resident.loaded_from = before.revision;
            }
            resident.moved_from = Some(before);
        }
        Ok(resident)
    }

    fn load(&self, call: &mut Call<'_>) -> Result<Resident, AttemptError> {
        let standing = self.log.standing(self.lane).map_err(AttemptError::Store)?;
        self.check_model(&standing)?;
        match standing {
            Standing::New => {
                let loaded = history::initial(&*self.reducer, &|| self.make_room(), call);
                let failed = |error| AttemptError::Apply { action: None, error };
                let (live, head) = loaded.map_err(failed)?;
                check_document(head.state_bytes(), call.limits).map_err(|failure| failed(failure.into()))?;
                Ok(self.resident(live, head, 0))
            }
            // Which snapshots it has is not known here; 0 means none.
            Standing::Ahead(append) => self.move_here(append.head.clone(), 0, call),
            Standing::Committed(position) => self.replay(&position, call),
        }
    }

    /// Loads a document that nobody has in memory: from its newest snapshot and the operations
    /// since, each applied again by the revision that made it.
    fn replay(&self, position: &Position, call: &mut Call<'_>) -> Result<Resident, AttemptError> {
        let began = Instant::now();
        let store = &**self.log.store();
        let from = store.snapshot(self.lane, position.revision).map_err(AttemptError::Store)?;
        let saved = from.as_ref().map_or(0, |head| head.revision);
        let room = || self.make_room();
        let (serving, pace) = (Some(self.reducer.clone()), Some(self.load_time));
        let mut replay = Replay::new(store, self.reducers, serving, self.lane, &room, pace);
        replay.begin(from).map_err(AttemptError::Store)?;
        replay.up_to(position.revision, position, call)?;
        let Replayed { head, live } = replay.end();
        call.give(self.load_time);
        let mut resident = match live {
            Some((_, live)) if head.plugin.as_ref() == Some(self.reducer.plugin()) => self.resident(live, head, saved),
            _ => self.move_here(head, saved, call)?,
        };
        // Whoever loads it next need not wait as long.
        if began.elapsed() >= REPLAY_SLOW && resident.unsaved_operations() > 0 {
            self.log.save(self.lane, resident.head_at_rest().clone());
            resident.loaded_from = resident.head.revision;
        }
        Ok(resident)
    }

    fn resident(&self, live: Box<dyn LiveDocument>, head: Head, loaded_from: u64) -> Resident {
        Resident {
            reducer: self.reducer.clone(),
            live,
            head,
            moved_from: None,
            ahead: false,
            is_dead: false,
            loaded_from,
        }
    }

    /// Lets idle documents go, because there is no room for one more. Says whether one went.
    fn make_room(&self) -> bool {
        let gone = self.residents.make_room();
        let made = !gone.is_empty();
        self.log.evict(gone);
        made
    }

    /// The document may have been created with another model meanwhile.
    fn check_model(&self, standing: &Standing) -> Result<(), AttemptError> {
        let document_type = match standing {
            Standing::New => return Ok(()),
            Standing::Ahead(append) => &append.head.document_type,
            Standing::Committed(position) => &position.document_type,
        };
        if *document_type == self.accepted.document_type {
            return Ok(());
        }
        let message = format!("the document was created as a `{document_type}` meanwhile");
        Err(AttemptError::Position { action: 0, message })
    }

    /// The operation that this very action became before, if it did.
    fn applied_before(&self, action: &Action, position: usize) -> Result<Option<Operation>, AttemptError> {
        if self.action_ids == ActionIds::Fresh {
            return Ok(None);
        }
        let stored = self.log.operation_of(self.lane, &action.scope, &action.id).map_err(AttemptError::Store)?;
        let Some(StoredOperation { operation, .. }) = stored else { return Ok(None) };
        let same =
            operation.action.action_type == action.action_type && operation.action.input.same_value(&action.input);
        if same {
            return Ok(Some(operation));
        }
        Err(AttemptError::Position {
            action: position,
            message: format!(
                "action id `{}` already names another action, `{}`",
                action.id, operation.action.action_type
            ),
        })
    }
}

/// Checks how many bytes the states of one document have together.
fn check_document(bytes: usize, limits: &Limits) -> Result<(), Box<GuestFailure>> {
    let max = limits.document_state_bytes_max;
    if bytes <= max {
        return Ok(());
    }
    let message = format!("the states of all its scopes have {bytes} bytes together; {max} are allowed");
    Err(Box::new(GuestFailure::new(Reason::OutputTooLarge, message)))
}

/// What a job makes of a branch, before it is committed.
struct Draft<'a> {
    lane: &'a LaneKey,
    plugin: &'a Arc<PluginRef>,
    head: Head,
    /// Everything the job's result lists.
    operations: Vec<Operation>,
    /// The part of it that is new.
    appended: Vec<StoredOperation>,
    dispatched: Vec<Accepted>,
    dispatched_bytes: usize,
}

impl<'a> Draft<'a> {
    fn begin(lane: &'a LaneKey, head: &Head, plugin: &'a Arc<PluginRef>, job: &Job) -> Self {
        let (head, room) = (head.clone(), job.actions.len());
        let mut draft = Self {
            lane,
            plugin,
            head,
            operations: Vec::with_capacity(room),
            appended: Vec::with_capacity(room),
            dispatched: Vec::new(),
            dispatched_bytes: 0,
        };
        if draft.head.revision == 0 {
            draft.create(job);
        }
        draft
    }

    /// Begins the document: operation 0 of its scope `document`.
    ///
    /// Id and time derive from the document and its first action, so that the same jobs make
    /// the same history.
    fn create(&mut self, job: &Job) {
        let details = serde_json::json!({
            "model": self.plugin.document_type,
            "version": self.plugin.version,
            "documentId": self.lane.document,
        });
        let state: Arc<[u8]> =
            reductor_json::to_vec(&details).expect("three plain values have a canonical form").into();
        let scope = Scope::from(Scope::DOCUMENT);
        let action = Arc::new(Action {
            id: ActionId::from(format!("create:{}", self.lane.document)),
            action_type: ActionType::from("CREATE_DOCUMENT"),
            timestamp_utc_ms: job.actions[0].timestamp_utc_ms.clone(),
            input: Json::from_value(&details),
            scope: scope.clone(),
            context: None,
        });
        let (hash, state) = (hash::state_hash(&state), ScopeState { scope, json: state });
        self.head.scopes.insert(0, ScopeHead { next_index: 0, hash, state: state.clone() });
        self.record(&action, state);
    }

    /// Checks that the document does not become too large with a new state. One that is already, since
    /// the limit was higher before, may become smaller.
    fn check_size(&self, state: &ScopeState, limits: &Limits) -> Result<(), Box<GuestFailure>> {
        let before = self.head.scope(&state.scope).map_or(0, |scope| scope.state.json.len());
        if state.json.len() <= before {
            return Ok(());
        }
        check_document(self.head.state_bytes() - before + state.json.len(), limits)
    }

    fn record(&mut self, action: &Arc<Action>, state: ScopeState) -> &Operation {
        let hash = hash::state_hash(&state.json);
        let scope = self.scope_mut(&action.scope);
        let index = scope.next_index;
        *scope = ScopeHead { next_index: index + 1, hash: hash.clone(), state };
        let operation = Operation {
            id: hash::operation_id(self.lane, &action.scope, &action.id),
            index,
            skip: 0,
            timestamp_utc_ms: action.timestamp_utc_ms.clone(),
            hash,
            error: None,
            action: action.clone(),
        };
        self.operations.push(operation.clone());
        self.appended.push(StoredOperation { operation, sequence: self.head.revision, plugin: self.plugin.clone() });
        self.head.revision += 1;
        self.operations.last().expect("just pushed")
    }

    /// Lists an operation that the log has already.
    fn repeat(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// Checks that the stream exists and stands where the author believed.
    fn check_position(&self, action: &Action, position: usize) -> Result<(), AttemptError> {
        // Another revision of the model may have accepted the job, or created the document.
        let Some(scope) = self.head.scope(&action.scope) else {
            let message = format!("the document has no scope `{}`", action.scope);
            return Err(AttemptError::Position { action: position, message });
        };
        let Some(context) = &action.context else { return Ok(()) };
        let last = i64::try_from(scope.next_index).unwrap_or(i64::MAX) - 1;
        if let Some(expected) = context.prev_op_index.filter(|expected| *expected != last) {
            let message =
                format!("it was made after operation {expected} of scope `{}`, which stands at {last}", action.scope);
            return Err(AttemptError::Position { action: position, message });
        }
        match &context.prev_op_hash {
            Some(expected) if *expected != scope.hash => Err(AttemptError::Hash {
                action: Some(position),
                expected: expected.to_string(),
                found: scope.hash.to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn check_resulting_hash(&self, job: &Job) -> Result<(), AttemptError> {
        let Some(expected) = &job.resulting_hash else { return Ok(()) };
        // All of it was applied before, and checked then; other jobs may have gone on since.
        if self.appended.is_empty() {
            return Ok(());
        }
        let found = self.hash_of(&job.scopes);
        if found == *expected {
            return Ok(());
        }
        Err(AttemptError::Hash { action: None, expected: expected.to_string(), found: found.to_string() })
    }

    fn hash_of(&self, scopes: &[Scope]) -> StateHash {
        let heads = self.head.scopes.iter().filter(|head| scopes.contains(&head.state.scope));
        let states: Vec<_> = heads.map(|head| (&head.state.scope, &*head.state.json)).collect();
        hash::scopes_hash(states)
    }

    fn scope_mut(&mut self, scope: &Scope) -> &mut ScopeHead {
        let found = self.head.scopes.iter_mut().find(|head| head.state.scope == *scope);
        found.expect("its scope is checked before an action is applied")
    }
}
