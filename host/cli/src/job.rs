//! `reductor job`: lists the jobs in a data directory; cancels, retries and discards them.

use std::sync::Arc;

use anyhow::Context as _;
use reductor_host::{
    DocumentId, EventBus, ExecutorConfig, FailedAttempt, Job, JobExecutorManager, JobId, JobQuery, JobRecord,
    JobResult, JobStatus, OperationStore as _, Reducers, Timestamp,
};
use serde::Serialize;
use serde_json::json;

use crate::data::DataDir;
use crate::table::{self, Table};
use crate::{Outcome, output};

/// Jobs that are read and printed at once.
const PAGE: usize = 256;
/// Characters of an error and an input that a table shows.
const ERROR_CHARS: usize = 60;
const INPUT_CHARS: usize = 100;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Lists jobs: those that wait, and those that ended and are kept.
    List(ListArgs),
    /// Prints a job, with its actions and the attempts that failed.
    Show(ShowArgs),
    /// Cancels a job that has not started.
    #[command(after_help = CANCEL_HELP)]
    Cancel(ChangeArgs),
    /// Queues a job that failed for good again, for the next `reductor run`.
    #[command(after_help = RETRY_HELP)]
    Retry(ChangeArgs),
    /// Forgets a job that failed for good.
    #[command(after_help = DISCARD_HELP)]
    Discard(ChangeArgs),
}

const CANCEL_HELP: &str = "\
Example:
  reductor job cancel --data ./data 0197f0c2-5d1e-7c3a-9d36-6a2f6f0d3c11

The job fails with GRACEFUL_ABORT, and so do the jobs that depend on it. It is listed as failed until it
is discarded. A job that has been attempted cannot be cancelled.";

const RETRY_HELP: &str = "\
Example:
  reductor job retry --data ./data 0197f0c2-5d1e-7c3a-9d36-6a2f6f0d3c11

The job runs at its old place among the jobs of its document. If the document has changed since, the retry is
refused: submit its actions as a new job if they still make sense.";

const DISCARD_HELP: &str = "\
Example:
  reductor job discard --data ./data 0197f0c2-5d1e-7c3a-9d36-6a2f6f0d3c11";

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reductor job list --data ./data --status failed
  reductor job list --data ./data --document c1 --json")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    data: DataDir,
    /// Only jobs with this status.
    #[arg(long, value_enum, ignore_case = true)]
    status: Option<Status>,
    /// Only jobs of this document.
    #[arg(long, value_name = "ID")]
    document: Option<String>,
    /// Only jobs with a number after this one.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    /// List at most this many jobs.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print JSON: a job a line.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Example:\n  reductor job show --data ./data 0197f0c2-5d1e-7c3a-9d36-6a2f6f0d3c11")]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Print JSON: the job's id and its status.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    data: DataDir,
    /// The job's id.
    #[arg(value_name = "JOB")]
    job: String,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Status {
    /// Jobs that were accepted and have not ended.
    Pending,
    /// Jobs that were applied.
    Completed,
    /// Jobs that failed for good: they can be retried or discarded.
    Failed,
}

impl From<Status> for JobStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
        }
    }
}

/// What is printed of a job.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    number: u64,
    status: JobStatus,
    /// With the same status.
    job: Job,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    /// Where its branch stood when it failed for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at_revision: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    failed_attempts: &'a [FailedAttempt],
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a JobResult>,
}

pub(crate) fn job(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list(&args)?,
        Command::Show(args) => show(&args)?,
        Command::Cancel(args) => {
            manager(&args.one)?.cancel(&args.one.id())?;
            args.changed(Some(JobStatus::Failed), "is cancelled, and listed as failed")?;
        }
        Command::Retry(args) => {
            manager(&args.one)?.retry_failed(&args.one.id())?;
            let dir = args.one.data.path().display();
            args.changed(Some(JobStatus::Pending), &format!("runs at the next `reductor run --data {dir}`"))?;
        }
        Command::Discard(args) => {
            manager(&args.one)?.discard_failed(&args.one.id())?;
            args.changed(None, "is forgotten")?;
        }
    }
    Ok(Outcome::AllWell)
}

impl ChangeArgs {
    /// Says what the job is now; without a status it is gone.
    fn changed(&self, status: Option<JobStatus>, what: &str) -> anyhow::Result<()> {
        if self.json {
            return output::line(&json!({ "jobId": self.one.job, "status": status }));
        }
        eprintln!("job {} {what}", self.one.job);
        Ok(())
    }
}

impl OneArgs {
    fn id(&self) -> JobId {
        JobId::from(self.job.as_str())
    }
}

/// A manager that is never started, so that nothing runs.
fn manager(args: &OneArgs) -> anyhow::Result<JobExecutorManager> {
    let store = Arc::new(args.data.open()?);
    let reducers = Arc::new(Reducers::new());
    // Nobody listens.
    let bus = EventBus::new(1);
    Ok(JobExecutorManager::open(ExecutorConfig::default(), reducers, store, bus)?)
}

