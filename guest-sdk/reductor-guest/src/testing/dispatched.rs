//! What a reducer asked of its host, and whether a host would do it.

use super::{Value, value};
use crate::model::{DispatchRequest, Effects};
use crate::{Level, Reducer};

/// The bounds of a host that nobody configured otherwise.
const DISPATCHES_PER_ACTION_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 512;
const INPUT_BYTES_MAX: usize = 1 << 20;

/// An action that the reducer has dispatched.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatched {
    /// The document to act on; the reducer's own when absent. Another one takes a grant of
    /// the operator.
    pub document_id: Option<String>,
    /// The type of the action. No host compares it with the manifest of the document's model:
    /// an action that the model does not know becomes a job that fails.
    pub action_type: String,
    /// The scope that it changes.
    pub scope: String,
    /// The parameters of the action.
    pub input: Value,
}

impl From<DispatchRequest> for Dispatched {
    fn from(request: DispatchRequest) -> Self {
        Self {
            document_id: request.document_id,
            action_type: request.action_type,
            scope: request.scope,
            input: value(&request.input),
        }
    }
}

/// What a reducer asked of its host while it applied one action.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// One more than are allowed at most.
    pub(super) dispatches: Vec<DispatchRequest>,
    pub(super) logs: Vec<(Level, String)>,
}

impl Effects for Requests {
    fn dispatch(&mut self, request: DispatchRequest) {
        if self.dispatches.len() <= DISPATCHES_PER_ACTION_MAX {
            self.dispatches.push(request);
        }
    }

    fn log(&mut self, level: Level, message: &str) {
        self.logs.push((level, message.to_owned()));
    }
}

impl Requests {
    /// Why a host fails the action even if the reducer refuses it.
    pub(super) fn too_many(&self) -> Option<String> {
        let max = DISPATCHES_PER_ACTION_MAX;
        (self.dispatches.len() > max).then(|| format!("dispatched more than {max} actions in one"))
    }

    /// Why a host fails the action of a model `R`, unless the reducer refuses it.
    pub(super) fn not_allowed<R: Reducer>(&self) -> Option<String> {
        self.dispatches.iter().find_map(not_allowed::<R>)
    }
}

fn not_allowed<R: Reducer>(request: &DispatchRequest) -> Option<String> {
    let DispatchRequest { document_id, action_type, scope, input } = request;
    if input.len() > INPUT_BYTES_MAX {
        let bytes = input.len();
        let named =
            if name_problem(action_type).is_none() { format!("`{action_type}`") } else { "an action".to_owned() };
        return Some(format!("dispatched {named} with an input of {bytes} bytes; {INPUT_BYTES_MAX} are allowed"));
    }
    let names = [("type", Some(action_type)), ("scope", Some(scope)), ("document id", document_id.as_ref())];
    for (what, name) in names {
        if let Some(problem) = name.and_then(|name| name_problem(name)) {
            return Some(format!("dispatched an action whose {what} {problem}"));
        }
    }
    // Both are parts of an operation's id, which a host joins with colons.
    for (what, key) in [("scope", Some(scope)), ("document id", document_id.as_ref())] {
        if key.is_some_and(|key| key.contains(':')) {
            return Some(format!("dispatched an action whose {what} must not contain `:`"));
        }
    }
    let to_scope = || format!("dispatched `{action_type}` to scope `{scope}`, which");
    if scope == "document" {
        return Some(format!("{} is the host's", to_scope()));
    }
    // Which scopes another document has is for its model to say, which is not here.
    let unknown = document_id.is_none() && !R::SCOPES.contains(&scope.as_str());
    unknown.then(|| format!("{} `{}` does not have", to_scope(), R::DOCUMENT_TYPE))
}

fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("must not be empty".to_owned())
    } else if name.len() > NAME_BYTES_MAX {
        Some(format!("has {} bytes; {NAME_BYTES_MAX} are allowed", name.len()))
    } else if name.chars().any(char::is_control) {
        Some("must not contain control characters".to_owned())
    } else {
        None
    }
}
