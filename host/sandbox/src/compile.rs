//! Checks a component and turns it into machine code: out of the cache, in a child process, or here.

mod artefact;
mod cache;
mod child;
mod main;
mod protocol;
mod turns;
mod wire;
mod worker;

use std::hash::{Hash as _, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use self::artefact::{ARTEFACT_BYTES_MAX, Artefact};
pub use self::cache::{ArtefactCache, CacheError};
pub use self::main::compile_worker_main;
pub(crate) use self::turns::{Turn, Turns};
use self::worker::TEXT_BYTES_MAX;
pub use self::worker::{CompileLimits, CompileWorker};
use crate::admit::{self, Facts, Maxima, Refusal, inspect};
use crate::sandbox::code_config;
use crate::text::printable;

/// Why there is no machine code of a component.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler does not take it.
    #[error("the component could not be compiled: {0}")]
    Refused(String),
    /// It takes too long.
    #[error("the component was not compiled within {} s", .limit.as_secs_f64())]
    TimedOut {
        /// How long it may take.
        limit: Duration,
    },
    /// It takes too much memory.
    #[error("the component was not compiled within {bytes_max} bytes of memory")]
    OutOfMemory {
        /// How much it may take.
        bytes_max: u64,
    },
    /// The worker process crashed on it.
    #[error("the component crashed the compile worker: {}{}", ending(.status), quoted(.said))]
    Died {
        /// How its process ended.
        status: ExitStatus,
        /// What it wrote to standard error, fit to be shown.
        said: String,
    },
    /// Without a worker process: a check or the compiler panicked on it.
    #[error("checking the component panicked{}", quoted(.said))]
    Panicked {
        /// The panic's message, fit to be shown.
        said: String,
    },
    /// An instance of it would be larger than one may be.
    #[error("the component does not fit into an instance: {0}")]
    TooLarge(String),
    /// The worker process is not what it should be; it is not the component's fault.
    #[error("the compile worker `{program}` cannot be used: {problem}{}", quoted(.said))]
    Worker {
        /// What was started.
        program: String,
        /// What is wrong with it.
        problem: String,
        /// What it wrote to standard error, fit to be shown.
        said: String,
    },
}

fn ending(status: &ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, code) => format!("exit code {}", code.unwrap_or_default()),
    }
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" (it said: {said})") }
}

/// Where the machine code of a plugin came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeOrigin {
    /// It had been compiled before, and was in the cache.
    Cache,
    /// It was compiled in a child process.
    Worker,
    /// It was compiled in this process.
    InProcess,
}

impl CodeOrigin {
    /// Its name for programs: `cache`, `worker` or `in-process`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Worker => "worker",
            Self::InProcess => "in-process",
        }
    }
}

/// Why nothing was made of a component.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is refused.
    Refused(Refusal),
    /// It could not be compiled.
    NotCompiled(CompileError),
    /// Others are being compiled, and it was not its turn in time.
    Busy {
        /// How long a turn was waited for.
        wait_max: Duration,
    },
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<CompileError> for Failure {
    fn from(error: CompileError) -> Self {
        Self::NotCompiled(error)
    }
}

/// Machine code, ready to be instantiated, and what is known of the component.
pub(crate) struct Made {
    pub(crate) component: Component,
    pub(crate) facts: Facts,
    pub(crate) origin: CodeOrigin,
    /// How long it took to get it.
    pub(crate) took: Duration,
}

/// How components are checked and compiled.
#[derive(Debug, Default)]
pub(crate) struct Compiler {
    pub(crate) worker: Option<CompileWorker>,
    pub(crate) cache: Option<ArtefactCache>,
}

impl Compiler {
    /// Checks and compiles a component, or finds what was made of it before.
    pub(crate) fn make(
        &self,
        engine: &Engine,
        maxima: &Maxima,
        bytes: &[u8],
        digest: &[u8; 32],
        wait_max: Duration,
    ) -> Result<Made, Failure> {
        let began = Instant::now();
        let settings = Fingerprint::of(engine);
        let key = settings.key(digest, maxima);
        if let Some((component, facts)) = self.cached(engine, &key, bytes.len()) {
            return Ok(Made { component, facts, origin: CodeOrigin::Cache, took: began.elapsed() });
        }
        let (component, facts, origin) = match &self.worker {
            Some(worker) => {
                let (facts, written, artefact) = worker.make(&settings, maxima, bytes, wait_max)?;
                let component = artefact.load(engine).map_err(|error| not_loaded(worker, &artefact, &error))?;
                if let Some(cache) = &self.cache {
                    cache.put(&key, &written, &artefact);
                }
                (component, facts, CodeOrigin::Worker)
            }
            None => {
                let (component, facts) = make_here(engine, maxima, bytes)?;
                self.keep(&key, &component, &facts);
                (component, facts, CodeOrigin::InProcess)
            }
        };
        Ok(Made { component, facts, origin, took: began.elapsed() })
    }

