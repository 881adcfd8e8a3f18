//! What a worker thread does: takes lanes in turn.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::journey::Outcome;
use super::shared::{Pending, Run, Shared, Waiting};
use crate::event::{Event, ExecutorStoppedEvent};
use crate::queue::{Rest, Turn};
use crate::records::Readiness;
use crate::residents::Resident;
use crate::roll::{Ended, Phase};

/// Jobs that a worker takes from a lane at once, so that the queue's lock is taken seldom.
const TURN_JOBS_MAX: usize = 32;
/// How many of them it executes while other lanes wait for their turns.
const TURN_JOBS_SHARED: usize = 4;
/// How long a lane may keep a worker while others wait; a job that has begun is not cut short.
const TURN_TIME_MAX: Duration = Duration::from_millis(2);
/// How often an idle worker looks for a new job before it sleeps.
const SEARCH_SPINS: u32 = 500;

impl Shared {
    /// Takes turns until the manager stops. The last worker of a run ends it.
    pub(super) fn work_until_stopped(&self, run: &Run) {
        while let Some(mut turn) = self.next_turn(run) {
            let mut resident = self.residents.take(&turn.lane);
            let rest = self.work_on(run, &mut turn, &mut resident);
            if let Some(resident) = resident {
                self.residents.keep(&turn.lane, resident);
            }
            self.end_turn(turn, rest);
        }
        self.leave(run);
    }

    /// Executes the turn's jobs, as far as they may start and the lane may keep its worker.
    fn work_on(&self, run: &Run, turn: &mut Turn<Pending>, resident: &mut Option<Resident>) -> Rest {
        let (began, mut done) = (Instant::now(), 0);
        loop {
            let Some(next) = turn.jobs.front() else { return Rest::None };
            if let Some(hold) = &next.hold
                && !next.record.has_ended()
            {
                match hold.readiness() {
                    Readiness::Ready => {}
                    Readiness::Held => return Rest::Held,
                    Readiness::Failed(failed) => {
                        let failed = failed.clone();
                        let pending = turn.jobs.pop_front().expect("just seen");
                        self.fail_unstarted(&pending, failed);
                        continue;
                    }
                }
            }
            if !self.roll.begin() {
                return Rest::None;
            }
            let pending = turn.jobs.pop_front().expect("just seen");
            if !pending.record.start() {
                // It was cancelled.
                self.end_attempt(Ended::Unfinished);
                continue;
            }
            if let Outcome::Again(pending, moment) = self.execute(run, &turn.lane, pending, resident) {
                turn.jobs.push_front(*pending);
                return Rest::Until(moment);
            }
            done += 1;
            let others_wait = done >= TURN_JOBS_SHARED && self.others_wait.load(Ordering::Relaxed);
            if others_wait || began.elapsed() >= TURN_TIME_MAX {
                return Rest::None;
            }
        }
    }

    /// Waits for a lane to work on; `None` when the manager stops.
    fn next_turn(&self, run: &Run) -> Option<Turn<Pending>> {
        let clock = &self.config.clock;
        let mut searched = false;
        let mut waiting = self.lock();
        loop {
            let phase = self.roll.phase();
            if phase == Phase::Stopping || run.called_off.load(Ordering::Relaxed) {
                return None;
            }
            let running = phase == Phase::Running;
            if running && let Some(turn) = self.take(run, &mut waiting) {
                // Several lanes may have come at once, and one worker was woken.
                if waiting.queue.has_turn() && waiting.idle_workers > 0 {
                    self.work.notify_one();
                }
                return Some(turn);
            }
            if running && !searched && !waiting.searching {
                searched = true;
                waiting = self.search(waiting);
                continue;
            }
            waiting.idle_workers += 1;
            waiting = match waiting.queue.next_wake().filter(|_| running && clock.runs()) {
                Some(moment) => {
                    let pause = moment.saturating_sub(clock.elapsed());
                    self.work.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.work.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
            waiting.idle_workers -= 1;
        }
    }

    fn take(&self, run: &Run, waiting: &mut Waiting) -> Option<Turn<Pending>> {
        let now = self.config.clock.elapsed();
        let turn = waiting.queue.take(now, TURN_JOBS_MAX, |document_type, taken| {
            self.suspects.may_take(document_type, taken, run.workers, now, &self.reducers)
        });
        self.others_wait.store(waiting.queue.has_turn(), Ordering::Relaxed);
        turn
    }

    /// Looks out for a new job for a moment before its caller goes to sleep: when jobs come one
    /// by one, putting a thread to sleep and waking it costs more than running them. One
    /// worker at a time does so.
    fn search<'a>(&'a self, mut waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
        waiting.searching = true;
        let seen = self.arrivals.load(Ordering::Relaxed);
        drop(waiting);
        for _ in 0..SEARCH_SPINS {
            if self.arrivals.load(Ordering::Relaxed) != seen {
                break;
            }
            std::hint::spin_loop();
        }
        // Whoever pushed a job meanwhile did so under the lock and left it to this worker,
        // which looks into the queue again before it sleeps.
        let mut waiting = self.lock();
        waiting.searching = false;
        waiting
    }

    fn end_turn(&self, turn: Turn<Pending>, rest: Rest) {
        let mut waiting = self.lock();
        waiting.queue.put_back(turn, rest);
        // This worker takes the next turn itself; another one must learn of the new moment to
        // wake at, in case this one is busy by then.
        let wake = matches!(rest, Rest::Until(_)) && waiting.idle_workers > 0;
        self.tell_if_idle(&mut waiting);
        drop(waiting);
        if wake {
            self.work.notify_one();
        }
    }

    /// Ends the thread; if it is the last one, the run.
    fn leave(&self, run: &Run) {
        if run.called_off.load(Ordering::Relaxed) {
            return;
        }
        let mut waiting = self.lock();
        waiting.workers -= 1;
        if waiting.workers > 0 {
            return;
        }
        let left = waiting.queue.drain();
        drop(waiting);
        // The phase lets nothing in meanwhile.
        left.iter().for_each(|pending| self.abort(pending));
        let mut waiting = self.lock();
        self.roll.set_phase(Phase::Stopped);
        let (stopped_at, graceful) = (self.config.clock.now(), waiting.graceful);
        self.bus.tell(|| Event::ExecutorStopped(ExecutorStoppedEvent { stopped_at, graceful }));
        self.tell_if_idle(&mut waiting);
        for waits in std::mem::take(&mut waiting.stopped) {
            // Whoever waited may have gone.
            let _ = waits.send(());
        }
        self.ended.notify_all();
    }
}
