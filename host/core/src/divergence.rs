//! How two runs of the same job differed, in words and values that an author can act on.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::ApplyError;
use crate::hash;
use crate::ids::{Scope, StateHash};
use crate::reducer::DispatchRequest;

/// Bytes of each side that a report keeps.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Characters of a value that are shown where two differ, and how many of them come before the
/// difference.
const EXCERPT_CHARS: usize = 120;
const BEFORE_CHARS: usize = 30;
/// Bytes of a state up to which lists are compared without regard to their order, which takes
/// longer.
const THOROUGH_BYTES_MAX: usize = 1 << 20;

/// A job that came out differently on a fresh instance, so that its reducer is not pure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Divergence {
    /// What differs.
    pub kind: DivergenceKind,
    /// After which action of the job, by its position.
    pub action_index: usize,
    /// The scope that differs, or that the action is for.
    pub scope: Scope,
    /// Where in the state the first difference is, such as `items[3].text`; absent if the whole
    /// differs or it is no state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What the instance that had lived longer made.
    pub resident: Evidence,
    /// What a fresh instance made of the same snapshot and actions.
    pub fresh: Evidence,
    /// What is likely to be the cause.
    pub hint: Hint,
}

/// What two runs of a job differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DivergenceKind {
    /// The state of the action's scope.
    State,
    /// Whether the action was applied, or the words in which it was refused.
    Answer,
    /// The actions that were dispatched.
    Dispatches,
    /// The document holds something else than its actions returned: it changed a scope that they
    /// are not for. `resident` is what it holds, `fresh` what a fresh instance would be loaded
    /// from.
    UnloggedChange,
}

/// One side of a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The hash of the state, where a state differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<StateHash>,
    /// The state as JSON, or the answer in words; its beginning, if it is long.
    pub text: String,
    /// How many bytes `text` would have, were it not cut.
    pub bytes: usize,
    /// The value at `path`, cut to where the two differ.
    pub value: String,
}

/// What makes reducers impure, as far as a difference tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hint {
    /// The same elements in another order.
    Order,
    /// Anything that an instance keeps and a snapshot does not.
    HiddenState,
    /// A scope that the action is not for was changed.
    OtherScope,
    /// What the model returned as its state, it cannot load, or load alike.
    Snapshot,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Order => {
                "the same elements in another order: likely the order of a hash map; use an ordered map, or sort"
            }
            Self::HiddenState => {
                "something that an instance keeps and a snapshot does not: a global, static or cache, a field that is \
                 not part of the state's JSON, a hash map's order, cached randomness, or an address"
            }
            Self::OtherScope => {
                "a reducer changes only the scope of its action, and returns that scope's state; for another scope \
                 it dispatches an action"
            }
            Self::Snapshot => {
                "a fresh instance fails on the state that the model itself returned: what it writes must be what it \
                 reads"
            }
        })
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, scope, resident, fresh, .. } = self;
        match kind {
            DivergenceKind::State => write!(f, "a fresh instance made another state of scope `{scope}`")?,
            DivergenceKind::Answer => f.write_str("a fresh instance gave another answer")?,
            DivergenceKind::Dispatches => f.write_str("a fresh instance dispatched other actions")?,
            DivergenceKind::UnloggedChange => {
                return write!(
                    f,
                    "the document holds another state of scope `{scope}` than its actions returned{}: it holds {}, \
                     and {} was returned",
                    At(self.path.as_deref()),
                    resident.value,
                    fresh.value
                );
            }
        }
        let at = At(self.path.as_deref());
        write!(f, "{at}: the resident one made {}, the fresh one {}", resident.value, fresh.value)
    }
}

struct At<'a>(Option<&'a str>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |path| write!(f, " at `{path}`"))
    }
}

impl Divergence {
    /// Two states of a scope that are not the same.
    pub(crate) fn of_states(
        kind: DivergenceKind,
        action_index: usize,
        scope: &Scope,
        resident: &[u8],
        fresh: &[u8],
    ) -> Self {
        let found = Difference::of(resident, fresh);
        let path = found.path;
        let [resident, fresh] = [(resident, found.values.0), (fresh, found.values.1)].map(|(state, value)| {
            let text = String::from_utf8_lossy(state);
            Evidence { hash: Some(hash::state_hash(state)), value, ..Evidence::of(&text) }
        });
        let same_elements = found.same_elements;
        let hint = match kind {
            DivergenceKind::UnloggedChange => Hint::OtherScope,
            _ if same_elements => Hint::Order,
            _ => Hint::HiddenState,
        };
        Self { kind, action_index, scope: scope.clone(), path, resident, fresh, hint }
    }

