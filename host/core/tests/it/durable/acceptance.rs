//! A job is accepted when the disk has it, and not earlier.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reductor_core::{Event, JobId, JobStatus, OperationStore as _, Refusal, Stop, StoreError, Submitted};

use super::disk::Fate;
use super::machine::{Machine, Process, Wait, aside, read};
use crate::executor::host::{add, hold, job, result, within};
use crate::manager::drive::{after, another, broken, keyed};

#[test]
fn enqueue_returns_when_the_job_is_on_the_disk() {
    let machine = Machine::new();
    let process = machine.boot();
    process.mount.hold();
    std::thread::scope(|scope| {
        let enqueue = aside(scope, || process.manager().enqueue(read(&job("d", &[add("a")]))));
        process.mount.wait_until_held();
        process.wait_until_started(1);
        assert!(!enqueue.has_ended() && machine.disk.jobs().is_empty());
        process.mount.release();
        let ticket = enqueue.wait().expect("it is accepted");
        assert!(machine.disk.job(&ticket.job_id).is_some());
    });
}

#[test]
fn a_submission_is_pending_until_the_job_is_on_the_disk() {
    let machine = Machine::new();
    let process = machine.open();
    process.mount.hold();
    let mut accepted = Wait::new(process.hand_in(&job("d", &[add("a")])).accepted());
    process.mount.wait_until_held();
    assert!(accepted.look().is_none());
    process.mount.release();
    let ticket = accepted.wait().expect("it is accepted");
    assert_eq!(machine.status(&ticket.job_id), JobStatus::Pending);
}

#[test]
fn nothing_but_that_a_job_is_queued_and_starts_is_told_before_the_disk_has_it() {
    let machine = Machine::new();
    let process = machine.boot();
    process.mount.hold();
    let mut result = Wait::new(process.hand_in(&job("d", &[add("a")])).wait());
    process.mount.wait_until_held();
    process.wait_until_started(1);
    assert_eq!((process.said(), result.look()), (["available in d", "started a"].map(String::from).to_vec(), None));
    assert_eq!(process.manager().get_status().total_jobs_processed, 0);
    process.mount.release();
    assert!(result.wait().success);
    process.wait_until_idle();
    assert_eq!(process.said(), ["available in d", "started a", "completed a"]);
    assert_eq!(process.manager().get_status().total_jobs_succeeded, 1);
}

#[test]
fn ends_are_told_in_the_order_of_their_jobs() {
    let machine = Machine::new();
    let process = machine.boot();
    let names = ["a", "b", "c", "d", "e"];
    let results = names.map(|name| process.hand_in(&job("d", &[add(name)])));
    results.into_iter().for_each(|result| assert!(within(result.wait()).success));
    let ends: Vec<_> = process.said().into_iter().filter(|said| said.starts_with("completed")).collect();
    assert_eq!(ends, names.map(|name| format!("completed {name}")));
}

#[test]
fn what_gathers_while_a_batch_is_written_is_one_batch() {
    let machine = Machine::new();
    let process = machine.boot();
    process.mount.hold();
    let first = process.hand_in(&job("d", &[add("a")]));
    process.mount.wait_until_held();
    let mut asked = Wait::new(process.hand_in(&job("d", &[hold("b")])).accepted());
    assert!(asked.look().is_none());
    machine.script.release("b");
    let not_asked = process.hand_in(&job("d", &[add("c")]));
    process.wait_until_started(3);
    process.mount.release();
    within(first.wait());
    assert!(result(asked.wait().expect("it is accepted")).success && within(not_asked.wait()).success);
    let batches = machine.disk.batches();
    assert_eq!(batches.len(), 2, "{batches:?}");
    let told_of = |name: &str| batches[1].iter().filter(|entry| entry.ends_with(name)).cloned().collect::<Vec<_>>();
    assert_eq!(told_of(" b"), ["accepted b", "completed b"], "an acceptance and its end share a batch");
    assert_eq!(told_of(" c"), ["completed c"], "nobody asked for the acceptance");
}

