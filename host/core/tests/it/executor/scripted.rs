//! A reducer that does what a test's script says, and takes note of what it was asked.
//!
//! The state of each scope is a list of texts. Its actions:
//! - `ADD` puts its input, a text, at the end of the list;
//! - `HOLD` does the same, and then waits until the test releases that text;
//! - `DISPATCH` adds its id, and dispatches the actions that its input lists;
//! - `CHAIN` adds its input and dispatches itself again.
//!
//! And those of a reducer that is not pure, because its instances count what they are asked:
//! - `COUNT` adds the count;
//! - `COUNT_OUT` adds its id, and dispatches an `ADD` of the count;
//! - `COUNT_REFUSALS` refuses, and says the count;
//! - `STRAY` adds its id, and also to the list of the scope `local`.
//!
//! Any of them fails first as often as the script says for its action id.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reductor_core::{
    Action, ActionType, ApplyError, Call, DispatchRequest, DocumentId, DocumentType, GuestFailure, Json, LiveDocument,
    Manifest, PluginRef, Reason, Reducer, Scope, ScopeState,
};
use serde_json::Value;

use super::host::BOUND;

/// How often a held action looks for an interrupt, like a guest at an epoch's tick.
const TICK: Duration = Duration::from_millis(5);

/// What the reducer is to do, and what it did. Shared by the test and the workers.
#[derive(Default)]
pub(crate) struct Script {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What becomes of an action each time it is applied; `None` is success.
    apply_errors: HashMap<String, VecDeque<Option<ApplyError>>>,
    load_errors: VecDeque<ApplyError>,
    /// What becomes of the next questions for a state; `None` is success.
    state_errors: VecDeque<Option<ApplyError>>,
    /// Actions that run until their deadline when they are applied for the second time.
    slow_at_second: HashSet<String>,
    calls: Calls,
    held: HashSet<String>,
    released: HashSet<String>,
    workers_gone: usize,
}

/// What a reducer was asked to do so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    /// The snapshots that new instances were loaded from, such as `global=["a"] local=[]`.
    pub(crate) loaded: Vec<String>,
    /// The snapshots that instances were told to go back to.
    pub(crate) reloaded: Vec<String>,
    /// The ids of the actions that it was given.
    pub(crate) applied: Vec<String>,
    /// How many instances were dropped.
    pub(crate) dropped: usize,
}

impl Script {
    /// Makes the action of this id fail so, once each, before it succeeds.
    pub(crate) fn fail(&self, action: &str, errors: impl IntoIterator<Item = ApplyError>) {
        self.lock().apply_errors.entry(action.to_owned()).or_default().extend(errors.into_iter().map(Some));
    }

    /// Makes the action of this id succeed once, and fail so at the second time.
    pub(crate) fn fail_second(&self, action: &str, error: ApplyError) {
        self.lock().apply_errors.insert(action.to_owned(), VecDeque::from([None, Some(error)]));
    }

    /// Makes the action of this id succeed once, and run into its timeout at the second time.
    pub(crate) fn slow_at_second(&self, action: &str) {
        self.lock().slow_at_second.insert(action.to_owned());
    }

    /// Makes documents answer so, in turn, when they are asked for a state.
    pub(crate) fn fail_states(&self, errors: impl IntoIterator<Item = Option<ApplyError>>) {
        self.lock().state_errors.extend(errors);
    }

    /// Makes the action of this id fail no more.
    pub(crate) fn heal(&self, action: &str) {
        self.lock().apply_errors.remove(action);
    }

    /// Makes the next loads of a new instance fail so.
    pub(crate) fn fail_loads(&self, errors: impl IntoIterator<Item = ApplyError>) {
        self.lock().load_errors.extend(errors);
    }

    /// What was asked so far.
    pub(crate) fn calls(&self) -> Calls {
        self.lock().calls.clone()
    }

    /// Waits until a worker holds this text.
    pub(crate) fn wait_until_held(&self, text: &str) {
        self.wait_until(text, |state| state.held.contains(text));
    }

    /// Lets whoever holds this text go on, now or later.
    pub(crate) fn release(&self, text: &str) {
        self.lock().released.insert(text.to_owned());
        self.changed.notify_all();
    }

