//! The queue: jobs that wait, lane by lane.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
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
    /// Lanes that were passed over because enough limited lanes were taken, by their numbers.
    parked: HashMap<K, BTreeMap<u64, LaneKey>>,
    /// How often a lane was passed over so far: the number of the next one.
    passed_over: u64,
    /// How many ready lanes take their turns before the first of `parked`, since there is a place
    /// for it.
    before_parked: Option<usize>,
    /// The kinds that are blocked, and their lanes that wait for nothing else.
    blocked: HashMap<K, VecDeque<LaneKey>>,
    /// How many lanes are held.
    held: usize,
    /// How many lanes of each kind are taken.
    taken: HashMap<K, usize>,
    depth: usize,
    depth_max: usize,
}

#[derive(Debug)]
struct Lane<K, J> {
    kind: K,
    jobs: VecDeque<J>,
    state: LaneState,
    /// Its number among the lanes that were passed over, while it is [`LaneState::Parked`].
    passed_over: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneState {
    /// In `ready`.
    Ready,
    /// In `resting`, until this moment.
    Resting(Duration),
    /// In `parked`.
    Parked,
    /// In `blocked`.
    Blocked,
    /// Until [`Queue::wake`].
    Held,
    /// With a worker.
    Taken {
        /// Whether [`Queue::wake`] came meanwhile.
        woken: bool,
    },
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

/// How many jobs a turn may have; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobsMax {
    /// While no other lane is ready.
    pub alone: usize,
    /// While others are.
    pub shared: usize,
}

/// Kinds of which only so many lanes may be taken at once: of all of them together, so that two
/// such kinds take no more workers than one.
#[derive(Clone, Copy, Debug)]
pub struct Limited<F> {
    /// Whether a kind is one of them.
    pub is_limited: F,
    /// Lanes of these kinds that may be taken at once; at least one.
    pub lanes_max: usize,
}

/// What becomes of a lane when its turn is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It takes its next turn when the others have had theirs.
    None,
    /// It takes no turn before this moment.
    Until(Duration),
    /// It takes no turn before [`Queue::wake`]. If that came during the turn, it takes its next
    /// one like any other.
    Held,
}

impl<K: Clone + Eq + Hash, J> Queue<K, J> {
    /// An empty queue for up to `depth_max` waiting jobs.
    pub fn new(depth_max: usize) -> Self {
        Self {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            resting: BTreeSet::new(),
            parked: HashMap::new(),
            passed_over: 0,
            before_parked: None,
            blocked: HashMap::new(),
            held: 0,
            taken: HashMap::new(),
            depth: 0,
            depth_max,
        }
    }

    /// How many jobs wait. Jobs of a turn that was taken do not.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The kind of jobs that a lane has, if it has any.
    pub fn kind(&self, lane: &LaneKey) -> Option<&K> {
        self.lanes.get(lane).map(|lane| &lane.kind)
    }

