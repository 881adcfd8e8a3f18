//! Jobs that wait for a start or a resumption.

use reductor_core::{JobExecutorManagerConfig, Stop};

use super::drive::{broken, given_back};
use crate::executor::host::{Host, add, hold, job, result, results};

#[test]
fn jobs_that_were_queued_before_the_start_run_at_the_start() {
    let host = Host::not_started(|_| {});
    let tickets = ["a", "b", "c"].map(|name| host.accept(&job("d", &[add(name)])));
    let other = host.accept(&job("e", &[add("x")]));
    let announced = ["available in d", "available in d", "available in d", "available in e"];
    assert_eq!(host.said(), announced);
    assert_eq!(host.stats().queue_backlog, 4);
    host.start_manager();
    assert!(results(tickets.into_iter().chain([other])).iter().all(|result| result.success));
    assert_eq!(host.state("d"), r#"["a","b","c"]"#);
    let story = host.said();
    let at = |said: &str| story.iter().position(|other| other == said).expect("it is told");
    assert!(at("executor started") < at("started a") && at("executor started") < at("started x"), "{story:?}");
}

#[test]
fn jobs_that_were_queued_while_paused_start_only_after_the_resumption() {
    let host = Host::start();
    host.pause();
    let tickets = ["a", "b", "c"].map(|name| host.accept(&job(name, &[add(name)])));
    assert_eq!((host.stats().queue_backlog, host.started()), (3, vec![]));
    host.resume();
    assert!(results(tickets).iter().all(|result| result.success));
}

#[test]
fn jobs_that_were_queued_while_paused_never_start_if_it_stops_then() {
    for how in [Stop::Graceful, Stop::Interrupt] {
        let host = Host::start();
        host.pause();
        let ticket = host.accept(&job("d", &[add("a")]));
        host.stop_for_now(how);
        given_back(&result(ticket), 0);
        assert_eq!(host.started(), [""; 0]);
    }
}

#[test]
fn a_pause_lets_the_running_job_end_and_the_next_of_its_turn_wait() {
    let host = Host::stopped();
    let tickets = [hold("a"), add("b"), add("c")].map(|action| host.accept(&job("d", &[action])));
    host.start_manager();
    host.script.wait_until_held("a");
    host.pause();
    host.script.release("a");
    let [a, b, c] = tickets;
    assert!(result(a).success);
    // All workers have ended after it, so that nothing starts any more.
    host.stop_for_now(Stop::Graceful);
    assert_eq!(host.started(), ["a"]);
    given_back(&result(b), 0);
    given_back(&result(c), 0);
}

#[test]
fn a_lane_goes_on_in_order_after_the_resumption() {
    let host = Host::stopped();
    let tickets = [hold("a"), add("b"), add("c")].map(|action| host.accept(&job("d", &[action])));
    host.start_manager();
    host.script.wait_until_held("a");
    host.pause();
    let last = host.accept(&job("d", &[add("d")]));
    host.script.release("a");
    host.wait_until_said("completed a");
    host.resume();
    assert!(results(tickets.into_iter().chain([last])).iter().all(|result| result.success));
    assert_eq!(host.state("d"), r#"["a","b","c","d"]"#);
}

#[test]
fn no_job_starts_after_a_pause_but_those_whose_attempt_had_begun() {
    const ROUNDS: usize = 30;
    for round in 0..ROUNDS {
        let host = Host::with(|config| config.manager.max_concurrency = Some(3));
        for number in 0..120 {
            host.accept(&job(&format!("d{}", number % 7), &[add(&format!("{number}"))]));
        }
        host.wait_until_said(&format!("completed {round}"));
        host.pause();
        let active = host.status().active_jobs;
        let before = host.started().len();
        host.stop_for_now(Stop::Graceful);
        let late = host.started().len() - before;
        assert!(late <= active, "{late} started after the pause, when {active} had begun");
    }
}

#[test]
fn a_job_that_backs_off_is_not_tried_again_while_paused() {
    let host = Host::with_one_worker();
    host.script.fail("a", [broken()]);
    let config = JobExecutorManagerConfig { retry_base_delay: Some(1_000), ..JobExecutorManagerConfig::default() };
    host.stop_for_now(Stop::Graceful);
    host.manager().start(Some(config)).expect("it is stopped");
    let ticket = host.accept(&job("d", &[add("a")]));
    host.wait_until_said("failed a, retry 1 follows");
    host.pause();
    host.advance(2_000);
    assert_eq!(host.started(), ["a"]);
    host.resume();
    assert!(result(ticket).success);
    assert_eq!(host.started(), ["a", "a"]);
}

#[test]
fn uptime_goes_on_while_paused() {
    let host = Host::start();
    host.advance(500);
    host.pause();
    host.advance(250);
    assert_eq!(host.status().uptime.map(|uptime| uptime.us), Some(750_000));
}
