//! What the executor asks of a document model, be it wasm or native.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::action::Action;
use crate::failure::{ApplyError, GuestFailure, Reason};
use crate::ids::{ActionType, DocumentId, LaneKey, Scope};
use crate::json::Json;
use crate::limits::Limits;
use crate::plugin::{Manifest, PluginRef};
use crate::submission::{key_problem, name_problem};

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
///
/// A job's timeout and a stop of the host interrupt a guest in a sandbox, and no native code: between
/// two actions the executor looks at the time, and nobody does during one. A native reducer that
/// never returns holds its worker thread for good, also at a stop. One that may take long calls
/// [`Call::check_time`] now and then.
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

    /// Converts the states that version `from_version` of the model wrote into states of the present
    /// version: all of its scopes, among them every scope of `snapshot`. Must be pure.
    ///
    /// It is called when a document moves to a revision of a higher version. Without an
    /// implementation, documents of earlier versions are refused.
    ///
    /// # Errors
    ///
    /// [`ApplyError::Failed`] with [`Reason::AbiMismatch`] if it cannot; [`crate::HostFault::NoRoom`]
    /// if too many documents are alive.
    fn upgrade(
        &self,
        from_version: u32,
        snapshot: &[ScopeState],
        call: &mut Call<'_>,
    ) -> Result<Vec<ScopeState>, ApplyError> {
        let _ = (snapshot, call);
        let message = format!("{} cannot read states of version {from_version}", self.plugin());
        Err(GuestFailure::new(Reason::AbiMismatch, message).into())
    }

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

    /// Whether it had better be loaded again than kept alive: it has come near to a limit that a
    /// fresh one would be far from, as a language's garbage that is not collected yet.
    fn is_spent(&self) -> bool {
        false
    }
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
    /// What the action that it becomes counts for in [`Limits::job_bytes_max`].
    fn action_bytes(&self) -> usize {
        /// Those of the id that the host gives it.
        const ID_BYTES: usize = 32;
        ID_BYTES + self.action_type.as_str().len() + self.scope.as_str().len() + self.input.as_str().len()
    }

    /// How much of the host's memory it holds, about: its texts, and the job it becomes.
    pub(crate) fn bytes(&self) -> usize {
        const JOB_BYTES: usize = 512;
        let document = self.document_id.as_ref().map_or(0, |document| document.as_str().len());
        JOB_BYTES + document + self.action_type.as_str().len() + self.scope.as_str().len() + self.input.as_str().len()
    }
}

/// What one action dispatches, up to a bound.
#[derive(Debug)]
pub struct Outbox {
    requests: Vec<DispatchRequest>,
    bytes: usize,
    limits: Limits,
}

impl Outbox {
    /// An empty outbox for as many requests as `limits` give an action.
    pub fn new(limits: &Limits) -> Self {
        Self { requests: Vec::new(), bytes: 0, limits: *limits }
    }

    /// Takes a request as a guest made it.
    ///
    /// # Errors
    ///
    /// [`Reason::InvalidOutput`] if the input is not JSON, and those of [`Outbox::push`].
    pub fn push_from_guest(
        &mut self,
        document_id: Option<String>,
        action_type: String,
        scope: String,
        input: Vec<u8>,
    ) -> Result<(), Box<GuestFailure>> {
        self.check_input(&action_type, input.len())?;
        let input = String::from_utf8(input).ok().and_then(|text| Json::parse(&text).ok()).ok_or_else(|| {
            GuestFailure::new(Reason::InvalidOutput, "it dispatched an action whose input is not JSON")
        })?;
        self.push(DispatchRequest {
            document_id: document_id.map(DocumentId::from),
            action_type: ActionType::from(action_type),
            scope: Scope::from(scope),
            input,
        })
    }

    /// Takes a request.
    ///
    /// # Errors
    ///
    /// [`Reason::DispatchLimit`] when the action has dispatched as much as it may, or the
    /// input is too large; [`Reason::InvalidOutput`] if a name is none.
    pub fn push(&mut self, request: DispatchRequest) -> Result<(), Box<GuestFailure>> {
        let max = self.limits.dispatches_per_action_max;
        if self.requests.len() >= max {
            return Err(over(format!("it dispatched more than {max} actions in one")));
        }
        self.check_input(request.action_type.as_str(), request.input.as_str().len())?;
        let key = |key: &str| key_problem(key, &self.limits);
        let problems = [
            ("type", name_problem(request.action_type.as_str(), &self.limits)),
            ("scope", key(request.scope.as_str())),
            ("document id", request.document_id.as_ref().and_then(|document| key(document.as_str()))),
        ];
        for (what, problem) in problems {
            if let Some(problem) = problem {
                let message = format!("it dispatched an action whose {what} {problem}");
                return Err(Box::new(GuestFailure::new(Reason::InvalidOutput, message)));
            }
        }
        let (bytes, max) = (request.action_bytes(), self.limits.job_bytes_max);
        if bytes > max {
            return Err(over(format!("it dispatched a job of {bytes} bytes; {max} are allowed in one")));
        }
        let bytes = self.bytes + request.bytes();
        check_dispatched(bytes, &self.limits)?;
        self.bytes = bytes;
        self.requests.push(request);
        Ok(())
    }

