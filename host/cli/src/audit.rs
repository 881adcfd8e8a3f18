//! `reductor audit`: is a reducer pure? Every job runs on a resident and on a fresh instance.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

use reductor_host::{
    ActionType, AuditPolicy, Branch, CompileWorker, Divergence, DivergenceKind, DocumentId, ExecutorConfig, Host,
    JobExecutorManager, JobId, JobResult, OnDivergence, Reason, Stop, Submission, Ticket,
};
use serde::Serialize;

use crate::host_args::HostArgs;
use crate::input::{self, Checker};
use crate::results::collect_dispatched;
use crate::run::{JOBS_MAX, progress_bar};
use crate::{Outcome, output};

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    host: HostArgs,
    /// Print JSON: a line for each finding, and a last one for all of them.
    #[arg(long)]
    json: bool,
    /// The jobs: one submission a line, as JSON; `-` for standard input.
    #[arg(value_name = "JOBS.ndjson")]
    jobs: PathBuf,
}

const AFTER_HELP: &str = r#"A line is a submission, as `reductor run --help` shows it. The file is checked whole before
anything runs.

Each job runs on the instance that its document lives in, and once more on a fresh one that is
loaded from the document's state. States, refusals and dispatched actions must be the same, and
what the document holds must be what its actions returned. A job that differs changes nothing;
the jobs after it run all the same.

What a reducer keeps outside of its document's state shows from the second job on a document on:
give it more than one.

Findings:
  diverged      the two runs differ: the reducer is not pure
  unsteady      the job failed at first, and succeeded when it was tried again
  failed        the job failed, so that there is nothing to compare; refusals are no failures
  inconclusive  the fresh instance met a limit of time, memory or fuel; the last line counts these jobs

Exit codes: 0 nothing was found, 1 something was, 2 bad usage or input, 3 the environment."#;

/// What there is to say of one job, unless it came out the same.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding<'a> {
    finding: Kind,
    /// Of the job's submission, or of the one that led to it by dispatch.
    line: Option<usize>,
    dispatched: bool,
    job_id: &'a JobId,
    document_id: &'a DocumentId,
    branch: &'a Branch,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_type: Option<&'a ActionType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    divergence: Option<&'a Divergence>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Diverged,
    Unsteady,
    Failed,
}

/// What all jobs came to.
#[derive(Default, Serialize)]
struct Summary {
    jobs: u64,
    same: u64,
    diverged: u64,
    unsteady: u64,
    failed: u64,
    inconclusive: u64,
}

pub(crate) fn audit(args: Args, worker: CompileWorker) -> anyhow::Result<Outcome> {
    let config = ExecutorConfig {
        audit: AuditPolicy::Every,
        on_divergence: OnDivergence::FailJob,
        // A failure that goes away on a fresh instance is a finding, too.
        max_retries: 1,
        ..args.host.config()
    };
    let host = args.host.build(config, None, worker)?;
    let mut checker = Checker::new(&host)?;
    let (name, submissions) = if args.jobs.as_os_str() == "-" {
        let name = "standard input".to_owned();
        let submissions = input::read_all(&name, std::io::stdin(), &mut checker)?;
        (name, submissions)
    } else {
        let name = args.jobs.display().to_string();
        let submissions = input::read_all(&name, input::open(&args.jobs)?, &mut checker)?;
        (name, submissions)
    };
    let mut report = Report { name, json: args.json, lines: HashMap::new(), summary: Summary::default() };
    report.run(&host, submissions)?;
    report.finish(&host)
}

/// Prints findings as they come, and counts.
struct Report {
    name: String,
    json: bool,
    /// The lines of the jobs so far. Jobs that were dispatched have that of the first cause.
    lines: HashMap<JobId, usize>,
    summary: Summary,
}

impl Report {
    fn run(&mut self, host: &Host, submissions: Vec<(usize, Submission)>) -> anyhow::Result<()> {
        let manager = host.manager();
        manager.start(None)?;
        let events = manager.events().subscribe();
        let (submitted, dispatched) = std::thread::scope(|scope| {
            let dispatched = scope.spawn(move || collect_dispatched(manager, events));
            let submitted = self.submit_all(manager, submissions);
            if submitted.is_ok() {
                manager.wait_until_idle_blocking();
            }
            manager.stop_blocking(Stop::Graceful);
            (submitted, dispatched.join().expect("the collector does not panic"))
        });
        submitted?;
        dispatched.iter().try_for_each(|result| self.take(result))
    }

    fn submit_all(
        &mut self,
        manager: &JobExecutorManager,
        submissions: Vec<(usize, Submission)>,
    ) -> anyhow::Result<()> {
        let progress = progress_bar(Some(submissions.len()), false);
        let mut under_way: VecDeque<Ticket> = VecDeque::new();
        for (line, submission) in submissions {
            if under_way.len() == JOBS_MAX {
                self.wait_for(under_way.pop_front())?;
                progress.inc(1);
            }
            let ticket = manager.enqueue(submission)?;
            self.lines.insert(ticket.job_id.clone(), line);
            under_way.push_back(ticket);
        }
        for ticket in under_way {
            self.wait_for(Some(ticket))?;
            progress.inc(1);
        }
        progress.finish_and_clear();
        Ok(())
    }

