//! Turns a component into machine code: out of the cache, in a child process, or here.

mod cache;
mod child;
mod main;
mod protocol;
mod worker;

use std::hash::{Hash as _, Hasher};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

pub use self::cache::{ArtefactCache, CacheError};
pub use self::main::compile_worker_main;
pub use self::worker::{CompileLimits, CompileWorker};

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
    /// The compiler crashed on it.
    #[error("the compiler died on the component: {}{}", ending(.status), quoted(.said))]
    Died {
        /// How its process ended.
        status: ExitStatus,
        /// What it wrote to standard error, fit to be shown.
        said: String,
    },
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

/// Machine code, ready to be instantiated.
pub(crate) struct Compiled {
    pub(crate) component: Component,
    pub(crate) origin: CodeOrigin,
    /// How long it took to get it.
    pub(crate) took: Duration,
}

/// How components are compiled.
#[derive(Debug, Default)]
pub(crate) struct Compiler {
    pub(crate) worker: Option<CompileWorker>,
    pub(crate) cache: Option<ArtefactCache>,
}

impl Compiler {
    /// Compiles a component that was validated before, or finds what it was compiled to.
    pub(crate) fn compile(&self, engine: &Engine, bytes: &[u8], digest: &[u8; 32]) -> Result<Compiled, CompileError> {
        let began = Instant::now();
        let settings = Fingerprint::of(engine);
        let key = settings.key(digest);
        if let Some(component) = self.cached(engine, &key) {
            return Ok(Compiled { component, origin: CodeOrigin::Cache, took: began.elapsed() });
        }
        let (component, origin) = match &self.worker {
            Some(worker) => {
                let artefact = worker.compile(&settings, bytes)?;
                let component = load(engine, &artefact).map_err(|error| {
                    // Its fingerprint said that both engines agree.
                    worker.unusable(format!("what it made cannot be loaded: {error:#}"), "")
                })?;
                self.keep(&key, || Ok(artefact));
                (component, CodeOrigin::Worker)
            }
            None => {
                let component = Component::from_binary(engine, bytes).map_err(refused)?;
                self.keep(&key, || component.serialize());
                (component, CodeOrigin::InProcess)
            }
        };
        Ok(Compiled { component, origin, took: began.elapsed() })
    }

    fn cached(&self, engine: &Engine, key: &CacheKey) -> Option<Component> {
        let cache = self.cache.as_ref()?;
        let artefact = cache.get(key)?;
        load(engine, &artefact)
            .inspect_err(|error| tracing::warn!("a compiled artefact of the cache cannot be loaded: {error:#}"))
            .ok()
    }

    fn keep(&self, key: &CacheKey, artefact: impl FnOnce() -> wasmtime::Result<Vec<u8>>) {
        let Some(cache) = &self.cache else { return };
        match artefact() {
            Ok(artefact) => cache.put(key, &artefact),
            Err(error) => tracing::warn!("a compiled artefact cannot be cached: {error:#}"),
        }
    }
}

fn refused(error: wasmtime::Error) -> CompileError {
    CompileError::Refused(crate::text::printable(&format!("{error:#}"), worker::TEXT_BYTES_MAX))
}

/// Maps machine code that this host has compiled.
#[expect(unsafe_code, reason = "wasmtime loads compiled code only on the promise that it was compiled by wasmtime")]
fn load(engine: &Engine, artefact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes come from `Engine::precompile_component` of this very version of
    // wasmtime with these very settings. They are either the answer of a compile worker, which
    // is a program of the embedder's own that proved to have the same fingerprint, or from a
    // file that only this user can write, under a key that names component and settings, with a
    // digest that was verified over the bytes in memory. There is no other way in: no function
    // takes an artefact from outside. The worker has read a hostile component, and a component
    // that took it over could answer with anything; that takes a memory-safety bug in Cranelift
    // or wasmparser, which are safe Rust, and is the same trust that compiling here would need.
    unsafe { Component::deserialize(engine, artefact) }
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

    fn key(&self, digest: &[u8; 32]) -> CacheKey {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(digest);
        CacheKey(hasher.finalize().into())
    }
}

/// Names an artefact: one component, compiled with one set of settings.
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
