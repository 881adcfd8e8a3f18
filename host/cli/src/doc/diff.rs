//! What two JSON values differ in.

use serde::Serialize;
use serde_json::Value;

/// One difference: of what was there before and is no more, of what is there now, or of both.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    /// Where, such as `global.items[3].text`.
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Value>,
}

/// Everything that leads from one value to the other, in the order of the values.
pub(crate) fn changes(path: &str, before: Option<&Value>, after: Option<&Value>) -> Vec<Change> {
    let mut found = Vec::new();
    compare(path, before, after, &mut found);
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let added = after.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(added) {
                compare(&member(path, key), before.get(key), after.get(key), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => compare_lists(path, before, after, found),
        (before, after) => {
            found.push(Change { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
        }
    }
}

/// What both begin and end with is left out, so that an element that came in between is one
/// change. Positions are those of the list that has the element; of both, the later one.
fn compare_lists(path: &str, before: &[Value], after: &[Value], found: &mut Vec<Change>) {
    let shorter = before.len().min(after.len());
    let start = (0..shorter).take_while(|at| before[*at] == after[*at]).count();
    let same_end = |at: &usize| before[before.len() - 1 - at] == after[after.len() - 1 - at];
    let end = (0..shorter - start).take_while(same_end).count();
    let (before, after) = (&before[start..before.len() - end], &after[start..after.len() - end]);
    for at in 0..before.len().max(after.len()) {
        compare(&format!("{path}[{}]", start + at), before.get(at), after.get(at), found);
    }
}

fn member(path: &str, key: &str) -> String {
    let is_name = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'));
    if is_name { format!("{path}.{key}") } else { format!("{path}[{}]", Value::from(key)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(before: Value, after: Value) -> Vec<(String, Option<Value>, Option<Value>)> {
        let changes = changes("global", Some(&before), Some(&after));
        changes.into_iter().map(|Change { path, before, after }| (path, before, after)).collect()
    }

    #[test]
    fn what_is_the_same_is_no_change() {
        assert_eq!(paths(json!({"a": [1, {"b": null}]}), json!({"a": [1, {"b": null}]})), []);
    }

    #[test]
    fn members_are_added_removed_and_changed() {
        assert_eq!(
            paths(json!({"gone": 1, "other": 2, "same": 3}), json!({"other": "2", "same": 3, "a b": null})),
            [
                ("global.gone".to_owned(), Some(json!(1)), None),
                ("global.other".to_owned(), Some(json!(2)), Some(json!("2"))),
                ("global[\"a b\"]".to_owned(), None, Some(json!(null))),
            ]
        );
    }

    #[test]
    fn an_element_between_others_is_one_change() {
        assert_eq!(paths(json!([1, 2, 3]), json!([1, 9, 2, 3])), [("global[1]".to_owned(), None, Some(json!(9)))]);
        assert_eq!(paths(json!([1, 1, 1]), json!([1, 1])), [("global[2]".to_owned(), Some(json!(1)), None)]);
    }
}
