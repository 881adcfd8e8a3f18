//! `reductor run`: jobs through queue, executor, sandbox, log and events.

mod feed;
mod print;
mod recovered;
mod stop;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use reductor_host::{
    CompileWorker, ExecutorConfig, Host, LaneKey, OperationStore, Phase, Refusal, Stop, StoreError, Submission,
    Submitted,
};

use self::feed::{Line, Next};
use self::print::{HandedIn, Printer, Reached, Tally};
use self::recovered::Recovered;
use self::stop::{Cause, Stopping};
use crate::data::RunData;
use crate::host_args::HostArgs;
use crate::input::{self, Checker};
use crate::state::{self, DocumentState};
use crate::store::control::Control;
use crate::units::{count, jobs};
use crate::{Outcome, output};

pub(crate) use self::feed::JOBS_MAX;

/// How often a run looks whether its store can still be written while nothing else would tell.
const LOOK_AT_THE_STORE: Duration = Duration::from_secs(1);
const STDIN: &str = "standard input";

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    host: HostArgs,
    /// How often a failed attempt is repeated; also the most that a job's config can ask for.
    #[arg(long, value_name = "N", default_value_t = 3)]
    max_retries: u32,
    /// After the results, print the state of this document; may be given more than once.
    #[arg(long, value_name = "DOCUMENT")]
    print_state: Vec<String>,
    /// What to do about a line that is refused while jobs run.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnBadLine::Stop)]
    on_bad_line: OnBadLine,
    /// Print no summary and no progress to standard error; warnings and errors remain.
    #[arg(long, short)]
    quiet: bool,
    /// The jobs: one submission a line, as JSON; `-` for standard input.
    #[arg(value_name = "JOBS.ndjson")]
    jobs: PathBuf,
    // Last: its heading is that of all options after it.
    #[command(flatten)]
    data: RunData,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnBadLine {
    /// Read no more lines, let the accepted jobs end, and exit with code 2.
    Stop,
    /// Report the line on standard error and go on; the exit code is then 1.
    Skip,
}

const AFTER_HELP: &str = r#"A line is a submission:
  {"documentId": "c1", "documentType": "example/counter",
   "actions": [{"type": "INCREMENT", "input": {"by": 2}}]}
and may also have branch (main), scopes (those of the actions), resultingHash and
config {maxRetries, jobTimeout, retryBaseDelay, retryMaxDelay}, dependsOn [job ids] and
idempotencyKey. An action may also have id, scope (global), timestampUtcMs (now) and context.

timestampUtcMs is ISO 8601 in UTC, such as "2026-03-01T12:00:00.000Z".

A file is checked whole before anything runs. Standard input, and a file that cannot be read
twice such as a pipe, is checked line by line.

With --data, documents and jobs outlive the run. Jobs that an earlier run had accepted and not
finished go on; new lines are accepted meanwhile. One process at a time can have the directory.
A run that stops in an orderly way saves the state of every document that it used, so that
the next run can use a newer plugin. After a kill the next run may need the old plugin too, as
--replay-plugin. `reductor doc`, `job` and `store` look into the directory afterwards:
  reductor run --plugin counter.wasm --data ./data jobs.ndjson
  reductor doc log --data ./data c1

Prints one result a line, in the order of the submissions. Results of jobs of earlier runs, and of
jobs that reducers dispatched (with `causation` in their metadata), come between them as they end.

Ctrl-C and SIGTERM stop a run: no more jobs start, running jobs finish, and their results are
printed. A second signal interrupts the jobs. A run that stops early says on standard error which line of
the input it accepted last, and how many accepted jobs wait in the data directory: the next run with
that directory finishes them.

To make it safe to run the same file again, give each line an idempotencyKey or each action an id:
  {"documentId": "c1", "idempotencyKey": "order-17", "actions": [...]}
  {"documentId": "c1", "actions": [{"id": "order-17-a", "type": "INCREMENT", ...}]}
