//! What `get_status` and `get_stats` say.

use reductor_core::{ExecutorStats, ExecutorStatus, JobErrorCode};
use serde_json::json;

use super::drive::{after, broken};
use crate::executor::host::{Host, add, hold, job, result, results};
use crate::executor::scripted::rejected;

fn one_worker_that_waits_between_retries() -> Host {
    Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.manager.retry_base_delay = Some(1_000);
    })
}

#[test]
fn a_new_manager_has_done_nothing_and_failed_at_nothing() {
    let host = Host::stopped();
    host.advance(5_000);
    assert_eq!(
        host.status(),
        ExecutorStatus {
            is_running: false,
            active_jobs: 0,
            total_jobs_processed: 0,
            total_jobs_succeeded: 0,
            total_jobs_failed: 0,
            last_job_completed_at: None,
            uptime: None,
        }
    );
    let nothing =
        ExecutorStats { average_execution_time: 0.0, success_rate: 1.0, jobs_per_second: 0.0, queue_backlog: 0 };
    assert_eq!(host.stats(), nothing);
}

#[test]
fn the_status_has_all_seven_fields() {
    let host = Host::stopped();
    host.advance(1_000);
    host.start_manager();
    host.script.fail("b", [rejected("NO", "no")]);
    host.advance(500);
    host.succeed(&job("d", &[add("a")]));
    host.fail(&job("d", &[add("b")]), JobErrorCode::LibraryError);
    host.advance(250);
    let gate = host.shut_gate();
    let status = serde_json::to_value(host.status()).expect("a status has a JSON form");
    let expected = json!({
        "isRunning": true,
        "activeJobs": 1,
        "totalJobsProcessed": 2,
        "totalJobsSucceeded": 1,
        "totalJobsFailed": 1,
        "lastJobCompletedAt": "1970-01-01T00:00:01.500Z",
        "uptime": 750,
    });
    assert_eq!(status, expected);
    host.open_gate();
    assert!(result(gate).success);
    host.stop_for_now(reductor_core::Stop::Graceful);
    let status = serde_json::to_value(host.status()).expect("a status has a JSON form");
    assert_eq!(
        (&status["isRunning"], status.get("uptime"), &status["totalJobsProcessed"]),
        (&json!(false), None, &json!(3))
    );
}

#[test]
fn the_stats_have_all_four_fields() {
    let host = Host::start();
    host.succeed(&job("d", &[add("a")]));
    let stats = serde_json::to_value(host.stats()).expect("stats have a JSON form");
    let expected = json!({ "averageExecutionTime": 0.0, "successRate": 1.0, "jobsPerSecond": 1.0, "queueBacklog": 0 });
    assert_eq!(stats, expected);
}

#[test]
fn execution_time_is_that_of_all_attempts_without_the_backoff_between_them() {
    let host = one_worker_that_waits_between_retries();
    host.script.fail("a", [broken()]);
    let repeated = host.accept(&job("d", &[add("a")]));
    host.wait_until_said("failed a, retry 1 follows");
    host.succeed(&job("e", &[add("b")]));
    host.advance(3_000);
    assert!(result(repeated).success);
    let gate = host.shut_gate();
    host.advance(1_500);
    host.open_gate();
    assert!(result(gate).success);
    assert_eq!(host.stats().average_execution_time, 500.0, "0 (and 3,000 of backoff) and 0 and 1,500 ms");
}

#[test]
fn the_success_rate_is_the_share_of_those_that_ended() {
    let host = Host::start();
    host.script.fail("x", [rejected("NO", "no")]);
    host.succeed(&job("d", &[add("a")]));
    assert_eq!(host.stats().success_rate, 1.0);
    host.fail(&job("d", &[add("x")]), JobErrorCode::LibraryError);
    assert_eq!(host.stats().success_rate, 0.5);
    host.succeed(&job("d", &[add("b")]));
    host.succeed(&job("d", &[add("c")]));
    assert_eq!(host.stats().success_rate, 0.75);
}

#[test]
fn attempts_that_are_repeated_are_no_jobs() {
    let host = one_worker_that_waits_between_retries();
    host.script.fail("a", [broken(), broken()]);
    let ticket = host.accept(&job("d", &[add("a")]));
    for retry in [1, 2] {
        host.wait_until_said(&format!("failed a, retry {retry} follows"));
        let status = host.status();
        assert_eq!((status.active_jobs, status.total_jobs_processed, status.total_jobs_failed), (0, 0, 0));
        host.advance(10_000);
    }
    assert!(result(ticket).success);
    assert_eq!((host.status().total_jobs_processed, host.status().total_jobs_failed), (1, 0));
}

