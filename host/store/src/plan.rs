//! What a batch of entries changes: checked against where everything stands, and spelled as one
//! batch of the engine.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fjall::{OwnedWriteBatch, Snapshot};
use foldhash::fast::RandomState;
use reductor_core::{
    ActionId, Append, DuplicateCheck, EndedJob, Entry, Head, JobId, JobOutcome, JournaledJob, LaneKey, Operation,
    Pausing, Scope, StoreError, StoredOperation, taken_back,
};

use crate::codec::{
    self, CompletedRecord, FailedRecord, JournaledMore, LaneName, LaneRecord, LaneText, NameRecord, OperationRecord,
    PendingRecord, RetentionRecord, ScopeLast, ScopeRecord, SnapshotRecord, StateRecord,
};
use crate::engine::{Engine, STATE_KEY, get};
use crate::forget::Forgetting;
use crate::jobs::{Change, CompletedJob, DocumentTag, FailedJob, Handles, JobIndex, Place};
use crate::keys::{self, ActionKey};
use crate::lanes::{Lane, LaneCache, ScopeLine, corrupt};
use crate::names::{FreshName, NameWriter, Names};
use crate::options::StoreOptions;
use crate::outcomes::Remembering;
use crate::size;
use crate::snapshots::Kept;

type Map<K, V> = HashMap<K, V, RandomState>;

/// Actions of different names with equal hashes that are told apart. There is no such pair.
const COLLISIONS_MAX: usize = 16;

/// What a plan is made against.
pub(crate) struct Ground<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) view: &'a Snapshot,
    pub(crate) names: &'a std::sync::RwLock<Names>,
    pub(crate) lanes: &'a LaneCache,
    pub(crate) jobs: &'a JobIndex,
    pub(crate) remembered: &'a RetentionRecord,
    pub(crate) options: &'a StoreOptions,
}

/// A batch in the making.
pub(crate) struct Plan<'a> {
    ground: Ground<'a>,
    name_writer: &'a mut NameWriter,
    state: StateRecord,
    batch: OwnedWriteBatch,
    scratch: Vec<u8>,
    lanes: Map<&'a LaneKey, LanePlan<'a>>,
    actions: Map<ActionKey, u64>,
    /// By number; `None` for those that are not unfinished any more.
    pending: BTreeMap<u64, Option<Cow<'a, JournaledJob>>>,
    /// By number; `None` for those that are no dead letters any more.
    failed: BTreeMap<u64, Option<Vec<u8>>>,
    /// By lane and revision; `None` for those that go.
    snapshots: BTreeMap<(u32, u64), Option<Vec<u8>>>,
    changes: Vec<Change>,
    /// Jobs that ended in this batch.
    ended: usize,
    remembering: Option<Remembering>,
}

/// How far the number of known jobs may exceed the retention before a batch forgets some: most
/// batches then need not.
const JOBS_OVER_MAX: usize = 4_096;

/// Jobs that a batch forgets at most, beyond as many as ended in it.
const FORGOTTEN_MORE: usize = 1_024;

/// An append that fits.
struct Checked {
    /// The number of its lane.
    lane: u32,
    /// The places of its actions in the index.
    actions: Map<ActionKey, u64>,
}

/// A lane that the batch writes to.
#[derive(Default)]
struct LanePlan<'a> {
    /// As it was, if it was.
    before: Option<Arc<Lane>>,
    lane: Option<Lane>,
    /// Its new operations.
    fresh: Vec<&'a StoredOperation>,
    /// Its record is to be written.
    renew: bool,
}

/// What a batch leads to, once it is written.
pub(crate) struct Planned {
    pub(crate) batch: OwnedWriteBatch,
    pub(crate) state: StateRecord,
    pub(crate) lanes: Vec<(LaneKey, Option<Arc<Lane>>)>,
    pub(crate) changes: Vec<Change>,
    pub(crate) names: Vec<FreshName>,
    /// What is remembered of jobs, if that has changed.
    pub(crate) remembered: Option<Arc<RetentionRecord>>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(ground: Ground<'a>, name_writer: &'a mut NameWriter, state: StateRecord, entries: usize) -> Self {
        let batch = OwnedWriteBatch::with_capacity(ground.engine.database.clone(), 4 * entries + 2);
        Self {
            ground,
            name_writer,
            state,
            batch,
            scratch: Vec::with_capacity(512),
            lanes: Map::default(),
            actions: Map::default(),
            pending: BTreeMap::new(),
            failed: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            changes: Vec::with_capacity(entries),
            ended: 0,
            remembering: None,
        }
    }