A line whose key is known does not run again: it is answered with the result of its first job while
that is kept (--keep-completed), and counted on standard error after that. A job that failed answers
with its failure until it is retried or discarded (reductor job). With --data the keys of the
last 10,000,000 jobs are known, for 30 days; action ids are known as long as the document.

Exit codes: 0 all went well; 1 a job failed; 2 bad usage or input; 3 the environment, such as a
full disk or a directory in use; 4 damaged data; 130 and 143 stopped by Ctrl-C and SIGTERM; 141 the
reader of the results went away before the end."#;

pub(crate) fn run(args: Args, worker: CompileWorker) -> anyhow::Result<Outcome> {
    let config = ExecutorConfig { max_retries: args.max_retries, ..args.host.config() };
    let host = args.host.build(config, args.data.store(), worker)?;
    let input = Input::open(&args, &host)?;
    let _control = serve_backups(&args.data, &host);
    let recovered = &mut Recovered::find(&host)?;
    let progress = progress_bar(input.jobs, args.quiet);
    let name = input.name.clone();

    let manager = host.manager();
    let (wake, next) = channel();
    let (hand_over, handed_in) = channel();
    let stopping = Stopping::new(manager, wake.clone());
    let printer = Printer::new(&stopping, &progress);
    let events = manager.events().subscribe();
    let (began, is_over) = (Instant::now(), AtomicBool::new(false));
    let signals = stop::signals().context("signals cannot be received")?;
    let signals_end = signals.handle();
    input.read_ahead(wake).context("no thread reads the input")?;
    manager.start(None)?;
    if manager.phase() == Phase::Paused {
        eprintln!("the jobs were paused; they go on");
        manager.resume()?;
    }
    let mut intake = Intake {
        stopping: &stopping,
        name: &name,
        on_bad_line: args.on_bad_line,
        skipped: 0,
        completed_before: 0,
        is_all_in: false,
    };
    let (handed, reached) = std::thread::scope(|scope| {
        let (printer, stopping, is_over, store) = (&printer, &stopping, &is_over, &**host.store());
        scope.spawn(move || stop::stop_at_signals(scope, stopping, signals));
        let store = scope.spawn(move || watch_store(store, stopping, is_over));
        scope.spawn(move || printer.print_others(events, recovered));
        let in_order = scope.spawn(move || printer.print_in_order(&handed_in));
        let handed = intake.hand_in_all(&next, &hand_over);
        drop((hand_over, next));
        // Not for the printer: a job may wait for what this run does not have, and ends by the stop.
        manager.wait_until_idle_blocking();
        manager.stop_blocking(Stop::Graceful);
        is_over.store(true, Ordering::Relaxed);
        store.thread().unpark();
        signals_end.close();
        (handed, in_order.join().expect("the printer does not panic"))
    });
    progress.finish_and_clear();
    let Intake { skipped, completed_before, is_all_in, .. } = intake;
    let (tally, unprinted) = printer.finish();
    let cause = stopping.cause();
    if cause.is_some() || handed.is_err() {
        tell_where_to_go_on(&name, is_all_in, reached, args.data.dir(), &host);
    }
    match cause {
        Some(Cause::Store(error)) => return Err(error.into()),
        Some(Cause::Output) => {
            let error = unprinted.unwrap_or_else(|| anyhow::anyhow!("the results cannot be printed"));
            return if output::is_closed(&error) { Ok(Outcome::Unread) } else { Err(error) };
        }
        Some(Cause::Signal(signal)) => {
            summarise(tally, began.elapsed(), args.quiet);
            return Ok(Outcome::Stopped { signal });
        }
        None => {}
    }
    for document in &args.print_state {
        print_state(&host, document)?;
    }
    summarise(tally, began.elapsed(), args.quiet);
    handed?;
    if completed_before > 0 {
        let lines = count(completed_before, "line", "lines");
        eprintln!("{lines} of {name} had completed before, by the idempotencyKey; their results are not kept");
    }
    if skipped > 0 {
        eprintln!("skipped {} of {name}", count(skipped, "line", "lines"));
    }
    Ok(if tally.failed + skipped == 0 { Outcome::AllWell } else { Outcome::JobsFailed })
}

