//! Measures what a commit costs: processor time, and bytes that reach the device.
//!
//! `cargo run --release -p reductor-store --example throughput [DIR [cold]]`; with `cold`, only a
//! store that it wrote there before is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use reductor_core::{
    Accepted, Action, ActionId, ActionType, Append, Branch, DocumentId, DocumentType, DuplicateCheck, EndedJob, Entry,
    Head, Job, JobId, JobMetadata, JobResult, JobStatus, JournaledJob, JournaledLineage, Json, LaneKey, Operation,
    OperationStore, PluginRef, Scope, ScopeHead, ScopeState, Span, StoredOperation, Timestamp, TimestampText,
    operation_id, state_hash,
};
use reductor_store::{DiskStore, StoreOptions, Sync};

/// Characters of the input that make the record of an operation one of 200 bytes.
const INPUT: usize = 105;
const OPERATION_BYTES: u64 = 200;

fn main() -> anyhow::Result<()> {
    let own = tempfile::tempdir()?;
    let dir = std::env::args_os().nth(1).map_or_else(|| own.path().to_owned(), PathBuf::from);
    if std::env::args().nth(2).is_some_and(|what| what == "cold") {
        return cold(&dir.join("written"));
    }
    for (batch, jobs) in [(1, 2_000), (64, 64_000), (1_000, 300_000)] {
        for sync in [Sync::Always, Sync::Never] {
            cost(&dir.join(format!("cost-{batch}-{sync:?}")), batch, jobs, sync)?;
        }
    }
    written(&dir.join("written"))?;
    long(&dir.join("written"))?;
    cold(&dir.join("written"))
}

/// Gives a document 100,000 operations.
fn long(dir: &Path) -> anyhow::Result<()> {
    let store = DiskStore::open(dir, StoreOptions { sync: Sync::Never, ..StoreOptions::default() })?;
    let (mut document, mut order) = (Document::new(LONG), 10_000_000);
    for _ in 0..1_000 {
        let entries: Vec<_> = (0..100).flat_map(|_| document.job(&mut order)).collect();
        anyhow::ensure!(store.commit(&entries)?.iter().all(Result::is_ok), "a job was refused");
    }
    Ok(())
}

/// A document that the others are not.
const LONG: usize = 1_000_000;

/// Processor and wall time of committing jobs of 64 documents.
fn cost(dir: &Path, batch: usize, jobs: usize, sync: Sync) -> anyhow::Result<()> {
    let store = DiskStore::open(dir, StoreOptions { sync, ..StoreOptions::default() })?;
    let mut documents = documents(64);
    let mut order = 0;
    let (mut cpu, mut wall, mut worst) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for _ in 0..jobs / batch {
        let entries: Vec<_> = (0..batch).flat_map(|at| documents[at % 64].job(&mut order)).collect();
        let (cpu_before, before) = (thread_time(), Instant::now());
        let outcomes = store.commit(&entries)?;
        let took = before.elapsed();
        cpu += thread_time() - cpu_before;
        wall += took;
        worst = worst.max(took);
        anyhow::ensure!(outcomes.iter().all(Result::is_ok), "a job was refused");
    }
    let (jobs, per) = (jobs as f64, |time: Duration| time.as_secs_f64() * 1e6 / jobs as f64);
    println!(
        "batches of {batch:>5}, {sync:?}: {:.2} us of the committer's time a job, {:.0} jobs/s, slowest batch {:.1} ms",
        per(cpu),
        jobs / wall.as_secs_f64(),
        worst.as_secs_f64() * 1e3
    );
    Ok(())
}

/// Bytes that reach the device for a million operations of 10,000 documents.
fn written(dir: &Path) -> anyhow::Result<()> {
    let before = io("write_bytes")?;
    let store = DiskStore::open(dir, StoreOptions::default())?;
    let mut documents = documents(10_000);
    let (mut order, mut random) = (0, fastrand::Rng::with_seed(7));
    let (started, mut cpu) = (Instant::now(), Duration::ZERO);
    for _ in 0..1_000 {
        let entries: Vec<_> = (0..1_000).flat_map(|_| documents[random.usize(..10_000)].job(&mut order)).collect();
        let cpu_before = thread_time();
        anyhow::ensure!(store.commit(&entries)?.iter().all(Result::is_ok), "a job was refused");
        cpu += thread_time() - cpu_before;
        if order % 100_000 == 0 {
            store.prune(Timestamp { ms: 0 })?;
        }
    }
    let took = started.elapsed();
    // What is still to be compacted is written, too.
    std::thread::sleep(Duration::from_secs(3));
    let memory = status("VmRSS")?;
    drop(store);
    let bytes = io("write_bytes")? - before;
    let records = 1_000_000 * OPERATION_BYTES;
    println!(
        "a million jobs of 10,000 documents: {:.1} s, {:.2} us of the committer's time a job, {} MB written, {:.2} times the operations, \
         {} MB on the disk, {memory} resident",
        took.as_secs_f64(),
        cpu.as_secs_f64(),
        bytes / 1_000_000,
        bytes as f64 / records as f64,
        disk_bytes(dir)? / 1_000_000,
    );
    Ok(())
}