    /// Takes an entry, or refuses it and changes nothing.
    pub(crate) fn add(&mut self, entry: &'a Entry) -> Result<(), StoreError> {
        match entry {
            Entry::Append(append) => {
                let checked = self.check(append)?;
                self.append(append, checked);
                Ok(())
            }
            Entry::Accepted(journaled) => {
                self.check_size(journaled)?;
                self.accept(Cow::Borrowed(journaled));
                Ok(())
            }
            Entry::Retried(journaled) => {
                self.check_size(journaled)?;
                self.bury(journaled.order);
                self.accept(Cow::Borrowed(journaled));
                Ok(())
            }
            Entry::AttemptFailed { job_id: _, order, attempt, not_before } => {
                let (attempt, not_before) = (attempt.clone(), Some(*not_before));
                self.change(*order, |journaled| journaled.attempt_failed(attempt, not_before))
            }
            Entry::DependencyFailed { job_id: _, order, failed } => {
                let failed = failed.clone();
                self.change(*order, |journaled| journaled.dependency_failed(failed))
            }
            Entry::Ended(ended) => self.end(ended),
            Entry::Snapshot { lane, head } => self.snapshot(lane, head),
            Entry::Pausing(pausing) => {
                self.state.paused = *pausing == Pausing::Paused;
                Ok(())
            }
            Entry::Discarded(job_id) => {
                self.discard(job_id);
                Ok(())
            }
        }
    }

    // Operations.

    /// Checks that an append fits, and changes nothing.
    fn check(&mut self, append: &'a Append) -> Result<Checked, StoreError> {
        self.load(&append.lane)?;
        let plan = &self.lanes[&append.lane];
        let revision = plan.lane.as_ref().map_or(0, |lane| lane.revision);
        if append.expected_revision != revision {
            let (lane, expected) = (append.lane.clone(), append.expected_revision);
            return Err(StoreError::RevisionConflict { lane, expected, found: revision });
        }
        let lane = plan.lane.as_ref().map_or(self.state.next_lane, |lane| lane.number);
        let actions = self.check_operations(append, plan, lane)?;
        Ok(Checked { lane, actions })
    }

    fn append(&mut self, append: &'a Append, checked: Checked) {
        self.actions.extend(checked.actions);
        self.write(append, checked.lane);
    }

    /// Checks that the operations go on from where their lane stands. Returns the places of
    /// their actions.
    fn check_operations(
        &self,
        append: &'a Append,
        plan: &LanePlan<'a>,
        number: u32,
    ) -> Result<Map<ActionKey, u64>, StoreError> {
        let Append { lane, operations, head, .. } = append;
        let misfit = |operation: &str, problem| StoreError::Misfit {
            lane: lane.clone(),
            operation: operation.to_owned(),
            problem,
        };
        let revision = append.expected_revision;
        if head.revision != revision + operations.len() as u64 {
            return Err(misfit("none", "it does not lead to the revision that it says"));
        }
        if lane.document.as_str().len() + lane.branch.as_str().len() > keys::LANE_KEY_BYTES_MAX / 2 {
            return Err(misfit("none", "the names of the document and its branch are too long"));
        }
        let scopes = plan.lane.as_ref().map_or(&[][..], |lane| &lane.scopes);
        let mut next_index: Vec<_> = scopes.iter().map(|line| (&line.scope, line.next_index)).collect();
        let mut actions = Map::default();
        for (position, (stored, sequence)) in operations.iter().zip(revision..).enumerate() {
            let action = &stored.operation.action;
            let misfit = |problem| misfit(&stored.operation.id.to_string(), problem);
            let at = next_index.iter().position(|(scope, _)| **scope == action.scope).unwrap_or_else(|| {
                next_index.push((&action.scope, 0));
                next_index.len() - 1
            });
            if stored.sequence != sequence {
                return Err(misfit("its sequence is not the next"));
            }
            if stored.operation.index != next_index[at].1 {
                return Err(misfit("its index is not the next of its scope"));
            }
            next_index[at].1 += 1;
            self.check_bytes(
                || format!("operation {sequence} of {lane}"),
                size::operation_bytes_max(&stored.operation),
                || codec::encoded_bytes(&OperationRecord::of_bare(&stored.operation, &mut NameWriter::default())),
            )?;
            let new = &operations[..=position];
            let (key, earlier) =
                self.find(lane, plan, number, &action.scope, &action.id, new, &actions, append.duplicate_check)?;
            if let Some(earlier) = earlier
                && !self.is_taken_back(lane, plan, number, earlier, new)?
            {
                return Err(misfit("its action is in the log already"));
            }
            actions.insert(key, sequence);
        }
        Ok(actions)
    }

