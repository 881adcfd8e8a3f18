//! What is forgotten of jobs, what is remembered, and what that costs.

use reductor_core::{
    Entry, IdempotencyKey, JobId, JobOutcome, JobQuery, JobRecord, JobRetention, JobStatus, JournaledJob,
    OperationStore as _, Timestamp,
};
use reductor_store::{DiskStore, StoreOptions, restore};
use tempfile::TempDir;

use crate::conformance::Writer;
use crate::conformance::samples::{accepted, commit, completed, failed};
use crate::script;

fn retention(kept: usize) -> StoreOptions {
    let retention = JobRetention { completed_max: kept, failed_max: kept, ..JobRetention::default() };
    StoreOptions { retention, ..script::options() }
}

fn job(order: u64, document: &str) -> JournaledJob {
    let mut journaled = accepted(order, &Writer::new(document).lane, Vec::new());
    journaled.accepted.idempotency_key = Some(key(order));
    journaled
}

fn key(order: u64) -> IdempotencyKey {
    IdempotencyKey::from(format!("key {order}"))
}

fn orders(store: &DiskStore, query: &JobQuery) -> Vec<u64> {
    store.jobs(query).expect("a readable journal").iter().map(JobRecord::order).collect()
}

const ALL: JobQuery = JobQuery { status: None, document: None, after: 0, limit: usize::MAX };

#[test]
fn the_index_of_jobs_stays_small_although_nobody_prunes() {
    let dir = TempDir::new().expect("a directory");
    let store = DiskStore::open(dir.path(), retention(100)).expect("a new store");
    let mut first = Vec::new();
    for batch in 0..12_u64 {
        let jobs: Vec<_> = (1..=2_000).map(|at| job(batch * 2_000 + at, "d")).collect();
        first.extend(jobs.iter().take(2).cloned());
        let end = |journaled: JournaledJob| match journaled.order.is_multiple_of(2) {
            true => Entry::Ended(failed(journaled)),
            false => Entry::Ended(completed(journaled, Vec::new(), None)),
        };
        commit(&store, &jobs.into_iter().map(end).collect::<Vec<_>>());
        let stats = store.stats().expect("numbers");
        // What is kept, what waits to be forgotten, and what came with the batch.
        assert!(stats.completed <= 100 + 4_096 + 1_000, "{} completed jobs are known", stats.completed);
        assert!(stats.dead_letters <= 100 + 4_096 + 1_000, "{} dead letters are known", stats.dead_letters);
    }
    // How the first of them ended, which are forgotten, is known.
    for journaled in &first[..4] {
        let id = &journaled.accepted.job.id;
        let expected = if journaled.order.is_multiple_of(2) { JobOutcome::Failed } else { JobOutcome::Completed };
        assert_eq!(store.job(id).expect("readable"), None);
        assert_eq!(store.outcome(id).expect("readable"), Some(expected));
        assert_eq!(store.job_of_key(&key(journaled.order)).expect("readable").as_ref(), Some(id));
    }
    assert_eq!(store.verify(&mut |_| {}).problems, []);
}

#[test]
fn jobs_that_were_too_many_at_a_start_are_remembered_too() {
    const JOBS: u64 = 104_000;
    let dir = TempDir::new().expect("a directory");
    let mut first = None;
    {
        let store = DiskStore::open(dir.path(), retention(1_000_000)).expect("a new store");
        for batch in 0..JOBS / 4_000 {
            let jobs: Vec<_> = (1..=4_000).map(|at| job(batch * 4_000 + at, "d")).collect();
            first.get_or_insert(jobs[0].accepted.job.id.clone());
            let end = |journaled| Entry::Ended(completed(journaled, Vec::new(), None));
            commit(&store, &jobs.into_iter().map(end).collect::<Vec<_>>());
        }
    }
    let (store, first) = (DiskStore::open(dir.path(), retention(10)).expect("it opens"), first.expect("there is one"));
    assert_eq!(store.stats().expect("numbers").completed, 100_010);
    let mut forgotten = 0;
    loop {
        match store.prune(Timestamp { ms: 5_000 }).expect("it prunes") {
            0 => break,
            count => forgotten += count,
        }
    }
    assert_eq!((forgotten, orders(&store, &ALL).len()), (JOBS - 10, 10));
    assert_eq!(store.outcome(&first).expect("readable"), Some(JobOutcome::Completed));
    assert_eq!(store.job_of_key(&key(1)).expect("readable"), Some(first));
}

