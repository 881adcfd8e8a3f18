//! Reads every record of a store and checks what can be checked without the reducers.

use std::collections::HashMap;

use fjall::{Readable as _, Snapshot};
use reductor_core::{LaneKey, OperationStore as _, Scope, StoreError, StoredOperation, operation_id, state_hash};

use crate::Progress;
use crate::codec::{self, BadRecord, RetentionRecord, SnapshotRecord};
use crate::engine::{Engine, get};
use crate::error::read_error;
use crate::jobs::Place;
use crate::keys;
use crate::lanes::{Lane, corrupt};
use crate::plan::read_operation;
use crate::store::DiskStore;

/// Problems that are listed; of a store that is damaged all over, more are only counted.
const PROBLEMS_MAX: usize = 1_000;

/// Operations that are read at once where a state is not as its last operation left it.
const PAGE: u64 = 256;

/// What was found in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Branches that were checked.
    pub lanes: u64,
    /// Operations that were checked.
    pub operations: u64,
    /// Snapshots that were checked.
    pub snapshots: u64,
    /// Jobs that were checked.
    pub jobs: u64,
    /// What is wrong, the first 1,000.
    pub problems: Vec<Problem>,
    /// How much is wrong altogether.
    pub problem_count: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which record.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

impl DiskStore {
    /// Reads every record, with its checksum, and checks that all that belongs together is there
    /// and fits: sequences and indices without a gap, ids, the index of actions, hashes of
    /// snapshots, results and their operations. What only the reducers can tell is not checked:
    /// whether the operations lead to the states.
    ///
    /// It reads the store as it is when it begins, and goes on after a problem.
    pub fn verify(&self, progress: &mut dyn FnMut(Progress)) -> VerifyReport {
        let engine = &self.inner.engine;
        let total = engine.keyspaces().iter().map(|(_, keyspace)| keyspace.approximate_len() as u64).sum();
        let (view, jobs, remembered) = {
            let _settled = self.inner.settled();
            let (jobs, shared) = (self.inner.jobs(), self.inner.shared());
            (shared.view.clone(), jobs.places(), shared.remembered.clone())
        };
        let mut verify = Verify {
            store: self,
            engine,
            view,
            report: VerifyReport::default(),
            lane: None,
            live: 0,
            records: 0,
            total,
            progress,
        };
        verify.lanes();
        verify.operations();
        verify.actions();
        verify.snapshots();
        verify.jobs(jobs.into_iter());
        verify.remembered(&remembered);
        verify.report
    }
}

