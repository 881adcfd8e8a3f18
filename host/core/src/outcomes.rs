//! How jobs ended whose results are gone, where no journal knows it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState as FoldHash;
use uuid::Uuid;

use crate::ids::{IdempotencyKey, JobId};
use crate::journal::JobOutcome;

/// Remembers jobs by 128-bit hashes of their names, in about 40 bytes each.
///
/// The older half is forgotten as a whole when the younger one is full, so that at least half of
/// `jobs_max` and at most all of it is remembered.
pub(crate) struct Outcomes {
    jobs_max: usize,
    young: Half,
    old: Half,
    /// Two, because one gives only 64 bits, and a wrong answer must not happen in practice.
    hashers: [FoldHash; 2],
}

#[derive(Default)]
struct Half {
    by_id: HashMap<u128, JobOutcome, FoldHash>,
    by_key: HashMap<u128, Uuid, FoldHash>,
}

impl Outcomes {
    pub(crate) fn new(jobs_max: usize) -> Self {
        let hashers = [FoldHash::default(), FoldHash::default()];
        Self { jobs_max, young: Half::default(), old: Half::default(), hashers }
    }

    /// Remembers how a job ended, and the key that it was submitted with.
    pub(crate) fn remember(&mut self, job: &JobId, key: Option<&IdempotencyKey>, outcome: JobOutcome) {
        if self.jobs_max == 0 {
            return;
        }
        if self.young.by_id.len() >= self.jobs_max.div_ceil(2) {
            self.old = std::mem::take(&mut self.young);
        }
        let id = self.hash(job);
        self.young.by_id.insert(id, outcome);
        // Jobs with a key have ids of the queue's own making, and those are UUIDs.
        if let (Some(key), Ok(job)) = (key, Uuid::parse_str(job.as_str())) {
            let key = self.hash(key);
            self.young.by_key.insert(key, job);
        }
    }

    /// How a job ended.
    pub(crate) fn outcome(&self, job: &JobId) -> Option<JobOutcome> {
        let id = self.hash(job);
        self.young.by_id.get(&id).or_else(|| self.old.by_id.get(&id)).copied()
    }

    /// The job that was submitted with a key.
    pub(crate) fn job_of_key(&self, key: &IdempotencyKey) -> Option<JobId> {
        let key = self.hash(key);
        let job = self.young.by_key.get(&key).or_else(|| self.old.by_key.get(&key))?;
        Some(JobId::from(job.to_string()))
    }

    fn hash(&self, name: &impl Hash) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(name)));
        high << 64 | low
    }
}
