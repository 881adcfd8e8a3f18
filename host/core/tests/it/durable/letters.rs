//! Dead letters: jobs that failed for good, and what can be done about them.

use reductor_core::{JobErrorCode, JobId, JobQuery, JobRecord, JobStatus, NotADeadLetter, Stop};

use super::disk::Fate;
use super::machine::{Machine, Process, aside};
use crate::executor::host::{add, hold, job, result, within};
use crate::executor::scripted::trapped;
use crate::manager::drive::{after, broken, keyed, metadata};

/// A job that traps as often as its first life lasts.
fn dead(machine: &Machine, process: &Process, document: &str, name: &str) -> JobId {
    machine.script.fail(name, [trapped("unreachable"), trapped("unreachable")]);
    process.fail(&job(document, &[add(name)]))
}

fn history(machine: &Machine, id: &JobId) -> Vec<u32> {
    match machine.disk.job(id) {
        Some(JobRecord::Failed { journaled, .. } | JobRecord::Unfinished(journaled)) => {
            journaled.failed_attempts.iter().map(|failed| failed.attempt).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn a_job_that_failed_for_good_is_listed_with_its_history() {
    let machine = Machine::new();
    let process = machine.boot();
    let id = dead(&machine, &process, "d", "a");
    process.succeed(&job("d", &[add("b")]));
    drop(process);
    let process = machine.open();
    let letters = process.dead_letters();
    assert_eq!(letters.iter().map(JobRecord::job_id).collect::<Vec<_>>(), [&id]);
    let JobRecord::Failed { journaled, result, revision } = &letters[0] else { panic!("it failed") };
    assert_eq!((history(&machine, &id), *revision), (vec![1, 2], 0));
    assert!(journaled.failed_attempts.iter().all(|failed| failed.error.error_code == JobErrorCode::LibraryError));
    assert_eq!(journaled.failed_attempts[0].trap.as_deref(), Some("unreachable"));
    assert_eq!(within(process.watch(&id).wait()), *result);
}

#[test]
fn jobs_are_listed_by_status_and_document_page_by_page() {
    let machine = Machine::new();
    let process = machine.boot();
    process.succeed(&job("d", &[add("a")]));
    let failed = dead(&machine, &process, "d", "b");
    process.manager().pause().expect("it runs");
    let waits = process.accept(&job("d", &[add("c")])).job_id;
    process.accept(&job("e", &[add("x")]));
    let list = |status, after, limit| {
        let query = JobQuery { status, document: Some("d".into()), after, limit };
        let jobs = process.manager().jobs(&query).expect("a readable journal");
        jobs.iter().map(|job| job.job_id().clone()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 0, 9).len(), 3);
    assert_eq!(list(Some(JobStatus::Failed), 0, 9), std::slice::from_ref(&failed));
    assert_eq!(list(Some(JobStatus::Pending), 0, 9), [waits]);
    assert_eq!(list(None, 1, 1), [failed]);
}

#[test]
fn a_dead_letter_that_is_retried_runs_and_is_one_no_more() {
    let machine = Machine::new();
    let process = machine.boot();
    let id = dead(&machine, &process, "d", "a");
    let retried = process.retry(&id).expect("nothing has happened since");
    let ended = result(retried);
    assert_eq!((ended.success, &ended.job.id, metadata(&ended).attempts), (true, &id, 1));
    process.wait_until_idle();
    assert!(process.dead_letters().is_empty());
    assert_eq!((machine.actions("d"), within(process.watch(&id).wait())), (vec!["a".to_owned()], ended));
    let again = process.retry(&id).expect_err("it completed");
    assert_eq!(again, NotADeadLetter::NotFailed { job_id: id, status: JobStatus::Completed });
}

#[test]
fn a_dead_letter_is_retried_before_the_jobs_that_came_after_it() {
    let machine = Machine::new();
    let process = machine.boot();
    let id = dead(&machine, &process, "d", "a");
    process.manager().pause().expect("it runs");
    let later = process.accept(&job("d", &[add("b")]));
    let retried = process.retry(&id).expect("nothing has happened since");
    process.manager().resume().expect("it is paused");
    assert!(result(later).success && result(retried).success);
    assert_eq!(machine.actions("d"), ["a", "b"]);
}

#[test]
fn a_dead_letter_is_retried_before_a_job_that_is_held_or_backs_off() {
    let machine = Machine::new();
    let process = machine.boot_with(|config| {
        config.manager.max_concurrency = Some(2);
        (config.manager.retry_base_delay, config.manager.retry_max_delay) = (Some(3_000_000), Some(3_000_000));
    });
    let rejected = || crate::executor::scripted::rejected("NO", "no");
    machine.script.fail("a", [rejected()]);
    machine.script.fail("b", [rejected()]);
    let [a, b] = [("d", "a"), ("e", "b")].map(|(document, name)| process.fail(&job(document, &[add(name)])));
    let gate = process.accept(&job("gate", &[hold("gate")])).job_id;
    machine.script.wait_until_held("gate");
    machine.script.fail("f", [broken()]);
    let held = process.accept(&after(job("d", &[add("h")]), [&gate]));
    let backs_off = process.accept(&job("e", &[add("f")]));
    process.wait_until_said("failed f, retry 1 follows");
    process.succeed(&job("other", &[add("x")]));
    assert!(result(process.retry(&a).expect("its lane is held")).success);
    assert!(result(process.retry(&b).expect("its lane rests")).success);
    assert_eq!(machine.applied("f"), 1, "the backoff goes on");
    machine.script.release("gate");
    process.advance();
    assert!(result(held).success && result(backs_off).success);
    assert_eq!(
        (machine.actions("d"), machine.actions("e")),
        (vec!["a".into(), "h".into()], vec!["b".into(), "f".into()])
    );
}

#[test]
fn a_dead_letter_whose_document_went_on_is_not_retried() {
    let machine = Machine::new();
    let process = machine.boot();
    let id = dead(&machine, &process, "d", "a");
    process.succeed(&job("d", &[add("b")]));
    process.wait_until_idle();
    let refused = process.retry(&id).expect_err("its place is taken");
    assert_eq!(refused, NotADeadLetter::Overtaken { job_id: id.clone(), failed_at: 0, now: 2 });
    assert_eq!(machine.status(&id), JobStatus::Failed);
}

#[test]
fn a_dead_letter_is_not_retried_while_a_job_of_its_document_runs() {
    let machine = Machine::new();
    let process = machine.boot();
    let id = dead(&machine, &process, "d", "a");
    let held = process.accept(&job("d", &[hold("b")]));
    machine.script.wait_until_held("b");
    assert_eq!(process.retry(&id).expect_err("its document is busy"), NotADeadLetter::Busy(id));
    machine.script.release("b");
    assert!(result(held).success);
}

#[test]
fn only_jobs_that_failed_for_good_are_dead_letters() {
    let machine = Machine::new();
    let process = machine.open();
    let waits = process.accept(&job("d", &[add("a")])).job_id;
    let nobody = JobId::from("nobody");
    for refused in [process.retry(&waits).map(drop), process.manager().discard_failed(&waits)] {
        let expected = NotADeadLetter::NotFailed { job_id: waits.clone(), status: JobStatus::Pending };
        assert_eq!(refused.expect_err("it waits"), expected);
    }
    assert!(matches!(process.retry(&nobody), Err(NotADeadLetter::Unknown(_))));
    assert!(matches!(process.manager().discard_failed(&nobody), Err(NotADeadLetter::Unknown(_))));
}

#[test]
fn two_retries_at_once_are_one() {
    let machine = Machine::new();
    let process = machine.boot();
    let id = dead(&machine, &process, "d", "a");
    process.manager().pause().expect("it runs");
    process.mount.hold();
    std::thread::scope(|scope| {
        let retries = [(); 2].map(|()| aside(scope, || process.retry(&id).map(drop)));
        process.mount.wait_until_held();
        process.mount.release();
        let outcomes = retries.map(super::machine::Aside::wait);
        let expected = NotADeadLetter::NotFailed { job_id: id.clone(), status: JobStatus::Pending };
        let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
        assert_eq!(refused, [expected]);
    });
    process.manager().resume().expect("it is paused");
    process.wait_until_idle();
    assert_eq!(machine.actions("d"), ["a"]);
}

#[test]
fn a_dead_letter_that_is_retried_begins_anew_and_keeps_its_history_over_a_crash() {
    let machine = Machine::new();
    machine.script.fail("a", (0..7).map(|_| broken()));
    let process = machine.boot();
    let id = process.fail(&job("d", &[add("a")]));
    process.manager().pause().expect("it runs");
    process.retry(&id).expect("nothing has happened since");
    process.crash(Fate::Lost);
    assert_eq!(history(&machine, &id), [1, 2, 3, 4]);
    let process = machine.boot();
    process.manager().resume().expect("it is paused");
    let ended = within(process.watch(&id).wait());
    assert_eq!(
        (ended.success, metadata(&ended).attempts),
        (true, 4),
        "three more attempts failed, and there is a fourth"
    );
    assert_eq!(machine.actions("d"), ["a"]);
}

#[test]
fn a_dead_letter_that_fails_again_has_both_histories() {
    let machine = Machine::new();
    let process = machine.boot();
    let id = dead(&machine, &process, "d", "a");
    machine.script.fail("a", [trapped("unreachable"), trapped("unreachable")]);
    assert!(!result(process.retry(&id).expect("nothing has happened since")).success);
    process.wait_until_idle();
    assert_eq!(history(&machine, &id), [1, 2, 1, 2]);
}

#[test]
fn a_dead_letter_that_waits_again_is_known_when_its_old_result_is_forgotten() {
    let machine = Machine::new();
    let process = machine.boot_with(|config| config.retention.results_max = 1);
    machine.script.fail("a", [trapped("unreachable"), trapped("unreachable")]);
    let id = process.fail(&keyed(job("d", &[add("a")]), "k"));
    process.manager().pause().expect("it runs");
    process.retry(&id).expect("nothing has happened since");
    for name in ["x", "y", "z"] {
        let other = process.accept(&job("e", &[add(name)])).job_id;
        process.manager().cancel(&other).expect("it waits");
    }
    let watched = process.watch(&id);
    assert_eq!(process.accept(&keyed(job("d", &[add("other")]), "k")).job_id, id);
    process.manager().resume().expect("it is paused");
    assert!(result(watched).success);
}

#[test]
fn a_dead_letter_that_is_discarded_is_forgotten() {
    let machine = Machine::new();
    let process = machine.boot();
    machine.script.fail("a", [trapped("unreachable"), trapped("unreachable")]);
    let id = process.fail(&keyed(job("d", &[add("a")]), "k"));
    process.manager().discard_failed(&id).expect("a dead letter");
    assert!(process.dead_letters().is_empty() && process.manager().watch(&id).is_err());
    let other = process.succeed(&keyed(job("d", &[add("b")]), "k"));
    assert_ne!(other.job.id, id, "its key is free");
    drop(process);
    assert!(machine.open().manager().watch(&id).is_err());
}

#[test]
fn a_dead_letter_is_not_taken_out_while_the_manager_stops() {
    let machine = Machine::new();
    let process = machine.boot();
    let id = dead(&machine, &process, "d", "a");
    process.accept(&job("e", &[hold("b")]));
    machine.script.wait_until_held("b");
    std::thread::scope(|scope| {
        let stop = aside(scope, || process.manager().stop_blocking(Stop::Graceful));
        process.wait_until_stopping();
        assert_eq!(process.retry(&id).expect_err("it stops"), NotADeadLetter::Busy(id.clone()));
        machine.script.release("b");
        stop.wait();
    });
    process.retry(&id).expect("it has stopped");
    process.manager().start(None).expect("it is stopped");
    process.wait_until_idle();
    assert_eq!(machine.actions("d"), ["a"]);
}

#[test]
fn dead_letters_of_one_document_are_retried_one_after_the_other_in_their_order() {
    let machine = Machine::new();
    let process = machine.boot();
    let letters = ["a", "b", "c"].map(|name| dead(&machine, &process, "d", name));
    for letter in &letters {
        assert!(result(process.retry(letter).expect("only retried jobs of lower number came between")).success);
        process.wait_until_idle();
    }
    assert_eq!(machine.actions("d"), ["a", "b", "c"]);
}

#[test]
fn a_dead_letter_is_not_retried_after_one_of_a_higher_number() {
    let machine = Machine::new();
    let process = machine.boot();
    let [a, b] = ["a", "b"].map(|name| dead(&machine, &process, "d", name));
    assert!(result(process.retry(&b).expect("its document has not moved")).success);
    process.wait_until_idle();
    let refused = process.retry(&a).map(drop);
    assert_eq!(refused, Err(NotADeadLetter::Overtaken { job_id: a, failed_at: 0, now: 2 }));
}

#[test]
fn a_dead_letter_is_not_retried_after_a_new_job_that_followed_a_retried_one() {
    let machine = Machine::new();
    let process = machine.boot();
    let [a, b] = ["a", "b"].map(|name| dead(&machine, &process, "d", name));
    assert!(result(process.retry(&a).expect("its document has not moved")).success);
    process.succeed(&job("d", &[add("new")]));
    process.wait_until_idle();
    assert!(matches!(process.retry(&b), Err(NotADeadLetter::Overtaken { .. })));
}

#[test]
fn a_dead_letter_that_is_retried_waits_for_a_plugin_that_is_not_loaded() {
    let machine = Machine::new();
    let process = machine.boot();
    let id = dead(&machine, &process, "d", "a");
    drop(process);
    let bare = Machine { disk: machine.disk.clone(), reducers: std::sync::Arc::default(), ..Machine::new() };
    let process = bare.boot();
    let retried = process.retry(&id).expect("its document has not moved");
    process.wait_until_idle();
    assert_eq!(machine.status(&id), JobStatus::Pending);
    bare.reducers.register(machine.reducers.get(&crate::executor::host::MODEL.into()).expect("it was loaded"));
    assert!(result(retried).success);
}

#[test]
fn a_dead_letter_that_is_retried_and_cancelled_keeps_its_history() {
    let machine = Machine::new();
    let process = machine.boot();
    let id = dead(&machine, &process, "d", "a");
    let before = history(&machine, &id);
    process.manager().pause().expect("it runs");
    process.retry(&id).expect("nothing has happened since");
    process.manager().cancel(&id).expect("it waits");
    assert_eq!(history(&machine, &id), [before, vec![0]].concat());
}
