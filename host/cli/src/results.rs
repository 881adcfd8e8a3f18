//! Results of jobs that reducers dispatched.

use std::sync::Arc;

use reductor_host::{Event, JobExecutorManager, JobResult, Received, Subscription, Ticket};

/// Collects the results of jobs that reducers dispatched, as they end, until the manager stops.
/// The log holds on to most of what they are made of, so they take little room beside it.
pub(crate) fn collect_dispatched(manager: &JobExecutorManager, mut events: Subscription) -> Vec<Arc<JobResult>> {
    let mut dispatched = Vec::new();
    while let Some(received) = events.recv_blocking() {
        let event = match received {
            Received::Event(event) => event,
            Received::Missed(count) => {
                eprintln!("warning: missed {count} events; results of dispatched jobs may be missing");
                continue;
            }
        };
        let result = match &*event {
            Event::ExecutorStopped(_) => break,
            Event::JobCompleted(completed) => Some(completed.result.clone()),
            // Its result comes right after the event.
            Event::JobFailed(failed) if !failed.will_retry => {
                manager.watch(&failed.job.id).ok().map(Ticket::wait_blocking)
            }
            _ => None,
        };
        let is_dispatched =
            |result: &Arc<JobResult>| result.metadata.as_ref().is_some_and(|metadata| metadata.causation.is_some());
        dispatched.extend(result.filter(is_dispatched));
    }
    dispatched
}
