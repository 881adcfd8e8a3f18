//! `reductor bench`: measures this host on this machine.
//!
//! Every figure is a median over rounds. Goals are the project's own, for comparison; a
//! figure that falls short is printed like any other.

mod audit;
mod machine;
mod manager;
mod recovery;
mod report;
mod sandbox;
mod store;
mod workload;

use crate::Outcome;
use crate::build::{SourceArgs, ToolchainArgs};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// What the sandbox costs: against the same reducers as native code, by job, and for a
    /// real editing session.
    Sandbox(Args),
    /// What queue, workers and results cost, and what documents suffer beside one whose
    /// reducer never ends.
    Manager(Args),
    /// What it costs that nothing is lost: throughput, latency, bytes written, loading, starting and
    /// recovering with a data directory.
    Store(store::StoreArgs),
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Measure only figures whose name contains this, and those measured together with them.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    #[command(flatten)]
    toolchain: ToolchainArgs,
    #[command(flatten)]
    source: SourceArgs,
}

impl Args {
    /// Whether any of these figures is wanted.
    fn wants(&self, names: &[&str]) -> bool {
        self.only.as_ref().is_none_or(|only| names.iter().any(|name| name.contains(only.as_str())))
    }
}

pub(crate) fn bench(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Sandbox(args) => sandbox::bench(&args),
        Command::Manager(args) => manager::bench(&args),
        Command::Store(args) => store::bench(&args),
    }
}
