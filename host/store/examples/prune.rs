//! Measures how long a reader waits while old jobs are forgotten, and while batches are written.
//!
//! `cargo run --release -p reductor-store --example prune [JOBS]`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use reductor_core::{
    Accepted, DocumentType, EndedJob, Entry, Job, JobId, JobQuery, JobResult, JobRetention, JobStatus, JournaledJob,
    JournaledLineage, OperationStore, Scope, Span, Timestamp,
};
use reductor_store::{DiskStore, StoreOptions, Sync};

/// Jobs that end in a batch.
const BATCH: u64 = 4_000;

fn main() -> anyhow::Result<()> {
    let jobs: u64 = std::env::args().nth(1).map_or(Ok(500_000), |jobs| jobs.parse()).context("how many jobs")?;
    let dir = tempfile::tempdir()?;
    {
        let options = |retention| StoreOptions { retention, sync: Sync::Never, ..StoreOptions::default() };
        let store = DiskStore::open(dir.path(), options(JobRetention::default()))?;
        let worst = Worst::while_running(&store, || (0..jobs / BATCH).try_for_each(|batch| write(&store, batch)))?;
        println!("writing {jobs} jobs: {worst}, {} jobs in the index", store.stats()?.completed);
    }
    // All that is left is too old, and none is too many.
    let store = DiskStore::open(dir.path(), StoreOptions { sync: Sync::Never, ..StoreOptions::default() })?;
    let began = Instant::now();
    let (mut forgotten, mut calls, mut longest) = (0, 0, Duration::ZERO);
    let worst = Worst::while_running(&store, || {
        let later = 48 * 3_600_000;
        // The clock of retention follows step by step.
        for _ in 0..48 {
            loop {
                let call = Instant::now();
                let count = store.prune(Timestamp { ms: later })?;
                longest = longest.max(call.elapsed());
                if count == 0 {
                    break;
                }
                (forgotten, calls) = (forgotten + count, calls + 1);
            }
        }
        Ok(())
    })?;
    println!("forgetting {forgotten} jobs: {worst}, {calls} calls of at most {longest:.1?}, {:.1?}", began.elapsed());
    let listing = Instant::now();
    let page = store.jobs(&JobQuery { status: None, document: None, after: 0, limit: 100 })?;
    println!("listing {} jobs: {:.1?}", page.len(), listing.elapsed());
    Ok(())
}

fn write(store: &DiskStore, batch: u64) -> anyhow::Result<()> {
    let entries: Vec<_> = (batch * BATCH..(batch + 1) * BATCH).map(|order| Entry::Ended(ended(order + 1))).collect();
    anyhow::ensure!(store.commit(&entries)?.iter().all(Result::is_ok), "a job was refused");
    NEWEST.store((batch + 1) * BATCH, Ordering::SeqCst);
    Ok(())
}

/// The number of the newest job.
static NEWEST: AtomicU64 = AtomicU64::new(0);

fn id(order: u64) -> JobId {
    JobId::from(format!("00000000-0000-7000-8000-{order:012x}"))
}

fn ended(order: u64) -> EndedJob {
    let id = id(order);
    let job = Job {
        id: id.clone(),
        document_id: format!("document {}", order % 1_000).as_str().into(),
        scopes: Vec::<Scope>::new().into(),
        branch: "main".into(),
        actions: Vec::new().into(),
        resulting_hash: None,
        status: JobStatus::Pending,
    };
    let result = JobResult {
        job: job.with_status(JobStatus::Completed),
        success: true,
        completed_at: Timestamp { ms: 0 },
        duration: Span { us: 20 },
        operations: Vec::new(),
        metadata: None,
        error_code: None,
        error_message: None,
    };
    let accepted = Accepted {
        job,
        document_type: DocumentType::from("example/counter"),
        named_type: None,
        config: None,
        depends_on: Vec::new(),
        idempotency_key: None,
        causation: None,
    };
    let journaled = JournaledJob {
        order,
        accepted,
        accepted_at: Timestamp { ms: 0 },
        not_before: None,
        lineage: JournaledLineage { root: id, depth: 0, budget_left: None },
        failed_attempts: Vec::new(),
        failed_dependency: None,
    };
    EndedJob {
        journaled,
        result: Arc::new(result),
        append: None,
        dispatched: Vec::new(),
        revision: 0,
        budget_left: None,
    }
}

/// How long reads took.
struct Worst {
    /// Of the log, as every attempt does.
    operation: Duration,
    /// Of the journal.
    job: Duration,
    reads: u64,
}

impl Worst {
    fn while_running(store: &DiskStore, run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| Self::read_until(store, &done));
            let ran = run();
            done.store(true, Ordering::SeqCst);
            let worst = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            ran.and(worst)
        })
    }

    fn read_until(store: &DiskStore, done: &AtomicBool) -> anyhow::Result<Self> {
        let lane = reductor_core::LaneKey { document: "document 1".into(), branch: "main".into() };
        let mut worst = Self { operation: Duration::ZERO, job: Duration::ZERO, reads: 0 };
        while !done.load(Ordering::SeqCst) {
            let began = Instant::now();
            store.operation_of(&lane, &Scope::from("global"), &"absent".into())?;
            let middle = Instant::now();
            store.outcome(&id(NEWEST.load(Ordering::SeqCst)))?;
            worst.operation = worst.operation.max(middle - began);
            worst.job = worst.job.max(middle.elapsed());
            worst.reads += 1;
            // Not so often that the reader takes a core from the writer.
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(worst)
    }
}

impl std::fmt::Display for Worst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { operation, job, reads } = self;
        write!(f, "worst of {reads} reads {operation:.1?} of the log, {job:.1?} of the journal")
    }
}
