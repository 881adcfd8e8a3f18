//! How the manager stops, and starts again.

use reductor_core::{Event, Phase, Stop};

use super::drive::{broken, given_back};
use crate::executor::host::{Host, add, hold, job, result, results, within};

#[test]
fn a_stopped_manager_starts_again_and_its_counts_go_on() {
    let host = Host::start();
    host.succeed(&job("d", &[add("a")]));
    host.advance(1_000);
    host.stop_for_now(Stop::Graceful);
    assert_eq!(host.status().uptime, None);
    let waiting = host.accept(&job("d", &[add("b")]));
    host.advance(1_000);
    host.start_manager();
    assert!(result(waiting).success);
    host.succeed(&job("d", &[add("c")]));
    host.advance(500);
    let status = host.status();
    assert_eq!((status.total_jobs_processed, status.total_jobs_succeeded, status.is_running), (3, 3, true));
    assert_eq!(status.uptime.map(|uptime| uptime.us), Some(500_000), "since the latest start");
    assert_eq!(host.state("d"), r#"["a","b","c"]"#);
}

#[test]
fn a_manager_that_was_interrupted_runs_jobs_again() {
    let host = Host::with_one_worker();
    let gate = host.shut_gate();
    host.stop_for_now(Stop::Interrupt);
    given_back(&result(gate), 1);
    for round in 0..20 {
        host.start_manager();
        host.succeed(&job("d", &[add(&round.to_string())]));
        host.stop_for_now(Stop::Interrupt);
    }
    assert_eq!(host.status().total_jobs_succeeded, 20);
}

#[test]
fn each_start_and_each_stop_is_told_with_its_moment() {
    let host = Host::not_started(|_| {});
    for how in [Stop::Graceful, Stop::Interrupt] {
        host.advance(10);
        host.start_manager();
        host.advance(10);
        host.stop_for_now(how);
    }
    let told: Vec<_> = host
        .events()
        .iter()
        .map(|event| match &**event {
            Event::ExecutorStarted(event) => (event.started_at.ms, None),
            Event::ExecutorStopped(event) => (event.stopped_at.ms, Some(event.graceful)),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(10, None), (20, Some(true)), (30, None), (40, Some(false))]);
}

#[test]
fn whoever_stops_a_stopping_manager_waits_for_the_same_end() {
    let host = Host::with_one_worker();
    let gate = host.shut_gate();
    let mut stops = [(); 3].map(|()| host.stopping(Stop::Graceful));
    assert!(stops.iter_mut().all(|stop| !stop.is_over()));
    std::thread::scope(|scope| {
        let blocking = scope.spawn(|| host.manager().stop_blocking(Stop::Graceful));
        assert!(!blocking.is_finished(), "the gate is shut");
        host.open_gate();
        stops.into_iter().for_each(super::drive::BegunStop::wait);
    });
    assert!(result(gate).success);
    assert_eq!(host.said_of("executor stopped"), [" gracefully"]);
}

#[test]
fn an_interrupt_overtakes_a_graceful_stop() {
    let host = Host::with_one_worker();
    let (gate, waiting) = (host.shut_gate(), host.accept(&job("d", &[add("a")])));
    let mut graceful = host.stopping(Stop::Graceful);
    assert!(!graceful.is_over());
    host.stop_for_now(Stop::Interrupt);
    graceful.wait();
    given_back(&result(gate), 1);
    given_back(&result(waiting), 0);
    assert_eq!(host.said_of("executor stopped"), [" at once"]);
}

#[test]
fn a_graceful_stop_does_not_soften_an_interrupt() {
    let host = Host::with_one_worker();
    let gate = host.shut_gate();
    let interrupt = host.stopping(Stop::Interrupt);
    host.stop_for_now(Stop::Graceful);
    interrupt.wait();
    given_back(&result(gate), 1);
    assert_eq!(host.said_of("executor stopped"), [" at once"]);
}

#[test]
fn a_stop_that_nobody_waits_for_goes_on() {
    let host = Host::with_one_worker();
    let gate = host.shut_gate();
    drop(host.stopping(Stop::Graceful));
    assert_eq!(host.phase(), Phase::Stopping);
    host.open_gate();
    host.wait_until_said("executor stopped gracefully");
    assert!(result(gate).success);
}

#[test]
fn tickets_have_their_results_when_the_stop_is_over() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.manager.retry_base_delay = Some(1_000_000);
    });
    host.script.fail("b", [broken()]);
    let (mut backing_off, mut behind) = (host.accept(&job("e", &[add("b")])), host.accept(&job("e", &[add("c")])));
    host.wait_until_said("failed b, retry 1 follows");
    let mut running = host.accept(&job("d", &[hold("a")]));
    host.script.wait_until_held("a");
    host.stop_for_now(Stop::Interrupt);
    for (ticket, attempts) in [(&mut running, 1), (&mut backing_off, 1), (&mut behind, 0)] {
        given_back(&ticket.try_wait().expect("it has its result"), attempts);
    }
    let status = host.status();
    assert_eq!((status.active_jobs, status.total_jobs_processed), (0, 0), "none of them has ended");
    assert_eq!(host.stats().queue_backlog, 0);
}

#[test]
fn the_last_event_of_a_run_is_its_end() {
    let host = Host::start();
    for _ in 0..20 {
        let tickets: Vec<_> = (0..50).map(|number| host.accept(&job(&format!("d{number}"), &[add("a")]))).collect();
        host.stop_for_now(Stop::Graceful);
        results(tickets);
        assert_eq!(host.said().last().map(String::as_str), Some("executor stopped gracefully"));
        host.start_manager();
    }
}

#[test]
fn many_may_start_and_stop_it_at_once() {
    let host = Host::stopped();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    // Some other thread may have started it, or be stopping it.
                    let _ = host.manager().start(None);
                    let _ = host.manager().pause();
                    let _ = host.manager().resume();
                    within(host.manager().stop(Stop::Interrupt));
                }
            });
        }
    });
    host.stop_for_now(Stop::Graceful);
    let story = host.said();
    let alternate =
        |pair: &[String]| pair[0].starts_with("executor started") != pair[1].starts_with("executor started");
    assert!(story.windows(2).all(alternate), "no start without a stop between: {story:?}");
    host.start_manager();
    host.succeed(&job("d", &[add("a")]));
}
