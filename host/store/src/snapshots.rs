//! Which snapshots of a lane are kept.
//!
//! The newest two are kept, and the first of every 1,024 revisions for whoever asks for the
//! state in the past. Each is a whole state, so that their number must be bounded by more than
//! the number of operations.

use fjall::{Readable as _, Snapshot};
use reductor_core::StoreError;

use crate::engine::Engine;
use crate::error::read_error;
use crate::keys;

/// One snapshot in so many revisions is kept for good.
const HISTORY_EVERY: u64 = 1024;

/// The newest three snapshots of a lane, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshots {
    revisions: [Option<u64>; 3],
}

/// What a new snapshot changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is there already.
    Known,
    /// It is to be written, and this older one is to go.
    New { drops: Option<u64> },
}

impl Snapshots {
    pub(crate) fn load(engine: &Engine, view: &Snapshot, lane: u32) -> Result<Self, StoreError> {
        let mut revisions = [None; 3];
        let range = keys::in_lane(lane, 0)..=keys::in_lane(lane, u64::MAX);
        for (place, guard) in revisions.iter_mut().rev().zip(view.range(&engine.snapshots, range).rev()) {
            let key = guard.key().map_err(|error| read_error(error, || "a key of a snapshot".to_owned()))?;
            *place = keys::split(&key).map(|(_, revision)| revision);
        }
        Ok(Self { revisions })
    }

    /// The newest.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.revisions[2]
    }

    /// Takes note of a snapshot.
    pub(crate) fn add(&mut self, revision: u64) -> Kept {
        if self.revisions.contains(&Some(revision)) || self.newest().is_some_and(|newest| newest > revision) {
            return Kept::Known;
        }
        // The last but one goes, unless it is the first of its stretch of history.
        let [before, oldest, newer] = self.revisions;
        let same_stretch = |oldest: &u64| before.is_some_and(|before| before / HISTORY_EVERY == oldest / HISTORY_EVERY);
        let drops = oldest.filter(same_stretch);
        self.revisions = [if drops.is_some() { before } else { oldest }, newer, Some(revision)];
        Kept::New { drops }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_two_are_kept_and_the_first_of_every_1024_revisions() {
        let mut snapshots = Snapshots::default();
        let mut kept = std::collections::BTreeSet::new();
        for revision in (64..=5 * 1024 + 640).step_by(64) {
            assert_eq!(snapshots.newest(), kept.last().copied());
            let Kept::New { drops } = snapshots.add(revision) else { panic!("{revision} is new") };
            kept.insert(revision);
            if let Some(dropped) = drops {
                assert!(kept.remove(&dropped), "{dropped} was there");
            }
            assert_eq!(snapshots.add(revision), Kept::Known);
        }
        let history = [64, 1024, 2048, 3072, 4096, 5120];
        assert_eq!(kept.into_iter().collect::<Vec<_>>(), [&history[..], &[5696, 5760]].concat());
    }
}
