//! Has a process watched, or its disk fail.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the build script put the library.
const SHIM: &str = env!("FAULTS_SHIM");

/// What is done to a process.
#[derive(Clone, Debug, Default)]
pub struct Shim {
    dir: PathBuf,
    log: Option<PathBuf>,
    plan: Vec<Fault>,
}

/// A fault of the disk, or the end of the process at a place that is chosen exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of which operations.
    pub of: Kind,
    /// Which of them, from 1.
    pub number: u64,
    /// Whether those after it, too.
    pub lasts: Lasts,
    /// What happens.
    pub what: What,
}

/// Kinds of operations, each counted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Writes to files.
    Write,
    /// Syncs of files and directories.
    Sync,
    /// Changes of names and lengths.
    Change,
    /// All of them.
    Any,
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// For one operation.
    Once,
    /// From that operation on.
    FromThenOn,
}

/// What happens instead of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The device fails.
    Eio,
    /// The device is full.
    Enospc,
    /// Half of the bytes are written; what is no write fails.
    Short,
    /// The process is killed.
    Kill,
}

impl Shim {
    /// Watches a directory, which must exist.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), ..Self::default() }
    }

    /// Has what it sees written to a file outside of the directory.
    #[must_use]
    pub fn log(self, log: &Path) -> Self {
        Self { log: Some(log.to_owned()), ..self }
    }

    /// Has a fault happen.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.plan.push(fault);
        self
    }

    /// Has a process watched that is started next.
    ///
    /// # Errors
    ///
    /// If the directory does not exist.
    pub fn watch(&self, command: &mut Command) -> std::io::Result<()> {
        command.env("LD_PRELOAD", SHIM).env("FAULTS_DIR", self.dir.canonicalize()?);
        if let Some(log) = &self.log {
            command.env("FAULTS_LOG", log);
        }
        if !self.plan.is_empty() {
            let plan: Vec<_> = self.plan.iter().map(Fault::to_string).collect();
            command.env("FAULTS_PLAN", plan.join(","));
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            Kind::Write => "write",
            Kind::Sync => "sync",
            Kind::Change => "change",
            Kind::Any => "any",
        };
        let lasts = match self.lasts {
            Lasts::Once => "",
            Lasts::FromThenOn => "+",
        };
        let what = match self.what {
            What::Eio => "EIO",
            What::Enospc => "ENOSPC",
            What::Short => "short",
            What::Kill => "kill",
        };
        write!(f, "{of}:{}{lasts}:{what}", self.number)
    }
}
