//! Whether a store keeps what was acknowledged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reductor_core::{
    ActionId, EventBus, IdempotencyKey, JobId, JobRecord, JournaledJob, OperationStore, Submission,
    dispatched_action_id,
};
use reductor_store::{DiskStore, Sync};

use crate::host;
use crate::log::Log;
use crate::record::{Outcome, Record, Told};
use crate::victim::NOBODY_STARTS;

/// How far a check goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Opens the store, compares, has what is left run, and compares again.
    Once,
    /// Closes it then, opens it again, and compares once more.
    Twice,
}

/// What a check has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Operations in the store as it was found.
    pub operations: usize,
    /// Jobs that had not ended.
    pub unfinished: usize,
    /// Jobs that were submitted and not acknowledged, and are there.
    pub unacknowledged: usize,
}

/// How long what is left may take to run.
const RUN_TIME_MAX: Duration = Duration::from_mins(2);

/// Opens the store in `dir`, and checks that everything that `record` says was acknowledged is
/// there, once, in order and whole; that nothing else is there by half; and that all jobs end
/// when they run.
///
/// The store is closed again. It has run the jobs that it held, and one more.
///
/// # Errors
///
/// What is wrong.
pub fn check(dir: &Path, record: &Record, depth: Depth) -> Result<Checked> {
    let _alone = NOBODY_STARTS.read().unwrap_or_else(PoisonError::into_inner);
    let store = Arc::new(host::open_store(dir, Sync::Always)?);
    let found = Log::read(&*store, &host::reducers())?;
    let unfinished = store.unfinished()?;
    let checked = AsFound::new(&*store, record, &found, &unfinished).check().context("as it was found")?;
    run_what_is_left(&store)?;
    let left = Log::read(&*store, &host::reducers()).context("after what was left has run")?;
    after_running(&*store, record, &found, &left).context("after what was left has run")?;
    drop(store);
    if depth == Depth::Twice {
        let store = host::open_store(dir, Sync::Always).context("the second time")?;
        let report = store.verify(&mut |_| {});
        ensure!(report.problem_count == 0, "it does not verify: {:?}", report.problems);
        ensure!(Log::read(&store, &host::reducers())? == left, "it is another store when it is opened again");
        ensure!(store.unfinished()?.is_empty(), "a job that has ended is unfinished when it is opened again");
    }
    Ok(checked)
}

/// A store as it was found, and what was said of it.
struct AsFound<'a> {
    store: &'a dyn OperationStore,
    record: &'a Record,
    log: &'a Log,
    unfinished: HashMap<&'a JobId, &'a JournaledJob>,
    pending_actions: HashSet<&'a ActionId>,
}

impl<'a> AsFound<'a> {
    fn new(store: &'a dyn OperationStore, record: &'a Record, log: &'a Log, unfinished: &'a [JournaledJob]) -> Self {
        let actions = |job: &'a JournaledJob| job.accepted.job.actions.iter().map(|action| &action.id);
        Self {
            store,
            record,
            log,
            unfinished: unfinished.iter().map(|job| (&job.accepted.job.id, job)).collect(),
            pending_actions: unfinished.iter().flat_map(actions).collect(),
        }
    }

    fn check(&self) -> Result<Checked> {
        let mut unacknowledged = 0;
        for (name, told) in &self.record.jobs {
            let there = self.check_job(told).with_context(|| format!("job {name}"))?;
            unacknowledged += usize::from(there && told.accepted.is_none() && told.result.is_none());
        }
        self.check_order()?;
        self.check_dispatches()?;
        self.check_unfinished()?;
        for (document, revision) in &self.record.read {
            let lane = self.log.lanes.iter().find(|(lane, _)| lane.document == *document);
            let now = lane.map_or(0, |(_, operations)| operations.len() as u64);
            ensure!(now >= *revision, "{document} was read at revision {revision} and stands at {now}");
        }
        let operations = self.log.lanes.values().map(Vec::len).sum();
        Ok(Checked { operations, unfinished: self.unfinished.len(), unacknowledged })
    }

    /// Checks one job, and returns whether it is there.
    fn check_job(&self, told: &Told) -> Result<bool> {
        let applied = self.applied(told)?;
        let key = IdempotencyKey::from(&*told.intent.name);
        let by_key = self.store.job_of_key(&key)?;
        if let (Some(accepted), Some(by_key)) = (&told.accepted, &by_key) {
            ensure!(accepted == by_key, "it was accepted as {accepted}, and its key leads to {by_key}");
        }
        let known = match told.accepted.as_ref().or(by_key.as_ref()) {
            Some(job_id) => self.store.job(job_id)?,
            None => None,
        };
        self.check_result(told, applied)?;
        match &known {
            Some(JobRecord::Unfinished(job)) => {
                ensure!(!applied, "it is unfinished, and its operations are there");
                let retried = self.record.retrying.contains(&job.accepted.job.id);
                ensure!(told.result.is_none() || retried, "its result was acknowledged, and it is unfinished");
            }
            Some(JobRecord::Completed { result, .. }) => {
                ensure!(applied, "it completed, and its operations are not there");
                ensure!(told.result.as_ref().is_none_or(|told| *told == **result), "its result is another");
            }
            Some(JobRecord::Failed { journaled, .. }) => {
                ensure!(!applied, "it failed, and its operations are there");
                let job_id = &journaled.accepted.job.id;
                // If somebody retried it at the same time, either may have been first.
                let retried = self.record.retrying.contains(job_id);
                ensure!(retried || !self.record.discarded.contains(job_id), "it was discarded, and is there");
                ensure!(told.intent.outcome == Outcome::Fails, "it failed: {:?}", journaled.failed_attempts);
            }
            None if applied => {} // It completed, and its result is not kept any more.
            None => {
                let discarded = told.accepted.as_ref().is_some_and(|job_id| self.record.discarding.contains(job_id));
                ensure!(told.accepted.is_none() || discarded, "it was accepted, and is lost");
            }
        }
        Ok(applied || known.is_some())
    }