/// Where the lines come from.
struct Input {
    name: String,
    /// Absent for standard input.
    file: Option<std::fs::File>,
    /// How many jobs there are, if that is known.
    jobs: Option<usize>,
}

impl Input {
    /// Opens the input. A file is read twice: to check it whole before anything runs, and to run it.
    fn open(args: &Args, host: &Host) -> anyhow::Result<Self> {
        if args.jobs.as_os_str() == "-" {
            return Ok(Self { name: STDIN.to_owned(), file: None, jobs: None });
        }
        let name = args.jobs.display().to_string();
        let file = input::open(&args.jobs)?;
        if !file.metadata()?.is_file() {
            return Ok(Self { name, file: Some(file), jobs: None });
        }
        let mut checker = Checker::new(host)?;
        let jobs = input::check_all(&name, &file, &mut checker)?;
        check_documents(&args.print_state, &checker.lanes(), &**host.store())?;
        std::io::Seek::rewind(&mut &file).with_context(|| format!("{name} cannot be read a second time"))?;
        Ok(Self { name, file: Some(file), jobs: Some(jobs) })
    }

    fn read_ahead(self, to: Sender<Next>) -> std::io::Result<()> {
        match self.file {
            Some(file) => feed::read_ahead(file, to),
            None => feed::read_ahead(std::io::stdin(), to),
        }
    }
}

/// Hands the jobs of the input in.
struct Intake<'a> {
    stopping: &'a Stopping<'a>,
    name: &'a str,
    on_bad_line: OnBadLine,
    skipped: u64,
    /// Lines whose jobs completed so long ago that only their keys are known.
    completed_before: u64,
    /// Whether all of the input was handed in.
    is_all_in: bool,
}

impl Intake<'_> {
    fn hand_in_all(&mut self, next: &Receiver<Next>, hand_over: &Sender<HandedIn>) -> anyhow::Result<()> {
        for next in next {
            let Line { number, text, place } = match next {
                Next::Submit(line) => line,
                Next::End => {
                    self.is_all_in = true;
                    break;
                }
                Next::Unreadable(error) => {
                    return Err(anyhow::Error::new(error).context(format!("{} cannot be read", self.name)));
                }
                Next::Stop => break,
            };
            match self.hand_in(&text) {
                None | Some(Err(Refusal::Stopping)) => break,
                Some(Ok(submitted)) => {
                    let handed = hand_over.send(HandedIn { line: number, submitted, place });
                    handed.expect("the printer takes all that is handed in");
                }
                // Its result is gone, and nothing is left to do: a file may be run again.
                Some(Err(Refusal::AlreadyCompleted { .. })) => self.completed_before += 1,
                Some(Err(Refusal::Store(error))) => return Err(self.not_accepted(number, error)),
                Some(Err(refusal)) => {
                    let problem = input::located(self.name, number, &refusal);
                    if self.on_bad_line == OnBadLine::Stop {
                        anyhow::bail!(problem);
                    }
                    eprintln!("warning: {problem}; the line is skipped");
                    self.skipped += 1;
                }
            }
        }
        Ok(())
    }

    /// Hands a job in. If the queue is full, jobs of earlier runs fill it: then those that can end have to.
    fn hand_in(&self, text: &str) -> Option<Result<Submitted, Refusal>> {
        let submit = || match Submission::from_json(text) {
            Ok(submission) => self.stopping.submit(submission),
            Err(refusal) => Some(Err(refusal)),
        };
        match submit() {
            Some(Err(Refusal::QueueFull { .. })) => {
                self.stopping.wait_until_idle();
                submit()
            }
            submitted => submitted,
        }
    }

    fn not_accepted(&self, line: usize, error: StoreError) -> anyhow::Error {
        let advice = match error {
            StoreError::DiskFull { .. } => " (--disk-reserve sets the reserve)",
            _ => "",
        };
        anyhow::Error::new(error).context(format!("{}:{line} was not accepted{advice}", self.name))
    }
}

