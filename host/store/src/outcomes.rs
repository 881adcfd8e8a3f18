//! What is remembered of jobs whose results are gone: how each ended, the job of each idempotency
//! key, and what is left of the dispatch budgets of roots.
//!
//! A job takes about 40 bytes, a key as many more. They are written when the result is forgotten,
//! and not with the end of the job, so that a job that ends costs nothing for them. They are kept in
//! generations: the number of a generation stands first in the keys of what was remembered then, so
//! that a whole generation is forgotten by dropping a range of keys. A look-up tries the
//! generations, the newest first; there are at most some 17.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fjall::{OwnedWriteBatch, Snapshot};
use foldhash::fast::RandomState;
use reductor_core::{JobId, JobOutcome, JobRetention, StoreError, Timestamp};

use crate::codec::{self, BadRecord, GenerationRecord, Id, RetentionRecord};
use crate::engine::{Engine, RETENTION_KEY, get};
use crate::jobs::Handles;
use crate::lanes::corrupt;

/// A generation has at most this part of what may be remembered, by number and by age.
const GENERATIONS: u32 = 8;

/// Budgets of a generation. The newest two generations are remembered: of the roots that have
/// spent last, which are the ones whose jobs are under way.
const BUDGETS_OF_GENERATION: u64 = 131_072;

const OUTCOME: u8 = b'o';
const KEY: u8 = b'k';

type OutcomeKey = [u8; 21];

fn outcome_key(generation: u32, tag: u8, hash: u128) -> OutcomeKey {
    let mut key = [0; 21];
    key[..4].copy_from_slice(&generation.to_be_bytes());
    key[4] = tag;
    key[5..].copy_from_slice(&hash.to_be_bytes());
    key
}

fn budget_key(generation: u32, root: u128) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&generation.to_be_bytes());
    key[4..].copy_from_slice(&root.to_be_bytes());
    key
}

fn budget_generation(number: u64) -> u32 {
    u32::try_from(number / BUDGETS_OF_GENERATION).unwrap_or(u32::MAX)
}

impl RetentionRecord {
    /// Of a store that has not remembered anything.
    pub(crate) fn new() -> Self {
        Self { seed: fastrand::u64(..), clock_ms: None, next_generation: 0, generations: Vec::new(), budgets: 0 }
    }

    /// The first generation of outcomes that is remembered.
    pub(crate) fn first_generation(&self) -> u32 {
        self.generations.first().map_or(self.next_generation, |generation| generation.number)
    }

    /// The first generation of budgets that is remembered.
    pub(crate) fn first_budgets(&self) -> u32 {
        budget_generation(self.budgets.saturating_sub(1)).saturating_sub(1)
    }
}

/// How a job ended whose result is gone.
pub(crate) fn outcome(
    engine: &Engine,
    view: &Snapshot,
    retention: &RetentionRecord,
    job: u128,
) -> Result<Option<JobOutcome>, StoreError> {
    find(engine, view, retention, OUTCOME, job, |fields| match codec::decode(fields)? {
        0_u8 => Ok(JobOutcome::Completed),
        1 => Ok(JobOutcome::Failed),
        other => Err(BadRecord::fields(format!("{other} is no outcome of a job"))),
    })
}