    /// Whether a job's operations are there: all of them, side by side, or none.
    fn applied(&self, told: &Told) -> Result<bool> {
        let places: Vec<_> = told.intent.actions.iter().filter_map(|action| self.log.place(action)).collect();
        if places.is_empty() {
            return Ok(false);
        }
        let (count, all) = (places.len(), told.intent.actions.len());
        ensure!(count == all, "{count} of its {all} operations are there");
        let side_by_side = places.windows(2).all(|two| two[0].0 == two[1].0 && two[0].1 + 1 == two[1].1);
        ensure!(side_by_side, "other operations came between its own");
        ensure!(places[0].0.document == told.intent.document, "it was applied to another document");
        Ok(true)
    }

    /// Whether what was acknowledged as a job's result is there.
    fn check_result(&self, told: &Told, applied: bool) -> Result<()> {
        let Some(result) = &told.result else { return Ok(()) };
        ensure!(result.success == applied, "its result said {}, and its operations: {applied}", result.success);
        for operation in &result.operations {
            let stored = self.log.operation(operation.action.id.as_str()).context("an operation is lost")?;
            ensure!(stored.operation == *operation, "its operation {} is another", operation.index);
        }
        Ok(())
    }

    /// The jobs of a client on a document are in the order in which it submitted them.
    fn check_order(&self) -> Result<()> {
        let mut last: BTreeMap<_, (usize, &str)> = BTreeMap::new();
        let mut jobs: Vec<_> = self.record.jobs.values().collect();
        jobs.sort_by_key(|told| told.intent.number);
        for told in jobs.into_iter().filter(|told| told.accepted.is_some()) {
            let Some((_, at)) = told.intent.actions.first().and_then(|action| self.log.place(action)) else { continue };
            let before = last.insert((&told.intent.client, &told.intent.document), (*at, &told.intent.name));
            if let Some((_, name)) = before.filter(|(before, _)| before > at) {
                bail!("{} was applied before {name}, which was submitted before it", told.intent.name);
            }
        }
        Ok(())
    }

    /// What an operation dispatched was committed together with it.
    fn check_dispatches(&self) -> Result<()> {
        for (lane, operations) in &self.log.lanes {
            for stored in operations.iter().filter(|stored| stored.operation.action.action_type.as_str() == "PASS_ON") {
                let dispatched = dispatched_action_id(stored.operation.id, 0);
                let there = self.log.place(dispatched.as_str()).is_some() || self.pending_actions.contains(&dispatched);
                ensure!(there, "what operation {} of {lane} dispatched is lost", stored.sequence);
            }
        }
        Ok(())
    }

    /// Attempts that were told of are remembered; nobody's jobs are there.
    fn check_unfinished(&self) -> Result<()> {
        for (job_id, retries) in &self.record.retries {
            if let Some(job) = self.unfinished.get(job_id).filter(|_| !self.record.retrying.contains(job_id)) {
                let attempts = job.attempts();
                ensure!(
                    attempts >= *retries,
                    "{job_id} was to be retried for the {retries}th time, and has {attempts}"
                );
            }
        }
        for job in self.unfinished.values() {
            let key = job.accepted.idempotency_key.as_ref();
            let ours = key.is_none_or(|key| self.record.jobs.contains_key(key.as_str()));
            ensure!(ours, "nobody has submitted {key:?}");
        }
        Ok(())
    }
}

fn after_running(store: &dyn OperationStore, record: &Record, found: &Log, left: &Log) -> Result<()> {
    ensure!(left.goes_on_from(found), "operations have changed");
    ensure!(store.unfinished()?.is_empty(), "jobs have not ended");
    for told in record.jobs.values().filter(|told| told.accepted.is_some()) {
        let name = &told.intent.name;
        let applied = told.intent.actions.iter().all(|action| left.place(action).is_some());
        ensure!(
            applied == (told.intent.outcome == Outcome::Completes),
            "{name} was accepted, and its operations: {applied}"
        );
    }
    let nothing = [];
    AsFound::new(store, record, left, &nothing).check()?;
    Ok(())
}

/// Has the jobs run that the store holds, and one more.
fn run_what_is_left(store: &Arc<DiskStore>) -> Result<()> {
    let manager = Arc::new(host::open_manager(store, EventBus::new(16))?);
    manager.start(None)?;
    let (ended, end) = mpsc::channel();
    let waiting = manager.clone();
    let running = std::thread::spawn(move || {
        waiting.wait_until_idle_blocking();
        let probe = r#"{"documentId": "probe", "documentType": "example/counter",
                        "actions": [{"type": "INCREMENT", "input": {"by": 1}}]}"#;
        let submission = Submission::from_json(probe).map_err(anyhow::Error::from);
        let ticket = submission.and_then(|submission| Ok(waiting.enqueue(submission)?));
        // Whoever waits has given up if this fails.
        let _ = ended.send(ticket.map(|ticket| ticket.wait_blocking()));
    });
    let result = end.recv_timeout(RUN_TIME_MAX).context("what was left did not come to its end")??;
    ensure!(result.success, "a job that came after it failed: {:?}", result.error_message);
    // It holds the store.
    running.join().ok().context("what was left did not come to its end")?;
    Ok(())
}
