//! What a component's binary may have, and that one more is refused.

use anyhow::{Context as _, Result};
use reductor_sandbox::{AdmissionError, Blame, GuestLimits, Measure, OverLimit, Sandbox, StaticLimits};

use crate::shapes;
use crate::support::{COUNTER, TEXT, TODO_LIST, UNRULY, component, sandbox};

/// Two or more of everything, in few enough bytes to count by hand. It is of no world.
const RICH: &str = r#"
(component
    (core module
        (type (func)) (type (func (param i32)))
        (import "a" "f" (func (type 0))) (import "a" "g" (func (type 0)))
        (table 3 funcref) (table 4 funcref)
        (memory 2)
        (global i32 (i32.const 1)) (global i32 (i32.const 2))
        (export "x" (func 2)) (export "y" (func 3))
        (elem (table 0) (i32.const 0) func 0 1 2) (elem (table 1) (i32.const 0) func 0 1)
        (func (type 0) (local i32 i64 f32) (loop (loop (loop))))
        (func (type 1) (block (block (br_table 0 1 1 (local.get 0)))))
        (data (i32.const 0) "abcd") (data (i32.const 8) "efg")
        (@custom "note" "12345"))
    (core module (memory 1) (@custom "note" "678"))
    (core instance (instantiate 1)) (core instance (instantiate 1))
    (component (component))
    (instance (instantiate 0)) (instance (instantiate 0))
    (type (component (type (instance (type string) (export "s" (type (eq 0)))))))
    (alias core export 0 "nothing" (core memory))
)"#;

type Set = fn(&mut StaticLimits, &mut GuestLimits, u64);

/// How much [`RICH`] has of everything, and where that is limited.
const FOUND: &[(Measure, u64, Set)] = &[
    (Measure::Components, 2, |limits, _, max| limits.components_max = max),
    (Measure::ComponentDepth, 2, |limits, _, max| limits.component_depth_max = max),
    (Measure::CoreModules, 2, |limits, _, max| limits.core_modules_max = max),
    // Itself, and two of what is inside.
    (Measure::ComponentInstances, 3, |limits, _, max| limits.component_instances_max = max),
    (Measure::CoreInstances, 2, |limits, _, max| limits.core_instances_max = max),
    (Measure::Functions, 2, |limits, _, max| limits.functions_max = max),
    (Measure::CodeBytes, 17 + 15, |limits, _, max| limits.code_bytes_max = max),
    (Measure::FunctionBytes, 17, |limits, _, max| limits.function_bytes_max = max),
    (Measure::Locals, 3, |limits, _, max| limits.locals_max = max),
    // The function itself, and three loops.
    (Measure::BlockDepth, 4, |limits, _, max| limits.block_depth_max = max),
    (Measure::LoopDepth, 3, |limits, _, max| limits.loop_depth_max = max),
    (Measure::BranchTargets, 2, |limits, _, max| limits.branch_targets_max = max),
    // Three loops; a table of two targets and the one for everything else.
    (Measure::Branches, 3 + 3, |limits, _, max| limits.branches_max = max),
    (Measure::FunctionBranches, 3, |limits, _, max| limits.function_branches_max = max),
    (Measure::LongInstructions, 3, |limits, _, max| limits.long_instructions_max = max),
    (Measure::FunctionLongInstructions, 3, |limits, _, max| limits.function_long_instructions_max = max),
    (Measure::Imports, 2, |limits, _, max| limits.imports_max = max),
    (Measure::Exports, 2, |limits, _, max| limits.exports_max = max),
    // `a` and `f`, `a` and `g`; `x` and `y`.
    (Measure::NameBytes, 4 + 2, |limits, _, max| limits.name_bytes_max = max),
    // Two of the module; a component type, an instance type, and two declarations inside.
    (Measure::Types, 2 + 4, |limits, _, max| limits.types_max = max),
    (Measure::TypeParts, 1, |limits, _, max| limits.type_parts_max = max),
    // The component type with what is in it.
    (Measure::TypeCopies, 4, |limits, _, max| limits.type_copies_max = max),
    (Measure::TypeDepth, 3, |limits, _, max| limits.type_depth_max = max),
    (Measure::Definitions, 1, |limits, _, max| limits.definitions_max = max),
    (Measure::Globals, 2, |limits, _, max| limits.globals_max = max),
    (Measure::Tables, 2, |limits, _, max| limits.tables_max = max),
    (Measure::Memories, 2, |limits, _, max| limits.memories_max = max),
    (Measure::DataSegments, 2, |limits, _, max| limits.data_segments_max = max),
    (Measure::DataBytes, 4 + 3, |limits, _, max| limits.data_bytes_max = max),
    (Measure::ElementSegments, 2, |limits, _, max| limits.element_segments_max = max),
    (Measure::Elements, 3 + 2, |limits, _, max| limits.elements_max = max),
    (Measure::CustomBytes, 5 + 3, |limits, _, max| limits.custom_bytes_max = max),
    (Measure::MemoryBytes, 3 << 16, |_, guest, max| guest.memory_bytes_max = max as usize),
    (Measure::TableElements, 3 + 4, |_, guest, max| guest.table_elements_max = max as usize),
];

fn offered_within(measure: Set, max: u64, bytes: &[u8]) -> Result<AdmissionError> {
    let mut guest = GuestLimits { instances_max: 1, ..GuestLimits::default() };
    let mut limits = StaticLimits::default();
    measure(&mut limits, &mut guest, max);
    let sandbox = Sandbox::builder().guest_limits(guest).static_limits(limits).build()?;
    sandbox.admit(bytes).err().context("it was let in")
}

