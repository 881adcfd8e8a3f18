//! What a worker thread does: takes lanes in turn.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::doorbell::Look;
use super::journey::Outcome;
use super::shared::{Pending, Run, Shared, Waiting};
use crate::event::{Event, ExecutorStoppedEvent};
use crate::queue::{JobsMax, Rest, Turn};
use crate::records::Readiness;
use crate::residents::Resident;
use crate::roll::{Ended, Phase};

/// Jobs that a worker takes from a lane at once, so that the queue's lock is taken seldom; few
/// while other lanes wait for their turns.
const TURN_JOBS: JobsMax = JobsMax { alone: 32, shared: 4 };
/// How long a lane may keep a worker while others wait; a job that has begun is not cut short.
const TURN_TIME_MAX: Duration = Duration::from_millis(2);

impl Shared {
    /// Takes turns until the manager stops. The last worker of a run ends it.
    pub(super) fn work_until_stopped(&self, run: &Run) {
        let mut timesheet = self.auditor.timesheet();
        while let Some(mut turn) = self.next_turn(run) {
            let (began, jobs) = (Instant::now(), turn.jobs.len());
            let document_type = turn.jobs[0].record.accepted.document_type.clone();
            let mut resident = self.residents.take(&turn.lane);
            let rest = self.work_on(run, &mut turn, &mut resident, began);
            timesheet.note(&document_type, began, jobs.saturating_sub(turn.jobs.len()));
            match resident {
                Some(resident) => self.log.evict(self.residents.keep(&turn.lane, resident)),
                None => self.log.lost(&turn.lane),
            }
            self.hand_over_snapshots();
            self.end_turn(turn, rest);
        }
        self.leave(run);
    }

    /// Executes the turn's jobs, as far as they may start and the lane may keep its worker.
    fn work_on(&self, run: &Run, turn: &mut Turn<Pending>, resident: &mut Option<Resident>, began: Instant) -> Rest {
        let mut done = 0;
        loop {
            let Some(next) = turn.jobs.front() else { return Rest::None };
            // The job runs on the revision that is looked at here: another one may come at any time, and
            // another lane's worker may have found this one out.
            let reducer = self.reducers.get(&next.record.accepted.document_type);
            if reducer.as_ref().is_some_and(|reducer| self.quarantines.has(reducer.plugin())) {
                return Rest::None;
            }
            if let Some(hold) = &next.hold
                && !next.record.starts_no_more()
            {
                match hold.readiness() {
                    Readiness::Ready => {}
                    Readiness::Held => return Rest::Held,
                    // What failed may have been interrupted because the manager stops; then
                    // this job is given back as well.
                    Readiness::Failed(_) if self.roll.phase() != Phase::Running => return Rest::None,
                    Readiness::Failed(failed) => {
                        let failed = failed.clone();
                        self.fail_unstarted(self.next_of(turn), failed);
                        continue;
                    }
                }
            }
            // Here a job waits that was queued again after its attempt failed in an earlier run.
            if let Some(moment) = next.not_before.filter(|moment| *moment > self.config.clock.elapsed())
                && !next.record.starts_no_more()
            {
                return Rest::Until(moment);
            }
            if self.committer.as_ref().is_some_and(|committer| committer.wait_for_room().is_err()) {
                return Rest::None;
            }
            if !self.roll.begin() {
                return Rest::None;
            }
            let pending = self.next_of(turn);
            if !pending.record.start() {
                // It was cancelled.
                self.roll.end(Ended::Unfinished, self.config.clock.moment());
                continue;
            }
            if let Outcome::Again(pending, moment) = self.execute(run, &turn.lane, pending, reducer, resident) {
                turn.jobs.push_front(*pending);
                self.in_turns.fetch_add(1, Ordering::Relaxed);
                return Rest::Until(moment);
            }
            done += 1;
            let others_wait = done >= TURN_JOBS.shared && self.others_wait.load(Ordering::Relaxed);
            if others_wait || began.elapsed() >= TURN_TIME_MAX {
                return Rest::None;
            }
        }
    }

