//! Prints the results of jobs as they come.

use std::io::{BufWriter, IsTerminal as _, Stdout, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use reductor_host::{Event, JobExecutorManager, JobResult, Received, Submitted, Subscription, Ticket};

/// Writes results to standard output, a line each.
pub(crate) struct Printer<'a> {
    progress: &'a ProgressBar,
    stdout: BufWriter<Stdout>,
    tally: Tally,
}

/// What the jobs came to.
#[derive(Default)]
pub(crate) struct Tally {
    done: u64,
    pub(crate) failed: u64,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(progress: &'a ProgressBar) -> Self {
        Self { progress, stdout: BufWriter::new(std::io::stdout()), tally: Tally::default() }
    }

    /// Prints the results of jobs that were handed in, in their order; whatever is ready goes out at once.
    pub(crate) fn print_submitted(&mut self, submitted: Receiver<Submitted>) -> anyhow::Result<()> {
        loop {
            let job = match submitted.try_recv() {
                Ok(job) => job,
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {
                    self.stdout.flush()?;
                    match submitted.recv() {
                        Ok(job) => job,
                        Err(_) => return Ok(()),
                    }
                }
            };
            self.print(&job.wait_blocking())?;
            self.progress.inc(1);
        }
    }

    /// Prints results that nobody here submitted a job for.
    pub(crate) fn print_all(&mut self, results: &[Arc<JobResult>]) -> anyhow::Result<()> {
        results.iter().try_for_each(|result| self.print(result))
    }

    /// Writes out what is left, and says what all came to.
    pub(crate) fn finish(mut self) -> anyhow::Result<Tally> {
        self.stdout.flush()?;
        Ok(self.tally)
    }

    fn print(&mut self, result: &JobResult) -> anyhow::Result<()> {
        self.tally.done += 1;
        self.tally.failed += u64::from(!result.success);
        serde_json::to_writer(&mut self.stdout, result).context("a result could not be printed")?;
        self.stdout.write_all(b"\n")?;
        Ok(())
    }
}

/// Collects the results of jobs that reducers dispatched, as they end, until the manager stops.
/// The log holds on to most of what they are made of, so they take little room beside it.
pub(crate) fn collect_dispatched(manager: &JobExecutorManager, mut events: Subscription) -> Vec<Arc<JobResult>> {
    let mut dispatched = Vec::new();
    while let Some(received) = events.recv_blocking() {
        let event = match received {
            Received::Event(event) => event,
            Received::Missed(count) => {
                eprintln!("warning: missed {count} events; results of dispatched jobs may be missing");
                continue;
            }
        };
        let result = match &*event {
            Event::ExecutorStopped(_) => break,
            Event::JobCompleted(completed) => Some(completed.result.clone()),
            // Its result comes right after the event.
            Event::JobFailed(failed) if !failed.will_retry => {
                manager.watch(&failed.job.id).ok().map(Ticket::wait_blocking)
            }
            _ => None,
        };
        let is_dispatched =
            |result: &Arc<JobResult>| result.metadata.as_ref().is_some_and(|metadata| metadata.causation.is_some());
        dispatched.extend(result.filter(is_dispatched));
    }
    dispatched
}

impl Tally {
    /// For people; scripts have the results.
    pub(crate) fn summarise(&self, took: Duration) {
        if std::io::stderr().is_terminal() {
            let rate = self.done as f64 / took.as_secs_f64();
            eprintln!("{} jobs, {} failed, {rate:.0} jobs/s", self.done, self.failed);
        }
    }
}
