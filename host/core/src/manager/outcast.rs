//! Puts plugin revisions into quarantine and takes them out again, with the jobs that wait for
//! them.

use std::sync::Arc;

use super::shared::Shared;
use crate::audit::OnDivergence;
use crate::divergence::Hint;
use crate::failure::Reason;
use crate::ids::DocumentType;
use crate::plugin::PluginRef;
use crate::quarantine::Quarantine;
use crate::records::Record;
use crate::registry::RegistryListener;
use crate::report::Report;

impl Shared {
    /// Does what is to be done about a plugin whose job came out differently on a fresh instance, or
    /// whose operations did when they were applied again; nothing if the attempt, which ran on
    /// `ran_on`, failed of something else.
    pub(super) fn answer_divergence(&self, record: &Record, report: &Report, ran_on: Option<&Arc<PluginRef>>) {
        let Some(plugin) = report.impure(ran_on) else { return };
        let (job, divergence) = (&record.accepted.job, report.divergence());
        let message = &report.error.error_message;
        let hint = divergence.map_or(Hint::HiddenState, |divergence| divergence.hint);
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
            divergence: divergence.cloned().map(Box::new),
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
