//! What an orderly stop leaves behind: a snapshot of every document that went on.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::committer::{self, Committer, Item, Then};
use super::shared::{Run, Shared};
use crate::history::{HistoryError, Replay};
use crate::ids::LaneKey;
use crate::reducer::Call;
use crate::store::{Entry, Head};

/// How long the snapshots of a stop may take, all together.
const SAVING_TIME_MAX: Duration = Duration::from_secs(10);
/// Snapshots, and bytes of states, that are in one batch.
const BATCH_SNAPSHOTS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Snapshots on their way to the disk.
struct Saving<'a> {
    shared: &'a Shared,
    committer: &'a Committer,
    run: &'a Run,
    until: Instant,
    batch: Vec<Item>,
    bytes: usize,
    /// How many documents could not be replayed, and why the first one could not.
    unreadable: Option<(usize, HistoryError)>,
}

impl Shared {
    /// Writes down where the documents stand that have operations since their last snapshot, so far
    /// as this process has to do with them. The next process then needs no revision of a plugin but
    /// the one that it has. Documents for which there is no time are replayed later, as after a crash.
    pub(super) fn save_documents(&self, run: &Run) {
        let Some(committer) = &self.committer else { return };
        let until = Instant::now() + SAVING_TIME_MAX;
        let mut saving = Saving { shared: self, committer, run, until, batch: Vec::new(), bytes: 0, unreadable: None };
        let mut lanes = self.log.take_unsaved_lanes();
        let mut whole = true;
        for (lane, head) in self.residents.take_unsaved() {
            lanes.remove(&lane);
            whole = whole && saving.save(lane, head);
        }
        let whole = whole && saving.save_all(lanes) && saving.write();
        if let Some((count, first)) = saving.unreadable {
            tracing::warn!("documents without a new snapshot: {count}, the first because of this: {first}");
        }
        if !whole {
            tracing::warn!(
                "not every document has a snapshot: the stop took as long as it may, was interrupted, or the store has \
                 stopped; they need the plugins that made their last operations"
            );
        }
    }
}

impl Saving<'_> {
    /// Replays documents that are not in memory, and saves where they stand.
    fn save_all(&mut self, lanes: HashSet<LaneKey>) -> bool {
        lanes.into_iter().all(|lane| match self.find(&lane) {
            Ok(Some(head)) => self.save(lane, head),
            Ok(None) => self.may_go_on(),
            Err(error) => {
                self.unreadable.get_or_insert((0, error)).0 += 1;
                self.may_go_on()
            }
        })
    }

    /// Where a document stands, if it has operations since its last snapshot.
    fn find(&self, lane: &LaneKey) -> Result<Option<Head>, HistoryError> {
        let store = &**self.shared.log.store();
        let Some(position) = store.position(lane)? else { return Ok(None) };
        let from = store.snapshot(lane, position.revision)?;
        if from.as_ref().is_some_and(|from| from.revision == position.revision) {
            return Ok(None);
        }
        let (interrupt, limits) = (&self.run.interrupt, &self.shared.config.limits);
        let mut call = Call::new(lane, self.until, interrupt, limits);
        let room = || {
            let gone = self.shared.residents.make_room();
            let made = !gone.is_empty();
            self.shared.log.evict(gone);
            made
        };
        let serving = self.shared.reducers.get(&position.document_type);
        let mut replay = Replay::new(store, &self.shared.reducers, serving, lane, &room, None);
        replay.begin(from)?;
        replay.up_to(position.revision, &position, &mut call)?;
        Ok(Some(replay.end().head))
    }

    /// Says whether there is time for more.
    fn save(&mut self, lane: LaneKey, head: Head) -> bool {
        self.bytes += head.scopes.iter().map(|scope| scope.state.json.len()).sum::<usize>();
        let entry = Some(Entry::Snapshot { lane, head: Arc::new(head) });
        self.batch.push(Item { entry, then: Then::Nothing });
        if self.batch.len() < BATCH_SNAPSHOTS_MAX && self.bytes < BATCH_BYTES_MAX {
            return self.may_go_on();
        }
        self.write() && self.may_go_on()
    }

    /// Waits until what has gathered is written.
    fn write(&mut self) -> bool {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        let written = batch.is_empty()
            || (self.committer.push_all(batch).is_ok() && committer::wait(self.committer.hand_over(None)).is_ok());
        self.shared.hand_over_snapshots();
        written
    }

    fn may_go_on(&self) -> bool {
        Instant::now() < self.until && !self.run.interrupt.load(Ordering::Relaxed)
    }
}
