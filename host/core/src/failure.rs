//! Why a job failed: the codes of the interface, and whose fault it was.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::divergence::Divergence;
use crate::history::HistoryError;
use crate::plugin::PluginRef;
use crate::store::StoreError;

/// The error codes of the interface, as numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
#[repr(u32)]
pub enum JobErrorCode {
    /// A signature does not fit its action.
    SignatureInvalid = 90001,
    /// The signer may not do this.
    Unauthorized = 90002,
    /// The state does not hash to what the job said it would.
    HashMismatch = 90003,
    /// The job does not fit where its stream now stands.
    RebaseFailed = 90004,
    /// The plugin failed or refused; the reason says how.
    LibraryError = 90005,
    /// The host could not read, write or find room.
    IoError = 90006,
    /// The host stopped before the job ended.
    GracefulAbort = 90010,
}

impl JobErrorCode {
    /// Every code, in the order of the numbers.
    pub const ALL: [Self; 7] = [
        Self::SignatureInvalid,
        Self::Unauthorized,
        Self::HashMismatch,
        Self::RebaseFailed,
        Self::LibraryError,
        Self::IoError,
        Self::GracefulAbort,
    ];

    /// The name that the interface gives it, such as `LIBRARY_ERROR`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SignatureInvalid => "SIGNATURE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::HashMismatch => "HASH_MISMATCH",
            Self::RebaseFailed => "REBASE_FAILED",
            Self::LibraryError => "LIBRARY_ERROR",
            Self::IoError => "IO_ERROR",
            Self::GracefulAbort => "GRACEFUL_ABORT",
        }
    }
}

impl From<JobErrorCode> for u32 {
    fn from(code: JobErrorCode) -> Self {
        code as Self
    }
}

/// A number that is no error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an error code of jobs")]
pub struct UnknownErrorCode(u32);

impl TryFrom<u32> for JobErrorCode {
    type Error = UnknownErrorCode;

    fn try_from(number: u32) -> Result<Self, UnknownErrorCode> {
        Self::ALL.into_iter().find(|code| *code as u32 == number).ok_or(UnknownErrorCode(number))
    }
}

/// Why a job, or an attempt at it, failed: what events carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{}: {error_message}", error_code.name())]
pub struct JobError {
    /// For programs.
    pub error_code: JobErrorCode,
    /// For people.
    pub error_message: String,
}

/// Why a job failed, more exactly than its code says. All but the last two are a `LIBRARY_ERROR`,
/// and a failure of a guest where they do not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It trapped: a panic, a division by zero, an access out of bounds…
    Trap,
    /// It ran longer than `jobTimeout`.
    Timeout,
    /// It burned the fuel of an action.
    FuelExhausted,
    /// It wanted more linear memory than it may have.
    MemoryLimit,
    /// It wanted larger tables than it may have.
    TableLimit,
    /// It recursed too deeply.
    StackOverflow,
    /// It returned more bytes than it may.
    OutputTooLarge,
    /// It dispatched too much, or too deeply.
    DispatchLimit,
    /// It dispatched to another document without a grant from its model to that document's.
    DispatchDenied,
    /// It dispatched to a document that does not exist, or to a scope that its model does not have.
    DispatchTarget,
    /// It refused the action: its answer, not a fault.
    Rejected,
    /// It returned something that is not what it promised.
    InvalidOutput,
    /// It does not keep to the interface it was admitted with.
    AbiMismatch,
    /// It called `exit`.
    Exit,
    /// It gave another result on a fresh instance, or when an operation that it had made was applied
    /// again: it is not pure. Nothing of the job was committed.
    Diverged,
    /// The document cannot be loaded without an earlier revision of the plugin, which made some of
    /// its operations and is not there. No fault of a guest.
    RevisionMissing,
    /// The document's states are of a newer version of the model than the plugin. No fault of a
    /// guest.
    OlderVersion,
    /// To apply the document's operations again took longer than all of them may take together.
    ReplayTimeout,
    /// A job that it depends on failed. Its code is that job's.
    DependencyFailed,
    /// It was cancelled before it started. Its code is `GRACEFUL_ABORT`.
    Cancelled,
}

impl Reason {
    /// Whether the same action on the same state fails in the same way again.
    pub fn deterministic(self) -> bool {
        // What else fails depends on the machine, on other jobs, or on which plugins are loaded.
        !matches!(
            self,
            Self::Timeout
                | Self::Diverged
                | Self::RevisionMissing
                | Self::OlderVersion
                | Self::ReplayTimeout
                | Self::DependencyFailed
                | Self::Cancelled
        )
    }

    /// The name on the wire, such as `fuel-exhausted`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::FuelExhausted => "fuel-exhausted",
            Self::MemoryLimit => "memory-limit",
            Self::TableLimit => "table-limit",
            Self::StackOverflow => "stack-overflow",
            Self::OutputTooLarge => "output-too-large",
            Self::DispatchLimit => "dispatch-limit",
            Self::DispatchDenied => "dispatch-denied",
            Self::DispatchTarget => "dispatch-target",
            Self::Rejected => "rejected",
            Self::InvalidOutput => "invalid-output",
            Self::AbiMismatch => "abi-mismatch",
            Self::Exit => "exit",
            Self::Diverged => "diverged",
            Self::RevisionMissing => "revision-missing",
            Self::OlderVersion => "older-version",
            Self::ReplayTimeout => "replay-timeout",
            Self::DependencyFailed => "dependency-failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A call on the guest's stack when it trapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The function, demangled where its name says how.
    pub function: String,
    /// The source file, where the component carries line tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// What a guest said just before it trapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanicNote {
    /// The message of the panic.
    pub message: String,
    /// Where it was raised, such as `src/lib.rs:12:9`.
    pub location: String,
}

