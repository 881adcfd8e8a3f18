//! What a process leaves behind, the next one goes on with.

use reductor_core::{JobErrorCode, JobId, JobRecord, JobStatus, Reason, Refusal, Stop};
use serde_json::json;

use super::disk::Fate;
use super::machine::{Machine, Process, Wait};
use crate::executor::host::{add, hold, job, result, within};
use crate::executor::scripted::{rejected, trapped};
use crate::manager::drive::{after, broken, failed_with, keyed, metadata};

/// A process whose failed attempts wait for a long time.
fn patient(machine: &Machine) -> Process {
    machine.boot_with(|config| {
        (config.manager.retry_base_delay, config.manager.retry_max_delay) = (Some(3_000_000), Some(3_000_000));
    })
}

#[test]
fn an_accepted_job_runs_in_the_next_process() {
    let machine = Machine::new();
    let process = machine.open();
    let ids = ["a", "b", "c"].map(|name| process.accept(&job("d", &[add(name)])).job_id);
    process.crash(Fate::Lost);
    let process = machine.boot();
    let results = ids.map(|id| within(process.watch(&id).wait()));
    assert!(results.iter().all(|result| result.success && metadata(result).attempts == 1));
    assert_eq!(machine.actions("d"), ["a", "b", "c"]);
}

#[test]
fn a_job_that_ran_and_whose_end_was_lost_runs_again() {
    let machine = Machine::new();
    let process = machine.boot();
    let held = process.accept(&job("d", &[hold("a")]));
    machine.script.wait_until_held("a");
    process.mount.hold();
    machine.script.release("a");
    process.mount.wait_until_held();
    process.crash(Fate::Lost);
    assert_eq!(machine.status(&held.job_id), JobStatus::Pending);
    let process = machine.boot();
    assert!(within(process.watch(&held.job_id).wait()).success);
    assert_eq!((machine.applied("a"), machine.actions("d")), (2, vec!["a".to_owned()]));
}

#[test]
fn a_job_whose_end_is_on_the_disk_and_was_told_nobody_does_not_run_again() {
    let machine = Machine::new();
    let process = machine.boot();
    let held = process.accept(&job("d", &[hold("a")]));
    machine.script.wait_until_held("a");
    process.mount.hold();
    machine.script.release("a");
    process.mount.wait_until_held();
    process.crash(Fate::WrittenUnknown);
    assert_eq!(result(held).error_code, Some(JobErrorCode::IoError), "its process did not know");
    let id = machine.disk.jobs()[0].job_id().clone();
    let process = machine.boot();
    process.wait_until_idle();
    assert!(within(process.watch(&id).wait()).success);
    assert_eq!((machine.applied("a"), process.said()), (1, Vec::new()));
}

#[test]
fn an_acceptance_that_was_lost_is_no_job() {
    let machine = Machine::new();
    let process = machine.open();
    process.mount.hold();
    let accepted = Wait::new(process.hand_in(&job("d", &[add("a")])).accepted());
    process.mount.wait_until_held();
    process.crash(Fate::Lost);
    assert!(matches!(accepted.wait(), Err(Refusal::Store(_))));
    let process = machine.boot();
    process.wait_until_idle();
    assert!(machine.disk.jobs().is_empty() && machine.script.calls().applied.is_empty());
}

#[test]
fn a_restart_is_no_reason_to_retry_more_often() {
    let machine = Machine::new();
    machine.script.fail("a", (0..9).map(|_| broken()));
    let process = patient(&machine);
    let id = process.accept(&job("d", &[add("a")])).job_id;
    for retry in 1..=3 {
        process.wait_until_said(&format!("failed a, retry {retry} follows"));
        if retry < 3 {
            process.advance();
        }
    }
    process.crash(Fate::Lost);
    let process = patient(&machine);
    process.advance();
    let ended = within(process.watch(&id).wait());
    assert_eq!((ended.success, metadata(&ended).attempts), (false, 4));
    assert_eq!(process.said(), ["retry 3 of a", "started a", "failed a after 3 retries"]);
    assert_eq!(ended.duration.us, 3 * 3_600_000_000, "it counts from the first start");
}

#[test]
fn a_trap_that_repeats_after_a_restart_is_proven_deterministic() {
    let machine = Machine::new();
    machine.script.fail("a", [trapped("unreachable"), trapped("unreachable"), trapped("unreachable")]);
    let process = patient(&machine);
    let id = process.accept(&job("d", &[add("a")])).job_id;
    process.wait_until_said("failed a, retry 1 follows");
    process.crash(Fate::Lost);
    let process = patient(&machine);
    process.advance();
    let ended = within(process.watch(&id).wait());
    assert_eq!((metadata(&ended).attempts, metadata(&ended).deterministic), (2, Some(true)));
}

