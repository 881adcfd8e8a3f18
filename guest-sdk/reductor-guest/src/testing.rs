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

mod difference;
mod dispatched;

use std::fmt;

pub use serde_json::{Value, json};

pub use self::dispatched::Dispatched;

use self::difference::Difference;
use self::dispatched::Requests;
use crate::model::{self, ActionRef, LiveDocument};
use crate::{Level, Reducer, Rejection, Signer, Snapshot, SnapshotError};

/// A document under test.
///
/// Every action runs through the code of the component: it is decoded from JSON, applied,
/// and the state is encoded. Beyond that the document watches what a host would audit, and
/// panics when the reducer
/// - gives another result when the same action meets the same state again,
/// - changes a scope other than the action's,
/// - has a state that does not survive being encoded and decoded,
/// - dispatches what a host does not take: to a scope that the model does not have, to the
///   scope `document`, to a document without an id, without an action type, or more than 64
///   actions in one.
///
/// Dispatches are recorded and not executed: see [`dispatched`](Self::dispatched).
pub struct Document<R> {
    /// The encoded scopes after the last action that was not refused.
    committed: Vec<(&'static str, Vec<u8>)>,
    resident: LiveDocument<R>,
    scope: String,
    timestamp: String,
    signer: Option<Signer>,
    actions_applied: usize,
    dispatched: Vec<Dispatched>,
    logs: Vec<(Level, String)>,
}

impl<R: Reducer> Document<R> {
    /// A new document in its initial state.
    #[expect(clippy::new_without_default, reason = "a test says what it means")]
    #[track_caller]
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

    /// A document whose state an earlier version of the model wrote: the JSON of its only
    /// scope, which [`Reducer::upgrade`] reads.
    ///
    /// ```
    /// use reductor_guest::prelude::*;
    /// use reductor_guest::testing::{Document, json};
    ///
    /// #[derive(Default, Serialize, Deserialize)]
    /// struct Price {
    ///     cents: i64, // version 1 had `euros`
    /// }
    /// # #[derive(Deserialize, JsonSchema)]
    /// # enum PriceAction { Clear }
    ///
    /// impl Reducer for Price {
    ///     const VERSION: u32 = 2;
    ///     // …
    /// #   const DOCUMENT_TYPE: &'static str = "example/price";
    /// #   type Action = PriceAction;
    /// #   fn apply(&mut self, _: PriceAction, _: &mut Context) -> Result<(), Rejection> { Ok(()) }
    ///
    ///     fn upgrade(_: u32, snapshot: &Snapshot) -> Result<Self, SnapshotError> {
    ///         #[derive(Deserialize)]
    ///         struct Version1 { euros: i64 }
    ///
    ///         let old: Version1 = snapshot.decode("global")?;
    ///         Ok(Self { cents: old.euros * 100 })
    ///     }
    /// }
    ///
    /// let price = Document::<Price>::from_older_state(1, &json!({"euros": 3}))?;
    /// assert_eq!(price.state(), json!({"cents": 300}));
    /// # Ok::<(), SnapshotError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// As [`load_older`](Self::load_older).
    #[track_caller]
    pub fn from_older_state(from_version: u32, state: &Value) -> Result<Self, SnapshotError> {
        Self::load_older(from_version, &Snapshot::new(&[(R::SCOPES[0], state.to_string().as_bytes())]))
    }

    /// A document whose scopes an earlier version of the model wrote; they may be others than
    /// those of today.
    ///
    /// # Panics
    ///
    /// If `from_version` is not earlier than [`Reducer::VERSION`]: no host upgrades then. If
    /// the upgrade is not pure, or its state does not survive being encoded and decoded.
    #[track_caller]
    pub fn load_older(from_version: u32, snapshot: &Snapshot<'_>) -> Result<Self, SnapshotError> {
        let (name, version) = (R::DOCUMENT_TYPE, R::VERSION);
        assert!(
            from_version < version,
            "a state of version {from_version} is not older than {name}, whose VERSION is {version}: \
             raise it when the shape of the state changes"
        );
        let upgraded = model::upgrade::<R>(from_version, snapshot)?;
        let again = model::upgrade::<R>(from_version, snapshot)?;
        for ((_, first), (scope, second)) in upgraded.iter().zip(&again) {
            if first != second {
                let Difference { first, second, place } = Difference::of(first, second);
                panic!("upgrade is not pure: for the scope {scope} it gave {first} and then {second}{place}");
            }
        }
        let document = Self::with(load_committed(&upgraded));
        assert_survives("upgrade", &upgraded, &document.committed);
        Ok(document)
    }

    /// A document with the states of all its scopes.
    pub fn load(snapshot: &Snapshot<'_>) -> Result<Self, SnapshotError> {
        LiveDocument::load(snapshot).map(Self::with)
    }