    fn wait_for(&mut self, ticket: Option<Ticket>) -> anyhow::Result<()> {
        ticket.map_or(Ok(()), |ticket| self.take(&ticket.wait_blocking()))
    }

    /// Takes a result, and prints what is to be said of it.
    fn take(&mut self, result: &JobResult) -> anyhow::Result<()> {
        let metadata = result.metadata.as_ref();
        let cause = metadata.and_then(|metadata| metadata.causation.as_ref());
        let line = self.lines.get(cause.map_or(&result.job.id, |cause| &cause.job_id)).copied();
        if let Some(line) = line.filter(|_| cause.is_some()) {
            self.lines.insert(result.job.id.clone(), line);
        }
        self.summary.jobs += 1;
        let reason = metadata.and_then(|metadata| metadata.reason);
        let attempts = metadata.map_or(1, |metadata| metadata.attempts);
        let kind = match reason {
            Some(Reason::Diverged) => Kind::Diverged,
            _ if result.success && attempts > 1 => Kind::Unsteady,
            _ if result.success || reason == Some(Reason::Rejected) => {
                self.summary.same += 1;
                return Ok(());
            }
            _ => Kind::Failed,
        };
        *match kind {
            Kind::Diverged => &mut self.summary.diverged,
            Kind::Unsteady => &mut self.summary.unsteady,
            Kind::Failed => &mut self.summary.failed,
        } += 1;
        let divergence = metadata.and_then(|metadata| metadata.divergence.as_deref());
        let action_index = metadata.and_then(|metadata| metadata.action_index);
        let finding = Finding {
            finding: kind,
            line,
            dispatched: cause.is_some(),
            job_id: &result.job.id,
            document_id: &result.job.document_id,
            branch: &result.job.branch,
            action_index,
            action_type: action_index.map(|index| &result.job.actions[index].action_type),
            reason,
            message: result.error_message.as_deref(),
            divergence,
            hint: divergence.map(|divergence| divergence.hint.to_string()),
        };
        if self.json { output::line(&finding) } else { output::text(&finding.describe(&self.name)) }
    }

    fn finish(mut self, host: &Host) -> anyhow::Result<Outcome> {
        self.summary.inconclusive = host.manager().audit_stats().inconclusive;
        // They count as the same until here.
        self.summary.same = self.summary.same.saturating_sub(self.summary.inconclusive);
        if self.json {
            output::line(&self.summary)?;
        } else {
            output::text(&self.summary.describe())?;
        }
        let Summary { diverged, unsteady, failed, inconclusive, .. } = self.summary;
        Ok(if diverged + unsteady + failed + inconclusive == 0 { Outcome::AllWell } else { Outcome::JobsFailed })
    }
}

impl Finding<'_> {
    fn describe(&self, name: &str) -> String {
        let line = self.line.map_or_else(String::new, |line| format!(":{line}"));
        let dispatched = if self.dispatched { " (a job that it dispatched)" } else { "" };
        let mut text = format!("{name}{line}{dispatched}: ");
        match self.divergence {
            Some(divergence) => text += &self.describe_divergence(divergence),
            None if self.finding == Kind::Unsteady => {
                text += &format!(
                    "unsteady on document `{}`: the job failed at first, and succeeded on a fresh instance",
                    self.document_id
                );
            }
            None => text += &format!("failed: {}", self.message.unwrap_or("for no known reason")),
        }
        text
    }

    fn describe_divergence(&self, divergence: &Divergence) -> String {
        let Divergence { kind, action_index, scope, path, resident, fresh, hint } = divergence;
        let action_type = self.action_type.map(ActionType::as_str).unwrap_or_default();
        let at = path.as_ref().map_or_else(String::new, |path| format!(", at `{path}`"));
        let (what, first, second) = match kind {
            DivergenceKind::State => ("another state", "resident", "fresh"),
            DivergenceKind::Answer => ("another answer", "resident", "fresh"),
            DivergenceKind::Dispatches => ("other dispatched actions", "resident", "fresh"),
            DivergenceKind::UnloggedChange => ("a change that no action returned", "held", "returned"),
        };
        let row = |name: &str, value: &str| format!("\n  {name:<10}{value}");
        let mut text = format!(
            "diverged in actions[{action_index}] `{action_type}` on document `{}`: {what} (scope `{scope}`{at})",
            self.document_id
        );
        text += &row(first, &resident.value.replace('\n', "\n            "));
        text += &row(second, &fresh.value.replace('\n', "\n            "));
        if let (Some(first), Some(second)) = (&resident.hash, &fresh.hash) {
            text += &row("hashes", &format!("{first}, {second}"));
        }
        text + &row("likely", &hint.to_string())
    }
}

impl Summary {
    fn describe(&self) -> String {
        let jobs = if self.jobs == 1 { "job" } else { "jobs" };
        let mut text = format!("{} {jobs}: {} the same", self.jobs, self.same);
        let rest = [
            (self.diverged, "diverged"),
            (self.unsteady, "unsteady"),
            (self.failed, "failed"),
            (self.inconclusive, "inconclusive"),
        ];
        for (count, name) in rest.into_iter().filter(|(count, _)| *count > 0) {
            text += &format!(", {count} {name}");
        }
        text
    }
}
