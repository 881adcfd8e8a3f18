//! Which jobs the journal has and where they are: in memory, made anew at each start.
//!
//! The number of jobs is bounded by the queue and by the retention, so that an index of them
//! takes some 200 bytes for each, and nothing on the disk.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::RangeBounds;
use std::time::Duration;

use foldhash::fast::RandomState;
use reductor_core::{DocumentId, IdempotencyKey, JobId, JobOutcome, JobRetention, JobStatus, Timestamp};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::codec::Id;

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

impl Place {
    /// How the job ended, if it did.
    pub(crate) fn outcome(self) -> Option<JobOutcome> {
        match self {
            Self::Unfinished(_) => None,
            Self::Failed(_) => Some(JobOutcome::Failed),
            Self::Completed(_) => Some(JobOutcome::Completed),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unfinished(order) => write!(f, "job number {order}, unfinished"),
            Self::Failed(order) => write!(f, "job number {order}, failed"),
            Self::Completed(end) => write!(f, "the {end}th job that ended"),
        }
    }
}

/// A job's id and idempotency key, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handles {
    /// The id where it is a UUID, else its hash.
    id: u128,
    is_uuid: bool,
    /// The hash of the key; 0 for none.
    key: u128,
}

impl Handles {
    pub(crate) fn same_job(&self, other: &Self) -> bool {
        self.id == other.id
    }

    pub(crate) fn id(&self) -> u128 {
        self.id
    }

    pub(crate) fn key(&self) -> Option<u128> {
        (self.key != 0).then_some(self.key)
    }

    /// The id, if the handle says it.
    pub(crate) fn uuid(&self) -> Option<[u8; 16]> {
        self.is_uuid.then_some(self.id.to_be_bytes())
    }
}

/// The document of a job: the number of its lane, or the hash of the document's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DocumentTag(u64);

impl DocumentTag {
    const HASH: u64 = 1 << 63;

    pub(crate) fn of(seed: u64, document: &str) -> Self {
        Self(xxh3_64_with_seed(document.as_bytes(), seed) | Self::HASH)
    }

    pub(crate) fn of_lane(number: u32) -> Self {
        Self(u64::from(number))
    }
}

/// A change to the index.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Accepted { order: u64, handles: Handles, document: DocumentTag },
    Failed(u64, FailedJob),
    Completed(CompletedJob),
    Forgotten(Place),
}

/// Every job that is known.
#[derive(Debug)]
pub(crate) struct JobIndex {
    /// Hashes are made with it, so that nobody can choose keys that collide.
    seed: u64,
    by_id: HashMap<u128, Place, RandomState>,
    by_key: HashMap<u128, Place, RandomState>,
    unfinished: BTreeMap<u64, (Handles, DocumentTag)>,
    failed: BTreeMap<u64, FailedJob>,
    /// The numbers of the same, in the order of their ends.
    failed_by_end: BTreeMap<u64, u64>,
    /// In the order of their ends.
    completed: VecDeque<CompletedJob>,
    /// When they ended among the others, by their numbers.
    completed_by_order: BTreeMap<u64, (u64, DocumentTag)>,
    unlisted: Unlisted,
    /// The batch up to which changes were applied.
    commits: u64,
}

