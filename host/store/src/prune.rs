//! Forgetting old jobs now and then, and freeing their tables.

use std::sync::PoisonError;
use std::time::Duration;

use reductor_core::{PRUNE_JOBS_MAX, StoreError, Timestamp};

use crate::codec;
use crate::engine::STATE_KEY;
use crate::error::describe;
use crate::forget::Forgetting;
use crate::jobs::Unlisted;
use crate::outcomes::Remembering;
use crate::plan::Planned;
use crate::store::Inner;

/// Up to where the tables of what is forgotten were freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freed {
    completed: u64,
    outcomes: u32,
    budgets: u32,
}

/// How far the clock of retention moves before that is written, if nothing else is.
const CLOCK_WRITTEN_EVERY: Duration = Duration::from_mins(10);

/// Completed jobs that are forgotten before the engine is asked to free their tables.
const FREE_EVERY: u64 = 50_000;

impl Inner {
    /// Forgets jobs that are too old or too many, a bounded number of them. Returns how many.
    pub(crate) fn prune(&self, wall: Timestamp) -> Result<u64, StoreError> {
        let mut writer = self.writer();
        self.check_running()?;
        let retention = &self.options.retention;
        let (view, mut state, before) = {
            let shared = self.shared();
            (shared.view.clone(), shared.state, shared.remembered.clone())
        };
        let (now, surplus, unlisted_before, seed) = {
            let jobs = self.jobs();
            let now = writer.clock.read(wall, jobs.newest_end());
            (now, jobs.surplus(retention, Some(now), PRUNE_JOBS_MAX), jobs.unlisted_before(), jobs.seed())
        };
        let (mut batch, mut changes) = (self.engine.database.batch(), Vec::new());
        let mut remembering = Remembering::new(&before);
        let mut forgetting = Forgetting {
            engine: &self.engine,
            view: &view,
            retention,
            remembering: &mut remembering,
            batch: &mut batch,
            state: &mut state,
            changes: &mut changes,
        };
        // The oldest first: the ones that the index does not have.
        let unlisted = unlisted_before.map(|before| forgetting.unlisted(before, seed, PRUNE_JOBS_MAX)).transpose()?;
        let mut count = unlisted.unwrap_or(0);
        if count == 0 {
            count = forgetting.surplus(&surplus.at_most(PRUNE_JOBS_MAX));
        }
        remembering.forget_older(retention, now);
        writer.clock.forgot(count);
        let reached = writer.clock.reached();
        let moved = reached.map_or(0, |reached| reached.ms.abs_diff(before.clock_ms.unwrap_or(i64::MIN)));
        if count > 0 || remembering.has_changed() || moved >= CLOCK_WRITTEN_EVERY.as_millis() as u64 {
            remembering.set_clock(reached);
            let remembered = remembering.finish(&self.engine, &mut batch);
            state.commits += 1;
            let mut scratch = Vec::new();
            codec::encode(&state, &mut scratch);
            batch.insert(&self.engine.meta, STATE_KEY, &scratch[..]);
            self.write(Planned { batch, state, lanes: Vec::new(), changes, names: Vec::new(), remembered })?;
        }
        if unlisted.is_some_and(|count| count < PRUNE_JOBS_MAX as u64) {
            self.jobs.write().unwrap_or_else(PoisonError::into_inner).set_unlisted(Unlisted::None);
        }
        writer.freed = self.free_forgotten(writer.freed);
        Ok(count)
    }

    /// Frees the tables of what is forgotten, where there is enough of it. Returns up to where.
    fn free_forgotten(&self, before: Freed) -> Freed {
        let mut freed = before;
        let (completed_from, remembered) = {
            let shared = self.shared();
            (shared.state.completed_from, shared.remembered.clone())
        };
        if completed_from >= before.completed.saturating_add(FREE_EVERY) {
            freed.completed = completed_from;
            self.free(&self.engine.completed, &freed.completed.to_be_bytes());
        }
        freed.outcomes = remembered.first_generation();
        if freed.outcomes != before.outcomes {
            self.free(&self.engine.outcomes, &freed.outcomes.to_be_bytes());
        }
        freed.budgets = remembered.first_budgets();
        if freed.budgets != before.budgets {
            self.free(&self.engine.budgets, &freed.budgets.to_be_bytes());
        }
        freed
    }

    /// Lets the engine drop the tables that have nothing but forgotten jobs. Whatever remains of them
    /// is not read: only what is remembered is looked for.
    fn free(&self, keyspace: &fjall::Keyspace, before: &[u8]) {
        use fjall::AbstractTree as _;
        if let Err(error) = keyspace.tree.drop_range(&[][..]..before) {
            let problem = describe(&error.into());
            tracing::warn!(problem, "the tables of forgotten jobs could not be freed; they are at the next time");
        }
    }
}
