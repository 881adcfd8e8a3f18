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

impl DispatchRequest {
    /// Takes a request as a guest made it.
    ///
    /// # Errors
    ///
    /// [`Reason::InvalidOutput`] if the input is not JSON.
    pub fn from_guest(
        document_id: Option<String>,
        action_type: String,
        scope: String,
        input: Vec<u8>,
    ) -> Result<Self, Box<GuestFailure>> {
        let input = String::from_utf8(input).ok().and_then(|text| Json::parse(&text).ok()).ok_or_else(|| {
            GuestFailure::new(Reason::InvalidOutput, "it dispatched an action whose input is not JSON")
        })?;
        Ok(Self {
            document_id: document_id.map(DocumentId::from),
            action_type: ActionType::from(action_type),
            scope: Scope::from(scope),
            input,
        })
    }
}

/// What one action dispatches, up to a bound.
#[derive(Debug)]
pub struct Outbox {
    requests: Vec<DispatchRequest>,
    requests_max: usize,
}

impl Outbox {
    /// An empty outbox for as many requests as `limits` give an action.
    pub fn new(limits: &Limits) -> Self {
        Self { requests: Vec::new(), requests_max: limits.dispatches_per_action_max }
    }

    /// Takes a request.
    ///
    /// # Errors
    ///
    /// [`Reason::DispatchLimit`] when the action has dispatched as much as it may.
    pub fn push(&mut self, request: DispatchRequest) -> Result<(), Box<GuestFailure>> {
        let max = self.requests_max;
        if self.requests.len() >= max {
            let message = format!("it dispatched more than {max} actions in one");
            return Err(Box::new(GuestFailure::new(Reason::DispatchLimit, message)));
        }
        self.requests.push(request);
        Ok(())
    }

    /// Takes the requests out, in order.
    pub fn take(&mut self) -> Vec<DispatchRequest> {
        std::mem::take(&mut self.requests)
    }
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
    pub outbox: Outbox,
}

impl<'a> Call<'a> {
    /// A call that has burned and dispatched nothing yet.
    pub fn new(lane: &'a LaneKey, deadline: Instant, interrupt: &'a Arc<AtomicBool>, limits: &'a Limits) -> Self {
        Self { lane, deadline, interrupt, limits, fuel_consumed: 0, outbox: Outbox::new(limits) }
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
}
