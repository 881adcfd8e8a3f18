//! Actions, what they become, and who signed them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ActionId, ActionType, OperationId, Scope, StateHash};
use crate::json::Json;
use crate::plugin::PluginRef;
use crate::time::TimestampText;

/// A request to change one scope of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Action {
    /// Unique within its stream (document, scope, branch).
    pub id: ActionId,
    /// What to do: one of the action types of the document's model.
    #[serde(rename = "type")]
    pub action_type: ActionType,
    /// When its author made it.
    pub timestamp_utc_ms: TimestampText,
    /// The parameters: any JSON.
    pub input: Json,
    /// The scope that it changes.
    pub scope: Scope,
    /// Where the author believed the stream to stand, and who signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Arc<ActionContext>>,
}

/// What an author knew and vouches for when making an action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionContext {
    /// The index of the operation before this one; −1 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_op_index: Option<i64>,
    /// The hash of the scope's state before this action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_op_hash: Option<StateHash>,
    /// Makes two otherwise equal actions differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The signer, if the client names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<ActionSigner>,
}

impl ActionContext {
    /// Every text in it, with the field's path.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let own = [("prevOpHash", self.prev_op_hash.as_ref().map(StateHash::as_str)), ("nonce", self.nonce.as_deref())];
        let own = own.into_iter().filter_map(|(name, text)| Some((name, text?)));
        own.chain(self.signer.iter().flat_map(ActionSigner::texts))
    }
}

impl ActionSigner {
    fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let signatures = self.signatures.iter().flatten();
        [
            ("signer.user.address", &*self.user.address),
            ("signer.user.networkId", &*self.user.network_id),
            ("signer.app.name", &*self.app.name),
            ("signer.app.key", &*self.app.key),
        ]
        .into_iter()
        .chain(signatures.map(|text| ("signer.signatures", text.as_str())))
    }
}

/// Who signed an action, and the signatures, as the client sent them.
///
/// Nothing verifies them yet. They are kept in the log, and reducers see who is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionSigner {
    /// The person.
    pub user: SignerUser,
    /// The program that signed on the person's behalf.
    pub app: SignerApp,
    /// The signatures, five strings each.
    pub signatures: Vec<[String; 5]>,
}

/// The account of the person who signs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignerUser {
    /// The account, such as `0x52…`.
    pub address: Arc<str>,
    /// Its network, such as `eip155`.
    pub network_id: Arc<str>,
    /// The chain within the network.
    pub chain_id: u64,
}

/// The program that signs on a person's behalf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignerApp {
    /// Its name.
    pub name: Arc<str>,
    /// Its public key.
    pub key: Arc<str>,
}

/// An applied action: an entry of the append-only log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Derived from document, scope, branch and action; see [`OperationId`].
    pub id: OperationId,
    /// Position in its stream, from 0.
    pub index: u64,
    /// How many operations before this one it takes back.
    pub skip: u64,
    /// The timestamp of its action.
    pub timestamp_utc_ms: TimestampText,
    /// The hash of the scope's state afterwards.
    pub hash: StateHash,
    /// Why the action had no effect, in histories that other hosts wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The action that was applied.
    pub action: Arc<Action>,
}

/// An operation with what the log keeps beside it, needed to replay it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredOperation {
    /// The operation as the wire knows it.
    pub operation: Operation,
    /// Position among all operations of its document and branch, across scopes, from 0.
    pub sequence: u64,
    /// The plugin revision that made it.
    pub plugin: Arc<PluginRef>,
}