    fn cached(&self, engine: &Engine, key: &CacheKey, component_bytes: usize) -> Option<(Component, Facts)> {
        let (facts, artefact) = self.cache.as_ref()?.get(key)?;
        let facts = wire::read_facts(&facts, component_bytes)
            .inspect_err(|error| tracing::warn!("what the cache knows of a component is not used: {error}"))
            .ok()?;
        let component = artefact
            .load(engine)
            .inspect_err(|error| tracing::warn!("a compiled artefact of the cache cannot be loaded: {error:#}"))
            .ok()?;
        Some((component, facts))
    }

    fn keep(&self, key: &CacheKey, component: &Component, facts: &Facts) {
        let Some(cache) = &self.cache else { return };
        let artefact = || -> wasmtime::Result<_> {
            let mut artefact = Artefact::new()?;
            artefact.push(&component.serialize()?)?;
            Ok(artefact)
        };
        match artefact() {
            Ok(artefact) => cache.put(key, &wire::facts(facts), &artefact),
            Err(error) => tracing::warn!("a compiled artefact cannot be cached: {error:#}"),
        }
    }
}

/// Checks and compiles in this process, where nothing bounds time and memory. A panic is the
/// component's doing; a stack that overflows, or memory that ends, ends the process.
fn make_here(engine: &Engine, maxima: &Maxima, bytes: &[u8]) -> Result<(Component, Facts), Failure> {
    let make = || {
        let (to_compile, facts) = inspect(engine, bytes, maxima)?;
        let component = Component::from_binary(engine, &to_compile).map_err(refused)?;
        Ok((component, facts))
    };
    catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(CompileError::Panicked { said: printable(said, admit::PROBLEM_BYTES_MAX) }.into())
    })
}

fn refused(error: wasmtime::Error) -> Refusal {
    Refusal::NotCompiled(printable(&format!("{error:#}"), TEXT_BYTES_MAX))
}

/// Refuses a component that has too much machine code.
fn check_length(bytes: u64) -> Result<(), Refusal> {
    if bytes <= ARTEFACT_BYTES_MAX {
        return Ok(());
    }
    Err(Refusal::NotCompiled(format!("it has {bytes} bytes of machine code; {ARTEFACT_BYTES_MAX} are allowed")))
}

/// Why code cannot be loaded that the worker has made.
///
/// Both engines agree on the code. If one that takes instances of any size can load it, then the
/// pool of this host is what refuses it, and the component is too large for any host's pool.
fn not_loaded(worker: &CompileWorker, artefact: &Artefact, error: &wasmtime::Error) -> CompileError {
    let problem = printable(&format!("{error:#}"), admit::PROBLEM_BYTES_MAX);
    let unpooled = Engine::new(&code_config()).and_then(|engine| artefact.load(&engine));
    if unpooled.is_ok() {
        return CompileError::TooLarge(problem);
    }
    worker.unusable(format!("what it made cannot be loaded: {problem}"), "")
}

/// Everything about an engine that decides what code it makes, its version included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) [u8; 32]);

impl Fingerprint {
    pub(crate) fn of(engine: &Engine) -> Self {
        let mut hasher = WideHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self(hasher.0.finalize().into())
    }

    fn key(&self, digest: &[u8; 32], maxima: &Maxima) -> CacheKey {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(digest);
        hasher.update(wire::maxima(maxima));
        hasher.update(admit::rules());
        CacheKey(hasher.finalize().into())
    }
}

/// Names an artefact: one component, checked by one set of rules, compiled with one set of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheKey(pub(crate) [u8; 32]);

/// Takes a hash of 256 bits where the standard library's would have 64, and which therefore
/// cannot be made to collide.
struct WideHasher(Sha256);

impl Hasher for WideHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the digest is taken whole")
    }
}
