//! Plugin revisions that ran into their timeout lately.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ids::DocumentType;
use crate::plugin::PluginRef;
use crate::registry::Reducers;

/// How long a revision is suspected after a timeout.
const SUSPECTED_FOR: Duration = Duration::from_secs(60);

/// Remembers revisions that ran into their timeout, so that they do not take every worker.
#[derive(Default)]
pub(crate) struct Suspects {
    any: AtomicBool,
    known: Mutex<HashMap<DocumentType, (Arc<PluginRef>, Duration)>>,
}

impl Suspects {
    /// Takes note of a timeout.
    pub(crate) fn timed_out(&self, plugin: &Arc<PluginRef>, now: Duration) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(plugin.document_type.clone(), (plugin.clone(), now + SUSPECTED_FOR));
        self.any.store(true, Ordering::Relaxed);
    }

    /// When the next of them is suspected no more, if one is suspected.
    pub(crate) fn next_cleared(&self) -> Option<Duration> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().map(|(_, until)| *until).min()
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
        if taken < (workers / 2).max(1) || !self.any.load(Ordering::Relaxed) {
            return true;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((plugin, until)) = known.get(document_type) else { return true };
        let serves = reducers.get(document_type).is_some_and(|reducer| reducer.plugin() == plugin);
        if serves && now < *until {
            return false;
        }
        known.remove(document_type);
        self.any.store(!known.is_empty(), Ordering::Relaxed);
        true
    }
}
