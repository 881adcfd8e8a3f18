//! Components of shapes that are hard on a compiler, made to measure.

use std::fmt::Write as _;

use crate::support::{COUNTER, component};

/// The counter, which a host takes, with a core module beside that it never uses. It is
/// checked and compiled like any other.
pub(crate) fn counter_with(module: &str) -> anyhow::Result<Vec<u8>> {
    const CORE_MODULE_SECTION: u8 = 1;
    let module = wat::parse_str(module)?;
    let mut bytes = component(COUNTER);
    bytes.push(CORE_MODULE_SECTION);
    leb128(module.len(), &mut bytes);
    bytes.extend(module);
    Ok(bytes)
}

pub(crate) fn leb128(mut number: usize, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// One of `functions` functions after the other, each of `body`.
pub(crate) fn module(functions: usize, locals: usize, body: &str) -> String {
    let mut text = String::from("(module (memory 1) (table 1 funcref) (type (func (param i32) (result i32)))");
    for _ in 0..functions {
        let locals = " i32".repeat(locals);
        let _ = write!(text, "\n(func (type 0) (local{locals}) {body} (i32.const 0))");
    }
    text + ")"
}

/// `br_table`s with targets all over the blocks around them.
pub(crate) fn branch_tables(tables: usize, targets: usize, depth: usize) -> String {
    let targets: String = (0..targets).map(|target| format!(" {}", target * 7 % depth)).collect();
    let table = format!("(block (br_table{targets} 0 (local.get 0)))");
    "block ".repeat(depth) + &table.repeat(tables) + &" end".repeat(depth)
}

/// Blocks or loops inside of each other.
pub(crate) fn nested(kind: &str, depth: usize) -> String {
    nested_around(kind, depth, "")
}

fn nested_around(kind: &str, depth: usize, innermost: &str) -> String {
    format!("{kind} ").repeat(depth) + innermost + &" (br_if 0 (local.get 0)) end".repeat(depth)
}

/// Loops one after the other: each is a place to check fuel and ticks.
pub(crate) fn loops(count: usize) -> String {
    "loop end ".repeat(count)
}
