//! What a caller can choose about a build.

use std::path::PathBuf;

use crate::InstallPolicy;
use crate::process::Log;

/// How much a component knows of its source. Function names are always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DebugInfo {
    /// Backtraces name functions.
    #[default]
    FunctionNames,
    /// Backtraces name files and lines too. A guest becomes six to ten times as large.
    LineTables,
}

/// How guests are built: everything but which.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    pub(crate) install: InstallPolicy,
    pub(crate) debug_info: DebugInfo,
    pub(crate) target_dir: Option<PathBuf>,
    pub(crate) cargo_args: Vec<String>,
    pub(crate) log: Log,
}

impl BuildOptions {
    /// Nothing is installed, function names only, the workspace's folder, lines to standard
    /// error.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a missing toolchain may be installed.
    pub fn install(mut self, policy: InstallPolicy) -> Self {
        self.install = policy;
        self
    }

    /// How much the component knows of its source.
    pub fn debug_info(mut self, debug_info: DebugInfo) -> Self {
        self.debug_info = debug_info;
        self
    }

    /// Where compiled things go. By default `reductor-guests` in the target folder of the
    /// guest's workspace, so that the guests of a workspace share what they have in common.
    /// It must not be the target folder of a cargo that is waiting for this build.
    pub fn target_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.target_dir = Some(folder.into());
        self
    }

    /// One more argument of `cargo build`, such as `--locked`.
    pub fn cargo_arg(mut self, argument: impl Into<String>) -> Self {
        self.cargo_args.push(argument.into());
        self
    }

    /// Calls `on_line` with each line that the build has to say, while it runs and without
    /// the line break. A first build takes a minute or two. What the compiler said to it is
    /// not repeated in [`BuildError::Compile`](crate::BuildError::Compile).
    pub fn on_line(mut self, on_line: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.log = Log::to(on_line);
        self
    }
}
