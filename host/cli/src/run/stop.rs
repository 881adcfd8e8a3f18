//! How a run ends before its input does.

use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use reductor_host::{JobExecutorManager, JobId, Refusal, Stop, StoreError, Submission, Submitted, Ticket};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::feed::Next;

/// Why a run ends before its input does.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    Signal(i32),
    /// The results can no longer be printed.
    Output,
    /// The store can no longer be written.
    Store(StoreError),
}

/// Stops a run, for whichever reason comes first.
pub(super) struct Stopping<'a> {
    manager: &'a JobExecutorManager,
    cause: Mutex<Option<Cause>>,
    /// Wakes the thread that waits for input.
    wake: Sender<Next>,
}

impl<'a> Stopping<'a> {
    pub(super) fn new(manager: &'a JobExecutorManager, wake: Sender<Next>) -> Self {
        Self { manager, cause: Mutex::default(), wake }
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.lock().clone()
    }

    /// Hands a job in, unless the run is stopping. The lock makes sure that none comes in after the
    /// stop, where it would wait for a start that does not come.
    pub(super) fn submit(&self, submission: Submission) -> Option<Result<Submitted, Refusal>> {
        let cause = self.lock();
        if cause.is_some() { None } else { Some(self.manager.submit(submission)) }
    }

    /// Takes no more jobs, and waits until those that run have ended.
    pub(super) fn stop(&self, cause: Cause, how: Stop) {
        self.lock().get_or_insert(cause);
        // Without a receiver the input has ended already.
        let _ = self.wake.send(Next::Stop);
        self.manager.stop_blocking(how);
    }

    /// A place to wait for the result of a job that has just ended.
    pub(super) fn watch(&self, job: &JobId) -> Option<Ticket> {
        self.manager.watch(job).ok()
    }

    /// Waits until no job goes on.
    pub(super) fn wait_until_idle(&self) {
        self.manager.wait_until_idle_blocking();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Cause>> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to receive the signals that ask a run to stop.
pub(super) fn signals() -> std::io::Result<Signals> {
    Signals::new([SIGINT, SIGTERM])
}

/// Lets running jobs end at the first signal, interrupts them at the second, and ends the process at
/// the third. Returns when the signals are closed.
pub(super) fn stop_at_signals<'scope>(
    scope: &'scope Scope<'scope, '_>,
    stopping: &'scope Stopping<'_>,
    mut signals: Signals,
) {
    for (nth, signal) in signals.forever().enumerate() {
        let how = match nth {
            0 => Stop::Graceful,
            1 => Stop::Interrupt,
            _ => std::process::exit(128 + signal),
        };
        if how == Stop::Graceful {
            eprintln!("{}: the jobs that run end first; send it again to interrupt them", name(signal));
        }
        // Beside this thread, which waits for the next signal.
        scope.spawn(move || stopping.stop(Cause::Signal(signal), how));
    }
}

/// The name of a signal that is watched.
fn name(signal: i32) -> &'static str {
    if signal == SIGINT { "SIGINT" } else { "SIGTERM" }
}
