//! Lets a component in, or says why not.

mod canary;
mod inspect;
mod measures;
mod scan;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use reductor_core::{ActionSchema, ActionType, DocumentType, Json, Manifest, PluginRef, Scope};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

pub(crate) use self::inspect::{Facts, Refusal, inspect};
pub(crate) use self::measures::Maxima;
pub use self::measures::{BinaryMeasures, Measure, OverLimit, StaticLimits};
use crate::abi::ManifestResult;
use crate::compile::{CompileError, Failure, Made, Turn};
use crate::difference::{self, Difference};
use crate::guest::{ExportIndices, Template};
use crate::log::LineRate;
use crate::plugin::Plugin;
use crate::sandbox::Sandbox;
use crate::text::printable;
use crate::wasi;

const SCOPES_MAX: usize = 64;
const ACTIONS_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 200;
/// Longest description of a problem in a refusal, in bytes.
pub(crate) const PROBLEM_BYTES_MAX: usize = 1 << 10;
/// Stack that the host needs beside a guest's own when it tries a component.
const HOST_STACK_BYTES: usize = 2 << 20;

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
    /// It cannot be linked with what a host offers, in a way that the comparison of its world
    /// does not tell.
    #[error("the component could not be linked: {0}")]
    NotLinked(String),
    /// Other components are being admitted, and it was not its turn in time.
    #[error("other components are being admitted, and there was no turn within {} s; try again later", .waited.as_secs_f64())]
    Busy {
        /// How long a turn was waited for at most.
        waited: Duration,
    },
    /// The host could not start a thread to try it on.
    #[error("no thread could be started to try the component on")]
    NoThread(#[source] io::Error),
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
            | Self::Busy { .. }
            | Self::NoThread(_)
            | Self::NotCompiled(CompileError::Worker { .. }) => Blame::Host,
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
    /// With a compile worker this process hashes the component and parses no more than its first bytes.
    /// Components are compiled one at a time, and tried few at a time; others wait for their
    /// turn, no longer than [`SandboxBuilder::admission_wait_max`] says.
    ///
    /// [`SandboxBuilder::admission_wait_max`]: crate::SandboxBuilder::admission_wait_max
    ///
    /// # Errors
    ///
    /// [`AdmissionError`]; nothing of the component runs on then.
    pub fn admit(&self, bytes: &[u8]) -> Result<Plugin, AdmissionError> {
        check_kind(bytes, self.limits().component_bytes_max)?;
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let (inner, wait_max) = (&self.0, self.0.admission_wait_max);
        // Without a worker it is compiled here, and then the turn must come before.
        let here = match inner.compiler.worker {
            Some(_) => None,
            None => Some(self.turn()?),
        };
        let made = inner.compiler.make(&inner.engine, &inner.maxima, bytes, &digest, wait_max)?;
        let _turn = match here {
            Some(turn) => turn,
            None => self.turn()?,
        };
        on_own_stack(self.limits().stack_bytes_max, || self.try_out(bytes, &digest, made))
    }

    fn turn(&self) -> Result<Turn<'_>, AdmissionError> {
        let waited = self.0.admission_wait_max;
        self.0.turns.take(waited).map_err(|_| AdmissionError::Busy { waited })
    }

    /// Links a component with what the host offers, and tries it.
    fn try_out(&self, bytes: &[u8], digest: &[u8; 32], made: Made) -> Result<Plugin, AdmissionError> {
        let exports = exports(&made.component)?;
        let linked = self.0.linker.instantiate_pre(&made.component);
        let pre = linked.map_err(|error| not_linked(&format!("{error:#}")))?;
        let (limits, lines) = (self.limits(), Arc::new(made.facts.lines.tables(bytes)));
        let log_rate = Arc::new(LineRate::new(limits.log_lines_per_second_max));
        let mut template = Template { pre, exports, limits: *limits, canonical: true, lines, log_rate };
        let manifest = canary::canary(&mut template, self.0.canary_time_max)?;
        let plugin = PluginRef {
            document_type: manifest.document_type.clone(),
            version: manifest.version,
            digest: name_digest(digest).into(),
        };
        Ok(Plugin {
            manifest,
            plugin: Arc::new(plugin),
            template: Arc::new(template),
            imports: made.facts.imports,
            component_bytes: bytes.len(),
            measures: made.facts.measures,
            code_origin: made.origin,
            compile_time: made.took,
            _sandbox: self.clone(),
        })
    }
}

impl From<Failure> for AdmissionError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::NotCompiled(error) => Self::NotCompiled(error),
            Failure::Busy { wait_max } => Self::Busy { waited: wait_max },
        }
    }
}

/// Runs on a thread with room for a guest's stack beside the host's, whatever the caller's has. A
/// panic of it goes on in the caller.
fn on_own_stack<T: Send>(
    guest_bytes: usize,
    run: impl FnOnce() -> Result<T, AdmissionError> + Send,
) -> Result<T, AdmissionError> {
    let builder = thread::Builder::new().name("reductor-canary".to_owned());
    let builder = builder.stack_size(guest_bytes.saturating_add(HOST_STACK_BYTES));
    thread::scope(|scope| {
        let started = builder.spawn_scoped(scope, run).map_err(AdmissionError::NoThread)?;
        started.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What decides whether a component is let in, as far as it is not in the limits: what was found
/// out by other rules is found out again.
pub(crate) fn rules() -> &'static [u8] {
    static RULES: OnceLock<[u8; 32]> = OnceLock::new();
    let sources = [
        env!("CARGO_PKG_VERSION"),
        difference::WIT,
        wasi::WIT,
        include_str!("admit/inspect.rs"),
        include_str!("admit/measures.rs"),
        include_str!("admit/scan.rs"),
        include_str!("admit/scan/made.rs"),
        include_str!("admit/scan/types.rs"),
        include_str!("difference.rs"),
        include_str!("sections.rs"),
    ];
    RULES.get_or_init(|| {
        let mut hasher = Sha256::new();
        sources.iter().for_each(|source| hasher.update(Sha256::digest(source)));
        hasher.finalize().into()
    })
}

/// Reads a file of which the length may be a lie, or unknown.
fn read(file: &Path, max: usize) -> io::Result<Result<Vec<u8>, AdmissionError>> {
    let file = File::open(file)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length > max {
        return Ok(Err(AdmissionError::TooLarge { bytes: length, max }));
    }
    let mut bytes = Vec::with_capacity(length);
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
        index.ok_or_else(|| not_linked(&format!("the export `{name}` cannot be found")))
    };
    Ok(ExportIndices {
        describe: find("describe")?,
        load: find("[static]document.load")?,
        apply: find("[method]document.apply")?,
        state: find("[method]document.state")?,
        upgrade: find("upgrade")?,
    })
}

fn not_linked(problem: &str) -> AdmissionError {
    AdmissionError::NotLinked(printable(problem, PROBLEM_BYTES_MAX))
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