    /// Where an action's place in the index is, and the operation that is there.
    #[expect(clippy::too_many_arguments, reason = "three layers are searched, and none has the others' shape")]
    fn find(
        &self,
        lane: &LaneKey,
        plan: &LanePlan<'a>,
        number: u32,
        scope: &Scope,
        action: &ActionId,
        new: &'a [StoredOperation],
        actions: &Map<ActionKey, u64>,
        check: DuplicateCheck,
    ) -> Result<(ActionKey, Option<u64>), StoreError> {
        let mut key = ActionKey::new(number, scope, action);
        for _ in 0..COLLISIONS_MAX {
            let sequence = match actions.get(&key).or_else(|| self.actions.get(&key)) {
                Some(sequence) => Some(*sequence),
                // The writer has looked it up. What it cannot see is another action with an equal hash,
                // of which there is none by chance in 96 bits.
                None if plan.before.is_none() || check == DuplicateCheck::ByWriter => None,
                None => stored_sequence(self.ground.engine, self.ground.view, key, lane)?,
            };
            let Some(sequence) = sequence else { return Ok((key, None)) };
            let same = |found: &StoredOperation| {
                let found = &found.operation.action;
                found.scope == *scope && found.id == *action
            };
            if self.operation(lane, plan, number, sequence, new)?.is_some_and(|found| same(&found)) {
                return Ok((key, Some(sequence)));
            }
            key = key.next();
        }
        let problem = "it collides with too many others".to_owned();
        Err(StoreError::Corrupt { place: format!("action {action} of {lane}"), problem })
    }

