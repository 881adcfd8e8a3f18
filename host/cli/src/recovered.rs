//! Jobs that an earlier run accepted and did not finish.

use std::collections::BTreeMap;
use std::sync::Arc;

use reductor_host::{DocumentType, Host, JobResult, Phase, Ticket};

/// The unfinished jobs of earlier runs, before the start.
pub(crate) struct Recovered {
    /// Of those that somebody submitted and that have a plugin. What was dispatched is reported by
    /// the events, like anything that is dispatched.
    tickets: Vec<Ticket>,
}

impl Recovered {
    /// Looks for them, and tells people how many there are.
    pub(crate) fn find(host: &Host) -> anyhow::Result<Self> {
        let (mut tickets, mut served) = (Vec::new(), 0_u64);
        let mut unserved: BTreeMap<DocumentType, u64> = BTreeMap::new();
        for journaled in host.store().unfinished()? {
            let accepted = journaled.accepted;
            if host.reducers().get(&accepted.document_type).is_none() {
                *unserved.entry(accepted.document_type).or_default() += 1;
                continue;
            }
            served += 1;
            if accepted.causation.is_none() {
                tickets.push(host.manager().watch(&accepted.job.id)?);
            }
        }
        if served > 0 {
            eprintln!("{} of earlier runs {} executed first", count(served), if served == 1 { "is" } else { "are" });
        }
        for (document_type, waiting) in unserved {
            eprintln!(
                "warning: {} of earlier runs {} for a plugin for `{document_type}`; give it with --plugin",
                count(waiting),
                if waiting == 1 { "waits" } else { "wait" },
            );
        }
        Ok(Self { tickets })
    }

    /// Lets them run, once the manager is started, and returns the results that there are in the
    /// end, in the order of their acceptance.
    pub(crate) fn finish(self, host: &Host) -> anyhow::Result<Vec<Arc<JobResult>>> {
        let manager = host.manager();
        if manager.phase() == Phase::Paused {
            eprintln!("the jobs were paused; they go on");
            manager.resume()?;
        }
        if self.tickets.is_empty() {
            return Ok(Vec::new());
        }
        // Not for each of them: one that depends on a job without a plugin does not end.
        manager.wait_until_idle_blocking();
        Ok(self.tickets.into_iter().filter_map(|mut ticket| ticket.try_wait()).collect())
    }
}

fn count(jobs: u64) -> String {
    format!("{jobs} unfinished {}", if jobs == 1 { "job" } else { "jobs" })
}
