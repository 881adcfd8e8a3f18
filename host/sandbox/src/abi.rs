//! The types of `wit/reducer.wit` as they cross the boundary.
//!
//! What goes in is shared, not copied, until it is written into the guest's memory; what
//! comes out is copied once.

use std::sync::Arc;

use reductor_core::{Action, ActionSigner, ScopeState};
use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct ActionParam {
    id: Arc<str>,
    #[component(name = "type")]
    action_type: Arc<str>,
    scope: Arc<str>,
    #[component(name = "timestamp-utc-ms")]
    timestamp_utc_ms: Arc<str>,
    input: Arc<[u8]>,
    signer: Option<SignerParam>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct SignerParam {
    #[component(name = "user-address")]
    user_address: Arc<str>,
    #[component(name = "network-id")]
    network_id: Arc<str>,
    #[component(name = "chain-id")]
    chain_id: u64,
    #[component(name = "app-name")]
    app_name: Arc<str>,
    #[component(name = "app-key")]
    app_key: Arc<str>,
}

#[derive(Clone, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct ScopeStateParam {
    pub(crate) scope: Arc<str>,
    pub(crate) state: Arc<[u8]>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct RejectionResult {
    pub(crate) code: String,
    pub(crate) message: String,
}

#[derive(PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub(crate) struct ActionTypeResult {
    pub(crate) name: String,
    #[component(name = "input-schema")]
    pub(crate) input_schema: Vec<u8>,
}

#[derive(PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub(crate) struct ManifestResult {
    #[component(name = "document-type")]
    pub(crate) document_type: String,
    pub(crate) version: u32,
    pub(crate) scopes: Vec<String>,
    pub(crate) actions: Vec<ActionTypeResult>,
    pub(crate) canonical: bool,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct DispatchParam {
    #[component(name = "document-id")]
    pub(crate) document_id: Option<String>,
    #[component(name = "type")]
    pub(crate) action_type: String,
    pub(crate) scope: String,
    pub(crate) input: Vec<u8>,
}

impl DispatchParam {
    /// Bytes of all its texts.
    pub(crate) fn bytes(&self) -> usize {
        let document_id = self.document_id.as_ref().map_or(0, String::len);
        document_id + self.action_type.len() + self.scope.len() + self.input.len()
    }
}

#[expect(dead_code, reason = "only guests make these values")]
#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum LevelParam {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

// The signer is passed on as the client sent it, although nothing verifies it, as the contract
// says: operations that are in logs were made with it, and would not replay without it.
impl From<&Action> for ActionParam {
    fn from(action: &Action) -> Self {
        let signer = action.context.as_ref().and_then(|context| context.signer.as_ref());
        Self {
            id: action.id.shared(),
            action_type: action.action_type.shared(),
            scope: action.scope.shared(),
            timestamp_utc_ms: action.timestamp_utc_ms.shared(),
            input: action.input.shared_bytes(),
            signer: signer.map(SignerParam::from),
        }
    }
}

impl From<&ActionSigner> for SignerParam {
    fn from(signer: &ActionSigner) -> Self {
        Self {
            user_address: signer.user.address.clone(),
            network_id: signer.user.network_id.clone(),
            chain_id: signer.user.chain_id,
            app_name: signer.app.name.clone(),
            app_key: signer.app.key.clone(),
        }
    }
}

impl From<&ScopeState> for ScopeStateParam {
    fn from(state: &ScopeState) -> Self {
        Self { scope: state.scope.shared(), state: state.json.clone() }
    }
}
