//! Lets a component in, or says why not.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use reductor_core::{
    ActionSchema, ActionType, ApplyError, Branch, Call, DocumentId, DocumentType, Json, LaneKey, Limits,
    LiveDocument as _, Manifest, PluginRef, Scope, ScopeState,
};
use sha2::{Digest as _, Sha256};
use wasmparser::{Validator, WasmFeatures};
use wasmtime::component::Component;

use crate::abi::ManifestResult;
use crate::difference::{self, Difference};
use crate::guest::{self, ExportIndices, Guest, Template};
use crate::limits::GuestLimits;
use crate::plugin::Plugin;
use crate::sandbox::Sandbox;
use crate::text::printable;

/// How long the throwaway instance may take for each of its calls.
const CANARY_TIMEOUT: Duration = Duration::from_secs(5);
const SCOPES_MAX: usize = 64;
const ACTIONS_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 200;

/// Why a component was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// The bytes are no WebAssembly.
    #[error("this is not a WebAssembly component: {0}")]
    NotWasm(&'static str),
    /// It is what a compiler makes, before it becomes a component.
    #[error(
        "this is a core WebAssembly module, not a component; `reductor build` makes components, \
         and `wasm-tools component new` turns a module with component metadata into one"
    )]
    CoreModule,
    /// The file is too large.
    #[error("the component has {bytes} bytes; {max} are allowed")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        max: usize,
    },
    /// The file begins like a component and goes wrong.
    #[error("the component is damaged, or uses features that are not supported: {problem} (at byte {offset})")]
    Invalid {
        /// What is wrong.
        problem: String,
        /// Where.
        offset: usize,
    },
    /// The component is of another world.
    #[error("the component does not fit the world `reductor:reducer/reducer@1.0.0`:{}", list(.0))]
    OtherWorld(Vec<Difference>),
    /// It could not be compiled.
    #[error("the component could not be compiled: {0}")]
    NotCompiled(String),
    /// What it says of itself makes no sense.
    #[error("its manifest is not usable: {field}: {problem}")]
    Manifest {
        /// The field of the manifest.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It failed when it was tried.
    #[error("it failed when it was tried, in `{step}`: {problem}")]
    Canary {
        /// What was called.
        step: &'static str,
        /// How it failed.
        problem: String,
    },
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(|difference| format!("\n  - {difference}")).collect()
}

impl Sandbox {
    /// Checks a component, compiles it, and tries it in a throwaway instance.
    ///
    /// # Errors
    ///
    /// [`AdmissionError`]; nothing of the component runs on then.
    pub fn admit(&self, bytes: &[u8]) -> Result<Plugin, AdmissionError> {
        let limits = self.limits();
        check_binary(bytes, limits)?;
        let imports = difference::check_world(bytes).map_err(AdmissionError::OtherWorld)?;
        let began = Instant::now();
        let not_compiled = |error: wasmtime::Error| AdmissionError::NotCompiled(format!("{error:#}"));
        let component = Component::from_binary(&self.0.engine, bytes).map_err(not_compiled)?;
        let compile_time = began.elapsed();
        let exports = exports(&component)?;
        let pre = self.0.linker.instantiate_pre(&component).map_err(not_compiled)?;
        let mut template = Template { pre, exports, limits: *limits, canonical: true };
        let manifest = canary(&mut template)?;
        let plugin = PluginRef {
            document_type: manifest.document_type.clone(),
            version: manifest.version,
            digest: digest(bytes).into(),
        };
        Ok(Plugin {
            manifest,
            plugin: Arc::new(plugin),
            template: Arc::new(template),
            imports,
            component_bytes: bytes.len(),
            compile_time,
            _sandbox: self.clone(),
        })
    }
}

/// Names a component's bytes: `sha256:` and the digest in hexadecimal.
fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn check_binary(bytes: &[u8], limits: &GuestLimits) -> Result<(), AdmissionError> {
    let (length, max) = (bytes.len(), limits.component_bytes_max);
    if length > max {
        return Err(AdmissionError::TooLarge { bytes: length, max });
    }
    if bytes.is_empty() {
        return Err(AdmissionError::NotWasm("the file is empty"));
    }
    if wasmparser::Parser::is_core_wasm(bytes) {
        return Err(AdmissionError::CoreModule);
    }
    if !wasmparser::Parser::is_component(bytes) {
        let text = bytes.trim_ascii_start();
        let is_text = text.starts_with(b"(component") || text.starts_with(b"(module");
        return Err(AdmissionError::NotWasm(if is_text {
            "it is WebAssembly text; translate it to binary first, for example with `wasm-tools parse`"
        } else {
            "it does not begin with the bytes of one"
        }));
    }
    let mut validator = Validator::new_with_features(WasmFeatures::WASM3 | WasmFeatures::COMPONENT_MODEL);
    validator.validate_all(bytes).map(drop).map_err(|error| AdmissionError::Invalid {
        problem: printable(error.message(), NAME_BYTES_MAX),
        offset: error.offset(),
    })
}

