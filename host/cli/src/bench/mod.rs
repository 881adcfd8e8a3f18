//! `reductor bench`: measures this host on this machine.
//!
//! Every figure is a median over rounds. Goals are the project's own, for comparison; a
//! figure that falls short is printed like any other.

mod machine;
mod report;
mod sandbox;

use crate::Outcome;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// What the sandbox costs: against the same reducers as native code, by job, and for a
    /// real editing session.
    Sandbox(sandbox::Args),
}

pub(crate) fn bench(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Sandbox(args) => sandbox::bench(&args),
    }
}
