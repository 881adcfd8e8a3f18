//! What a model says of itself.

use crate::{Reducer, schema};

/// What a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The name of the model, such as `acme/invoice`.
    pub document_type: &'static str,
    /// The version of its state.
    pub version: u32,
    /// The scopes of the state.
    pub scopes: &'static [&'static str],
    /// The actions of the model, in the order of the enum.
    pub actions: Vec<ActionType>,
    /// Whether every state it returns is canonical JSON. Always, with this SDK.
    pub canonical: bool,
}

/// A kind of action that the model understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionType {
    /// The name of the variant, as serde renames it.
    pub name: &'static str,
    /// A JSON Schema (draft 2020-12) of the input, as canonical JSON.
    pub input_schema: Vec<u8>,
}

/// Describes a model.
///
/// # Panics
///
/// If [`Reducer::Action`] is not an externally tagged enum, or a name is impossible. A
/// host meets this before it runs the first action.
pub fn manifest<R: Reducer>() -> Manifest {
    check_names(R::DOCUMENT_TYPE, R::SCOPES);
    Manifest {
        document_type: R::DOCUMENT_TYPE,
        version: R::VERSION,
        scopes: R::SCOPES,
        actions: schema::action_types::<R::Action>(R::DOCUMENT_TYPE),
        canonical: true,
    }
}

fn check_names(document_type: &str, scopes: &[&str]) {
    assert!(!document_type.is_empty(), "a Reducer's DOCUMENT_TYPE must not be empty");
    assert!(!scopes.is_empty(), "{document_type} must have a scope");
    for (index, scope) in scopes.iter().enumerate() {
        assert!(*scope != "document", "{document_type} must not use the scope `document`: it is the host's");
        assert!(!scopes[..index].contains(scope), "{document_type} has the scope {scope:?} twice");
    }
}
