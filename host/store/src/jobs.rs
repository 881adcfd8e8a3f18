//! Which jobs the journal has and where they are: in memory, made anew at each start.
//!
//! The number of jobs is bounded by the queue and by the retention, so that an index of them
//! takes some 150 bytes for each, and nothing on the disk.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use foldhash::fast::RandomState;
use reductor_core::{IdempotencyKey, JobId, JobRetention, Timestamp};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Where a job's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// By its number.
    Unfinished(u64),
    /// By its number.
    Failed(u64),
    /// By when it ended.
    Completed(u64),
}

/// A job's id and idempotency key, by their hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handles {
    id: u128,
    /// 0 for none.
    key: u128,
}

impl Handles {
    pub(crate) fn same_job(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// A change to the index.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Accepted { order: u64, handles: Handles },
    Failed { order: u64, handles: Handles, end: u64, completed_at_ms: i64 },
    Completed { order: u64, handles: Handles, end: u64, completed_at_ms: i64 },
    Forgotten(Place),
}

/// Every job that is known.
#[derive(Debug)]
pub(crate) struct JobIndex {
    /// Hashes are made with it, so that nobody can choose keys that collide.
    seed: u64,
    by_id: HashMap<u128, Place, RandomState>,
    by_key: HashMap<u128, Place, RandomState>,
    unfinished: BTreeMap<u64, Handles>,
    failed: BTreeMap<u64, FailedJob>,
    /// In the order of their ends.
    completed: VecDeque<CompletedJob>,
}

#[derive(Clone, Copy, Debug)]
struct FailedJob {
    end: u64,
    completed_at_ms: i64,
    handles: Handles,
}

#[derive(Clone, Copy, Debug)]
struct CompletedJob {
    end: u64,
    order: u64,
    completed_at_ms: i64,
    handles: Handles,
}

/// Jobs that are to be forgotten.
#[derive(Debug, Default)]
pub(crate) struct Surplus {
    /// All that ended before this one; and how many those are.
    pub(crate) completed_before: Option<u64>,
    pub(crate) completed: usize,
    /// These, by their numbers.
    pub(crate) failed: Vec<u64>,
}

impl JobIndex {
    pub(crate) fn new() -> Self {
        Self {
            seed: fastrand::u64(..),
            by_id: HashMap::default(),
            by_key: HashMap::default(),
            unfinished: BTreeMap::new(),
            failed: BTreeMap::new(),
            completed: VecDeque::new(),
        }
    }

