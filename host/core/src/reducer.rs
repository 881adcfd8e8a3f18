//! What the executor asks of a document model, be it wasm or native.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::action::Action;
use crate::failure::{ApplyError, GuestFailure, Reason};
use crate::ids::{ActionType, DocumentId, LaneKey, Scope};
use crate::json::Json;
use crate::limits::Limits;
use crate::plugin::{Manifest, PluginRef};

/// The state of one scope, as canonical JSON (RFC 8785).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeState {
    /// The scope.
    pub scope: Scope,
    /// Its state.
    pub json: Arc<[u8]>,
}

/// A document model that documents can be loaded from.
///
/// It must be pure: the same snapshot and the same actions give the same bytes.
pub trait Reducer: Send + Sync {
    /// What the model says of itself.
    fn manifest(&self) -> &Manifest;

    /// Which revision of the model this is.
    fn plugin(&self) -> &Arc<PluginRef>;

    /// Brings a document to life from the state of all its scopes; from an empty snapshot,
    /// a new document.
    ///
    /// # Errors
    ///
    /// [`ApplyError::Failed`] with [`Reason::AbiMismatch`] if the snapshot does not fit the
    /// model; [`crate::HostFault::NoRoom`] if too many documents are alive.
    fn load(&self, snapshot: &[ScopeState], call: &mut Call<'_>) -> Result<Box<dyn LiveDocument>, ApplyError>;

    /// Applies one action to a snapshot: the reducer as a pure function.
    ///
    /// # Errors
    ///
    /// Those of [`Reducer::load`] and [`LiveDocument::apply`].
    fn apply(&self, snapshot: &[ScopeState], action: &Action, call: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        self.load(snapshot, call)?.apply(action, call)
    }
}

/// A document in memory, decoded, ready to take the next action.
pub trait LiveDocument: Send {
    /// Applies an action and returns the state of its scope afterwards, as canonical JSON.
    ///
    /// After any error the document is in no defined state: it is loaded again or dropped.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]; after [`ApplyError::Failed`] the document must only be dropped.
    fn apply(&mut self, action: &Action, call: &mut Call<'_>) -> Result<ScopeState, ApplyError>;

    /// Returns the state of one scope, as canonical JSON.
    ///
    /// # Errors
    ///
    /// [`ApplyError`], as for [`LiveDocument::apply`].
    fn state(&mut self, scope: &Scope, call: &mut Call<'_>) -> Result<ScopeState, ApplyError>;

    /// Forgets everything and loads `snapshot` in place.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]; the document must then only be dropped.
    fn reload(&mut self, snapshot: &[ScopeState], call: &mut Call<'_>) -> Result<(), ApplyError>;

    /// How much memory it takes, in bytes, as far as it can tell.
    fn memory_bytes(&self) -> usize;
}

/// An action that a reducer asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DispatchRequest {
    /// The document to act on; the reducer's own when absent.
    pub document_id: Option<DocumentId>,
    /// What to do.
    pub action_type: ActionType,
    /// The scope to change.
    pub scope: Scope,
    /// The parameters.
    pub input: Json,
}

/// What surrounds the calls of one attempt at a job: its bounds on the way in, what it
/// dispatched and burned on the way out.
#[derive(Debug)]
pub struct Call<'a> {
    /// The lane the document belongs to, for logs and seeds.
    pub lane: &'a LaneKey,
    /// When the attempt must have ended.
    pub deadline: Instant,
    /// Set when the host wants every guest to stop.
    pub interrupt: &'a Arc<AtomicBool>,
    /// Bounds that the host sets.
    pub limits: &'a Limits,
    /// Units of fuel burned so far.
    pub fuel_consumed: u64,
    /// What the action at hand dispatched so far; the executor takes it after each action.
    pub dispatched: Vec<DispatchRequest>,
}

impl<'a> Call<'a> {
    /// A call that has burned and dispatched nothing yet.
    pub fn new(lane: &'a LaneKey, deadline: Instant, interrupt: &'a Arc<AtomicBool>, limits: &'a Limits) -> Self {
        Self { lane, deadline, interrupt, limits, fuel_consumed: 0, dispatched: Vec::new() }
    }

    /// Fails if the attempt should not go on: between two actions, where no guest runs.
    ///
    /// # Errors
    ///
    /// [`ApplyError::Interrupted`], or [`Reason::Timeout`].
    pub fn check_time(&self) -> Result<(), ApplyError> {
        if self.interrupt.load(Ordering::Relaxed) {
            return Err(ApplyError::Interrupted);
        }
        if Instant::now() >= self.deadline {
            return Err(GuestFailure::new(Reason::Timeout, "the job took longer than its timeout").into());
        }
        Ok(())
    }

    /// Takes note of a dispatch.
    ///
    /// # Errors
    ///
    /// [`Reason::DispatchLimit`] when the action has dispatched as much as it may.
    pub fn dispatch(&mut self, request: DispatchRequest) -> Result<(), ApplyError> {
        let max = self.limits.dispatches_per_action_max;
        if self.dispatched.len() >= max {
            let message = format!("the action dispatched more than {max} actions");
            return Err(GuestFailure::new(Reason::DispatchLimit, message).into());
        }
        self.dispatched.push(request);
        Ok(())
    }
}
