//! An instance of a plugin, and the calls into it.

use std::borrow::Cow;
use std::sync::Arc;

use reductor_core::{Action, ApplyError, Call, GuestFailure, HostFault, LiveDocument, Reason, Scope, ScopeState};
use reductor_json::{Form, Limits as JsonLimits, Malformed, Problem};
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, InstancePre, ResourceAny, TypedFunc};

use crate::abi::{ActionParam, ManifestResult, RejectionResult, ScopeStateParam};
use crate::failure::{self, During};
use crate::host::{Ended, HostState, Phase};
use crate::limits::GuestLimits;
use crate::lines::LineTables;
use crate::log::LineRate;
use crate::text::printable;

/// What a live document takes besides the linear memory that counts: the pages of its stack that
/// it has touched, tables and host structures. `reductor bench manager` measures 76 kB for a counter, with
/// where its branch stands.
const DOCUMENT_BYTES: usize = 64 << 10;
/// Bytes of a rejection's code or message that are kept.
const REJECTION_BYTES_MAX: usize = 4 << 10;
/// Handles that an instance may hold at once. A model needs one for each document, and there is
/// one document in an instance; the host keeps some 30 bytes for each.
pub(crate) const HANDLES_MAX: usize = 10_000;

/// A component that is ready to be instantiated, and where its exports are.
#[derive(Clone)]
pub(crate) struct Template {
    pub(crate) pre: InstancePre<HostState>,
    pub(crate) exports: ExportIndices,
    pub(crate) limits: GuestLimits,
    /// Whether the model says that its states are canonical JSON.
    pub(crate) canonical: bool,
    pub(crate) lines: Arc<LineTables>,
    /// Shared by all instances.
    pub(crate) log_rate: Arc<LineRate>,
}

/// The exports of the interface `model`, found once at admission.
#[derive(Clone, Copy)]
pub(crate) struct ExportIndices {
    pub(crate) describe: ComponentExportIndex,
    pub(crate) load: ComponentExportIndex,
    pub(crate) apply: ComponentExportIndex,
    pub(crate) state: ComponentExportIndex,
    pub(crate) upgrade: ComponentExportIndex,
}

impl Template {
    /// Checks what a guest returned as a state, and makes it canonical unless it is already.
    ///
    /// The canonical form is bounded as well as what the guest returned: it may be four times as
    /// long, and the host keeps it and has to hand it to the guest again.
    fn accept(&self, scope: &Scope, json: Vec<u8>) -> Result<ScopeState, ApplyError> {
        let (bytes, max) = (json.len(), self.limits.output_bytes_max);
        let failed = |reason, problem: String| {
            ApplyError::from(GuestFailure::new(reason, format!("the state of scope `{scope}` {problem}")))
        };
        if bytes > max {
            return Err(failed(Reason::OutputTooLarge, format!("has {bytes} bytes; {max} are allowed")));
        }
        let refused = |malformed: Malformed| match malformed.problem {
            Problem::TooLong { .. } => {
                let problem =
                    format!("has {bytes} bytes, and more than {max} in its canonical form; {max} are allowed");
                failed(Reason::OutputTooLarge, problem)
            }
            _ => failed(Reason::InvalidOutput, format!("is not JSON: {malformed}")),
        };
        let limits = JsonLimits::default();
        let json: Arc<[u8]> = if self.canonical {
            match reductor_json::check(&json, limits).map_err(refused)? {
                Form::Canonical => json.into(),
                Form::Loose(deviation) => {
                    let problem = format!("is not canonical JSON, although the manifest says so: {deviation}");
                    return Err(failed(Reason::InvalidOutput, problem));
                }
            }
        } else {
            match reductor_json::canonical_within(&json, limits, max).map_err(refused)? {
                Cow::Borrowed(_) => json.into(),
                Cow::Owned(canonical) => canonical.into(),
            }
        };
        Ok(ScopeState { scope: scope.clone(), json })
    }
}