    pub(crate) fn handles(&self, id: &JobId, key: Option<&IdempotencyKey>) -> Handles {
        handles(self.seed, id.as_str(), key.map(IdempotencyKey::as_str))
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn place(&self, id: &JobId) -> Option<Place> {
        self.by_id.get(&self.handles(id, None).id).copied()
    }

    pub(crate) fn place_of_key(&self, key: &IdempotencyKey) -> Option<Place> {
        self.by_key.get(&hash(self.seed, key.as_str())).copied()
    }

    pub(crate) fn is_unfinished(&self, order: u64) -> bool {
        self.unfinished.contains_key(&order)
    }

    pub(crate) fn is_failed(&self, order: u64) -> bool {
        self.failed.contains_key(&order)
    }

    /// The places of all jobs with a number after `after`, in the order of their numbers.
    pub(crate) fn places_after(&self, after: u64, wanted: impl Fn(Place) -> bool) -> Vec<(u64, Place)> {
        let unfinished =
            self.unfinished.range(after.saturating_add(1)..).map(|(order, _)| (*order, Place::Unfinished(*order)));
        let failed = self.failed.range(after.saturating_add(1)..).map(|(order, _)| (*order, Place::Failed(*order)));
        let completed = self.completed.iter().map(|job| (job.order, Place::Completed(job.end)));
        let completed = completed.filter(|(order, _)| *order > after);
        let mut places: Vec<_> =
            unfinished.chain(failed).chain(completed).filter(|(_, place)| wanted(*place)).collect();
        places.sort_unstable_by_key(|(order, _)| *order);
        places
    }

    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.unfinished.len(), self.failed.len(), self.completed.len())
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Accepted { order, handles } => {
                if let Some(place) = self.by_id.get(&handles.id).copied() {
                    self.forget(place);
                }
                self.unfinished.insert(order, handles);
                self.point(handles, Place::Unfinished(order));
            }
            Change::Failed { order, handles, end, completed_at_ms } => {
                self.unfinished.remove(&order);
                self.failed.insert(order, FailedJob { end, completed_at_ms, handles });
                self.point(handles, Place::Failed(order));
            }
            Change::Completed { order, handles, end, completed_at_ms } => {
                self.unfinished.remove(&order);
                self.completed.push_back(CompletedJob { end, order, completed_at_ms, handles });
                self.point(handles, Place::Completed(end));
            }
            Change::Forgotten(place) => self.forget(place),
        }
    }

    /// Forgets the completed jobs that ended before this one.
    pub(crate) fn forget_completed_before(&mut self, end: u64) {
        while let Some(job) = self.completed.pop_front_if(|job| job.end < end) {
            self.unpoint(job.handles, Place::Completed(job.end));
        }
    }

    /// Forgets that a job failed, or waits: it is there anew, or nobody wants to know.
    fn forget(&mut self, place: Place) {
        let handles = match place {
            Place::Unfinished(order) => self.unfinished.remove(&order),
            Place::Failed(order) => self.failed.remove(&order).map(|job| job.handles),
            // Its record stays until it is too old. Nobody finds it.
            Place::Completed(end) => {
                let at = self.completed.binary_search_by_key(&end, |job| job.end);
                at.ok().and_then(|at| self.completed.get(at)).map(|job| job.handles)
            }
        };
        if let Some(handles) = handles {
            self.unpoint(handles, place);
        }
    }

    fn point(&mut self, handles: Handles, place: Place) {
        self.by_id.insert(handles.id, place);
        if handles.key != 0 {
            self.by_key.insert(handles.key, place);
        }
    }

    fn unpoint(&mut self, handles: Handles, place: Place) {
        if self.by_id.get(&handles.id) == Some(&place) {
            self.by_id.remove(&handles.id);
        }
        if self.by_key.get(&handles.key) == Some(&place) {
            self.by_key.remove(&handles.key);
        }
    }

    /// What is older or more than is to be kept: those that ended first, up to one to keep.
    pub(crate) fn surplus(&self, retention: &JobRetention, now: Timestamp) -> Surplus {
        let JobRetention { completed_max, completed_age_max, failed_max, failed_age_max, .. } = *retention;
        let completed = self.completed.iter().map(|job| (job.end, job.completed_at_ms));
        let completed = first_to_go(completed, completed_max, completed_age_max, now);
        let mut failed: Vec<_> =
            self.failed.iter().map(|(order, job)| ((job.end, *order), job.completed_at_ms)).collect();
        failed.sort_unstable();
        let failed = first_to_go(failed.into_iter(), failed_max, failed_age_max, now);
        Surplus {
            completed_before: completed.last().map(|end| end + 1),
            completed: completed.len(),
            failed: failed.into_iter().map(|(_, order)| order).collect(),
        }
    }
}

/// The names of jobs that ended, oldest first, up to the first that is neither too old nor one of
/// too many.
fn first_to_go<T>(
    ended: impl ExactSizeIterator<Item = (T, i64)>,
    count_max: usize,
    age_max: Duration,
    now: Timestamp,
) -> Vec<T> {
    let age_ms_max = i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX);
    let too_many = ended.len().saturating_sub(count_max);
    let to_go =
        |(at, (_, ended_ms)): &(usize, (T, i64))| *at < too_many || now.ms.saturating_sub(*ended_ms) > age_ms_max;
    ended.enumerate().take_while(to_go).map(|(_, (name, _))| name).collect()
}

pub(crate) fn handles(seed: u64, id: &str, key: Option<&str>) -> Handles {
    Handles { id: hash(seed, id), key: key.map_or(0, |key| hash(seed, key)) }
}

fn hash(seed: u64, text: &str) -> u128 {
    xxh3_128_with_seed(text.as_bytes(), seed)
}
