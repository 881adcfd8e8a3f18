//! Guests that are too large to be kept as files.

use std::fmt::Write as _;

/// Every shape.
pub(crate) const NAMES: [&str; 20] = [
    "ten-thousand-functions",
    "fifty-thousand-references",
    "megabyte-function",
    "ten-thousand-blocks",
    "huge-branch-table",
    "fifty-thousand-locals",
    "deep-operands",
    "many-calls",
    "many-loops",
    "many-data-segments",
    "zip-bomb",
    "many-globals",
    "many-types",
    "names-megabyte",
    "names-many",
    "dwarf-nested-deep",
    "dwarf-same-ranges",
    "dwarf-of-noise",
    "dwarf-many-units",
    "dwarf-long-file-name",
];

/// The forms of a shape, if there is one of that name.
pub(crate) fn text(name: &str) -> Option<String> {
    Some(match name {
        "ten-thousand-functions" => {
            let body = |number| {
                format!("(func $f{number} (param i32) (result i32) (i32.add (local.get 0) (i32.const {number})))\n")
            };
            with_bad((0..10_000).map(body).collect(), "(drop (call $f9999 (i32.const 1)))")
        }
        // The engine keeps some thirty bytes in each instance for every function that has a reference.
        "fifty-thousand-references" => {
            let names: Vec<_> = (0..50_000).map(|number| format!("$f{number}")).collect();
            let functions: String = names.iter().map(|name| format!("(func {name})\n")).collect();
            with_bad(format!("{functions}(elem $references declare func {})", names.join(" ")), "")
        }
        "megabyte-function" => {
            bad(&"(global.set $count (i32.xor (global.get $count) (i32.const 0)))\n".repeat(150_000))
        }
        "ten-thousand-blocks" => bad(&format!("{}{}", "(block ".repeat(10_000), ")".repeat(10_000))),
        "huge-branch-table" => {
            let targets = "0 1 ".repeat(250_000);
            bad(&format!("(block (block (br_table {targets} 0 (global.get $count))))"))
        }
        "fifty-thousand-locals" => {
            let sum = "(local.set 1 (i32.add (local.get 1) (local.get 49999)))".repeat(1_000);
            format!("(func $bad (result i32) (local {}) {sum} (call $good))", "i32 ".repeat(50_000))
        }
        "deep-operands" => {
            let depth = 20_000;
            let sum = format!("{}(global.get $count){}", "(i32.add (i32.const 1) ".repeat(depth), ")".repeat(depth));
            bad(&format!("(drop {sum})"))
        }
        "many-calls" => bad(&"(call $write (i32.const 1))\n".repeat(100_000)),
        "many-loops" => bad(&"(loop (br_if 0 (i32.const 0)))\n".repeat(10_000)),
        "many-data-segments" => with_bad("(data (i32.const 4096) \"x\")\n".repeat(90_000), ""),
        // Sixteen times the same four megabytes: small on the wire when compressed.
        "zip-bomb" => {
            let segment = format!("(data (i32.const 65536) \"{}\")\n", "x".repeat(4 << 20));
            with_bad(format!("(memory $memory 70)\n{}", segment.repeat(12)), "")
        }
        "many-globals" => with_bad("(global (mut i64) (i64.const 1))\n".repeat(100_000), ""),
        "many-types" => {
            let types = (0..10_000).fold(String::new(), |mut types, number: u32| {
                let params = (0..14).map(|bit| if number >> bit & 1 == 0 { "i32 " } else { "i64 " });
                // Writing to a string cannot fail.
                let _ = writeln!(types, "(type (func (param {})))", params.collect::<String>());
                types
            });
            with_bad(types, "")
        }
        // A name of a megabyte on every frame of the backtrace.
        "names-megabyte" => {
            let name = "n".repeat(1 << 20);
            format!("(func $bad (result i32) (call ${name}) (unreachable))\n(func ${name} (call ${name}))")
        }
        "names-many" => {
            let function = |number| format!("(func $name_{number}_{} (nop))\n", "x".repeat(200));
            let names = (0..20_000).map(function).collect();
            with_bad(names, "(unreachable)")
        }
        // Traps forty calls deep.
        "dwarf-long-file-name" => "(func $bad (result i32) (call $deeper (i32.const 40)) (unreachable))
            (func $deeper (param i32)
              (if (i32.eqz (local.get 0)) (then (unreachable)))
              (call $deeper (i32.sub (local.get 0) (i32.const 1))))"
            .to_owned(),
        name if name.starts_with("dwarf-") => "(func $bad (result i32) (unreachable))".to_owned(),
        _ => return None,
    })
}

