//! Plugin revisions that may not run, why, and since when.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::divergence::Divergence;
use crate::failure::Reason;
use crate::ids::{Branch, DocumentId, DocumentType, JobId};
use crate::plugin::PluginRef;
use crate::registry::Reducers;
use crate::time::Timestamp;

/// Revisions that are remembered. Of more, the oldest go that serve no model.
const KEPT_MAX: usize = 256;

/// A plugin revision that may not run. Its documents' jobs wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quarantine {
    /// Which revision.
    pub plugin: Arc<PluginRef>,
    /// Since when.
    pub since: Timestamp,
    /// What its job failed of.
    pub reason: Reason,
    /// The same for people.
    pub message: String,
    /// The job that failed.
    pub job_id: JobId,
    /// The job's document.
    pub document_id: DocumentId,
    /// The branch of it.
    pub branch: Branch,
    /// How a fresh instance differed, if that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<Box<Divergence>>,
}

/// The revisions in quarantine.
#[derive(Default)]
pub(crate) struct Quarantines {
    kept: Mutex<Vec<Quarantine>>,
    /// How many there are, so that nobody needs the lock as long as there are none.
    count: AtomicUsize,
}

impl Quarantines {
    /// Those there are, the latest last.
    pub(crate) fn list(&self) -> Vec<Quarantine> {
        self.lock().clone()
    }

    /// Adds one, unless its revision is there already. Says whether it was new. One at a time
    /// adds.
    pub(crate) fn add(&self, quarantine: Quarantine, reducers: &Reducers) -> bool {
        let known: Vec<_> = self.lock().iter().map(|known| known.plugin.clone()).collect();
        if known.contains(&quarantine.plugin) {
            return false;
        }
        let idle = if known.len() < KEPT_MAX { None } else { known.iter().position(|known| !serves(reducers, known)) };
        let mut kept = self.lock();
        if let Some(idle) = idle {
            kept.remove(idle);
        }
        kept.push(quarantine);
        self.count.store(kept.len(), Ordering::Relaxed);
        true
    }

    /// Takes out those with this digest.
    pub(crate) fn release(&self, digest: &str) -> Vec<Quarantine> {
        let mut kept = self.lock();
        let (released, left) = kept.drain(..).partition(|known| *known.plugin.digest == *digest);
        *kept = left;
        self.count.store(kept.len(), Ordering::Relaxed);
        released
    }

    /// Whether the revision that serves a model is in quarantine.
    pub(crate) fn hold(&self, document_type: &DocumentType, reducers: &Reducers) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        reducers.get(document_type).is_some_and(|reducer| self.has(reducer.plugin()))
    }

    /// Whether a revision is in quarantine.
    pub(crate) fn has(&self, plugin: &Arc<PluginRef>) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && self.lock().iter().any(|known| known.plugin == *plugin)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Quarantine>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serves(reducers: &Reducers, plugin: &Arc<PluginRef>) -> bool {
    reducers.get(&plugin.document_type).is_some_and(|reducer| reducer.plugin() == plugin)
}