type Upgrade = TypedFunc<(u32, Vec<ScopeStateParam>), (Result<Vec<ScopeStateParam>, String>,)>;
type Load = TypedFunc<(Vec<ScopeStateParam>,), (Result<ResourceAny, String>,)>;
type Apply = TypedFunc<(ResourceAny, ActionParam), (Result<Vec<u8>, RejectionResult>,)>;
type State = TypedFunc<(ResourceAny, Arc<str>), (Vec<u8>,)>;

/// A live document: an instance with a store of its own.
pub(crate) struct Guest {
    store: Store<HostState>,
    template: Arc<Template>,
    load: Load,
    apply: Apply,
    state: State,
    document: Option<ResourceAny>,
}

impl Guest {
    /// Instantiates the component and loads a document in it.
    pub(crate) fn load(
        template: &Arc<Template>,
        snapshot: &[ScopeState],
        call: &mut Call<'_>,
    ) -> Result<Self, ApplyError> {
        let (mut store, instance) = instantiate(template, call)?;
        let exports = &template.exports;
        let load = instance.get_typed_func(&mut store, exports.load).map_err(mismatch)?;
        let apply = instance.get_typed_func(&mut store, exports.apply).map_err(mismatch)?;
        let state = instance.get_typed_func(&mut store, exports.state).map_err(mismatch)?;
        let mut guest = Self { store, template: template.clone(), load, apply, state, document: None };
        guest.load_document(snapshot, call)?;
        guest.store.data_mut().limiter.loaded();
        Ok(guest)
    }

    fn load_document(&mut self, snapshot: &[ScopeState], call: &mut Call<'_>) -> Result<(), ApplyError> {
        let snapshot: Vec<_> = snapshot.iter().map(ScopeStateParam::from).collect();
        let load = &self.load;
        let (loaded,) =
            enter(&mut self.store, &self.template, call, Phase::Other, |store| load.call(store, (snapshot,)))?;
        let document = loaded.map_err(|message| {
            let message = format!("it could not load the document: {}", printable(&message, REJECTION_BYTES_MAX));
            ApplyError::from(GuestFailure::new(Reason::AbiMismatch, message))
        })?;
        self.document = Some(document);
        Ok(())
    }

    fn document(&self) -> ResourceAny {
        self.document.expect("a guest is called only while it has a document")
    }
}

impl LiveDocument for Guest {
    fn apply(&mut self, action: &Action, call: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        let params = (self.document(), ActionParam::from(action));
        let apply = &self.apply;
        let (applied,) =
            enter(&mut self.store, &self.template, call, Phase::Applying(action), |store| apply.call(store, params))?;
        std::mem::swap(&mut call.outbox, &mut self.store.data_mut().outbox);
        match applied {
            Ok(json) => self.template.accept(&action.scope, json),
            Err(rejection) => Err(ApplyError::Rejected {
                code: printable(&rejection.code, REJECTION_BYTES_MAX),
                message: printable(&rejection.message, REJECTION_BYTES_MAX),
            }),
        }
    }

    fn state(&mut self, scope: &Scope, call: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        let params = (self.document(), scope.shared());
        let state = &self.state;
        let (json,) = enter(&mut self.store, &self.template, call, Phase::Other, |store| state.call(store, params))?;
        self.template.accept(scope, json)
    }

    fn reload(&mut self, snapshot: &[ScopeState], call: &mut Call<'_>) -> Result<(), ApplyError> {
        if let Some(document) = self.document.take() {
            enter(&mut self.store, &self.template, call, Phase::Other, |store| document.resource_drop(store))?;
        }
        self.load_document(snapshot, call)
    }

    fn memory_bytes(&self) -> usize {
        DOCUMENT_BYTES + self.store.data().limiter.memory_bytes_counted()
    }

    fn is_spent(&self) -> bool {
        self.store.data().limiter.is_spent()
    }
}

/// What a component says of itself in two calls of one instance.
pub(crate) struct Described {
    pub(crate) first: ManifestResult,
    pub(crate) second: ManifestResult,
}

/// Calls `describe` twice in a throwaway instance.
pub(crate) fn describe(template: &Arc<Template>, call: &mut Call<'_>) -> Result<Described, ApplyError> {
    let (mut store, instance) = instantiate(template, call)?;
    let describe: TypedFunc<(), (ManifestResult,)> =
        instance.get_typed_func(&mut store, template.exports.describe).map_err(mismatch)?;
    let mut once = || enter(&mut store, template, call, Phase::Other, |store| describe.call(store, ()));
    let ((first,), (second,)) = (once()?, once()?);
    Ok(Described { first, second })
}

