//! What must hold whatever comes in: each function takes any bytes, and panics if it does not.
//!
//! Each is the body of a target for libFuzzer, in `fuzz_targets/`, and of an ordinary test,
//! which replays `seeds/` and `found/`. See the README.

mod admission;
mod decoders;
mod json_text;
mod json_value;
mod oracle;
mod smith;
mod surroundings;

pub use admission::admission;
pub use decoders::decoders;
pub use json_text::json_text;
pub use json_value::json_value;
pub use smith::smith;

/// The body of a target.
pub type Target = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: [(&str, Target); 5] = [
    ("admission", admission),
    ("decoders", decoders),
    ("json_text", json_text),
    ("json_value", json_value),
    ("smith", smith),
];
