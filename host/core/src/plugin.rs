//! What a document model says of itself, and which revision of it is meant.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ActionType, DocumentType, Scope};
use crate::json::Json;

/// Names one revision of a document model, in results and beside every operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginRef {
    /// The model.
    pub document_type: DocumentType,
    /// The version of the model that the plugin states.
    pub version: u32,
    /// `sha256:` and the hexadecimal digest of the component's bytes; `native` for a reducer
    /// compiled into the host.
    pub digest: Arc<str>,
}

impl PluginRef {
    /// The digest of reducers that are compiled into the host.
    pub const NATIVE: &'static str = "native";

    /// Whether the digest tells the code: two builds of a native reducer have the same one.
    pub fn identifies_code(&self) -> bool {
        *self.digest != *Self::NATIVE
    }
}

impl std::fmt::Display for PluginRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} v{}", self.document_type, self.version)
    }
}

/// What a document model is: its name, its scopes and the actions it understands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The name of the model.
    pub document_type: DocumentType,
    /// Counts up whenever the shape of the state changes.
    pub version: u32,
    /// The scopes of the state; never empty, and never [`Scope::DOCUMENT`].
    pub scopes: Vec<Scope>,
    /// The actions of the model.
    pub actions: Vec<ActionSchema>,
    /// Whether the model's states are canonical JSON as they come.
    pub canonical: bool,
}

/// A kind of action, and what its input looks like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionSchema {
    /// The value of `action.type`.
    pub name: ActionType,
    /// A JSON Schema (draft 2020-12) of the input.
    pub input_schema: Json,
}