struct Verify<'a> {
    store: &'a DiskStore,
    engine: &'a Engine,
    view: Snapshot,
    report: VerifyReport,
    /// The lane whose records are read.
    lane: Option<(u32, LaneKey, Lane)>,
    /// Operations that the index should lead to.
    live: u64,
    records: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl Verify<'_> {
    fn step(&mut self) {
        self.records += 1;
        if self.records.is_multiple_of(4096) {
            (self.progress)(Progress { records: self.records, total: self.total });
        }
    }

    fn problem(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        self.report.problem_count += 1;
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(Problem { place: place.into(), problem: problem.into() });
        }
    }

    fn error(&mut self, error: StoreError) {
        match error {
            StoreError::Corrupt { place, problem } => self.problem(place, problem),
            other => self.problem("the store", other.to_string()),
        }
    }

    /// Says what is wrong where the engine cannot go on: it would say the same for ever.
    fn stop(&mut self, error: StoreError) {
        self.error(error);
        self.problem("what comes after that", "it was not checked");
    }

    fn lanes(&mut self) {
        let view = self.view.clone();
        for guard in view.prefix(&self.engine.lanes, b"k") {
            self.step();
            let place = || "the list of lanes".to_owned();
            let key = guard.key().map_err(|error| read_error(error, place));
            let key = key.and_then(|key| {
                keys::parse_lane(&key).ok_or_else(|| corrupt(place(), &BadRecord::fields("a key is no lane's")))
            });
            match key.map(|key| self.lane(key)) {
                Ok(Ok(())) => self.report.lanes += 1,
                Ok(Err(error)) => self.error(error),
                Err(error) => return self.stop(error),
            }
        }
        let expected = self.store.inner.shared().state.next_lane;
        if u64::from(expected) < self.report.lanes {
            self.problem("the list of lanes", format!("it has more than {expected} lanes"));
        }
    }

    fn lane(&mut self, key: LaneKey) -> Result<(), StoreError> {
        let lane = Lane::load(self.engine, &self.view, &self.store.inner.names(), &key)?;
        let lane = lane.ok_or_else(|| corrupt(key.to_string(), &BadRecord::fields("it is missing")))?;
        if self.store.inner.lane_of(&self.view, lane.number)? != key {
            self.problem(key.to_string(), "its number is another lane's");
        }
        let last = lane.revision.checked_sub(1).map(|last| keys::in_lane(lane.number, last));
        let place = || format!("the last operation of {key}");
        let found = last.map(|last| get(&self.view, &self.engine.operations, &last, place)).transpose()?;
        if found == Some(None) {
            self.problem(place(), "it is missing");
        }
        Ok(())
    }

    /// The lane of this number, if there is one.
    fn lane_numbered(&mut self, number: u32) -> Option<&(u32, LaneKey, Lane)> {
        if self.lane.as_ref().is_none_or(|(known, ..)| *known != number) {
            self.lane = None;
            let key = self.store.inner.lane_of(&self.view, number);
            let lane = key.and_then(|key| {
                let lane = Lane::load(self.engine, &self.view, &self.store.inner.names(), &key)?;
                Ok(lane.map(|lane| (number, key, lane)))
            });
            // What is wrong with a lane was said before.
            self.lane = lane.ok().flatten().filter(|(_, _, lane)| lane.number == number);
        }
        self.lane.as_ref()
    }

    fn operations(&mut self) {
        let mut stream = Stream::default();
        let view = self.view.clone();
        for guard in view.iter(&self.engine.operations) {
            self.step();
            let place = format!("an operation after {} of lane {}", stream.next_sequence, stream.lane.unwrap_or(0));
            let read = guard.into_inner().map_err(|error| read_error(error, || place.clone()));
            match read {
                Ok((key, value)) => self.operation(&mut stream, &key, &value),
                Err(error) => return self.stop(error),
            }
        }
        self.finish_stream(&stream);
    }

    fn operation(&mut self, stream: &mut Stream, key: &[u8], value: &[u8]) {
        let Some((lane, sequence)) = keys::split(key) else {
            return self.problem("an operation", "its key is none");
        };
        if stream.lane != Some(lane) {
            self.finish_stream(stream);
            *stream = Stream { lane: Some(lane), ..Stream::default() };
        }
        let Some((_, key, _)) = self.lane_numbered(lane) else {
            return self.problem(format!("operation {sequence} of lane {lane}"), "there is no such lane");
        };
        let (key, place) = (key.clone(), format!("operation {sequence} of {key}"));
        if sequence != stream.next_sequence {
            self.problem(place.clone(), format!("operation {} is missing before it", stream.next_sequence));
        }
        stream.next_sequence = sequence + 1;
        let read = read_operation(value, sequence, &self.store.inner.names());
        match read {
            Err(bad) => self.problem(place, bad.to_string()),
            Ok(stored) => {
                self.report.operations += 1;
                if let Err(problem) = self.check_operation(stream, &key, &stored) {
                    self.problem(place, problem);
                }
            }
        }
    }

    fn check_operation(&mut self, stream: &mut Stream, key: &LaneKey, stored: &StoredOperation) -> Result<(), String> {
        let operation = &stored.operation;
        let action = &operation.action;
        let next = stream.next_index.entry(action.scope.to_string()).or_insert(0);
        let expected = std::mem::replace(next, operation.index + 1);
        if operation.index != expected {
            return Err(format!("its index is {}, not {expected}", operation.index));
        }
        if operation.id != operation_id(key, &action.scope, &action.id) {
            return Err("its id does not derive from its action".to_owned());
        }
        // The view may be older than the store: the index may have moved on, but never back.
        match self.store.operation_of(key, &action.scope, &action.id) {
            Err(error) => return Err(error.to_string()),
            Ok(None) => return Err("its action is not in the index".to_owned()),
            Ok(Some(found)) if found.sequence < stored.sequence => {
                return Err(format!("the index has operation {} for its action", found.sequence));
            }
            Ok(Some(found)) => self.live += u64::from(found.sequence == stored.sequence),
        }
        Ok(())
    }

    fn finish_stream(&mut self, stream: &Stream) {
        let Some(number) = stream.lane else { return };
        let Some((_, key, lane)) = self.lane_numbered(number) else { return };
        let mut problems = Vec::new();
        if lane.revision != stream.next_sequence {
            problems.push(format!("it stands at {} and has {} operations", lane.revision, stream.next_sequence));
        }
        for line in &lane.scopes {
            let found = stream.next_index.get(line.scope.as_str()).copied().unwrap_or(0);
            if line.next_index != found {
                problems.push(format!("scope {} stands at {} and has {found}", line.scope, line.next_index));
            }
        }
        let place = key.to_string();
        problems.into_iter().for_each(|problem| self.problem(place.clone(), problem));
    }

    fn actions(&mut self) {
        let mut count = 0;
        let view = self.view.clone();
        for guard in view.iter(&self.engine.actions) {
            self.step();
            match guard.into_inner().map_err(|error| read_error(error, || "the index of actions".to_owned())) {
                Ok((_, value)) => {
                    count += 1;
                    let sequence = codec::open(&value).and_then(|fields| codec::decode::<u64>(&fields));
                    if let Err(bad) = sequence {
                        self.problem("the index of actions", bad.to_string());
                    }
                }
                Err(error) => return self.stop(error),
            }
        }
        if count < self.live {
            self.problem("the index of actions", format!("it has {count} actions, and {} operations count", self.live));
        }
    }

    fn snapshots(&mut self) {
        let view = self.view.clone();
        for guard in view.iter(&self.engine.snapshots) {
            self.step();
            let read = guard.into_inner().map_err(|error| read_error(error, || "a snapshot".to_owned()));
            match read {
                Ok((key, value)) => self.snapshot(&key, &value),
                Err(error) => return self.stop(error),
            }
        }
    }

    fn snapshot(&mut self, key: &[u8], value: &[u8]) {
        self.report.snapshots += 1;
        let Some((number, revision)) = keys::split(key) else { return self.problem("a snapshot", "its key is none") };
        let Some((_, key, lane)) = self.lane_numbered(number) else {
            return self.problem(format!("a snapshot of lane {number}"), "there is no such lane");
        };
        let (key, newest) = (key.clone(), lane.revision);
        let place = format!("the snapshot of {key} at {revision}");
        if revision > newest {
            return self.problem(place, format!("the lane stands at {newest}"));
        }
        let head =
            codec::open(value).and_then(|fields| Ok(codec::decode::<SnapshotRecord<'_>>(&fields)?.restore(revision)));
        match head {
            Err(bad) => self.problem(place, bad.to_string()),
            Ok(head) => {
                let differs = |scope: &&reductor_core::ScopeHead| {
                    state_hash(&scope.state.json) != scope.hash
                        && !self.is_written_anew(&key, &scope.state.scope, revision)
                };
                if let Some(scope) = head.scopes.iter().find(differs) {
                    self.problem(place, format!("the state of scope {} has another hash", scope.state.scope));
                }
            }
        }
    }

    fn remembered(&mut self, remembered: &RetentionRecord) {
        let (outcomes, budgets) = (&self.engine.outcomes, &self.engine.budgets);
        let (first_outcomes, first_budgets) = (remembered.first_generation(), remembered.first_budgets());
        self.records(outcomes, first_outcomes, "the outcomes of jobs", |tag, fields| match tag {
            Some(b'o') => codec::decode::<u8>(fields).map(drop),
            _ => codec::decode::<codec::Id<'_>>(fields).map(drop),
        });
        self.records(budgets, first_budgets, "the budgets of roots", |_, fields| {
            codec::decode::<u32>(fields).map(drop)
        });
    }

    /// Reads all records of the generations from `first` on.
    fn records(
        &mut self,
        keyspace: &fjall::Keyspace,
        first: u32,
        what: &str,
        read: impl Fn(Option<u8>, &[u8]) -> Result<(), BadRecord>,
    ) {
        let view = self.view.clone();
        for guard in view.range(keyspace, first.to_be_bytes()..) {
            self.step();
            match guard.into_inner().map_err(|error| read_error(error, || what.to_owned())) {
                Ok((key, value)) => {
                    let tag = key.get(4).copied();
                    if let Err(bad) = codec::open(&value).and_then(|fields| read(tag, &fields)) {
                        self.problem(what, bad.to_string());
                    }
                }
                Err(error) => return self.stop(error),
            }
        }
    }

    /// Whether another revision of the plugin has made an operation since the last one of a scope,
    /// up to a revision of the lane: it may write the states of all scopes in another way. What
    /// cannot be read is said elsewhere.
    fn is_written_anew(&self, lane: &LaneKey, scope: &Scope, revision: u64) -> bool {
        let mut newest = None;
        let mut end = revision;
        while end > 0 {
            let from = end.saturating_sub(PAGE);
            let Ok(operations) = self.store.operations(lane, from, PAGE as usize) else { return false };
            for stored in operations.iter().rev().filter(|stored| stored.sequence < end) {
                if *newest.get_or_insert(stored.plugin.clone()) != stored.plugin {
                    return true;
                }
                if stored.operation.action.scope == *scope {
                    return false;
                }
            }
            end = from;
        }
        false
    }

    fn jobs(&mut self, places: impl Iterator<Item = Place>) {
        for place in places {
            self.step();
            self.report.jobs += 1;
            let read = self.store.inner.known_job(&self.view, place);
            if let Err(error) = read {
                self.error(error);
            }
        }
    }
}

/// The operations of a lane so far.
#[derive(Default)]
struct Stream {
    lane: Option<u32>,
    next_sequence: u64,
    next_index: HashMap<String, u64>,
}