/// Stops the run if its store can no longer be written, which nothing else tells while no job comes in.
fn watch_store(store: &dyn OperationStore, stopping: &Stopping<'_>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        if let Err(error @ StoreError::Stopped { .. }) = store.check_room() {
            return stopping.stop(Cause::Store(error), Stop::Graceful);
        }
        std::thread::park_timeout(LOOK_AT_THE_STORE);
    }
}

/// Lets backups be made while this host has the directory.
fn serve_backups(data: &RunData, host: &Host) -> Option<Control> {
    let warn = |error| eprintln!("warning: no backup can be made while this host runs: {error}");
    Control::serve(data.dir()?, host.disk_store()?.clone()).map_err(warn).ok()
}

fn check_documents(wanted: &[String], lanes: &[LaneKey], store: &dyn OperationStore) -> anyhow::Result<()> {
    for document in wanted {
        let is_known = lanes.iter().any(|lane| lane.document.as_str() == document)
            || !state::branches(store, document)?.is_empty();
        anyhow::ensure!(is_known, "--print-state: no job is for a document `{document}`; nothing was run");
    }
    Ok(())
}

/// Says how far a run came that stopped early, and what becomes of the rest.
fn tell_where_to_go_on(name: &str, is_all_in: bool, reached: Reached, data: Option<&Path>, host: &Host) {
    let Reached { accepted, undecided, given_back } = reached;
    match accepted {
        _ if is_all_in && undecided.is_none() => eprintln!("accepted all lines of {name}"),
        None => eprintln!("accepted no line of {name}"),
        Some(line) => eprintln!("accepted up to line {line} of {name}"),
    }
    match (undecided, accepted) {
        (Some((first, last)), _) => eprintln!(
            "lines {first} to {last} of {name} were submitted, and the store failed before it was known whether they \
             were accepted; it is safe to run the file again if its lines have an idempotencyKey or its actions an id"
        ),
        (None, Some(line)) if data.is_some() && !is_all_in && Path::new(name).is_file() => {
            eprintln!("the lines after it: tail -n +{} {}", line + 1, quoted(name));
        }
        _ => {}
    }
    match (data, host.disk_store().map(|store| store.stats())) {
        (Some(dir), Some(Ok(stats))) if stats.unfinished > 0 => {
            let (wait, them) = if stats.unfinished == 1 { ("waits", "it") } else { ("wait", "them") };
            eprintln!(
                "{} that {} accepted {wait} in {}; the next run with that directory and the same plugins finishes \
                 {them}, also one of no lines (/dev/null)",
                jobs(stats.unfinished),
                if stats.unfinished == 1 { "was" } else { "were" },
                dir.display(),
            );
        }
        (None, _) if given_back > 0 => eprintln!(
            "{} that had been accepted did not run and {} lost, and so are the documents: only --data keeps them",
            jobs(given_back),
            if given_back == 1 { "is" } else { "are" },
        ),
        _ => {}
    }
}

/// A file's name as a shell takes it.
fn quoted(name: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-".contains(character);
    if name.chars().all(is_plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', "'\\''")) }
}

/// For people; scripts have the results.
fn summarise(tally: Tally, took: Duration, quiet: bool) {
    if quiet {
        return;
    }
    let Tally { completed, failed } = tally;
    let total = completed + failed;
    let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
    let rate = if std::io::stderr().is_terminal() {
        format!(", {:.0} jobs/s", total as f64 / took.as_secs_f64())
    } else {
        String::new()
    };
    eprintln!("{}: {completed} completed{failed}{rate}", jobs(total));
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

pub(crate) fn progress_bar(jobs: Option<usize>, quiet: bool) -> ProgressBar {
    let (bar, template) = match jobs {
        _ if quiet => return ProgressBar::hidden(),
        Some(jobs) => (ProgressBar::new(jobs as u64), "{bar:40} {pos}/{len} jobs, {per_sec}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} jobs, {per_sec}"),
    };
    let style = ProgressStyle::with_template(template).expect("the template is a constant");
    let style = style.with_key("per_sec", |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{:.0} jobs/s", state.per_sec());
    });
    bar.with_style(style)
}
