//! The program `reductor`: builds, checks, runs, audits and measures reducers.
//!
//! Every command writes what scripts read to standard output and everything else to standard
//! error. Exit codes are those of [`exit`].

mod audit;
mod bench;
mod build;
mod check;
mod data;
mod demo;
mod doc;
mod exit;
mod host_args;
mod input;
mod job;
mod logs;
mod output;
mod plugins;
mod results;
mod run;
mod state;
mod store;
mod table;
mod trace;
mod units;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::exit::Fault;
pub(crate) use crate::exit::Outcome;

/// Builds, checks, runs and audits document models: reducers compiled to WebAssembly components.
#[derive(Parser)]
#[command(name = "reductor", version, after_help = after_help())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn after_help() -> String {
    format!(
        "{}\n\nSet REDUCTOR_LOG (such as `info` or `reductor::guest=debug`) to see what host and guests log.",
        exit::HELP
    )
}

#[derive(Subcommand)]
enum Command {
    /// Turns a guest crate into a component.
    Build(build::Args),
    /// Checks plugins.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Runs a file of jobs.
    Run(run::Args),
    /// Runs every job of a file on two instances at once, to find reducers that are not pure.
    Audit(audit::Args),
    /// Lists the documents in a data directory, and shows their states, operations and history.
    #[command(subcommand)]
    Doc(doc::Command),
    /// Lists the jobs in a data directory; cancels those that wait, retries or discards those that failed.
    #[command(subcommand)]
    Job(job::Command),
    /// Checks, copies and measures a data directory.
    #[command(subcommand)]
    Store(store::Command),
    /// Measures this host on this machine.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Replays a real editing session through the sandbox, from the project's sources.
    Demo(demo::Args),
    /// Prints a completion script for a shell.
    Completions {
        /// The shell to complete in.
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
enum Plugin {
    /// Admits a component like the host does, and prints what it is; or says why not.
    Check(check::Args),
}

fn main() -> ExitCode {
    // First: this process may have been started to compile a plugin, and nothing else.
    let worker = reductor_host::compile_worker_main();
    let cli = Cli::parse();
    logs::to_stderr();
    let outcome = match cli.command {
        Command::Build(args) => build::build(args, worker),
        Command::Plugin(Plugin::Check(args)) => check::check(&args, worker),
        Command::Run(args) => run::run(args, worker),
        Command::Audit(args) => audit::audit(args, worker),
        Command::Doc(command) => doc::doc(command, worker),
        Command::Job(command) => job::job(command),
        Command::Store(command) => store::store(command, worker),
        Command::Bench(command) => bench::bench(command),
        Command::Demo(args) => demo::demo(args),
        Command::Completions { shell } => {
            // Not straight to standard output: it panics if its reader goes away.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "reductor", &mut script);
            output::text(String::from_utf8_lossy(&script).trim_end()).map(|()| Outcome::AllWell)
        }
    };
    match outcome {
        Ok(outcome) => outcome.into(),
        // The reader of our output has enough of it.
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", exit::describe(&error));
            Fault::of(&error).into()
        }
    }
}
