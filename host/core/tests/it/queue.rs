//! The queue against a model of it that is too simple to be wrong.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use reductor_core::{Branch, DocumentId, JobsMax, LaneKey, Limited, NotQueued, Queue, Rest, Turn};

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

/// As many jobs alone as beside others.
fn few(jobs: usize) -> JobsMax {
    JobsMax { alone: jobs, shared: jobs }
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
    /// In the order in which they were passed over.
    parked: Vec<LaneKey>,
    before_parked: Option<usize>,
    blocked: Vec<LaneKey>,
    blocked_kinds: Vec<Kind>,
    held: Vec<LaneKey>,
    taken: Vec<LaneKey>,
    /// Those of `taken` that were woken.
    woken: Vec<LaneKey>,
    limited_kinds: Vec<Kind>,
    /// Lanes of limited kinds that may be taken at once.
    limited_max: usize,
}

/// So many lanes of these kinds may be taken at once.
fn limited(kinds: &str, lanes_max: usize) -> Limited<impl Fn(&Kind) -> bool + use<>> {
    let kinds: Vec<Kind> = kinds.chars().collect();
    Limited { is_limited: move |kind: &Kind| kinds.contains(kind), lanes_max }
}

/// No kind is limited.
fn unlimited() -> Limited<impl Fn(&Kind) -> bool + use<>> {
    limited("", 1)
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
            _ => Ok(self.push_beyond(lane, kind, job)),
        }
    }

    fn push_beyond(&mut self, lane: &LaneKey, kind: Kind, job: Job) -> bool {
        self.waiting.push((lane.clone(), job));
        let new = self.kind(lane).is_none();
        if new {
            self.kinds.push((lane.clone(), kind));
        }
        new && self.line_up(lane)
    }

    /// Before the first job that came after the one of this number.
    fn insert(&mut self, lane: &LaneKey, kind: Kind, job: Job, after: Job) -> bool {
        let Some(at) = self.waiting.iter().position(|(known, waiting)| known == lane && *waiting > after) else {
            return self.push_beyond(lane, kind, job);
        };
        let is_first = self.waiting[..at].iter().all(|(known, _)| known != lane);
        self.waiting.insert(at, (lane.clone(), job));
        let rests = self.resting.iter().any(|(_, known)| known == lane);
        if is_first && rests {
            self.resting.retain(|(_, known)| known != lane);
            return self.line_up(lane);
        }
        is_first && self.held.contains(lane) && self.wake(lane)
    }

    fn line_up(&mut self, lane: &LaneKey) -> bool {
        let blocked = self.is_blocked(lane);
        if blocked { &mut self.blocked } else { &mut self.ready }.push(lane.clone());
        !blocked
    }

    fn is_blocked(&self, lane: &LaneKey) -> bool {
        self.kind(lane).is_some_and(|kind| self.blocked_kinds.contains(kind))
    }

    fn block(&mut self, kind: Kind) {
        if self.blocked_kinds.contains(&kind) {
            return;
        }
        self.blocked_kinds.push(kind);
        self.resting.sort();
        let resting: Vec<_> = self.resting.iter().map(|(_, lane)| lane.clone()).collect();
        for lane in [self.ready.clone(), self.parked.clone(), resting].concat() {
            if self.kind(&lane) == Some(&kind) {
                self.ready.retain(|known| *known != lane);
                self.parked.retain(|known| *known != lane);
                self.resting.retain(|(_, known)| *known != lane);
                self.blocked.push(lane);
            }
        }
    }

    fn unblock(&mut self, kind: Kind) -> bool {
        self.blocked_kinds.retain(|known| *known != kind);
        let (free, blocked): (Vec<_>, Vec<_>) =
            self.blocked.drain(..).partition(|lane| self.kinds.contains(&(lane.clone(), kind)));
        self.blocked = blocked;
        self.ready.extend(free.iter().cloned());
        !free.is_empty()
    }

    fn goes_on(&self) -> bool {
        let moves =
            !self.ready.is_empty() || !self.resting.is_empty() || !self.parked.is_empty() || !self.taken.is_empty();
        moves || (!self.held.is_empty() && self.blocked.is_empty())
    }

    fn has_turn(&self) -> bool {
        let may_go_on = |lane| !self.is_limited(lane) || self.has_place();
        !self.ready.is_empty() || self.parked.iter().any(may_go_on)
    }

    fn limited(&self) -> Limited<impl Fn(&Kind) -> bool + use<>> {
        limited(&self.limited_kinds.iter().collect::<String>(), self.limited_max)
    }

    fn is_limited(&self, lane: &LaneKey) -> bool {
        self.kind(lane).is_some_and(|kind| self.limited_kinds.contains(kind))
    }

    fn has_place(&self) -> bool {
        self.taken.iter().filter(|lane| self.is_limited(lane)).count() < self.limited_max.max(1)
    }

    /// The lane whose turn it is.
    fn next(&mut self) -> Option<LaneKey> {
        let (waiting, free): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.parked).into_iter().partition(|lane| self.is_limited(lane));
        self.parked = waiting;
        self.ready.extend(free);
        loop {
            let may_park = !self.parked.is_empty() && self.has_place();
            let before = self.before_parked.unwrap_or(self.ready.len()).min(self.ready.len());
            self.before_parked = Some(before.saturating_sub(1)).filter(|_| may_park && before > 0);
            if may_park && before == 0 {
                return Some(self.parked.remove(0));
            }
            if self.ready.is_empty() {
                return None;
            }
            let lane = self.ready.remove(0);
            if !self.is_limited(&lane) {
                return Some(lane);
            }
            self.parked.push(lane);
            if self.has_place() {
                return Some(self.parked.remove(0));
            }
        }
    }

    fn take(&mut self, jobs_max: usize) -> Option<(LaneKey, Vec<Job>)> {
        self.resting.sort();
        while self.resting.first().is_some_and(|(moment, _)| *moment <= self.now) {
            self.ready.push(self.resting.remove(0).1);
        }
        let lane = self.next()?;
        let mut jobs = Vec::new();
        while jobs.len() < jobs_max.max(1)
            && let Some(at) = self.waiting.iter().position(|(known, _)| *known == lane)
        {
            jobs.push(self.waiting.remove(at).1);
        }
        self.taken.push(lane.clone());
        Some((lane, jobs))
    }

    fn put_back(&mut self, lane: &LaneKey, undone: &[Job], rest: Rest) {
        let woken = self.woken.contains(lane);
        self.taken.retain(|taken| taken != lane);
        self.woken.retain(|woken| woken != lane);
        self.waiting.splice(0..0, undone.iter().map(|job| (lane.clone(), *job)));
        match rest {
            _ if !self.has_jobs(lane) => self.kinds.retain(|(known, _)| known != lane),
            Rest::Until(moment) if !self.is_blocked(lane) => self.resting.push((moment, lane.clone())),
            Rest::Held if !woken => self.held.push(lane.clone()),
            Rest::None | Rest::Until(_) | Rest::Held => {
                self.line_up(lane);
            }
        }
    }

    fn wake(&mut self, lane: &LaneKey) -> bool {
        if self.taken.contains(lane) {
            self.woken.push(lane.clone());
        }
        let held = self.held.contains(lane);
        if held {
            self.held.retain(|held| held != lane);
        }
        held && self.line_up(lane)
    }

    fn remove(&mut self, lane: &LaneKey, job: Job) -> Option<(Job, bool)> {
        let at = self.waiting.iter().position(|waiting| *waiting == (lane.clone(), job))?;
        self.waiting.remove(at);
        if self.has_jobs(lane) {
            let new_turn = self.held.contains(lane) && self.wake(lane);
            return Some((job, new_turn));
        }
        if !self.taken.contains(lane) {
            for lanes in [&mut self.ready, &mut self.parked, &mut self.held, &mut self.blocked] {
                lanes.retain(|known| known != lane);
            }
            self.resting.retain(|(_, known)| known != lane);
            self.kinds.retain(|(known, _)| known != lane);
        }
        Some((job, false))
    }

    fn drain(&mut self) -> Vec<Job> {
        for lanes in [&mut self.ready, &mut self.parked, &mut self.held, &mut self.blocked] {
            lanes.clear();
        }
        self.resting.clear();
        self.kinds.retain(|(lane, _)| self.taken.contains(lane));
        self.waiting.drain(..).map(|(_, job)| job).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push { lane: u8, kind: Kind },
    PushBeyond { lane: u8, kind: Kind },
    Insert { lane: u8, kind: Kind, ago: u32 },
    Take { jobs_max: usize },
    PutBack { which: usize, done: usize, rest: Resting },
    Wake { lane: u8 },
    Remove { lane: u8, ago: u32 },
    Limit { kinds: &'static str, lanes_max: usize },
    Block { kind: Kind },
    Unblock { kind: Kind },
    Advance { ms: u64 },
    Drain,
}

#[derive(Clone, Copy, Debug)]
enum Resting {
    Not,
    Ms(u64),
    Held,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = || prop_oneof![2 => Just('a'), 3 => Just('b'), 2 => Just('c')];
    let kinds = prop_oneof![1 => Just(""), 3 => Just("b"), 4 => Just("bc"), 1 => Just("abc")];
    let rest = prop_oneof![2 => Just(Resting::Not), 2 => (0..20_u64).prop_map(Resting::Ms), 1 => Just(Resting::Held)];
    prop_oneof![
        8 => (0..6_u8, kind()).prop_map(|(lane, kind)| Step::Push { lane, kind }),
        1 => (0..6_u8, kind()).prop_map(|(lane, kind)| Step::PushBeyond { lane, kind }),
        3 => (0..6_u8, kind(), 0..12_u32).prop_map(|(lane, kind, ago)| Step::Insert { lane, kind, ago }),
        6 => (0..5_usize).prop_map(|jobs_max| Step::Take { jobs_max }),
        4 => (0..4_usize, 0..5_usize, rest).prop_map(|(which, done, rest)| Step::PutBack { which, done, rest }),
        2 => (0..6_u8).prop_map(|lane| Step::Wake { lane }),
        2 => (0..6_u8, 0..8_u32).prop_map(|(lane, ago)| Step::Remove { lane, ago }),
        2 => (kinds, 0..3_usize).prop_map(|(kinds, lanes_max)| Step::Limit { kinds, lanes_max }),
        1 => kind().prop_map(|kind| Step::Block { kind }),
        2 => kind().prop_map(|kind| Step::Unblock { kind }),
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
            Step::PushBeyond { lane: number, kind } => {
                self.next_job += 1;
                let expected = self.model.push_beyond(&lane(number), kind, self.next_job);
                assert_eq!(self.queue.push_beyond(lane(number), kind, self.next_job), expected);
            }
            Step::Insert { lane: number, kind, ago } => {
                let after = self.next_job.saturating_sub(ago);
                self.next_job += 1;
                let expected = self.model.insert(&lane(number), kind, self.next_job, after);
                let new_turn = self.queue.insert(lane(number), kind, self.next_job, |waiting| *waiting > after);
                assert_eq!(new_turn, expected);
            }
            Step::Wake { lane: number } => {
                let expected = self.model.wake(&lane(number));
                assert_eq!(self.queue.wake(&lane(number)), expected);
            }
            Step::Remove { lane: number, ago } => {
                let job = self.next_job.saturating_sub(ago);
                let expected = self.model.remove(&lane(number), job);
                assert_eq!(self.queue.remove(&lane(number), |waiting| *waiting == job), expected);
            }
            Step::Limit { kinds, lanes_max } => {
                self.model.limited_kinds = kinds.chars().collect();
                self.model.limited_max = lanes_max;
            }
            Step::Block { kind } => {
                self.model.block(kind);
                self.queue.block(kind);
            }
            Step::Unblock { kind } => assert_eq!(self.queue.unblock(&kind), self.model.unblock(kind)),
            Step::Take { jobs_max } => {
                let turn = self.queue.take(self.model.now, few(jobs_max), &self.model.limited());
                let seen = turn.as_ref().map(|turn| (turn.lane.clone(), Vec::from(turn.jobs.clone())));
                assert_eq!(seen, self.model.take(jobs_max));
                self.turns.extend(turn);
            }
            Step::PutBack { which, done, rest } => {
                if which < self.turns.len() {
                    let mut turn = self.turns.remove(which);
                    turn.jobs.drain(..done.min(turn.jobs.len()));
                    let rest = match rest {
                        Resting::Not => Rest::None,
                        Resting::Ms(rest) => Rest::Until(self.model.now + ms(rest)),
                        Resting::Held => Rest::Held,
                    };
                    self.model.put_back(&turn.lane, turn.jobs.make_contiguous(), rest);
                    self.queue.put_back(turn, rest);
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
        assert_eq!(self.queue.has_turn(&self.model.limited()), self.model.has_turn());
        assert_eq!(self.queue.has_passed_over(), !self.model.parked.is_empty());
        assert_eq!(self.queue.goes_on(), self.model.goes_on());
        assert_eq!(self.queue.next_wake(), self.model.resting.iter().map(|(moment, _)| *moment).min());
        for number in 0..6 {
            assert_eq!(self.queue.kind(&lane(number)), self.model.kind(&lane(number)));
            assert_eq!(self.queue.is_taken(&lane(number)), self.model.taken.contains(&lane(number)));
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
    let turn = queue.take(now, few(1), &unlimited()).expect("a lane is ready");
    (turn.jobs[0], turn)
}

fn done(turn: Turn<Job>) -> Turn<Job> {
    Turn { jobs: VecDeque::new(), ..turn }
}

#[test]
fn a_busy_lane_lets_the_others_have_their_turns() {
    let mut queue = queue("aaabc");
    let mut order = Vec::new();
    while queue.has_turn(&unlimited()) {
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
    assert!(queue.take(ms(0), few(1), &unlimited()).is_none());
    queue.put_back(done(turn), Rest::None);
    assert_eq!(take(&mut queue, ms(0)).0, 1);
}

#[test]
fn a_resting_lane_keeps_its_jobs_in_order_and_comes_after_its_moment() {
    let mut queue = queue("aab");
    let (_, turn) = take(&mut queue, ms(0));
    queue.put_back(turn, Rest::Until(ms(10)));
    assert_eq!(take(&mut queue, ms(9)).0, 2);
    assert!(queue.take(ms(9), few(1), &unlimited()).is_none());
    assert_eq!(queue.next_wake(), Some(ms(10)));
    assert_eq!(queue.take(ms(10), few(9), &unlimited()).expect("its moment has come").jobs, [0, 1]);
}

#[test]
fn a_full_queue_refuses_until_a_job_is_taken() {
    let mut queue = queue("aaaaaaaaaaaa");
    assert_eq!(queue.push(lane(b'b'), 'a', 99), Err(NotQueued::Full { depth: DEPTH_MAX, limit: DEPTH_MAX }));
    let (_, turn) = take(&mut queue, ms(0));
    assert_eq!(queue.push(lane(b'b'), 'a', 99), Ok(true));
    assert!(!queue.push_beyond(turn.lane.clone(), 'a', 100), "its lane is taken");
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

#[test]
fn a_held_lane_takes_no_turn_until_it_is_woken() {
    let mut queue = queue("aab");
    let (_, turn) = take(&mut queue, ms(0));
    let held = turn.lane.clone();
    queue.put_back(turn, Rest::Held);
    assert_eq!(take(&mut queue, ms(0)).0, 2);
    assert!(queue.take(ms(9_999), few(1), &unlimited()).is_none());
    assert!(queue.wake(&held));
    assert_eq!(take(&mut queue, ms(0)).0, 0);
}

#[test]
fn a_lane_that_was_woken_in_its_turn_is_not_held_after_it() {
    let mut queue = queue("a");
    let (_, turn) = take(&mut queue, ms(0));
    assert!(!queue.wake(&turn.lane), "it has a taker");
    queue.put_back(turn, Rest::Held);
    assert_eq!(take(&mut queue, ms(0)).0, 0);
}

/// A queue with one job in each of these lanes, of these kinds.
fn queue_of(lanes: &[(u8, Kind)]) -> Queue<Kind, Job> {
    let mut queue = Queue::new(DEPTH_MAX);
    for (job, (name, kind)) in (0..).zip(lanes) {
        queue.push(lane(*name), *kind, job).expect("room");
    }
    queue
}

/// Takes one job of the next lane with these limits.
fn take_of(queue: &mut Queue<Kind, Job>, limited: &Limited<impl Fn(&Kind) -> bool>) -> Option<(Job, Turn<Job>)> {
    queue.take(ms(0), few(1), limited).map(|turn| (turn.jobs[0], turn))
}

#[test]
fn a_limited_kind_lets_others_pass_and_loses_no_turn() {
    let mut queue = queue_of(&[(b'a', 'b'), (b'b', 'b'), (b'c', 'b'), (b'd', 'a')]);
    let one = limited("b", 1);
    let (first, turn) = take_of(&mut queue, &one).expect("ready");
    let (passing, _) = take_of(&mut queue, &one).expect("ready");
    assert_eq!((first, passing), (0, 3), "one `b` is taken, so the other two are passed over");
    assert!(!queue.has_turn(&one) && take_of(&mut queue, &one).is_none());
    queue.put_back(done(turn), Rest::None);
    assert_eq!(take_of(&mut queue, &one).expect("its place is free").0, 1);
    assert_eq!(take_of(&mut queue, &limited("b", 2)).expect("two may be taken now").0, 2);
}

#[test]
fn limited_kinds_take_no_more_together_than_one_of_them_alone() {
    let mut queue = queue_of(&[(b'a', 'b'), (b'b', 'c'), (b'c', 'd'), (b'd', 'a')]);
    let one = limited("bcd", 1);
    let (first, turn) = take_of(&mut queue, &one).expect("ready");
    assert_eq!((first, take_of(&mut queue, &one).expect("ready").0), (0, 3));
    assert!(!queue.has_turn(&one) && take_of(&mut queue, &one).is_none());
    queue.put_back(done(turn), Rest::None);
    assert!(queue.has_turn(&one), "a place that one kind gives up is another's");
    assert_eq!(take_of(&mut queue, &one).expect("its place is free").0, 1);
}

#[test]
fn a_limited_kind_that_always_has_work_does_not_starve_the_others() {
    let one = limited("bc", 1);
    let mut queue = queue_of(&[(b'x', 'b'), (b'y', 'b'), (b'z', 'c'), (b'a', 'a')]);
    let mut order = Vec::new();
    for _ in 0..6 {
        let (job, turn) = take_of(&mut queue, &one).expect("a lane is ready");
        // An unlimited lane goes on beside it, so that something is always ready.
        let (other, beside) = take_of(&mut queue, &one).expect("a lane is ready");
        order.extend([job, other].into_iter().filter(|job| *job != 3));
        queue.put_back(turn, Rest::None);
        queue.put_back(beside, Rest::None);
    }
    assert_eq!(order, [0, 1, 2, 0, 1, 2], "each has its turn");
}

#[test]
fn lanes_of_a_kind_that_is_limited_no_more_line_up_together() {
    let mut queue = queue_of(&[(b'a', 'b'), (b'b', 'b'), (b'c', 'c'), (b'd', 'b')]);
    let (_turn, one) = (take(&mut queue, ms(0)), limited("bc", 1));
    assert!(take_of(&mut queue, &one).is_none());
    assert!(queue.has_turn(&limited("c", 1)));
    let order: Vec<_> = std::iter::from_fn(|| Some(take_of(&mut queue, &limited("c", 1))?.0)).collect();
    assert_eq!(order, [1, 3, 2]);
}

#[test]
fn a_turn_has_fewer_jobs_while_other_lanes_wait() {
    let mut queue = queue("aaaab");
    let jobs_max = JobsMax { alone: 3, shared: 2 };
    assert_eq!(queue.take(ms(0), jobs_max, &unlimited()).expect("ready").jobs, [0, 1]);
    assert_eq!(queue.take(ms(0), jobs_max, &unlimited()).expect("ready").jobs, [4]);
    assert_eq!(self::queue("aaaa").take(ms(0), jobs_max, &unlimited()).expect("ready").jobs, [0, 1, 2]);
}

#[test]
fn lanes_of_a_blocked_kind_wait_and_others_have_their_turns() {
    let mut queue = Queue::new(DEPTH_MAX);
    for (job, (name, kind)) in (0..).zip([(b'a', 'b'), (b'b', 'a'), (b'c', 'b')]) {
        queue.push(lane(name), kind, job).expect("room");
    }
    queue.block('b');
    assert_eq!(queue.push(lane(b'd'), 'b', 3), Ok(false), "there is no turn to take");
    let (job, turn) = take(&mut queue, ms(0));
    assert_eq!(job, 1);
    assert!(queue.goes_on(), "a turn was taken");
    queue.put_back(done(turn), Rest::None);
    assert!(queue.take(ms(9_999), few(1), &unlimited()).is_none());
    assert!(!queue.goes_on() && !queue.is_empty());
    assert!(queue.unblock(&'b'));
    let order: Vec<_> = (0..3).map(|_| queue.take(ms(0), few(1), &unlimited()).expect("free").jobs[0]).collect();
    assert_eq!(order, [0, 2, 3]);
}

#[test]
fn a_job_is_inserted_before_those_that_are_later_than_it() {
    let mut queue = queue("aaab");
    assert!(!queue.insert(lane(b'a'), 'a', 99, |waiting| *waiting > 0), "its lane has a turn already");
    assert!(queue.insert(lane(b'c'), 'a', 100, |_| true), "its lane is new");
    assert!(!queue.insert(lane(b'b'), 'a', 101, |_| false));
    assert_eq!(queue.depth(), 7);
    let mut turns = [(); 3].map(|()| queue.take(ms(0), few(9), &unlimited()).expect("ready").jobs);
    assert_eq!(turns.each_mut().map(|jobs| &*jobs.make_contiguous()), [&[0, 99, 1, 2][..], &[3, 101], &[100]]);
}

#[test]
fn a_lane_that_rests_or_is_held_looks_at_a_job_that_is_its_first_now() {
    for rest in [Rest::Until(ms(10)), Rest::Held] {
        let mut queue = queue("aa");
        let (_, turn) = take(&mut queue, ms(0));
        queue.put_back(turn, rest);
        assert!(!queue.insert(lane(b'a'), 'a', 99, |waiting| *waiting > 0), "its first is the one it had");
        assert!(queue.take(ms(0), few(1), &unlimited()).is_none());
        assert!(queue.insert(lane(b'a'), 'a', 100, |_| true));
        assert_eq!(queue.next_wake(), None);
        assert_eq!(queue.take(ms(0), few(9), &unlimited()).expect("it looks").jobs, [100, 0, 99, 1]);
    }
}

#[test]
fn a_lane_is_taken_from_its_turn_to_its_return() {
    let mut queue = queue("a");
    assert!(!queue.is_taken(&lane(b'a')) && !queue.is_taken(&lane(b'b')));
    let (_, turn) = take(&mut queue, ms(0));
    assert!(queue.is_taken(&lane(b'a')));
    queue.put_back(turn, Rest::Held);
    assert!(!queue.is_taken(&lane(b'a')));
}
