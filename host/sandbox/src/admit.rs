//! Lets a component in, or says why not.

mod canary;
mod measures;
mod scan;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use reductor_core::{ActionSchema, ActionType, DocumentType, Json, Manifest, PluginRef, Scope};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

pub use self::measures::{BinaryMeasures, Measure, OverLimit, StaticLimits};
use crate::abi::ManifestResult;
use crate::compile::CompileError;
use crate::difference::{self, Difference};
use crate::guest::{ExportIndices, Template};
use crate::log::LineRate;
use crate::plugin::Plugin;
use crate::sandbox::Sandbox;
use crate::sections;
use crate::text::printable;

const SCOPES_MAX: usize = 64;
const ACTIONS_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 200;

/// Why a component was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// Its file cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
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
    /// It has more of something than is allowed.
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    /// The component is of another world.
    #[error("the component does not fit the world `reductor:reducer/reducer@1.0.0`:{}", list(.0))]
    OtherWorld(Vec<Difference>),
    /// There is no machine code of it.
    #[error(transparent)]
    NotCompiled(#[from] CompileError),
    /// It cannot be linked with what a host offers, which is what the check of its world is to
    /// find out before.
    #[error("the component could not be linked: {0}")]
    NotLinked(String),
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
        /// Whose fault that is.
        blame: Blame,
    },
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(|difference| format!("\n  - {difference}")).collect()
}

/// Whose fault it is that a component was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The component's: it would not be let in elsewhere either.
    Component,
    /// The host's or its machine's: the component may be in order.
    Host,
}

impl AdmissionError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Unreadable(_)
            | Self::NotLinked(_)
            | Self::NotCompiled(CompileError::Died { .. } | CompileError::Worker { .. }) => Blame::Host,
            Self::Canary { blame, .. } => *blame,
            _ => Blame::Component,
        }
    }
}

impl Sandbox {
    /// Admits the component in a file, of which no more is read than a component may have.
    ///
    /// # Errors
    ///
    /// [`AdmissionError`]; nothing of the component runs on then.
    pub fn admit_file(&self, file: impl AsRef<Path>) -> Result<Plugin, AdmissionError> {
        let max = self.limits().component_bytes_max;
        let bytes = read(file.as_ref(), max).map_err(AdmissionError::Unreadable)?;
        self.admit(&bytes?)
    }

    /// Checks a component, compiles it, and tries it in a throwaway instance.
    ///
    /// # Errors
    ///
    /// [`AdmissionError`]; nothing of the component runs on then.
    pub fn admit(&self, bytes: &[u8]) -> Result<Plugin, AdmissionError> {
        let limits = self.limits();
        check_kind(bytes, limits.component_bytes_max)?;
        let measures = scan::scan(bytes, self.static_limits(), limits)?;
        let imports = difference::check_world(bytes).map_err(AdmissionError::OtherWorld)?;
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let (to_compile, lines) = sections::split(bytes);
        // The code of what is compiled, which may be less than what was handed in.
        let code_digest = match &to_compile {
            Cow::Borrowed(_) => digest,
            Cow::Owned(altered) => Sha256::digest(altered).into(),
        };
        let compiled = self.0.compiler.compile(&self.0.engine, &to_compile, &code_digest)?;
        let exports = exports(&compiled.component)?;
        let linked = self.0.linker.instantiate_pre(&compiled.component);
        let pre = linked.map_err(|error| AdmissionError::NotLinked(format!("{error:#}")))?;
        let log_rate = Arc::new(LineRate::new(limits.log_lines_per_second_max));
        let mut template =
            Template { pre, exports, limits: *limits, canonical: true, lines: Arc::new(lines), log_rate };
        let manifest = canary::canary(&mut template, self.0.canary_time_max)?;
        let plugin = PluginRef {
            document_type: manifest.document_type.clone(),
            version: manifest.version,
            digest: name_digest(&digest).into(),
        };
        Ok(Plugin {
            manifest,
            plugin: Arc::new(plugin),
            template: Arc::new(template),
            imports,
            component_bytes: bytes.len(),
            measures,
            code_origin: compiled.origin,
            compile_time: compiled.took,
            _sandbox: self.clone(),
        })
    }
}

/// Reads a file of which the length may be a lie, or unknown.
fn read(file: &Path, max: usize) -> io::Result<Result<Vec<u8>, AdmissionError>> {
    let file = File::open(file)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length > max {
        return Ok(Err(AdmissionError::TooLarge { bytes: length, max }));
    }
    let mut bytes = Vec::new();
    file.take((max as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}

/// Names a component's bytes: `sha256:` and the digest in hexadecimal.
fn name_digest(digest: &[u8; 32]) -> String {
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Tells from the length and the first bytes whether it is worth a closer look.
fn check_kind(bytes: &[u8], max: usize) -> Result<(), AdmissionError> {
    if bytes.len() > max {
        return Err(AdmissionError::TooLarge { bytes: bytes.len(), max });
    }
    if bytes.is_empty() {
        return Err(AdmissionError::NotWasm("the file is empty"));
    }
    if wasmparser::Parser::is_core_wasm(bytes) {
        return Err(AdmissionError::CoreModule);
    }
    if wasmparser::Parser::is_component(bytes) {
        return Ok(());
    }
    let text = bytes.trim_ascii_start();
    let is_text = text.starts_with(b"(component") || text.starts_with(b"(module");
    Err(AdmissionError::NotWasm(if is_text {
        "it is WebAssembly text; translate it to binary first, for example with `wasm-tools parse`"
    } else {
        "it does not begin with the bytes of one"
    }))
}

fn exports(component: &Component) -> Result<ExportIndices, AdmissionError> {
    let model = component.get_export_index(None, difference::MODEL);
    let find = |name: &str| {
        let index = model.as_ref().and_then(|model| component.get_export_index(Some(model), name));
        // The world was compared before, so this is a hole in that comparison.
        index.ok_or_else(|| AdmissionError::NotLinked(format!("the export `{name}` cannot be found")))
    };
    Ok(ExportIndices {
        describe: find("describe")?,
        load: find("[static]document.load")?,
        apply: find("[method]document.apply")?,
        state: find("[method]document.state")?,
        upgrade: find("upgrade")?,
    })
}

/// Checks what a model says of itself.
fn manifest(described: ManifestResult) -> Result<Manifest, AdmissionError> {
    name("documentType", &described.document_type)?;
    if described.version == 0 {
        return Err(unusable("version", "versions count from 1".to_owned()));
    }
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
    } else if printable(text, NAME_BYTES_MAX) != text || text.chars().any(char::is_whitespace) {
        format!(
            "`{}` has white space, control characters or marks that turn text around",
            printable(text, NAME_BYTES_MAX)
        )
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
