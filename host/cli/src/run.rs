//! `reductor run`: a file of jobs through queue, executor, sandbox, log and events.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use reductor_host::{
    CompileWorker, ExecutorConfig, Host, JobExecutorManager, LaneKey, OperationStore, Refusal, Stop, Submission,
    Submitted,
};

use crate::data::RunData;
use crate::host_args::HostArgs;
use crate::input::{self, Checker, Lines};
use crate::recovered::Recovered;
use crate::results::{Printer, collect_dispatched};
use crate::state::{self, DocumentState};
use crate::store::control::Control;
use crate::{Outcome, output};

/// Jobs that are under way at once. The queue holds far more; this bounds the results that
/// wait to be printed in order.
pub(crate) const WINDOW: usize = 10_000;

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    data: RunData,
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
With --data, documents and jobs outlive the run. Jobs that an earlier run had accepted and not
finished are executed first, and their results printed first. One process at a time can have the
directory. A run that ends by itself leaves the state of every document that it had to do with, so
that the next one can have a newer plugin; after a kill the next one may need the old plugin too, as
--replay-plugin. `reductor doc`, `job` and `store` look into the directory afterwards:
  reductor run --plugin counter.wasm --data ./data jobs.ndjson
  reductor doc log --data ./data c1

Prints one result a line, in the order of the submissions; then those of the jobs that reducers
dispatched, as they ended, with `causation` in their metadata. The exit code is 1 if any failed."#;

pub(crate) fn run(args: Args, worker: CompileWorker) -> anyhow::Result<Outcome> {
    let config = ExecutorConfig { max_retries: args.max_retries, ..args.host.config() };
    let host = args.host.build(config, args.data.store(), worker)?;
    let mut checker = Checker::new(&host)?;
    let from_stdin = args.jobs.as_os_str() == "-";
    let file = if from_stdin { None } else { Some(input::read_file(&args.jobs, &mut checker)?) };
    if file.is_some() {
        check_documents(&args.print_state, &checker.lanes(), &**host.store())?;
    }

    let _control = serve_backups(&args.data, &host);
    let manager = host.manager();
    let recovered = Recovered::find(&host)?;
    let progress = progress_bar(file.as_ref().map(Vec::len));
    let (submitted, results) = sync_channel(WINDOW);
    let began = Instant::now();
    let mut printer = Printer::new(&progress);
    let events = manager.events().subscribe();
    manager.start(None)?;
    let (handed_in, printed, dispatched) = std::thread::scope(|scope| {
        let dispatched = scope.spawn(move || collect_dispatched(manager, events));
        let recovered = recovered.finish(&host).and_then(|results| printer.print_all(&results));
        let printer = &mut printer;
        let printing = scope.spawn(move || {
            let printed = printer.print_submitted(results);
            if printed.is_err() {
                // Nobody reads what the rest would come to.
                manager.stop_blocking(Stop::Graceful);
            }
            printed
        });
        let handed_in = recovered.and_then(|()| match file {
            Some(submissions) => submit_all(manager, submissions, &submitted),
            None => submit_lines(manager, &mut checker, &submitted),
        });
        drop(submitted);
        // Not for the printer: a job may wait for what this run does not have, and ends by the stop.
        manager.wait_until_idle_blocking();
        manager.stop_blocking(Stop::Graceful);
        let printed = printing.join().expect("the printer does not panic");
        (handed_in, printed, dispatched.join().expect("the collector does not panic"))
    });
    progress.finish_and_clear();
    printed?;
    printer.print_all(&dispatched)?;
    let tally = printer.finish()?;
    for document in &args.print_state {
        print_state(&host, document)?;
    }
    tally.summarise(began.elapsed());
    handed_in?;
    Ok(if tally.failed == 0 { Outcome::AllWell } else { Outcome::JobsFailed })
}

/// Lets backups be made while this host has the directory.
fn serve_backups(data: &RunData, host: &Host) -> Option<Control> {
    let (dir, _) = data.store()?;
    let warn = |error| eprintln!("warning: no backup can be made while this host runs: {error}");
    Control::serve(dir, host.disk_store()?.clone()).map_err(warn).ok()
}

fn check_documents(wanted: &[String], lanes: &[LaneKey], store: &dyn OperationStore) -> anyhow::Result<()> {
    for document in wanted {
        let is_known = lanes.iter().any(|lane| lane.document.as_str() == document)
            || !state::branches(store, document)?.is_empty();
        anyhow::ensure!(is_known, "--print-state: no job is for a document `{document}`; nothing was run");
    }
    Ok(())
}

fn submit_all(
    manager: &JobExecutorManager,
    submissions: Vec<(usize, Submission)>,
    submitted: &SyncSender<Submitted>,
) -> anyhow::Result<()> {
    for (_, submission) in submissions {
        if submitted.send(manager.submit(submission)?).is_err() {
            // The printer has stopped, and says why itself.
            break;
        }
    }
    Ok(())
}

fn submit_lines(
    manager: &JobExecutorManager,
    checker: &mut Checker<'_>,
    submitted: &SyncSender<Submitted>,
) -> anyhow::Result<()> {
    for line in Lines::new(std::io::stdin()) {
        let (number, text) = line.context("standard input cannot be read")?;
        let located = |refusal: Refusal| anyhow::anyhow!(input::located("standard input", number, &refusal));
        let submission = checker.check(&text).map_err(located)?;
        if submitted.send(manager.submit(submission).map_err(located)?).is_err() {
            break;
        }
    }
    Ok(())
}

/// Prints where each branch of a document stands.
fn print_state(host: &Host, document: &str) -> anyhow::Result<()> {
    let lanes = state::branches(&**host.store(), document)?;
    for lane in &lanes {
        let Some(head) = host.manager().head(lane)? else { continue };
        output::line(&DocumentState::new(lane, &head)?)?;
    }
    if lanes.is_empty() {
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