/// What the journal has of a job that waits in a paused process, once `ask` has made it write.
fn written_when(ask: impl FnOnce(&Process, &Submitted)) -> Vec<String> {
    let machine = Machine::new();
    let process = machine.boot();
    process.manager().pause().expect("it runs");
    let submitted = process.hand_in(&job("d", &[add("a")]));
    ask(&process, &submitted);
    let mine = |entry: &String| entry.ends_with(" a");
    while !machine.disk.written().iter().any(mine) {
        std::thread::yield_now();
    }
    machine.disk.written().into_iter().filter(mine).collect()
}

/// The id of the job that came last.
fn latest_job(process: &Process) -> JobId {
    let events = process.events();
    let available = events.iter().rev().find_map(|event| match &**event {
        Event::JobAvailable(available) => Some(available.job_id.clone()),
        _ => None,
    });
    available.expect("it is queued")
}

#[test]
fn an_acceptance_is_written_when_somebody_else_watches_the_job() {
    let written = written_when(|process, _| drop(process.watch(&latest_job(process))));
    assert_eq!(written, ["accepted a"]);
}

#[test]
fn an_acceptance_is_written_no_later_than_that_of_a_job_that_depends_on_it() {
    let written = written_when(|process, _| {
        let depends = process.accept(&after(job("e", &[add("b")]), [&latest_job(process)]));
        drop(depends);
    });
    assert_eq!(written, ["accepted a"]);
}

#[test]
fn an_acceptance_is_written_when_the_manager_stops() {
    let written = written_when(|process, _| process.manager().stop_blocking(Stop::Graceful));
    assert_eq!(written, ["accepted a"]);
}

#[test]
fn an_acceptance_is_written_when_the_job_has_waited_for_long() {
    let written = written_when(|_, _| ());
    assert_eq!(written, ["accepted a"]);
}

#[test]
fn an_acceptance_is_written_before_a_failed_attempt() {
    let machine = Machine::new();
    let process = machine.boot();
    machine.script.fail("a", [broken()]);
    let submitted = process.hand_in(&job("d", &[add("a")]));
    assert!(within(submitted.wait()).success);
    let written = machine.disk.written();
    assert!(written[0] == "accepted a" && written[1].starts_with("attempt 1"), "{written:?}");
}

#[test]
fn a_job_that_was_cancelled_has_no_acceptance() {
    let machine = Machine::new();
    let process = machine.boot();
    process.manager().pause().expect("it runs");
    let submitted = process.hand_in(&job("d", &[add("a")]));
    process.mount.hold();
    std::thread::scope(|scope| {
        let cancel = aside(scope, || process.manager().cancel(&latest_job(&process)).map(drop));
        process.mount.wait_until_held();
        process.mount.release();
        cancel.wait().expect("it waits");
    });
    assert!(!within(submitted.wait()).success);
    drop(process);
    assert_eq!(machine.disk.written().last().map(String::as_str), Some("failed a"));
}

#[test]
fn submissions_that_come_together_are_on_the_disk_together() {
    let machine = Machine::new();
    let process = machine.open();
    process.mount.hold();
    std::thread::scope(|scope| {
        let enqueue = aside(scope, || {
            let submissions = ["a", "b", "c"].map(|name| read(&job(name, &[add(name)])));
            process.manager().enqueue_all(submissions.to_vec())
        });
        process.mount.wait_until_held();
        assert!(!enqueue.has_ended());
        process.mount.release();
        assert_eq!(enqueue.wait().expect("they are accepted").len(), 3);
    });
    assert_eq!(machine.disk.batches(), [["accepted a", "accepted b", "accepted c"]]);
}

#[test]
fn a_key_that_is_submitted_again_is_answered_when_the_disk_has_its_job() {
    let machine = Machine::new();
    let process = machine.open();
    process.mount.hold();
    let keyed = keyed(job("d", &[add("a")]), "k");
    let mut first = Wait::new(process.hand_in(&keyed).accepted());
    process.mount.wait_until_held();
    let mut again = Wait::new(process.hand_in(&keyed).accepted());
    assert!(first.look().is_none() && again.look().is_none());
    process.mount.release();
    let (first, again) = (first.wait().expect("accepted"), again.wait().expect("accepted"));
    assert_eq!(first.job_id, again.job_id);
    assert_eq!(machine.disk.jobs().len(), 1);
}

