//! `reductor bench manager`: what queue, workers and results cost, and how the host shares
//! itself among documents that do not all behave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use reductor_host::{
    Event, ExecutorConfig, GuestLimits, JobExecutorManager, JobExecutorManagerConfig, NativeReducer, Reason, Received,
    Reducer, Sandbox, Submission,
};
use serde_json::json;

use super::report::{Goal, Report, median, percentile};
use super::workload::{
    self, JobGoals, counter_rate, forgetful, increment, increments, started, with_config, with_workers,
};
use super::{Args, audit, machine, recovery};
use crate::build;
use crate::{Outcome, plugins};

/// Documents beside one that runs away.
const NEIGHBOURS: usize = 63;
/// How long a guest that never ends is let run beside others, in milliseconds.
const RUNAWAY_MS: u64 = 200;
/// The same where it is measured how soon it is stopped, and how often.
const KILLS: [(u64, u32); 5] = [(20, 40), (100, 20), (200, 20), (1_000, 5), (5_000, 3)];
/// The figures of [`KILLS`].
const OVERSHOOTS: [&str; 5] = [
    "runaway-kill-overshoot-ms-20",
    "runaway-kill-overshoot-ms-100",
    "runaway-kill-overshoot-ms",
    "runaway-kill-overshoot-ms-1000",
    "runaway-kill-overshoot-ms-5000",
];
const WORKERS: usize = 2;
const ROUNDS: usize = 3;

struct Bench {
    counter: Arc<dyn Reducer>,
    native: Arc<dyn Reducer>,
    unruly: Arc<dyn Reducer>,
    /// The same with all the fuel that there is: time alone stops it.
    tireless: Arc<dyn Reducer>,
}

