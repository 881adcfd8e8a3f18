//! Reading jobs: where the index says that they are, and what their records say.

use std::sync::Arc;

use fjall::{Readable as _, Snapshot};
use reductor_core::{DocumentId, JobRecord, LaneKey, StoreError};

use crate::codec::{self, CompletedRecord, FailedRecord, JournaledMore, LaneName, LaneText, RetentionRecord};
use crate::engine::get;
use crate::error::read_error;
use crate::jobs::{DocumentTag, Filter, JobIndex, Page, Place};
use crate::keys;
use crate::lanes::corrupt;
use crate::plan::{pending_job, stored_operation};
use crate::store::Inner;

impl Inner {
    pub(crate) fn job_at(&self, view: &Snapshot, place: Place) -> Result<Option<JobRecord>, StoreError> {
        match place {
            Place::Unfinished(order) => {
                Ok(pending_job(&self.engine, view, &self.names, order)?.map(JobRecord::Unfinished))
            }
            Place::Failed(order) => self.failed_job(view, order),
            Place::Completed(end) => self.completed_job(view, end),
        }
    }

    fn failed_job(&self, view: &Snapshot, order: u64) -> Result<Option<JobRecord>, StoreError> {
        let place = || Place::Failed(order).to_string();
        let Some(value) = get(view, &self.engine.failed, &order.to_be_bytes(), place)? else { return Ok(None) };
        let read = || {
            let fields = codec::open(&value)?;
            let (record, more): (FailedRecord<'_>, Option<JournaledMore<'_>>) = codec::decode_with_more(&fields)?;
            let (mut journaled, result) = record.restore(order, &self.names())?;
            more.iter().try_for_each(|more| more.restore(&mut journaled))?;
            Ok(JobRecord::Failed { journaled, result: Arc::new(result), revision: record.revision })
        };
        read().map(Some).map_err(|bad| corrupt(place(), &bad))
    }

    fn completed_job(&self, view: &Snapshot, end: u64) -> Result<Option<JobRecord>, StoreError> {
        let place = || Place::Completed(end).to_string();
        let Some(value) = get(view, &self.engine.completed, &end.to_be_bytes(), place)? else { return Ok(None) };
        let bad = |bad| corrupt(place(), &bad);
        let fields = codec::open(&value).map_err(bad)?;
        let record: CompletedRecord<'_> = codec::decode(&fields).map_err(bad)?;
        let mut stored = Vec::new();
        let lane = match &record.lane {
            LaneName::Text { document, branch } => LaneKey { document: (*document).into(), branch: (*branch).into() },
            LaneName::Known(number) => {
                let lane = self.lane_of(view, *number)?;
                for sequence in record.sequences() {
                    let found = stored_operation(&self.engine, view, &self.names, &lane, *number, sequence)?;
                    let missing = || codec::BadRecord::fields(format!("its operation {sequence} is missing"));
                    stored.push(found.ok_or_else(|| bad(missing()))?.operation);
                }
                lane
            }
        };
        let result = record.restore(lane, stored, &self.names()).map_err(bad)?;
        Ok(Some(JobRecord::Completed { order: record.header.order, result: Arc::new(result) }))
    }

    pub(crate) fn lane_of(&self, view: &Snapshot, number: u32) -> Result<LaneKey, StoreError> {
        let place = || format!("the name of lane {number}");
        let bad = |bad| corrupt(place(), &bad);
        let value = get(view, &self.engine.lanes, &keys::lane_number(number), place)?;
        let value = value.ok_or_else(|| bad(codec::BadRecord::fields("it is missing")))?;
        let fields = codec::open(&value).map_err(bad)?;
        let text: LaneText<'_> = codec::decode(&fields).map_err(bad)?;
        Ok(LaneKey { document: text.document.into(), branch: text.branch.into() })
    }

    /// What is remembered of jobs, as of now.
    pub(crate) fn remembered(&self) -> (Snapshot, Arc<RetentionRecord>) {
        let shared = self.shared();
        (shared.view.clone(), shared.remembered.clone())
    }

    /// A job that the index has: it is there, or the store is damaged.
    pub(crate) fn known_job(&self, view: &Snapshot, place: Place) -> Result<JobRecord, StoreError> {
        self.job_at(view, place)?.ok_or_else(|| StoreError::Corrupt {
            place: place.to_string(),
            problem: "its record is missing".to_owned(),
        })
    }

    /// The job that the index finds.
    pub(crate) fn find_job(&self, find: impl Fn(&JobIndex) -> Option<Place>) -> Result<Option<JobRecord>, StoreError> {
        let look = || {
            let jobs = self.jobs();
            let place = find(&jobs)?;
            let shared = self.shared();
            Some((place, shared.view.clone(), jobs.commits() == shared.state.commits))
        };
        let Some((place, view, fits)) = look() else { return Ok(None) };
        match self.job_at(&view, place)? {
            Some(found) => Ok(Some(found)),
            None if fits => self.known_job(&view, place).map(Some),
            None => {
                // The job went elsewhere with a batch that is just being shown.
                let settled = self.settled();
                let looked = look();
                drop(settled);
                looked.map(|(place, view, _)| self.known_job(&view, place)).transpose()
            }
        }
    }

    /// Some of the jobs after a number, and the store as it is with them.
    pub(crate) fn page(&self, after: u64, filter: &Filter, limit: usize) -> (Snapshot, Page) {
        let _settled = self.settled();
        let page = self.jobs().page(after, filter, limit);
        (self.view(), page)
    }

    /// What the index has of the jobs of a document.
    pub(crate) fn tags_of(&self, document: &DocumentId) -> Result<Vec<DocumentTag>, StoreError> {
        let place = || format!("the list of lanes of {document}");
        let mut tags = vec![self.jobs().document(document)];
        let prefix = keys::lane(&LaneKey { document: document.clone(), branch: "".into() });
        for guard in self.view().prefix(&self.engine.lanes, prefix) {
            let (_, value) = guard.into_inner().map_err(|error| read_error(error, place))?;
            let fields = codec::open(&value).map_err(|bad| corrupt(place(), &bad))?;
            let lane: codec::LaneRecord<'_> = codec::decode(&fields).map_err(|bad| corrupt(place(), &bad))?;
            tags.push(DocumentTag::of_lane(lane.number));
        }
        Ok(tags)
    }
}
