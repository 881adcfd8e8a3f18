//! Compilation in a child process: whatever becomes of it, the host knows and is unharmed.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reductor_core::Reducer as _;
use reductor_sandbox::{AdmissionError, Blame, CodeOrigin, CompileError, CompileLimits, CompileWorker, Sandbox};

use crate::shapes;
use crate::support::{COUNTER, component, sandbox, small_sandbox};

const WORKER: &str = env!("CARGO_BIN_EXE_compile-worker");

fn limits() -> CompileLimits {
    CompileLimits { threads_max: 1, ..CompileLimits::default() }
}

fn sandbox_with(worker: CompileWorker) -> Result<Sandbox> {
    Ok(small_sandbox().compile_worker(worker).build()?)
}

/// Has the counter compiled by a worker that fails.
fn failed(worker: CompileWorker) -> Result<(CompileError, Blame)> {
    failed_on(&component(COUNTER), worker)
}

fn failed_on(bytes: &[u8], worker: CompileWorker) -> Result<(CompileError, Blame)> {
    let error = sandbox_with(worker)?.admit(bytes).err().context("it was let in")?;
    let blame = error.blame();
    match error {
        AdmissionError::NotCompiled(error) => Ok((error, blame)),
        other => anyhow::bail!("it was refused for another reason: {other}"),
    }
}

fn misbehaving(how: &str) -> CompileWorker {
    CompileWorker::program(WORKER).argument(how).limits(limits())
}

#[test]
fn a_component_compiled_by_a_child_process_is_the_same_plugin() -> Result<()> {
    let here = sandbox().admit(&component(COUNTER))?;
    let there = sandbox_with(CompileWorker::program(WORKER))?.admit(&component(COUNTER))?;
    assert_eq!(there.code_origin(), CodeOrigin::Worker);
    assert_eq!((here.plugin(), here.manifest()), (there.plugin(), there.manifest()));
    Ok(())
}

#[test]
fn a_compilation_that_takes_too_long_is_ended() -> Result<()> {
    let slow = shapes::counter_with(&shapes::module(15, 0, &shapes::loops(5_000)))?;
    let time_max = Duration::from_millis(300);
    let worker = CompileWorker::program(WORKER).limits(CompileLimits { time_max, ..limits() });
    let (error, blame) = failed_on(&slow, worker.clone())?;
    assert!(matches!(error, CompileError::TimedOut { limit } if limit == time_max), "{error}");
    assert_eq!(
        (blame, error.to_string()),
        (Blame::Component, "the component was not compiled within 0.3 s".to_owned())
    );
    Ok(())
}

#[test]
fn a_compilation_that_takes_too_much_memory_is_ended() -> Result<()> {
    let large = shapes::counter_with(&shapes::module(4, 0, &shapes::loops(5_000)))?;
    // Enough for the program itself and for a small component.
    let memory_bytes_max = 160 << 20;
    let worker = CompileWorker::program(WORKER).limits(CompileLimits { memory_bytes_max, ..limits() });
    assert_eq!(sandbox_with(worker.clone())?.admit(&component(COUNTER))?.code_origin(), CodeOrigin::Worker);
    let (error, blame) = failed_on(&large, worker)?;
    assert!(matches!(error, CompileError::OutOfMemory { bytes_max } if bytes_max == memory_bytes_max), "{error}");
    assert_eq!(blame, Blame::Component);
    Ok(())
}

#[test]
fn a_compiler_that_dies_says_how_and_the_component_is_not_blamed() -> Result<()> {
    let cases = [("abort", "signal 6"), ("exit", "exit code 7")];
    for (how, words) in cases {
        let (error, blame) = failed(misbehaving(how))?;
        assert!(matches!(error, CompileError::Died { .. }) && error.to_string().contains(words), "{how}: {error}");
        assert_eq!(blame, Blame::Host, "{how}");
    }
    let (error, _) = failed(CompileWorker::program("/bin/false"))?;
    assert!(matches!(error, CompileError::Died { .. }), "{error}");
    Ok(())
}

#[test]
fn what_a_dying_compiler_says_is_kept_short_and_harmless() -> Result<()> {
    let (error, _) = failed(misbehaving("flood"))?;
    let message = error.to_string();
    assert!(message.contains("exit code 3") && message.contains("\\u{1b}[31m\\u{7}oh no"), "{message}");
    assert!(message.len() < 3_000 && !message.contains(['\u{1b}', '\u{7}', '\n']), "{} bytes", message.len());
    Ok(())
}

#[test]
fn a_program_that_is_no_worker_is_named() -> Result<()> {
    let cases = [
        (CompileWorker::program("/no/such/worker"), "cannot be started"),
        (CompileWorker::program("/"), "cannot be started"),
        (CompileWorker::program("/bin/true"), "answered nothing"),
        (CompileWorker::program("/bin/cat"), "does not begin like an answer"),
        (misbehaving("silent"), "answered nothing"),
        (misbehaving("chatty"), "does not begin like an answer"),
        (misbehaving("wrong-checksum"), "its checksum is wrong"),
        (misbehaving("cut"), "not as long as it says"),
        (misbehaving("too-long"), "not as long as it says"),
        (misbehaving("endless-length"), "not as long as it says"),
        (misbehaving("unknown-kind"), "of an unknown kind"),
        (misbehaving("no-artefact"), "cannot be loaded"),
    ];
    for (worker, words) in cases {
        let (error, blame) = failed(worker)?;
        let message = error.to_string();
        assert!(matches!(error, CompileError::Worker { .. }) && message.contains(words), "no `{words}` in: {message}");
        assert_eq!(blame, Blame::Host, "{message}");
    }
    Ok(())
}

#[test]
fn a_worker_that_hangs_is_killed_with_all_it_started() -> Result<()> {
    let time_max = Duration::from_millis(100);
    for how in ["hang", "hang-with-a-child"] {
        let (error, _) = failed(misbehaving(how).limits(CompileLimits { time_max, ..limits() }))?;
        assert!(matches!(error, CompileError::TimedOut { .. }), "{how}: {error}");
    }
    // Its output stays open, so it is waited for; but it had ended by itself.
    let (error, _) = failed(misbehaving("leave-a-child").limits(CompileLimits { time_max, ..limits() }))?;
    assert!(error.to_string().contains("answered nothing"), "{error}");
    Ok(())
}

#[test]
fn a_worker_sees_nothing_of_the_environment() -> Result<()> {
    let (error, _) = failed(misbehaving("environment"))?;
    let message = error.to_string();
    assert!(message.ends_with("exit code 4 (it said: REDUCTOR_COMPILE_WORKER=1)"), "{message}");
    Ok(())
}

#[test]
fn clones_of_a_worker_compile_one_after_the_other_from_many_threads() -> Result<()> {
    let sandbox = sandbox_with(CompileWorker::program(WORKER))?;
    std::thread::scope(|scope| {
        let admit = || sandbox.admit(&component(COUNTER)).map(|plugin| plugin.code_origin());
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(admit)).collect();
        for thread in threads {
            assert_eq!(thread.join().expect("it does not panic")?, CodeOrigin::Worker);
        }
        Ok(())
    })
}