fn list(args: &ListArgs) -> anyhow::Result<()> {
    let store = args.data.open()?;
    let mut query = JobQuery {
        status: args.status.map(JobStatus::from),
        document: args.document.as_deref().map(DocumentId::from),
        after: args.after,
        limit: 0,
    };
    let (mut left, mut is_first) = (args.limit, true);
    loop {
        query.limit = left.min(PAGE);
        let records = if query.limit == 0 { Vec::new() } else { store.jobs(&query)? };
        if args.json {
            records.iter().try_for_each(|record| output::line(&Shown::of(record)))?;
        } else if is_first || !records.is_empty() {
            let table = rows(&records);
            output::text(&if is_first { table.with_head() } else { table.rows_only() })?;
        }
        is_first = false;
        left -= records.len();
        match records.last() {
            Some(last) if records.len() == query.limit => query.after = last.order(),
            _ => break,
        }
    }
    let more = store.jobs(&JobQuery { limit: 1, ..query.clone() })?;
    if left == 0 && !more.is_empty() && !args.json {
        eprintln!("there are more; go on with --after {}", query.after);
    }
    Ok(())
}

fn rows(records: &[JobRecord]) -> Table<7> {
    let mut table = Table::new(["number", "job", "status", "document", "actions", "attempts", "error"]);
    for record in records {
        let shown = Shown::of(record);
        table.row([
            shown.number.to_string(),
            shown.job.id.to_string(),
            status_name(shown.status).to_owned(),
            shown.job.lane().to_string(),
            shown.job.actions.len().to_string(),
            shown.attempts().to_string(),
            table::cut(shown.error().unwrap_or_default(), ERROR_CHARS),
        ]);
    }
    table
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let OneArgs { data, job } = &args.one;
    let record = data.open()?.job(&args.one.id())?;
    let record = record.with_context(|| format!("no job {job} is known in {}", data.path().display()))?;
    let shown = Shown::of(&record);
    if args.json { output::pretty(&shown) } else { output::text(&shown.describe()) }
}

impl<'a> Shown<'a> {
    fn of(record: &'a JobRecord) -> Self {
        let result = record.result().map(|result| &**result);
        let (number, status) = (record.order(), record.status());
        match record {
            JobRecord::Unfinished(journaled) | JobRecord::Failed { journaled, .. } => Self {
                number,
                status,
                job: Job { status, ..journaled.accepted.job.clone() },
                accepted_at: Some(journaled.accepted_at),
                not_before: journaled.not_before,
                failed_at_revision: match record {
                    JobRecord::Failed { revision, .. } => Some(*revision),
                    _ => None,
                },
                failed_attempts: &journaled.failed_attempts,
                result,
            },
            JobRecord::Completed { result: of, .. } => Self {
                number,
                status,
                job: Job { status, ..of.job.clone() },
                accepted_at: None,
                not_before: None,
                failed_at_revision: None,
                failed_attempts: &[],
                result,
            },
        }
    }

    fn attempts(&self) -> u32 {
        let metadata = self.result.and_then(|result| result.metadata.as_ref());
        let failed = self.failed_attempts.last().map(|last| last.attempt);
        metadata.map(|metadata| metadata.attempts).or(failed).unwrap_or(0)
    }

    fn error(&self) -> Option<&str> {
        let failed = self.failed_attempts.last().map(|last| last.error.error_message.as_str());
        self.result.and_then(|result| result.error_message.as_deref()).or(failed)
    }

    /// For people.
    fn describe(&self) -> String {
        let mut text = format!("job {}\n", self.job.id);
        let mut row = |name: &str, value: String| text += &format!("  {name:<12}{value}\n");
        row("number", self.number.to_string());
        row("status", status_name(self.status).to_owned());
        row("document", self.job.lane().to_string());
        if let Some(at) = self.accepted_at {
            row("accepted", at.to_string());
        }
        if let Some(at) = self.not_before {
            row("not before", at.to_string());
        }
        if let Some(result) = self.result {
            row("ended", result.completed_at.to_string());
            row("operations", result.operations.len().to_string());
        }
        row("attempts", self.attempts().to_string());
        if let Some(revision) = self.failed_at_revision {
            row("failed at", format!("revision {revision} of its document"));
        }
        if let Some(error) = self.error() {
            row("error", table::cut(error, usize::MAX));
        }
        text += "actions";
        for (at, action) in self.job.actions.iter().enumerate() {
            let input = table::cut(action.input.as_str(), INPUT_CHARS);
            text += &format!("\n  {at}  {}  {}  {input}", action.action_type, action.scope);
        }
        if !self.failed_attempts.is_empty() {
            text += "\nfailed attempts";
        }
        for FailedAttempt { attempt, failed_at, error, reason, .. } in self.failed_attempts {
            let reason = reason.map_or_else(String::new, |reason| format!(" ({})", reason.name()));
            let message = table::cut(&error.error_message, usize::MAX);
            text += &format!("\n  {attempt}  {failed_at}  {message}{reason}");
        }
        text
    }
}

fn status_name(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Pending => "pending",
        JobStatus::Running => "running",
        JobStatus::Completed => "completed",
        JobStatus::Failed => "failed",
    }
}
