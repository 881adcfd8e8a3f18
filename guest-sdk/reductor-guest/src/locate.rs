//! Says where in a JSON text an error of `serde_json` is: `input.patches[3][0]`.
//!
//! `serde_json` knows only a line and a column. Following the text up to that position
//! costs nothing on the way of a good input and no code per type, unlike a deserializer
//! that keeps track of its path.

use crate::wording::{reword, shorten};

/// Describes `error`, which came from decoding `json`: `<path>: <what is wrong>`.
///
/// `root` names the whole text.
pub(crate) fn describe(error: &serde_json::Error, json: &[u8], root: &str) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let what = text.strip_suffix(&position).unwrap_or(&text);
    let path = path_at(json, offset_of(json, error.line(), error.column()), root);
    format!("{path}: {}", reword(what))
}

/// The offset in bytes of a line (from 1) and a column (bytes before it in the line).
fn offset_of(json: &[u8], line: usize, column: usize) -> usize {
    let line_start: usize =
        json.split_inclusive(|&byte| byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    line_start + column
}

/// A container that the walk has entered, and where it is inside.
enum Place<'a> {
    /// In an object; the key once it was read.
    Object(Option<&'a [u8]>),
    /// In an array, at an index.
    Array(usize),
}

/// The path of the innermost value that touches `offset`.
fn path_at(json: &[u8], offset: usize, root: &str) -> String {
    let mut places: Vec<Place<'_>> = Vec::new();
    let mut at = 0;
    while at < json.len() && at <= offset {
        let (start, byte) = (at, json[at]);
        at = token_end(json, start);
        match byte {
            b'{' | b'[' if start == offset => return render(root, &places),
            b'{' => places.push(Place::Object(None)),
            b'[' => places.push(Place::Array(0)),
            b'}' | b']' => {
                places.pop();
                if at == offset {
                    return render(root, &places);
                }
            }
            b',' => match places.last_mut() {
                Some(Place::Object(key)) => *key = None,
                Some(Place::Array(index)) => *index += 1,
                None => {}
            },
            b':' | b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => match places.last_mut() {
                Some(Place::Object(key @ None)) if at < offset => *key = Some(&json[start..at]),
                _ if at >= offset => return render_value(root, &places),
                _ => {}
            },
        }
    }
    places.pop();
    render(root, &places)
}

/// The path of a value, or of the object around a key that was just read.
fn render_value(root: &str, places: &[Place<'_>]) -> String {
    match places {
        [outer @ .., Place::Object(None)] => render(root, outer),
        _ => render(root, places),
    }
}

/// Where the token that begins at `start` ends.
fn token_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    match json[start] {
        b'"' => {
            while at < json.len() && json[at] != b'"' {
                at += if json[at] == b'\\' { 2 } else { 1 };
            }
            (at + 1).min(json.len())
        }
        b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => at,
        _ => {
            while at < json.len() && !b"{}[],: \t\r\n\"".contains(&json[at]) {
                at += 1;
            }
            at
        }
    }
}

fn render(root: &str, places: &[Place<'_>]) -> String {
    let mut path = root.to_owned();
    for place in places {
        match place {
            Place::Array(index) => path.push_str(&format!("[{index}]")),
            Place::Object(None) => {}
            Place::Object(Some(quoted)) => {
                push_key(&mut path, String::from_utf8_lossy(quoted).trim_matches('"'));
            }
        }
    }
    path
}

/// Goes on to a member: `.name` or `["two words"]`.
pub(crate) fn push_key(path: &mut String, key: &str) {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    path.push_str(&if plain { format!(".{}", shorten(key)) } else { format!("[\"{}\"]", shorten(key)) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors of its decoding matter")]
    struct Form {
        name: String,
        #[serde(default)]
        edits: Vec<(u32, String)>,
        #[serde(default, rename = "two words")]
        two_words: Option<Box<Form>>,
    }

    #[track_caller]
    fn check(json: &str, expected: &str) {
        let error = serde_json::from_str::<Form>(json).expect_err("the case is about an error");
        assert_eq!(describe(&error, json.as_bytes(), "input"), expected);
    }

    #[test]
    fn names_the_value_that_has_the_wrong_type() {
        check(r#"{"name":1}"#, "input.name: expected a string, found 1");
        check(r#"{"name": {}}"#, "input.name: expected a string, found an object");
        check("{\n  \"name\": [1]\n}", "input.name: expected a string, found an array");
        check(
            r#"{"name":"a","edits":[[1,"b"],[2.5,"c"]]}"#,
            "input.edits[1][0]: expected an integer from 0 to 4294967295, found 2.5",
        );
        check(
            r#"{"name":"a, [\" b","edits":[[-1,"b"]]}"#,
            "input.edits[0][0]: expected an integer from 0 to 4294967295, found -1",
        );
        check("7", "input: expected an object, found 7");
    }

    #[test]
    fn names_the_object_that_lacks_a_field_or_has_one_too_many() {
        check("{}", "input: missing field `name`");
        check(r#"{"name":"a","two words":{"edits":[]}}"#, r#"input["two words"]: missing field `name`"#);
        check(
            r#"{"name":"a","two words":{"x":1}}"#,
            r#"input["two words"]: unknown field `x`, expected one of `name`, `edits`, `two words`"#,
        );
        check(r#"{"name":"a","edits":[[1]]}"#, "input.edits[0]: expected an array of length 2, found a length of 1");
    }

    #[test]
    fn survives_what_is_not_json() {
        for json in ["", "{", "\"", "\"\\", "{\"a", "]", "{\"name\":\"a\"} x", "{\"name\":}", "[[["] {
            let error = serde_json::from_str::<Form>(json).expect_err("the case is about an error");
            assert!(describe(&error, json.as_bytes(), "input").starts_with("input"), "{json}");
        }
    }

    #[test]
    fn does_not_repeat_long_values() {
        let json = format!(r#"{{"edits":"{}"}}"#, "ä".repeat(10_000));
        let error = serde_json::from_str::<Form>(&json).expect_err("a string is no list");
        let message = describe(&error, json.as_bytes(), "input");
        assert!(message.len() < 320 && message.ends_with('…'), "{message}");
    }
}