/// Converts a snapshot of an earlier version in an instance that lives no longer than that.
pub(crate) fn upgrade(
    template: &Arc<Template>,
    from_version: u32,
    snapshot: &[ScopeState],
    call: &mut Call<'_>,
) -> Result<Vec<ScopeState>, ApplyError> {
    let (mut store, instance) = instantiate(template, call)?;
    let upgrade: Upgrade = instance.get_typed_func(&mut store, template.exports.upgrade).map_err(mismatch)?;
    let params = (from_version, snapshot.iter().map(ScopeStateParam::from).collect());
    let (upgraded,) = enter(&mut store, template, call, Phase::Other, |store| upgrade.call(store, params))?;
    let upgraded = upgraded.map_err(|message| {
        let message = printable(&message, REJECTION_BYTES_MAX);
        let message = format!("it could not upgrade the document from version {from_version}: {message}");
        ApplyError::from(GuestFailure::new(Reason::AbiMismatch, message))
    })?;
    let mut states = Vec::with_capacity(upgraded.len());
    for ScopeStateParam { scope, state } in upgraded {
        let scope = Scope::from(printable(&scope, REJECTION_BYTES_MAX));
        states.push(template.accept(&scope, state.to_vec())?);
    }
    Ok(states)
}

/// An export is not of the type that admission found: admission's fault.
fn mismatch(error: wasmtime::Error) -> ApplyError {
    HostFault::Broken(printable(&format!("{error:#}"), REJECTION_BYTES_MAX)).into()
}

fn instantiate(
    template: &Arc<Template>,
    call: &mut Call<'_>,
) -> Result<(Store<HostState>, wasmtime::component::Instance), ApplyError> {
    let limits = &template.limits;
    let mut store = Store::new(template.pre.engine(), HostState::new(limits, template.log_rate.clone(), call));
    store.limiter(|state| &mut state.limiter);
    store.epoch_deadline_callback(|context| context.data().at_tick());
    // What a guest returns may not exceed this in one call; a rejection or a manifest has
    // room beside the largest state.
    store.set_hostcall_fuel(limits.output_bytes_max + (64 << 10));
    store.set_max_component_handles(HANDLES_MAX);
    let instance = enter_to(During::Instantiation, &mut store, template, call, Phase::Other, |store| {
        template.pre.instantiate(store)
    })?;
    store.data_mut().limiter.instantiated();
    Ok((store, instance))
}

/// Calls a function of a guest.
fn enter<T>(
    store: &mut Store<HostState>,
    template: &Template,
    call: &mut Call<'_>,
    phase: Phase<'_>,
    run: impl FnOnce(&mut Store<HostState>) -> wasmtime::Result<T>,
) -> Result<T, ApplyError> {
    enter_to(During::Call, store, template, call, phase, run)
}

/// Enters a guest: arms fuel, ticks and the host's state before, and reads the fuel after.
fn enter_to<T>(
    during: During,
    store: &mut Store<HostState>,
    template: &Template,
    call: &mut Call<'_>,
    phase: Phase<'_>,
    run: impl FnOnce(&mut Store<HostState>) -> wasmtime::Result<T>,
) -> Result<T, ApplyError> {
    store.data_mut().arm(call, phase);
    let metered = "the engine meters fuel";
    let fuel = template.limits.fuel_per_call.saturating_mul(call.allowance.factor().into());
    store.set_fuel(fuel).expect(metered);
    store.set_epoch_deadline(1);
    let result = run(store);
    store.data_mut().show_unfinished_lines();
    call.log_lines = store.data().log_lines.of_job();
    call.fuel_consumed += fuel - store.get_fuel().expect(metered);
    if result.as_ref().is_err_and(|error| error.is::<Ended>()) {
        // The fuel of a function is in a register of its code until it calls another or returns.
        call.fuel_is_known = false;
    }
    result.map_err(|error| failure::classify(&error, store.data_mut().panic.take(), during, template))
}
