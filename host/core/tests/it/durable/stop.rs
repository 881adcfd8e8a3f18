//! A manager that stops keeps its jobs for the next start: its own, or another process's.

use reductor_core::{CancellationToken, Cancelled, ExecuteError, JobErrorCode, JobStatus, NotPaused, Phase, Stop};

use super::disk::Fate;
use super::machine::{Machine, Wait, aside};
use crate::executor::host::{add, hold, job, result, within};
use crate::manager::drive::{after, broken, failed_with, given_back, metadata};

#[test]
fn jobs_that_a_stop_gives_back_run_at_the_next_start_of_the_same_manager() {
    let machine = Machine::new();
    let process = machine.boot();
    let running = process.accept(&job("d", &[hold("a")]));
    machine.script.wait_until_held("a");
    let waiting = process.accept(&job("d", &[add("b")]));
    process.manager().stop_blocking(Stop::Interrupt);
    let ids = [running.job_id.clone(), waiting.job_id.clone()];
    given_back(&result(running), 1);
    given_back(&result(waiting), 0);
    assert!(ids.iter().all(|id| machine.status(id) == JobStatus::Pending));
    assert!(process.said().iter().all(|said| !said.starts_with("failed")));
    let watched = ids.map(|id| process.watch(&id));
    machine.script.release("a");
    process.manager().start(None).expect("it is stopped");
    for ticket in watched {
        let result = result(ticket);
        assert!(result.success && metadata(&result).attempts == 1, "an interrupted attempt does not count");
    }
    assert_eq!(machine.actions("d"), ["a", "b"]);
}

#[test]
fn jobs_that_a_stop_gives_back_run_in_the_next_process() {
    for how in [Stop::Graceful, Stop::Interrupt] {
        let machine = Machine::new();
        let process = machine.boot();
        let running = process.accept(&job("d", &[hold("a")]));
        machine.script.wait_until_held("a");
        let waiting = process.accept(&job("d", &[add("b")]));
        let ids = [running.job_id.clone(), waiting.job_id.clone()];
        std::thread::scope(|scope| {
            let stop = aside(scope, || process.manager().stop_blocking(how));
            if how == Stop::Graceful {
                process.wait_until_stopping();
                machine.script.release("a");
            }
            stop.wait();
        });
        assert_eq!(result(running).success, how == Stop::Graceful);
        given_back(&result(waiting), 0);
        drop(process);
        machine.script.release("a");
        let process = machine.boot();
        assert!(ids.iter().all(|id| within(process.watch(id).wait()).success));
        assert_eq!(machine.actions("d"), ["a", "b"]);
    }
}

#[test]
fn a_stop_waits_until_the_disk_has_what_has_ended() {
    let machine = Machine::new();
    let process = machine.boot();
    process.mount.hold();
    let submitted = Wait::new(process.hand_in(&job("d", &[add("a")])).wait());
    process.mount.wait_until_held();
    process.wait_until_started(1);
    std::thread::scope(|scope| {
        let stop = aside(scope, || process.manager().stop_blocking(Stop::Graceful));
        process.wait_until_stopping();
        assert!(!stop.has_ended());
        process.mount.release();
        stop.wait();
    });
    assert!(submitted.wait().success);
}

#[test]
fn a_job_that_depends_on_one_given_back_with_it_runs_after_it() {
    let machine = Machine::new();
    let process = machine.boot();
    let first = process.accept(&job("d", &[hold("a")]));
    machine.script.wait_until_held("a");
    let second = process.accept(&after(job("e", &[add("b")]), [&first.job_id]));
    let third = process.accept(&after(job("d", &[add("c")]), [&second.job_id]));
    process.manager().stop_blocking(Stop::Interrupt);
    let ids = [first, second, third].map(|ticket| {
        let id = ticket.job_id.clone();
        assert_eq!(result(ticket).job.status, JobStatus::Pending);
        id
    });
    machine.script.release("a");
    let watched = ids.map(|id| process.watch(&id));
    process.manager().start(None).expect("it is stopped");
    watched.into_iter().for_each(|ticket| assert!(result(ticket).success));
    assert_eq!(machine.script.calls().applied, ["a", "a", "b", "c"]);
}

#[test]
fn a_job_whose_dependency_failed_before_a_stop_fails_after_the_next_start() {
    let machine = Machine::new();
    machine.script.fail("a", [crate::executor::scripted::rejected("NO", "no")]);
    let process = machine.boot_with(|config| config.retention.results_max = 1);
    let failed = process.fail(&job("d", &[add("a")]));
    process.manager().pause().expect("it runs");
    let second = process.accept(&after(job("e", &[add("b")]), [&failed])).job_id;
    process.manager().stop_blocking(Stop::Graceful);
    process.manager().start(None).expect("it is stopped");
    let watched = process.watch(&second);
    process.manager().resume().expect("it is paused");
    failed_with(&result(watched), &failed, JobErrorCode::LibraryError);
    assert_eq!(machine.applied("b"), 0);
}