/// How long it takes to open such a store, and to read a document.
fn cold(dir: &Path) -> anyhow::Result<()> {
    let (started, cpu) = (Instant::now(), thread_time());
    let store = DiskStore::open(dir, StoreOptions::default())?;
    let (opened, cpu) = (started.elapsed(), thread_time() - cpu);
    println!("opened in {:.0} ms ({:.0} ms of processor time)", opened.as_secs_f64() * 1e3, cpu.as_secs_f64() * 1e3);
    for document in [7, 8, LONG] {
        let lane = Document::new(document).lane;
        let started = Instant::now();
        let position = store.position(&lane)?.context("it was written")?;
        let from = store.snapshot(&lane, u64::MAX)?.map_or(0, |head| head.revision);
        let operations = store.operations(&lane, from, 1_000)?;
        println!(
            "a cold document with {} operations, {} of them read, in {:.2} ms",
            position.revision,
            operations.len(),
            started.elapsed().as_secs_f64() * 1e3
        );
    }
    Ok(())
}

/// A document, and where it stands.
struct Document {
    lane: LaneKey,
    head: Head,
}

fn documents(count: usize) -> Vec<Document> {
    (0..count).map(Document::new).collect()
}

impl Document {
    fn new(number: usize) -> Self {
        let lane = LaneKey { document: DocumentId::from(format!("document-{number}")), branch: Branch::from("main") };
        let document_type = DocumentType::from("example/counter");
        Self { lane, head: Head { document_type, revision: 0, scopes: Vec::new(), plugin: None } }
    }

    /// A job of one action, accepted and ended.
    fn job(&mut self, order: &mut u64) -> [Entry; 2] {
        thread_local! {
            static PLUGIN: Arc<PluginRef> = Arc::new(PluginRef {
                document_type: DocumentType::from("example/counter"),
                version: 1,
                digest: format!("sha256:{}", "0".repeat(64)).into(),
            });
        }
        *order += 1;
        let (id, scope) = (ActionId::generate(), Scope::from("global"));
        let action = Arc::new(Action {
            id: id.clone(),
            action_type: ActionType::from("INCREMENT"),
            timestamp_utc_ms: TimestampText::from(Timestamp { ms: 1_700_000_000_000 + *order as i64 }),
            input: Json::parse(&format!("\"{:0>1$}\"", order, INPUT)).expect("JSON"),
            scope: scope.clone(),
            context: None,
        });
        let json: Arc<[u8]> = format!("{{\"value\":{order}}}").into_bytes().into();
        let hash = state_hash(&json);
        let index = self.head.revision;
        self.head.revision += 1;
        let state = ScopeState { scope: scope.clone(), json };
        self.head.scopes = vec![ScopeHead { next_index: index + 1, hash: hash.clone(), state }];
        let operation = Operation {
            id: operation_id(&self.lane, &scope, &id),
            index,
            skip: 0,
            timestamp_utc_ms: action.timestamp_utc_ms.clone(),
            hash,
            error: None,
            action: action.clone(),
        };
        let plugin = PLUGIN.with(Clone::clone);
        let stored = StoredOperation { operation: operation.clone(), sequence: index, plugin: plugin.clone() };
        let append = Append {
            lane: self.lane.clone(),
            expected_revision: index,
            operations: vec![stored],
            head: self.head.clone(),
            // As the host does: the attempt has looked them up.
            duplicate_check: DuplicateCheck::ByWriter,
        };
        let job = Job {
            id: JobId::generate(),
            document_id: self.lane.document.clone(),
            scopes: vec![scope].into(),
            branch: self.lane.branch.clone(),
            actions: vec![action].into(),
            resulting_hash: None,
            status: JobStatus::Pending,
        };
        let result = Arc::new(JobResult {
            job: job.with_status(JobStatus::Completed),
            success: true,
            completed_at: Timestamp { ms: 1_700_000_000_000 + *order as i64 },
            duration: Span { us: 20 },
            operations: vec![operation],
            metadata: Some(JobMetadata {
                attempts: 1,
                queued_ms: Span { us: 300 },
                plugin: Some(plugin),
                fuel_consumed: Some(20_000),
                ..JobMetadata::default()
            }),
            error_code: None,
            error_message: None,
        });
        let lineage = JournaledLineage { root: job.id.clone(), depth: 0, budget_left: None };
        let accepted = Accepted {
            job,
            document_type: DocumentType::from("example/counter"),
            named_type: None,
            config: None,
            depends_on: Vec::new(),
            idempotency_key: None,
            causation: None,
        };
        let accepted_at = Timestamp { ms: 1_700_000_000_000 };
        let journaled = JournaledJob {
            order: *order,
            accepted,
            accepted_at,
            not_before: None,
            lineage,
            failed_attempts: Vec::new(),
            failed_dependency: None,
        };
        let revision = self.head.revision;
        let ended = EndedJob {
            journaled: journaled.clone(),
            result,
            append: Some(Arc::new(append)),
            dispatched: Vec::new(),
            revision,
            budget_left: None,
        };
        [Entry::Accepted(journaled), Entry::Ended(ended)]
    }
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn io(field: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
    Ok(line.context("the kernel counts bytes")?.parse()?)
}

fn status(field: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(line.context("the kernel counts memory")?.trim().to_owned())
}

fn disk_bytes(dir: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        bytes += if path.is_dir() { disk_bytes(&path)? } else { std::fs::metadata(&path)?.blocks() * 512 };
    }
    Ok(bytes)
}
