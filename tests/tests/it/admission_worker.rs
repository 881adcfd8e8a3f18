//! Compilation in a child process: whatever becomes of it, the host knows and is unharmed.

use std::fs::File;
use std::path::Path;
use std::process::Command;
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
    let time_max = Duration::from_secs(1);
    let worker = CompileWorker::program(WORKER).limits(CompileLimits { time_max, ..limits() });
    let (error, blame) = failed_on(&slow, worker.clone())?;
    assert!(matches!(error, CompileError::TimedOut { limit } if limit == time_max), "{error}");
    assert_eq!((blame, error.to_string()), (Blame::Component, "the component was not compiled within 1 s".to_owned()));
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
fn a_worker_that_dies_of_a_component_says_how_and_the_component_is_blamed() -> Result<()> {
    for (how, words) in [("ready-abort", "signal 6"), ("ready-exit", "exit code 7"), ("ready-cut", "exit code 7")] {
        let (error, blame) = failed(misbehaving(how))?;
        assert!(matches!(error, CompileError::Died { .. }) && error.to_string().contains(words), "{how}: {error}");
        assert_eq!(blame, Blame::Component, "{how}");
    }
    Ok(())
}

#[test]
fn a_worker_that_dies_before_it_reads_the_component_is_the_hosts_fault() -> Result<()> {
    let false_program = CompileWorker::program("/bin/false");
    for (worker, words) in
        [(misbehaving("abort"), "signal 6"), (misbehaving("exit"), "exit code 7"), (false_program, "exit code 1")]
    {
        let (error, blame) = failed(worker)?;
        let message = error.to_string();
        assert!(matches!(error, CompileError::Worker { .. }) && message.contains(words), "no `{words}` in: {message}");
        assert_eq!(blame, Blame::Host, "{message}");
    }
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
        (misbehaving("not-ready"), "answers before it is ready"),
        (misbehaving("wrong-checksum"), "its checksum is wrong"),
        (misbehaving("cut"), "not as long as it says"),
        (misbehaving("too-long"), "not as long as it says"),
        (misbehaving("endless-facts"), "longer than an answer may be"),
        (misbehaving("endless-length"), "longer than an answer may be"),
        (misbehaving("unknown-kind"), "of an unknown kind"),
        (misbehaving("no-facts"), "ends early"),
        (misbehaving("no-reason"), "ends early"),
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
    let impatient = |how, time_max| misbehaving(how).limits(CompileLimits { time_max, ..limits() });
    // Long enough for it to say that it is ready.
    let (error, blame) = failed(impatient("ready-hang", Duration::from_secs(1)))?;
    assert!(matches!(error, CompileError::TimedOut { .. }), "{error}");
    assert_eq!(blame, Blame::Component);
    let time_max = Duration::from_millis(100);
    for how in ["hang", "hang-with-a-child"] {
        let (error, blame) = failed(impatient(how, time_max))?;
        assert!(error.to_string().contains("was not ready within 0.1 s"), "{how}: {error}");
        assert_eq!(blame, Blame::Host, "{how}");
    }
    // Its output stays open, so it is waited for; but it had ended by itself.
    let (error, _) = failed(impatient("leave-a-child", time_max))?;
    assert!(error.to_string().contains("answered nothing"), "{error}");
    Ok(())
}

#[test]
fn a_component_whose_turn_does_not_come_is_told_so_in_time() -> Result<()> {
    let pipe = Path::new(env!("CARGO_TARGET_TMPDIR")).join("until-told");
    // An earlier run may have left it.
    let _ = std::fs::remove_file(&pipe);
    anyhow::ensure!(Command::new("mkfifo").arg(&pipe).status()?.success(), "no pipe could be made");
    let worker = misbehaving("until-told").argument(&pipe);
    let sandbox = || small_sandbox().compile_worker(worker.clone()).admission_wait_max(Duration::ZERO).build();
    let (first, second) = (sandbox()?, sandbox()?);
    std::thread::scope(|scope| -> Result<()> {
        let at_work = scope.spawn(|| first.admit(&component(COUNTER)).is_err());
        // The pipe opens once the worker reads from it, in its turn.
        let told = File::options().write(true).open(&pipe)?;
        let error = second.admit(&component(COUNTER)).err().context("it was let in")?;
        assert!(matches!(error, AdmissionError::Busy { .. }), "{error}");
        assert_eq!(error.blame(), Blame::Host);
        assert!(error.to_string().contains("try again later"), "{error}");
        drop(told);
        anyhow::ensure!(at_work.join().is_ok_and(|failed| failed), "the worker makes nothing");
        Ok(())
    })?;
    std::fs::remove_file(&pipe)?;
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