    /// An operation, old or new.
    fn operation(
        &self,
        lane: &LaneKey,
        plan: &LanePlan<'a>,
        number: u32,
        sequence: u64,
        new: &'a [StoredOperation],
    ) -> Result<Option<Cow<'a, StoredOperation>>, StoreError> {
        let at = |first: &StoredOperation| sequence.checked_sub(first.sequence).map(|at| at as usize);
        if let Some(found) = new.first().and_then(at).and_then(|at| new.get(at)) {
            return Ok(Some(Cow::Borrowed(found)));
        }
        if let Some(found) = plan.fresh.first().and_then(|first| at(first)).and_then(|at| plan.fresh.get(at)) {
            return Ok(Some(Cow::Borrowed(found)));
        }
        let found = stored_operation(self.ground.engine, self.ground.view, self.ground.names, lane, number, sequence)?;
        Ok(found.map(Cow::Owned))
    }

    /// Whether the operation at `earlier` is taken back by those after it, of which `new` are
    /// the last.
    fn is_taken_back(
        &self,
        lane: &LaneKey,
        plan: &LanePlan<'a>,
        number: u32,
        earlier: u64,
        new: &'a [StoredOperation],
    ) -> Result<bool, StoreError> {
        let end = new.last().map_or(earlier, |last| last.sequence);
        let mut later = Vec::new();
        let mut first = None;
        for sequence in earlier..=end {
            let Some(found) = self.operation(lane, plan, number, sequence, new)? else {
                let place = format!("operation {sequence} of {lane}");
                return Err(StoreError::Corrupt { place, problem: "it is missing".to_owned() });
            };
            let operation = &found.operation;
            let (scope, _) = first.get_or_insert_with(|| (operation.action.scope.clone(), operation.index));
            if sequence > earlier && operation.action.scope == *scope {
                later.push((operation.index, operation.skip));
            }
        }
        let index = first.map_or(0, |(_, index)| index);
        Ok(taken_back(index, later.into_iter().rev()))
    }

    /// Writes operations that were checked.
    fn write(&mut self, append: &'a Append, number: u32) {
        let plan = self.lanes.get_mut(&append.lane).expect("a lane is loaded before it is written");
        let is_new = plan.lane.is_none();
        let revision = append.expected_revision;
        let mut lane = plan.lane.take().unwrap_or_else(|| {
            let document_type = append.head.document_type.clone();
            Lane { number, document_type, revision: 0, scopes: Vec::new(), snapshots: Default::default() }
        });
        for stored in &append.operations {
            let others = lane.others(&stored.operation.action.scope);
            let record = OperationRecord::of(stored, others, self.name_writer);
            codec::encode_compressed(&record, &mut self.scratch);
            let key = keys::in_lane(number, stored.sequence);
            self.batch.insert(&self.ground.engine.operations, &key[..], &self.scratch[..]);
            lane.follow(&stored.operation, stored.sequence);
        }
        if is_new || !lane.stands_at(&append.head) {
            // What the operations do not say, the lane's record does from here on.
            lane = Lane::at(number, &append.head, lane.snapshots);
            plan.renew = true;
        }
        plan.fresh.extend(&append.operations);
        plan.lane = Some(lane);
        if is_new {
            self.state.next_lane += 1;
        }
        let every = self.ground.options.snapshot_every;
        if every > 0 && revision / every != append.head.revision / every {
            self.keep(&append.lane, &append.head);
        }
    }

    fn load(&mut self, key: &'a LaneKey) -> Result<(), StoreError> {
        if self.lanes.contains_key(key) {
            return Ok(());
        }
        let Ground { engine, view, names, lanes, .. } = &self.ground;
        let before = match lanes.get(key) {
            Ok(known) => known,
            Err(_) => {
                let names = names.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                let loaded = Lane::load(engine, view, &names, key)?.map(Arc::new);
                // It is in the cache before it is written, so that no reader puts in what it was.
                lanes.put([(key.clone(), loaded.clone())]);
                loaded
            }
        };
        let lane = before.as_deref().cloned();
        self.lanes.insert(key, LanePlan { before, lane, ..LanePlan::default() });
        Ok(())
    }

    // Snapshots.

    fn snapshot(&mut self, lane: &'a LaneKey, head: &Head) -> Result<(), StoreError> {
        self.load(lane)?;
        let found = self.lanes[lane].lane.as_ref();
        let revision = found.map_or(0, |lane| lane.revision);
        if head.revision > revision || (head.revision == revision && !found.is_some_and(|lane| lane.stands_at(head))) {
            let (lane, expected) = (lane.clone(), head.revision);
            return Err(StoreError::RevisionConflict { lane, expected, found: revision });
        }
        self.keep(lane, head);
        Ok(())
    }

    fn keep(&mut self, lane: &LaneKey, head: &Head) {
        let plan = self.lanes.get_mut(lane).expect("a lane is loaded before its states are kept");
        let Some(lane) = &mut plan.lane else { return };
        // The operations lead to the same states: without this snapshot, loading takes longer.
        let bytes: usize = head.scopes.iter().map(|scope| scope.state.json.len()).sum();
        if bytes > self.ground.options.record_bytes_max / 2 {
            tracing::warn!(bytes, revision = head.revision, "a snapshot is too large to be kept");
            return;
        }
        let Kept::New { drops } = lane.snapshots.add(head.revision) else { return };
        codec::encode_compressed(&SnapshotRecord::of(head), &mut self.scratch);
        self.snapshots.insert((lane.number, head.revision), Some(self.scratch.clone()));
        if let Some(dropped) = drops {
            self.snapshots.insert((lane.number, dropped), None);
        }
    }

    // The journal.

    fn handles(&self, journaled: &JournaledJob) -> Handles {
        let accepted = &journaled.accepted;
        self.ground.jobs.handles(&accepted.job.id, accepted.idempotency_key.as_ref())
    }

    /// Refuses a job whose record could not be read again.
    fn check_size(&self, journaled: &JournaledJob) -> Result<(), StoreError> {
        let what = || format!("the record of job {}", journaled.accepted.job.id);
        self.check_bytes(what, size::job_bytes_max(journaled), || {
            let mut names = NameWriter::default();
            let more = JournaledMore::of(journaled).as_ref().map_or(0, codec::encoded_bytes);
            codec::encoded_bytes(&PendingRecord::of(journaled, &mut names)) + more + size::names_bytes_max(journaled)
        })
    }

    /// Refuses what is larger than a record may be. `most` is quickly told, `exact` is not and is
    /// asked for only if that is not enough.
    fn check_bytes(
        &self,
        what: impl FnOnce() -> String,
        most: usize,
        exact: impl FnOnce() -> usize,
    ) -> Result<(), StoreError> {
        let bytes_max = self.ground.options.record_bytes_max.min(codec::RECORD_BYTES_MAX);
        if most <= bytes_max {
            return Ok(());
        }
        let bytes = exact();
        if bytes <= bytes_max {
            return Ok(());
        }
        Err(StoreError::TooLarge { what: what(), bytes: bytes as u64, bytes_max: bytes_max as u64 })
    }

    /// Changes a job that has not ended; another is left alone.
    fn change(&mut self, order: u64, change: impl FnOnce(&mut JournaledJob)) -> Result<(), StoreError> {
        let Some(before) = self.unfinished(order)? else { return Ok(()) };
        let mut after = before.clone();
        change(after.to_mut());
        let checked = self.check_size(&after);
        self.pending.insert(order, Some(if checked.is_ok() { after } else { before }));
        checked
    }

    fn accept(&mut self, journaled: Cow<'a, JournaledJob>) {
        self.state.last_order = self.state.last_order.max(journaled.order);
        self.pending.insert(journaled.order, Some(journaled));
    }

    /// The job with this number, if it has not ended.
    fn unfinished(&mut self, order: u64) -> Result<Option<Cow<'a, JournaledJob>>, StoreError> {
        if let Some(pending) = self.pending.get_mut(&order) {
            return Ok(pending.take());
        }
        let Ground { engine, view, names, jobs, .. } = &self.ground;
        if !jobs.is_unfinished(order) {
            return Ok(None);
        }
        pending_job(engine, view, names, order).map(|journaled| journaled.map(Cow::Owned))
    }

    fn end(&mut self, ended: &'a EndedJob) -> Result<(), StoreError> {
        ended.dispatched.iter().try_for_each(|dispatched| self.check_size(dispatched))?;
        let lane = ended.append.as_ref().map(|append| &append.lane);
        let checked = ended.append.as_ref().map(|append| self.check(append)).transpose()?;
        let number = checked.as_ref().map(|checked| checked.lane);
        let (order, handles) = (ended.journaled.order, self.handles(&ended.journaled));
        let (end, completed_at_ms) = (self.state.next_end, ended.result.completed_at.ms);
        if ended.result.success {
            let same_lane = |lane: &LaneKey| {
                let job = &ended.result.job;
                lane.document == job.document_id && lane.branch == job.branch
            };
            let job = &ended.result.job;
            let name = match (number, lane) {
                (Some(number), Some(lane)) if same_lane(lane) => LaneName::Known(number),
                _ => self.lane_name(job.document_id.as_str(), job.branch.as_str(), &job.lane())?,
            };
            let sequences = self.sequences(ended, name)?;
            let record = CompletedRecord::of(ended, name, &sequences, self.name_writer);
            let bytes = codec::encode_compressed(&record, &mut self.scratch);
            self.check_end(ended, bytes)?;
            self.batch.insert(&self.ground.engine.completed, &end.to_be_bytes()[..], &self.scratch[..]);
            let document = match name {
                LaneName::Known(number) => DocumentTag::of_lane(number),
                LaneName::Text { .. } => self.ground.jobs.document(&job.document_id),
            };
            self.changes.push(Change::Completed(CompletedJob { end, order, completed_at_ms, handles, document }));
            self.bury(order);
        } else {
            let record = FailedRecord::of(ended, end, self.name_writer);
            let more = JournaledMore::of(&ended.journaled);
            let bytes = codec::encode_with_more(&record, more.as_ref(), &mut self.scratch);
            self.check_end(ended, bytes)?;
            self.failed.insert(order, Some(self.scratch.clone()));
            let document = self.ground.jobs.document(&ended.journaled.accepted.job.document_id);
            self.changes.push(Change::Failed(order, FailedJob { end, completed_at_ms, handles, document }));
        }
        if let (Some(append), Some(checked)) = (&ended.append, checked) {
            self.append(append, checked);
        }
        if let Some(left) = ended.budget_left {
            let root = self.ground.jobs.handles(&ended.journaled.lineage.root, None).id();
            self.remembering().spend(root, left);
        }
        self.ended += 1;
        self.state.next_end += 1;
        self.state.last_order = self.state.last_order.max(order);
        self.pending.insert(order, None);
        for dispatched in &ended.dispatched {
            self.accept(Cow::Borrowed(dispatched));
        }
        Ok(())
    }

    fn check_end(&self, ended: &EndedJob, bytes: usize) -> Result<(), StoreError> {
        let what = || format!("the record of job {}, which ended,", ended.journaled.accepted.job.id);
        self.check_bytes(what, bytes, || bytes)
    }

    fn remembering(&mut self) -> &mut Remembering {
        self.remembering.get_or_insert_with(|| Remembering::new(self.ground.remembered))
    }

    fn lane_name(&self, document: &'a str, branch: &'a str, lane: &LaneKey) -> Result<LaneName<'a>, StoreError> {
        let planned = self.lanes.get(lane).map(|plan| plan.lane.as_ref().map(|lane| lane.number));
        let number = match planned {
            Some(number) => number,
            None => match self.ground.lanes.get(lane) {
                Ok(known) => known.map(|lane| lane.number),
                Err(_) => {
                    let Ground { engine, view, names, .. } = &self.ground;
                    let names = names.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                    Lane::load(engine, view, &names, lane)?.map(|lane| lane.number)
                }
            },
        };
        Ok(number.map_or(LaneName::Text { document, branch }, LaneName::Known))
    }

    /// Where in the log the operations of a result are, those that are there exactly.
    fn sequences(&self, ended: &'a EndedJob, lane: LaneName<'_>) -> Result<Vec<Option<u64>>, StoreError> {
        let LaneName::Known(number) = lane else { return Ok(vec![None; ended.result.operations.len()]) };
        let mut new = ended.append.as_ref().map_or(&[][..], |append| &append.operations).iter();
        let mut expected = new.next();
        let mut sequences = Vec::with_capacity(ended.result.operations.len());
        for operation in &ended.result.operations {
            match expected {
                Some(stored) if stored.operation == *operation => {
                    sequences.push(Some(stored.sequence));
                    expected = new.next();
                }
                _ => sequences.push(self.sequence_of(&ended.result.job.lane(), number, operation)?),
            }
        }
        Ok(sequences)
    }

    fn sequence_of(&self, lane: &LaneKey, number: u32, operation: &Operation) -> Result<Option<u64>, StoreError> {
        let action = &operation.action;
        let none = LanePlan::default();
        let before = || LanePlan { before: self.ground.lanes.get(lane).ok().flatten(), ..LanePlan::default() };
        let unplanned;
        let plan = match self.lanes.get(lane) {
            Some(plan) => plan,
            None => {
                unplanned = before();
                if unplanned.before.is_some() { &unplanned } else { &none }
            }
        };
        let (_, found) =
            self.find(lane, plan, number, &action.scope, &action.id, &[], &Map::default(), DuplicateCheck::ByStore)?;
        let Some(sequence) = found else { return Ok(None) };
        let stored = self.operation(lane, plan, number, sequence, &[])?;
        Ok(stored.filter(|stored| stored.operation == *operation).map(|stored| stored.sequence))
    }

    /// Takes a dead letter away, if the job was one.
    fn bury(&mut self, order: u64) {
        let planned = matches!(self.failed.get(&order), Some(Some(_)));
        if planned || self.ground.jobs.failed(order).is_some() {
            self.failed.insert(order, None);
            self.changes.push(Change::Forgotten(Place::Failed(order)));
        }
    }

    fn discard(&mut self, job_id: &JobId) {
        let wanted = self.ground.jobs.handles(job_id, None);
        let planned = self.changes.iter().rev().find_map(|change| match change {
            Change::Failed(order, job) if job.handles.same_job(&wanted) => Some((*order, *job)),
            _ => None,
        });
        let stored = || match self.ground.jobs.place(wanted.id()) {
            Some(Place::Failed(order)) => self.ground.jobs.failed(order).map(|job| (order, *job)),
            _ => None,
        };
        let unfinished = |(order, _): &(u64, FailedJob)| matches!(self.pending.get(order), Some(Some(_)));
        let gone = |(order, _): &(u64, FailedJob)| matches!(self.failed.get(order), Some(None));
        if let Some((order, job)) = planned.or_else(stored).filter(|job| !unfinished(job) && !gone(job)) {
            self.bury(order);
            let (retention, id) = (&self.ground.options.retention, job_id.as_str());
            let remembering = self.remembering();
            remembering.remember(retention, job.handles, Some(id), JobOutcome::Failed, job.completed_at_ms);
        }
    }

    // The end.

    /// The whole batch, to be written.
    pub(crate) fn finish(mut self) -> Planned {
        self.finish_lanes();
        self.finish_journal();
        self.forget_surplus();
        let Self { ground, name_writer, mut state, mut batch, mut scratch, lanes, changes, remembering, .. } = self;
        let engine = ground.engine;
        let remembered = remembering.and_then(|remembering| remembering.finish(engine, &mut batch));
        let names = name_writer.take_fresh();
        for name in &names {
            let key = match name {
                FreshName::Text(number, _) => keys::tagged(b't', *number),
                FreshName::Plugin(number, _) => keys::tagged(b'p', *number),
            };
            codec::encode(&NameRecord::of(name), &mut scratch);
            batch.insert(&engine.meta, &key[..], &scratch[..]);
        }
        state.commits += 1;
        codec::encode(&state, &mut scratch);
        batch.insert(&engine.meta, STATE_KEY, &scratch[..]);
        let lanes =
            lanes.into_iter().filter(|(_, plan)| !plan.fresh.is_empty() || plan.renew || plan.snapshots_changed());
        let lanes = lanes.map(|(key, plan)| (key.clone(), plan.lane.map(Arc::new))).collect();
        Planned { batch, state, lanes, changes, names, remembered }
    }

    /// Forgets jobs that are more than are to be kept. It is done with every batch, by number alone,
    /// so that the index in memory stays small however long nobody prunes, and no batch is long for
    /// it.
    fn forget_surplus(&mut self) {
        let Ground { engine, view, jobs, remembered, options, .. } = &self.ground;
        let (_, failed, completed) = jobs.counts();
        let over = |known: usize, kept: usize| known > kept.saturating_add(JOBS_OVER_MAX);
        let retention = &options.retention;
        if !over(completed, retention.completed_max) && !over(failed, retention.failed_max) {
            return;
        }
        let mut surplus = jobs.surplus(retention, None, self.ended + FORGOTTEN_MORE);
        // What this batch does to a dead letter counts more.
        surplus.failed.retain(|(order, _)| !self.failed.contains_key(order) && !self.pending.contains_key(order));
        if jobs.unlisted_before().is_some() {
            // Older ones, which the index does not have, go first, when the store is pruned.
            surplus.completed.clear();
        }
        let remembering = self.remembering.get_or_insert_with(|| Remembering::new(remembered));
        let (batch, state, changes) = (&mut self.batch, &mut self.state, &mut self.changes);
        Forgetting { engine, view, retention, remembering, batch, state, changes }.surplus(&surplus);
    }

    fn finish_lanes(&mut self) {
        let engine = self.ground.engine;
        for (key, plan) in &self.lanes {
            let Some(lane) = plan.lane.as_ref().filter(|_| plan.renew) else { continue };
            // The record says where the lane stands now, or where it stood when it last did not
            // follow from its operations: the scopes that have gone on since say so themselves.
            codec::encode_compressed(&lane_record(lane), &mut self.scratch);
            self.batch.insert(&engine.lanes, keys::lane(key), &self.scratch[..]);
            if plan.before.is_none() {
                let name = LaneText { document: key.document.as_str(), branch: key.branch.as_str() };
                codec::encode(&name, &mut self.scratch);
                self.batch.insert(&engine.lanes, &keys::lane_number(lane.number)[..], &self.scratch[..]);
            }
        }
        for (key, sequence) in &self.actions {
            codec::encode(sequence, &mut self.scratch);
            self.batch.insert(&engine.actions, &key.0[..], &self.scratch[..]);
        }
        for ((lane, revision), snapshot) in &self.snapshots {
            let key = keys::in_lane(*lane, *revision);
            match snapshot {
                Some(snapshot) => self.batch.insert(&engine.snapshots, &key[..], &snapshot[..]),
                None => self.batch.remove(&engine.snapshots, &key[..]),
            }
        }
    }

    fn finish_journal(&mut self) {
        let Ground { engine, jobs, .. } = self.ground;
        for (order, job) in std::mem::take(&mut self.pending) {
            let key = order.to_be_bytes();
            match job {
                Some(journaled) => {
                    let handles = self.handles(&journaled);
                    let record = PendingRecord::of(&journaled, self.name_writer);
                    codec::encode_with_more(&record, JournaledMore::of(&journaled).as_ref(), &mut self.scratch);
                    self.batch.insert(&engine.pending, &key[..], &self.scratch[..]);
                    let document = self.ground.jobs.document(&journaled.accepted.job.document_id);
                    self.changes.push(Change::Accepted { order, handles, document });
                }
                None if jobs.is_unfinished(order) => self.batch.remove(&engine.pending, &key[..]),
                None => {}
            }
        }
        for (order, record) in &self.failed {
            let key = order.to_be_bytes();
            match record {
                Some(record) => self.batch.insert(&engine.failed, &key[..], &record[..]),
                None if jobs.failed(*order).is_some() => self.batch.remove(&engine.failed, &key[..]),
                None => {}
            }
        }
    }
}

