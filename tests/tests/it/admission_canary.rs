//! What a component must do right before any document depends on it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reductor_build::componentize;
use reductor_core::Reducer as _;
use reductor_sandbox::{AdmissionError, Blame, CompileWorker, GuestLimits, Sandbox};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::support::small_sandbox;

const WIT: &str = include_str!("../../../wit/reducer.wit");

/// What a guest by hand does in its functions, as WebAssembly text.
struct Bodies {
    describe: &'static str,
    /// `$snapshots` is how many states there are.
    load: &'static str,
    /// Leaves an address and a length; `$loaded` is what `load` left.
    state: &'static str,
}

/// A model of one scope, `global`, whose state is always `{}`.
const GOOD: Bodies = Bodies { describe: "", load: "", state: "i32.const 48 i32.const 2" };

/// Two states to choose from are at 48: `{}` and `[]`, and at 52 what is no JSON.
fn guest(bodies: &Bodies) -> Result<Vec<u8>> {
    let Bodies { describe, load, state } = bodies;
    let model = "reductor:reducer/model@1.0.0";
    let text = format!(
        r#"(module
            (import "[export]{model}" "[resource-new]document" (func $new (param i32) (result i32)))
            (memory (export "memory") 1)
            (global $free (mut i32) (i32.const 1024))
            (global $loaded (mut i32) (i32.const 0))
            (data (i32.const 0) "test/by-handglobal")
            (data (i32.const 48) "{{}}[]{{")
            ;; The manifest at 64: document type, version, scopes (at 96), actions, canonical.
            (data (i32.const 64) "\00\00\00\00\0c\00\00\00\01\00\00\00\60\00\00\00\01\00\00\00\00\00\00\00\00\00\00\00\01")
            (data (i32.const 96) "\0c\00\00\00\06\00\00\00")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                global.get $free
                (global.set $free (i32.and (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 15)) (i32.const -8))))
            (func (export "{model}#describe") (result i32) {describe} i32.const 64)
            (func (export "{model}#[static]document.load") (param i32) (param $snapshots i32) (result i32)
                {load}
                (i32.store (i32.const 128) (i32.const 0))
                (i32.store (i32.const 132) (call $new (i32.const 1)))
                i32.const 128)
            (func (export "{model}#[method]document.apply") (param i32) (result i32) unreachable)
            (func (export "{model}#[method]document.state") (param i32 i32 i32) (result i32)
                (local $address i32) (local $length i32)
                {state}
                local.set $length local.set $address
                (i32.store (i32.const 144) (local.get $address))
                (i32.store (i32.const 148) (local.get $length))
                i32.const 144)
            (func (export "{model}#upgrade") (param i32 i32 i32) (result i32) unreachable))"#
    );
    let mut module = wat::parse_str(text)?;
    let mut resolve = Resolve::default();
    let package = resolve.push_str("reducer.wit", WIT)?;
    let world = resolve.select_world(&[package], Some("reducer"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    Ok(componentize(&module)?)
}

/// In which step and how the guest fails.
fn fails(sandbox: &Sandbox, bodies: &Bodies) -> Result<(&'static str, String)> {
    match sandbox.admit(&guest(bodies)?).err().context("it was let in")? {
        AdmissionError::Canary { step, problem, blame: Blame::Component } => Ok((step, problem)),
        other => anyhow::bail!("it was refused for another reason: {other}"),
    }
}

#[test]
fn a_guest_by_hand_that_does_everything_right_is_let_in() -> Result<()> {
    let plugin = small_sandbox().build()?.admit(&guest(&GOOD)?)?;
    assert_eq!(plugin.manifest().document_type.as_str(), "test/by-hand");
    Ok(())
}

#[test]
fn what_the_canary_finds_is_told_with_the_step() -> Result<()> {
    const COUNT_UP: &str = "(i32.store (i32.const 72) (i32.add (i32.load (i32.const 72)) (i32.const 1)))";
    let cases = [
        (Bodies { describe: COUNT_UP, ..GOOD }, "describe", "changed from one call to the next"),
        (Bodies { describe: "unreachable", ..GOOD }, "describe", "(trap)"),
        (Bodies { load: "unreachable", ..GOOD }, "document.load of a new document", "(trap)"),
        (Bodies { state: "unreachable", ..GOOD }, "document.state", "(trap)"),
        (Bodies { state: "i32.const 52 i32.const 1", ..GOOD }, "document.state", "is not JSON"),
        (Bodies { state: "i32.const 65000 i32.const 10000000", ..GOOD }, "document.state", "(invalid-output)"),
        (
            Bodies { load: "(if (local.get $snapshots) (then unreachable))", ..GOOD },
            "document.load of the initial state",
            "(trap)",
        ),
        (
            Bodies {
                load: "(global.set $loaded (i32.shl (local.get $snapshots) (i32.const 1)))",
                state: "(i32.add (i32.const 48) (global.get $loaded)) i32.const 2",
                ..GOOD
            },
            "document.load",
            "changed by saving and loading it",
        ),
    ];
    let sandbox = small_sandbox().build()?;
    for (bodies, step, words) in cases {
        let (found, problem) = fails(&sandbox, &bodies)?;
        assert!(found == step && problem.contains(words), "{step}, {words}: {found}: {problem}");
    }
    Ok(())
}

#[test]
fn all_calls_of_the_canary_together_have_a_time() -> Result<()> {
    const FOREVER: &str = "(loop (br 0))";
    let sandbox = small_sandbox().canary_time_max(Duration::from_millis(50)).build()?;
    for (bodies, step) in [
        (Bodies { describe: FOREVER, ..GOOD }, "describe"),
        (Bodies { load: FOREVER, ..GOOD }, "document.load of a new document"),
        (Bodies { state: "(loop (br 0)) unreachable", ..GOOD }, "document.state"),
    ] {
        let (found, problem) = fails(&sandbox, &bodies)?;
        assert!(found == step && problem.contains("(timeout)"), "{step}: {found}: {problem}");
    }
    Ok(())
}

#[test]
fn states_of_a_new_document_are_bounded_together() -> Result<()> {
    let limits = GuestLimits { output_bytes_max: 1, instances_max: 4, ..GuestLimits::default() };
    let sandbox = Sandbox::builder().guest_limits(limits).build()?;
    let (step, problem) = fails(&sandbox, &GOOD)?;
    assert!(step == "document.state" && problem.contains("output-too-large"), "{step}: {problem}");
    Ok(())
}

#[test]
fn a_component_is_tried_on_a_stack_of_its_own() -> Result<()> {
    // `describe`, which is the third function, calls itself down to some six hundred kilobytes of
    // stack: less than a guest may have, and more than the thread has that admits it.
    const DEEP: &str = "(if (i32.lt_u (global.get $loaded) (i32.const 14000))
        (then (global.set $loaded (i32.add (global.get $loaded) (i32.const 1))) (drop (call 2))))";
    let bytes = guest(&Bodies { describe: DEEP, ..GOOD })?;
    let worker = CompileWorker::program(env!("CARGO_BIN_EXE_compile-worker"));
    let sandbox = small_sandbox().compile_worker(worker).build()?;
    let thread = std::thread::Builder::new().stack_size(384 << 10);
    let admitted = thread.spawn(move || sandbox.admit(&bytes).map(drop))?.join();
    admitted.map_err(|_| anyhow::anyhow!("the thread panicked"))??;
    Ok(())
}
