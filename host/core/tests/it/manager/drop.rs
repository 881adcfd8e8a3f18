//! What becomes of jobs when their manager goes, and of threads that have a runtime.

use reductor_core::{Phase, Stop};

use super::drive::{after, broken, given_back};
use crate::executor::host::{Host, add, hold, job, result, results, within};

#[test]
fn dropping_a_manager_gives_every_ticket_its_result() {
    let mut host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.manager.retry_base_delay = Some(1_000_000);
    });
    host.script.fail("b", [broken()]);
    let backing_off = host.accept(&job("e", &[add("b")]));
    host.wait_until_said("failed b, retry 1 follows");
    let running = host.accept(&job("d", &[hold("a")]));
    host.script.wait_until_held("a");
    let behind = host.accept(&job("d", &[add("c")]));
    let dependent = host.accept(&after(job("f", &[add("x")]), [&running.job_id]));
    let watcher = host.watch(&running.job_id).expect("it runs");
    host.drop_manager();
    for (ticket, attempts) in [(backing_off, 1), (running, 1), (behind, 0), (dependent, 0), (watcher, 1)] {
        given_back(&result(ticket), attempts);
    }
}

#[test]
fn dropping_a_manager_that_never_started_gives_back_its_jobs() {
    let mut host = Host::stopped();
    let tickets = ["a", "b"].map(|name| host.accept(&job(name, &[add(name)])));
    host.drop_manager();
    results(tickets).iter().for_each(|result| given_back(result, 0));
    assert!(!host.said().iter().any(|said| said.starts_with("executor") || said.starts_with("failed")));
}

#[test]
fn dropping_a_paused_manager_gives_back_its_jobs() {
    let mut host = Host::start();
    host.pause();
    let ticket = host.accept(&job("d", &[add("a")]));
    host.drop_manager();
    given_back(&result(ticket), 0);
    assert_eq!(host.said().last().map(String::as_str), Some("executor stopped at once"));
}

#[test]
fn dropping_a_manager_ends_a_stop_that_nobody_waited_for() {
    let mut host = Host::with_one_worker();
    let gate = host.shut_gate();
    drop(host.stopping(Stop::Graceful));
    host.drop_manager();
    given_back(&result(gate), 1);
}

#[test]
fn a_manager_may_live_and_end_inside_a_runtime() {
    within(async {
        let mut host = Host::with_one_worker();
        let (done, waiting) = (host.accept(&job("d", &[add("a")])), host.accept(&job("e", &[hold("b")])));
        assert!(done.wait().await.success);
        host.script.wait_until_held("b");
        host.manager().pause().expect("it runs");
        host.manager().resume().expect("it is paused");
        host.manager().stop(Stop::Interrupt).await;
        given_back(&*waiting.wait().await, 1);
        host.start_manager();
        host.manager().wait_until_idle().await;
        host.manager().stop_blocking(Stop::Graceful);
        assert_eq!(host.phase(), Phase::Stopped);
        host.start_manager();
        let gate = host.accept(&job("gate", &[hold("gate")]));
        host.script.wait_until_held("gate");
        host.drop_manager();
        given_back(&*gate.wait().await, 1);
    });
}
