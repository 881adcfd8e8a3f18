//! Jobs that an earlier run accepted and did not finish.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use reductor_host::{DocumentType, Host, JobId, JobResult, Ticket};

use crate::units::count;

/// The unfinished jobs of earlier runs whose results are to be printed.
pub(super) struct Recovered {
    /// Of those that were submitted and that have a plugin. Dispatched jobs are reported by the events,
    /// like all dispatched jobs.
    tickets: HashMap<JobId, Ticket>,
}

impl Recovered {
    /// Looks for them before the start, and tells people how many there are.
    pub(super) fn find(host: &Host) -> anyhow::Result<Self> {
        let (mut tickets, mut served) = (HashMap::new(), 0_u64);
        let mut unserved: BTreeMap<DocumentType, u64> = BTreeMap::new();
        for journaled in host.store().unfinished()? {
            let accepted = journaled.accepted;
            if host.reducers().get(&accepted.document_type).is_none() {
                *unserved.entry(accepted.document_type).or_default() += 1;
                continue;
            }
            served += 1;
            if accepted.causation.is_none() {
                let ticket = host.manager().watch(&accepted.job.id)?;
                tickets.insert(accepted.job.id, ticket);
            }
        }
        if served > 0 {
            let (go, their) = if served == 1 { ("goes", "its result is") } else { ("go", "their results are") };
            eprintln!("{} of earlier runs {go} on; {their} printed, too", unfinished(served));
        }
        for (document_type, waiting) in unserved {
            let wait = if waiting == 1 { "waits" } else { "wait" };
            eprintln!(
                "warning: {} of earlier runs {wait} for a plugin for `{document_type}`; give it with --plugin",
                unfinished(waiting)
            );
        }
        Ok(Self { tickets })
    }

    /// The ticket of a job that is one of them; it is none of them afterwards.
    pub(super) fn take(&mut self, job: &JobId) -> Option<Ticket> {
        self.tickets.remove(job)
    }

    /// The results of all that have ended; they are none of them afterwards.
    pub(super) fn take_ended(&mut self) -> Vec<Arc<JobResult>> {
        let mut ended = Vec::new();
        self.tickets.retain(|_, ticket| match ticket.try_wait() {
            Some(result) => {
                ended.push(result);
                false
            }
            None => true,
        });
        ended
    }
}

fn unfinished(jobs: u64) -> String {
    count(jobs, "unfinished job", "unfinished jobs")
}