impl LanePlan<'_> {
    fn snapshots_changed(&self) -> bool {
        self.before.as_ref().map(|lane| lane.snapshots) != self.lane.as_ref().map(|lane| lane.snapshots)
    }
}

impl Lane {
    /// The last operations of the scopes but this one.
    fn others(&self, scope: &Scope) -> Vec<ScopeLast> {
        let last = |(at, line): (usize, &ScopeLine)| {
            let sequence = line.last.filter(|_| line.scope != *scope)?;
            Some(ScopeLast { scope: at as u32, sequence })
        };
        self.scopes.iter().enumerate().filter_map(last).collect()
    }

    /// Goes on by one operation.
    fn follow(&mut self, operation: &Operation, sequence: u64) {
        self.revision = sequence + 1;
        // A scope that is not there makes the head differ, so that the record is written anew.
        if let Some(line) = self.scopes.iter_mut().find(|line| line.scope == operation.action.scope) {
            line.next_index = operation.index + 1;
            line.hash = operation.hash.clone();
            line.last = Some(sequence);
        }
    }
}

/// The record of a lane that stands where its record says.
pub(crate) fn lane_record(lane: &Lane) -> LaneRecord<'_> {
    LaneRecord {
        number: lane.number,
        document_type: lane.document_type.as_str(),
        revision: lane.revision,
        scopes: lane
            .scopes
            .iter()
            .map(|line| ScopeRecord {
                scope: line.scope.as_str(),
                next_index: line.next_index,
                hash: codec::Hash::of(&line.hash),
            })
            .collect(),
    }
}