#[test]
fn the_rate_is_over_the_time_since_the_start_at_first() {
    let host = Host::start();
    let run = |count: usize| (0..count).for_each(|_| drop(host.succeed(&job("d", &[json!({ "type": "ADD" })]))));
    run(4);
    assert_eq!(host.stats().jobs_per_second, 4.0, "over less than a second as over one");
    host.advance(2_000);
    assert_eq!(host.stats().jobs_per_second, 2.0);
    run(6);
    host.advance(8_000);
    assert_eq!(host.stats().jobs_per_second, 1.0);
}

#[test]
fn the_rate_is_over_the_last_minute_later() {
    let host = Host::start();
    let run = |count: usize| (0..count).for_each(|_| drop(host.succeed(&job("d", &[json!({ "type": "ADD" })]))));
    let rate = |jobs: f64| assert_eq!(host.stats().jobs_per_second, jobs / 60.0);
    run(3);
    host.advance(30_000);
    run(6);
    host.advance(29_999);
    assert!((host.stats().jobs_per_second - 9.0 / 59.999).abs() < 1e-9);
    host.advance(1);
    rate(6.0);
    host.advance(29_999);
    rate(6.0);
    host.advance(1);
    rate(0.0);
    run(12);
    rate(12.0);
    host.advance(10_000_000);
    rate(0.0);
}

#[test]
fn a_new_start_begins_a_new_rate() {
    let host = Host::start();
    for name in ["a", "b", "c"] {
        host.succeed(&job("d", &[add(name)]));
    }
    host.advance(10_000);
    host.stop_for_now(reductor_core::Stop::Graceful);
    host.start_manager();
    assert_eq!(host.stats().jobs_per_second, 0.0);
    host.succeed(&job("d", &[add("e")]));
    assert_eq!((host.stats().jobs_per_second, host.status().total_jobs_processed), (1.0, 4));
}

#[test]
fn the_backlog_is_what_waits_in_any_way() {
    let host = one_worker_that_waits_between_retries();
    host.script.fail("a", [broken()]);
    let mut tickets = vec![host.accept(&job("d", &[add("a")])), host.accept(&job("d", &[add("b")]))];
    host.wait_until_said("failed a, retry 1 follows");
    let gate = host.shut_gate();
    assert_eq!(host.stats().queue_backlog, 2, "one that backs off, and one behind it");
    tickets.push(host.accept(&super::drive::after(job("e", &[add("c")]), [&gate.job_id])));
    tickets.push(host.accept(&job("f", &[add("x")])));
    assert_eq!(host.stats().queue_backlog, 4, "and one that is held, and one that is ready");
    host.open_gate();
    host.advance(1_000);
    assert!(results(tickets).iter().all(|result| result.success));
    host.wait_until_idle();
    assert_eq!(host.stats().queue_backlog, 0);
}

#[test]
fn the_backlog_counts_jobs_whose_lane_is_having_its_turn() {
    let host = Host::stopped();
    let tickets = [hold("a"), add("b"), add("c")].map(|action| host.accept(&job("d", &[action])));
    assert_eq!(host.stats().queue_backlog, 3);
    host.start_manager();
    host.script.wait_until_held("a");
    let (backlog, active) = (host.stats().queue_backlog, host.status().active_jobs);
    host.script.release("a");
    results(tickets);
    assert_eq!((backlog, active), (2, 1), "one runs, and two wait");
}

#[test]
fn the_counters_are_up_to_date_when_a_watch_resolves() {
    let host = Host::with(|config| config.manager.max_concurrency = Some(3));
    for number in 0..500_u64 {
        let name = number.to_string();
        if number % 5 == 0 {
            host.script.fail(&name, [rejected("NO", "no")]);
        }
        let ended = host.run(&job(&format!("d{}", number % 3), &[add(&name)]));
        let status = host.status();
        assert_eq!((status.total_jobs_processed, status.active_jobs), (number + 1, 0));
        assert_eq!((status.total_jobs_failed, ended.success), (number / 5 + 1, number % 5 != 0));
    }
}

#[test]
fn jobs_that_never_started_do_not_lower_the_average() {
    let host = Host::with(|config| config.manager.max_concurrency = Some(1));
    let gate = host.shut_gate();
    host.script.fail("a", [rejected("NO", "no")]);
    let fails = host.accept(&job("d", &[add("a")])).job_id;
    let depends = host.accept(&after(job("e", &[add("b")]), [&fails]));
    let cancelled = host.accept(&job("f", &[add("c")])).job_id;
    host.cancel(&cancelled).expect("it waits");
    host.advance(900);
    host.open_gate();
    assert!(result(gate).success && !result(depends).success);
    let (status, stats) = (host.status(), host.stats());
    assert_eq!((status.total_jobs_processed, status.total_jobs_failed), (4, 3));
    assert_eq!(stats.average_execution_time, 450.0, "900 ms and 0: two jobs executed");
}