    /// Waits for a lane to work on; `None` when the manager stops.
    fn next_turn(&self, run: &Run) -> Option<Turn<Pending>> {
        let clock = &self.config.clock;
        self.waiting.wait(|waiting| {
            let phase = self.roll.phase();
            if phase == Phase::Stopping || run.called_off.load(Ordering::Relaxed) {
                return Look::Found { work: None, more: false };
            }
            if phase != Phase::Running {
                return Look::Nothing { wake_after: None, look_out: false };
            }
            // One moment for both: a lane that is held back at it has a next moment to be looked at.
            let now = clock.elapsed();
            match self.take(waiting, now) {
                // Several lanes may have come at once, and one worker was woken.
                // A lane that rests counts as well: this worker was the one that would have woken for
                // it, and may be busy by then.
                Some(turn) => {
                    let more = self.has_turn(waiting) || self.next_wake(waiting, now).is_some();
                    Look::Found { work: Some(turn), more }
                }
                None => {
                    let wake_after = self.next_wake(waiting, now).map(|moment| moment.saturating_sub(clock.elapsed()));
                    Look::Nothing { wake_after, look_out: true }
                }
            }
        })
    }

    /// When there may be something to do although nobody rings, if there is nothing at `now`.
    fn next_wake(&self, waiting: &Waiting, now: Duration) -> Option<Duration> {
        if !self.config.clock.runs() {
            return None;
        }
        let cleared = || self.suspects.next_cleared(now).filter(|_| waiting.queue.has_passed_over());
        waiting.queue.next_wake().into_iter().chain(cleared()).min()
    }

    fn take(&self, waiting: &mut Waiting, now: Duration) -> Option<Turn<Pending>> {
        for lane in waiting.queue.wake_rested(now) {
            if let Some(pending) = waiting.queue.first_mut(&lane) {
                self.announce_retry(pending);
            }
        }
        let turn = waiting.queue.take(now, TURN_JOBS, &self.limited(waiting.workers, now))?;
        self.in_turns.fetch_add(turn.jobs.len(), Ordering::Relaxed);
        Some(turn)
    }

    /// The turn's next job, which waits no more.
    fn next_of(&self, turn: &mut Turn<Pending>) -> Pending {
        self.in_turns.fetch_sub(1, Ordering::Relaxed);
        turn.jobs.pop_front().expect("just seen")
    }

    fn end_turn(&self, mut turn: Turn<Pending>, rest: Rest) {
        let mut waiting = self.lock();
        self.in_turns.fetch_sub(turn.jobs.len(), Ordering::Relaxed);
        if waiting.queue.was_woken(&turn.lane) {
            // Somebody may have cancelled jobs of this turn; they do not come back.
            turn.jobs.retain(|pending| !pending.record.starts_no_more());
        }
        let stopped =
            self.committer.as_ref().filter(|_| !turn.jobs.is_empty()).and_then(|committer| committer.stopped());
        // The queue was emptied meanwhile, or will be; what comes back to it would wait for nothing.
        let unknown = stopped.map(|error| (std::mem::take(&mut turn.jobs), error));
        waiting.queue.put_back(turn, rest);
        if let Some((jobs, error)) = unknown {
            drop(waiting);
            jobs.iter().for_each(|pending| self.suspend(&pending.record, &error));
            waiting = self.lock();
        }
        self.tell_if_idle(&mut waiting);
        // This worker takes the next turn itself; another one must learn of the new moment to
        // wake at, in case this one is busy by then.
        if matches!(rest, Rest::Until(_)) {
            self.waiting.ring(waiting);
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
        drop(waiting);
        // What ended is told as such; it may dispatch more jobs. What has not ended is in the journal
        // before it is given back.
        if let Some(committer) = &self.committer {
            committer.accept_deferred();
            committer.wait_until_written();
        }
        if self.lock().graceful {
            self.save_documents(run);
        }
        // The phase lets nothing in meanwhile.
        let left = self.lock().queue.drain();
        left.into_iter().for_each(|pending| self.give_back_waiting(pending));
        let mut waiting = self.lock();
        self.keep_for_next_start(&mut waiting);
        self.roll.set_phase(Phase::Stopped);
        let (stopped_at, graceful) = (self.config.clock.now(), waiting.graceful);
        self.bus.tell(|| Event::ExecutorStopped(ExecutorStoppedEvent { stopped_at, graceful }));
        // Whoever waited for that, too: no job will end before the next start.
        let idle = std::mem::take(&mut waiting.idle);
        for waits in std::mem::take(&mut waiting.stopped).into_iter().chain(idle) {
            // Whoever waited may have gone.
            let _ = waits.send(());
        }
        self.waiting.tell_changed(&waiting);
    }
}
