//! A reducer behind plain types: what every host of it calls, WebAssembly or not.
//!
//! The component is a thin layer over this module, [`testing`](crate::testing) is another,
//! and a program that trusts its reducers can call them natively without either. Authors of
//! models need none of it.
//!
//! ```
//! use reductor_guest::model::{ActionRef, DispatchRequest, Effects, LiveDocument};
//! # use reductor_guest::prelude::*;
//! # #[derive(Default, Serialize, Deserialize)]
//! # struct Counter { value: i64 }
//! # #[derive(Deserialize, JsonSchema)]
//! # enum CounterAction { Increment { by: i64 } }
//! # impl Reducer for Counter {
//! #     const DOCUMENT_TYPE: &'static str = "example/counter";
//! #     type Action = CounterAction;
//! #     fn apply(&mut self, action: CounterAction, _: &mut Context) -> Result<(), Rejection> {
//! #         let CounterAction::Increment { by } = action;
//! #         self.value += by;
//! #         Ok(())
//! #     }
//! # }
//!
//! struct Ignore;
//! impl Effects for Ignore {
//!     fn dispatch(&mut self, _: DispatchRequest) {}
//!     fn log(&mut self, _: Level, _: &str) {}
//! }
//!
//! let mut counter = LiveDocument::<Counter>::load(&Snapshot::new(&[]))?;
//! let action = ActionRef {
//!     id: "a1",
//!     action_type: "Increment",
//!     scope: "global",
//!     timestamp: "2026-01-31T09:30:00.000Z",
//!     input: br#"{"by":2}"#,
//!     signer: None,
//! };
//! assert_eq!(counter.apply(action, &mut Ignore)?, br#"{"value":2}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use reductor_json::EncodeError;

pub use crate::manifest::{ActionType, Manifest, manifest};
use crate::{Context, Level, Reducer, Rejection, Signer, Snapshot, SnapshotError, action};

/// An action as the host hands it over.
#[derive(Debug, Clone, Copy)]
pub struct ActionRef<'a> {
    /// Unique within its stream (document, scope and branch).
    pub id: &'a str,
    /// The name of a variant of [`Reducer::Action`].
    pub action_type: &'a str,
    /// The scope that it changes.
    pub scope: &'a str,
    /// When its author made it: ISO 8601 in UTC.
    pub timestamp: &'a str,
    /// The parameters as JSON; `null` or nothing where it has none.
    pub input: &'a [u8],
    /// Who signed it, as the client says; not verified.
    pub signer: Option<&'a Signer>,
}

impl ActionRef<'static> {
    /// What tests fill in where it does not matter.
    pub(crate) const EXAMPLE: Self = Self {
        id: "action-1",
        action_type: "",
        scope: "global",
        timestamp: "2026-01-01T00:00:00.000Z",
        input: b"null",
        signer: None,
    };
}

/// An action that a reducer asks for, to be executed as a job of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchRequest {
    /// The document to act on; the reducer's own when absent.
    pub document_id: Option<String>,
    /// One of the action types of that document's model.
    pub action_type: String,
    /// The scope that it changes.
    pub scope: String,
    /// The parameters of the action as canonical JSON.
    pub input: Vec<u8>,
}

/// What a host does for a reducer while it applies an action.
///
/// Neither can fail from the reducer's point of view: a host that has enough notes it down
/// and fails the call when the reducer is done.
pub trait Effects {
    /// Takes a request for an action. It counts only if the present action is not refused.
    fn dispatch(&mut self, request: DispatchRequest);

    /// Takes a log line.
    fn log(&mut self, level: Level, message: &str);
}

/// A decoded document in memory.
#[derive(Debug)]
pub struct LiveDocument<R> {
    model: R,
    /// Length of the longest state encoded so far: how much room the next one gets.
    state_bytes_hint: usize,
}

impl<R: Reducer> LiveDocument<R> {
    /// Decodes a document from the states of all its scopes; an empty snapshot is a new one.
    pub fn load(snapshot: &Snapshot<'_>) -> Result<Self, SnapshotError> {
        Self::decode(snapshot).map_err(SnapshotError::of_present_shape)
    }

    /// The same, of a state that is known to be of the present version.
    pub(crate) fn decode(snapshot: &Snapshot<'_>) -> Result<Self, SnapshotError> {
        let model = if snapshot.is_empty() {
            R::default()
        } else {
            snapshot.check(R::SCOPES)?;
            R::decode_scopes(snapshot)?
        };
        Ok(Self { model, state_bytes_hint: 0 })
    }

    /// Applies one action and returns the state of the action's scope afterwards, as
    /// canonical JSON.
    ///
    /// After a rejection the document may be half changed: discard it and load it again.
    ///
    /// # Panics
    ///
    /// If the state has no canonical JSON, such as one with an infinite number: a fault of
    /// the reducer, not of the action.
    #[track_caller]
    pub fn apply(&mut self, action: ActionRef<'_>, effects: &mut dyn Effects) -> Result<Vec<u8>, Rejection> {
        if !R::SCOPES.contains(&action.scope) {
            let message = format!("unknown scope {:?}; this model has {}", action.scope, R::SCOPES.join(", "));
            return Err(Rejection::new(Rejection::UNKNOWN_SCOPE, message));
        }
        let decoded = action::decode(&action)?;
        self.model.apply(decoded, &mut Context::new(action, effects))?;
        let state = self.encode(action.scope);
        self.state_bytes_hint = self.state_bytes_hint.max(state.len());
        Ok(state)
    }

    /// Returns the state of one scope as canonical JSON.
    ///
    /// # Panics
    ///
    /// If the model has no such scope, or its state no canonical JSON.
    #[track_caller]
    pub fn state(&self, scope: &str) -> Vec<u8> {
        assert!(
            R::SCOPES.contains(&scope),
            "asked for the scope {scope:?}, which {} does not declare",
            R::DOCUMENT_TYPE
        );
        self.encode(scope)
    }

    /// The decoded document.
    pub fn model(&self) -> &R {
        &self.model
    }

    #[track_caller]
    fn encode(&self, scope: &str) -> Vec<u8> {
        // An action seldom adds more than an eighth; if it does, the vector grows.
        let mut state = Vec::with_capacity(self.state_bytes_hint + self.state_bytes_hint / 8 + 64);
        if let Err(error) = self.model.encode_scope(scope, &mut state) {
            panic!("the state of {} ({scope}) has no canonical JSON: {error}", R::DOCUMENT_TYPE);
        }
        state
    }
}

/// Converts a snapshot that version `from_version` of the model wrote into one of the present
/// version: pairs of a scope and its state.
pub fn upgrade<R: Reducer>(
    from_version: u32,
    snapshot: &Snapshot<'_>,
) -> Result<Vec<(&'static str, Vec<u8>)>, SnapshotError> {
    let document = LiveDocument { model: R::upgrade(from_version, snapshot)?, state_bytes_hint: 0 };
    Ok(R::SCOPES.iter().map(|scope| (*scope, document.state(scope))).collect())
}

/// Writes a value as canonical JSON; for [`scopes!`](crate::scopes).
#[doc(hidden)]
pub fn encode<T: serde::Serialize + ?Sized>(state: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    reductor_json::write(state, value)
}