    fn with(resident: LiveDocument<R>) -> Self {
        Self {
            committed: states(&resident),
            resident,
            scope: R::SCOPES[0].to_owned(),
            timestamp: ActionRef::EXAMPLE.timestamp.to_owned(),
            signer: None,
            actions_applied: 0,
            dispatched: Vec::new(),
            logs: Vec::new(),
        }
    }

    /// Applies an action and returns the state of its scope afterwards.
    ///
    /// After a refusal the document is as it was before, and nothing was dispatched.
    ///
    /// # Panics
    ///
    /// If the reducer is not pure, or dispatches what a host does not take: see [`Document`].
    #[track_caller]
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
        let mut requests = Requests::default();
        let outcome = self.resident.apply(action, &mut requests);
        let repeated = fresh.apply(action, &mut Requests::default());
        assert_same(action_type, &outcome, &repeated);
        let problem = requests.too_many().or_else(|| outcome.as_ref().ok().and_then(|_| requests.not_allowed::<R>()));
        if let Some(problem) = problem {
            panic!("{action_type} {problem}: a host fails its job");
        }
        self.logs.append(&mut requests.logs);
        match outcome {
            Ok(state) => {
                self.actions_applied += 1;
                self.commit(action_type, &state);
                self.dispatched.extend(requests.dispatches.into_iter().map(Dispatched::from));
                Ok(value(&state))
            }
            Err(rejection) => {
                self.resident = load_committed(&self.committed);
                Err(rejection)
            }
        }
    }

    /// The state of the scope that is acted on.
    #[track_caller]
    pub fn state(&self) -> Value {
        value(&self.resident.state(&self.scope))
    }

    /// The decoded document.
    pub fn model(&self) -> &R {
        self.resident.model()
    }

    /// What the reducer has dispatched so far; refused actions dispatch nothing.
    ///
    /// Nothing of it was executed: a host makes a job of each, see [`Dispatch`](crate::Dispatch).
    /// Those with a `document_id` are legal where an operator grants them (`reductor run
    /// --grant FROM=TO`); else the host fails the job that dispatched them, as it does if
    /// there is no such document, or its model has no such scope.
    pub fn dispatched(&self) -> &[Dispatched] {
        &self.dispatched
    }

    /// What the reducer has logged so far.
    pub fn logs(&self) -> &[(Level, String)] {
        &self.logs
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

    #[track_caller]
    fn commit(&mut self, action_type: &str, state: &[u8]) {
        for (scope, before) in &mut self.committed {
            let now = self.resident.state(scope);
            if *scope == self.scope {
                assert!(now == state, "{action_type}: two encodings of the state differ");
                *before = now;
            } else if *before != now {
                let Difference { first, second, place } = Difference::of(before, &now);
                let own = &self.scope;
                panic!("{action_type} in scope {own} changed the scope {scope} from {first} to {second}{place}");
            }
        }
        assert_survives(action_type, &self.committed, &states(&load_committed::<R>(&self.committed)));
    }
}

impl<R> fmt::Debug for Document<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = self.committed.iter().map(|(scope, state)| (*scope, text(state)));
        f.debug_struct("Document")
            .field("states", &states.collect::<Vec<_>>())
            .field("scope", &self.scope)
            .field("actions_applied", &self.actions_applied)
            .field("dispatched", &self.dispatched)
            .finish_non_exhaustive()
    }
}

type States = [(&'static str, Vec<u8>)];

fn states<R: Reducer>(document: &LiveDocument<R>) -> Vec<(&'static str, Vec<u8>)> {
    R::SCOPES.iter().map(|scope| (*scope, document.state(scope))).collect()
}

#[track_caller]
fn load_committed<R: Reducer>(committed: &States) -> LiveDocument<R> {
    let states: Vec<_> = committed.iter().map(|(scope, state)| (*scope, state.as_slice())).collect();
    match LiveDocument::decode(&Snapshot::new(&states)) {
        Ok(document) => document,
        Err(error) => panic!("{} cannot load a state that it has written: {error}", R::DOCUMENT_TYPE),
    }
}

#[track_caller]
fn assert_same(action_type: &str, first: &Result<Vec<u8>, Rejection>, second: &Result<Vec<u8>, Rejection>) {
    if first == second {
        return;
    }
    let outcomes = [first, second].map(|outcome| match outcome {
        Ok(state) => state.clone(),
        Err(rejection) => format!("rejection {rejection}").into_bytes(),
    });
    let Difference { first, second, place } = Difference::of(&outcomes[0], &outcomes[1]);
    panic!("{action_type} is not pure: applied to the same state twice it gave {first} and {second}{place}");
}

/// Panics unless the states are the same before they were decoded and afterwards.
#[track_caller]
fn assert_survives(cause: &str, before: &States, after: &States) {
    for ((scope, before), (_, after)) in before.iter().zip(after) {
        if before != after {
            let Difference { first, second, place } = Difference::of(before, after);
            panic!(
                "{cause}: the state ({scope}) does not survive being encoded and decoded: \
                 {first} becomes {second}{place}"
            );
        }
    }
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
