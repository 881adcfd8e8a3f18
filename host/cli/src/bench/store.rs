//! `reductor bench store`: what it costs that nothing is lost.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use indicatif::ProgressBar;
use reductor_host::{
    Branch, DiskStore, DocumentId, ExecutorConfig, GuestLimits, JobExecutorManager, LaneKey, NativeReducer,
    OperationStore as _, Reducer, Sandbox, StoreOptions, Submission, Submitted,
};
use serde_json::json;
use tempfile::TempDir;

use super::manager::rounds;
use super::report::{Goal, Report, median, percentile};
use super::workload::{counter_rate, increment, run_all, with_store};
use super::{Args, workload};
use crate::build;
use crate::trace::Trace;
use crate::{Outcome, plugins};

/// Bytes of an operation where it is measured how many are written for it.
const OPERATION_BYTES: usize = 200;
/// Jobs under way while bytes are counted, and many of them.
const JOBS_QUEUED: usize = 256;
const JOBS_QUEUED_LONG: usize = 50_000;
/// Those of them that are not its input: its action's id, type and time, and the state's hash.
const WITHOUT_INPUT_BYTES: usize = 36 + 9 + 24 + 28;
/// What a disk is asked to sync beside each job.
const BLOCK_BYTES: usize = 4096;
/// Actions of a job where documents are only filled.
const ACTIONS_PER_JOB: usize = 100;
/// How often a document is loaded and a store opened.
const OPENINGS: usize = 5;
const COLD_LOADS: [(&str, usize); 3] =
    [("cold-load-ms-10", 10), ("cold-load-ms-1000", 1_000), ("cold-load-ms-100000", 100_000)];

#[derive(clap::Args)]
pub(crate) struct StoreArgs {
    #[command(flatten)]
    common: Args,
    /// Where stores are made and removed again: on the disk that is to be measured. The working
    /// directory by default.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Fewer jobs, to see that everything works; the figures say little.
    #[arg(long)]
    quick: bool,
}

/// How much is done for each figure.
struct Counts {
    jobs: usize,
    latencies: usize,
    documents: usize,
    operations: usize,
    /// Results after which the process is killed.
    killed_after: usize,
    sessions: usize,
}

const FULL: Counts = Counts {
    jobs: 200_000,
    latencies: 2_000,
    documents: 10_000,
    operations: 1_000_000,
    killed_after: 50_000,
    sessions: 5,
};
const QUICK: Counts =
    Counts { jobs: 4_000, latencies: 100, documents: 500, operations: 10_000, killed_after: 1_000, sessions: 1 };

struct Bench {
    counter: Arc<dyn Reducer>,
    native: Arc<dyn Reducer>,
    component: PathBuf,
    dir: PathBuf,
    counts: Counts,
}