    /// Waits until a worker that ran one of this script's reducers has ended.
    pub(crate) fn wait_until_a_worker_is_gone(&self) {
        self.wait_until("a worker to end", |state| state.workers_gone > 0);
    }

    fn wait_until(&self, what: &str, come: impl Fn(&State) -> bool) {
        let waited = self.changed.wait_timeout_while(self.lock(), BOUND, |state| !come(state));
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "waited too long for {what}");
    }

    /// Holds the text until it is released or the host interrupts.
    fn hold(&self, text: &str, call: &Call<'_>) -> Result<(), ApplyError> {
        let began = Instant::now();
        let mut state = self.lock();
        state.held.insert(text.to_owned());
        self.changed.notify_all();
        while !state.released.contains(text) {
            if call.interrupt.load(Ordering::Relaxed) {
                return Err(ApplyError::Interrupted);
            }
            assert!(began.elapsed() < BOUND, "nobody released `{text}`");
            state = self.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Keeps a worker until the deadline, like a guest that loops.
    fn run_out(&self, call: &Call<'_>) -> ApplyError {
        let mut state = self.lock();
        while let left = call.deadline.saturating_duration_since(Instant::now())
            && !left.is_zero()
        {
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        failed(Reason::Timeout, "it ran longer than its timeout")
    }

    /// A test that failed may leave a worker that panics with the lock; let only the test fail.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the script when the worker thread that keeps it ends.
struct Witness(Arc<Script>);

thread_local! {
    static WITNESS: RefCell<Option<Witness>> = const { RefCell::new(None) };
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.lock().workers_gone += 1;
        self.0.changed.notify_all();
    }
}

/// A model whose instances follow a script.
pub(crate) struct Scripted {
    manifest: Manifest,
    plugin: Arc<PluginRef>,
    script: Arc<Script>,
}

impl Scripted {
    /// A revision of the model `document_type`.
    pub(crate) fn new(document_type: &str, version: u32, scopes: &[&str], script: &Arc<Script>) -> Self {
        let document_type = DocumentType::from(document_type);
        let scopes = scopes.iter().map(|scope| Scope::from(*scope)).collect();
        let plugin = PluginRef { document_type: document_type.clone(), version, digest: "native".into() };
        Self {
            manifest: Manifest { document_type, version, scopes, actions: Vec::new(), canonical: true },
            plugin: Arc::new(plugin),
            script: script.clone(),
        }
    }
}

impl Reducer for Scripted {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn plugin(&self) -> &Arc<PluginRef> {
        &self.plugin
    }

    fn load(&self, snapshot: &[ScopeState], _: &mut Call<'_>) -> Result<Box<dyn LiveDocument>, ApplyError> {
        let mut state = self.script.lock();
        state.calls.loaded.push(text(snapshot));
        match state.load_errors.pop_front() {
            Some(error) => Err(error),
            None => Ok(Box::new(List { lists: decode(snapshot), count: 0, script: self.script.clone() })),
        }
    }

    /// All of its versions have states of the same shape.
    fn upgrade(&self, _: u32, snapshot: &[ScopeState], _: &mut Call<'_>) -> Result<Vec<ScopeState>, ApplyError> {
        Ok(snapshot.to_vec())
    }
}

/// A live document: a list of texts for each scope.
struct List {
    lists: BTreeMap<Scope, Vec<String>>,
    /// Actions that this instance was asked to apply, in all documents that it has been.
    count: u32,
    script: Arc<Script>,
}

impl LiveDocument for List {
    fn apply(&mut self, action: &Action, call: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        WITNESS.with_borrow_mut(|witness| {
            witness.get_or_insert_with(|| Witness(self.script.clone()));
        });
        let mut state = self.script.lock();
        state.calls.applied.push(action.id.to_string());
        let mut error = state.apply_errors.get_mut(action.id.as_str()).and_then(VecDeque::pop_front).flatten();
        // The calls are counted only where it matters: a long run has very many of them.
        let is_slow = state.slow_at_second.contains(action.id.as_str())
            && state.calls.applied.iter().filter(|id| **id == *action.id.as_str()).count() == 2;
        drop(state);
        if is_slow {
            error = Some(self.script.run_out(call));
        }
        self.count += 1;
        // The list grows before the failure, so that a test sees whether it is taken back.
        let input: Value = serde_json::from_str(action.input.as_str()).expect("an input is JSON");
        let text = match action.action_type.as_str() {
            "COUNT" => format!("count {}", self.count),
            _ => input.as_str().unwrap_or(action.id.as_str()).to_owned(),
        };
        self.lists.entry(action.scope.clone()).or_default().push(text.clone());
        if let Some(error) = error {
            return Err(error);
        }
        match action.action_type.as_str() {
            "ADD" | "COUNT" => {}
            "COUNT_OUT" => {
                call.outbox.push(dispatch_request(&Value::from_iter([("input", self.count.to_string())])))?
            }
            "COUNT_REFUSALS" => return Err(rejected("NO", &format!("refusal {}", self.count))),
            "STRAY" => self.lists.entry(Scope::from("local")).or_default().push("stray".to_owned()),
            "HOLD" => self.script.hold(&text, call)?,
            "DISPATCH" => {
                for request in input.as_array().expect("DISPATCH has a list of actions") {
                    call.outbox.push(dispatch_request(request))?;
                }
            }
            "CHAIN" => call.outbox.push(DispatchRequest {
                document_id: None,
                action_type: action.action_type.clone(),
                scope: action.scope.clone(),
                input: action.input.clone(),
            })?,
            other => return Err(rejected("UNKNOWN", other)),
        }
        Ok(self.encoded(&action.scope))
    }

    fn state(&mut self, scope: &Scope, _: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        let error = self.script.lock().state_errors.pop_front().flatten();
        error.map_or_else(|| Ok(self.encoded(scope)), Err)
    }

    fn reload(&mut self, snapshot: &[ScopeState], _: &mut Call<'_>) -> Result<(), ApplyError> {
        self.script.lock().calls.reloaded.push(text(snapshot));
        self.lists = decode(snapshot);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        1
    }
}

impl List {
    fn encoded(&mut self, scope: &Scope) -> ScopeState {
        let list = self.lists.entry(scope.clone()).or_default();
        let json = serde_json::to_vec(list).expect("a list of texts has a JSON form");
        ScopeState { scope: scope.clone(), json: json.into() }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        self.script.lock().calls.dropped += 1;
    }
}

/// The reducer's own refusal.
pub(crate) fn rejected(code: &str, message: &str) -> ApplyError {
    ApplyError::Rejected { code: code.to_owned(), message: message.to_owned() }
}

/// A guest's failure.
pub(crate) fn failed(reason: Reason, message: &str) -> ApplyError {
    GuestFailure::new(reason, message).into()
}

/// A trap of this kind.
pub(crate) fn trapped(kind: &str) -> ApplyError {
    let failure = GuestFailure::new(Reason::Trap, format!("it met {kind}"));
    GuestFailure { trap: Some(kind.to_owned()), ..failure }.into()
}

fn dispatch_request(request: &Value) -> DispatchRequest {
    let input = match (request["input"].as_str(), request["times"].as_u64()) {
        (Some(text), Some(times)) => Value::from(text.repeat(usize::try_from(times).expect("a small number"))),
        _ => request["input"].clone(),
    };
    DispatchRequest {
        document_id: request["document"].as_str().map(DocumentId::from),
        action_type: ActionType::from(request["type"].as_str().unwrap_or("ADD")),
        scope: Scope::from(request["scope"].as_str().unwrap_or(Scope::GLOBAL)),
        input: Json::from_value(&input),
    }
}

fn decode(snapshot: &[ScopeState]) -> BTreeMap<Scope, Vec<String>> {
    let list = |state: &ScopeState| serde_json::from_slice(&state.json).expect("a snapshot is a list of texts");
    snapshot.iter().map(|state| (state.scope.clone(), list(state))).collect()
}

fn text(snapshot: &[ScopeState]) -> String {
    let scope = |state: &ScopeState| format!("{}={}", state.scope, String::from_utf8_lossy(&state.json));
    snapshot.iter().map(scope).collect::<Vec<_>>().join(" ")
}
