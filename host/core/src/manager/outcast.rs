//! Puts plugin revisions into quarantine and takes them out again, with the jobs that wait for
//! them.

use std::sync::Arc;

use super::shared::Shared;
use crate::audit::OnDivergence;
use crate::divergence::Divergence;
use crate::failure::{JobError, Reason};
use crate::ids::DocumentType;
use crate::plugin::PluginRef;
use crate::quarantine::Quarantine;
use crate::records::Record;
use crate::registry::RegistryListener;

impl Shared {
    /// Does what is to be done about a plugin whose job came out differently on a fresh instance.
    pub(super) fn answer_divergence(
        &self,
        record: &Record,
        plugin: &Arc<PluginRef>,
        divergence: &Divergence,
        error: &JobError,
    ) {
        let job = &record.accepted.job;
        let (message, hint) = (&error.error_message, divergence.hint);
        if self.config.on_divergence == OnDivergence::FailJob {
            tracing::warn!(%plugin, digest = %plugin.digest, job = %job.id, "{message} ({hint})");
            return;
        }
        let quarantine = Quarantine {
            plugin: plugin.clone(),
            since: self.config.clock.now(),
            reason: Reason::Diverged,
            message: message.clone(),
            job_id: job.id.clone(),
            document_id: job.document_id.clone(),
            branch: job.branch.clone(),
            divergence: Some(Box::new(divergence.clone())),
        };
        if self.quarantine(quarantine) {
            let digest = &plugin.digest;
            tracing::error!(%plugin, %digest, job = %job.id, "quarantined; its documents' jobs wait: {message} ({hint})");
        }
    }

    /// Says whether the revision was not in quarantine already.
    fn quarantine(&self, quarantine: Quarantine) -> bool {
        let mut waiting = self.lock();
        let document_type = quarantine.plugin.document_type.clone();
        let new = self.quarantines.add(quarantine, &self.reducers);
        if self.quarantines.hold(&document_type, &self.reducers) {
            waiting.queue.block(document_type);
        }
        self.tell_if_idle(&mut waiting);
        new
    }

    pub(super) fn release_from_quarantine(&self, digest: &str) -> Vec<Quarantine> {
        let mut waiting = self.lock();
        let released = self.quarantines.release(digest);
        for Quarantine { plugin, .. } in &released {
            if !self.quarantines.hold(&plugin.document_type, &self.reducers) {
                waiting.queue.unblock(&plugin.document_type);
            }
            tracing::warn!(%plugin, %digest, "released from quarantine");
        }
        self.waiting.ring_all(waiting);
        released
    }
}

impl RegistryListener for Shared {
    /// The new reducer may be one in quarantine, or come instead of one.
    fn registered(&self, document_type: &DocumentType) {
        let mut waiting = self.lock();
        if self.quarantines.hold(document_type, &self.reducers) {
            waiting.queue.block(document_type.clone());
            self.tell_if_idle(&mut waiting);
        } else if waiting.queue.unblock(document_type) {
            self.waiting.ring_all(waiting);
        }
    }
}
