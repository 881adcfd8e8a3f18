//! A document model that does what the examples do not: it dispatches, stumbles and refuses.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use reductor_guest::Dispatch;
use reductor_guest::prelude::*;

/// How much was passed on, and how much has come in.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Relay {
    noted: u64,
    passed: u64,
    received: u64,
}

/// What can be done to a relay.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum RelayAction {
    /// Counts a text, and does not keep it: operations grow, states do not.
    Note {
        /// It.
        text: String,
    },
    /// Dispatches a `RECEIVE` to the same document.
    PassOn,
    /// Counts what was dispatched.
    Receive,
    /// Panics the first time if [`stumble_at`] has said so.
    Stumble,
    /// Is refused, always.
    Refuse,
}

static STUMBLES: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Has the next attempt at an action panic, in this process.
pub(crate) fn stumble_at(action: &str) {
    STUMBLES.lock().unwrap_or_else(PoisonError::into_inner).insert(action.to_owned());
}

impl Reducer for Relay {
    const DOCUMENT_TYPE: &'static str = "faults/relay";
    type Action = RelayAction;

    fn apply(&mut self, action: RelayAction, ctx: &mut Context) -> Result<(), Rejection> {
        match action {
            RelayAction::Note { text } => self.noted += text.len() as u64,
            RelayAction::PassOn => {
                self.passed += 1;
                ctx.dispatch(Dispatch::to_self("RECEIVE", &()));
            }
            RelayAction::Receive => self.received += 1,
            RelayAction::Stumble => {
                let stumbles = STUMBLES.lock().unwrap_or_else(PoisonError::into_inner).remove(ctx.action_id());
                if stumbles {
                    // A panic that nobody need see.
                    std::panic::resume_unwind(Box::new("stumbled, as it was told"));
                }
                self.noted += 1;
            }
            RelayAction::Refuse => reject!("REFUSED", "as always"),
        }
        Ok(())
    }
}
