//! The queue: jobs that wait, lane by lane.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::ids::LaneKey;

/// Holds the jobs that have been accepted but not started.
///
/// Each lane is a queue of its own and is worked on by one worker at a time, so that its jobs
/// run in the order they came; ready lanes take turns. The queue takes no lock, starts no
/// task and reads no clock: whoever shares it supplies them. Times are durations since the
/// start of the caller's clock.
///
/// All jobs of a lane are of one kind `K`, which the lane remembers as long as it has jobs,
/// those of a turn that was taken included.
#[derive(Debug)]
pub struct Queue<K, J> {
    lanes: HashMap<LaneKey, Lane<K, J>>,
    /// Lanes with jobs that no worker has, in the order of their turns.
    ready: VecDeque<LaneKey>,
    /// Lanes that wait for a moment, by that moment.
    resting: BTreeSet<(Duration, LaneKey)>,
    depth: usize,
    depth_max: usize,
}

#[derive(Debug)]
struct Lane<K, J> {
    kind: K,
    jobs: VecDeque<J>,
    state: LaneState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneState {
    /// In `ready`.
    Ready,
    /// In `resting`.
    Resting,
    /// With a worker.
    Taken,
}

/// Why a job was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotQueued<K> {
    /// As many jobs wait as may.
    Full {
        /// How many wait.
        depth: usize,
        /// How many may.
        limit: usize,
    },
    /// The lane has jobs of this other kind.
    OtherKind(K),
}

/// A lane's turn: some of its jobs, in order. The lane is the taker's until
/// [`Queue::put_back`].
#[derive(Debug)]
pub struct Turn<J> {
    /// The lane.
    pub lane: LaneKey,
    /// Its next jobs; never empty.
    pub jobs: VecDeque<J>,
}

/// What becomes of a lane when its turn is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It takes its next turn when the others have had theirs.
    None,
    /// It takes no turn before this moment.
    Until(Duration),
}

impl<K: Clone + PartialEq, J> Queue<K, J> {
    /// An empty queue for up to `depth_max` waiting jobs.
    pub fn new(depth_max: usize) -> Self {
        Self { lanes: HashMap::new(), ready: VecDeque::new(), resting: BTreeSet::new(), depth: 0, depth_max }
    }

    /// How many jobs wait. Jobs of a turn that was taken do not.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The kind of jobs that a lane has, if it has any.
    pub fn kind(&self, lane: &LaneKey) -> Option<&K> {
        self.lanes.get(lane).map(|lane| &lane.kind)
    }

    /// Puts a job at the end of its lane. Says whether there is a new turn to take.
    ///
    /// # Errors
    ///
    /// [`NotQueued`], and the job is dropped.
    pub fn push(&mut self, lane: LaneKey, kind: K, job: J) -> Result<bool, NotQueued<K>> {
        if self.depth >= self.depth_max {
            return Err(NotQueued::Full { depth: self.depth, limit: self.depth_max });
        }
        let new_turn = match self.lanes.entry(lane) {
            Entry::Occupied(entry) if entry.get().kind != kind => {
                return Err(NotQueued::OtherKind(entry.get().kind.clone()));
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().jobs.push_back(job);
                false
            }
            Entry::Vacant(entry) => {
                self.ready.push_back(entry.key().clone());
                entry.insert(Lane { kind, jobs: VecDeque::from([job]), state: LaneState::Ready });
                true
            }
        };
        self.depth += 1;
        Ok(new_turn)
    }

    /// Puts a job at the end of a lane that the caller has taken, however many wait:
    /// something else bounds the number of such jobs.
    pub fn append_taken(&mut self, lane: &LaneKey, job: J) {
        let lane = self.lanes.get_mut(lane).expect("a taken lane stays in the queue");
        lane.jobs.push_back(job);
        self.depth += 1;
    }

    /// Takes the next turn, of up to `jobs_max` jobs, if a lane is ready at `now`.
    pub fn take(&mut self, now: Duration, jobs_max: usize) -> Option<Turn<J>> {
        self.wake_rested(now);
        let key = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&key).expect("a ready lane has jobs");
        lane.state = LaneState::Taken;
        let count = lane.jobs.len().min(jobs_max.max(1));
        let jobs =
            if count == lane.jobs.len() { std::mem::take(&mut lane.jobs) } else { lane.jobs.drain(..count).collect() };
        self.depth -= jobs.len();
        Some(Turn { lane: key, jobs })
    }

    /// Ends a turn. Jobs that were taken and not done go back to the front of their lane.
    ///
    /// Says whether the lane has another turn to take at once.
    pub fn put_back(&mut self, turn: Turn<J>, rest: Rest) -> bool {
        let lane = self.lanes.get_mut(&turn.lane).expect("a taken lane stays in the queue");
        self.depth += turn.jobs.len();
        for job in turn.jobs.into_iter().rev() {
            lane.jobs.push_front(job);
        }
        if lane.jobs.is_empty() {
            self.lanes.remove(&turn.lane);
            return false;
        }
        match rest {
            Rest::None => {
                lane.state = LaneState::Ready;
                self.ready.push_back(turn.lane);
                true
            }
            Rest::Until(moment) => {
                lane.state = LaneState::Resting;
                self.resting.insert((moment, turn.lane));
                false
            }
        }
    }

    /// Whether a lane is ready, those that still rest aside.
    pub fn has_turn(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the next resting lane is ready, if one rests.
    pub fn next_wake(&self) -> Option<Duration> {
        self.resting.first().map(|(moment, _)| *moment)
    }

    /// Takes every job out, in no particular order of lanes. Taken lanes stay taken.
    pub fn drain(&mut self) -> Vec<J> {
        self.ready.clear();
        self.resting.clear();
        self.depth = 0;
        let jobs = self.lanes.values_mut().flat_map(|lane| lane.jobs.drain(..)).collect();
        self.lanes.retain(|_, lane| lane.state == LaneState::Taken);
        jobs
    }

    fn wake_rested(&mut self, now: Duration) {
        while self.resting.first().is_some_and(|(moment, _)| *moment <= now) {
            let (_, key) = self.resting.pop_first().expect("just seen");
            self.lanes.get_mut(&key).expect("a resting lane has jobs").state = LaneState::Ready;
            self.ready.push_back(key);
        }
    }
}
