//! What a compile worker does, in its own process.

use std::io::{self, Read as _};
use std::path::Path;

use rustix::process::{Resource, Rlimit, Signal};
use wasmtime::Engine;

use super::child::WORKER;
use super::protocol::{Response, Task, send_other_build, send_ready};
use super::worker::{CompileWorker, TEXT_BYTES_MAX};
use super::{Fingerprint, wire};
use crate::admit::{Maxima, Refusal, inspect};
use crate::sandbox::code_config;
use crate::text::printable;

/// Lets the program compile components in child processes of itself.
///
/// Call it first thing in `main`, before threads, files or output: in a process that was
/// started as a compile worker it does the work and never returns. In any other it returns
/// the worker to give to [`SandboxBuilder::compile_worker`](crate::SandboxBuilder::compile_worker).
///
/// ```no_run
/// use reductor_sandbox::{Sandbox, compile_worker_main};
///
/// let worker = compile_worker_main();
/// let sandbox = Sandbox::builder().compile_worker(worker).build()?;
/// # Ok::<(), reductor_sandbox::SandboxError>(())
/// ```
pub fn compile_worker_main() -> CompileWorker {
    if std::env::var_os(WORKER).is_some() {
        let code = match work() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{error}");
                1
            }
        };
        std::process::exit(code);
    }
    CompileWorker::program(this_program())
}

/// The file this process runs, also if another one has its name by now.
fn this_program() -> std::path::PathBuf {
    let running = Path::new("/proc/self/exe");
    if running.exists() {
        return running.to_owned();
    }
    std::env::current_exe().unwrap_or_else(|_| running.to_owned())
}

fn work() -> io::Result<()> {
    leave_nothing_behind()?;
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let task = Task::receive(&mut stdin)?;
    // Threads first: they take address space for stacks, and fail in their own words for want of it.
    let threads = usize::try_from(task.threads).unwrap_or(1).max(1);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(io::Error::other)?;
    let engine = Engine::new(&code_config()).map_err(|error| io::Error::other(format!("{error:#}")))?;
    if Fingerprint::of(&engine) != task.fingerprint {
        return send_other_build(&mut stdout);
    }
    limit(Resource::As, task.memory_bytes_max)?;
    limit(Resource::Cpu, task.cpu_seconds_max)?;
    send_ready(&mut stdout)?;
    let mut component = Vec::new();
    let is_room = usize::try_from(task.component_bytes).is_ok_and(|bytes| component.try_reserve_exact(bytes).is_ok());
    if !is_room {
        return Response::OutOfMemory.send(&mut stdout);
    }
    stdin.take(task.component_bytes).read_to_end(&mut component)?;
    if component.len() as u64 != task.component_bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match make(&engine, &component, &task.maxima) {
        Ok((facts, artefact)) => Response::Made { facts: &facts, artefact: &artefact }.send(&mut stdout),
        Err(Unmade::OutOfMemory) => Response::OutOfMemory.send(&mut stdout),
        Err(Unmade::Refused(refusal)) => Response::Refused(&wire::refusal(&refusal)).send(&mut stdout),
    }
}

/// Why nothing was made of a component.
enum Unmade {
    Refused(Refusal),
    OutOfMemory,
}

impl From<Refusal> for Unmade {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The facts of a component, as they are sent, and its machine code.
fn make(engine: &Engine, component: &[u8], maxima: &Maxima) -> Result<(Vec<u8>, Vec<u8>), Unmade> {
    let (to_compile, facts) = inspect(engine, component, maxima)?;
    let artefact = engine.precompile_component(&to_compile).map_err(|error| {
        if is_out_of_memory(&error) {
            return Unmade::OutOfMemory;
        }
        Unmade::Refused(Refusal::NotCompiled(printable(&format!("{error:#}"), TEXT_BYTES_MAX)))
    })?;
    super::check_length(artefact.len() as u64)?;
    Ok((wire::facts(&facts), artefact))
}

fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    error.is::<wasmtime::error::OutOfMemory>()
        || error.chain().any(|cause| {
            cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::OutOfMemory)
                || cause.downcast_ref::<rustix::io::Errno>() == Some(&rustix::io::Errno::NOMEM)
        })
}

/// Dies with the parent, dumps no core, and has no file that the parent forgot to keep to itself.
fn leave_nothing_behind() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    limit(Resource::Core, 0)?;
    close_inherited()
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    // Nobody may ask for more than there is now.
    let max = rustix::process::getrlimit(resource).maximum.map_or(value, |max| max.min(value));
    rustix::process::setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) })?;
    Ok(())
}

#[expect(unsafe_code, reason = "only the process itself can close what it inherited, by number")]
fn close_inherited() -> io::Result<()> {
    let Ok(listing) = std::fs::read_dir("/proc/self/fd") else { return Ok(()) };
    let open: Vec<_> = listing.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // SAFETY: this runs first thing in `main`, before anything here owns a descriptor but
        // the three standard ones. The one of the listing itself is closed by now; closing it
        // again fails and does nothing, since there is no other thread that could have opened
        // a file under its number.
        unsafe { rustix::io::close(descriptor) };
    }
    Ok(())
}
