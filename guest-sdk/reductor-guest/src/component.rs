//! The layer between the component model and [`model`](crate::model). Only in WebAssembly.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Once;

use crate::model::{self, ActionRef, DispatchRequest, Effects, LiveDocument};
use crate::{Level, Reducer, Signer, Snapshot};
use bindings::exports::reductor::reducer::model as wit;
use bindings::reductor::reducer::host;

/// What wit-bindgen makes of the WIT.
#[expect(missing_docs, reason = "generated; the docs are in the WIT")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "reducer",
        pub_export_macro: true,
        default_bindings_module: "reductor_guest::component::bindings",
    });
}

/// A reducer as a component of world `reducer`.
#[derive(Debug)]
pub struct Component<R>(PhantomData<R>);

/// A document as a resource of the component.
#[derive(Debug)]
pub struct Document<R>(RefCell<LiveDocument<R>>);

impl<R: Reducer> wit::Guest for Component<R> {
    type Document = Document<R>;

    fn describe() -> wit::Manifest {
        report_panics();
        let manifest = model::manifest::<R>();
        wit::Manifest {
            document_type: manifest.document_type.to_owned(),
            version: manifest.version,
            scopes: manifest.scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            actions: manifest.actions.into_iter().map(action_type).collect(),
            canonical: manifest.canonical,
        }
    }

    fn upgrade(from_version: u32, snapshot: Vec<wit::ScopeState>) -> Result<Vec<wit::ScopeState>, String> {
        report_panics();
        let states = with_snapshot(&snapshot, |snapshot| model::upgrade::<R>(from_version, snapshot));
        let wrap = |(scope, state): (&str, Vec<u8>)| wit::ScopeState { scope: scope.to_owned(), state };
        Ok(states.map_err(|error| error.to_string())?.into_iter().map(wrap).collect())
    }
}

impl<R: Reducer> wit::GuestDocument for Document<R> {
    fn load(snapshot: Vec<wit::ScopeState>) -> Result<wit::Document, String> {
        report_panics();
        let document = with_snapshot(&snapshot, LiveDocument::<R>::load);
        Ok(wit::Document::new(Self(RefCell::new(document.map_err(|error| error.to_string())?))))
    }

    fn apply(&self, action: wit::Action) -> Result<Vec<u8>, wit::Rejection> {
        let signer = action.signer.map(signer);
        let action = ActionRef {
            id: &action.id,
            action_type: &action.type_,
            scope: &action.scope,
            timestamp: &action.timestamp_utc_ms,
            input: &action.input,
            signer: signer.as_ref(),
        };
        self.0
            .borrow_mut()
            .apply(action, &mut Host)
            .map_err(|rejection| wit::Rejection { code: rejection.code.into_owned(), message: rejection.message })
    }

    fn state(&self, scope: String) -> Vec<u8> {
        self.0.borrow().state(&scope)
    }
}

/// The host as the component imports it.
struct Host;

impl Effects for Host {
    fn dispatch(&mut self, request: DispatchRequest) {
        host::dispatch(&host::DispatchRequest {
            document_id: request.document_id,
            type_: request.action_type,
            scope: request.scope,
            input: request.input,
        });
    }

    fn log(&mut self, level: Level, message: &str) {
        let level = match level {
            Level::Trace => host::Level::Trace,
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warn => host::Level::Warn,
            Level::Error => host::Level::Error,
        };
        host::log(level, message);
    }
}

/// Tells the host why a trap follows, from now on.
///
/// A document exists only after `load`, so `apply` and `state` need not ask again.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let message = panic.payload_as_str().unwrap_or("panicked with a value that is no text");
            let location = panic.location().map(ToString::to_string).unwrap_or_default();
            host::panicked(message, &location);
        }));
    });
}

fn with_snapshot<T>(states: &[wit::ScopeState], then: impl FnOnce(&Snapshot<'_>) -> T) -> T {
    let states: Vec<_> = states.iter().map(|part| (part.scope.as_str(), part.state.as_slice())).collect();
    then(&Snapshot::new(&states))
}

fn action_type(action: model::ActionType) -> bindings::reductor::reducer::types::ActionType {
    bindings::reductor::reducer::types::ActionType { name: action.name.to_owned(), input_schema: action.input_schema }
}

fn signer(signer: bindings::reductor::reducer::types::Signer) -> Signer {
    Signer {
        user_address: signer.user_address,
        network_id: signer.network_id,
        chain_id: signer.chain_id,
        app_name: signer.app_name,
        app_key: signer.app_key,
    }
}