/// A guest that failed, in detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFailure {
    /// How; never [`Reason::Rejected`].
    pub reason: Reason,
    /// One sentence for people, without the plugin's name.
    pub message: String,
    /// The kind of trap, such as `unreachable`; empty where it was none.
    pub trap: Option<String>,
    /// The guest's last words.
    pub panic: Option<PanicNote>,
    /// Where it happened, innermost call first.
    pub backtrace: Vec<Frame>,
}

impl GuestFailure {
    /// A failure that there is no more to say about than one sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), trap: None, panic: None, backtrace: Vec::new() }
    }
}

/// A fault of the host itself, never blamed on a guest.
#[derive(Debug, thiserror::Error)]
pub enum HostFault {
    /// Every place for a live document is taken; making room may help.
    #[error("no room for another live document: {0}")]
    NoRoom(String),
    /// The queue has no places for what a job dispatched. There may be some later.
    #[error("it dispatched {dispatched} jobs, and the queue has no room for them: {depth} wait, {limit} may at most")]
    QueueFull {
        /// How many jobs it dispatched.
        dispatched: usize,
        /// How many jobs wait.
        depth: usize,
        /// How many may.
        limit: usize,
    },
    /// Something else went wrong below the executor.
    #[error("{0}")]
    Broken(String),
}

/// Why a reducer did not apply an action, or load a document.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The reducer refused: its answer.
    #[error("{message} ({code})")]
    Rejected {
        /// For programs, in the reducer's words.
        code: String,
        /// For people, in the reducer's words.
        message: String,
    },
    /// The guest failed. Its instance must not be called again.
    #[error("{} ({})", .0.message, .0.reason.name())]
    Failed(Box<GuestFailure>),
    /// The host stopped the guest because it is stopping itself.
    #[error("it was interrupted")]
    Interrupted,
    /// The host failed.
    #[error(transparent)]
    Host(HostFault),
}

impl From<GuestFailure> for ApplyError {
    fn from(failure: GuestFailure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

impl From<Box<GuestFailure>> for ApplyError {
    fn from(failure: Box<GuestFailure>) -> Self {
        Self::Failed(failure)
    }
}

impl From<HostFault> for ApplyError {
    fn from(fault: HostFault) -> Self {
        Self::Host(fault)
    }
}

/// Why an attempt at a job failed, before it is told to the world.
#[derive(Debug)]
pub(crate) enum AttemptError {
    /// The reducer's refusal or failure, at the action of this position, if it was one.
    Apply { action: Option<usize>, error: ApplyError },
    /// An action does not fit where its stream stands.
    Position { action: usize, message: String },
    /// The state has another hash than the job said, or before this action its author.
    Hash { action: Option<usize>, expected: String, found: String },
    /// The log could not be read or written.
    Store(StoreError),
    /// A fresh instance did something else.
    Diverged(Box<Divergence>),
    /// The document's history does not lead to states to go on from.
    History(Box<Unreadable>),
}

/// Why a document's history could not be followed.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) reason: Reason,
    /// The revision that did something else than before, if that is the reason.
    pub(crate) impure: Option<Arc<PluginRef>>,
    pub(crate) message: String,
}

impl From<HistoryError> for AttemptError {
    fn from(error: HistoryError) -> Self {
        let message = error.to_string();
        let unreadable = |reason, impure, message| Self::History(Box::new(Unreadable { reason, impure, message }));
        match error {
            HistoryError::Store(error) => Self::Store(error),
            HistoryError::Differs { plugin, .. } => does_otherwise(plugin, message),
            HistoryError::NotApplied { plugin, error, .. } if is_another_answer(&error, &plugin) => {
                does_otherwise(plugin, message)
            }
            // What the guest does while its document is loaded is its own doing.
            HistoryError::NotLoaded { error, .. } | HistoryError::NotApplied { error, .. } => {
                Self::Apply { action: None, error }
            }
            HistoryError::RevisionMissing { .. } => unreadable(Reason::RevisionMissing, None, message),
            HistoryError::OlderVersion { .. } => unreadable(Reason::OlderVersion, None, message),
            HistoryError::NoSuchRevision { .. } | HistoryError::Unserved(_) => {
                Self::Apply { action: None, error: HostFault::Broken(message).into() }
            }
        }
    }
}

/// Whether a revision that had applied an operation answers otherwise now. Limits depend on how long
/// an instance has lived. A trap of native code may be its author's, who can see it.
fn is_another_answer(error: &ApplyError, plugin: &PluginRef) -> bool {
    match error {
        ApplyError::Rejected { .. } => true,
        ApplyError::Failed(failure) => failure.reason == Reason::Trap && plugin.identifies_code(),
        ApplyError::Interrupted | ApplyError::Host(_) => false,
    }
}

/// Blames a revision that replays its own operation to another result: it is not pure. Two builds of a
/// native reducer cannot be told apart, so a native reducer is not blamed.
fn does_otherwise(plugin: Arc<PluginRef>, message: String) -> AttemptError {
    AttemptError::History(Box::new(if plugin.identifies_code() {
        Unreadable { reason: Reason::Diverged, impure: Some(plugin), message }
    } else {
        let message = format!("{message}; if its code has changed since, it needs a higher VERSION");
        Unreadable { reason: Reason::RevisionMissing, impure: None, message }
    }))
}