    /// Takes the requests out, in order.
    pub fn take(&mut self) -> Vec<DispatchRequest> {
        self.bytes = 0;
        std::mem::take(&mut self.requests)
    }

    fn check_input(&self, action_type: &str, bytes: usize) -> Result<(), Box<GuestFailure>> {
        let max = self.limits.action_input_bytes_max;
        if bytes <= max {
            return Ok(());
        }
        let named = if name_problem(action_type, &self.limits).is_none() { action_type } else { "an action" };
        Err(over(format!("it dispatched `{named}` with an input of {bytes} bytes; {max} are allowed")))
    }
}

/// Checks how much one job has dispatched.
pub(crate) fn check_dispatched(bytes: usize, limits: &Limits) -> Result<(), Box<GuestFailure>> {
    let max = limits.dispatch_bytes_per_job_max;
    if bytes <= max {
        return Ok(());
    }
    Err(over(format!("it dispatched {bytes} bytes in one job; {max} are allowed")))
}

fn over(message: String) -> Box<GuestFailure> {
    Box::new(GuestFailure::new(Reason::DispatchLimit, message))
}

/// How much a guest may use in a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allowance {
    /// What its limits say.
    #[default]
    Job,
    /// Twice the fuel and twice the memory. An operation that was committed within the limits must
    /// stay applicable: a fresh instance and another machine do not use exactly as much.
    Replay,
}

impl Allowance {
    /// How often the usual limits go into it.
    pub const fn factor(self) -> u32 {
        match self {
            Self::Job => 1,
            Self::Replay => 2,
        }
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
    /// How long it may take altogether, for messages; absent where only a deadline was set.
    pub timeout: Option<Duration>,
    /// Set when the host wants every guest to stop.
    pub interrupt: &'a Arc<AtomicBool>,
    /// Bounds that the host sets.
    pub limits: &'a Limits,
    /// How much the guest may use in each call.
    pub allowance: Allowance,
    /// Units of fuel burned so far; at least, if `fuel_is_known` is not set.
    pub fuel_consumed: u64,
    /// Whether `fuel_consumed` is all that was burned. A guest that is stopped between two of its
    /// function calls has a count of its own that the host does not see.
    pub fuel_is_known: bool,
    /// Log lines that guests wrote so far; they may write [`Limits::log_lines_per_job_max`].
    pub log_lines: u32,
    /// What the action at hand dispatched so far; the executor takes it after each action.
    pub outbox: Outbox,
}

impl<'a> Call<'a> {
    /// A call that has burned and dispatched nothing yet.
    pub fn new(lane: &'a LaneKey, deadline: Instant, interrupt: &'a Arc<AtomicBool>, limits: &'a Limits) -> Self {
        Self {
            lane,
            deadline,
            timeout: None,
            interrupt,
            limits,
            allowance: Allowance::Job,
            fuel_consumed: 0,
            fuel_is_known: true,
            log_lines: 0,
            outbox: Outbox::new(limits),
        }
    }

    /// Gives the calls from now on so much time.
    pub(crate) fn give(&mut self, time: Duration) {
        (self.deadline, self.timeout) = (Instant::now() + time, Some(time));
    }

    /// Fails if the attempt should not go on: for the executor between two actions, and for native
    /// reducers during one.
    ///
    /// # Errors
    ///
    /// [`ApplyError::Interrupted`], or [`Reason::Timeout`].
    pub fn check_time(&self) -> Result<(), ApplyError> {
        if self.interrupt.load(Ordering::Relaxed) {
            return Err(ApplyError::Interrupted);
        }
        if Instant::now() >= self.deadline {
            let message = format!("the job took longer than its timeout{}", self.timeout_text());
            return Err(GuestFailure::new(Reason::Timeout, message).into());
        }
        Ok(())
    }

    /// The length of the timeout as the end of a sentence, such as ` of 30000 ms`; empty where it
    /// is not known.
    pub fn timeout_text(&self) -> String {
        self.timeout.map_or_else(String::new, |timeout| format!(" of {} ms", timeout.as_millis()))
    }
}