pub(super) fn bench(args: &StoreArgs) -> anyhow::Result<Outcome> {
    let source = args.common.source.folder()?;
    let guests = ["example-reducers/counter", "example-reducers/text"];
    let components = build::guests(&source, &guests, &args.common.toolchain)?;
    let sandbox = Sandbox::new(GuestLimits::default())?;
    let plugin = |at: usize| -> anyhow::Result<Arc<dyn Reducer>> {
        Ok(Arc::new(plugins::admit(&sandbox, &components[at].path)?))
    };
    let text = plugin(1)?;
    let bench = Bench {
        counter: plugin(0)?,
        native: Arc::new(NativeReducer::<counter::Counter>::new()),
        component: components[0].path.clone(),
        dir: args.dir.clone().unwrap_or_else(|| PathBuf::from(".")),
        counts: if args.quick { QUICK } else { FULL },
    };
    type Section<'a> = (&'static [&'static str], &'a dyn Fn(&mut Report) -> anyhow::Result<()>);
    let sections: [Section<'_>; 8] = [
        (&["jobs-per-second-64-durable"], &|report| bench.rate(report, 64, Some(Goal::AtLeast(100_000.0)))),
        (&["jobs-per-second-1-durable"], &|report| bench.rate(report, 1, Some(Goal::AtLeast(50_000.0)))),
        (&["jobs-per-second-10000-durable"], &|report| bench.rate(report, 10_000, None)),
        (&["latency-p50-us-durable", "latency-p99-us-durable", "fsync-p50-us"], &|report| bench.latency(report)),
        (&["bytes-written-ratio", "bytes-written-ratio-long-queue", "start-ms-million-operations"], &|report| {
            bench.written_and_start(report)
        }),
        (&["cold-load-ms-10", "cold-load-ms-1000", "cold-load-ms-100000"], &|report| {
            bench.cold_loads(report, &args.common)
        }),
        (&["recovery-ms-after-kill"], &|report| bench.recovery(report)),
        (&["editing-session-s-durable"], &|report| {
            bench.editing_session(report, &text, &Trace::read(&source, "sveltecomponent")?)
        }),
    ];
    let progress = ProgressBar::new(sections.len() as u64);
    let mut report = Report::new();
    for (names, section) in sections {
        if args.common.wants(names) {
            progress.set_message(names[0]);
            section(&mut report).with_context(|| names[0])?;
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    report.print(args.common.json)?;
    Ok(Outcome::AllWell)
}

impl Bench {
    fn rate(&self, report: &mut Report, documents: usize, goal: Option<Goal>) -> anyhow::Result<()> {
        let rate = rounds(|| {
            let scratch = self.scratch()?;
            let manager = opened(scratch.path(), &self.counter)?;
            counter_rate(&manager, self.counts.jobs, documents)
        })?;
        report.add(format!("jobs-per-second-{documents}-durable"), rate, "jobs/s", goal);
        Ok(())
    }

    /// From handing in a job to having its result, with nothing else to do, and in turn with that
    /// how long the disk takes to sync a block.
    fn latency(&self, report: &mut Report) -> anyhow::Result<()> {
        let scratch = self.scratch()?;
        let manager = opened(&scratch.path().join("store"), &self.counter)?;
        run_all(&manager, workload::increments(64, 64)?)?;
        let file = File::create(scratch.path().join("block"))?;
        // Like a log that grows: the same block again and again could be cheaper.
        let (mut jobs, mut syncs) = (Vec::new(), Vec::new());
        for number in 0..self.counts.latencies {
            let began = Instant::now();
            file.write_all_at(&[number as u8; BLOCK_BYTES], (number * BLOCK_BYTES) as u64)?;
            file.sync_data()?;
            syncs.push(us_since(began));
            let submission = increment(number % 64)?;
            let began = Instant::now();
            let result = manager.submit(submission)?.wait_blocking();
            jobs.push(us_since(began));
            anyhow::ensure!(result.success, "a counter job failed");
        }
        let sync = median(syncs);
        report.add("latency-p50-us-durable", percentile(&jobs, 50), "us", Some(Goal::AtMost(sync + 300.0)));
        report.add("latency-p99-us-durable", percentile(&jobs, 99), "us", None);
        report.add("fsync-p50-us", sync, "us", None);
        Ok(())
    }

    /// What reaches the device for many operations, one job each; and how long a store takes to
    /// start that has them.
    ///
    /// A job that waits long is written twice, when it is accepted and when it has ended; so it is
    /// measured with a queue that is short and with one that is long.
    fn written_and_start(&self, report: &mut Report) -> anyhow::Result<()> {
        let operations = self.counts.operations;
        let long = self.scratch()?;
        let ratio = self.written_ratio(long.path(), JOBS_QUEUED_LONG)?;
        report.add("bytes-written-ratio-long-queue", ratio, "x", None);
        drop(long);
        let scratch = self.scratch()?;
        let ratio = self.written_ratio(scratch.path(), JOBS_QUEUED)?;
        report.add("bytes-written-ratio", ratio, "x", Some(Goal::AtMost(4.0)));
        let mut ms = Vec::new();
        for _ in 0..OPENINGS {
            let began = Instant::now();
            let manager = opened(scratch.path(), &self.native)?;
            ms.push(ms_since(began));
            drop(manager);
        }
        let operations = if operations == 1_000_000 { "million".to_owned() } else { operations.to_string() };
        report.add(format!("start-ms-{operations}-operations"), median(ms), "ms", Some(Goal::AtMost(1_000.0)));
        Ok(())
    }

    /// Bytes that reach the device, over the bytes of the operations, while so many jobs are under
    /// way.
    fn written_ratio(&self, dir: &Path, under_way: usize) -> anyhow::Result<f64> {
        let Counts { documents, operations, .. } = self.counts;
        let before = bytes_written()?;
        let manager = opened(dir, &self.native)?;
        let padding = " ".repeat(OPERATION_BYTES - WITHOUT_INPUT_BYTES - r#"{"by":1}"#.len());
        let mut submitted = VecDeque::new();
        let done = |job: Option<Submitted>| {
            let success = job.is_none_or(|job| job.wait_blocking().success);
            anyhow::ensure!(success, "a counter job failed");
            Ok(())
        };
        for number in 0..operations {
            if submitted.len() == under_way {
                done(submitted.pop_front())?;
            }
            let document = number % documents;
            submitted.push_back(manager.submit(Submission::from_json(&format!(
                r#"{{"documentId": "document-{document}", "documentType": "example/counter",
                    "actions": [{{"type": "INCREMENT", "input": {{"by":1{padding}}}}}]}}"#
            ))?)?);
        }
        submitted.into_iter().try_for_each(|job| done(Some(job)))?;
        drop(manager);
        Ok((bytes_written()? - before) as f64 / (operations * OPERATION_BYTES) as f64)
    }

    /// How long it takes to find out where a document stands that has so many operations, in a
    /// process that has just begun.
    fn cold_loads(&self, report: &mut Report, args: &Args) -> anyhow::Result<()> {
        for (name, operations) in COLD_LOADS {
            if !args.wants(&[name]) {
                continue;
            }
            let scratch = self.scratch()?;
            let manager = opened(scratch.path(), &self.counter)?;
            fill(&manager, operations)?;
            drop(manager);
            let mut ms = Vec::new();
            for _ in 0..OPENINGS {
                let manager = opened(scratch.path(), &self.counter)?;
                let began = Instant::now();
                let head = manager.head(&lane("document-0"))?.context("the document is gone")?;
                ms.push(ms_since(began));
                anyhow::ensure!(head.revision as usize > operations, "operations are missing");
            }
            let goal = (operations == 100_000).then_some(Goal::AtMost(10.0));
            report.add(name, median(ms), "ms", goal);
        }
        Ok(())
    }

    /// From opening the store of a process that was killed to the first result of a new job.
    fn recovery(&self, report: &mut Report) -> anyhow::Result<()> {
        let (mut ms, mut unfinished) = (Vec::new(), Vec::new());
        for _ in 0..OPENINGS {
            let scratch = self.scratch()?;
            let data = scratch.path().join("store");
            self.kill_in_full_flight(scratch.path(), &data)?;
            let began = Instant::now();
            let store = DiskStore::open(&data, StoreOptions::default())?;
            unfinished.push(store.unfinished()?.len() as f64);
            let manager = with_store(&[&self.counter], ExecutorConfig::default(), Arc::new(store))?;
            let result = manager.submit(increment(64)?)?.wait_blocking();
            ms.push(ms_since(began));
            anyhow::ensure!(result.success, "the first job after a kill failed");
        }
        report.add("recovery-ms-after-kill", median(ms), "ms", None);
        report.add("recovery-unfinished-jobs", median(unfinished), "jobs", None);
        Ok(())
    }

    /// Runs jobs in a process of its own, and kills it when it has printed some of the results.
    fn kill_in_full_flight(&self, scratch: &Path, data: &Path) -> anyhow::Result<()> {
        let jobs = scratch.join("jobs.ndjson");
        let mut file = std::io::BufWriter::new(File::create(&jobs)?);
        for number in 0..self.counts.killed_after * 4 {
            let submission = json!({
                "documentId": format!("document-{}", number % 64),
                "documentType": "example/counter",
                "actions": [{ "type": "INCREMENT", "input": { "by": 1 } }],
            });
            writeln!(file, "{submission}")?;
        }
        file.flush()?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("run")
            .args([Path::new("--plugin"), &self.component, Path::new("--data"), data, &jobs])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = BufReader::new(child.stdout.take().context("standard output is piped")?);
        let results = stdout.lines().take(self.counts.killed_after).count();
        child.kill()?;
        child.wait()?;
        anyhow::ensure!(results == self.counts.killed_after, "the process ended by itself");
        Ok(())
    }

    /// A real editing session, one job for each transaction.
    fn editing_session(&self, report: &mut Report, text: &Arc<dyn Reducer>, trace: &Trace) -> anyhow::Result<()> {
        let mut seconds = Vec::new();
        for _ in 0..self.counts.sessions {
            let scratch = self.scratch()?;
            let manager = opened(scratch.path(), text)?;
            let submissions = trace.submissions("session")?;
            let began = Instant::now();
            let results = run_all(&manager, submissions)?;
            seconds.push(began.elapsed().as_secs_f64());
            let failed = results.iter().find(|result| !result.success);
            anyhow::ensure!(failed.is_none(), "a transaction failed: {:?}", failed.map(|result| &result.error_message));
            let head = manager.head(&lane("session"))?.context("the session made no document")?;
            let state: serde_json::Value = serde_json::from_slice(&head.snapshot()[0].json)?;
            anyhow::ensure!(state["content"] == trace.end_content, "the session ended in another text");
        }
        report.add("editing-session-s-durable", median(seconds), "s", Some(Goal::AtMost(1.5)));
        Ok(())
    }

    fn scratch(&self) -> anyhow::Result<TempDir> {
        let made = tempfile::Builder::new().prefix("reductor-bench-").tempdir_in(&self.dir);
        made.with_context(|| format!("--dir: no directory can be made in {}", self.dir.display()))
    }
}

/// A manager that runs on a store in a directory.
fn opened(dir: &Path, reducer: &Arc<dyn Reducer>) -> anyhow::Result<JobExecutorManager> {
    let store = DiskStore::open(dir, StoreOptions::default())?;
    with_store(&[reducer], ExecutorConfig::default(), Arc::new(store))
}

/// Gives a document so many operations.
fn fill(manager: &JobExecutorManager, operations: usize) -> anyhow::Result<()> {
    let mut submissions = Vec::new();
    for first in (0..operations).step_by(ACTIONS_PER_JOB) {
        let actions = (operations - first).min(ACTIONS_PER_JOB);
        let actions = vec![json!({ "type": "INCREMENT", "input": { "by": 1 } }); actions];
        let job = json!({ "documentId": "document-0", "documentType": "example/counter", "actions": actions });
        submissions.push(Submission::from_json(&job.to_string())?);
    }
    let results = run_all(manager, submissions)?;
    anyhow::ensure!(results.iter().all(|result| result.success), "a document could not be filled");
    Ok(())
}

fn lane(document: &str) -> LaneKey {
    LaneKey { document: DocumentId::from(document), branch: Branch::from(Branch::MAIN) }
}

/// Bytes that this process has had written to devices.
fn bytes_written() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/self/io").context("/proc/self/io says what is written")?;
    let value = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(value.context("/proc/self/io has no write_bytes")?.trim().parse()?)
}

fn us_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}

fn ms_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
