//! What the committer does: writes batches, and then tells the world.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::committer::{Committer, Item, Then, Written};
use super::shared::Shared;
use crate::blocking::block_on;
use crate::store::{Entry, Pausing, StoreError};
use crate::time::Timestamp;

/// How often old results are looked for, to be forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(30);

impl Shared {
    /// Writes until the manager is gone and everything is written.
    pub(super) fn write_until_closed(&self, committer: &Committer) {
        // At once after the start: a process that lives for seconds forgets as well as others.
        let mut prune_at = Duration::ZERO;
        loop {
            let due = prune_at.saturating_sub(self.config.clock.elapsed());
            let Some(batch) = committer.next_batch(due.min(PRUNE_EVERY)) else { return };
            self.write(committer, batch);
            committer.batch_done();
            self.tell_if_idle(&mut self.lock());
            let now = self.config.clock.moment();
            if now.elapsed >= prune_at && committer.stopped().is_none() {
                // A store forgets a bounded number at once, so that batches need not wait for long.
                let more = self.prune(committer, now.now);
                prune_at = if more { now.elapsed } else { now.elapsed + PRUNE_EVERY };
            }
        }
    }

    /// Forgets old results. Says whether there may be more of them.
    fn prune(&self, committer: &Committer, now: Timestamp) -> bool {
        match guarded("forget old jobs", || self.log.store().prune(now)) {
            Ok(forgotten) => forgotten > 0,
            Err(error @ (StoreError::Stopped { .. } | StoreError::Panicked { .. })) => {
                tracing::error!("the store stopped writing: {error}");
                self.stop_writing(committer, Vec::new(), error);
                self.tell_if_idle(&mut self.lock());
                false
            }
            Err(error) => {
                tracing::warn!("old results could not be forgotten: {error}");
                false
            }
        }
    }

    fn write(&self, committer: &Committer, batch: Vec<Item>) {
        let (entries, thens): (Vec<_>, Vec<_>) = batch.into_iter().map(|item| (item.entry, item.then)).unzip();
        // Items without an entry wait for those before them.
        let entries: Vec<Entry> = entries.into_iter().flatten().collect();
        if let Some(error) = committer.stopped() {
            return thens.into_iter().for_each(|then| self.not_written(then, &error));
        }
        let failed = match self.commit(&entries) {
            Ok(()) => return self.written(&entries, thens),
            Err(error) => error,
        };
        tracing::error!("the store stopped writing: {failed}");
        self.stop_writing(committer, thens, failed);
    }

    /// Writes a batch. The manager is the only one who appends to the lanes that it runs, so an
    /// entry that does not fit means that what it believes of the log is wrong: then nothing more
    /// is written on top of that.
    fn commit(&self, entries: &[Entry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        guarded("write a batch", || self.log.store().commit(entries))?.into_iter().collect()
    }

    fn written(&self, entries: &[Entry], thens: Vec<Then>) {
        for entry in entries {
            if let Entry::Ended(ended) = entry
                && let Some(append) = &ended.append
            {
                self.log.committed(&append.lane, append.head.revision);
            }
        }
        for then in thens {
            match then {
                Then::Accepted { told, .. } => tell(told, Ok(())),
                Then::Ended(end) => self.announce(*end),
                Then::Tell(told) => tell(Some(told), Ok(())),
                Then::Nothing => {}
            }
        }
    }

    /// From here on it is not known what is on the disk. Nobody who waits is told anything else,
    /// nothing that ran ahead is served, and no job is started: the next start reads what is
    /// there, and goes on from it.
    fn stop_writing(&self, committer: &Committer, thens: Vec<Then>, failed: StoreError) {
        let stopped = match failed {
            StoreError::Stopped { .. } => failed,
            other => StoreError::Stopped { because: other.to_string() },
        };
        let left = committer.stop(stopped.clone());
        self.log.fall_back();
        self.residents.clear();
        let queued = self.lock().queue.drain();
        let thens = thens.into_iter().chain(left.into_iter().map(|item| item.then));
        thens.for_each(|then| self.not_written(then, &stopped));
        queued.iter().for_each(|pending| self.suspend(&pending.record, &stopped));
    }

    /// Tells those who wait for what was not written, or may not have been.
    pub(super) fn not_written(&self, then: Then, error: &StoreError) {
        match then {
            Then::Accepted { record, told } => {
                tell(told, Err(error.clone()));
                self.suspend(&record, error);
            }
            Then::Ended(end) => self.suspend(&end.record, error),
            Then::Tell(told) => tell(Some(told), Err(error.clone())),
            Then::Nothing => {}
        }
    }

    /// Hands over whether the queue is paused, for the next start. Called with the queue's lock, so
    /// that the journal has the latest of several calls.
    pub(super) fn hand_over_pausing(&self, pausing: Pausing) -> Option<Written> {
        self.committer.as_ref().map(|committer| committer.hand_over(Some(Entry::Pausing(pausing))))
    }

    /// Waits until the journal has it.
    pub(super) fn wait_for_pausing(&self, written: Option<Written>) {
        block_on(self.pausing_written(written));
    }

    /// The same without blocking the thread.
    pub(super) async fn pausing_written(&self, written: Option<Written>) {
        let Some(written) = written else { return };
        if let Err(error) = written.await.expect("the committer tells everybody") {
            tracing::warn!("the next start will not know whether the queue was paused: {error}");
        }
    }

    /// Hands over where documents stood that had to go or moved to another revision. Behind their
    /// appends, so that no snapshot is written before the operations that lead to it.
    pub(super) fn hand_over_snapshots(&self) {
        let Some(committer) = &self.committer else { return };
        self.log.hand_over_snapshots(|lane, head| {
            let entry = Some(Entry::Snapshot { lane, head });
            // If nothing is written any more, nothing need be snapshotted.
            let _ = committer.push(Item { entry, then: Then::Nothing });
        });
    }
}

/// Calls a store, which is the embedder's choice. If it panics, it may have written anything: that is
/// taken for a failure, because nobody must wait for a thread that is gone.
fn guarded<T>(doing: &'static str, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(StoreError::Panicked { doing }))
}

fn tell(told: Option<super::committer::Told>, outcome: Result<(), StoreError>) {
    if let Some(told) = told {
        // Whoever waited may have gone.
        let _ = told.send(outcome);
    }
}

/// Runs the committer's thread for as long as there is a manager.
pub(super) fn run(shared: &Arc<Shared>) {
    if let Some(committer) = &shared.committer {
        shared.write_until_closed(committer);
    }
}