/// The sequence that the index has for an action.
pub(crate) fn stored_sequence(
    engine: &Engine,
    view: &Snapshot,
    key: ActionKey,
    lane: &LaneKey,
) -> Result<Option<u64>, StoreError> {
    let place = || format!("the index of actions of {lane}");
    let Some(value) = get(view, &engine.actions, &key.0, place)? else { return Ok(None) };
    let fields = codec::open(&value).map_err(|bad| corrupt(place(), &bad))?;
    codec::decode(&fields).map(Some).map_err(|bad| corrupt(place(), &bad))
}

/// An operation of the log.
pub(crate) fn stored_operation(
    engine: &Engine,
    view: &Snapshot,
    names: &std::sync::RwLock<Names>,
    lane: &LaneKey,
    number: u32,
    sequence: u64,
) -> Result<Option<StoredOperation>, StoreError> {
    let place = || format!("operation {sequence} of {lane}");
    let Some(value) = get(view, &engine.operations, &keys::in_lane(number, sequence), place)? else { return Ok(None) };
    let names = names.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    read_operation(&value, sequence, &names).map(Some).map_err(|bad| corrupt(place(), &bad))
}

pub(crate) fn read_operation(value: &[u8], sequence: u64, names: &Names) -> Result<StoredOperation, codec::BadRecord> {
    let fields = codec::open(value)?;
    codec::decode::<OperationRecord<'_>>(&fields)?.restore(sequence, names)
}

/// A job that has not ended.
pub(crate) fn pending_job(
    engine: &Engine,
    view: &Snapshot,
    names: &std::sync::RwLock<Names>,
    order: u64,
) -> Result<Option<JournaledJob>, StoreError> {
    let place = || format!("job number {order}, unfinished");
    let Some(value) = get(view, &engine.pending, &order.to_be_bytes(), place)? else { return Ok(None) };
    let names = names.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let read = || {
        let fields = codec::open(&value)?;
        let (record, more): (PendingRecord<'_>, Option<JournaledMore<'_>>) = codec::decode_with_more(&fields)?;
        let mut journaled = record.restore(order, &names)?;
        more.iter().try_for_each(|more| more.restore(&mut journaled))?;
        Ok(journaled)
    };
    read().map(Some).map_err(|bad| corrupt(place(), &bad))
}
