//! Watching jobs, and for how long their results are kept.

use std::sync::Arc;
use std::time::Duration;

use reductor_core::{
    Action, ExecuteError, Job, JobErrorCode, JobId, Json, NotWatched, Refusal, Retention, UnknownJob, WaitCancelled,
};
use tokio_util::sync::CancellationToken;

use super::drive::{another, keyed, poll};
use crate::executor::host::{Host, add, hold, job, result, results, within};
use crate::executor::scripted::rejected;

fn host_that_keeps(results_max: usize, age_max_ms: u64) -> Host {
    Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.retention = Retention {
            results_max,
            age_max: Duration::from_millis(age_max_ms),
            outcomes_max: 0,
            ..Retention::default()
        };
    })
}

fn knows(host: &Host, id: &JobId) -> bool {
    host.watch(id).is_ok()
}

#[test]
fn the_result_of_an_ended_job_is_there_at_once() {
    let host = Host::start();
    host.script.fail("b", [rejected("NO", "no")]);
    let succeeded = host.succeed(&job("d", &[add("a")]));
    let failed = host.fail(&job("d", &[add("b")]), JobErrorCode::LibraryError);
    for ended in [succeeded, failed] {
        for _ in 0..2 {
            assert_eq!(host.result_now(&ended.job.id).as_ref(), Some(&ended));
        }
    }
}

#[test]
fn a_watcher_of_a_running_job_waits_for_its_end() {
    let host = Host::with_one_worker();
    let gate = host.shut_gate();
    let waiting = host.accept(&job("d", &[add("a")]));
    let ids = [gate.job_id.clone(), waiting.job_id.clone()];
    let mut watchers = ids.clone().map(|id| host.watch(&id).expect("it is known"));
    assert!(watchers.iter_mut().all(|watcher| watcher.try_wait().is_none()));
    host.open_gate();
    for (watcher, id) in watchers.into_iter().zip(ids) {
        let result = result(watcher);
        assert!(result.success && result.job.id == id);
    }
}

#[test]
fn a_job_that_nobody_accepted_is_unknown() {
    let host = Host::start();
    let nobody = JobId::from("nobody");
    assert_eq!(host.watch(&nobody).expect_err("unknown"), NotWatched::Unknown(UnknownJob(nobody)));
}

#[test]
fn any_number_of_watchers_get_the_same_result() {
    let host = Host::with_one_worker();
    let gate = host.shut_gate();
    let mut watchers: Vec<_> = (0..100).map(|_| host.watch(&gate.job_id).expect("it runs")).collect();
    // Some lose their patience.
    watchers.truncate(70);
    let blocking = host.watch(&gate.job_id).expect("it runs");
    let thread = std::thread::spawn(|| blocking.wait_blocking());
    host.open_gate();
    let first = result(gate);
    assert!(results(watchers).iter().all(|result| *result == first));
    assert_eq!(thread.join().expect("it has waited"), first);
}

#[test]
fn only_so_many_results_are_kept_the_latest() {
    let host = host_that_keeps(3, 1_000_000);
    let ids: Vec<_> =
        (0..5).map(|number| host.succeed(&job("d", &[add(&number.to_string())])).job.id.clone()).collect();
    host.wait_until_idle();
    assert_eq!(ids.iter().map(|id| knows(&host, id)).collect::<Vec<_>>(), [false, false, true, true, true]);
}

#[test]
fn results_are_kept_for_so_long() {
    let host = host_that_keeps(100, 1_000);
    let first = host.succeed(&job("d", &[add("a")])).job.id.clone();
    host.wait_until_idle();
    host.advance(600);
    let second = host.succeed(&job("d", &[add("b")])).job.id.clone();
    host.wait_until_idle();
    host.advance(400);
    assert!(knows(&host, &first), "as old as it may be");
    host.advance(1);
    assert!(!knows(&host, &first) && knows(&host, &second));
    host.advance(600);
    assert!(!knows(&host, &second));
}

#[test]
fn jobs_that_have_not_ended_are_never_forgotten() {
    let host = host_that_keeps(1, 1_000);
    let gate = host.shut_gate();
    let waiting: Vec<_> = (0..9).map(|number| host.accept(&job("d", &[add(&number.to_string())]))).collect();
    host.advance(1_000_000);
    assert!(waiting.iter().chain([&gate]).all(|ticket| knows(&host, &ticket.job_id)));
    host.open_gate();
    assert!(results(waiting.into_iter().chain([gate])).iter().all(|result| result.success));
}

#[test]
fn a_cancelled_job_and_a_forgotten_key_are_results_like_others() {
    let host = host_that_keeps(1, 1_000_000);
    host.pause();
    let first = host.accept(&keyed(job("d", &[add("a")]), "k"));
    host.cancel(&first.job_id).expect("it waits");
    let second = host.accept(&job("d", &[add("b")]));
    host.cancel(&second.job_id).expect("it waits");
    assert!(!knows(&host, &first.job_id) && knows(&host, &second.job_id));
    assert_ne!(host.accept(&keyed(job("d", &[add("a")]), "k")).job_id, first.job_id);
}

#[test]
fn a_ticket_outlives_what_is_kept() {
    let host = host_that_keeps(0, 0);
    let ticket = host.accept(&job("d", &[add("a")]));
    let id = ticket.job_id.clone();
    host.wait_until_idle();
    assert!(!knows(&host, &id));
    assert!(result(ticket).success);
}

