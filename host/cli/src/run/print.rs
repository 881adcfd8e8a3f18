//! Prints the results of jobs: of those that were handed in in their order, of others as they end.

use std::io::{BufWriter, IsTerminal as _, Stdout, Write as _};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use indicatif::ProgressBar;
use reductor_host::{
    Event, JobErrorCode, JobResult, JobStatus, Reason, Received, Stop, Submitted, Subscription, Ticket,
};

use super::feed::Place;
use super::recovered::Recovered;
use super::stop::{Cause, Stopping};
use crate::output;

/// Writes results to standard output, a line each, and stops the run when that fails.
pub(super) struct Printer<'a> {
    stopping: &'a Stopping<'a>,
    progress: &'a ProgressBar,
    out: Mutex<Out>,
}

struct Out {
    stdout: BufWriter<Stdout>,
    is_terminal: bool,
    tally: Tally,
    failure: Option<anyhow::Error>,
}

/// What the jobs came to.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) completed: u64,
    pub(super) failed: u64,
}

/// A job that was handed in.
pub(super) struct HandedIn {
    pub(super) line: usize,
    pub(super) submitted: Submitted,
    pub(super) place: Place,
}

/// How far the run has come in its input.
#[derive(Clone, Copy, Default)]
pub(super) struct Reached {
    /// The last line whose job was accepted.
    pub(super) accepted: Option<usize>,
    /// The first and the last line of which nobody knows that before the next start.
    pub(super) undecided: Option<(usize, usize)>,
    /// Jobs that were accepted and not ended when the run was stopped.
    pub(super) given_back: u64,
}

impl<'a> Printer<'a> {
    pub(super) fn new(stopping: &'a Stopping<'a>, progress: &'a ProgressBar) -> Self {
        let stdout = std::io::stdout();
        let is_terminal = stdout.is_terminal();
        let out = Out { stdout: BufWriter::new(stdout), is_terminal, tally: Tally::default(), failure: None };
        Self { stopping, progress, out: Mutex::new(out) }
    }

    /// Prints the results of jobs in the order in which they were handed in. What is printed goes out
    /// before this waits for anything.
    pub(super) fn print_in_order(&self, handed_in: &Receiver<HandedIn>) -> Reached {
        let mut reached = Reached::default();
        loop {
            let next = match handed_in.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.flush();
                    handed_in.recv().ok()
                }
                next => next.ok(),
            };
            let Some(HandedIn { line, mut submitted, place }) = next else { return reached };
            let result = submitted.try_wait().unwrap_or_else(|| {
                self.flush();
                submitted.wait_blocking()
            });
            // A job that has a result was accepted, and so was one that a stop gave back.
            if is_unknown(&result) {
                reached.undecided = Some((reached.undecided.map_or(line, |(first, _)| first), line));
            } else {
                reached.accepted = Some(line);
            }
            if self.stopping.cause().is_some() && is_given_back(&result) {
                reached.given_back += 1;
            } else {
                self.print(&result);
                self.progress.inc(1);
            }
            drop(place);
        }
    }

    /// Prints the results of jobs that this run did not hand in, as they end: those of earlier runs,
    /// and those that reducers dispatched. Returns when the manager has stopped.
    pub(super) fn print_others(&self, mut events: Subscription, recovered: &mut Recovered) {
        loop {
            let received = events.try_recv().or_else(|| {
                self.flush();
                events.recv_blocking()
            });
            let event = match received {
                None => break,
                Some(Received::Event(event)) => event,
                Some(Received::Missed(count)) => {
                    eprintln!("warning: missed {count} events; results of dispatched jobs may be missing");
                    recovered.take_ended().iter().for_each(|result| self.print(result));
                    continue;
                }
            };
            match &*event {
                Event::ExecutorStopped(_) => break,
                Event::JobCompleted(completed) => {
                    let result = &completed.result;
                    if recovered.take(&result.job.id).is_some() || is_dispatched(result) {
                        self.print(result);
                    }
                }
                Event::JobFailed(failed) if !failed.will_retry => {
                    let of_earlier_run = recovered.take(&failed.job.id);
                    let is_of_earlier_run = of_earlier_run.is_some();
                    let ticket = of_earlier_run.or_else(|| self.stopping.watch(&failed.job.id));
                    // The result comes right after the event.
                    let result = ticket.map(Ticket::wait_blocking);
                    if let Some(result) = result.filter(|result| is_of_earlier_run || is_dispatched(result)) {
                        self.print(&result);
                    }
                }
                _ => {}
            }
        }
        let ended = recovered.take_ended();
        ended.iter().filter(|result| !is_given_back(result)).for_each(|result| self.print(result));
        self.flush();
    }

    /// What all came to, and why not all of it was printed, if so.
    pub(super) fn finish(self) -> (Tally, Option<anyhow::Error>) {
        self.flush();
        let out = self.out.into_inner().unwrap_or_else(PoisonError::into_inner);
        (out.tally, out.failure)
    }

    fn print(&self, result: &JobResult) {
        self.write(|out| {
            *if result.success { &mut out.tally.completed } else { &mut out.tally.failed } += 1;
            if out.is_terminal {
                writeln!(out.stdout, "{}", output::shown(&serde_json::to_string(result)?))?;
            } else {
                serde_json::to_writer(&mut out.stdout, result)?;
                out.stdout.write_all(b"\n")?;
            }
            Ok(())
        });
    }

    fn flush(&self) {
        self.write(|out| Ok(out.stdout.flush()?));
    }

    fn write(&self, write: impl FnOnce(&mut Out) -> anyhow::Result<()>) {
        let mut out = self.out();
        if out.failure.is_some() {
            return;
        }
        let Err(error) = write(&mut out).context("a result could not be printed") else { return };
        out.failure = Some(error);
        drop(out);
        self.stopping.stop(Cause::Output, Stop::Graceful);
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the job has not ended, but the manager has stopped.
/// Whether nobody knows before the next start what became of the job, because the store failed.
fn is_unknown(result: &JobResult) -> bool {
    result.job.status == JobStatus::Pending && result.error_code == Some(JobErrorCode::IoError)
}

fn is_given_back(result: &JobResult) -> bool {
    let reason = result.metadata.as_ref().and_then(|metadata| metadata.reason);
    result.error_code == Some(JobErrorCode::GracefulAbort) && reason != Some(Reason::Cancelled)
}

fn is_dispatched(result: &JobResult) -> bool {
    result.metadata.as_ref().is_some_and(|metadata| metadata.causation.is_some())
}
