//! Work that more than one bench gives to a host.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use reductor_host::{
    ActionId, Durability, Entry, EventBus, ExecutorConfig, Head, IdempotencyKey, JobExecutorManager,
    JobExecutorManagerConfig, JobId, JobOutcome, JobQuery, JobRecord, JobResult, JournaledJob, LaneKey, MemoryStore,
    OperationStore, Pausing, Position, Reducer, Reducers, Retention, Scope, StoreError, StoredOperation, Submission,
    Submitted, Timestamp,
};
use serde_json::json;

use super::machine;
use super::report::{Goal, Report, median};

/// How often a figure of throughput is measured.
const ROUNDS: usize = 3;
const COUNTER_JOBS: usize = 100_000;
/// Events that a bench that looks at them may be behind.
const EVENTS_MAX: usize = 1 << 16;
/// Half of what the queue takes.
const JOBS_IN_FLIGHT: usize = 50_000;

/// A manager that runs, with as many workers as the machine has cores.
pub(super) fn started(reducers: &[&Arc<dyn Reducer>]) -> anyhow::Result<JobExecutorManager> {
    with_workers(reducers, None)
}

/// A manager that runs.
pub(super) fn with_workers(
    reducers: &[&Arc<dyn Reducer>],
    workers: Option<usize>,
) -> anyhow::Result<JobExecutorManager> {
    let config = JobExecutorManagerConfig { max_concurrency: workers, ..JobExecutorManagerConfig::default() };
    with_config(reducers, ExecutorConfig { manager: config, ..ExecutorConfig::default() })
}

/// A manager that runs as it is told.
pub(super) fn with_config(
    reducers: &[&Arc<dyn Reducer>],
    config: ExecutorConfig,
) -> anyhow::Result<JobExecutorManager> {
    with_store(reducers, config, Arc::new(MemoryStore::new()))
}

/// A manager that keeps neither operations nor results: what its memory grows by is its own.
pub(super) fn forgetful(reducers: &[&Arc<dyn Reducer>]) -> anyhow::Result<JobExecutorManager> {
    let retention = Retention { results_max: 0, ..Retention::default() };
    let config = ExecutorConfig { retention, ..ExecutorConfig::default() };
    with_store(reducers, config, Arc::new(Forgetful::default()))
}

/// A manager that runs on a store.
pub(super) fn with_store(
    reducers: &[&Arc<dyn Reducer>],
    config: ExecutorConfig,
    store: Arc<dyn OperationStore>,
) -> anyhow::Result<JobExecutorManager> {
    let registry = Reducers::new();
    for reducer in reducers {
        registry.register(Arc::clone(reducer));
    }
    let manager = JobExecutorManager::open(config, Arc::new(registry), store, EventBus::new(EVENTS_MAX))?;
    manager.start(None)?;
    Ok(manager)
}

/// A log that knows only where each document stands.
#[derive(Default)]
struct Forgetful(RwLock<HashMap<LaneKey, Arc<Head>>>);

impl OperationStore for Forgetful {
    fn durability(&self) -> Durability {
        Durability::Process
    }

    fn position(&self, lane: &LaneKey) -> Result<Option<Position>, StoreError> {
        Ok(self.head(lane).map(|head| head.position()))
    }

    fn snapshot(&self, lane: &LaneKey, _: u64) -> Result<Option<Arc<Head>>, StoreError> {
        Ok(self.head(lane))
    }

    fn commit(&self, batch: &[Entry]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        for entry in batch {
            if let Entry::Append(append) = entry {
                let mut heads = self.0.write().unwrap_or_else(PoisonError::into_inner);
                heads.insert(append.lane.clone(), Arc::new(append.head.clone()));
            }
        }
        Ok(batch.iter().map(|_| Ok(())).collect())
    }

    fn operations(&self, _: &LaneKey, _: u64, _: usize) -> Result<Vec<StoredOperation>, StoreError> {
        Ok(Vec::new())
    }

    fn operation_of(&self, _: &LaneKey, _: &Scope, _: &ActionId) -> Result<Option<StoredOperation>, StoreError> {
        Ok(None)
    }

    fn lanes(&self, _: Option<&LaneKey>, _: usize) -> Result<Vec<LaneKey>, StoreError> {
        Ok(Vec::new())
    }

    fn unfinished(&self) -> Result<Vec<JournaledJob>, StoreError> {
        Ok(Vec::new())
    }

