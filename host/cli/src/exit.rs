//! Exit codes: what a command came to, and whose fault it was if it came to nothing.

use std::io::ErrorKind;
use std::process::ExitCode;

use reductor_host::{
    BackupError, BatchRefusal, CacheError, HistoryError, HostError, NotADeadLetter, NotCancelled, OpenError, Refusal,
    RestoreError, StartError, StoreError,
};

/// The part of the help that lists them.
pub(crate) const HELP: &str = "\
Exit codes:
  0    all went well
  1    a job failed, or a check found something wrong
  2    bad usage or input
  3    the environment: the disk is full, a directory is in use, a permission is missing
  4    stored data is damaged
  130, 143  `run` was stopped by SIGINT (Ctrl-C) or SIGTERM
  141  `run` stopped because its output was closed";

/// How a command ended that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    AllWell,
    /// At least one job failed, or a check found something wrong.
    JobsFailed,
    /// Data is damaged, as the command has printed.
    Damaged,
    /// A signal asked it to stop, and it did.
    Stopped {
        signal: i32,
    },
    /// Its output was closed before it ended.
    Unread,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::AllWell => Self::SUCCESS,
            Outcome::JobsFailed => Self::from(1),
            Outcome::Damaged => Self::from(4),
            Outcome::Stopped { signal } => Self::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
            // As a shell shows a program that SIGPIPE ended.
            Outcome::Unread => Self::from(141),
        }
    }
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Input,
    Environment,
    Damage,
}

impl From<Fault> for ExitCode {
    fn from(fault: Fault) -> Self {
        Self::from(match fault {
            Fault::Input => 2,
            Fault::Environment => 3,
            Fault::Damage => 4,
        })
    }
}

impl Fault {
    /// Takes the first cause that says whose fault it is; an error without one counts as bad input.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(of_cause).unwrap_or(Self::Input)
    }
}

/// An error with its causes. A cause that its effect quotes already is not told again.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Fault> {
    None.or_else(|| cause.downcast_ref().map(of_host))
        .or_else(|| cause.downcast_ref().map(of_open))
        .or_else(|| cause.downcast_ref().map(of_store))
        .or_else(|| cause.downcast_ref().map(of_restore))
        .or_else(|| cause.downcast_ref().map(of_backup))
        .or_else(|| cause.downcast_ref().map(of_refusal))
        .or_else(|| cause.downcast_ref().map(|batch: &BatchRefusal| of_refusal(&batch.refusal)))
        .or_else(|| cause.downcast_ref().and_then(of_history))
        .or_else(|| cause.downcast_ref().map(of_dead_letter))
        .or_else(|| cause.downcast_ref().map(of_cancel))
        .or_else(|| cause.downcast_ref().map(|_: &CacheError| Fault::Environment))
        .or_else(|| cause.downcast_ref().map(of_io))
        .or_else(|| cause.downcast_ref::<serde_json::Error>()?.io_error_kind().map(of_kind))
}

fn of_io(error: &std::io::Error) -> Fault {
    of_kind(error.kind())
}

fn of_kind(kind: ErrorKind) -> Fault {
    match kind {
        // A path that was mistyped, or a file that is not what it should be.
        ErrorKind::NotFound
        | ErrorKind::InvalidData
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::AlreadyExists => Fault::Input,
        _ => Fault::Environment,
    }
}

fn of_open(error: &OpenError) -> Fault {
    match error {
        OpenError::NotADirectory(_) | OpenError::NotAStore(_) => Fault::Input,
        OpenError::Damaged { .. } | OpenError::Unfinished(_) => Fault::Damage,
        // In use, a newer host's, or the system refused.
        _ => Fault::Environment,
    }
}

fn of_store(error: &StoreError) -> Fault {
    match error {
        StoreError::Corrupt { .. } => Fault::Damage,
        _ => Fault::Environment,
    }
}

fn of_host(error: &HostError) -> Fault {
    match error {
        HostError::DataDir(error) => of_open(error),
        HostError::Journal(error) | HostError::Start(StartError::Store(error)) => of_store(error),
        HostError::Unreadable { source, .. } => of_io(source),
        HostError::Sandbox(_) | HostError::Start(_) => Fault::Environment,
        _ => Fault::Input,
    }
}

fn of_refusal(refusal: &Refusal) -> Fault {
    match refusal {
        Refusal::Store(error) => of_store(error),
        _ => Fault::Input,
    }
}

fn of_restore(error: &RestoreError) -> Fault {
    match error {
        RestoreError::Exists(_) | RestoreError::NotABackup => Fault::Input,
        RestoreError::Open(error) => of_open(error),
        RestoreError::Damaged { .. } => Fault::Damage,
        RestoreError::Read(error) => of_io(error),
        RestoreError::Write(_) => Fault::Environment,
    }
}

fn of_backup(error: &BackupError) -> Fault {
    match error {
        BackupError::Store(error) => of_store(error),
        BackupError::Write(_) => Fault::Environment,
    }
}

/// A replay that fails for another reason than the store is told by its own causes.
fn of_history(error: &HistoryError) -> Option<Fault> {
    match error {
        HistoryError::Store(error) => Some(of_store(error)),
        _ => None,
    }
}

fn of_dead_letter(error: &NotADeadLetter) -> Fault {
    match error {
        NotADeadLetter::Store(error) => of_store(error),
        NotADeadLetter::Busy(_) => Fault::Environment,
        _ => Fault::Input,
    }
}

fn of_cancel(error: &NotCancelled) -> Fault {
    match error {
        NotCancelled::Store(error) => of_store(error),
        _ => Fault::Input,
    }
}
