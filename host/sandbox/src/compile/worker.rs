//! Has components compiled by a child process, which may run out of time or memory, or crash, alone.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::artefact::Artefact;
use super::child::{Child, Ending};
use super::protocol::{Heard, Listener, Task};
use super::turns::Turns;
use super::{CompileError, Failure, Fingerprint, ending, wire};
use crate::admit::{Facts, Maxima};
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
/// The process validates, measures and compiles: the host parses no more of a component than its
/// first bytes. It has an empty environment, no open files but its three pipes, bounded time and
/// memory, and dies with the thread that waits for it. One works at a time, since each may
/// use as much as the limits say; clones share the turn, and those that wait for it are served in
/// order.
#[derive(Clone, Debug)]
pub struct CompileWorker {
    program: PathBuf,
    arguments: Vec<OsString>,
    limits: CompileLimits,
    turns: Arc<Turns>,
}

impl CompileWorker {
    /// A program that calls [`compile_worker_main`](super::compile_worker_main), built from
    /// the same sources as this one: a worker whose compiler differs is refused.
    pub fn program(program: impl AsRef<Path>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            limits: CompileLimits::default(),
            turns: Arc::new(Turns::new(1)),
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

    /// Has a component checked and compiled. The child is gone when this returns.
    pub(super) fn make(
        &self,
        settings: &Fingerprint,
        maxima: &Maxima,
        component: &[u8],
        wait_max: Duration,
    ) -> Result<(Facts, Vec<u8>, Artefact), Failure> {
        let _turn = self.turns.take(wait_max).map_err(|_| Failure::Busy { wait_max })?;
        let deadline = Instant::now() + self.limits.time_max;
        let started = Child::start(&self.program, &self.arguments);
        let child = started.map_err(|error| self.unusable(format!("it cannot be started: {error}"), ""))?;
        let mut listener = Listener::new();
        let ended =
            child.converse(&self.task(settings, maxima, component.len()).head(), component, &mut listener, deadline);
        let Ending { said, status } = ended.map_err(|error| self.misunderstood(&error, ""))?;
        let said = printable(said.trim(), TEXT_BYTES_MAX);
        let is_ready = listener.is_ready();
        let Some(status) = status else {
            return Err(if is_ready {
                CompileError::TimedOut { limit: self.limits.time_max }.into()
            } else {
                let seconds = self.limits.time_max.as_secs_f64();
                self.unusable(format!("it was not ready within {seconds} s"), &said).into()
            });
        };
        match listener.end() {
            Ok(Heard::Made { facts, artefact }) => {
                let known = wire::read_facts(&facts, component.len());
                Ok((known.map_err(|error| self.misunderstood(&error, &said))?, facts, artefact))
            }
            Ok(Heard::Refused(refusal)) => {
                let refusal = wire::read_refusal(&refusal);
                Err(Failure::Refused(refusal.map_err(|error| self.misunderstood(&error, &said))?))
            }
            Ok(Heard::OutOfMemory) => Err(self.out_of_memory().into()),
            Ok(Heard::OtherBuild) => {
                Err(self.unusable("its compiler is not the one of this program".to_owned(), &said).into())
            }
            // It died before it had read a byte of the component.
            Ok(Heard::Nothing | Heard::Ready) | Err(_) if !is_ready && !status.success() => {
                let problem = format!("it ended before it turned to the component: {}", ending(&status));
                Err(self.unusable(problem, &said).into())
            }
            // It died at work on the component.
            Ok(Heard::Nothing | Heard::Ready) | Err(_) if !status.success() => Err(self.died(status, said).into()),
            Ok(Heard::Nothing | Heard::Ready) => {
                Err(self.unusable("it answered nothing; is it a compile worker?".to_owned(), &said).into())
            }
            Err(error) => Err(self.misunderstood(&error, &said).into()),
        }
    }

    fn misunderstood(&self, error: &std::io::Error, said: &str) -> CompileError {
        self.unusable(format!("its answer is not to be understood: {error}"), said)
    }

    fn task(&self, fingerprint: &Fingerprint, maxima: &Maxima, component_bytes: usize) -> Task {
        let limits = &self.limits;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = limits.threads_max.clamp(1, cores) as u64;
        Task {
            fingerprint: *fingerprint,
            maxima: maxima.clone(),
            memory_bytes_max: limits.memory_bytes_max,
            // For a worker whose parent does not look after it any more.
            cpu_seconds_max: limits.time_max.as_secs().saturating_add(1).saturating_mul(threads),
            threads,
            component_bytes: component_bytes as u64,
        }
    }

    fn died(&self, status: ExitStatus, said: String) -> CompileError {
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