    /// Two answers, or lists of dispatched actions, that are not the same.
    pub(crate) fn of_texts(
        kind: DivergenceKind,
        action_index: usize,
        scope: &Scope,
        resident: &str,
        fresh: &str,
        hint: Hint,
    ) -> Self {
        let values = excerpts(resident, fresh);
        let resident = Evidence { value: values.0, ..Evidence::of(resident) };
        let fresh = Evidence { value: values.1, ..Evidence::of(fresh) };
        Self { kind, action_index, scope: scope.clone(), path: None, resident, fresh, hint }
    }
}

impl Evidence {
    fn of(text: &str) -> Self {
        let cut = text.floor_char_boundary(TEXT_BYTES_MAX);
        Self { hash: None, text: text[..cut].to_owned(), bytes: text.len(), value: String::new() }
    }
}

/// What a reducer did with an action, in words.
pub(crate) fn answer(error: &ApplyError) -> String {
    match error {
        ApplyError::Rejected { code, message } => format!("a refusal: {message} ({code})"),
        ApplyError::Failed(failure) => format!("a failure ({}): {}", failure.reason.name(), failure.message),
        ApplyError::Interrupted => "an interruption".to_owned(),
        ApplyError::Host(fault) => format!("a fault of the host: {fault}"),
    }
}

/// What a reducer dispatched, one action a line.
pub(crate) fn dispatches(requests: &[DispatchRequest]) -> String {
    let line = |request: &DispatchRequest| {
        let target = request.document_id.as_ref().map(|document| format!(" to document `{document}`"));
        let (action_type, scope, input) = (&request.action_type, &request.scope, request.input.as_str());
        format!("`{action_type}`{} in scope `{scope}`: {input}", target.unwrap_or_default())
    };
    if requests.is_empty() { "nothing".to_owned() } else { requests.iter().map(line).collect::<Vec<_>>().join("\n") }
}

/// The first difference of two JSON texts.
struct Difference {
    path: Option<String>,
    values: (String, String),
    /// Whether the values there are lists of the same elements.
    same_elements: bool,
}

impl Difference {
    fn of(resident: &[u8], fresh: &[u8]) -> Self {
        let parse = |json| serde_json::from_slice::<Value>(json).ok();
        let (a, b) = (parse(resident), parse(fresh));
        let thorough = resident.len().max(fresh.len()) <= THOROUGH_BYTES_MAX;
        let Some(found) = a.as_ref().zip(b.as_ref()).and_then(|(a, b)| Found::first(a, b, thorough)) else {
            let values = excerpts(&String::from_utf8_lossy(resident), &String::from_utf8_lossy(fresh));
            return Self { path: None, values, same_elements: false };
        };
        let shown = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        let path: String = found.way.iter().rev().map(String::as_str).collect();
        Self {
            path: Some(path.trim_start_matches('.').to_owned()).filter(|path| !path.is_empty()),
            values: excerpts(&shown(found.a), &shown(found.b)),
            same_elements: found.same_elements,
        }
    }
}

/// Where two values begin to differ.
struct Found<'a> {
    /// The steps from there outwards.
    way: Vec<String>,
    a: Option<&'a Value>,
    b: Option<&'a Value>,
    same_elements: bool,
}

impl<'a> Found<'a> {
    /// The innermost values that differ; lists of the same elements in another order are one
    /// difference. The depth of a state is bounded, and so is the recursion.
    fn first(a: &'a Value, b: &'a Value, thorough: bool) -> Option<Self> {
        let here = Self { way: Vec::new(), a: Some(a), b: Some(b), same_elements: false };
        match (a, b) {
            (Value::Object(first), Value::Object(second)) => {
                let added = second.keys().filter(|key| !first.contains_key(*key));
                first.keys().chain(added).find_map(|key| {
                    Self::inside(first.get(key), second.get(key), thorough).map(|found| found.within(member(key)))
                })
            }
            (Value::Array(first), Value::Array(second)) => {
                let found = (0..first.len().max(second.len())).find_map(|at| {
                    Self::inside(first.get(at), second.get(at), thorough).map(|found| found.within(format!("[{at}]")))
                })?;
                let same_elements = thorough && are_same_elements(first, second);
                Some(if same_elements { Self { same_elements, ..here } } else { found })
            }
            _ => (a != b).then_some(here),
        }
    }

    fn inside(a: Option<&'a Value>, b: Option<&'a Value>, thorough: bool) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Self::first(a, b, thorough),
            _ => Some(Self { way: Vec::new(), a, b, same_elements: false }),
        }
    }

    fn within(mut self, step: String) -> Self {
        self.way.push(step);
        self
    }
}