#[test]
fn a_key_that_is_submitted_again_is_not_answered_if_its_job_was_lost() {
    let machine = Machine::new();
    let process = machine.open();
    process.mount.hold();
    let keyed = keyed(job("d", &[add("a")]), "k");
    let first = Wait::new(process.hand_in(&keyed).accepted());
    process.mount.wait_until_held();
    let again = Wait::new(process.hand_in(&keyed).accepted());
    process.mount.next(Fate::Lost);
    for accepted in [first, again] {
        assert!(matches!(accepted.wait(), Err(Refusal::Store(StoreError::Stopped { .. }))));
    }
}

#[test]
fn waiting_for_the_disk_works_inside_a_runtime() {
    let machine = Machine::new();
    let process = machine.boot();
    within(async {
        let first = process.accept(&job("d", &[hold("a")]));
        let second = process.accept(&job("d", &[add("b")]));
        let cancelled = process.manager().cancel(&second.job_id).expect("it waits");
        assert!(!cancelled.success);
        process.manager().pause().expect("it runs");
        process.manager().resume().expect("it is paused");
        machine.script.release("a");
        assert!(first.wait().await.success);
        let failed = process.accept(&job("d", &[serde_json::json!({"id": "no", "type": "NO"})]));
        let failed = failed.wait().await;
        process.manager().discard_failed(&failed.job.id).expect("a dead letter");
        let done = process.manager().enqueue_all(vec![read(&job("d", &[add("c")]))]).expect("acceptable");
        for ticket in done {
            assert!(ticket.wait().await.success);
        }
    });
    assert!(process.events().iter().any(|event| matches!(**event, Event::JobCompleted(_))));
}

#[test]
fn a_job_made_elsewhere_cannot_have_the_id_of_one_on_the_disk() {
    let machine = Machine::new();
    let done = machine.boot().succeed(&job("d", &[add("a")]));
    let process = machine.boot();
    let twin = crate::manager::drive::another(&done, done.job.id.as_str());
    let refused = within(process.manager().execute(twin, None, None)).expect_err("its id is taken");
    assert!(refused.to_string().starts_with("id: "), "{refused}");
    let other = crate::manager::drive::another(&done, "other");
    assert!(within(process.manager().execute(other, None, None)).expect("a new id").success);
    assert_eq!(machine.actions("d"), ["a", "other"]);
}

#[test]
fn one_task_of_a_runtime_may_enqueue_any_number_of_jobs() {
    /// More than tokio lets a task receive before it gives its thread back.
    const JOBS: usize = 300;
    let machine = Machine::new();
    let process = machine.boot();
    within(async {
        for number in 0..JOBS {
            process.manager().enqueue(read(&job("d", &[add(&number.to_string())]))).expect("it is accepted");
        }
    });
}

#[test]
fn a_job_that_is_watched_while_it_comes_in_has_its_number_in_the_journal() {
    const ROUNDS: usize = 3_000;
    let machine = Machine::new();
    let process = machine.boot();
    let first = process.succeed(&job("d", &[add("a")]));
    let (round, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let id = JobId::from(format!("mine-{}", round.load(Ordering::Relaxed)));
                drop(process.manager().watch(&id));
            }
        });
        for number in 0..ROUNDS {
            round.store(number, Ordering::Relaxed);
            let executed = process.manager().execute(another(&first, &format!("mine-{number}")), None, None);
            assert!(within(executed).is_ok());
        }
        is_over.store(true, Ordering::Relaxed);
    });
    process.wait_until_idle();
    let unfinished = machine.disk.store().unfinished().expect("readable");
    assert!(unfinished.is_empty(), "{unfinished:?}");
}

#[test]
fn what_was_accepted_is_on_the_disk_although_it_is_cancelled_meanwhile() {
    let machine = Machine::new();
    let process = machine.boot();
    process.manager().pause().expect("it runs");
    for number in 0..1_500 {
        let submitted = process.hand_in(&job("d", &[add(&format!("a{number}"))]));
        let id = latest_job(&process);
        std::thread::scope(|scope| {
            let cancel = aside(scope, || drop(process.manager().cancel(&id)));
            let ticket = submitted.accepted_blocking().expect("it is accepted");
            assert!(machine.disk.job(&ticket.job_id).is_some(), "an accepted job is not on the disk");
            cancel.wait();
        });
    }
}