#[test]
fn many_jobs_are_listed_page_by_page_and_by_document() {
    const JOBS: u64 = 10_000;
    let dir = TempDir::new().expect("a directory");
    let store = DiskStore::open(dir.path(), retention(1_000_000)).expect("a new store");
    let document = |order: u64| if order.is_multiple_of(2_500) { "rare" } else { "common" };
    // One document exists, so that its results have the number of its lane.
    let mut writer = Writer::new("rare");
    writer.append(&store, &[("global", "a")]);
    let entry = |order: u64| {
        let journaled = job(order, document(order));
        match order % 3 {
            0 => Entry::Accepted(journaled),
            1 => Entry::Ended(failed(journaled)),
            _ => Entry::Ended(completed(journaled, Vec::new(), None)),
        }
    };
    // In another order than that of their numbers.
    commit(&store, &(1..=JOBS).rev().map(entry).collect::<Vec<_>>());
    drop(store);
    let store = DiskStore::open(dir.path(), retention(1_000_000)).expect("it opens");
    assert_eq!(orders(&store, &ALL), (1..=JOBS).collect::<Vec<_>>());
    let rare = JobQuery { document: Some(writer.lane.document.clone()), ..ALL };
    assert_eq!(orders(&store, &rare), [2_500, 5_000, 7_500, 10_000]);
    assert_eq!(orders(&store, &JobQuery { after: 2_500, limit: 2, ..rare.clone() }), [5_000, 7_500]);
    assert_eq!(orders(&store, &JobQuery { status: Some(JobStatus::Completed), ..rare }), [5_000]);
    let failed = JobQuery { status: Some(JobStatus::Failed), after: 9_990, ..ALL };
    assert_eq!(orders(&store, &failed), [9_991, 9_994, 9_997, 10_000]);
    assert_eq!(store.unfinished().expect("readable").len() as u64, JOBS / 3);
}

#[test]
fn a_backup_has_what_is_remembered_of_jobs() {
    let (dir, other) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let store = DiskStore::open(dir.path(), retention(0)).expect("a new store");
    let (one, mut two) = (job(1, "d"), job(2, "d"));
    two.accepted.job.id = JobId::from("a name that somebody gave");
    let mut ended = completed(one.clone(), Vec::new(), None);
    ended.budget_left = Some(7);
    commit(&store, &[Entry::Ended(ended), Entry::Ended(failed(two.clone()))]);
    assert_eq!(store.prune(Timestamp { ms: 6_000 }).expect("it prunes"), 2);
    let mut stream = Vec::new();
    store.backup(&mut stream, &mut |_| {}).expect("a backup");
    restore(&mut &stream[..], other.path(), &mut |_| {}).expect("a store");
    let restored = DiskStore::open(other.path(), retention(0)).expect("it opens");
    for (journaled, outcome) in [(&one, JobOutcome::Completed), (&two, JobOutcome::Failed)] {
        let id = &journaled.accepted.job.id;
        assert_eq!(restored.outcome(id).expect("readable"), Some(outcome));
        assert_eq!(restored.job_of_key(&key(journaled.order)).expect("readable").as_ref(), Some(id));
    }
    assert_eq!(restored.budget_left(&one.lineage.root).expect("readable"), Some(7));
    assert_eq!(restored.verify(&mut |_| {}).problems, []);
    let mut again = Vec::new();
    restored.backup(&mut again, &mut |_| {}).expect("a backup");
    assert!(again == stream, "the restored store has the same records");
}

#[test]
fn what_is_read_while_batches_are_shown_fits_together() {
    let dir = TempDir::new().expect("a directory");
    let options = StoreOptions { sync: reductor_store::Sync::Never, ..retention(50) };
    let store = DiskStore::open(dir.path(), options).expect("a new store");
    let all: Vec<_> = (1..=6_000).map(|order| job(order, "d")).collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for batch in all.chunks(1_000) {
                commit(&store, &batch.iter().cloned().map(Entry::Accepted).collect::<Vec<_>>());
                let end = |journaled: &JournaledJob| match journaled.order.is_multiple_of(2) {
                    true => Entry::Ended(failed(journaled.clone())),
                    false => Entry::Ended(completed(journaled.clone(), Vec::new(), None)),
                };
                commit(&store, &batch.iter().map(end).collect::<Vec<_>>());
                while store.prune(Timestamp { ms: 5_000 }).expect("it prunes") > 0 {}
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        // Nothing is ever called damaged, and what ended stays ended.
        let mut rng = fastrand::Rng::with_seed(1);
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            let journaled = &all[rng.usize(..all.len())];
            let id = &journaled.accepted.job.id;
            let before = store.outcome(id).expect("a readable journal");
            store.job(id).expect("a readable journal");
            store.job_of_key(&key(journaled.order)).expect("a readable journal");
            store.jobs(&JobQuery { after: journaled.order, limit: 3, ..ALL }).expect("a readable journal");
            let after = store.outcome(id).expect("a readable journal");
            assert!(before.is_none() || after == before, "{before:?} became {after:?}");
        }
    });
}
