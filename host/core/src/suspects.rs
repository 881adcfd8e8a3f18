//! Plugin revisions that ran into their timeout lately.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ids::DocumentType;
use crate::plugin::PluginRef;
use crate::registry::Reducers;

/// How long a revision is suspected after a timeout.
const SUSPECTED_FOR: Duration = Duration::from_secs(60);

/// Remembers revisions that ran into their timeout, so that they do not take every worker.
#[derive(Default)]
pub(crate) struct Suspects {
    known: Mutex<Known>,
}

/// Which revision of a model, and until when.
type Known = HashMap<DocumentType, (Arc<PluginRef>, Duration)>;

impl Suspects {
    /// Takes note of a timeout.
    pub(crate) fn timed_out(&self, plugin: &Arc<PluginRef>, now: Duration) {
        self.lock().insert(plugin.document_type.clone(), (plugin.clone(), now + SUSPECTED_FOR));
    }

    /// When the next of them is suspected no more, if one is suspected.
    pub(crate) fn next_cleared(&self) -> Option<Duration> {
        self.lock().values().map(|(_, until)| *until).min()
    }

    /// Whether one more worker may run documents of this model when so many do: for the
    /// revisions here at most half of the workers, at least one.
    pub(crate) fn may_take(
        &self,
        document_type: &DocumentType,
        taken: usize,
        workers: usize,
        now: Duration,
        reducers: &Reducers,
    ) -> bool {
        if taken < (workers / 2).max(1) {
            return true;
        }
        let Some((plugin, until)) = self.lock().get(document_type).cloned() else { return true };
        let serves = reducers.get(document_type).is_some_and(|reducer| *reducer.plugin() == plugin);
        if serves && now < until {
            return false;
        }
        self.lock().remove(document_type);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
