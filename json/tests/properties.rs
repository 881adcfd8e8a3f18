//! Properties that hold for any value and any text.

use std::{collections::BTreeMap, fmt::Write};

use proptest::{collection::vec, prelude::*};
use reductor_json::{Form, Limits, Problem, canonicalize, check, to_vec};
use serde_json::{Map, Number, Value};

/// Writes canonical JSON in the plainest way: the implementation to compare with.
fn reference(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => write!(out, "{value}").expect("a string takes all"),
        Value::Number(number) => {
            let double = number.as_f64().expect("a double");
            out.push_str(ryu_js::Buffer::new().format(double));
        }
        Value::String(text) => reference_string(text, out),
        Value::Array(elements) => {
            out.push('[');
            for (n, element) in elements.iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                reference(element, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let utf16 = |key: &str| key.encode_utf16().collect::<Vec<u16>>();
            let sorted: BTreeMap<_, _> = members.iter().map(|(k, v)| (utf16(k), (k, v))).collect();
            out.push('{');
            for (n, (key, value)) in sorted.into_values().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                reference_string(key, out);
                out.push(':');
                reference(value, out);
            }
            out.push('}');
        }
    }
}

fn reference_string(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' => write!(out, "\\u{:04x}", char as u32).expect("a string takes all"),
            _ => out.push(char),
        }
    }
    out.push('"');
}

/// Strings that are rich in what is special to JSON and to the order of keys.
fn any_text() -> impl Strategy<Value = String> {
    let char = prop_oneof![
        4 => proptest::char::range(' ', '~'),
        1 => proptest::char::range('\0', '\u{1f}'),
        1 => proptest::sample::select(vec!['"', '\\', '/', '\u{7f}', 'é', '\u{d7ff}', '\u{e000}', '\u{ffff}', '\u{10000}', '😀']),
        1 => any::<char>(),
    ];
    prop_oneof![vec(char.clone(), 0..6), vec(char, 0..60)].prop_map(|chars| chars.into_iter().collect())
}

fn any_number() -> impl Strategy<Value = Number> {
    let integer = -9_007_199_254_740_991..=9_007_199_254_740_991_i64;
    let double = any::<u64>().prop_map(f64::from_bits);
    let decimal = (any::<i32>(), -12..12).prop_map(|(n, e)| f64::from(n) * 10_f64.powi(e));
    prop_oneof![
        integer.prop_map(Number::from),
        (-300..300_i64).prop_map(Number::from),
        double.prop_filter_map("finite", Number::from_f64),
        decimal.prop_filter_map("finite", Number::from_f64),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any_number().prop_map(Value::Number),
        any_text().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 64, 8, |value| {
        prop_oneof![
            vec(value.clone(), 0..8).prop_map(Value::Array),
            vec((any_text(), value), 0..8).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Makes every object too large to be put in order before the text ends.
fn bulky(value: Value) -> Value {
    match value {
        Value::Array(elements) => elements.into_iter().map(bulky).collect(),
        Value::Object(members) => {
            let padding = ("padding".to_owned(), Value::from(" ".repeat(1500)));
            members.into_iter().map(|(key, value)| (key, bulky(value))).chain([padding]).collect()
        }
        leaf => leaf,
    }
}

/// Writes the value loosely, taking choices from `dice`.
fn loose(value: &Value, dice: &mut impl FnMut(usize) -> usize, out: &mut String) {
    let space = |dice: &mut dyn FnMut(usize) -> usize, out: &mut String| {
        out.push_str(["", "", " ", "\r\n\t "][dice(4)]);
    };
    space(dice, out);
    match value {
        Value::Number(number) => {
            let double = number.as_f64().expect("a double");
            match dice(3) {
                0 => write!(out, "{double:E}").expect("a string takes all"),
                1 => write!(out, "{double:?}").expect("a string takes all"),
                _ => reference(value, out),
            }
        }
        Value::String(text) => loose_string(text, dice, out),
        Value::Array(elements) => {
            out.push('[');
            for (n, element) in elements.iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                loose(element, dice, out);
            }
            space(dice, out);
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            for n in (1..members.len()).rev() {
                members.swap(n, dice(n + 1));
            }
            out.push('{');
            for (n, (key, value)) in members.into_iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                space(dice, out);
                loose_string(key, dice, out);
                space(dice, out);
                out.push(':');
                loose(value, dice, out);
            }
            out.push('}');
        }
        _ => reference(value, out),
    }
    space(dice, out);
}

fn loose_string(text: &str, dice: &mut impl FnMut(usize) -> usize, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match dice(6) {
            0 => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04X}").expect("a string takes all");
                }
            }
            _ if char == '/' => out.push_str("\\/"),
            _ => {
                let mut quoted = String::new();
                reference_string(char.encode_utf8(&mut [0; 4]), &mut quoted);
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
    }
    out.push('"');
}

/// A cheap source of choices (a linear congruence), the same for the same seed.
fn dice(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |sides| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % sides
    }
}