/// The custom sections of a shape.
pub(crate) fn sections(name: &str) -> Vec<(&'static str, Vec<u8>)> {
    match name {
        // A function with half a million calls inlined into one another.
        "dwarf-nested-deep" => {
            let abbreviations = [
                // A unit and a function, each from an address on for so many bytes.
                &[1, 0x11, 1, 0x11, 0x01, 0x12, 0x06, 0, 0][..],
                &[2, 0x2e, 1, 0x11, 0x01, 0x12, 0x06, 0, 0],
                &[3, 0x1d, 1, 0, 0, 0],
            ];
            let everywhere = [&0_u32.to_le_bytes()[..], &i32::MAX.to_le_bytes()].concat();
            let mut entries = [&[1][..], &everywhere, &[2], &everywhere].concat();
            entries.extend([3; 500_000]);
            entries.extend([0; 500_002]);
            vec![(".debug_abbrev", abbreviations.concat()), (".debug_info", unit(&entries))]
        }
        // A hundred thousand units, all of them in the same hundred thousand ranges.
        "dwarf-same-ranges" => {
            let abbreviations = vec![1, 0x11, 0, 0x11, 0x01, 0x55, 0x17, 0, 0, 0];
            let one = unit(&[&[1][..], &[0; 4], &[0; 4]].concat());
            let range = [1_u32.to_le_bytes(), i32::MAX.to_le_bytes()].concat();
            let mut ranges = range.repeat(100_000);
            ranges.extend([0; 8]);
            vec![(".debug_abbrev", abbreviations), (".debug_info", one.repeat(100_000)), (".debug_ranges", ranges)]
        }
        // A megabyte of nothing in each section.
        "dwarf-of-noise" => {
            let mut seed = 1_u32;
            let mut noise = || {
                // xorshift: any noise will do, as long as it is the same every time.
                seed ^= seed << 13;
                seed ^= seed >> 17;
                seed ^= seed << 5;
                seed.to_le_bytes()[0]
            };
            let names = [".debug_abbrev", ".debug_info", ".debug_line", ".debug_str", ".debug_ranges"];
            names.map(|name| (name, (0..1 << 20).map(|_| noise()).collect())).to_vec()
        }
        // Six hundred thousand units that say nothing.
        "dwarf-many-units" => {
            let abbreviations = vec![1, 0x11, 0, 0, 0, 0];
            vec![(".debug_abbrev", abbreviations), (".debug_info", unit(&[1]).repeat(600_000))]
        }
        // One unit, all of it in the first line of a file whose name is long.
        "dwarf-long-file-name" => {
            let abbreviations = vec![1, 0x11, 0, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0, 0];
            let entry = [&[1][..], &[0; 4], &[0; 4], &i32::MAX.to_le_bytes()].concat();
            let lines = line_program(&"n".repeat(7_400_000));
            vec![(".debug_abbrev", abbreviations), (".debug_info", unit(&entry)), (".debug_line", lines)]
        }
        _ => Vec::new(),
    }
}

/// A line program of DWARF 4: every address is in the first line of this file.
fn line_program(file: &str) -> Vec<u8> {
    let operand_counts = [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
    // Lengths of instructions and operations, statements by default, lines from -5 in 14 steps.
    let numbers = [&[1, 1, 1, 0xfb, 14, 13][..], &operand_counts].concat();
    // No directories; the file's directory, time and length; the end of the files.
    let tables = [&numbers, &[0][..], file.as_bytes(), &[0, 0, 0, 0, 0]].concat();
    let far = leb128(i32::MAX as usize);
    // Sets the address to 0, makes a row, goes on to the end, and ends the sequence.
    let program = [&[0, 5, 2, 0, 0, 0, 0, 1, 2][..], &far, &[0, 1, 1]].concat();
    let length_of = |bytes: &[u8]| u32::try_from(bytes.len()).expect("no test makes as much").to_le_bytes();
    let header = [&4_u16.to_le_bytes()[..], &length_of(&tables), &tables].concat();
    [&length_of(&[&header[..], &program].concat())[..], &header, &program].concat()
}

/// A unit of DWARF 4 with 32-bit offsets and addresses.
fn unit(entries: &[u8]) -> Vec<u8> {
    let header = [&4_u16.to_le_bytes()[..], &0_u32.to_le_bytes(), &[4]].concat();
    let length = u32::try_from(header.len() + entries.len()).expect("no test makes as much");
    [&length.to_le_bytes()[..], &header, entries].concat()
}

/// A number as WebAssembly writes it.
pub(crate) fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A bad action that does `body`, and then what a good one does.
fn bad(body: &str) -> String {
    with_bad(String::new(), body)
}

fn with_bad(forms: String, body: &str) -> String {
    format!("{forms}\n(func $bad (result i32) {body} (call $good))")
}