fn exports(component: &Component) -> Result<ExportIndices, AdmissionError> {
    let model = component.get_export_index(None, difference::MODEL);
    let find = |name: &str| {
        let index = model.as_ref().and_then(|model| component.get_export_index(Some(model), name));
        // The world was compared before, so this is a hole in that comparison.
        index.ok_or_else(|| AdmissionError::NotCompiled(format!("the export `{name}` cannot be found")))
    };
    Ok(ExportIndices {
        describe: find("describe")?,
        load: find("[static]document.load")?,
        apply: find("[method]document.apply")?,
        state: find("[method]document.state")?,
    })
}

/// Tries the component: it must describe itself, make a new document, and load what it made.
fn canary(template: &mut Template) -> Result<Manifest, AdmissionError> {
    let lane = LaneKey { document: DocumentId::from("canary"), branch: Branch::from(Branch::MAIN) };
    let (interrupt, limits) = (Arc::new(AtomicBool::new(false)), Limits::default());
    let call = || Call::new(&lane, Instant::now() + CANARY_TIMEOUT, &interrupt, &limits);
    let failed = |step| move |error| AdmissionError::Canary { step, problem: explain(error) };

    let shared = Arc::new(template.clone());
    let described = guest::describe(&shared, &mut call()).map_err(failed("describe"))?;
    let manifest = manifest(described)?;
    template.canonical = manifest.canonical;
    let shared = Arc::new(template.clone());

    let states = |guest: &mut Guest| -> Result<Vec<ScopeState>, AdmissionError> {
        let state = |scope| guest.state(scope, &mut call()).map_err(failed("document.state"));
        manifest.scopes.iter().map(state).collect()
    };
    let mut new = Guest::load(&shared, &[], &mut call()).map_err(failed("document.load of a new document"))?;
    let initial = states(&mut new)?;
    let mut again =
        Guest::load(&shared, &initial, &mut call()).map_err(failed("document.load of the initial state"))?;
    if states(&mut again)? != initial {
        let problem = "the state of a document changed by saving and loading it".to_owned();
        return Err(AdmissionError::Canary { step: "document.load", problem });
    }
    Ok(manifest)
}

fn explain(error: ApplyError) -> String {
    match error {
        ApplyError::Failed(failure) => format!("{} ({})", failure.message, failure.reason.name()),
        ApplyError::Rejected { code, message } => format!("{message} ({code})"),
        ApplyError::Interrupted => "it was interrupted".to_owned(),
        ApplyError::Host(fault) => fault.to_string(),
    }
}

/// Checks what a model says of itself.
fn manifest(described: ManifestResult) -> Result<Manifest, AdmissionError> {
    name("documentType", &described.document_type)?;
    count("scopes", described.scopes.len(), 1, SCOPES_MAX)?;
    count("actions", described.actions.len(), 0, ACTIONS_MAX)?;
    for scope in &described.scopes {
        name("scopes", scope)?;
        if scope == Scope::DOCUMENT {
            return Err(unusable("scopes", format!("`{scope}` is the host's own")));
        }
    }
    unique("scopes", &described.scopes)?;
    let mut actions = Vec::with_capacity(described.actions.len());
    for action in described.actions {
        name("actions", &action.name)?;
        let schema = std::str::from_utf8(&action.input_schema).ok().and_then(|text| Json::parse(text).ok());
        let problem = || unusable("actions", format!("the schema of `{}` is not JSON", action.name));
        actions.push(ActionSchema { input_schema: schema.ok_or_else(problem)?, name: ActionType::from(action.name) });
    }
    unique("actions", &actions.iter().map(|action| action.name.as_str()).collect::<Vec<_>>())?;
    Ok(Manifest {
        document_type: DocumentType::from(described.document_type),
        version: described.version,
        scopes: described.scopes.into_iter().map(Scope::from).collect(),
        actions,
        canonical: described.canonical,
    })
}

fn unusable(field: &'static str, problem: String) -> AdmissionError {
    AdmissionError::Manifest { field, problem }
}

fn name(field: &'static str, text: &str) -> Result<(), AdmissionError> {
    let problem = if text.is_empty() {
        "a name is empty".to_owned()
    } else if text.len() > NAME_BYTES_MAX {
        format!("a name has {} bytes; {NAME_BYTES_MAX} are allowed", text.len())
    } else if text.chars().any(|character| character.is_control() || character.is_whitespace()) {
        format!("`{}` has white space or control characters", printable(text, NAME_BYTES_MAX))
    } else {
        return Ok(());
    };
    Err(unusable(field, problem))
}

fn count(field: &'static str, found: usize, min: usize, max: usize) -> Result<(), AdmissionError> {
    if (min..=max).contains(&found) {
        Ok(())
    } else {
        Err(unusable(field, format!("there are {found}; {min} to {max} are allowed")))
    }
}

fn unique(field: &'static str, names: &[impl AsRef<str>]) -> Result<(), AdmissionError> {
    let mut seen = HashSet::new();
    match names.iter().map(AsRef::as_ref).find(|name| !seen.insert(*name)) {
        Some(twice) => Err(unusable(field, format!("`{twice}` is there twice"))),
        None => Ok(()),
    }
}