fn member(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { format!(".{key}") } else { format!("[{}]", excerpt(&Value::from(key).to_string(), 0)) }
}

fn are_same_elements(a: &[Value], b: &[Value]) -> bool {
    let sorted = |list: &[Value]| {
        let mut texts: Vec<_> = list.iter().map(Value::to_string).collect();
        texts.sort_unstable();
        texts
    };
    a.len() == b.len() && sorted(a) == sorted(b)
}

/// Leaves out what two long texts have in common at their start, and what follows much later.
fn excerpts(a: &str, b: &str) -> (String, String) {
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let long = a.len().max(b.len()) > EXCERPT_CHARS;
    let skipped = if long { common.saturating_sub(BEFORE_CHARS) } else { 0 };
    (excerpt(a, skipped), excerpt(b, skipped))
}

/// Some characters of a text, with nothing in them that a terminal would obey.
fn excerpt(text: &str, skipped: usize) -> String {
    let before = if skipped > 0 { "…" } else { "" };
    let mut rest = text.chars().skip(skipped);
    let shown: String = rest.by_ref().take(EXCERPT_CHARS).flat_map(printable).collect();
    let after = if rest.next().is_some() { "…" } else { "" };
    format!("{before}{shown}{after}")
}

fn printable(character: char) -> impl Iterator<Item = char> {
    let harmless = if character.is_control() { None } else { Some(character) };
    let escaped = if harmless.is_some() { None } else { Some(character.escape_default()) };
    harmless.into_iter().chain(escaped.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(resident: &str, fresh: &str) -> Divergence {
        let scope = Scope::from(Scope::GLOBAL);
        Divergence::of_states(DivergenceKind::State, 0, &scope, resident.as_bytes(), fresh.as_bytes())
    }

    #[test]
    fn the_first_difference_is_found_by_its_path() {
        let cases = [
            (r#"{"a":1,"b":[1,{"c":2}]}"#, r#"{"a":1,"b":[1,{"c":3}]}"#, "b[1].c", "2", "3"),
            (r#"{"a":[1,2]}"#, r#"{"a":[1]}"#, "a[1]", "2", "nothing"),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#, "b", "nothing", "null"),
            (r#"{"a b":{"":1}}"#, r#"{"a b":{"":2}}"#, r#"["a b"][""]"#, "1", "2"),
            (r#"[[1],"x"]"#, r#"[[1],"y"]"#, "[1]", r#""x""#, r#""y""#),
        ];
        for (resident, fresh, path, a, b) in cases {
            let found = state(resident, fresh);
            assert_eq!(found.path.as_deref(), Some(path), "{resident}");
            assert_eq!((found.resident.value.as_str(), found.fresh.value.as_str()), (a, b));
            assert_eq!(found.hint, Hint::HiddenState);
        }
        assert_eq!(state("1", "2").path, None, "all of it differs");
    }

    #[test]
    fn elements_in_another_order_are_one_difference() {
        let found = state(r#"{"keys":["a","b","c"]}"#, r#"{"keys":["a","c","b"]}"#);
        assert_eq!((found.path.as_deref(), found.hint), (Some("keys"), Hint::Order));
        let found = state(r#"{"keys":["a","b"]}"#, r#"{"keys":["b","b"]}"#);
        assert_eq!((found.path.as_deref(), found.hint), (Some("keys[0]"), Hint::HiddenState));
    }

    #[test]
    fn long_states_are_cut_and_shown_where_they_differ() {
        let text = |end: &str| format!(r#"{{"content":"{}{end}{}"}}"#, "é".repeat(100_000), "z".repeat(500));
        let found = state(&text("here"), &text("there"));
        assert_eq!(found.path.as_deref(), Some("content"));
        assert!(found.resident.value.contains("éhere") && found.fresh.value.contains("éthere"), "{found}");
        assert!(found.resident.value.chars().count() <= EXCERPT_CHARS + 2);
        assert!(found.resident.text.len() <= TEXT_BYTES_MAX);
        assert_eq!(found.resident.bytes, text("here").len());
        assert_eq!(found.resident.hash, Some(hash::state_hash(text("here").as_bytes())));
    }

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        let found = state("\"\u{9b}31m\"", r#""""#);
        assert_eq!(found.resident.value, r#""\u{9b}31m""#);
    }

    #[test]
    fn what_is_no_json_is_shown_as_it_is() {
        let found = state("{", "}");
        assert_eq!((found.path, found.resident.value.as_str(), found.fresh.value.as_str()), (None, "{", "}"));
    }
}