#[test]
fn everything_that_is_limited_may_reach_its_limit_and_not_pass_it() -> Result<()> {
    let bytes = wat::parse_str(RICH)?.to_vec();
    assert_eq!(FOUND.iter().map(|(measure, ..)| *measure).collect::<Vec<_>>(), Measure::ALL);
    for (measure, found, set) in FOUND {
        let just_enough = offered_within(*set, *found, &bytes)?;
        // It gets as far as the comparison of worlds, or to what is broken on purpose.
        assert!(!matches!(just_enough, AdmissionError::OverLimit(_)), "{measure:?}: {just_enough}");
        let error = offered_within(*set, found - 1, &bytes)?;
        let AdmissionError::OverLimit(OverLimit { what, found: told, max, offset }) = error else {
            anyhow::bail!("{measure:?} was refused for another reason: {error}");
        };
        assert_eq!((what, max), (*measure, found - 1));
        // Nothing is read beyond the place where the limit is met.
        assert!(told > max && told <= *found && offset < bytes.len(), "{measure:?}: {told} at {offset}");
        let words = error_words(*measure, told, max);
        let error = OverLimit { what, found: told, max, offset }.to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{measure:?}: {error}");
    }
    Ok(())
}

fn error_words(measure: Measure, found: u64, max: u64) -> [String; 4] {
    [measure.to_string(), found.to_string(), format!("{max} are allowed"), format!("`{}`", measure.limit_name())]
}

#[test]
fn our_guests_use_less_than_half_of_every_limit() -> Result<()> {
    for guest in [COUNTER, TEXT, TODO_LIST, UNRULY] {
        let plugin = sandbox().admit(&component(guest))?;
        for measure in Measure::ALL {
            let max = measure.max(sandbox().static_limits(), sandbox().limits());
            let found = plugin.measures().get(*measure);
            assert!(found * 2 <= max, "{guest} has {found} {measure} of {max}");
        }
        let measures = plugin.measures();
        assert!(measures.functions > 20 && measures.memory_bytes >= 1 << 16, "{guest}: {measures:?}");
    }
    Ok(())
}

/// Refused with the default limits for having too much of one thing.
fn over(module: &str) -> Result<OverLimit> {
    match sandbox().admit(&shapes::counter_with(module)?).err().context("it was let in")? {
        AdmissionError::OverLimit(over) => Ok(over),
        other => anyhow::bail!("it was refused for another reason: {other}"),
    }
}

#[test]
fn shapes_that_are_hard_on_a_compiler_are_refused_by_default() -> Result<()> {
    let limits = StaticLimits::default();
    let number = |max: u64| usize::try_from(max).expect("limits are small");
    let shape = |body: &str| shapes::module(1, 0, body);
    let cases: [(Measure, u64, String); 9] = [
        (Measure::Functions, limits.functions_max, shapes::module(number(limits.functions_max), 0, "")),
        (Measure::FunctionBytes, limits.function_bytes_max, shape(&"nop ".repeat(number(limits.function_bytes_max)))),
        (Measure::Locals, limits.locals_max, shapes::module(1, number(limits.locals_max) + 1, "")),
        (Measure::BlockDepth, limits.block_depth_max, shape(&shapes::nested("block", number(limits.block_depth_max)))),
        (Measure::LoopDepth, limits.loop_depth_max, shape(&shapes::nested("loop", number(limits.loop_depth_max) + 1))),
        (
            Measure::BranchTargets,
            limits.branch_targets_max,
            shape(&shapes::branch_tables(1, number(limits.branch_targets_max) + 1, 8)),
        ),
        (Measure::FunctionBranches, limits.function_branches_max, shape(&shapes::branch_tables(30, 500, 900))),
        (Measure::FunctionLongInstructions, limits.function_long_instructions_max, shape(&shapes::loops(6_000))),
        (Measure::MemoryBytes, 64 << 20, "(module (memory 1025))".to_owned()),
    ];
    for (measure, max, module) in cases {
        let over = over(&module).with_context(|| format!("{measure:?}"))?;
        assert_eq!((over.what, over.max), (measure, max));
    }
    Ok(())
}

#[test]
fn types_inside_of_types_do_not_overflow_the_stack() -> Result<()> {
    const TYPE_SECTION: u8 = 7;
    for (level, depth) in [([0x41, 1, 1], 1_000_000), ([0x42, 1, 1], 1_000_000), ([0x41, 1, 1], 17)] {
        let mut section = vec![1];
        section.extend(level.repeat(depth));
        section.extend([0x41, 0]);
        let mut bytes = wat::parse_str("(component)")?;
        bytes.push(TYPE_SECTION);
        shapes::leb128(section.len(), &mut bytes);
        bytes.extend(section);
        let error = sandbox().admit(&bytes).err().context("it was let in")?;
        let AdmissionError::OverLimit(over) = error else { anyhow::bail!("refused for another reason: {error}") };
        assert_eq!((over.what, over.found, over.max), (Measure::TypeDepth, 17, 16));
    }
    Ok(())
}

#[test]
fn instances_that_would_multiply_are_counted_as_if_they_were_made() -> Result<()> {
    // Each of thirty components makes two of the one before it: a billion, in one kilobyte.
    let mut text = String::from("(component (component)");
    for inner in 0..30 {
        text += &format!(
            "(component (alias outer 1 {inner} (component)) (instance (instantiate 0)) (instance (instantiate 0)))"
        );
    }
    let bytes = wat::parse_str(text + ")")?;
    let error = sandbox().admit(&bytes).err().context("it was let in")?;
    assert!(matches!(error, AdmissionError::OverLimit(OverLimit { what: Measure::ComponentInstances, .. })), "{error}");
    assert_eq!(error.blame(), Blame::Component);
    Ok(())
}
