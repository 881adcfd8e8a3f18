//! Reducers compiled into the host: trusted code, without a sandbox.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use reductor_guest::model::{self, ActionRef, Effects};
use reductor_guest::{Level, Signer, Snapshot};

use crate::action::{Action, ActionSigner};
use crate::failure::{ApplyError, GuestFailure, Reason};
use crate::ids::{ActionType, DocumentType, Scope};
use crate::json::Json;
use crate::plugin::{ActionSchema, Manifest, PluginRef};
use crate::reducer::{Call, LiveDocument, Reducer, ScopeState};

/// A reducer written with the guest SDK, run as ordinary Rust.
///
/// It is for tests, as a baseline to measure the sandbox against, and for embedders who trust
/// their own code: nothing bounds its time or memory. `jobTimeout` does not interrupt it; a model
/// that loops holds its worker thread for good. A panic is caught and is a failure like a guest's
/// trap.
#[derive(Debug)]
pub struct NativeReducer<R> {
    manifest: Manifest,
    plugin: Arc<PluginRef>,
    model: PhantomData<fn() -> R>,
}

impl<R: reductor_guest::Reducer + Send + 'static> NativeReducer<R> {
    /// Wraps the model `R`.
    pub fn new() -> Self {
        let described = model::manifest::<R>();
        let manifest = Manifest {
            document_type: DocumentType::from(described.document_type),
            version: described.version,
            scopes: described.scopes.iter().map(|scope| Scope::from(*scope)).collect(),
            actions: described.actions.into_iter().map(action_schema).collect(),
            canonical: described.canonical,
        };
        let plugin = PluginRef {
            document_type: manifest.document_type.clone(),
            version: manifest.version,
            digest: PluginRef::NATIVE.into(),
        };
        Self { manifest, plugin: Arc::new(plugin), model: PhantomData }
    }
}

impl<R: reductor_guest::Reducer + Send + 'static> Default for NativeReducer<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: reductor_guest::Reducer + Send + 'static> Reducer for NativeReducer<R> {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn plugin(&self) -> &Arc<PluginRef> {
        &self.plugin
    }

    fn load(&self, snapshot: &[ScopeState], _: &mut Call<'_>) -> Result<Box<dyn LiveDocument>, ApplyError> {
        Ok(Box::new(NativeDocument { live: decode::<R>(snapshot)? }))
    }

    fn upgrade(
        &self,
        from_version: u32,
        snapshot: &[ScopeState],
        _: &mut Call<'_>,
    ) -> Result<Vec<ScopeState>, ApplyError> {
        let states: Vec<_> = snapshot.iter().map(|state| (state.scope.as_str(), &*state.json)).collect();
        let upgraded = guarded(|| model::upgrade::<R>(from_version, &Snapshot::new(&states)))?;
        let upgraded = upgraded.map_err(|error| GuestFailure::new(Reason::AbiMismatch, error.to_string()))?;
        let state = |(scope, json): (&str, Vec<u8>)| ScopeState { scope: Scope::from(scope), json: json.into() };
        Ok(upgraded.into_iter().map(state).collect())
    }
}

struct NativeDocument<R> {
    live: model::LiveDocument<R>,
}

impl<R: reductor_guest::Reducer + Send + 'static> LiveDocument for NativeDocument<R> {
    fn apply(&mut self, action: &Action, call: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        let signer = action.context.as_ref().and_then(|context| context.signer.as_ref()).map(signer);
        let request = ActionRef {
            id: action.id.as_str(),
            action_type: action.action_type.as_str(),
            scope: action.scope.as_str(),
            timestamp: action.timestamp_utc_ms.as_str(),
            input: action.input.as_str().as_bytes(),
            signer: signer.as_ref(),
        };
        let mut effects = Recorder { call, failed: None };
        let applied = guarded(|| self.live.apply(request, &mut effects))?;
        if let Some(error) = effects.failed {
            return Err(error);
        }
        match applied {
            Ok(state) => Ok(ScopeState { scope: action.scope.clone(), json: state.into() }),
            Err(rejection) => {
                Err(ApplyError::Rejected { code: rejection.code.to_string(), message: rejection.message.to_string() })
            }
        }
    }

    fn state(&mut self, scope: &Scope, _: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        let state = guarded(|| self.live.state(scope.as_str()))?;
        Ok(ScopeState { scope: scope.clone(), json: state.into() })
    }

    fn reload(&mut self, snapshot: &[ScopeState], _: &mut Call<'_>) -> Result<(), ApplyError> {
        self.live = decode::<R>(snapshot)?;
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        // A native document cannot be measured from outside; its own size is a floor.
        size_of::<Self>()
    }
}

/// Takes down what a reducer asks of its host.
struct Recorder<'a, 'c> {
    call: &'a mut Call<'c>,
    failed: Option<ApplyError>,
}

impl Effects for Recorder<'_, '_> {
    fn dispatch(&mut self, request: model::DispatchRequest) {
        let model::DispatchRequest { document_id, action_type, scope, input } = request;
        if let Err(error) = self.call.outbox.push_from_guest(document_id, action_type, scope, input) {
            self.failed.get_or_insert(error.into());
        }
    }

    fn log(&mut self, level: Level, message: &str) {
        tracing::debug!(target: "reductor::guest", lane = %self.call.lane, ?level, "{message}");
    }
}

fn decode<R: reductor_guest::Reducer>(snapshot: &[ScopeState]) -> Result<model::LiveDocument<R>, ApplyError> {
    let states: Vec<_> = snapshot.iter().map(|state| (state.scope.as_str(), &*state.json)).collect();
    let loaded = guarded(|| model::LiveDocument::load(&Snapshot::new(&states)))?;
    loaded.map_err(|error| GuestFailure::new(Reason::AbiMismatch, error.to_string()).into())
}

/// Runs the reducer's code; a panic becomes a trap.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, ApplyError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        GuestFailure::new(Reason::Trap, format!("panicked: {text}")).into()
    })
}

fn action_schema(action: model::ActionType) -> ActionSchema {
    let schema = std::str::from_utf8(&action.input_schema).ok().and_then(|text| Json::parse(text).ok());
    ActionSchema { name: ActionType::from(action.name), input_schema: schema.expect("the SDK writes schemas as JSON") }
}

fn signer(signer: &ActionSigner) -> Signer {
    Signer {
        user_address: signer.user.address.to_string(),
        network_id: signer.user.network_id.to_string(),
        chain_id: signer.user.chain_id,
        app_name: signer.app.name.to_string(),
        app_key: signer.app.key.to_string(),
    }
}
