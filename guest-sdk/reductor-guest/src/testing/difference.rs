//! Shows where two states differ, so that nobody has to search for it in two long lines.

use serde_json::Value;

use crate::locate;

/// States that are no longer than this together are shown whole.
const WHOLE_BYTES_MAX: usize = 200;
/// How much of a long value is shown before the first difference, and how much in all.
const BEFORE_CHARS: usize = 20;
const SHOWN_CHARS: usize = 80;

/// The first difference of two JSON texts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) first: String,
    pub(super) second: String,
    /// Where it is, to follow what is said of the two: empty if they are shown whole.
    pub(super) place: String,
}

impl Difference {
    pub(super) fn of(first: &[u8], second: &[u8]) -> Self {
        let (texts, values) = ([first, second].map(String::from_utf8_lossy), [first, second].map(parsed));
        let [first, second] = &texts;
        if let ([Some(a), Some(b)], true) = (&values, first.len() + second.len() > WHOLE_BYTES_MAX)
            && let Some((path, a, b)) = first_difference(a, b, String::new())
        {
            let (first, second) = excerpts(&shown(a), &shown(b));
            let path = path.trim_start_matches('.');
            let place = if path.is_empty() { String::new() } else { format!(" at `{path}`") };
            return Self { first, second, place };
        }
        Self { first: first.to_string(), second: second.to_string(), place: String::new() }
    }
}

fn parsed(json: &[u8]) -> Option<Value> {
    serde_json::from_slice(json).ok()
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}

type Pair<'a> = (String, Option<&'a Value>, Option<&'a Value>);

/// The innermost values that differ, and their path.
fn first_difference<'a>(a: &'a Value, b: &'a Value, path: String) -> Option<Pair<'a>> {
    let inner = |path: String, a: Option<&'a Value>, b: Option<&'a Value>| match (a, b) {
        (Some(a), Some(b)) => first_difference(a, b, path),
        _ => Some((path, a, b)),
    };
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let added = b.keys().filter(|key| !a.contains_key(*key));
            a.keys().chain(added).find_map(|key| {
                let mut path = path.clone();
                locate::push_key(&mut path, key);
                inner(path, a.get(key), b.get(key))
            })
        }
        (Value::Array(a), Value::Array(b)) => {
            (0..a.len().max(b.len())).find_map(|index| inner(format!("{path}[{index}]"), a.get(index), b.get(index)))
        }
        _ => (a != b).then_some((path, Some(a), Some(b))),
    }
}

/// Leaves out what two long texts have in common at their start, and what follows much later.
fn excerpts(a: &str, b: &str) -> (String, String) {
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let skipped = if a.len().max(b.len()) > SHOWN_CHARS { common.saturating_sub(BEFORE_CHARS) } else { 0 };
    let cut = |text: &str| {
        let shown: String = text.chars().skip(skipped).take(SHOWN_CHARS).collect();
        let before = if skipped > 0 { "…" } else { "" };
        let after = if text.chars().count() > skipped + SHOWN_CHARS { "…" } else { "" };
        format!("{before}{shown}{after}")
    };
    (cut(a), cut(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The difference of two states that are long because of another member.
    #[track_caller]
    fn check(first: Value, second: Value, expected: [&str; 3]) {
        let long = "z".repeat(WHOLE_BYTES_MAX);
        let state = |value: Value| json!({ "state": value, "z": long }).to_string().into_bytes();
        let Difference { first, second, place } = Difference::of(&state(first), &state(second));
        assert_eq!([first.as_str(), second.as_str(), place.as_str()], expected);
    }

    #[test]
    fn short_states_are_shown_whole() {
        let difference = Difference::of(br#"{"a":1}"#, br#"{"a":2}"#);
        assert_eq!([difference.first, difference.second, difference.place], [r#"{"a":1}"#, r#"{"a":2}"#, ""]);
    }

    #[test]
    fn of_long_states_the_innermost_difference_is_shown() {
        check(json!([1, {"a b": 2}]), json!([1, {"a b": 3}]), ["2", "3", r#" at `state[1]["a b"]`"#]);
        check(json!([1]), json!([1, 2]), ["nothing", "2", " at `state[1]`"]);
        check(json!({"a": 1, "b": 2}), json!({"a": 1}), ["2", "nothing", " at `state.b`"]);
        check(json!({"a": 1}), json!({"a": 1, "b": {}}), ["nothing", "{}", " at `state.b`"]);
        check(json!([]), json!({}), ["[]", "{}", " at `state`"]);
    }

    #[test]
    fn of_long_values_the_part_that_differs_is_shown() {
        let text = |middle: &str| json!(format!("{}{middle}{}", "ä".repeat(500), "b".repeat(500)));
        let around = |middle: &str| format!("…{}{middle}{}…", "ä".repeat(20), "b".repeat(59));
        check(text("1"), text("2"), [&around("1"), &around("2"), " at `state`"]);
    }
}
