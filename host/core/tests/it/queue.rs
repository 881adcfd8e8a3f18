//! The queue against a model of it that is too simple to be wrong.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use reductor_core::{Branch, DocumentId, LaneKey, NotQueued, Queue, Rest, Turn};

const DEPTH_MAX: usize = 12;

/// A job is a number; no two are the same.
type Job = u32;
/// A kind is a letter.
type Kind = char;

fn lane(number: u8) -> LaneKey {
    LaneKey { document: DocumentId::from(format!("d{number}")), branch: Branch::from(Branch::MAIN) }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Lists instead of maps, and every answer looked up from the start.
#[derive(Default)]
struct Model {
    now: Duration,
    /// Every job that waits, in the order of its lane.
    waiting: Vec<(LaneKey, Job)>,
    kinds: Vec<(LaneKey, Kind)>,
    ready: Vec<LaneKey>,
    resting: Vec<(Duration, LaneKey)>,
    taken: Vec<LaneKey>,
}

impl Model {
    fn kind(&self, lane: &LaneKey) -> Option<&Kind> {
        self.kinds.iter().find(|(known, _)| known == lane).map(|(_, kind)| kind)
    }

    fn has_jobs(&self, lane: &LaneKey) -> bool {
        self.waiting.iter().any(|(known, _)| known == lane)
    }

    fn push(&mut self, lane: &LaneKey, kind: Kind, job: Job) -> Result<bool, NotQueued<Kind>> {
        if self.waiting.len() >= DEPTH_MAX {
            return Err(NotQueued::Full { depth: self.waiting.len(), limit: DEPTH_MAX });
        }
        match self.kind(lane) {
            Some(known) if *known != kind => Err(NotQueued::OtherKind(*known)),
            Some(_) => {
                self.waiting.push((lane.clone(), job));
                Ok(false)
            }
            None => {
                self.waiting.push((lane.clone(), job));
                self.kinds.push((lane.clone(), kind));
                self.ready.push(lane.clone());
                Ok(true)
            }
        }
    }

    fn take(&mut self, jobs_max: usize) -> Option<(LaneKey, Vec<Job>)> {
        self.resting.sort();
        while self.resting.first().is_some_and(|(moment, _)| *moment <= self.now) {
            self.ready.push(self.resting.remove(0).1);
        }
        if self.ready.is_empty() {
            return None;
        }
        let lane = self.ready.remove(0);
        let mut jobs = Vec::new();
        while jobs.len() < jobs_max.max(1)
            && let Some(at) = self.waiting.iter().position(|(known, _)| *known == lane)
        {
            jobs.push(self.waiting.remove(at).1);
        }
        self.taken.push(lane.clone());
        Some((lane, jobs))
    }

    fn put_back(&mut self, lane: &LaneKey, undone: &[Job], rest: Rest) -> bool {
        self.taken.retain(|taken| taken != lane);
        self.waiting.splice(0..0, undone.iter().map(|job| (lane.clone(), *job)));
        if !self.has_jobs(lane) {
            self.kinds.retain(|(known, _)| known != lane);
            return false;
        }
        match rest {
            Rest::None => self.ready.push(lane.clone()),
            Rest::Until(moment) => self.resting.push((moment, lane.clone())),
        }
        rest == Rest::None
    }

    fn drain(&mut self) -> Vec<Job> {
        self.ready.clear();
        self.resting.clear();
        self.kinds.retain(|(lane, _)| self.taken.contains(lane));
        self.waiting.drain(..).map(|(_, job)| job).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push { lane: u8, kind: Kind },
    AppendTaken { which: usize },
    Take { jobs_max: usize },
    PutBack { which: usize, done: usize, rest_ms: Option<u64> },
    Advance { ms: u64 },
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..5_u8, prop_oneof![9 => Just('a'), 1 => Just('b')]).prop_map(|(lane, kind)| Step::Push { lane, kind }),
        1 => (0..4_usize).prop_map(|which| Step::AppendTaken { which }),
        4 => (0..5_usize).prop_map(|jobs_max| Step::Take { jobs_max }),
        4 => (0..4_usize, 0..5_usize, proptest::option::of(0..20_u64))
            .prop_map(|(which, done, rest_ms)| Step::PutBack { which, done, rest_ms }),
        2 => (0..15_u64).prop_map(|ms| Step::Advance { ms }),
        1 => Just(Step::Drain),
    ]
}

/// The queue and the model of it, side by side.
struct Pair {
    queue: Queue<Kind, Job>,
    model: Model,
    turns: Vec<Turn<Job>>,
    next_job: Job,
}

impl Pair {
    fn new() -> Self {
        Self { queue: Queue::new(DEPTH_MAX), model: Model::default(), turns: Vec::new(), next_job: 0 }
    }