#[test]
fn a_delayed_retry_keeps_its_moment_and_its_place() {
    let machine = Machine::new();
    machine.script.fail("a", [broken()]);
    let process = patient(&machine);
    let first = process.accept(&job("d", &[add("a")])).job_id;
    let second = process.accept(&job("d", &[add("b")])).job_id;
    process.wait_until_said("failed a, retry 1 follows");
    process.crash(Fate::Lost);
    let process = patient(&machine);
    process.succeed(&job("e", &[add("x")]));
    process.succeed(&job("f", &[add("y")]));
    assert_eq!((machine.applied("a"), machine.applied("b")), (1, 0), "its moment has not come");
    process.advance();
    assert!(within(process.watch(&second).wait()).success);
    assert!(within(process.watch(&first).wait()).success);
    assert_eq!(machine.actions("d"), ["a", "b"]);
}

#[test]
fn a_delayed_retry_is_due_if_its_moment_came_while_no_process_ran() {
    let machine = Machine::new();
    machine.script.fail("a", [broken()]);
    let process = patient(&machine);
    let id = process.accept(&job("d", &[add("a")])).job_id;
    process.wait_until_said("failed a, retry 1 follows");
    process.crash(Fate::Lost);
    machine.open().advance();
    let process = patient(&machine);
    assert!(within(process.watch(&id).wait()).success);
}

#[test]
fn a_delayed_retry_keeps_its_moment_when_the_manager_stops_and_starts() {
    let machine = Machine::new();
    machine.script.fail("a", [broken()]);
    let process = patient(&machine);
    let id = process.accept(&job("d", &[add("a")])).job_id;
    process.wait_until_said("failed a, retry 1 follows");
    process.manager().stop_blocking(Stop::Graceful);
    process.manager().start(None).expect("it is stopped");
    process.succeed(&job("e", &[add("x")]));
    process.succeed(&job("f", &[add("y")]));
    assert_eq!(machine.applied("a"), 1, "its moment has not come");
    process.advance();
    assert!(within(process.watch(&id).wait()).success);
}

#[test]
fn failed_attempts_that_are_kept_are_bounded_and_counted() {
    let machine = Machine::new();
    machine.script.fail("a", (0..40).map(|_| broken()));
    let process = machine.boot_with(|config| config.max_retries = 39);
    let id = process.fail(&job("d", &[add("a")]));
    let Some(JobRecord::Failed { journaled, .. }) = machine.disk.job(&id) else { panic!("it failed") };
    let kept: Vec<_> = journaled.failed_attempts.iter().map(|failed| failed.attempt).collect();
    let expected: Vec<u32> = std::iter::once(1).chain(26..=40).collect();
    assert_eq!((kept, journaled.attempts()), (expected, 40));
}

#[test]
fn dependencies_hold_after_a_restart() {
    let machine = Machine::new();
    let process = machine.open();
    let first = process.accept(&job("d", &[hold("a")])).job_id;
    let second = process.accept(&after(job("e", &[add("b")]), [&first])).job_id;
    process.crash(Fate::Lost);
    let process = machine.boot_with(|config| config.manager.max_concurrency = Some(2));
    machine.script.wait_until_held("a");
    process.succeed(&job("f", &[add("x")]));
    assert_eq!(machine.applied("b"), 0);
    machine.script.release("a");
    assert!(within(process.watch(&second).wait()).success);
}

#[test]
fn a_dependency_that_ended_before_a_restart_counts_after_it() {
    let machine = Machine::new();
    machine.script.fail("bad", [rejected("NO", "no")]);
    let process = machine.boot();
    let good = process.succeed(&job("d", &[add("good")])).job.id.clone();
    let bad = process.fail(&job("d", &[add("bad")]));
    process.manager().pause().expect("it runs");
    let [lucky, doomed] = [(&good, "b"), (&bad, "c")]
        .map(|(dependency, name)| process.accept(&after(job("e", &[add(name)]), [dependency])).job_id);
    process.crash(Fate::Lost);
    let process = machine.boot();
    process.manager().resume().expect("it is paused");
    assert!(within(process.watch(&lucky).wait()).success);
    failed_with(&within(process.watch(&doomed).wait()), &bad, JobErrorCode::LibraryError);
}

