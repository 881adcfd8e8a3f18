//! An action that a reducer asks for.

use serde::Serialize;

use crate::model::DispatchRequest;

/// An action to be executed as a job of its own, for
/// [`Context::dispatch`](crate::Context::dispatch).
///
/// ```
/// # use reductor_guest::prelude::*;
/// # fn apply(ctx: &mut Context) {
/// #[derive(Serialize)]
/// struct Increment { by: i64 }
///
/// ctx.dispatch(Dispatch::to_self("INCREMENT", &Increment { by: 2 }));
/// ctx.dispatch(Dispatch::to_document("c2", "RESET", &()).in_scope("local"));
/// # }
/// ```
///
/// It runs once the present action is committed, with the timestamp of the present action and
/// without a signer. A host fails the job that dispatches to a scope which the document's
/// model does not have, without an action type, or more than 64 actions in one; the testing
/// [`Document`](crate::testing::Document) panics. The action type is not compared with the
/// model's manifest: an unknown one becomes a job that fails.
///
/// Users can submit the same action themselves, so a reducer must not trust it more.
#[derive(Debug, Clone)]
#[must_use = "pass it to `Context::dispatch`"]
pub struct Dispatch {
    document_id: Option<String>,
    action_type: String,
    scope: Option<String>,
    input: Vec<u8>,
}

impl Dispatch {
    /// An action on the reducer's own document. `&()` is an input of `null`.
    ///
    /// # Panics
    ///
    /// If `input` has no JSON.
    #[track_caller]
    pub fn to_self(action_type: impl Into<String>, input: &(impl Serialize + ?Sized)) -> Self {
        let action_type = action_type.into();
        let input = match reductor_json::to_vec(input) {
            Ok(input) => input,
            Err(error) => panic!("the input of the dispatched {action_type} has no JSON: {error}"),
        };
        Self { document_id: None, action_type, scope: None, input }
    }

    /// An action on another document.
    ///
    /// It takes a grant of the operator, from model to model (`reductor run --grant FROM=TO`),
    /// and the document must exist; else the job that dispatches fails.
    ///
    /// # Panics
    ///
    /// If `input` has no JSON.
    #[track_caller]
    pub fn to_document(
        document_id: impl Into<String>,
        action_type: impl Into<String>,
        input: &(impl Serialize + ?Sized),
    ) -> Self {
        Self { document_id: Some(document_id.into()), ..Self::to_self(action_type, input) }
    }

    /// Names the scope that the action changes. Without it, the scope of the action that is
    /// being applied.
    pub fn in_scope(self, scope: impl Into<String>) -> Self {
        Self { scope: Some(scope.into()), ..self }
    }

    pub(crate) fn into_request(self, scope_of_cause: &str) -> DispatchRequest {
        DispatchRequest {
            document_id: self.document_id,
            action_type: self.action_type,
            scope: self.scope.unwrap_or_else(|| scope_of_cause.to_owned()),
            input: self.input,
        }
    }
}
