//! A disk that fails: nobody is told what is not so, and the next process decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reductor_core::{
    ActionId, DuplicateCheck, HistoryError, JobErrorCode, JobStatus, NotADeadLetter, NotCancelled, NotWatched,
    Operation, OperationStore as _, Reason, Refusal, Stop, StoreError, StoredOperation,
};

use super::disk::Fate;
use super::machine::{Machine, Process, Wait, aside};
use crate::executor::host::{add, hold, job, lane, result, within};
use crate::executor::scripted::{rejected, trapped};
use crate::manager::drive::{after, broken};

/// A process that has written a document `d`, and whose next batch failed.
fn stopped(machine: &Machine) -> Process {
    let process = machine.boot();
    process.succeed(&job("d", &[add("a")]));
    process.mount.next(Fate::Lost);
    let refused = Wait::new(process.hand_in(&job("e", &[add("lost")])).accepted()).wait();
    assert!(matches!(refused, Err(Refusal::Store(StoreError::Stopped { .. }))));
    process.wait_until_idle();
    process
}

#[test]
fn after_a_failed_batch_nothing_is_accepted_and_reads_go_on() {
    let machine = Machine::new();
    let done = machine.boot().succeed(&job("before", &[add("x")]));
    let process = stopped(&machine);
    let refused = process.submit(&job("d", &[add("b")])).map(drop);
    assert!(matches!(refused, Err(Refusal::Store(StoreError::Stopped { .. }))), "{refused:?}");
    let batch = process.manager().enqueue_all(vec![super::machine::read(&job("d", &[add("b")]))]);
    assert!(matches!(batch.expect_err("it stopped").refusal, Refusal::Store(_)));
    assert_eq!((process.state("d"), process.state("before")), (r#"["a"]"#.into(), r#"["x"]"#.into()));
    assert_eq!(within(process.watch(&done.job.id).wait()), done);
    assert_eq!(process.manager().get_status().active_jobs, 0);
    drop(process);
    machine.boot().succeed(&job("d", &[add("b")]));
    assert_eq!(machine.state("d"), r#"["a","b"]"#);
}

#[test]
fn a_store_that_panics_is_one_that_failed() {
    let machine = Machine::new();
    let process = machine.boot();
    process.mount.next(Fate::Panics);
    let result = Wait::new(process.hand_in(&job("d", &[add("a")])).wait()).wait();
    assert_eq!(result.error_code, Some(JobErrorCode::IoError), "{:?}", result.error_message);
    let refused = process.submit(&job("d", &[add("b")])).map(drop);
    assert!(matches!(refused, Err(Refusal::Store(StoreError::Stopped { .. }))), "{refused:?}");
    drop(process);
    machine.boot().wait_until_idle();
    assert_eq!(machine.state("d"), r#"["a"]"#);
}

#[test]
fn whoever_waits_when_a_batch_fails_is_told_that_nobody_knows() {
    let machine = Machine::new();
    let process = machine.boot();
    let gate = process.accept(&job("gate", &[hold("gate")]));
    machine.script.wait_until_held("gate");
    let waits = process.accept(&job("d", &[add("a")]));
    let depends = process.accept(&after(job("e", &[add("b")]), [&waits.job_id]));
    let watched = process.watch(&waits.job_id);
    process.mount.next(Fate::Lost);
    let lost = Wait::new(process.hand_in(&job("f", &[add("c")])).wait());
    let ids = [&waits, &depends].map(|ticket| ticket.job_id.clone());
    for result in [within(waits.wait()), within(depends.wait()), within(watched.wait()), lost.wait()] {
        assert_eq!((result.error_code, result.job.status), (Some(JobErrorCode::IoError), JobStatus::Pending));
    }
    machine.script.release("gate");
    assert_eq!(within(gate.wait()).job.status, JobStatus::Pending);
    process.wait_until_idle();
    assert!(process.said().iter().all(|said| !said.starts_with("failed") && !said.starts_with("completed")));
    drop(process);
    let process = machine.boot();
    assert!(ids.iter().all(|id| within(process.watch(id).wait()).success));
    assert_eq!(machine.applied("gate"), 2);
}

#[test]
fn a_retry_that_cannot_be_written_is_not_made_before_the_next_start() {
    let machine = Machine::new();
    let process = machine.boot();
    let id = process.accept(&job("d", &[hold("again")])).job_id;
    machine.script.wait_until_held("again");
    machine.script.fail("again", [broken()]);
    process.mount.next(Fate::Lost);
    machine.script.release("again");
    assert_eq!(within(process.watch(&id).wait()).job.status, JobStatus::Pending);
    drop(process);
    assert!(within(machine.boot().watch(&id).wait()).success);
}

#[test]
fn an_attempt_whose_failure_cannot_be_written_is_told_nobody() {
    let machine = Machine::new();
    machine.script.fail("a", [broken()]);
    let process = machine.open();
    let ticket = process.accept(&job("d", &[add("a")]));
    let id = ticket.job_id.clone();
    process.mount.next(Fate::Lost);
    process.manager().start(None).expect("threads are left");
    let ended = within(ticket.wait());
    assert_eq!((ended.error_code, ended.job.status), (Some(JobErrorCode::IoError), JobStatus::Pending));
    process.wait_until_idle();
    assert_eq!(process.said(), ["available in d", "started a"]);
    drop(process);
    let ended = within(machine.boot().watch(&id).wait());
    assert_eq!(crate::manager::drive::metadata(&ended).attempts, 1, "the disk knows of no attempt");
}

#[test]
fn a_cancelled_job_stays_cancelled() {
    let machine = Machine::new();
    let process = machine.open();
    let ticket = process.accept(&job("d", &[add("a")]));
    let cancelled = process.manager().cancel(&ticket.job_id).expect("it waits");
    process.crash(Fate::Lost);
    let process = machine.boot();
    process.wait_until_idle();
    assert_eq!((machine.applied("a"), within(process.watch(&ticket.job_id).wait())), (0, cancelled));
    assert_eq!(result(ticket).job.status, JobStatus::Failed);
}

#[test]
fn nobody_hears_of_a_cancellation_before_the_disk_has_it() {
    let machine = Machine::new();
    let process = machine.boot();
    process.manager().pause().expect("it runs");
    let ticket = process.accept(&job("d", &[add("a")]));
    let depends = process.accept(&after(job("e", &[add("b")]), [&ticket.job_id]));
    process.mount.hold();
    std::thread::scope(|scope| {
        let cancel = super::machine::aside(scope, || process.manager().cancel(&depends.job_id));
        process.mount.wait_until_held();
        assert!(!cancel.has_ended() && process.watch(&depends.job_id).try_wait().is_none());
        assert!(process.said().iter().all(|said| !said.starts_with("failed")));
        let again = process.manager().cancel(&depends.job_id).expect_err("it is on its way out");
        assert_eq!(again, NotCancelled::Ended(depends.job_id.clone()));
        process.mount.release();
        assert!(cancel.wait().is_ok());
    });
    assert_eq!(machine.status(&depends.job_id), JobStatus::Failed);
}

#[test]
fn a_cancellation_that_cannot_be_written_is_decided_at_the_next_start() {
    for (fate, status) in [(Fate::Lost, JobStatus::Completed), (Fate::WrittenUnknown, JobStatus::Failed)] {
        let machine = Machine::new();
        let process = machine.open();
        let ticket = process.accept(&job("d", &[add("a")]));
        let id = ticket.job_id.clone();
        process.mount.next(fate);
        assert!(matches!(process.manager().cancel(&id), Err(NotCancelled::Store(StoreError::Stopped { .. }))));
        let told = result(ticket);
        assert_eq!((told.error_code, told.job.status), (Some(JobErrorCode::IoError), JobStatus::Pending));
        drop(process);
        let process = machine.boot();
        process.wait_until_idle();
        assert_eq!(machine.status(&id), status);
    }
}

#[test]
fn a_dead_letter_that_cannot_be_written_stays_one_until_the_next_start() {
    for (fate, status) in [(Fate::Lost, JobStatus::Failed), (Fate::WrittenUnknown, JobStatus::Completed)] {
        let machine = Machine::new();
        machine.script.fail("a", [rejected("NO", "no")]);
        let process = machine.boot();
        let id = process.fail(&job("d", &[add("a")]));
        process.wait_until_idle();
        process.manager().pause().expect("it runs");
        process.mount.next(fate);
        assert!(matches!(process.retry(&id), Err(NotADeadLetter::Store(StoreError::Stopped { .. }))));
        assert!(process.manager().discard_failed(&id).is_err());
        drop(process);
        let process = machine.boot();
        process.manager().resume().expect("it is paused");
        process.wait_until_idle();
        assert_eq!(machine.status(&id), status);
    }
}

#[test]
fn a_full_disk_refuses_jobs_and_lets_those_end_that_were_accepted() {
    let machine = Machine::new();
    let process = machine.boot();
    let held = process.accept(&job("d", &[hold("a")]));
    let waits = process.accept(&job("d", &[add("b")]));
    process.mount.fill();
    let refused = process.submit(&job("e", &[add("c")])).map(drop);
    assert!(matches!(refused, Err(Refusal::Store(StoreError::DiskFull { .. }))), "{refused:?}");
    machine.script.release("a");
    assert!(result(held).success && result(waits).success);
    assert_eq!(process.state("d"), r#"["a","b"]"#);
}

#[test]
fn a_journal_that_cannot_be_read_is_no_answer() {
    let machine = Machine::new();
    let done = machine.boot().succeed(&job("d", &[add("a")]));
    let process = machine.boot();
    process.mount.set_unreadable(true);
    let io = |error: &StoreError| matches!(error, StoreError::Io { .. });
    assert!(matches!(process.manager().watch(&done.job.id), Err(NotWatched::Store(error)) if io(&error)));
    assert!(matches!(process.manager().head(&lane("d")), Err(HistoryError::Store(error)) if io(&error)));
    assert!(matches!(process.submit(&job("d", &[add("b")])), Err(Refusal::Store(error)) if io(&error)));
    assert!(matches!(process.manager().cancel(&done.job.id), Err(NotCancelled::Store(error)) if io(&error)));
    process.mount.set_unreadable(false);
    process.succeed(&job("d", &[add("b")]));
}

#[test]
fn a_job_whose_document_cannot_be_read_is_tried_again() {
    let machine = Machine::new();
    machine.boot().succeed(&job("d", &[add("a")]));
    let process = machine.boot_with(|config| {
        (config.manager.retry_base_delay, config.manager.retry_max_delay) = (Some(3_000_000), Some(3_000_000));
    });
    process.manager().pause().expect("it runs");
    let ticket = process.accept(&job("d", &[add("b")]));
    process.mount.set_unreadable(true);
    process.manager().resume().expect("it is paused");
    process.wait_until_said("failed b, retry 1 follows");
    process.mount.set_unreadable(false);
    process.advance();
    assert!(result(ticket).success);
    assert_eq!(machine.state("d"), r#"["a","b"]"#);
}

/// Writes an operation that a reducer never made.
fn tamper(machine: &Machine) {
    let disk = machine.disk.store();
    let lane = lane("d");
    let newest = disk.operations(&lane, 1, 1).expect("readable").remove(0);
    let head = disk.snapshot(&lane, u64::MAX).expect("readable").expect("it exists");
    let mut action = (*newest.operation.action).clone();
    action.id = ActionId::from("forged");
    let operation = Operation { index: 1, action: Arc::new(action), ..newest.operation };
    let stored = StoredOperation { operation, sequence: 2, plugin: newest.plugin };
    let mut head = (*head).clone();
    head.revision += 1;
    let append = reductor_core::Append {
        lane,
        expected_revision: 2,
        operations: vec![stored],
        head,
        duplicate_check: DuplicateCheck::ByStore,
    };
    disk.append(append).expect("it fits the log");
}

#[test]
fn a_history_that_comes_to_another_state_is_an_error_and_never_an_answer() {
    let machine = Machine::new();
    machine.boot().succeed(&job("d", &[add("a")]));
    tamper(&machine);
    let process = machine.boot();
    assert!(matches!(process.manager().head(&lane("d")), Err(HistoryError::Differs { sequence: 2, .. })));
    let before = process.manager().head_at(&lane("d"), 2).expect("up to there it is right").expect("it exists");
    assert_eq!(&*before.snapshot()[0].json, br#"["a"]"#);
    let failed = process.run(&job("d", &[add("b")]));
    assert_eq!(failed.error_code, Some(JobErrorCode::LibraryError), "{:?}", failed.error_message);
    assert_eq!(machine.disk.operations(&lane("d")).len(), 3);
}

#[test]
fn a_history_that_traps_when_it_is_replayed_is_no_answer() {
    let machine = Machine::new();
    machine.boot().succeed(&job("d", &[add("a")]));
    machine.script.fail("a", [trapped("unreachable"), trapped("unreachable"), trapped("unreachable")]);
    let process = machine.boot();
    assert!(matches!(process.manager().head(&lane("d")), Err(HistoryError::NotApplied { sequence: 1, .. })));
    let failed = process.run(&job("d", &[add("b")]));
    let reason = crate::manager::drive::metadata(&failed).reason;
    assert_eq!((failed.error_code, reason), (Some(JobErrorCode::LibraryError), Some(Reason::Trap)));
    assert_eq!(machine.actions("d"), ["a"]);
}

#[test]
fn a_store_that_panics_while_it_forgets_old_jobs_leaves_nobody_waiting() {
    let machine = Machine::new();
    let process = machine.boot();
    process.succeed(&job("d", &[add("a")]));
    process.mount.panic_when_pruned();
    process.advance();
    // Each of them gets a result, and at some point no more is accepted.
    for number in 0.. {
        match process.submit(&job("d", &[add(&number.to_string())])) {
            Ok(submitted) => drop(within(submitted.wait())),
            Err(refusal) => {
                assert!(matches!(refusal, Refusal::Store(StoreError::Stopped { .. } | StoreError::Panicked { .. })));
                break;
            }
        }
    }
}

#[test]
fn a_stop_does_not_wait_for_a_store_that_failed_while_it_forgot_old_jobs() {
    let machine = Machine::new();
    let process = machine.boot();
    process.succeed(&job("d", &[add("a")]));
    process.wait_until_idle();
    process.mount.hold_prune();
    process.advance();
    drop(within(process.hand_in(&job("d", &[add("b")])).wait()));
    process.mount.wait_until_pruning();
    // This gathers while the store forgets.
    let gathered = process.hand_in(&job("d", &[add("c")]));
    process.wait_until_started(3);
    std::thread::scope(|scope| {
        let stop = aside(scope, || {
            let began = Instant::now();
            process.manager().stop_blocking(Stop::Graceful);
            began.elapsed()
        });
        process.wait_until_stopping();
        process.mount.panic_when_pruned();
        process.mount.release_prune();
        assert_eq!(within(gathered.wait()).error_code, Some(JobErrorCode::IoError));
        assert!(stop.wait() < Duration::from_secs(15), "the committer looks by itself after 30 seconds");
    });
}
