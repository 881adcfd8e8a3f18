//! Forgetting jobs whose results are kept no longer, and remembering how they ended.

use fjall::{OwnedWriteBatch, Readable as _, Snapshot};
use reductor_core::{JobOutcome, JobRetention, StoreError};

use crate::codec::{self, CompletedHeader, FailedHeader, Id, StateRecord};
use crate::engine::{Engine, get};
use crate::error::read_error;
use crate::jobs::{Change, Handles, Place, Surplus};
use crate::keys;
use crate::lanes::corrupt;
use crate::outcomes::Remembering;
use crate::start::completed_job;

/// Forgets jobs: what the batch that has it changes.
pub(crate) struct Forgetting<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) view: &'a Snapshot,
    pub(crate) retention: &'a JobRetention,
    pub(crate) remembering: &'a mut Remembering,
    pub(crate) batch: &'a mut OwnedWriteBatch,
    pub(crate) state: &'a mut StateRecord,
    pub(crate) changes: &'a mut Vec<Change>,
}

impl Forgetting<'_> {
    /// Forgets these jobs. Returns how many.
    pub(crate) fn surplus(&mut self, surplus: &Surplus) -> u64 {
        for job in &surplus.completed {
            let id = self.text_of(job.handles, Place::Completed(job.end));
            let (retention, outcome) = (self.retention, JobOutcome::Completed);
            self.remembering.remember(retention, job.handles, id.as_deref(), outcome, job.completed_at_ms);
            self.changes.push(Change::Forgotten(Place::Completed(job.end)));
            self.state.completed_from = job.end + 1;
        }
        for (order, job) in &surplus.failed {
            let id = self.text_of(job.handles, Place::Failed(*order));
            let (retention, outcome) = (self.retention, JobOutcome::Failed);
            self.remembering.remember(retention, job.handles, id.as_deref(), outcome, job.completed_at_ms);
            self.batch.remove(&self.engine.failed, &order.to_be_bytes()[..]);
            self.changes.push(Change::Forgotten(Place::Failed(*order)));
        }
        (surplus.completed.len() + surplus.failed.len()) as u64
    }

    /// Forgets up to `limit` completed jobs that ended before `before` and that the index does not
    /// have, because there were too many at the start. Returns how many.
    pub(crate) fn unlisted(&mut self, before: u64, seed: u64, limit: usize) -> Result<u64, StoreError> {
        let range = self.state.completed_from.min(before).to_be_bytes()..before.to_be_bytes();
        let place = || "a job that completed".to_owned();
        let mut count = 0;
        for guard in self.view.range(&self.engine.completed, range).take(limit) {
            let (key, value) = guard.into_inner().map_err(|error| read_error(error, place))?;
            let Some(end) = keys::number(&key) else { continue };
            self.state.completed_from = end + 1;
            count += 1;
            // A record that is damaged has nothing to remember. Verifying the store reports it.
            let fields = codec::open(&value).map_err(|bad| corrupt(place(), &bad));
            let Ok(job) =
                fields.and_then(|fields| completed_job(seed, end, &fields).map_err(|bad| corrupt(place(), &bad)))
            else {
                continue;
            };
            let id = self.text_of(job.handles, Place::Completed(end));
            let outcome = JobOutcome::Completed;
            self.remembering.remember(self.retention, job.handles, id.as_deref(), outcome, job.completed_at_ms);
        }
        if count < limit as u64 {
            self.state.completed_from = self.state.completed_from.max(before);
        }
        Ok(count)
    }

    /// The id of a job, where it is needed and the handle does not say it: the job has a key, and an
    /// id that somebody else made. `None` too if the record is damaged; only the key is forgotten
    /// then.
    fn text_of(&self, handles: Handles, place: Place) -> Option<String> {
        if handles.key().is_none() || handles.uuid().is_some() {
            return None;
        }
        let read = || -> Result<Option<String>, StoreError> {
            let (keyspace, number) = match place {
                Place::Unfinished(_) => return Ok(None),
                Place::Failed(order) => (&self.engine.failed, order),
                Place::Completed(end) => (&self.engine.completed, end),
            };
            let Some(value) = get(self.view, keyspace, &number.to_be_bytes(), || place.to_string())? else {
                return Ok(None);
            };
            let id = |fields: &[u8]| -> Result<String, codec::BadRecord> {
                let id: Id<'_> = match place {
                    Place::Failed(_) => codec::decode_first::<FailedHeader<'_>>(fields)?.0.id,
                    _ => codec::decode_first::<CompletedHeader<'_>>(fields)?.0.id,
                };
                Ok(id.restore())
            };
            let fields = codec::open(&value).map_err(|bad| corrupt(place.to_string(), &bad))?;
            id(&fields).map(Some).map_err(|bad| corrupt(place.to_string(), &bad))
        };
        read().unwrap_or_else(|error| {
            tracing::warn!(%error, "the idempotency key of a job is forgotten with its result");
            None
        })
    }
}
