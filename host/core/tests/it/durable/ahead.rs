//! Lanes run ahead of the disk, and nobody sees it.

use reductor_core::{JobErrorCode, JobId, JobStatus, OperationStore as _};
use serde_json::json;

use super::disk::Fate;
use super::machine::{Machine, Process};
use crate::executor::host::{add, job, lane, untyped_job, within};
use crate::manager::drive::after;

/// Lets three jobs of a document run while the batch of the first is held.
fn run_ahead(process: &Process) -> Vec<reductor_core::Submitted> {
    process.mount.hold();
    let mut submitted = vec![process.hand_in(&job("d", &[add("a")]))];
    process.mount.wait_until_held();
    submitted.extend(["b", "c"].map(|name| process.hand_in(&job("d", &[add(name)]))));
    process.wait_until_started(3);
    submitted
}

#[test]
fn later_jobs_of_a_lane_run_while_the_disk_is_busy() {
    let machine = Machine::new();
    let process = machine.boot();
    let submitted = run_ahead(&process);
    assert_eq!(machine.script.calls().applied, ["a", "b", "c"]);
    assert_eq!(process.manager().head(&lane("d")).expect("readable"), None, "nobody sees what is not durable");
    process.mount.release();
    submitted.into_iter().for_each(|submitted| assert!(within(submitted.wait()).success));
    assert_eq!(
        (process.state("d"), machine.actions("d")),
        (r#"["a","b","c"]"#.into(), ["a", "b", "c"].map(String::from).to_vec())
    );
}

#[test]
fn a_document_that_only_ran_ahead_is_known_to_the_next_submission() {
    let machine = Machine::new();
    let process = machine.boot();
    let mut submitted = run_ahead(&process);
    submitted.push(process.hand_in(&untyped_job("d", &[add("d")])));
    process.wait_until_started(4);
    process.mount.release();
    submitted.into_iter().for_each(|submitted| assert!(within(submitted.wait()).success));
}

#[test]
fn an_action_that_ran_ahead_is_not_applied_again() {
    let machine = Machine::new();
    let process = machine.boot();
    let mut submitted = run_ahead(&process);
    submitted.push(process.hand_in(&job("d", &[add("b")])));
    process.wait_until_started(4);
    process.mount.release();
    submitted.into_iter().for_each(|submitted| assert!(within(submitted.wait()).success));
    assert_eq!(machine.actions("d"), ["a", "b", "c"]);
}

#[test]
fn a_document_whose_instance_died_ahead_of_the_disk_goes_on_from_there() {
    let machine = Machine::new();
    machine.script.fail("d", [crate::executor::scripted::trapped("unreachable")]);
    let process = machine.boot();
    let submitted = run_ahead(&process);
    let last = process.hand_in(&job("d", &[add("d")]));
    process.wait_until_started(4);
    process.mount.release();
    submitted.into_iter().for_each(|submitted| assert!(within(submitted.wait()).success));
    assert!(within(last.wait()).success);
    assert_eq!(machine.state("d"), r#"["a","b","c","d"]"#);
}

/// What runs ahead of a batch that fails.
fn fall_back(fate: Fate) -> (Machine, Vec<JobId>) {
    let machine = Machine::new();
    let process = machine.boot();
    let submitted = run_ahead(&process);
    process.mount.next(fate);
    let mut ids = Vec::new();
    for submitted in submitted {
        let result = within(submitted.wait());
        assert_eq!((result.error_code, result.job.status), (Some(JobErrorCode::IoError), JobStatus::Pending));
        assert_eq!(result.operations.len(), 0);
        ids.push(result.job.id.clone());
    }
    // The disk is what counts.
    let stands = process.manager().head(&lane("d")).expect("readable").map_or(0, |head| head.revision);
    assert_eq!(stands, machine.disk.operations(&lane("d")).len() as u64);
    process.wait_until_idle();
    let early = |said: &String| said.starts_with("available") || said.starts_with("started");
    let said = process.said();
    assert!(said.iter().all(early), "nothing was told but that jobs were queued and started: {said:?}");
    (machine, ids)
}

#[test]
fn what_ran_ahead_of_a_batch_that_was_lost_never_was() {
    let (machine, ids) = fall_back(Fate::Lost);
    assert!(machine.disk.jobs().is_empty() && machine.disk.operations(&lane("d")).is_empty());
    let process = machine.boot();
    process.wait_until_idle();
    assert!(ids.iter().all(|id| process.manager().watch(id).is_err()));
    process.succeed(&job("d", &[add("b")]));
    assert_eq!(machine.state("d"), r#"["b"]"#);
}

#[test]
fn what_ran_ahead_of_a_batch_that_was_written_after_all_is_lost_but_for_the_batch() {
    let (machine, ids) = fall_back(Fate::WrittenUnknown);
    let process = machine.boot();
    process.wait_until_idle();
    assert!(within(process.watch(&ids[0]).wait()).success);
    assert!(ids[1..].iter().all(|id| process.manager().watch(id).is_err()));
    assert_eq!((machine.state("d"), machine.actions("d")), (r#"["a"]"#.into(), vec!["a".to_owned()]));
}

#[test]
fn a_dispatched_job_starts_when_the_one_before_it_is_durable() {
    let machine = Machine::new();
    let process = machine.boot();
    process.mount.hold();
    let dispatch = json!({"id": "root", "type": "DISPATCH", "input": [{"input": "leaf"}]});
    let root = process.hand_in(&job("d", &[dispatch]));
    process.mount.wait_until_held();
    process.wait_until_started(1);
    assert_eq!(process.manager().get_stats().queue_backlog, 0, "nothing was dispatched yet");
    process.mount.release();
    assert!(within(root.wait()).success);
    process.wait_until_idle();
    assert_eq!(machine.state("d"), r#"["root","leaf"]"#);
}

#[test]
fn dispatches_of_a_batch_that_was_lost_never_were() {
    let machine = Machine::new();
    let process = machine.boot();
    process.mount.hold();
    let dispatch = json!({"id": "root", "type": "DISPATCH", "input": [{"input": "leaf"}]});
    let root = process.hand_in(&job("d", &[dispatch]));
    process.mount.wait_until_held();
    process.wait_until_started(1);
    process.mount.next(Fate::Lost);
    assert!(!within(root.wait()).success);
    process.wait_until_idle();
    drop(process);
    assert_eq!((machine.script.calls().applied, machine.disk.jobs().len()), (vec!["root".to_owned()], 0));
}

#[test]
fn a_job_waits_until_the_one_it_depends_on_is_durable() {
    let machine = Machine::new();
    let process = machine.boot();
    process.mount.hold();
    let first = process.hand_in(&job("d", &[add("a")]));
    process.mount.wait_until_held();
    process.wait_until_started(1);
    let id = process.hand_in(&crate::executor::host::with(job("e", &[add("b")]), "idempotencyKey", json!("b")));
    let first_id = machine_id(&process, "a");
    let second = process.hand_in(&after(job("f", &[add("c")]), [&first_id]));
    process.wait_until_started(2);
    assert_eq!(machine.script.calls().applied, ["a", "b"], "the lane behind it had its turn");
    process.mount.release();
    assert!(within(first.wait()).success && within(id.wait()).success && within(second.wait()).success);
    assert_eq!(machine.script.calls().applied, ["a", "b", "c"]);
}

/// The id of the job that has started with this action.
fn machine_id(process: &Process, action: &str) -> JobId {
    let started = |event: &reductor_core::Event| match event {
        reductor_core::Event::JobStarted(event) if event.job.actions[0].id.as_str() == action => {
            Some(event.job.id.clone())
        }
        _ => None,
    };
    process.events().iter().find_map(|event| started(event)).expect("it has started")
}

#[test]
fn a_document_that_has_to_go_leaves_a_snapshot_behind_its_operations() {
    let machine = Machine::new();
    let process = machine.boot_with(|config| config.residents.documents_max = 0);
    let names = ["1", "2", "3", "4", "5", "6", "7", "8"].map(add);
    process.succeed(&job("big", &names));
    process.succeed(&job("small", &names[..2]));
    process.wait_until_idle();
    let written = machine.disk.written();
    assert_eq!(written.iter().filter(|entry| entry.starts_with("snapshot")).collect::<Vec<_>>(), ["snapshot big 9"]);
    let loads = || machine.script.calls().loaded.len();
    let (before, applied) = (loads(), machine.script.calls().applied.len());
    process.succeed(&job("big", &[add("9")]));
    let calls = machine.script.calls();
    assert_eq!((loads() - before, &calls.applied[applied..]), (1, &["9".to_owned()][..]), "nothing was replayed");
    drop(process);
    assert_eq!(machine.state("big"), r#"["1","2","3","4","5","6","7","8","9"]"#);
    let calls = machine.script.calls().applied.len();
    machine.state("big");
    assert_eq!(machine.script.calls().applied.len() - calls, 1, "one operation since the snapshot is replayed");
}

/// The disk refuses a snapshot whose operations it does not have.
#[test]
fn no_snapshot_of_documents_that_come_and_go_is_written_before_its_operations() {
    let machine = Machine::new();
    let process = machine.boot_with(|config| {
        config.residents.documents_max = 0;
        config.manager.max_concurrency = Some(2);
    });
    let mut submitted = Vec::new();
    for round in 0..40 {
        for document in 0..20 {
            let actions: Vec<_> = (0..8).map(|action| add(&format!("{round}-{action}"))).collect();
            submitted.push(process.hand_in(&job(&format!("d{document}"), &actions)));
        }
    }
    submitted.into_iter().for_each(|submitted| assert!(within(submitted.wait()).success));
    process.wait_until_idle();
    let snapshots = machine.disk.written().iter().filter(|entry| entry.starts_with("snapshot")).count();
    assert!(snapshots >= 20, "each of them had to go: {snapshots}");
}

#[test]
fn a_cold_document_is_loaded_from_its_operations() {
    let machine = Machine::new();
    machine.boot().succeed(&job("d", &[add("a"), add("b")]));
    let process = machine.boot();
    process.succeed(&job("d", &[add("c")]));
    assert_eq!(machine.script.calls().applied, ["a", "b", "a", "b", "c"]);
    assert_eq!(process.state("d"), r#"["a","b","c"]"#);
    let earlier = process.manager().head_at(&lane("d"), 2).expect("readable").expect("it exists");
    assert_eq!(&*earlier.snapshot()[0].json, br#"["a"]"#);
    assert_eq!(process.mount.position(&lane("d")).expect("readable").expect("it exists").revision, 4);
}

#[test]
fn workers_do_not_run_ahead_of_a_slow_disk_by_more_than_some_bytes_of_states() {
    const JOBS: usize = 200;
    let machine = Machine::new();
    let process = machine.open();
    let text = "x".repeat((1 << 20) - 2);
    process.mount.hold();
    let submit = |number| {
        let action = json!({"id": "a", "type": "ADD", "input": text});
        process.hand_in(&job(&format!("d{number}"), &[action]))
    };
    let submitted: Vec<_> = (0..JOBS).map(submit).collect();
    process.manager().start(None).expect("threads are left");
    process.mount.wait_until_held();
    process.wait_until_started(31);
    process.mount.release();
    submitted.into_iter().for_each(|submitted| assert!(within(submitted.wait()).success));
    let ends = |batch: &Vec<String>| batch.iter().filter(|entry| entry.starts_with("completed")).count();
    let largest = machine.disk.batches().iter().map(ends).max().expect("batches");
    assert!(largest < 34, "{largest} ends in one batch, each with an input and a state of a mebibyte");
}