pub(super) fn bench(args: &Args) -> anyhow::Result<Outcome> {
    let source = args.source.folder()?;
    let guests = ["example-reducers/counter", "tests/guests/unruly"];
    let components = build::guests(&source, &guests, &args.toolchain)?;
    let sandbox = Sandbox::new(GuestLimits::default())?;
    let plugin = |at: usize| -> anyhow::Result<Arc<dyn Reducer>> {
        Ok(Arc::new(plugins::admit(&sandbox, &components[at].path)?))
    };
    let native = Arc::new(NativeReducer::<counter::Counter>::new());
    let endless = Sandbox::new(GuestLimits { fuel_per_call: u64::MAX, ..GuestLimits::default() })?;
    let tireless = Arc::new(plugins::admit(&endless, &components[1].path)?);
    let bench = Bench { counter: plugin(0)?, native, unruly: plugin(1)?, tireless };
    let goals = JobGoals {
        cpu: Some(Goal::AtMost(8.0)),
        rate_one: Some(Goal::AtLeast(100_000.0)),
        rate_many: Some(Goal::AtLeast(150_000.0)),
    };
    type Section<'a> = (&'static [&'static str], &'a dyn Fn(&mut Report) -> anyhow::Result<()>);
    let sections: [Section<'_>; 12] = [
        (&["job-cpu-us", "jobs-per-second-1-memory", "jobs-per-second-64-memory"], &|report| {
            workload::job_cost(report, "", &bench.counter, goals)?;
            workload::job_cost(report, "-native", &bench.native, JobGoals::default())
        }),
        (&["latency-p50-us-memory", "latency-p99-us-memory"], &|report| bench.latency(report)),
        (&["jobs-per-second-64-workers"], &|report| bench.scaling(report)),
        (&["late-lane-start-percent"], &|report| bench.late_lane(report)),
        (&["resident-document-kB"], &|report| bench.residents(report)),
        (&["runaway-neighbours-percent", "runaway-neighbours-ratio", "runaway-neighbours-p99-ms"], &|report| {
            bench.neighbours_of_one(report)
        }),
        (&OVERSHOOTS, &|report| bench.overshoot(report, args)),
        (&recovery::FIGURES, &|report| recovery::measure(report, &bench.unruly)),
        (&audit::SHARE_FIGURES, &|report| audit::share(report, &bench.counter)),
        (&audit::OFF_FIGURES, &|report| audit::off_cost(report, &bench.counter)),
        (&["runaways-as-many-as-workers-percent"], &|report| bench.neighbours_of_many(report)),
        (&["growth-after-a-million-jobs-mb"], &|report| bench.growth(report)),
    ];
    let progress = ProgressBar::new(sections.len() as u64);
    let mut report = Report::new();
    for (names, section) in sections {
        if args.wants(names) {
            progress.set_message(names[0]);
            section(&mut report)?;
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    report.print(args.json)?;
    Ok(Outcome::AllWell)
}

impl Bench {
    /// From handing in a job to having its result, with nothing else to do.
    fn latency(&self, report: &mut Report) -> anyhow::Result<()> {
        let manager = started(&[&self.counter])?;
        latencies(&manager, 1_000, 64)?;
        let us = latencies(&manager, 20_000, 64)?;
        report.add("latency-p50-us-memory", percentile(&us, 50), "us", None);
        report.add("latency-p99-us-memory", percentile(&us, 99), "us", Some(Goal::AtMost(1_000.0)));
        Ok(())
    }

    fn scaling(&self, report: &mut Report) -> anyhow::Result<()> {
        for workers in [1, 2, 4] {
            let rates = rounds(|| counter_rate(&with_workers(&[&self.counter], Some(workers))?, 100_000, 64))?;
            report.add(format!("jobs-per-second-64-workers-{workers}"), rates, "jobs/s", None);
        }
        Ok(())
    }

    /// One job on a document of its own, behind 10,000 on another: how many of them start before
    /// it, in percent.
    fn late_lane(&self, report: &mut Report) -> anyhow::Result<()> {
        let share = rounds(|| {
            let manager = started(&[&self.counter])?;
            manager.pause()?;
            let mut submissions = increments(10_000, 1)?;
            submissions.push(increment(1)?);
            let jobs = submissions.len() as f64;
            let tickets = manager.enqueue_all(submissions)?;
            let late = tickets.last().map(|ticket| ticket.job_id.clone());
            let mut events = manager.events().subscribe();
            manager.resume()?;
            let mut before = 0_u32;
            loop {
                match events.recv_blocking() {
                    Some(Received::Event(event)) => match &*event {
                        Event::JobStarted(started) if Some(&started.job.id) == late.as_ref() => break,
                        Event::JobStarted(_) => before += 1,
                        _ => {}
                    },
                    Some(Received::Missed(count)) => anyhow::bail!("missed {count} events"),
                    None => anyhow::bail!("the host is gone"),
                }
            }
            tickets.into_iter().for_each(|ticket| drop(ticket.wait_blocking()));
            Ok(f64::from(before) / jobs * 100.0)
        })?;
        report.add("late-lane-start-percent", share, "%", Some(Goal::AtMost(1.0)));
        Ok(())
    }

    fn residents(&self, report: &mut Report) -> anyhow::Result<()> {
        const DOCUMENTS: usize = 4_000;
        let manager = forgetful(&[&self.counter])?;
        workload::run_all(&manager, increments(64, 64)?)?;
        let before = machine::resident_kb();
        let documents = (0..DOCUMENTS).map(|number| increment(1_000 + number)).collect::<anyhow::Result<_>>()?;
        drop(workload::run_all(&manager, documents)?);
        let grown = machine::resident_kb().saturating_sub(before) as f64;
        anyhow::ensure!(manager.residents().0 == DOCUMENTS + 64, "documents did not stay alive");
        report.add("resident-document-kB", grown / DOCUMENTS as f64, "kB", Some(Goal::AtMost(100.0)));
        Ok(())
    }

    fn neighbours_of_one(&self, report: &mut Report) -> anyhow::Result<()> {
        let alone = rounds(|| self.rate_beside(0))?;
        let beside = rounds(|| self.rate_beside(1))?;
        let percent = beside / alone * 100.0;
        report.add("runaway-neighbours-percent", percent, "%", Some(Goal::AtLeast(45.0)));
        let left = (WORKERS - 1) as f64 / WORKERS as f64;
        report.add("runaway-neighbours-ratio", percent / 100.0 / left, "x", Some(Goal::AtLeast(0.95)));
        let us = self.beside(1, |manager| latencies(manager, 50_000, NEIGHBOURS))?;
        report.add("runaway-neighbours-p99-ms", percentile(&us, 99) / 1_000.0, "ms", Some(Goal::AtMost(50.0)));
        Ok(())
    }

    fn neighbours_of_many(&self, report: &mut Report) -> anyhow::Result<()> {
        let alone = rounds(|| self.rate_beside(0))?;
        let beside = rounds(|| self.rate_beside(WORKERS))?;
        let goal = Goal::AtLeast(100.0 / 3.0);
        report.add("runaways-as-many-as-workers-percent", beside / alone * 100.0, "%", Some(goal));
        Ok(())
    }

    /// How long after its timeout a guest that never ends is stopped: in the middle, and at worst.
    fn overshoot(&self, report: &mut Report, args: &Args) -> anyhow::Result<()> {
        let manager = with_workers(&[&self.tireless], Some(1))?;
        for ((timeout_ms, rounds), name) in KILLS.into_iter().zip(OVERSHOOTS) {
            if !args.wants(&[name]) {
                continue;
            }
            let mut overshoots = Vec::new();
            for _ in 0..rounds {
                let result = manager.enqueue(runaway_for(0, timeout_ms)?)?.wait_blocking();
                let reason = result.metadata.as_ref().and_then(|metadata| metadata.reason);
                anyhow::ensure!(reason == Some(Reason::Timeout), "a runaway ended otherwise: {result:?}");
                overshoots.push(result.duration.us as f64 / 1_000.0 - timeout_ms as f64);
            }
            let goal = Some(Goal::AtMost(10.0));
            report.add(format!("{name}-worst"), percentile(&overshoots, 100), "ms", goal);
            report.add(name, median(overshoots), "ms", goal);
        }
        Ok(())
    }

    /// How much more memory the process has after a million jobs, the log apart.
    fn growth(&self, report: &mut Report) -> anyhow::Result<()> {
        const CHUNK: usize = 50_000;
        let manager = forgetful(&[&self.counter])?;
        let chunk = || -> anyhow::Result<()> { counter_rate(&manager, CHUNK, 64).map(drop) };
        (0..4).try_for_each(|_| chunk())?;
        let before = machine::resident_kb() as f64;
        (0..1_000_000 / CHUNK).try_for_each(|_| chunk())?;
        let grown = machine::resident_kb() as f64 - before;
        report.add("growth-after-a-million-jobs-mb", grown / 1_000.0, "MB", Some(Goal::AtMost(5.0)));
        Ok(())
    }

    /// Counter jobs a second, beside so many documents that run away again and again.
    fn rate_beside(&self, runaways: usize) -> anyhow::Result<f64> {
        self.beside(runaways, |manager| counter_rate(manager, 200_000, NEIGHBOURS))
    }

    /// Measures something while so many documents run away, each again after each timeout.
    fn beside<T>(
        &self,
        runaways: usize,
        measure: impl FnOnce(&JobExecutorManager) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        // The runaways use up the host's own timeout, or it would not hold their time against them.
        let (max_concurrency, job_timeout) = (Some(WORKERS), Some(RUNAWAY_MS));
        let manager = JobExecutorManagerConfig { max_concurrency, job_timeout, ..JobExecutorManagerConfig::default() };
        let config = ExecutorConfig { manager, ..ExecutorConfig::default() };
        let manager = with_config(&[&self.counter, &self.unruly], config)?;
        let over = AtomicBool::new(false);
        let runs = AtomicU64::new(0);
        // The first timeouts are how the host finds out.
        let first = (0..runaways).map(|document| Ok(manager.enqueue(runaway(document)?)?));
        let first = first.collect::<anyhow::Result<Vec<_>>>()?;
        first.into_iter().for_each(|ticket| drop(ticket.wait_blocking()));
        let measured = std::thread::scope(|scope| {
            let (manager, over, runs) = (&manager, &over, &runs);
            for document in 0..runaways {
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let submitted = runaway(document).map(|submission| manager.enqueue(submission));
                        let Ok(Ok(ticket)) = submitted else { return };
                        ticket.wait_blocking();
                        runs.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let began = Instant::now();
            let measured = measure(manager);
            // With whoever waits for a worker there is always one that runs.
            let expected = began.elapsed().as_millis() as u64 / RUNAWAY_MS / 2;
            let ran = runs.load(Ordering::Relaxed);
            over.store(true, Ordering::Relaxed);
            anyhow::ensure!(runaways == 0 || ran >= expected, "only {ran} of {expected} runaways ran");
            measured
        });
        let began = Instant::now();
        manager.stop_blocking(reductor_host::Stop::Interrupt);
        anyhow::ensure!(began.elapsed() < Duration::from_secs(1), "the host did not stop at once");
        measured
    }
}

/// A job that never ends by itself.
fn runaway(document: usize) -> anyhow::Result<Submission> {
    runaway_for(document, RUNAWAY_MS)
}

/// The same with another timeout.
fn runaway_for(document: usize, timeout_ms: u64) -> anyhow::Result<Submission> {
    let text = json!({
        "documentId": format!("runaway-{document}"),
        "documentType": "test/unruly",
        "actions": [{ "type": "SPIN" }],
        "config": { "jobTimeout": timeout_ms, "maxRetries": 0 },
    });
    Ok(Submission::from_json(&text.to_string())?)
}

/// Microseconds from handing in a job to having its result, one job at a time.
fn latencies(manager: &JobExecutorManager, jobs: usize, documents: usize) -> anyhow::Result<Vec<f64>> {
    let mut us = Vec::with_capacity(jobs);
    for number in 0..jobs {
        let submission = increment(number % documents)?;
        let began = Instant::now();
        let result = manager.enqueue(submission)?.wait_blocking();
        us.push(began.elapsed().as_secs_f64() * 1e6);
        anyhow::ensure!(result.success, "a counter job failed");
    }
    Ok(us)
}

/// The median of some rounds.
pub(super) fn rounds(round: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    Ok(median(std::iter::repeat_with(round).take(ROUNDS).collect::<anyhow::Result<Vec<_>>>()?))
}