#[test]
fn a_cancelled_wait_does_not_cancel_the_job() {
    let host = Host::with_one_worker();
    let gate = host.shut_gate();
    let (id, signal) = (gate.job_id.clone(), CancellationToken::new());
    let watcher = host.watch(&id).expect("it runs");
    let mut wait = Box::pin(watcher.wait_unless(&signal));
    assert!(poll(&mut wait).is_none(), "nobody has cancelled it");
    signal.cancel();
    assert_eq!(within(wait), Err(WaitCancelled(id.clone())));
    host.open_gate();
    assert!(result(gate).success);
    assert!(host.result_now(&id).expect("it has ended").success);
}

#[test]
fn a_wait_that_is_not_cancelled_has_its_result() {
    let host = Host::start();
    let ticket = host.accept(&job("d", &[add("a")]));
    assert!(within(ticket.wait_unless(&CancellationToken::new())).expect("nobody cancels").success);
}

#[test]
fn an_id_names_one_job() {
    let host = Host::start();
    let done = ["d", "e"].map(|document| host.succeed(&job(document, &[add("x")])));
    let running = Job { actions: held_action(&host), ..another(&done[0], "mine") };
    let mut first = Box::pin(host.manager().execute(running, None, None));
    assert!(poll(&mut first).is_none(), "it is held");
    host.script.wait_until_held("h");
    // Whether it is refused or taken for the job that is there: it must not take its place.
    let mut second = Box::pin(host.manager().execute(another(&done[1], "mine"), None, None));
    if let Some(outcome) = poll(&mut second) {
        assert!(outcome.is_err(), "{outcome:?}");
    }
    let watcher = host.watch(&JobId::from("mine")).expect("it runs");
    host.script.release("h");
    let first = within(first).expect("it was accepted");
    assert_eq!(result(watcher).job, first.job);
}

#[test]
fn a_job_is_handed_in_when_execute_is_called_and_not_when_its_future_is_polled() {
    let host = Host::start();
    let done = host.succeed(&job("d", &[add("x")]));
    drop(host.manager().execute(another(&done, "mine"), None, None));
    let watched = host.watch(&JobId::from("mine")).expect("it was handed in");
    assert!(result(watched).success);
}

#[test]
fn the_same_job_again_is_answered_with_its_result() {
    let host = Host::start();
    let done = ["d", "e"].map(|document| host.succeed(&job(document, &[add("x")])));
    let mine = another(&done[0], "mine");
    let first = host.execute(mine.clone());
    assert_eq!(host.execute(mine), first);
    let other = within(host.manager().execute(another(&done[1], "mine"), None, None));
    let Err(ExecuteError::Refused(Refusal::Invalid { field, problem })) = other else { panic!("{other:?}") };
    assert_eq!((field.as_str(), problem.as_str()), ("id", "`mine` is the id of another job"));
}

#[test]
fn the_same_job_is_not_run_again_when_its_result_is_gone() {
    let host = Host::with(|config| config.retention.results_max = 0);
    let done = host.succeed(&job("d", &[add("x")]));
    let mine = another(&done, "mine");
    assert!(host.execute(mine.clone()).success);
    host.succeed(&job("e", &[add("y")]));
    let again = within(host.manager().execute(mine, None, None));
    let Err(ExecuteError::Refused(Refusal::Invalid { problem, .. })) = again else { panic!("{again:?}") };
    assert_eq!(problem, "the job `mine` completed; its result is not kept any more");
}

/// The action of a job that is held until `h` is released.
fn held_action(host: &Host) -> Arc<[Arc<Action>]> {
    host.script.release("model");
    host.succeed(&job("model", &[hold("model")]));
    let mut action = (*host.operations("model")[1].operation.action).clone();
    (action.id, action.input) = ("h".into(), Json::from_value(&"h".into()));
    Arc::new([action.into()])
}

#[test]
fn a_result_that_was_looked_at_can_be_waited_for() {
    let host = Host::start();
    let ended = host.succeed(&job("d", &[add("a")]));
    let watcher = || {
        let mut watcher = host.watch(&ended.job.id).expect("it is known");
        assert_eq!([watcher.try_wait(), watcher.try_wait()], [Some(ended.clone()), Some(ended.clone())]);
        watcher
    };
    assert_eq!(watcher().wait_blocking(), ended);
    assert_eq!(within(watcher().wait()), ended);
    assert_eq!(within(async { watcher().wait_unless(&CancellationToken::new()).await }), Ok(ended.clone()));
}

#[test]
fn blocking_waits_block_a_thread_of_a_runtime_and_nothing_else() {
    /// More than tokio lets a task receive before it gives its thread back.
    const JOBS: usize = 1_000;
    let host = Host::start();
    let mut events = host.manager().events().subscribe();
    within(async {
        for number in 0..JOBS {
            assert!(host.accept(&job("d", &[add(&number.to_string())])).wait_blocking().success);
            assert!(events.recv_blocking().is_some());
        }
    });
}

#[test]
fn results_are_bounded_in_bytes_too() {
    let host = Host::with(|config| config.retention.results_bytes_max = 10_000);
    let large = |name: &str| {
        let action = serde_json::json!({"id": name, "type": "ADD", "input": "x".repeat(4_000)});
        host.succeed(&job("d", &[action])).job.id.clone()
    };
    let ids = ["a", "b", "c", "d"].map(large);
    let kept = ids.iter().filter(|id| host.watch(id).is_ok()).count();
    assert_eq!(kept, 2, "two results of 4,000 bytes are kept of four");
}
