//! Has components compiled by a child process, which may run out of time or memory, or crash, alone.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::child::{Child, Ending};
use super::protocol::{Response, Task};
use super::{CompileError, Fingerprint};
use crate::text::printable;

/// Bytes of what a compiler says that are kept.
pub(super) const TEXT_BYTES_MAX: usize = 2 << 10;
/// What Rust's standard library says before it aborts for want of memory.
const NO_MEMORY: &str = "memory allocation of ";

/// What one compilation in a worker may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// How long it may take.
    pub time_max: Duration,
    /// Bytes of address space of the worker.
    pub memory_bytes_max: u64,
    /// Threads that compile; never more than the machine has cores.
    pub threads_max: usize,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { time_max: Duration::from_secs(60), memory_bytes_max: 2 << 30, threads_max: 4 }
    }
}

/// A program that compiles components in a process of its own: one that calls
/// [`compile_worker_main`](super::compile_worker_main) first thing in its `main`.
///
/// The process has an empty environment, no open files but its three pipes, bounded time and
/// memory, and dies with the thread that waits for it. One works at a time, since each may
/// use as much as the limits say; clones share the turn.
#[derive(Clone, Debug)]
pub struct CompileWorker {
    program: PathBuf,
    arguments: Vec<OsString>,
    limits: CompileLimits,
    turn: Arc<Mutex<()>>,
}

impl CompileWorker {
    /// A program that calls [`compile_worker_main`](super::compile_worker_main), built from
    /// the same sources as this one: a worker whose compiler differs is refused.
    pub fn program(program: impl AsRef<Path>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            limits: CompileLimits::default(),
            turn: Arc::default(),
        }
    }

    /// Adds an argument for the program.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Sets what a compilation may use.
    #[must_use]
    pub fn limits(mut self, limits: CompileLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Compiles a component, or says why not. The child is gone when this returns.
    pub(super) fn compile(&self, settings: &Fingerprint, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + self.limits.time_max;
        let unusable = |error: std::io::Error| self.unusable(format!("it cannot be started: {error}"), "");
        let child = Child::start(&self.program, &self.arguments).map_err(unusable)?;
        let Ending { answer, said, status } = child
            .converse(&self.task(settings, component.len()).head(), component, deadline)
            .map_err(|error| self.unusable(format!("it cannot be talked to: {error}"), ""))?;
        let said = printable(said.trim(), TEXT_BYTES_MAX);
        let Some(status) = status else {
            return Err(CompileError::TimedOut { limit: self.limits.time_max });
        };
        match Response::receive(&mut &*answer) {
            Ok(Some(Response::Artefact(artefact))) => Ok(artefact),
            Ok(Some(Response::Refused(problem))) => Err(CompileError::Refused(printable(&problem, TEXT_BYTES_MAX))),
            Ok(Some(Response::OutOfMemory)) => Err(self.out_of_memory()),
            Ok(Some(Response::OtherBuild)) => {
                Err(self.unusable("its compiler is not the one of this program".to_owned(), &said))
            }
            // It wrote nothing, or died while it wrote.
            Ok(None) | Err(_) if !status.success() => Err(self.died(status, said)),
            Ok(None) => Err(self.unusable("it answered nothing; is it a compile worker?".to_owned(), &said)),
            Err(error) => Err(self.unusable(format!("its answer is not to be understood: {error}"), &said)),
        }
    }

    fn task(&self, fingerprint: &Fingerprint, component_bytes: usize) -> Task {
        let limits = &self.limits;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = limits.threads_max.clamp(1, cores) as u64;
        Task {
            fingerprint: *fingerprint,
            memory_bytes_max: limits.memory_bytes_max,
            // For a worker whose parent does not look after it any more.
            cpu_seconds_max: limits.time_max.as_secs().saturating_add(1).saturating_mul(threads),
            threads,
            component_bytes: component_bytes as u64,
        }
    }

    fn died(&self, status: ExitStatus, said: String) -> CompileError {
        use std::os::unix::process::ExitStatusExt as _;
        match status.signal().and_then(Signal::from_named_raw) {
            Some(Signal::ABORT) if said.starts_with(NO_MEMORY) => self.out_of_memory(),
            Some(Signal::XCPU) => CompileError::TimedOut { limit: self.limits.time_max },
            _ => CompileError::Died { status, said },
        }
    }

    fn out_of_memory(&self) -> CompileError {
        CompileError::OutOfMemory { bytes_max: self.limits.memory_bytes_max }
    }

    pub(super) fn unusable(&self, problem: String, said: &str) -> CompileError {
        CompileError::Worker { program: self.program.display().to_string(), problem, said: said.to_owned() }
    }
}