/// Bytes of which many are JSON and most are nearly so.
fn jsonish() -> impl Strategy<Value = Vec<u8>> {
    let piece = proptest::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"b\":",
        "\"\":",
        "\"\\n\"",
        "\\",
        "\\u",
        "\\u0061",
        "\\ud83d",
        "\\ude00",
        "\"\\ud83d\\ude00\"",
        "0",
        "-",
        "1",
        "12",
        ".",
        "e",
        "E+",
        "5",
        "-0",
        "1.5",
        "1e2",
        "01",
        "true",
        "false",
        "null",
        "nul",
        " ",
        "\n",
        "\t",
        "\0",
        "é",
        "\u{feff}",
        "[1,2]",
        "{\"a\":1}",
        "{\"b\":1,\"a\":[]}",
        "\r",
    ]);
    let pieces = vec(piece, 0..16).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![
        2 => pieces.clone(),
        // Canonical texts with one byte changed are nearly JSON, too.
        2 => (any_value(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(value, at, byte)| {
            let mut text = to_vec(&value).expect("canonical JSON");
            let at = at.index(text.len());
            text[at] = byte;
            text
        }),
        1 => pieces.prop_map(|text| [b"[", &text[..], b"]"].concat()),
        1 => vec(any::<u8>(), 0..40),
    ]
}

fn canonical(value: &Value) -> String {
    let mut out = String::new();
    reference(value, &mut out);
    out
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).expect("UTF-8")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn encoding_is_what_the_reference_writes(value in any_value()) {
        let text = to_vec(&value).expect("canonical JSON");
        prop_assert_eq!(text_of(&text), canonical(&value));
        prop_assert_eq!(check(&text, Limits::default()), Ok(Form::Canonical));
        prop_assert_eq!(canonicalize(&text, Limits::default()), Ok(text));
    }

    #[test]
    fn large_objects_are_put_in_order_too(value in any_value().prop_map(bulky)) {
        let text = to_vec(&value).expect("canonical JSON");
        prop_assert_eq!(text_of(&text), canonical(&value));
        let compact = serde_json::to_vec(&value).expect("JSON");
        prop_assert_eq!(canonicalize(&compact, Limits::default()), Ok(text));
    }

    #[test]
    fn canonicalizing_undoes_what_is_loose(value in any_value(), seed in any::<u64>()) {
        let mut text = String::new();
        loose(&value, &mut dice(seed), &mut text);
        let out = canonicalize(text.as_bytes(), Limits::default());
        let out = out.unwrap_or_else(|error| panic!("{error}: {text}"));
        prop_assert_eq!(text_of(&out), canonical(&value));
        let is_canonical = check(text.as_bytes(), Limits::default()) == Ok(Form::Canonical);
        prop_assert_eq!(is_canonical, out == text.as_bytes());
    }

    #[test]
    fn strings_survive_at_any_length(text in "[ -~\\n\"é]{0,200}") {
        let out = to_vec(&text).expect("canonical JSON");
        prop_assert_eq!(check(&out, Limits::default()), Ok(Form::Canonical));
        let back: String = serde_json::from_slice(&out).expect("JSON");
        prop_assert_eq!(back, text);
    }

    #[test]
    fn numbers_are_judged_as_ecmascript_prints_them(text in "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?") {
        let value: f64 = text.parse().expect("a number");
        let printed = ryu_js::Buffer::new().format(value).to_owned();
        match check(text.as_bytes(), Limits::default()) {
            Ok(form) => {
                prop_assert_eq!(form == Form::Canonical, printed == text, "{}", printed);
                prop_assert_eq!(canonicalize(text.as_bytes(), Limits::default()), Ok(printed.into_bytes()));
            }
            Err(error) => {
                prop_assert_eq!(error.problem, Problem::IntegerInexact);
                prop_assert_ne!(printed, text);
            }
        }
    }

    #[test]
    fn short_decimals_are_canonical_if_ecmascript_prints_them(text in "-?(0|[1-9][0-9]{0,3})\\.(0{0,8})[0-9]{0,8}[1-9]") {
        let value: f64 = text.parse().expect("a number");
        let is_canonical = check(text.as_bytes(), Limits::default()) == Ok(Form::Canonical);
        prop_assert_eq!(is_canonical, ryu_js::Buffer::new().format(value) == text);
    }

    #[test]
    fn checking_agrees_with_serde_json(text in jsonish()) {
        let ours = check(&text, Limits::default());
        let theirs = serde_json::from_slice::<Unique>(&text);
        match (ours, theirs) {
            (Ok(form), Ok(Unique(value))) => {
                let out = canonicalize(&text, Limits::default()).expect("it was checked");
                prop_assert_eq!(text_of(&out), canonical(&value));
                prop_assert_eq!(form == Form::Canonical, out == text);
            }
            (Err(_), Err(_)) => {}
            // Our rule alone.
            (Err(error), Ok(_)) => prop_assert_eq!(error.problem, Problem::IntegerInexact),
            (Ok(_), Err(error)) => prop_assert!(false, "{}", error),
        }
    }
}

/// A value in which no object has a key twice.
struct Unique(Value);

impl<'de> serde::Deserialize<'de> for Unique {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> serde::de::Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON without duplicate keys")
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
        let mut elements = Vec::new();
        while let Some(Unique(element)) = access.next_element()? {
            elements.push(element);
        }
        Ok(Unique(elements.into()))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
        let mut members = Map::new();
        while let Some((key, Unique(value))) = access.next_entry::<String, _>()? {
            if members.insert(key, value).is_some() {
                return Err(serde::de::Error::custom("duplicate key"));
            }
        }
        Ok(Unique(members.into()))
    }
}
