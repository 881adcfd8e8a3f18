//! Canonical JSON (RFC 8785, the JSON Canonicalization Scheme): encode, check, canonicalise.
//!
//! One value has exactly one canonical text, so hashes of texts can stand for values. Guests
//! encode their state with [`to_vec`]; the host runs [`check`] over what comes out and, where a
//! guest does not promise canonical form, [`canonical`]. All three agree: what `to_vec` writes
//! and what `canonicalize` returns, `check` finds canonical.
//!
//! ```
//! use reductor_json::{Form, Limits, canonicalize, check, to_vec};
//!
//! let loose = br#"{ "b": 1.0, "a": "\u0041" }"#;
//! assert!(matches!(check(loose, Limits::default())?, Form::Loose(_)));
//!
//! let text = canonicalize(loose, Limits::default())?;
//! assert_eq!(text, br#"{"a":"A","b":1}"#);
//! assert_eq!(check(&text, Limits::default())?, Form::Canonical);
//!
//! assert_eq!(to_vec(&("x", 0.5, [Some(1), None]))?, br#"["x",0.5,[1,null]]"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a number may be
//!
//! JSON numbers are doubles here, as they are in JavaScript. A text whose meaning would change
//! on its way through a double is refused, not rounded: integers beyond ±(2^53 − 1) by the
//! encoder, integer literals whose digits a double does not give back by the check, and on both
//! sides whatever is not finite. `-0` is written `0`.
//!
//! # Order of keys
//!
//! Members are sorted by the UTF-16 code units of their keys, as JavaScript compares strings.
//! That is the order of UTF-8 bytes except that U+E000 to U+FFFF come after everything beyond
//! U+FFFF. An object that names a key twice is refused everywhere.

mod canonicalize;
mod check;
mod encode;
mod encode_compound;
mod encode_key;
mod error;
mod key;
mod number;
mod order;
mod string;

pub use canonicalize::{canonical, canonical_within, canonicalize};
pub use check::{Deviation, DeviationKind, Form, Limits, check};
pub use encode::{to_vec, write};
pub use error::{EncodeError, EncodeProblem, Malformed, Problem};
