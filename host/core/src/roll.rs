//! Counts what the manager does, and says when it may do more.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{Moment, Span, Timestamp};

/// How long the window of [`ExecutorStats::jobs_per_second`] is.
const WINDOW_SECONDS: u64 = 60;

/// Where the manager stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It takes jobs in, and starts none. So it is before its first start and after each stop.
    Stopped,
    /// It executes jobs.
    Running,
    /// It lets running jobs end and starts no others.
    Paused,
    /// It takes no jobs in, and lets those end that run.
    Stopping,
}

/// What the manager has done and is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorStatus {
    /// Whether it is started; also while it is paused, and until it has stopped.
    pub is_running: bool,
    /// Attempts that run at this moment.
    pub active_jobs: usize,
    /// Jobs that have completed or failed for good, in the manager's whole life. Jobs that were
    /// cancelled and those that failed with a dependency are among them.
    pub total_jobs_processed: u64,
    /// Those that completed.
    pub total_jobs_succeeded: u64,
    /// Those that failed for good.
    pub total_jobs_failed: u64,
    /// When the last of them ended. Never goes back, even if the time of day does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_job_completed_at: Option<Timestamp>,
    /// Milliseconds since the manager was started; absent unless it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<Span>,
}

/// How well the manager does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorStats {
    /// Milliseconds that a job executed, on average over the jobs that were started and have ended:
    /// all its attempts together, without the backoff between them. 0 of none.
    pub average_execution_time: f64,
    /// The share of jobs processed that completed; 1 of none.
    pub success_rate: f64,
    /// Jobs processed in the last minute, or since the start if that is less, a second.
    pub jobs_per_second: f64,
    /// Jobs that wait.
    pub queue_backlog: usize,
}

/// What became of an attempt that had begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The job completed, having executed for so long.
    Succeeded(Duration),
    /// The job failed for good, having executed for so long.
    Failed(Duration),
    /// The job failed for good before it was started.
    FailedUnstarted,
    /// The job has not ended: it is tried again, or given back.
    Unfinished,
}

/// The manager's phase and counters, which change together.
#[derive(Debug)]
pub(crate) struct Roll(Mutex<Counters>);

#[derive(Debug)]
struct Counters {
    phase: Phase,
    active: usize,
    succeeded: u64,
    failed: u64,
    /// Jobs that were started and have ended.
    executed: u64,
    /// Of these together.
    execution_time: Duration,
    last_ended: Option<Timestamp>,
    started: Duration,
    window: Window,
}

/// Counts by second; older seconds are overwritten.
#[derive(Debug)]
struct Window {
    counts: [u64; WINDOW_SECONDS as usize],
    /// The latest second that was counted.
    latest: u64,
}

impl Roll {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Counters {
            phase: Phase::Stopped,
            active: 0,
            succeeded: 0,
            failed: 0,
            executed: 0,
            execution_time: Duration::ZERO,
            last_ended: None,
            started: Duration::ZERO,
            window: Window { counts: [0; WINDOW_SECONDS as usize], latest: 0 },
        }))
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lock().phase
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    /// From now on the manager is started.
    pub(crate) fn start(&self, now: Duration) {
        let mut counters = self.lock();
        counters.phase = Phase::Running;
        counters.started = now;
        counters.window = Window { counts: [0; WINDOW_SECONDS as usize], latest: now.as_secs() };
    }

    /// Lets an attempt begin, if the manager runs. Once the phase is another, none begins.
    pub(crate) fn begin(&self) -> bool {
        let mut counters = self.lock();
        let running = counters.phase == Phase::Running;
        counters.active += usize::from(running);
        running
    }

    /// Ends an attempt.
    pub(crate) fn end(&self, ended: Ended, at: Moment) {
        let mut counters = self.lock();
        counters.active -= 1;
        counters.count(ended, at);
    }

    /// Takes note of how a job ended, of which no attempt runs.
    pub(crate) fn count(&self, ended: Ended, at: Moment) {
        self.lock().count(ended, at);
    }

    pub(crate) fn status(&self, now: Duration) -> ExecutorStatus {
        let counters = self.lock();
        let is_running = counters.phase != Phase::Stopped;
        ExecutorStatus {
            is_running,
            active_jobs: counters.active,
            total_jobs_processed: counters.succeeded + counters.failed,
            total_jobs_succeeded: counters.succeeded,
            total_jobs_failed: counters.failed,
            last_job_completed_at: counters.last_ended,
            uptime: is_running.then(|| now.saturating_sub(counters.started).into()),
        }
    }

    pub(crate) fn stats(&self, now: Duration, queue_backlog: usize) -> ExecutorStats {
        let mut counters = self.lock();
        let processed = counters.succeeded + counters.failed;
        let mean = |total: f64, count: u64| if count == 0 { 0.0 } else { total / count as f64 };
        // A rate over less than a second would be a rate over one or two jobs.
        let seconds = now.saturating_sub(counters.started).as_secs_f64().clamp(1.0, WINDOW_SECONDS as f64);
        ExecutorStats {
            average_execution_time: mean(counters.execution_time.as_secs_f64() * 1000.0, counters.executed),
            success_rate: if processed == 0 { 1.0 } else { mean(counters.succeeded as f64, processed) },
            jobs_per_second: counters.window.sum(now) as f64 / seconds,
            queue_backlog,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    fn count(&mut self, ended: Ended, at: Moment) {
        let executed = match ended {
            Ended::Unfinished => return,
            Ended::Succeeded(time) => {
                self.succeeded += 1;
                Some(time)
            }
            Ended::Failed(time) => {
                self.failed += 1;
                Some(time)
            }
            Ended::FailedUnstarted => {
                self.failed += 1;
                None
            }
        };
        if let Some(time) = executed {
            self.executed += 1;
            self.execution_time += time;
        }
        // Ends are told in the order in which they became durable, and the time of day may go back.
        self.last_ended = self.last_ended.max(Some(at.now));
        self.window.count(at.elapsed);
    }
}

impl Window {
    fn count(&mut self, now: Duration) {
        self.move_to(now);
        self.counts[(self.latest % WINDOW_SECONDS) as usize] += 1;
    }

    fn sum(&mut self, now: Duration) -> u64 {
        self.move_to(now);
        self.counts.iter().sum()
    }

    /// Empties the seconds since the latest one.
    fn move_to(&mut self, now: Duration) {
        let second = now.as_secs();
        let empty = second.saturating_sub(self.latest).min(WINDOW_SECONDS);
        for step in 1..=empty {
            self.counts[((self.latest + step) % WINDOW_SECONDS) as usize] = 0;
        }
        self.latest = self.latest.max(second);
    }
}