#[test]
fn a_stop_takes_no_retry_from_a_job() {
    let machine = Machine::new();
    machine.script.fail("a", (0..3).map(|_| broken()));
    let process = machine.boot();
    let id = process.accept(&job("d", &[hold("a")])).job_id;
    process.wait_until_said("failed a, retry 3 follows");
    machine.script.wait_until_held("a");
    for _ in 0..3 {
        process.manager().stop_blocking(Stop::Interrupt);
        process.manager().start(None).expect("it is stopped");
    }
    machine.script.release("a");
    let ended = within(process.watch(&id).wait());
    assert_eq!((ended.success, metadata(&ended).attempts), (true, 4));
}

#[test]
fn a_job_that_was_cancelled_does_not_come_back_from_a_stop() {
    let machine = Machine::new();
    let process = machine.boot();
    process.accept(&job("d", &[hold("a")]));
    machine.script.wait_until_held("a");
    let cancelled = process.accept(&job("d", &[add("b")]));
    process.manager().cancel(&cancelled.job_id).expect("it waits");
    process.manager().stop_blocking(Stop::Interrupt);
    machine.script.release("a");
    process.manager().start(None).expect("it is stopped");
    process.wait_until_idle();
    assert_eq!((machine.applied("b"), machine.actions("d")), (0, vec!["a".to_owned()]));
}

#[test]
fn a_process_that_goes_while_an_acceptance_is_written_waits_for_it() {
    let machine = Machine::new();
    let process = machine.open();
    process.mount.hold();
    let accepted = Wait::new(process.hand_in(&job("d", &[add("a")])).accepted());
    let id = {
        process.mount.wait_until_held();
        drop(process);
        accepted.wait().expect("it is accepted").job_id
    };
    assert_eq!(machine.status(&id), JobStatus::Pending);
    let process = machine.boot();
    assert!(within(process.watch(&id).wait()).success);
}

#[test]
fn a_process_that_is_killed_while_it_starts_loses_nothing() {
    let machine = Machine::new();
    let process = machine.open();
    let ids = ["a", "b"].map(|name| process.accept(&job("d", &[add(name)])).job_id);
    process.crash(Fate::Lost);
    for fate in [Fate::Lost, Fate::Lost, Fate::WrittenUnknown] {
        let process = machine.open();
        process.mount.hold();
        process.manager().start(None).expect("threads are left");
        process.wait_until_started(1);
        process.crash(fate);
    }
    let process = machine.boot();
    process.wait_until_idle();
    assert!(ids.iter().all(|id| within(process.watch(id).wait()).success));
    assert_eq!(machine.actions("d"), ["a", "b"]);
}

#[test]
fn a_wait_for_a_pause_or_a_stop_can_be_cancelled_and_what_was_asked_for_goes_on() {
    let machine = Machine::new();
    let process = machine.boot();
    process.mount.hold();
    let (manager, signal) = (process.manager(), CancellationToken::new());
    signal.cancel();
    assert_eq!(within(manager.pause_unless(&signal)), Err(NotPaused::Cancelled(Cancelled)));
    assert_eq!(manager.phase(), Phase::Paused);
    assert_eq!(within(manager.resume_unless(&signal)), Err(NotPaused::Cancelled(Cancelled)));
    assert_eq!(manager.phase(), Phase::Running);
    let submitted = process.hand_in(&job("d", &[add("a")]));
    assert!(matches!(within(submitted.accepted_unless(&signal)), Err(ExecuteError::WaitCancelled(_))));
    assert_eq!(within(manager.wait_until_idle_unless(&signal)), Err(Cancelled));
    assert_eq!(within(manager.stop_unless(Stop::Graceful, &signal)), Err(Cancelled));
    process.mount.release();
    within(manager.stop(Stop::Graceful));
    assert_eq!(manager.phase(), Phase::Stopped);
}

#[test]
fn a_wait_that_is_not_cancelled_has_its_end() {
    let machine = Machine::new();
    let process = machine.boot();
    let (manager, signal) = (process.manager(), CancellationToken::new());
    assert_eq!(within(manager.pause_unless(&signal)), Ok(()));
    assert_eq!(within(manager.resume_unless(&signal)), Ok(()));
    let ticket = within(process.hand_in(&job("d", &[add("a")])).accepted_unless(&signal)).expect("it is accepted");
    assert!(result(ticket).success);
    assert_eq!(within(manager.wait_until_idle_unless(&signal)), Ok(()));
    assert_eq!(within(manager.stop_unless(Stop::Graceful, &signal)), Ok(()));
    assert_eq!(manager.phase(), Phase::Stopped);
}
