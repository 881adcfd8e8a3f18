//! Says in the words of JSON what serde says in those of Rust: who sent the JSON knows neither
//! the model's types nor their names.

use std::borrow::Cow;

/// How much of one value, name or sentence is repeated in ours, in bytes: it is foreign input.
const QUOTED_BYTES_MAX: usize = 256;

/// The complaint of `serde_json`, without the position.
pub(crate) fn reword(complaint: &str) -> String {
    // From the right: a value may contain the word, what is expected seldom does.
    let parts = |start| complaint.strip_prefix(start)?.rsplit_once(", expected ");
    if let Some((value, wanted)) = parts("invalid type: ").or_else(|| parts("invalid value: ")) {
        return format!("expected {}, found {}", expected(wanted), shorten(found(value)));
    }
    if let Some((length, wanted)) = parts("invalid length ") {
        return format!("expected {}, found a length of {length}", expected(wanted));
    }
    let untagged = ["data did not match any variant of untagged enum ", "no variant of enum "];
    if untagged.iter().any(|start| complaint.starts_with(start)) {
        return "has none of the forms that are possible here".to_owned();
    }
    shorten(complaint).into_owned()
}

/// Cuts a text that is too long to be repeated.
pub(crate) fn shorten(text: &str) -> Cow<'_, str> {
    if text.len() <= QUOTED_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(QUOTED_BYTES_MAX)]))
}

/// A value that serde met: `integer `7`` is 7.
fn found(value: &str) -> &str {
    match value {
        "map" => return "an object",
        "sequence" => return "an array",
        _ => {}
    }
    if let Some(quoted) = value.strip_prefix("string ") {
        return quoted;
    }
    let number = ["boolean `", "integer `", "floating point `"].iter().find_map(|kind| value.strip_prefix(kind));
    number.and_then(|number| number.strip_suffix('`')).unwrap_or(value)
}

/// What serde and its derives wanted; the words of a hand-written visitor stay as they are.
fn expected(wanted: &str) -> Cow<'_, str> {
    let counted = |start| wanted.strip_prefix(start).map(elements);
    if let Some(length) = counted("a tuple of size ").or_else(|| counted("an array of length ")) {
        return Cow::Owned(length);
    }
    if let Some((_, json)) = OF_A_NAME.iter().find(|(kind, _)| wanted.starts_with(kind)) {
        let length = wanted.rsplit_once(" with ").and_then(|(_, rest)| rest.split_once(" element"));
        return length.map_or(Cow::Borrowed(json), |(length, _)| Cow::Owned(elements(length)));
    }
    let of_a_name = OF_A_TYPE.iter().find(|(rust, _)| *rust == wanted);
    Cow::Borrowed(of_a_name.map_or(wanted, |(_, json)| json))
}

fn elements(length: &str) -> String {
    format!("an array of length {length}")
}

/// Before the name of a type or a variant, and `with 2 elements` after it where an array had fewer.
const OF_A_NAME: [(&str, &str); 9] = [
    ("struct ", "an object"),
    ("internally tagged enum ", "an object"),
    ("adjacently tagged enum ", "an object"),
    ("tuple struct ", "an array"),
    ("tuple variant ", "an array"),
    ("unit struct ", "null"),
    ("unit variant ", "null"),
    ("a nonzero ", "an integer other than 0"),
    ("enum ", "a string or an object"),
];

const OF_A_TYPE: [(&str, &str); 19] = [
    ("u8", "an integer from 0 to 255"),
    ("u16", "an integer from 0 to 65535"),
    ("u32", "an integer from 0 to 4294967295"),
    ("u64", "an integer of 0 or more"),
    ("u128", "an integer of 0 or more"),
    ("usize", "an integer of 0 or more"),
    ("i8", "an integer from -128 to 127"),
    ("i16", "an integer from -32768 to 32767"),
    ("i32", "an integer from -2147483648 to 2147483647"),
    ("i64", "an integer"),
    ("i128", "an integer"),
    ("isize", "an integer"),
    ("f32", "a number"),
    ("f64", "a number"),
    ("unit", "null"),
    ("a map", "an object"),
    ("a sequence", "an array"),
    ("string or map", "a string or an object"),
    ("a borrowed string", "a string"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::num::NonZeroU8;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only the errors of its decoding matter")]
    struct Pair(u8, u8);

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only the errors of its decoding matter")]
    struct Named {
        name: String,
        size: u8,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only the errors of its decoding matter")]
    enum Untagged {
        Number(u8),
        Text(String),
    }

    #[derive(Deserialize)]
    #[serde(tag = "kind")]
    #[expect(dead_code, reason = "only the errors of its decoding matter")]
    enum Tagged {
        Sized { size: u8 },
    }

    #[track_caller]
    fn check<T: DeserializeOwned>(json: &str, expected: &str) {
        let error = serde_json::from_str::<T>(json).err().expect("the case is about an error");
        let text = error.to_string();
        let complaint = text.split(" at line ").next().expect("there is always a first part");
        assert_eq!(reword(complaint), expected);
    }

    #[test]
    fn values_are_shown_as_json_has_them() {
        check::<String>("null", "expected a string, found null");
        check::<String>("true", "expected a string, found true");
        check::<String>("-7", "expected a string, found -7");
        check::<String>("2.5", "expected a string, found 2.5");
        check::<String>("{}", "expected a string, found an object");
        check::<String>("[1]", "expected a string, found an array");
        check::<bool>(r#""a, expected b""#, r#"expected a boolean, found "a, expected b""#);
    }

    #[test]
    fn no_type_of_rust_is_named() {
        check::<u32>("-1", "expected an integer from 0 to 4294967295, found -1");
        check::<i64>("0.5", "expected an integer, found 0.5");
        check::<u64>("null", "expected an integer of 0 or more, found null");
        check::<f64>("[]", "expected a number, found an array");
        check::<NonZeroU8>("0", "expected an integer other than 0, found 0");
        check::<Named>("7", "expected an object, found 7");
        check::<Named>(r#"["a"]"#, "expected an array of length 2, found a length of 1");
        check::<Pair>("7", "expected an array, found 7");
        check::<Pair>("[7]", "expected an array of length 2, found a length of 1");
        check::<(u8, u8)>("[7]", "expected an array of length 2, found a length of 1");
        check::<[u8; 2]>("null", "expected an array of length 2, found null");
        check::<Vec<u8>>("{}", "expected an array, found an object");
        check::<BTreeMap<String, u8>>("[]", "expected an object, found an array");
        check::<()>("1", "expected null, found 1");
        check::<Untagged>("null", "has none of the forms that are possible here");
        check::<Tagged>("7", "expected an object, found 7");
    }

    #[test]
    fn what_says_enough_is_left_alone() {
        check::<Named>("{}", "missing field `name`");
        check::<Tagged>(r#"{"kind":"x"}"#, "unknown variant `x`, expected `Sized`");
        assert_eq!(reword("invalid type: null, expected a date"), "expected a date, found null");
    }

    #[test]
    fn long_values_are_cut() {
        let long = "ä".repeat(10_000);
        let text = reword(&format!("invalid type: string \"{long}\", expected u8"));
        assert!(text.starts_with("expected an integer from 0 to 255, found \"ää"), "{text}");
        assert!(text.len() < 320 && text.ends_with('…'), "{text}");
    }
}
