//! The process under test: clients of a host, who tell the world what was acknowledged.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use reductor_core::{
    Event, EventBus, JobErrorCode, JobExecutorManager, JobId, JobQuery, JobStatus, NotADeadLetter, OperationStore as _,
    Received, Refusal, Stop, Submission, Ticket, Timestamp,
};
use reductor_store::{DiskStore, Sync};

use crate::host;
use crate::record::{Intent, Line};
use crate::relay;
use crate::workload::{Jobs, Plan};

/// What the process is told.
#[derive(Clone, Debug)]
pub struct Run {
    /// The store's directory.
    pub dir: PathBuf,
    /// When the store syncs.
    pub sync: Sync,
    /// What the clients do.
    pub plan: Plan,
    /// What an earlier process may have submitted and was not told of: it is submitted again.
    pub again: Vec<Intent>,
}

/// Jobs that a client submits before it waits for the first.
const AHEAD_MAX: usize = 6;
/// Jobs that a client goes on to submit after one was not written.
const AFTER_FAILURE: u64 = 3;
/// Events that may wait to be told.
const EVENTS_MAX: usize = 65_536;

/// Whether something was not written.
type Failed = AtomicBool;

/// Runs the clients to their end.
///
/// # Errors
///
/// If something happens that must not, whatever fails of the disk.
pub fn run(run: &Run) -> Result<()> {
    let store = match host::open_store(&run.dir, run.sync) {
        Ok(store) => Arc::new(store),
        Err(error) => return Line::NotOpened { error: error.to_string() }.tell(),
    };
    let bus = EventBus::new(EVENTS_MAX);
    tell_of_retries(&bus);
    let manager = host::open_manager(&store, bus)?;
    manager.start(None)?;
    Line::Opened.tell()?;
    let failed = Failed::new(false);
    std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for client in 0..run.plan.clients {
            let (store, manager, failed) = (&*store, &manager, &failed);
            let again: Vec<_> = run.again.iter().skip(client as usize).step_by(run.plan.clients as usize).collect();
            clients.push(
                scope.spawn(move || {
                    Client { store, manager, failed, waiting: VecDeque::new() }.run(client, run, &again)
                }),
            );
        }
        clients
            .into_iter()
            .try_for_each(|client| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    if failed.load(Ordering::Relaxed) {
        read_all(&store, &manager)?;
    } else {
        manager.wait_until_idle_blocking();
    }
    manager.stop_blocking(Stop::Graceful);
    Line::Done.tell()
}

/// One client: submits, waits, and tells.
struct Client<'a> {
    store: &'a DiskStore,
    manager: &'a JobExecutorManager,
    failed: &'a Failed,
    /// Accepted jobs whose results are still to come.
    waiting: VecDeque<(Intent, Ticket)>,
}

impl Client<'_> {
    fn run(mut self, client: u64, run: &Run, again: &[&Intent]) -> Result<()> {
        let mut jobs = Jobs::new(run.plan, client);
        for intent in again {
            self.submit(intent)?;
        }
        let (mut before, mut after_failure) = (None, 0);
        while let Some(intent) = jobs.next(before.as_ref()) {
            if self.failed.load(Ordering::Relaxed) {
                after_failure += 1;
                if after_failure > AFTER_FAILURE {
                    break;
                }
            }
            Line::Submitting(intent.clone()).tell()?;
            if jobs.rng().bool() && intent.submission.contains("STUMBLE") {
                intent.actions.iter().for_each(|action| relay::stumble_at(action));
            }
            // A job may only depend on one that completes.
            let accepted = self.submit(&intent)?;
            before = accepted.filter(|_| intent.outcome == crate::record::Outcome::Completes).or(before);
            let ahead = jobs.rng().usize(..AHEAD_MAX);
            self.wait_for_results(ahead)?;
            if jobs.rng().u8(..6) == 0 {
                self.see_to_dead_letters(jobs.rng().bool())?;
            }
            if jobs.rng().u8(..16) == 0 {
                prune(self.store, self.failed);
            }
        }
        self.wait_for_results(0)
    }

    fn submit(&mut self, intent: &Intent) -> Result<Option<JobId>> {
        let submission = Submission::from_json(&intent.submission)?;
        let name = intent.name.clone();
        // Clients are told of the acceptance, or of the result alone: that may be one batch.
        match self.manager.submit(submission).and_then(|submitted| submitted.accepted_blocking()) {
            Ok(ticket) => {
                let job_id = ticket.job_id.clone();
                Line::Accepted { name, job_id: job_id.clone() }.tell()?;
                self.waiting.push_back((intent.clone(), ticket));
                Ok(Some(job_id))
            }
            Err(refusal @ (Refusal::Store(_) | Refusal::UnknownDependency { .. })) => {
                if matches!(refusal, Refusal::Store(_)) {
                    self.failed.store(true, Ordering::Relaxed);
                }
                Line::NotAccepted { name, error: refusal.to_string() }.tell()?;
                Ok(None)
            }
            Err(other) => Err(other).with_context(|| intent.submission.clone()),
        }
    }

    /// Waits until no more than `left` results are still to come.
    fn wait_for_results(&mut self, left: usize) -> Result<()> {
        while self.waiting.len() > left {
            let Some((intent, ticket)) = self.waiting.pop_front() else { break };
            let result = ticket.wait_blocking();
            if result.error_code == Some(JobErrorCode::IoError) {
                self.failed.store(true, Ordering::Relaxed);
            }
            Line::Result { name: intent.name, result: Box::new((*result).clone()) }.tell()?;
        }
        Ok(())
    }

    /// Retries a dead letter, or discards it.
    fn see_to_dead_letters(&mut self, retry: bool) -> Result<()> {
        let query = JobQuery { status: Some(JobStatus::Failed), document: None, after: 0, limit: 1 };
        let Ok(letters) = self.manager.jobs(&query) else { return Ok(()) };
        for job_id in letters.iter().map(|letter| letter.job_id().clone()) {
            let done = if retry {
                Line::Retrying { job_id: job_id.clone() }.tell()?;
                self.manager.retry_failed(&job_id).map(drop)
            } else {
                Line::Discarding { job_id: job_id.clone() }.tell()?;
                self.manager.discard_failed(&job_id)
            };
            match done {
                Ok(()) if !retry => Line::Discarded { job_id }.tell()?,
                Err(NotADeadLetter::Store(_)) => self.failed.store(true, Ordering::Relaxed),
                // Another client may have been there first.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Tells of attempts that failed, once the journal has them.
fn tell_of_retries(bus: &EventBus) {
    let mut events = bus.subscribe();
    std::thread::spawn(move || {
        while let Some(received) = events.recv_blocking() {
            if let Received::Event(event) = received
                && let Event::JobFailed(failed) = &*event
                && failed.will_retry
            {
                let line = Line::WillRetry { job_id: failed.job.id.clone(), retry_count: failed.retry_count };
                line.tell().expect("somebody listens");
            }
        }
    });
}

fn prune(store: &DiskStore, failed: &Failed) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    if store.prune(Timestamp { ms: now.as_millis() as i64 }).is_err() {
        failed.store(true, Ordering::Relaxed);
    }
}

/// Reads every document after writing has stopped: reads go on.
fn read_all(store: &DiskStore, manager: &JobExecutorManager) -> Result<()> {
    for lane in store.lanes(None, usize::MAX)? {
        let document = lane.document.clone();
        match manager.head(&lane) {
            Ok(head) => Line::Read { document, revision: head.map_or(0, |head| head.revision) }.tell()?,
            Err(error) => Line::NotRead { document, error: error.to_string() }.tell()?,
        }
    }
    Ok(())
}