#[test]
fn dispatched_jobs_run_after_a_restart_within_the_budget_of_their_root() {
    let machine = Machine::new();
    let few = |config: &mut reductor_core::ExecutorConfig| {
        config.limits.dispatched_jobs_per_root_max = 3;
        config.manager.max_concurrency = Some(1);
    };
    let process = machine.boot_with(few);
    process.mount.hold();
    let _first = process.hand_in(&job("other", &[add("x")]));
    process.mount.wait_until_held();
    let chain = json!({"id": "root", "type": "CHAIN", "input": "x"});
    let root = process.hand_in(&job("d", &[chain]));
    process.wait_until_started(2);
    process.mount.next(Fate::Written);
    machine.wait_until_written();
    process.mount.wait_until_held();
    process.crash(Fate::WrittenUnknown);
    drop(root);
    assert_eq!(machine.actions("d").len(), 1, "the root has ended, and what it dispatched waits");
    machine.boot_with(few).wait_until_idle();
    assert_eq!(machine.actions("d").len(), 3, "the third that followed from it is one too many");
    let failed: Vec<_> = machine.disk.jobs().into_iter().filter(|job| job.status() == JobStatus::Failed).collect();
    assert_eq!(failed.len(), 1);
    let result = failed[0].result().expect("it has one");
    assert_eq!(metadata(result).reason, Some(Reason::DispatchLimit));
    let causation = metadata(result).causation.clone().expect("it was dispatched");
    assert_eq!(causation.depth, 3);
}

#[test]
fn an_idempotency_key_names_its_job_after_a_restart() {
    let machine = Machine::new();
    let process = machine.boot();
    let done = process.succeed(&keyed(job("d", &[add("a")]), "done"));
    process.manager().pause().expect("it runs");
    let waiting = process.accept(&keyed(job("d", &[add("b")]), "waiting")).job_id;
    process.crash(Fate::Lost);
    let process = machine.boot();
    let again = process.accept(&keyed(job("d", &[add("other")]), "done"));
    assert_eq!(again.job_id, done.job.id);
    assert_eq!(result(again), done);
    assert_eq!(process.accept(&keyed(job("d", &[add("other")]), "waiting")).job_id, waiting);
    assert_eq!(machine.disk.jobs().len(), 2);
}

#[test]
fn pausing_survives_a_restart_and_so_does_resuming() {
    let machine = Machine::new();
    let process = machine.boot();
    process.manager().pause().expect("it runs");
    let id = process.accept(&job("d", &[add("a")])).job_id;
    process.crash(Fate::Lost);
    let process = machine.boot();
    assert_eq!(process.manager().phase(), reductor_core::Phase::Paused);
    assert!(process.watch(&id).try_wait().is_none());
    process.manager().resume().expect("it is paused");
    assert!(within(process.watch(&id).wait()).success);
    process.crash(Fate::Lost);
    assert_eq!(machine.boot().manager().phase(), reductor_core::Phase::Running);
}

#[test]
fn results_of_earlier_processes_are_found_by_watch() {
    let machine = Machine::new();
    machine.script.fail("b", [rejected("NO", "no")]);
    let process = machine.boot();
    let done = process.succeed(&job("d", &[add("a")]));
    let failed = process.run(&job("d", &[add("b")]));
    drop(process);
    let process = machine.open();
    for ended in [&done, &failed] {
        assert_eq!(within(process.watch(&ended.job.id).wait()), *ended);
        let refused = process.manager().cancel(&ended.job.id).expect_err("it has ended");
        assert_eq!(refused, reductor_core::NotCancelled::Ended(ended.job.id.clone()));
    }
    assert!(process.manager().watch(&JobId::from("nobody")).is_err());
}

#[test]
fn a_result_that_memory_forgot_is_found_by_watch() {
    let machine = Machine::new();
    let process = machine.boot_with(|config| config.retention.results_max = 1);
    let first = process.succeed(&job("d", &[add("a")]));
    process.succeed(&job("d", &[add("b")]));
    process.succeed(&job("d", &[add("c")]));
    assert_eq!(within(process.watch(&first.job.id).wait()), first);
}

#[test]
fn a_job_that_was_stopped_has_its_place_and_is_known_however_often_the_manager_starts() {
    let machine = Machine::new();
    let process = machine.boot_with(|config| config.retention.results_max = 1);
    process.manager().pause().expect("it runs");
    let id = process.accept(&keyed(job("d", &[hold("a")]), "k")).job_id;
    process.manager().stop_blocking(Stop::Graceful);
    process.manager().start(None).expect("it is stopped");
    // While the only worker is busy, the result that the job was stopped with is forgotten for these.
    machine.script.wait_until_held("a");
    for name in ["x", "y", "z"] {
        let other = process.accept(&job("e", &[add(name)])).job_id;
        process.manager().cancel(&other).expect("it waits");
    }
    assert_eq!(process.accept(&keyed(job("d", &[add("other")]), "k")).job_id, id);
    let watched = process.watch(&id);
    machine.script.release("a");
    assert!(within(watched.wait()).success);
}

#[test]
fn events_of_the_next_process_are_only_about_what_it_does() {
    let machine = Machine::new();
    let process = machine.open();
    process.accept(&job("d", &[add("a")]));
    drop(process);
    let process = machine.boot();
    process.wait_until_idle();
    assert_eq!(process.said(), ["started a", "completed a"]);
}