/// Whether the journal may have completed jobs that the index has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unlisted {
    /// It has none.
    None,
    /// There were too many at the start: older ones than the index has.
    Older,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct FailedJob {
    pub(crate) end: u64,
    pub(crate) completed_at_ms: i64,
    pub(crate) handles: Handles,
    pub(crate) document: DocumentTag,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct CompletedJob {
    pub(crate) end: u64,
    pub(crate) order: u64,
    pub(crate) completed_at_ms: i64,
    pub(crate) handles: Handles,
    pub(crate) document: DocumentTag,
}

/// Jobs that are to be forgotten.
#[derive(Debug, Default)]
pub(crate) struct Surplus {
    /// The completed jobs that ended first.
    pub(crate) completed: Vec<CompletedJob>,
    /// Jobs that failed, by their numbers.
    pub(crate) failed: Vec<(u64, FailedJob)>,
}

/// Which jobs a page lists.
pub(crate) struct Filter {
    pub(crate) status: Option<JobStatus>,
    /// Only the jobs with one of these tags; `None` for all.
    pub(crate) documents: Option<Vec<DocumentTag>>,
}

/// Some of the jobs in the order of their numbers.
pub(crate) struct Page {
    pub(crate) places: Vec<(u64, Place)>,
    /// The number to go on after, if there may be more.
    pub(crate) next: Option<u64>,
}

/// Entries that are looked at for a page, so that nobody waits long for the lock.
const PAGE_SCANNED_MAX: usize = 4_096;

impl Surplus {
    /// The first of them, no more than so many in all.
    pub(crate) fn at_most(mut self, limit: usize) -> Self {
        self.completed.truncate(limit);
        self.failed.truncate(limit - self.completed.len());
        self
    }
}

impl JobIndex {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            by_id: HashMap::default(),
            by_key: HashMap::default(),
            unfinished: BTreeMap::new(),
            failed: BTreeMap::new(),
            failed_by_end: BTreeMap::new(),
            completed: VecDeque::new(),
            completed_by_order: BTreeMap::new(),
            unlisted: Unlisted::None,
            commits: 0,
        }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn handles(&self, id: &JobId, key: Option<&IdempotencyKey>) -> Handles {
        handles(self.seed, Id::of(id.as_str()), key.map(IdempotencyKey::as_str))
    }

    pub(crate) fn key_hash(&self, key: &IdempotencyKey) -> u128 {
        hash(self.seed, key.as_str())
    }

    pub(crate) fn document(&self, document: &DocumentId) -> DocumentTag {
        DocumentTag::of(self.seed, document.as_str())
    }

    pub(crate) fn place(&self, id: u128) -> Option<Place> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn place_of_key(&self, key: u128) -> Option<Place> {
        self.by_key.get(&key).copied()
    }

    pub(crate) fn is_unfinished(&self, order: u64) -> bool {
        self.unfinished.contains_key(&order)
    }

    pub(crate) fn failed(&self, order: u64) -> Option<&FailedJob> {
        self.failed.get(&order)
    }

    /// The batch up to which the index has everything.
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    pub(crate) fn set_commits(&mut self, commits: u64) {
        self.commits = commits;
    }

    /// Up to `limit` jobs with a number after `after`, in the order of their numbers.
    pub(crate) fn page(&self, after: u64, filter: &Filter, limit: usize) -> Page {
        let Some(from) = after.checked_add(1) else { return Page { places: Vec::new(), next: None } };
        let is = |status| filter.status.is_none_or(|wanted| wanted == status);
        let unfinished = entries(&self.unfinished, is(JobStatus::Pending), from.., |order, (_, document)| {
            (Place::Unfinished(order), *document)
        });
        let failed =
            entries(&self.failed, is(JobStatus::Failed), from.., |order, job| (Place::Failed(order), job.document));
        let completed = entries(&self.completed_by_order, is(JobStatus::Completed), from.., |_, (end, document)| {
            (Place::Completed(*end), *document)
        });
        let mut sources = [unfinished.peekable(), failed.peekable(), completed.peekable()];
        let mut places = Vec::new();
        for _ in 0..PAGE_SCANNED_MAX {
            if places.len() >= limit {
                break;
            }
            let first = sources.iter_mut().enumerate();
            let first = first.filter_map(|(at, source)| source.peek().map(|(order, ..)| (*order, at))).min();
            let Some((order, place, document)) = first.and_then(|(_, at)| sources[at].next()) else {
                return Page { places, next: None };
            };
            if filter.documents.as_ref().is_none_or(|wanted| wanted.contains(&document)) {
                places.push((order, place));
            }
        }
        // The next page begins before what comes next here.
        let next = sources.iter_mut().filter_map(|source| source.peek().map(|(order, ..)| *order)).min();
        Page { places, next: next.map(|next| next - 1) }
    }

    /// The places of all jobs.
    pub(crate) fn places(&self) -> Vec<Place> {
        let unfinished = self.unfinished.keys().map(|order| Place::Unfinished(*order));
        let failed = self.failed.keys().map(|order| Place::Failed(*order));
        let completed = self.completed.iter().map(|job| Place::Completed(job.end));
        unfinished.chain(failed).chain(completed).collect()
    }

    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.unfinished.len(), self.failed.len(), self.completed.len())
    }

    /// The first of the completed jobs that are known, by when it ended, if the journal may have
    /// older ones.
    pub(crate) fn unlisted_before(&self) -> Option<u64> {
        let first = self.completed.front().filter(|_| self.unlisted == Unlisted::Older);
        first.map(|job| job.end)
    }

    pub(crate) fn set_unlisted(&mut self, unlisted: Unlisted) {
        self.unlisted = unlisted;
    }

    /// When the newest job ended.
    pub(crate) fn newest_end(&self) -> Option<Timestamp> {
        let completed = self.completed.back().map(|job| (job.end, job.completed_at_ms));
        let failed = self.failed_by_end.last_key_value().and_then(|(_, order)| self.failed.get(order));
        let failed = failed.map(|job| (job.end, job.completed_at_ms));
        completed.into_iter().chain(failed).max().map(|(_, ms)| Timestamp { ms })
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Accepted { order, handles, document } => {
                if let Some(place) = self.by_id.get(&handles.id).copied() {
                    self.forget(place);
                }
                self.unfinished.insert(order, (handles, document));
                self.point(handles, Place::Unfinished(order));
            }
            Change::Failed(order, job) => {
                self.unfinished.remove(&order);
                self.failed_by_end.insert(job.end, order);
                if let Some(before) = self.failed.insert(order, job) {
                    self.failed_by_end.remove(&before.end);
                }
                self.point(job.handles, Place::Failed(order));
            }
            Change::Completed(job) => {
                self.unfinished.remove(&job.order);
                self.completed.push_back(job);
                self.completed_by_order.insert(job.order, (job.end, job.document));
                self.point(job.handles, Place::Completed(job.end));
            }
            Change::Forgotten(place) => self.forget(place),
        }
    }

    /// Forgets a job: it is there anew, or is to be kept no longer.
    fn forget(&mut self, place: Place) {
        let handles = match place {
            Place::Unfinished(order) => self.unfinished.remove(&order).map(|(handles, _)| handles),
            Place::Failed(order) => self.failed.remove(&order).map(|job| {
                self.failed_by_end.remove(&job.end);
                job.handles
            }),
            Place::Completed(end) => self.forget_completed(end),
        };
        if let Some(handles) = handles {
            self.unpoint(handles, place);
        }
    }

    fn forget_completed(&mut self, end: u64) -> Option<Handles> {
        if let Some(first) = self.completed.pop_front_if(|first| first.end == end) {
            if self.completed_by_order.get(&first.order).is_some_and(|(known, _)| *known == end) {
                self.completed_by_order.remove(&first.order);
            }
            return Some(first.handles);
        }
        // It is there anew. Its record stays until it is the oldest; nobody finds it by its id.
        let at = self.completed.binary_search_by_key(&end, |job| job.end).ok()?;
        self.completed.get(at).map(|job| job.handles)
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
        if handles.key != 0 && self.by_key.get(&handles.key) == Some(&place) {
            self.by_key.remove(&handles.key);
        }
    }

    /// What is older or more than is to be kept, up to `limit` jobs of each kind: the ones that
    /// ended first, up to one to keep. Without `now`, ages do not count.
    pub(crate) fn surplus(&self, retention: &JobRetention, now: Option<Timestamp>, limit: usize) -> Surplus {
        let JobRetention { completed_max, completed_age_max, failed_max, failed_age_max, .. } = *retention;
        let old = |ended_ms: i64, age_max: Duration| {
            let age_ms_max = i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX);
            now.is_some_and(|now| now.ms.saturating_sub(ended_ms) > age_ms_max)
        };
        let too_many = self.completed.len().saturating_sub(completed_max);
        let completed = self.completed.iter().enumerate().take(limit);
        let completed = completed.take_while(|(at, job)| *at < too_many || old(job.completed_at_ms, completed_age_max));
        let too_many = self.failed.len().saturating_sub(failed_max);
        let failed = self.failed_by_end.values().filter_map(|order| Some((*order, *self.failed.get(order)?)));
        let failed = failed.enumerate().take(limit);
        let failed = failed.take_while(|(at, (_, job))| *at < too_many || old(job.completed_at_ms, failed_age_max));
        Surplus { completed: completed.map(|(_, job)| *job).collect(), failed: failed.map(|(_, job)| job).collect() }
    }
}

/// Entries of a map from some number on; none if it is not asked for.
fn entries<'a, T>(
    map: &'a BTreeMap<u64, T>,
    wanted: bool,
    range: impl RangeBounds<u64>,
    place: impl Fn(u64, &T) -> (Place, DocumentTag) + 'a,
) -> Box<dyn Iterator<Item = (u64, Place, DocumentTag)> + 'a> {
    if !wanted {
        return Box::new(std::iter::empty());
    }
    Box::new(map.range(range).map(move |(order, entry)| {
        let (place, document) = place(*order, entry);
        (*order, place, document)
    }))
}

pub(crate) fn handles(seed: u64, id: Id<'_>, key: Option<&str>) -> Handles {
    let (id, is_uuid) = match id {
        Id::Uuid(bytes) => (u128::from_be_bytes(bytes), true),
        Id::Text(text) => (hash(seed, text), false),
    };
    Handles { id, is_uuid, key: key.map_or(0, |key| hash(seed, key)) }
}

fn hash(seed: u64, text: &str) -> u128 {
    xxh3_128_with_seed(text.as_bytes(), seed)
}
