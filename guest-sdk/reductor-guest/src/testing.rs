//! Runs a reducer in ordinary unit tests, as a host would.
//!
//! ```
//! use reductor_guest::prelude::*;
//! use reductor_guest::testing::{Document, json};
//! # #[derive(Default, Serialize, Deserialize)]
//! # struct Counter { value: i64 }
//! # #[derive(Deserialize, JsonSchema)]
//! # #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
//! # enum CounterAction { Increment { by: i64 } }
//! # impl Reducer for Counter {
//! #     const DOCUMENT_TYPE: &'static str = "example/counter";
//! #     type Action = CounterAction;
//! #     fn apply(&mut self, action: CounterAction, _: &mut Context) -> Result<(), Rejection> {
//! #         let CounterAction::Increment { by } = action;
//! #         ensure!(by > 0, "NOT_POSITIVE", "{by} is not positive");
//! #         self.value += by;
//! #         Ok(())
//! #     }
//! # }
//!
//! let mut counter = Document::<Counter>::new();
//! assert_eq!(counter.apply("INCREMENT", json!({"by": 3}))?, json!({"value": 3}));
//!
//! let rejection = counter.apply("INCREMENT", json!({"by": -1})).unwrap_err();
//! assert_eq!(rejection.code, "NOT_POSITIVE");
//! assert_eq!(counter.state(), json!({"value": 3}));
//! # Ok::<(), Rejection>(())
//! ```

pub use serde_json::{Value, json};

use crate::model::{ActionRef, DispatchRequest, Effects, LiveDocument};
use crate::{Level, Reducer, Rejection, Signer, Snapshot, SnapshotError};

/// A document under test.
///
/// Every action runs through the code of the component: it is decoded from JSON, applied,
/// and the state is encoded. Beyond that the document watches what a host would audit, and
/// panics when the reducer
/// - gives another result when the same action meets the same state again,
/// - changes a scope other than the action's,
/// - has a state that does not survive being encoded and decoded.
#[derive(Debug)]
pub struct Document<R> {
    /// The encoded scopes after the last action that was not refused.
    committed: Vec<(&'static str, Vec<u8>)>,
    resident: LiveDocument<R>,
    scope: String,
    timestamp: String,
    signer: Option<Signer>,
    actions_applied: usize,
    recorded: Recorded,
}

/// An action that the reducer has dispatched.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatched {
    /// The document to act on; the reducer's own when absent.
    pub document_id: Option<String>,
    /// The type of the action.
    pub action_type: String,
    /// The scope that it changes.
    pub scope: String,
    /// The parameters of the action.
    pub input: Value,
}

/// What a reducer asked of its host.
#[derive(Debug, Default)]
struct Recorded {
    dispatched: Vec<Dispatched>,
    logs: Vec<(Level, String)>,
}

impl Effects for Recorded {
    fn dispatch(&mut self, request: DispatchRequest) {
        self.dispatched.push(Dispatched {
            document_id: request.document_id,
            action_type: request.action_type,
            scope: request.scope,
            input: value(&request.input),
        });
    }

    fn log(&mut self, level: Level, message: &str) {
        self.logs.push((level, message.to_owned()));
    }
}

impl<R: Reducer> Document<R> {
    /// A new document in its initial state.
    #[expect(clippy::new_without_default, reason = "a test says what it means")]
    pub fn new() -> Self {
        match Self::load(&Snapshot::new(&[])) {
            Ok(document) => document,
            Err(error) => panic!("{} cannot load its own initial state: {error}", R::DOCUMENT_TYPE),
        }
    }

    /// A document with the given state, the JSON of its only scope.
    pub fn from_state(state: &Value) -> Result<Self, SnapshotError> {
        Self::load(&Snapshot::new(&[(R::SCOPES[0], state.to_string().as_bytes())]))
    }

    /// A document with the states of all its scopes.
    pub fn load(snapshot: &Snapshot<'_>) -> Result<Self, SnapshotError> {
        let resident = LiveDocument::load(snapshot)?;
        Ok(Self {
            committed: states(&resident),
            resident,
            scope: R::SCOPES[0].to_owned(),
            timestamp: ActionRef::EXAMPLE.timestamp.to_owned(),
            signer: None,
            actions_applied: 0,
            recorded: Recorded::default(),
        })
    }

