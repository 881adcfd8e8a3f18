//! Components that are hostile to their reader: they are refused as their author's fault,
//! and the host's process neither dies nor grows.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reductor_core::Reducer as _;
use reductor_sandbox::{
    AdmissionError, Blame, CompileError, CompileLimits, CompileWorker, Difference, GuestLimits, Measure, Sandbox,
};

use crate::{bombs, guests, process};

/// What the host's process may grow by while it admits a component, whose own bytes were there
/// before.
const GROWTH_BYTES_MAX: usize = 200 << 20;
/// Bytes of the longest refusal.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Beyond what a compile worker may take, for what the host does.
const HOST_TIME_MAX: Duration = Duration::from_secs(5);

/// Components of a few bytes that `wit-parser` panics on.
const PANICS: [(&str, &str); 9] = [
    ("import-of-a-url", r#"(import "url=<https://x>" (func))"#),
    ("import-of-an-unlocked-dependency", r#"(import "unlocked-dep=<a:b>" (func))"#),
    ("import-of-a-hash", r#"(import "integrity=<sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=>" (func))"#),
    (
        "constructor-of-an-aliased-resource",
        r#"(import "a:b/c" (instance $c (export "r" (type (sub resource)))))
           (alias export $c "r" (type $r))
           (import "a:b/d" (instance (alias outer 1 $r (type $r)) (export "r" (type $s (eq $r)))
               (export "[constructor]r" (func (result (own $s))))))"#,
    ),
    (
        "method-of-an-aliased-resource",
        r#"(import "a:b/c" (instance $c (export "r" (type (sub resource)))))
           (alias export $c "r" (type $r))
           (import "a:b/d" (instance (alias outer 1 $r (type $r)) (export "r" (type $s (eq $r)))
               (export "[method]r.m" (func (param "self" (borrow $s))))))"#,
    ),
    (
        "static-function-of-an-aliased-resource",
        r#"(import "a:b/c" (instance $c (export "r" (type (sub resource)))))
           (alias export $c "r" (type $r))
           (import "a:b/d" (instance (alias outer 1 $r (type $r)) (export "r" (type $s (eq $r)))
               (export "[static]r.f" (func))))"#,
    ),
    (
        "method-of-an-aliased-resource-in-the-world",
        r#"(import "a:b/c" (instance $c (export "r" (type (sub resource)))))
           (alias export $c "r" (type $r))
           (import "r" (type $s (eq $r)))
           (import "[method]r.m" (func (param "self" (borrow $s))))"#,
    ),
    (
        "static-function-of-an-aliased-resource-in-the-world",
        r#"(import "a:b/c" (instance $c (export "r" (type (sub resource)))))
           (alias export $c "r" (type $r))
           (import "r" (type $s (eq $r)))
           (import "[static]r.f" (func))"#,
    ),
    (
        "import-exported-under-its-own-name",
        r#"(import "a:b/c" (instance $c (export "t" (type (sub resource)))))
           (export "a:b/c" (instance $c))"#,
    ),
];

fn sandbox(worker: Option<CompileWorker>) -> Result<Sandbox> {
    let builder = Sandbox::builder().guest_limits(GuestLimits { instances_max: 8, ..GuestLimits::default() });
    Ok(match worker {
        Some(worker) => builder.compile_worker(worker),
        None => builder,
    }
    .build()?)
}

fn worker() -> CompileWorker {
    CompileWorker::program(env!("CARGO_BIN_EXE_compile-worker"))
}

/// Offers a component that must be refused as its own fault, and watches the process meanwhile.
fn refused(sandbox: &Sandbox, name: &str, bytes: &[u8]) -> Result<AdmissionError> {
    process::forget_peak()?;
    let (before, began) = (process::resident_bytes()?, Instant::now());
    let error = sandbox.admit(bytes).err().with_context(|| format!("{name} was let in"))?;
    let grown = process::peak_bytes()?.saturating_sub(before);
    let message = error.to_string();
    let shown: String = message.chars().take(160).collect();
    eprintln!(
        "{name:52} {:9} bytes {:7.0} ms  +{:3} MiB  {shown:?}",
        bytes.len(),
        began.elapsed().as_secs_f64() * 1e3,
        grown >> 20
    );
    ensure!(error.blame() == Blame::Component, "{name}: the host is blamed: {message}");
    ensure!(message.len() <= MESSAGE_BYTES_MAX, "{name}: the refusal has {} bytes", message.len());
    ensure!(grown <= GROWTH_BYTES_MAX, "{name}: the process grew by {} MiB", grown >> 20);
    let time_max = CompileLimits::default().time_max + HOST_TIME_MAX;
    ensure!(began.elapsed() < time_max, "{name}: it took {:?}", began.elapsed());
    Ok(error)
}

#[test]
fn components_that_a_decoder_panics_on_are_refused_as_their_own_fault() -> Result<()> {
    let _alone = process::alone();
    let (outside, inside) = (sandbox(Some(worker()))?, sandbox(None)?);
    let mut crashes = 0;
    for (name, text) in PANICS {
        let bytes = wat::parse_str(format!("(component {text})")).with_context(|| name.to_owned())?;
        match (refused(&outside, name, &bytes)?, refused(&inside, name, &bytes)?) {
            (
                AdmissionError::NotCompiled(CompileError::Died { .. }),
                AdmissionError::NotCompiled(CompileError::Panicked { .. }),
            ) => crashes += 1,
            (AdmissionError::OtherWorld(outside), AdmissionError::OtherWorld(inside)) => assert_eq!(outside, inside),
            (outside, inside) => anyhow::bail!("{name}: {outside}; in one process: {inside}"),
        }
    }
    assert!(crashes > 0, "no decoder panics any more: these components show nothing");
    Ok(())
}

#[test]
fn components_whose_types_would_take_gigabytes_are_refused() -> Result<()> {
    let _alone = process::alone();
    let sandbox = sandbox(Some(worker()))?;
    let over = |name: &str, bytes: &[u8]| match refused(&sandbox, name, bytes)? {
        AdmissionError::OverLimit(over) => Ok(over.what),
        other => anyhow::bail!("{name}: {other}"),
    };
    assert_eq!(over("fresh-resources", &bombs::fresh_resources(498, 9_900))?, Measure::TypeCopies);
    let in_tuples = bombs::fresh_resources_in_tuples(498, 90, 9_000);
    assert_eq!(over("fresh-resources-in-tuples", &in_tuples)?, Measure::TypeCopies);
    let function = format!("(type (func (param{})))", " i32".repeat(200));
    let functions = wat::parse_str(format!("(component (core module {}))", function.repeat(1_500)))?;
    assert_eq!(over("long-functions", &functions)?, Measure::TypeParts);
    assert_eq!(over("fresh-imports", &bombs::fresh_imports(2_000, 9_900))?, Measure::TypeCopies);
    assert_eq!(over("module-types", &bombs::module_types(60, 90_000))?, Measure::Types);
    assert_eq!(over("recursion-groups", &bombs::recursion_groups(21, 999_000))?, Measure::Types);
    // What is garbage collected is not offered at all, however small.
    let recursive = refused(&sandbox, "recursion-group", &bombs::recursion_groups(1, 2))?;
    assert!(matches!(recursive, AdmissionError::Invalid { .. }), "{recursive}");
    Ok(())
}

#[test]
fn a_refusal_is_short_whatever_the_component_is_called() -> Result<()> {
    let _alone = process::alone();
    let sandbox = sandbox(Some(worker()))?;
    let differences = |name: &str, bytes: &[u8]| match refused(&sandbox, name, bytes)? {
        AdmissionError::OtherWorld(differences) => Ok(differences),
        other => anyhow::bail!("{name}: {other}"),
    };
    let doubled = differences("tuples-that-double", &bombs::tuples_that_double(15))?;
    assert!(matches!(&doubled[0], Difference::OtherType { found, .. } if found.ends_with("… (cut)")), "{doubled:?}");

    let many = differences("many-long-imports", &bombs::long_imports(40, 98_900))?;
    assert!(matches!(&many[0], Difference::ImportNotGranted { name, .. } if name.ends_with("… (cut)")), "{many:?}");
    let many = differences("many-imports", &bombs::long_imports(600, 1_000))?;
    assert!(matches!(many.last(), Some(Difference::Omitted { count: 550.. })), "{:?}", many.last());
    assert_eq!(many.len(), 51);

    let error = refused(&sandbox, "too-long-imports", &bombs::long_imports(600, 98_900))?;
    assert!(matches!(&error, AdmissionError::OverLimit(over) if over.what == Measure::NameBytes), "{error}");
    Ok(())
}

#[test]
fn what_an_instance_has_no_room_for_is_refused_before_it_is_compiled() -> Result<()> {
    let _alone = process::alone();
    // With a pool or without, in this process or in a worker: the verdict is the same.
    for sandbox in [sandbox(Some(worker()))?, sandbox(None)?] {
        let cases = [
            ("five-memories", bombs::instances("(memory 0)", 5), Measure::Memories),
            ("eleven-tables", bombs::instances("(table 0 funcref)", 11), Measure::Tables),
            ("too-many-core-instances", bombs::instances("", 65), Measure::CoreInstances),
            ("memory-in-many-instances", bombs::instances("(memory 300)", 4), Measure::MemoryBytes),
            ("elements-in-many-instances", bombs::instances("(table 30000 funcref)", 4), Measure::TableElements),
            ("data-in-many-instances", bombs::data_in_instances(30, 48 << 16), Measure::DataBytes),
        ];
        for (name, bytes, measure) in cases {
            match refused(&sandbox, name, &bytes)? {
                AdmissionError::OverLimit(over) if over.what == measure => {}
                other => anyhow::bail!("{name}: {other}"),
            }
        }
    }
    Ok(())
}

#[test]
fn what_only_the_pool_finds_too_large_is_the_components_fault() -> Result<()> {
    let _alone = process::alone();
    let bytes = guests::component("fifty-thousand-references")?;
    let (outside, inside) = (sandbox(Some(worker()))?, sandbox(None)?);
    ensure!(outside.is_pooled() && inside.is_pooled(), "this machine has no address space for a pool");
    let error = refused(&outside, "fifty-thousand-references", &bytes)?;
    assert!(matches!(error, AdmissionError::NotCompiled(CompileError::TooLarge(_))), "{error}");
    // In this process nothing bounds what the compiler takes.
    let error = inside.admit(&bytes).err().context("it was let in")?;
    assert!(matches!(error, AdmissionError::NotCompiled(CompileError::Refused(_))), "{error}");
    assert_eq!(error.blame(), Blame::Component);
    Ok(())
}

#[test]
fn a_resource_that_only_has_the_name_of_ours_is_the_components_fault() -> Result<()> {
    let _alone = process::alone();
    let error = refused(&sandbox(Some(worker()))?, "own-input-stream", &guests::component("own-input-stream")?)?;
    let AdmissionError::OtherWorld(differences) = &error else { anyhow::bail!("{error}") };
    let wanted = Difference::OtherType {
        place: "wasi:cli/stdin@0.2.3#get-stdin, result".to_owned(),
        expected: "resource wasi:io/streams@0.2.12#input-stream".to_owned(),
        found: "resource wasi:cli/stdin@0.2.12#input-stream".to_owned(),
    };
    assert_eq!(differences[..], [wanted]);
    Ok(())
}

#[test]
fn no_random_number_tells_a_guest_that_it_is_being_tried() -> Result<()> {
    let _alone = process::alone();
    let (bytes, sandbox) = (guests::component("random-version")?, sandbox(None)?);
    let version = || -> Result<u32> { Ok(sandbox.admit(&bytes)?.manifest().version) };
    // Two of sixteen million numbers.
    assert_ne!(version()?, version()?);
    Ok(())
}

#[test]
fn a_large_component_with_an_interpreter_is_admitted_within_the_same_bounds() -> Result<()> {
    let _alone = process::alone();
    let Ok(path) = reductor_tests::TODO_LIST_JS else { return Ok(()) };
    let (bytes, sandbox) = (std::fs::read(path)?, sandbox(Some(worker()))?);
    process::forget_peak()?;
    let (before, began) = (process::resident_bytes()?, Instant::now());
    let plugin = sandbox.admit(&bytes)?;
    let grown = process::peak_bytes()?.saturating_sub(before);
    eprintln!("{} bytes in {:?}: +{} MiB", bytes.len(), began.elapsed(), grown >> 20);
    ensure!(grown <= GROWTH_BYTES_MAX, "the process grew by {} MiB", grown >> 20);
    drop(plugin);
    Ok(())
}