    /// Whether jobs could be pushed now, one into each of these lanes in turn, where `beyond` jobs
    /// count against the depth that are not in the queue.
    ///
    /// # Errors
    ///
    /// The position of the first that could not, and why.
    pub fn has_room_for<'a>(
        &self,
        jobs: impl ExactSizeIterator<Item = (&'a LaneKey, &'a K)>,
        beyond: usize,
    ) -> Result<(), (usize, NotQueued<K>)>
    where
        K: 'a,
    {
        let depth = self.depth + beyond;
        let room = self.depth_max.saturating_sub(depth);
        if jobs.len() > room {
            return Err((room, NotQueued::Full { depth, limit: self.depth_max }));
        }
        let mut jobs = jobs.enumerate();
        let other = jobs.find_map(|(position, (lane, kind))| {
            let known = self.kind(lane).filter(|known| *known != kind)?;
            Some((position, NotQueued::OtherKind(known.clone())))
        });
        other.map_or(Ok(()), Err)
    }

    /// Puts a job at the end of its lane. Says whether there is a new turn to take.
    ///
    /// # Errors
    ///
    /// [`NotQueued`], and the job is dropped.
    pub fn push(&mut self, lane: LaneKey, kind: K, job: J) -> Result<bool, NotQueued<K>> {
        self.has_room_for([(&lane, &kind)].into_iter(), 0).map_err(|(_, problem)| problem)?;
        Ok(self.push_beyond(lane, kind, job))
    }

    /// Puts a job at the end of its lane, however many wait: something else bounds the number
    /// of such jobs. A lane that has jobs keeps its kind. Says whether there is a new turn to
    /// take.
    pub fn push_beyond(&mut self, lane: LaneKey, kind: K, job: J) -> bool {
        self.depth += 1;
        match self.lanes.entry(lane) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().jobs.push_back(job);
                false
            }
            Entry::Vacant(entry) => {
                let key = entry.key().clone();
                let (jobs, state) = (VecDeque::from([job]), LaneState::Ready);
                let lane = entry.insert(Lane { kind, jobs, state, passed_over: 0 });
                line_up(&mut self.ready, &mut self.blocked, key, lane)
            }
        }
    }

    /// Puts a job into its lane, before the first of those that wait there and are `later` than it.
    /// A lane that rests or is held looks at a job that is its first now. Says whether there is a
    /// new turn to take.
    pub fn insert(&mut self, lane: LaneKey, kind: K, job: J, later: impl Fn(&J) -> bool) -> bool {
        let new_turn = self.push_beyond(lane.clone(), kind, job);
        let found = self.lanes.get_mut(&lane).expect("it has a job");
        let Some(at) = found.jobs.iter().take(found.jobs.len() - 1).position(later) else { return new_turn };
        let job = found.jobs.pop_back().expect("it has a job");
        found.jobs.insert(at, job);
        match found.state {
            LaneState::Resting(moment) if at == 0 => {
                self.resting.remove(&(moment, lane.clone()));
                line_up(&mut self.ready, &mut self.blocked, lane, found)
            }
            LaneState::Held if at == 0 => self.wake(&lane),
            _ => false,
        }
    }

    /// Whether somebody has the lane.
    pub fn is_taken(&self, lane: &LaneKey) -> bool {
        self.lanes.get(lane).is_some_and(|lane| matches!(lane.state, LaneState::Taken { .. }))
    }

    /// Takes the next turn, of up to `jobs_max` jobs, if a lane is ready at `now`.
    ///
    /// Lanes of limited kinds are passed over while as many of them are taken as may. Each place
    /// that becomes free goes to the lane that was passed over first, of whichever kind, so that
    /// they do not starve each other.
    pub fn take(
        &mut self,
        now: Duration,
        jobs_max: JobsMax,
        limited: &Limited<impl Fn(&K) -> bool>,
    ) -> Option<Turn<J>> {
        self.wake_rested(now);
        self.line_up_unlimited(limited);
        let key = loop {
            if let Some(key) = self.due_parked(limited) {
                break key;
            }
            let key = self.ready.pop_front()?;
            if !(limited.is_limited)(&self.lanes[&key].kind) {
                break key;
            }
            let first = self.first_parked().filter(|_| self.has_place(limited));
            match first {
                None if self.has_place(limited) => break key,
                None => self.pass_over(key),
                // Those that were passed over have waited for longer.
                Some(first) => {
                    self.pass_over(key);
                    self.unpark(&first);
                    break first;
                }
            }
        };
        let lane = self.lanes.get_mut(&key).expect("a ready lane has jobs");
        *self.taken.entry(lane.kind.clone()).or_default() += 1;
        lane.state = LaneState::Taken { woken: false };
        let jobs_max = if self.ready.is_empty() { jobs_max.alone } else { jobs_max.shared };
        let count = lane.jobs.len().min(jobs_max.max(1));
        let jobs =
            if count == lane.jobs.len() { std::mem::take(&mut lane.jobs) } else { lane.jobs.drain(..count).collect() };
        self.depth -= jobs.len();
        Some(Turn { lane: key, jobs })
    }

    /// Ends a turn. Jobs that were taken and not done go back to the front of their lane.
    pub fn put_back(&mut self, turn: Turn<J>, rest: Rest) {
        let lane = self.lanes.get_mut(&turn.lane).expect("a taken lane stays in the queue");
        let woken = lane.state == LaneState::Taken { woken: true };
        self.depth += turn.jobs.len();
        for job in turn.jobs.into_iter().rev() {
            lane.jobs.push_front(job);
        }
        let kind = lane.kind.clone();
        if lane.jobs.is_empty() {
            self.lanes.remove(&turn.lane);
        } else {
            match rest {
                Rest::Until(moment) if !self.blocked.contains_key(&kind) => {
                    lane.state = LaneState::Resting(moment);
                    self.resting.insert((moment, turn.lane));
                }
                Rest::Held if !woken => {
                    lane.state = LaneState::Held;
                    self.held += 1;
                }
                Rest::None | Rest::Until(_) | Rest::Held => {
                    line_up(&mut self.ready, &mut self.blocked, turn.lane, lane);
                }
            }
        }
        self.give_up(&kind);
    }

    /// Lets a lane that is held take its turn. A lane that is taken does not become held in
    /// this turn. Says whether there is a new turn to take.
    pub fn wake(&mut self, lane: &LaneKey) -> bool {
        let Some(found) = self.lanes.get_mut(lane) else { return false };
        match found.state {
            LaneState::Held => {
                self.held -= 1;
                line_up(&mut self.ready, &mut self.blocked, lane.clone(), found)
            }
            LaneState::Taken { .. } => {
                found.state = LaneState::Taken { woken: true };
                false
            }
            LaneState::Ready | LaneState::Resting(_) | LaneState::Parked | LaneState::Blocked => false,
        }
    }

    /// Whether a lane that is taken was woken since.
    pub fn was_woken(&self, lane: &LaneKey) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.state == LaneState::Taken { woken: true })
    }

    /// Takes a job out of its lane, if it waits there. Says whether there is a new turn to
    /// take: a lane that is held looks at its next job.
    ///
    /// Takes time in proportion to the jobs and lanes that wait.
    pub fn remove(&mut self, lane: &LaneKey, is_it: impl FnMut(&J) -> bool) -> Option<(J, bool)> {
        let found = self.lanes.get_mut(lane)?;
        let position = found.jobs.iter().position(is_it)?;
        let job = found.jobs.remove(position).expect("just found");
        self.depth -= 1;
        if !found.jobs.is_empty() {
            let new_turn = found.state == LaneState::Held && self.wake(lane);
            return Some((job, new_turn));
        }
        match found.state {
            LaneState::Taken { .. } => return Some((job, false)),
            LaneState::Ready => self.ready.retain(|ready| ready != lane),
            LaneState::Parked => self.unpark(lane),
            LaneState::Resting(moment) => {
                self.resting.remove(&(moment, lane.clone()));
            }
            LaneState::Blocked => {
                self.blocked.values_mut().for_each(|blocked| blocked.retain(|blocked| blocked != lane));
            }
            LaneState::Held => self.held -= 1,
        }
        self.lanes.remove(lane);
        Some((job, false))
    }

    /// Lets no lane of this kind take a turn until [`Queue::unblock`]. Turns that were taken go on.
    ///
    /// Takes time in proportion to the lanes that wait.
    pub fn block(&mut self, kind: K) {
        if self.blocked.contains_key(&kind) {
            return;
        }
        let is_kind = |key: &LaneKey| self.lanes.get(key).is_some_and(|lane| lane.kind == kind);
        let mut waiting: VecDeque<LaneKey> = self.ready.iter().filter(|key| is_kind(key)).cloned().collect();
        self.ready.retain(|key| !is_kind(key));
        waiting.extend(self.parked.remove(&kind).unwrap_or_default().into_values());
        waiting.extend(self.resting.iter().map(|(_, key)| key).filter(|key| is_kind(key)).cloned());
        self.resting.retain(|(_, key)| !is_kind(key));
        for key in &waiting {
            self.lanes.get_mut(key).expect("a waiting lane has jobs").state = LaneState::Blocked;
        }
        self.blocked.insert(kind, waiting);
    }

    /// Lets lanes of this kind take turns again, also those that rested when they were blocked.
    /// Says whether there is a new turn to take.
    pub fn unblock(&mut self, kind: &K) -> bool {
        let waiting = self.blocked.remove(kind).unwrap_or_default();
        for key in &waiting {
            self.lanes.get_mut(key).expect("a blocked lane has jobs").state = LaneState::Ready;
        }
        let any = !waiting.is_empty();
        self.ready.extend(waiting);
        any
    }

    /// Whether there are jobs that end some time even if no kind is ever unblocked. A lane that is
    /// held while others are blocked may wait for one of those, so it does not count then.
    pub fn goes_on(&self) -> bool {
        let blocked: usize = self.blocked.values().map(VecDeque::len).sum();
        let stuck = if blocked == 0 { 0 } else { blocked + self.held };
        self.lanes.len() > stuck
    }

    /// Whether there are no jobs: none waits, and no turn was taken that was not put back.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Whether there is a turn to take with these limits. Lanes that rest or are held have none.
    pub fn has_turn(&self, limited: &Limited<impl Fn(&K) -> bool>) -> bool {
        let may_go_on = || self.has_place(limited) || self.parked.keys().any(|kind| !(limited.is_limited)(kind));
        !self.ready.is_empty() || (!self.parked.is_empty() && may_go_on())
    }

    /// Whether lanes were passed over.
    pub fn has_passed_over(&self) -> bool {
        !self.parked.is_empty()
    }

    /// When the next resting lane is ready, if one rests.
    pub fn next_wake(&self) -> Option<Duration> {
        self.resting.first().map(|(moment, _)| *moment)
    }

    /// Makes the lanes ready whose moment has come, and returns them. [`Queue::take`] does the same.
    pub fn wake_rested(&mut self, now: Duration) -> Vec<LaneKey> {
        let mut woken = Vec::new();
        while self.resting.first().is_some_and(|(moment, _)| *moment <= now) {
            let (_, key) = self.resting.pop_first().expect("just seen");
            self.lanes.get_mut(&key).expect("a resting lane has jobs").state = LaneState::Ready;
            self.ready.push_back(key.clone());
            woken.push(key);
        }
        woken
    }

    /// The next job of a lane, if one waits there.
    pub fn first_mut(&mut self, lane: &LaneKey) -> Option<&mut J> {
        self.lanes.get_mut(lane)?.jobs.front_mut()
    }

    /// Takes every job out, in no particular order of lanes. Taken lanes stay taken, and blocked
    /// kinds blocked.
    pub fn drain(&mut self) -> Vec<J> {
        self.ready.clear();
        self.resting.clear();
        self.parked.clear();
        self.blocked.values_mut().for_each(VecDeque::clear);
        self.held = 0;
        self.depth = 0;
        let jobs = self.lanes.values_mut().flat_map(|lane| lane.jobs.drain(..)).collect();
        self.lanes.retain(|_, lane| matches!(lane.state, LaneState::Taken { .. }));
        jobs
    }

    /// One lane of this kind fewer is taken.
    fn give_up(&mut self, kind: &K) {
        let taken = self.taken.get_mut(kind).expect("a lane of the kind was taken");
        *taken -= 1;
        if *taken == 0 {
            self.taken.remove(kind);
        }
    }

    /// Whether one more lane of a limited kind may be taken.
    fn has_place(&self, limited: &Limited<impl Fn(&K) -> bool>) -> bool {
        let taken = self.taken.iter().filter(|(kind, _)| (limited.is_limited)(kind)).map(|(_, taken)| taken);
        taken.sum::<usize>() < limited.lanes_max.max(1)
    }

    /// Lets lanes that were passed over line up again whose kinds are limited no more.
    fn line_up_unlimited(&mut self, limited: &Limited<impl Fn(&K) -> bool>) {
        if self.parked.is_empty() {
            return;
        }
        let free = |kind: &&K| !(limited.is_limited)(kind);
        let free: Vec<K> = self.parked.keys().filter(free).cloned().collect();
        let mut lanes: Vec<_> = free.iter().filter_map(|kind| self.parked.remove(kind)).flatten().collect();
        lanes.sort_unstable();
        for (_, key) in lanes {
            self.lanes.get_mut(&key).expect("a parked lane has jobs").state = LaneState::Ready;
            self.ready.push_back(key);
        }
    }

    /// The first lane that was passed over, if there is a place for it and the lanes that were ready
    /// when it became free have had their turns. Otherwise one of those follows.
    fn due_parked(&mut self, limited: &Limited<impl Fn(&K) -> bool>) -> Option<LaneKey> {
        if self.parked.is_empty() || !self.has_place(limited) {
            self.before_parked = None;
            return None;
        }
        let before = self.before_parked.unwrap_or(usize::MAX).min(self.ready.len());
        self.before_parked = before.checked_sub(1);
        if before > 0 {
            return None;
        }
        let key = self.first_parked().expect("some are parked");
        self.unpark(&key);
        Some(key)
    }

    /// The lane that was passed over before every other one.
    fn first_parked(&self) -> Option<LaneKey> {
        let firsts = self.parked.values().filter_map(BTreeMap::first_key_value);
        firsts.min_by_key(|(number, _)| **number).map(|(_, key)| key.clone())
    }

    /// Puts a lane aside whose turn came while there was no place for it.
    fn pass_over(&mut self, key: LaneKey) {
        let lane = self.lanes.get_mut(&key).expect("a ready lane has jobs");
        self.passed_over += 1;
        (lane.state, lane.passed_over) = (LaneState::Parked, self.passed_over);
        self.parked.entry(lane.kind.clone()).or_default().insert(self.passed_over, key);
    }

    /// Takes a lane out of those that were passed over.
    fn unpark(&mut self, key: &LaneKey) {
        let lane = self.lanes.get(key).expect("a parked lane has jobs");
        let parked = self.parked.get_mut(&lane.kind).expect("a parked lane is among those of its kind");
        parked.remove(&lane.passed_over);
        if parked.is_empty() {
            self.parked.remove(&lane.kind);
        }
    }
}

/// Lets a lane take its turn after the others, or when its kind is unblocked. Says whether it may
/// now.
fn line_up<K: Eq + Hash, J>(
    ready: &mut VecDeque<LaneKey>,
    blocked: &mut HashMap<K, VecDeque<LaneKey>>,
    key: LaneKey,
    lane: &mut Lane<K, J>,
) -> bool {
    match blocked.get_mut(&lane.kind) {
        Some(waiting) => {
            lane.state = LaneState::Blocked;
            waiting.push_back(key);
            false
        }
        None => {
            lane.state = LaneState::Ready;
            ready.push_back(key);
            true
        }
    }
}