    /// Applies an action and returns the state of its scope afterwards.
    ///
    /// After a refusal the document is as it was before, and nothing was dispatched.
    ///
    /// # Panics
    ///
    /// If the reducer is not pure, see [`Document`].
    pub fn apply(&mut self, action_type: &str, input: Value) -> Result<Value, Rejection> {
        let input = input.to_string();
        let id = format!("action-{}", self.actions_applied + 1);
        let action = ActionRef {
            id: &id,
            action_type,
            scope: &self.scope,
            timestamp: &self.timestamp,
            input: input.as_bytes(),
            signer: self.signer.as_ref(),
        };
        let mut fresh = load_committed::<R>(&self.committed);
        let mut recorded = Recorded::default();
        let outcome = self.resident.apply(action, &mut recorded);
        let repeated = fresh.apply(action, &mut Recorded::default());
        assert_same(action_type, &outcome, &repeated);
        self.recorded.logs.append(&mut recorded.logs);
        match outcome {
            Ok(state) => {
                self.actions_applied += 1;
                self.commit(action_type, &state);
                self.recorded.dispatched.append(&mut recorded.dispatched);
                Ok(value(&state))
            }
            Err(rejection) => {
                self.resident = load_committed(&self.committed);
                Err(rejection)
            }
        }
    }

    /// The state of the scope that is acted on.
    pub fn state(&self) -> Value {
        value(&self.resident.state(&self.scope))
    }

    /// The decoded document.
    pub fn model(&self) -> &R {
        self.resident.model()
    }

    /// What the reducer has dispatched so far; refused actions dispatch nothing.
    pub fn dispatched(&self) -> &[Dispatched] {
        &self.recorded.dispatched
    }

    /// What the reducer has logged so far.
    pub fn logs(&self) -> &[(Level, String)] {
        &self.recorded.logs
    }

    /// Sets the timestamp of the following actions.
    pub fn with_timestamp(&mut self, timestamp: &str) -> &mut Self {
        timestamp.clone_into(&mut self.timestamp);
        self
    }

    /// Sets the scope of the following actions and of [`state`](Self::state). It is the
    /// first scope of the model until then.
    pub fn in_scope(&mut self, scope: &str) -> &mut Self {
        scope.clone_into(&mut self.scope);
        self
    }

    /// Sets who signs the following actions.
    pub fn signed_by(&mut self, signer: Signer) -> &mut Self {
        self.signer = Some(signer);
        self
    }

    fn commit(&mut self, action_type: &str, state: &[u8]) {
        for (scope, before) in &mut self.committed {
            let now = self.resident.state(scope);
            if *scope == self.scope {
                assert!(now == state, "{action_type}: two encodings of the state differ");
                *before = now;
            } else {
                let (before, now) = (text(before), text(&now));
                assert!(
                    before == now,
                    "{action_type} in scope {} changed the scope {scope} from {before} to {now}",
                    self.scope
                );
            }
        }
        for ((scope, before), (_, after)) in self.committed.iter().zip(states(&load_committed::<R>(&self.committed))) {
            let (before, after) = (text(before), text(&after));
            assert!(
                before == after,
                "{action_type}: the state ({scope}) does not survive being encoded and decoded: {before} becomes {after}"
            );
        }
    }
}

fn states<R: Reducer>(document: &LiveDocument<R>) -> Vec<(&'static str, Vec<u8>)> {
    R::SCOPES.iter().map(|scope| (*scope, document.state(scope))).collect()
}

fn load_committed<R: Reducer>(committed: &[(&'static str, Vec<u8>)]) -> LiveDocument<R> {
    let states: Vec<_> = committed.iter().map(|(scope, state)| (*scope, state.as_slice())).collect();
    match LiveDocument::load(&Snapshot::new(&states)) {
        Ok(document) => document,
        Err(error) => panic!("{} cannot load a state that it has written: {error}", R::DOCUMENT_TYPE),
    }
}

fn assert_same(action_type: &str, first: &Result<Vec<u8>, Rejection>, second: &Result<Vec<u8>, Rejection>) {
    let show = |outcome: &Result<Vec<u8>, Rejection>| match outcome {
        Ok(state) => text(state),
        Err(rejection) => format!("rejection {rejection}"),
    };
    assert!(
        first == second,
        "{action_type} is not pure: applied to the same state twice it gave {} and {}",
        show(first),
        show(second)
    );
}

fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}

fn value(json: &[u8]) -> Value {
    match serde_json::from_slice(json) {
        Ok(value) => value,
        Err(error) => panic!("what was encoded as JSON is not JSON: {error}"),
    }
}