    fn last_order(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn job(&self, _: &JobId) -> Result<Option<JobRecord>, StoreError> {
        Ok(None)
    }

    fn jobs(&self, _: &JobQuery) -> Result<Vec<JobRecord>, StoreError> {
        Ok(Vec::new())
    }

    fn outcome(&self, _: &JobId) -> Result<Option<JobOutcome>, StoreError> {
        Ok(None)
    }

    fn budget_left(&self, _: &JobId) -> Result<Option<u32>, StoreError> {
        Ok(None)
    }

    fn job_of_key(&self, _: &IdempotencyKey) -> Result<Option<JobId>, StoreError> {
        Ok(None)
    }

    fn pausing(&self) -> Result<Pausing, StoreError> {
        Ok(Pausing::Resumed)
    }

    fn check_room(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn prune(&self, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
}

impl Forgetful {
    fn head(&self, lane: &LaneKey) -> Option<Arc<Head>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(lane).cloned()
    }
}

/// A job of one action that counts up, on one of so many documents.
pub(super) fn increment(document: usize) -> anyhow::Result<Submission> {
    let text = json!({
        "documentId": format!("document-{document}"),
        "documentType": "example/counter",
        "actions": [{ "type": "INCREMENT", "input": { "by": 1 } }],
    });
    Ok(Submission::from_json(&text.to_string())?)
}

/// So many of them, over so many documents in turn.
pub(super) fn increments(jobs: usize, documents: usize) -> anyhow::Result<Vec<Submission>> {
    (0..jobs).map(|number| increment(number % documents)).collect()
}

/// Hands in all submissions, one by one, then waits for all results.
pub(super) fn run_all(
    manager: &JobExecutorManager,
    submissions: Vec<Submission>,
) -> anyhow::Result<Vec<Arc<JobResult>>> {
    let tickets =
        submissions.into_iter().map(|submission| manager.submit(submission)).collect::<Result<Vec<_>, _>>()?;
    Ok(tickets.into_iter().map(Submitted::wait_blocking).collect())
}

/// Hands in counter jobs and returns how many were done in a second.
pub(super) fn counter_rate(manager: &JobExecutorManager, jobs: usize, documents: usize) -> anyhow::Result<f64> {
    let submissions = increments(jobs, documents)?;
    let began = Instant::now();
    let mut tickets = VecDeque::new();
    for submission in submissions {
        if tickets.len() == JOBS_IN_FLIGHT {
            counted(tickets.pop_front())?;
        }
        tickets.push_back(manager.submit(submission)?);
    }
    tickets.into_iter().try_for_each(|ticket| counted(Some(ticket)))?;
    Ok(jobs as f64 / began.elapsed().as_secs_f64())
}

fn counted(ticket: Option<Submitted>) -> anyhow::Result<()> {
    let success = ticket.is_none_or(|ticket| ticket.wait_blocking().success);
    anyhow::ensure!(success, "a counter job failed");
    Ok(())
}

/// What a counter job should cost, and how many there should be.
#[derive(Clone, Copy, Default)]
pub(super) struct JobGoals {
    pub(super) cpu: Option<Goal>,
    pub(super) rate_one: Option<Goal>,
    pub(super) rate_many: Option<Goal>,
}

/// CPU time and throughput of a job of one action, on one document and on 64.
pub(super) fn job_cost(
    report: &mut Report,
    suffix: &str,
    reducer: &Arc<dyn Reducer>,
    goals: JobGoals,
) -> anyhow::Result<()> {
    for (documents, name, cpu_goal, rate_goal) in
        [(1, "-1", None, goals.rate_one), (64, "", goals.cpu, goals.rate_many)]
    {
        let (mut cpu, mut rate) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let manager = started(&[reducer])?;
            let submissions = increments(COUNTER_JOBS, documents)?;
            let (cpu_before, began) = (machine::cpu_time(), Instant::now());
            let results = run_all(&manager, submissions)?;
            rate.push(COUNTER_JOBS as f64 / began.elapsed().as_secs_f64());
            cpu.push((machine::cpu_time() - cpu_before).as_secs_f64() * 1e6 / COUNTER_JOBS as f64);
            anyhow::ensure!(results.iter().all(|result| result.success), "a counter job failed");
        }
        report.add(format!("job-cpu-us{name}{suffix}"), median(cpu), "us", cpu_goal);
        report.add(format!("jobs-per-second-{documents}-memory{suffix}"), median(rate), "jobs/s", rate_goal);
    }
    Ok(())
}
