//! The states of all scopes of a document, as bytes, on their way into a reducer.

use serde::de::DeserializeOwned;

use crate::locate;

/// What the author of a model does about a state of another shape.
const OTHER_SHAPE_HINT: &str =
    "a state written by an older version of the model is changed in `upgrade` when VERSION is raised";

/// The encoded states of a document, one for each scope.
///
/// Empty for a document that does not exist yet.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    states: &'a [(&'a str, &'a [u8])],
}

impl<'a> Snapshot<'a> {
    /// Wraps pairs of a scope's name and its state as JSON.
    pub fn new(states: &'a [(&'a str, &'a [u8])]) -> Self {
        Self { states }
    }

    /// Whether this is the snapshot of a new document.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The names of the scopes, in the order in which they came.
    pub fn scopes(&self) -> impl Iterator<Item = &'a str> {
        self.states.iter().map(|(scope, _)| *scope)
    }

    /// The state of a scope as JSON.
    pub fn bytes(&self, scope: &str) -> Result<&'a [u8], SnapshotError> {
        self.states
            .iter()
            .find(|(name, _)| *name == scope)
            .map(|(_, bytes)| *bytes)
            .ok_or_else(|| SnapshotError::Missing { scope: scope.to_owned() })
    }

    /// Decodes the state of a scope. The error says where it does not fit.
    pub fn decode<T: DeserializeOwned>(&self, scope: &str) -> Result<T, SnapshotError> {
        let bytes = self.bytes(scope)?;
        serde_json::from_slice(bytes).map_err(|error| {
            let what = locate::describe(&error, bytes, scope);
            if error.is_data() { SnapshotError::OtherShape { what } } else { SnapshotError::Malformed { what } }
        })
    }

    /// Accepts each of `scopes` once and nothing else.
    pub(crate) fn check(&self, scopes: &[&str]) -> Result<(), SnapshotError> {
        for (index, scope) in self.scopes().enumerate() {
            if !scopes.contains(&scope) {
                return Err(SnapshotError::Unknown { scope: scope.to_owned(), known: scopes.join(", ") });
            }
            if self.scopes().take(index).any(|earlier| earlier == scope) {
                return Err(SnapshotError::Repeated { scope: scope.to_owned() });
            }
        }
        scopes.iter().try_for_each(|scope| self.bytes(scope).map(drop))
    }
}

/// Why a snapshot could not be turned into a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The snapshot lacks a scope of the model.
    #[error("the snapshot has no scope {scope:?}")]
    Missing {
        /// The scope that is not there.
        scope: String,
    },
    /// The snapshot has a scope that the model does not know.
    #[error("the snapshot has a scope {scope:?}, the model only {known}")]
    Unknown {
        /// The scope that is too much.
        scope: String,
        /// Those of the model.
        known: String,
    },
    /// The snapshot has a scope twice.
    #[error("the snapshot has the scope {scope:?} twice")]
    Repeated {
        /// The scope.
        scope: String,
    },
    /// A state is not JSON.
    #[error("{what}")]
    Malformed {
        /// Where, beginning with the scope, and what is wrong there.
        what: String,
    },
    /// A state is JSON of another shape than the one that is to be read.
    #[error("{what}")]
    OtherShape {
        /// Where, beginning with the scope, and what is wrong there.
        what: String,
    },
    /// The model does not override [`Reducer::upgrade`](crate::Reducer::upgrade).
    #[error("{}", no_upgrade(document_type, *from, *to))]
    NoUpgrade {
        /// The model.
        document_type: &'static str,
        /// The version that wrote the state.
        from: u32,
        /// The version that should read it.
        to: u32,
    },
    /// The model's own reason not to upgrade.
    #[error("{0}")]
    Refused(String),
}

impl SnapshotError {
    /// The model's own reason not to upgrade a snapshot.
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// The same, of a state that should have the model's present shape.
    pub(crate) fn of_present_shape(self) -> Self {
        match self {
            Self::OtherShape { what } => Self::OtherShape { what: format!("{what}; {OTHER_SHAPE_HINT}") },
            other => other,
        }
    }
}

fn no_upgrade(document_type: &str, from: u32, to: u32) -> String {
    if from < to {
        return format!(
            "version {to} of {document_type} cannot read a state of version {from}: \
             its Reducer does not implement `upgrade`"
        );
    }
    format!(
        "{document_type} does not implement `upgrade`, which was called for a state of version {from} \
         though VERSION is {to}: raise VERSION when the shape of the state changes"
    )
}