    /// Does the same to both, and compares what they say.
    fn run(&mut self, step: Step) {
        match step {
            Step::Push { lane: number, kind } => {
                self.next_job += 1;
                let expected = self.model.push(&lane(number), kind, self.next_job);
                assert_eq!(self.queue.push(lane(number), kind, self.next_job), expected);
            }
            Step::AppendTaken { which } => {
                if let Some(turn) = self.turns.get(which) {
                    self.next_job += 1;
                    self.model.waiting.push((turn.lane.clone(), self.next_job));
                    self.queue.append_taken(&turn.lane, self.next_job);
                }
            }
            Step::Take { jobs_max } => {
                let turn = self.queue.take(self.model.now, jobs_max);
                let seen = turn.as_ref().map(|turn| (turn.lane.clone(), Vec::from(turn.jobs.clone())));
                assert_eq!(seen, self.model.take(jobs_max));
                self.turns.extend(turn);
            }
            Step::PutBack { which, done, rest_ms } => {
                if which < self.turns.len() {
                    let mut turn = self.turns.remove(which);
                    turn.jobs.drain(..done.min(turn.jobs.len()));
                    let rest = rest_ms.map_or(Rest::None, |rest| Rest::Until(self.model.now + ms(rest)));
                    let expected = self.model.put_back(&turn.lane, turn.jobs.make_contiguous(), rest);
                    assert_eq!(self.queue.put_back(turn, rest), expected);
                }
            }
            Step::Advance { ms: passed } => self.model.now += ms(passed),
            Step::Drain => {
                let (mut drained, mut expected) = (self.queue.drain(), self.model.drain());
                drained.sort_unstable();
                expected.sort_unstable();
                assert_eq!(drained, expected);
            }
        }
        assert_eq!(self.queue.depth(), self.model.waiting.len());
        assert_eq!(self.queue.has_turn(), !self.model.ready.is_empty());
        assert_eq!(self.queue.next_wake(), self.model.resting.iter().map(|(moment, _)| *moment).min());
        for number in 0..5 {
            assert_eq!(self.queue.kind(&lane(number)), self.model.kind(&lane(number)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_its_model_does(steps in vec(step(), 1..80)) {
        let mut pair = Pair::new();
        for step in steps {
            pair.run(step);
        }
    }
}

/// A queue with these jobs, one for each letter: `"aab"` has two jobs in lane `a`, one in `b`.
fn queue(lanes: &str) -> Queue<Kind, Job> {
    let mut queue = Queue::new(DEPTH_MAX);
    for (job, letter) in (0..).zip(lanes.bytes()) {
        queue.push(lane(letter), 'a', job).expect("room");
    }
    queue
}

/// Takes one job of the next lane: which, and the turn.
fn take(queue: &mut Queue<Kind, Job>, now: Duration) -> (Job, Turn<Job>) {
    let turn = queue.take(now, 1).expect("a lane is ready");
    (turn.jobs[0], turn)
}

fn done(turn: Turn<Job>) -> Turn<Job> {
    Turn { jobs: VecDeque::new(), ..turn }
}

#[test]
fn a_busy_lane_lets_the_others_have_their_turns() {
    let mut queue = queue("aaabc");
    let mut order = Vec::new();
    while queue.has_turn() {
        let (job, turn) = take(&mut queue, ms(0));
        order.push(job);
        queue.put_back(done(turn), Rest::None);
    }
    assert_eq!(order, [0, 3, 4, 1, 2]);
}

#[test]
fn a_lane_has_one_taker() {
    let mut queue = queue("aa");
    let (_, turn) = take(&mut queue, ms(0));
    assert!(queue.take(ms(0), 1).is_none());
    queue.put_back(done(turn), Rest::None);
    assert_eq!(take(&mut queue, ms(0)).0, 1);
}

#[test]
fn a_resting_lane_keeps_its_jobs_in_order_and_comes_after_its_moment() {
    let mut queue = queue("aab");
    let (_, turn) = take(&mut queue, ms(0));
    queue.put_back(turn, Rest::Until(ms(10)));
    assert_eq!(take(&mut queue, ms(9)).0, 2);
    assert!(queue.take(ms(9), 1).is_none());
    assert_eq!(queue.next_wake(), Some(ms(10)));
    assert_eq!(queue.take(ms(10), 9).expect("its moment has come").jobs, [0, 1]);
}

#[test]
fn a_full_queue_refuses_until_a_job_is_taken() {
    let mut queue = queue("aaaaaaaaaaaa");
    assert_eq!(queue.push(lane(b'b'), 'a', 99), Err(NotQueued::Full { depth: DEPTH_MAX, limit: DEPTH_MAX }));
    let (_, turn) = take(&mut queue, ms(0));
    assert_eq!(queue.push(lane(b'b'), 'a', 99), Ok(true));
    queue.append_taken(&turn.lane, 100);
    assert_eq!(queue.depth(), DEPTH_MAX + 1, "jobs that something else bounds always find room");
}

#[test]
fn a_lane_keeps_its_kind_while_its_last_job_is_taken() {
    let mut queue = queue("a");
    let (_, turn) = take(&mut queue, ms(0));
    assert_eq!(queue.push(lane(b'a'), 'b', 1), Err(NotQueued::OtherKind('a')));
    queue.put_back(done(turn), Rest::None);
    assert_eq!(queue.push(lane(b'a'), 'b', 1), Ok(true));
}
