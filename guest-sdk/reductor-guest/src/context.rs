//! What a reducer can see and do while it applies an action.

use std::fmt;

use crate::model::{ActionRef, Effects};
use crate::timestamp;
use crate::{Dispatch, Rejection};

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// Worth knowing.
    Info,
    /// Odd, but handled.
    Warn,
    /// Wrong.
    Error,
}

/// Who signed an action, in the words of the client that sent it.
///
/// Nothing verifies it: the host does not check signatures yet, and a client may name whom it
/// likes. It is good for a note of who claims to have done what, and not for a decision about
/// who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Signer {
    /// The account that signs for the person, such as `0x52…`.
    pub user_address: String,
    /// The network of that account, such as `eip155`.
    pub network_id: String,
    /// The chain within the network.
    pub chain_id: u64,
    /// The program that signed on the person's behalf.
    pub app_name: String,
    /// The public key of that program.
    pub app_key: String,
}

/// The action that is being applied, and what its reducer may ask of the host.
pub struct Context<'a> {
    action: ActionRef<'a>,
    effects: &'a mut dyn Effects,
}

impl<'a> Context<'a> {
    pub(crate) fn new(action: ActionRef<'a>, effects: &'a mut dyn Effects) -> Self {
        Self { action, effects }
    }

    /// When the author of the action made it, ISO 8601 in UTC: the only clock there is.
    pub fn timestamp(&self) -> &'a str {
        self.action.timestamp
    }

    /// The same in milliseconds since 1970.
    ///
    /// The timestamp comes with the action, so one that cannot be read is its author's
    /// fault: the error is a refusal, to be passed on with `?`.
    pub fn timestamp_ms(&self) -> Result<i64, Rejection> {
        let timestamp = self.timestamp();
        timestamp::parse_ms(timestamp).ok_or_else(|| {
            let message = format!("the action's timestamp {timestamp:?} is not ISO 8601 in UTC");
            Rejection::new(Rejection::INVALID_TIMESTAMP, message)
        })
    }

    /// The id of the action, unique within the history of its scope.
    pub fn action_id(&self) -> &'a str {
        self.action.id
    }

    /// The type of the action, such as `INCREMENT`.
    pub fn action_type(&self) -> &'a str {
        self.action.action_type
    }

    /// The scope that the action changes.
    pub fn scope(&self) -> &'a str {
        self.action.scope
    }

    /// Who signed the action, where the client says so. It is not verified: see [`Signer`].
    pub fn signer(&self) -> Option<&'a Signer> {
        self.action.signer
    }

    /// Asks for another action, to be executed once this one is committed.
    ///
    /// If this action is refused, or its job fails, nothing was dispatched.
    pub fn dispatch(&mut self, dispatch: Dispatch) {
        self.effects.dispatch(dispatch.into_request(self.action.scope));
    }

    /// Writes a line to the host's log. The host cuts and drops what is too much.
    pub fn log(&mut self, level: Level, message: impl fmt::Display) {
        self.effects.log(level, &message.to_string());
    }

    /// Logs every step.
    pub fn trace(&mut self, message: impl fmt::Display) {
        self.log(Level::Trace, message);
    }

    /// Logs for whoever looks for a fault.
    pub fn debug(&mut self, message: impl fmt::Display) {
        self.log(Level::Debug, message);
    }

    /// Logs what is worth knowing.
    pub fn info(&mut self, message: impl fmt::Display) {
        self.log(Level::Info, message);
    }

    /// Logs what is odd, but handled.
    pub fn warn(&mut self, message: impl fmt::Display) {
        self.log(Level::Warn, message);
    }

    /// Logs what is wrong.
    pub fn error(&mut self, message: impl fmt::Display) {
        self.log(Level::Error, message);
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("action", &self.action).finish_non_exhaustive()
    }
}
