//! How two runs of the same job differed, in words and values that an author can act on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::failure::ApplyError;
use crate::hash;
use crate::ids::{Scope, StateHash};
use crate::reducer::DispatchRequest;
use crate::text::printable;

mod walk;

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

/// The first difference of two states.
struct Difference {
    path: Option<String>,
    values: (String, String),
    /// Whether the values there are lists of the same elements.
    same_elements: bool,
}

impl Difference {
    fn of(resident: &[u8], fresh: &[u8]) -> Self {
        let texts = std::str::from_utf8(resident).ok().zip(std::str::from_utf8(fresh).ok());
        let Some((a, b)) = texts else {
            let values = excerpts(&String::from_utf8_lossy(resident), &String::from_utf8_lossy(fresh));
            return Self { path: None, values, same_elements: false };
        };
        match walk::first_difference(a, b) {
            Some(found) => found.described(a, b),
            None => Self { path: None, values: excerpts(a, b), same_elements: false },
        }
    }
}

impl walk::Found<'_> {
    fn described(&self, a: &str, b: &str) -> Difference {
        let thorough = a.len().max(b.len()) <= THOROUGH_BYTES_MAX;
        // A list whose elements came in another order is one difference, whatever is inside of them.
        let reordered = self.steps.iter().enumerate().filter(|_| thorough).find_map(|(depth, step)| {
            let list = |text| walk::value(text, step.begins_at).filter(|value| value.starts_with('['));
            let (a, b) = list(a).zip(list(b))?;
            same_elements(a, b).then_some((depth, (a, b)))
        });
        let nothing = "nothing";
        let innermost = (self.values.0.unwrap_or(nothing), self.values.1.unwrap_or(nothing));
        let (depth, (first, second)) = reordered.unwrap_or((self.steps.len(), innermost));
        let path: String = self.steps[..depth].iter().map(|step| spelled(step.kind)).collect();
        Difference {
            path: Some(path.trim_start_matches('.').to_owned()).filter(|path| !path.is_empty()),
            values: excerpts(first, second),
            same_elements: reordered.is_some(),
        }
    }
}

/// A step of a path, such as `.key`, `["a key"]` or `[3]`.
fn spelled(step: walk::StepKind<'_>) -> String {
    match step {
        walk::StepKind::Element(position) => format!("[{position}]"),
        walk::StepKind::Member(key) => {
            let name = &key[1..key.len() - 1];
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let plain = !name.is_empty() && name.len() <= EXCERPT_CHARS && name.bytes().all(is_plain);
            if plain { format!(".{name}") } else { format!("[{}]", excerpt(key, 0)) }
        }
    }
}

/// Whether two lists have the same elements.
fn same_elements(a: &str, b: &str) -> bool {
    let sorted = |list| {
        let mut elements = walk::elements(list)?;
        elements.sort_unstable();
        Some(elements)
    };
    let (a, b) = (sorted(a), sorted(b));
    a.is_some() && a == b
}

/// Leaves out what two long texts have in common at their start, and what follows much later.
fn excerpts(a: &str, b: &str) -> (String, String) {
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let long = a.len().max(b.len()) > EXCERPT_CHARS;
    let skipped = if long { common.saturating_sub(BEFORE_CHARS) } else { 0 };
    (excerpt(a, skipped), excerpt(b, skipped))
}

/// Some characters of a text, with nothing in them that a terminal would obey or a reader not see.
fn excerpt(text: &str, skipped: usize) -> String {
    let before = if skipped > 0 { "…" } else { "" };
    let mut rest = text.chars().skip(skipped);
    let shown: String = rest.by_ref().take(EXCERPT_CHARS).flat_map(printable).collect();
    let after = if rest.next().is_some() { "…" } else { "" };
    format!("{before}{shown}{after}")
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
    fn keys_are_told_apart_in_the_order_of_canonical_json() {
        let cases = [
            (r#"{"a":1,"z":[]}"#, r#"{"z":[]}"#, "a", "1", "nothing"),
            (r#"{"z":[]}"#, r#"{"a":1,"z":[]}"#, "a", "nothing", "1"),
            ("{}", r#"{"a":{"b":[]}}"#, "a", "nothing", r#"{"b":[]}"#),
            (r#"{"a":{"x":1,"y":2}}"#, r#"{"a":{"x":1}}"#, "a.y", "2", "nothing"),
            // By UTF-16, a character beyond the first 65,536 comes before one of the last of those.
            ("{\"\u{1f980}\":1}", "{\"\u{ffee}\":1}", "[\"\u{1f980}\"]", "1", "nothing"),
            (r#"{"\n":1}"#, r#"{"a":1}"#, r#"["\n"]"#, "1", "nothing"),
            (r#"{"a\"b":"]","c":[1]}"#, r#"{"a\"b":"]","c":[2]}"#, "c[0]", "1", "2"),
        ];
        for (resident, fresh, path, a, b) in cases {
            let found = state(resident, fresh);
            assert_eq!(found.path.as_deref(), Some(path), "{resident}");
            assert_eq!((found.resident.value.as_str(), found.fresh.value.as_str()), (a, b), "{resident}");
        }
    }

    #[test]
    fn a_number_that_only_begins_like_another_is_another() {
        let cases = [("[1,2]", "[1,25]", "[1]", "2", "25"), ("[1]", "[12]", "[0]", "1", "12")];
        for (resident, fresh, path, a, b) in cases {
            let found = state(resident, fresh);
            assert_eq!(found.path.as_deref(), Some(path), "{resident}");
            assert_eq!((found.resident.value.as_str(), found.fresh.value.as_str()), (a, b));
        }
    }

    #[test]
    fn the_outermost_list_in_another_order_is_the_difference() {
        let found = state(r#"{"a":[["x","y"],["z"]]}"#, r#"{"a":[["z"],["x","y"]]}"#);
        assert_eq!((found.path.as_deref(), found.hint), (Some("a"), Hint::Order));
        let found = state(r#"[[2,1],[3]]"#, r#"[[1,2],[3]]"#);
        assert_eq!((found.path.as_deref(), found.hint), (Some("[0]"), Hint::Order));
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
    fn what_a_terminal_would_obey_or_a_reader_not_see_is_spelled_out() {
        let found = state("\"\u{9b}31m\u{202e}\u{200b}\"", r#""""#);
        assert_eq!(found.resident.value, r#""\u{9b}31m\u{202e}\u{200b}""#);
        let found = state("{\"a\u{2066}\":1}", "{\"a\u{2066}\":2}");
        assert_eq!(found.path.as_deref(), Some(r#"["a\u{2066}"]"#));
    }

    #[test]
    fn what_is_no_json_is_shown_as_it_is() {
        let found = state("{", "}");
        assert_eq!((found.path, found.resident.value.as_str(), found.fresh.value.as_str()), (None, "{", "}"));
        for text in ["", "[", "{", "[,", "{,", r#"{"a"#, r#"{"a":"#, r#"{"a":1,"#, "[[1", "]", r#"["\"#, "[1,", "é"] {
            for other in ["[1]", r#"{"a":1}"#, "{}", "[]", "1", "[[", r#"{"a":1,2"#, "\u{200b}"] {
                let found = state(text, other);
                assert_ne!(found.resident.text, found.fresh.text);
            }
        }
    }
}