/// The job of a key whose result is gone.
pub(crate) fn job_of_key(
    engine: &Engine,
    view: &Snapshot,
    retention: &RetentionRecord,
    key: u128,
) -> Result<Option<JobId>, StoreError> {
    find(engine, view, retention, KEY, key, |fields| Ok(codec::decode::<Id<'_>>(fields)?.restore()))
}

fn find<T>(
    engine: &Engine,
    view: &Snapshot,
    retention: &RetentionRecord,
    tag: u8,
    hash: u128,
    read: impl Fn(&[u8]) -> Result<T, BadRecord>,
) -> Result<Option<T>, StoreError> {
    let place = || "the outcomes of jobs".to_owned();
    for generation in retention.generations.iter().rev() {
        let Some(value) = get(view, &engine.outcomes, &outcome_key(generation.number, tag, hash), place)? else {
            continue;
        };
        return codec::open(&value).and_then(|fields| read(&fields)).map(Some).map_err(|bad| corrupt(place(), &bad));
    }
    Ok(None)
}

/// What is left of the budget of a root.
pub(crate) fn budget_left(
    engine: &Engine,
    view: &Snapshot,
    retention: &RetentionRecord,
    root: u128,
) -> Result<Option<u32>, StoreError> {
    let place = || "the budgets of roots".to_owned();
    let newest = budget_generation(retention.budgets.saturating_sub(1));
    for generation in (retention.first_budgets()..=newest).rev() {
        let Some(value) = get(view, &engine.budgets, &budget_key(generation, root), place)? else { continue };
        let left = codec::open(&value).and_then(|fields| codec::decode(&fields));
        return left.map(Some).map_err(|bad| corrupt(place(), &bad));
    }
    Ok(None)
}

/// What a batch adds to what is remembered, and takes from it.
pub(crate) struct Remembering {
    record: RetentionRecord,
    changed: bool,
    /// By key: a batch must not have one twice.
    outcomes: HashMap<OutcomeKey, Vec<u8>, RandomState>,
    budgets: HashMap<[u8; 20], u32, RandomState>,
}

impl Remembering {
    pub(crate) fn new(record: &RetentionRecord) -> Self {
        let record = record.clone();
        Self { record, changed: false, outcomes: HashMap::default(), budgets: HashMap::default() }
    }

    /// Remembers how a job ended that is about to be forgotten. `id` is the id of a job whose
    /// handle does not say it; it is needed only for a job with a key.
    pub(crate) fn remember(
        &mut self,
        retention: &JobRetention,
        handles: Handles,
        id: Option<&str>,
        outcome: JobOutcome,
        ended_ms: i64,
    ) {
        if retention.outcomes_max == 0 {
            return;
        }
        let generation = self.generation(retention, ended_ms);
        let mut value = Vec::with_capacity(2);
        let number: u8 = match outcome {
            JobOutcome::Completed => 0,
            JobOutcome::Failed => 1,
        };
        codec::encode(&number, &mut value);
        self.outcomes.insert(outcome_key(generation, OUTCOME, handles.id()), value);
        if let (Some(key), Some(id)) = (handles.key(), handles.uuid().map(Id::Uuid).or(id.map(Id::of))) {
            let mut value = Vec::with_capacity(18);
            codec::encode(&id, &mut value);
            self.outcomes.insert(outcome_key(generation, KEY, key), value);
        }
        self.forget_beyond(retention.outcomes_max as u64);
    }

    /// The generation to add a job to, which is counted.
    fn generation(&mut self, retention: &JobRetention, ended_ms: i64) -> u32 {
        self.changed = true;
        let jobs_max = (retention.outcomes_max as u64 / u64::from(GENERATIONS)).max(1);
        let age_ms_max = millis(retention.outcomes_age_max / GENERATIONS);
        let full =
            |last: &GenerationRecord| last.jobs >= jobs_max || ended_ms.saturating_sub(last.first_ms) > age_ms_max;
        if self.record.generations.last().is_none_or(full) {
            let number = self.record.next_generation;
            self.record.next_generation += 1;
            let new = GenerationRecord { number, jobs: 0, first_ms: ended_ms, newest_ms: ended_ms };
            self.record.generations.push(new);
        }
        let last = self.record.generations.last_mut().expect("there is a generation to add to");
        last.jobs += 1;
        last.newest_ms = last.newest_ms.max(ended_ms);
        last.number
    }

    fn forget_beyond(&mut self, jobs_max: u64) {
        while self.record.generations.iter().map(|generation| generation.jobs).sum::<u64>() > jobs_max {
            self.forget_oldest();
        }
    }

    /// Forgets what is too old.
    pub(crate) fn forget_older(&mut self, retention: &JobRetention, now: Timestamp) {
        let age_ms_max = millis(retention.outcomes_age_max);
        let old = |oldest: &GenerationRecord| now.ms.saturating_sub(oldest.newest_ms) > age_ms_max;
        while self.record.generations.first().is_some_and(old) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let GenerationRecord { number, .. } = self.record.generations.remove(0);
        self.changed = true;
        self.outcomes.retain(|key, _| key[..4] != number.to_be_bytes());
    }

    /// Notes what is left of the budget of a root.
    pub(crate) fn spend(&mut self, root: u128, left: u32) {
        self.changed = true;
        self.budgets.insert(budget_key(budget_generation(self.record.budgets), root), left);
        self.record.budgets += 1;
    }

    /// Notes where the clock of retention stands.
    pub(crate) fn set_clock(&mut self, reached: Option<Timestamp>) {
        self.record.clock_ms = reached.map(|reached| reached.ms);
        self.changed = true;
    }

    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// Adds it all to a batch. Returns what is remembered with it, if that is another than before.
    pub(crate) fn finish(self, engine: &Engine, batch: &mut OwnedWriteBatch) -> Option<Arc<RetentionRecord>> {
        if !self.changed {
            return None;
        }
        let mut scratch = Vec::new();
        for (key, value) in &self.outcomes {
            batch.insert(&engine.outcomes, &key[..], &value[..]);
        }
        for (key, left) in &self.budgets {
            codec::encode(left, &mut scratch);
            batch.insert(&engine.budgets, &key[..], &scratch[..]);
        }
        codec::encode(&self.record, &mut scratch);
        batch.insert(&engine.meta, RETENTION_KEY, &scratch[..]);
        Some(Arc::new(self.record))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
