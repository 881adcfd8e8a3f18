//! The program `reductor`: builds, checks, runs, audits and measures reducers.
//!
//! Every command writes what scripts read to standard output and everything else to standard
//! error. Exit codes: 0 when all went well, 1 when jobs failed, 2 for bad usage or input.

mod audit;
mod bench;
mod build;
mod check;
mod data;
mod demo;
mod doc;
mod host_args;
mod input;
mod job;
mod output;
mod plugins;
mod recovered;
mod results;
mod run;
mod state;
mod store;
mod table;
mod trace;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// Builds, checks, runs and audits document models: reducers compiled to WebAssembly components.
#[derive(Parser)]
#[command(name = "reductor", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 all went well, 1 jobs failed or a check found something, 2 bad usage or input.
Set REDUCTOR_LOG (such as `info` or `reductor::guest=debug`) to see what host and guests log.";

#[derive(Subcommand)]
enum Command {
    /// Turns a guest crate into a component.
    Build(build::Args),
    /// Looks at plugins.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Runs a file of jobs.
    Run(run::Args),
    /// Runs a file of jobs twice at once, to see whether their reducers are pure.
    Audit(audit::Args),
    /// Looks at the documents in a data directory.
    #[command(subcommand)]
    Doc(doc::Command),
    /// Looks at the jobs in a data directory, and takes up those that failed.
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
    log_to_stderr();
    let outcome = match cli.command {
        Command::Build(args) => build::build(args),
        Command::Plugin(Plugin::Check(args)) => check::check(&args, worker),
        Command::Run(args) => run::run(args, worker),
        Command::Audit(args) => audit::audit(args, worker),
        Command::Doc(command) => doc::doc(command, worker),
        Command::Job(command) => job::job(command),
        Command::Store(command) => store::store(command, worker),
        Command::Bench(command) => bench::bench(command),
        Command::Demo(args) => demo::demo(args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "reductor", &mut std::io::stdout());
            Ok(Outcome::AllWell)
        }
    };
    match outcome {
        Ok(Outcome::AllWell) => ExitCode::SUCCESS,
        Ok(Outcome::JobsFailed) => ExitCode::from(1),
        // Whoever read our output has enough of it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// How a command ended that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    AllWell,
    /// Or a check found something wrong.
    JobsFailed,
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        io.or_else(|| cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind))
    });
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("REDUCTOR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    // With it, a store whose background writes fail names the cause.
    reductor_host::report_engine_errors();
}
