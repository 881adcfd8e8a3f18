//! `reductor run`: a file of jobs through queue, executor, sandbox, log and events.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use reductor_host::{
    CompileWorker, ExecutorConfig, JobExecutorManager, Json, LaneKey, Refusal, Stop, Submission, Ticket,
};
use serde::Serialize;

use crate::host_args::HostArgs;
use crate::input::{self, Checker, Lines};
use crate::results::{Printer, collect_dispatched};
use crate::{Outcome, output};

/// Jobs that are under way at once. The queue holds far more; this bounds the results that
/// wait to be printed in order.
pub(crate) const WINDOW: usize = 10_000;

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    host: HostArgs,
    /// How often a failed attempt is repeated.
    #[arg(long, value_name = "N", default_value_t = 3)]
    max_retries: u32,
    /// After the results, print where this document stands; may be given more than once.
    #[arg(long, value_name = "DOCUMENT")]
    print_state: Vec<String>,
    /// The jobs: one submission a line, as JSON; `-` for standard input.
    #[arg(value_name = "JOBS.ndjson")]
    jobs: PathBuf,
}

const AFTER_HELP: &str = r#"A line is a submission:
  {"documentId": "c1", "documentType": "example/counter",
   "actions": [{"type": "INCREMENT", "input": {"by": 2}}]}
and may also have branch (main), scopes (those of the actions), resultingHash and
config {maxRetries, jobTimeout, retryBaseDelay, retryMaxDelay}, dependsOn [job ids] and
idempotencyKey. An action may also have id, scope (global), timestampUtcMs (now) and context.

timestampUtcMs is ISO 8601 in UTC, such as "2026-03-01T12:00:00.000Z".

A file is checked whole before anything runs; standard input line by line.
Prints one result a line, in the order of the submissions; then those of the jobs that reducers
dispatched, as they ended, with `causation` in their metadata. The exit code is 1 if any failed."#;

pub(crate) fn run(args: Args, worker: CompileWorker) -> anyhow::Result<Outcome> {
    let config = ExecutorConfig { max_retries: args.max_retries, ..args.host.config() };
    let host = args.host.build(config, worker)?;
    let mut checker = Checker::new(host.reducers());
    let from_stdin = args.jobs.as_os_str() == "-";
    let file = if from_stdin { None } else { Some(input::read_file(&args.jobs, &mut checker)?) };
    if file.is_some() {
        check_documents(&args.print_state, &checker.lanes())?;
    }

    let manager = host.manager();
    manager.start(None)?;
    let progress = progress_bar(file.as_ref().map(Vec::len));
    let (tickets, results) = sync_channel(WINDOW);
    let began = Instant::now();
    let mut printer = Printer::new(&progress);
    let events = manager.events().subscribe();
    let (submitted, printed, dispatched) = std::thread::scope(|scope| {
        let printer = &mut printer;
        let printing = scope.spawn(move || printer.print_submitted(results));
        let dispatched = scope.spawn(move || collect_dispatched(manager, events));
        let submitted = match file {
            Some(submissions) => submit_all(manager, submissions, &tickets),
            None => submit_lines(manager, &mut checker, &tickets),
        };
        drop(tickets);
        let printed = printing.join().expect("the printer does not panic");
        if printed.is_ok() {
            // Reducers may have dispatched jobs that nobody here waits for.
            manager.wait_until_idle_blocking();
        }
        manager.stop_blocking(Stop::Graceful);
        (submitted, printed, dispatched.join().expect("the collector does not panic"))
    });
    progress.finish_and_clear();
    printed?;
    printer.print_all(&dispatched)?;
    let tally = printer.finish()?;
    for document in &args.print_state {
        print_state(manager, &checker.lanes(), document)?;
    }
    tally.summarise(began.elapsed());
    submitted?;
    Ok(if tally.failed == 0 { Outcome::AllWell } else { Outcome::JobsFailed })
}

fn check_documents(wanted: &[String], lanes: &[LaneKey]) -> anyhow::Result<()> {
    let unknown = wanted.iter().find(|wanted| lanes.iter().all(|lane| lane.document.as_str() != **wanted));
    match unknown {
        Some(unknown) => anyhow::bail!("--print-state: no job is for a document `{unknown}`; nothing was run"),
        None => Ok(()),
    }
}

fn submit_all(
    manager: &JobExecutorManager,
    submissions: Vec<(usize, Submission)>,
    tickets: &SyncSender<Ticket>,
) -> anyhow::Result<()> {
    for (_, submission) in submissions {
        if tickets.send(manager.enqueue(submission)?).is_err() {
            // The printer has stopped, and says why itself.
            break;
        }
    }
    Ok(())
}

fn submit_lines(
    manager: &JobExecutorManager,
    checker: &mut Checker<'_>,
    tickets: &SyncSender<Ticket>,
) -> anyhow::Result<()> {
    for line in Lines::new(std::io::stdin()) {
        let (number, text) = line.context("standard input cannot be read")?;
        let located = |refusal: Refusal| anyhow::anyhow!(input::located("standard input", number, &refusal));
        let submission = checker.check(&text).map_err(located)?;
        if tickets.send(manager.enqueue(submission).map_err(located)?).is_err() {
            break;
        }
    }
    Ok(())
}

/// What `--print-state` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DocumentState<'a> {
    document_id: &'a str,
    branch: &'a str,
    document_type: &'a str,
    /// Operations of the branch, across scopes.
    revision: u64,
    hash: BTreeMap<&'a str, &'a str>,
    state: BTreeMap<&'a str, Json>,
}

/// Prints where each branch of a document stands that jobs were for.
fn print_state(manager: &JobExecutorManager, lanes: &[LaneKey], document: &str) -> anyhow::Result<()> {
    let mut found = false;
    for lane in lanes.iter().filter(|lane| lane.document.as_str() == document) {
        let Some(head) = manager.head(lane)? else { continue };
        found = true;
        let state = |json: &[u8]| Json::parse(std::str::from_utf8(json)?).map_err(anyhow::Error::from);
        let states = head.scopes.iter().map(|scope| Ok((scope.state.scope.as_str(), state(&scope.state.json)?)));
        output::line(&DocumentState {
            document_id: document,
            branch: lane.branch.as_str(),
            document_type: head.document_type.as_str(),
            revision: head.revision,
            hash: head.scopes.iter().map(|scope| (scope.state.scope.as_str(), scope.hash.as_str())).collect(),
            state: states.collect::<anyhow::Result<_>>()?,
        })?;
    }
    if !found {
        eprintln!("document `{document}` does not exist: no job that would have created it succeeded");
    }
    Ok(())
}

pub(crate) fn progress_bar(jobs: Option<usize>) -> ProgressBar {
    let (bar, template) = match jobs {
        Some(jobs) => (ProgressBar::new(jobs as u64), "{bar:40} {pos}/{len} jobs, {per_sec}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} jobs, {per_sec}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the template is a constant"))
}
