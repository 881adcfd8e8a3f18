//! Cancelling a job before it starts.

use reductor_core::{Event, JobErrorCode, JobId, JobStatus, NotCancelled, Stop, UnknownJob};

use super::drive::{after, broken, cancelled, failed_with};
use crate::executor::host::{Host, add, hold, job, result, results};

#[test]
fn a_waiting_job_is_cancelled() {
    let host = Host::with_one_worker();
    let gate = host.shut_gate();
    let ticket = host.accept(&job("d", &[add("a")]));
    let id = ticket.job_id.clone();
    assert_eq!(host.stats().queue_backlog, 1);
    let answer = host.cancel(&id).expect("it waits");
    cancelled(&answer);
    assert_eq!(host.stats().queue_backlog, 0);
    assert_eq!((result(ticket), host.result_now(&id)), (answer.clone(), Some(answer)));
    host.open_gate();
    host.wait_until_idle();
    assert!(result(gate).success);
    assert_eq!((host.started(), host.state("d")), (vec!["gate".to_owned()], String::new()));
}

#[test]
fn a_cancelled_job_is_told_of_and_counts_among_those_that_failed() {
    let host = Host::stopped();
    let ticket = host.accept(&job("d", &[add("a")]));
    host.advance(250);
    let answer = host.cancel(&ticket.job_id).expect("it waits");
    assert_eq!(answer.error_message.as_deref(), Some("the job was cancelled before it started"));
    assert_eq!(answer.metadata.as_ref().map(|metadata| metadata.queued_ms.us), Some(250_000));
    assert_eq!(host.said(), ["available in d", "failed a after 0 retries"]);
    let Event::JobFailed(failed) = &*host.events()[1] else { panic!("it says that the job failed") };
    assert_eq!((failed.error.error_code, failed.job.status), (JobErrorCode::GracefulAbort, JobStatus::Failed));
    let status = host.status();
    let last_ended = status.last_job_completed_at.map(|moment| moment.ms);
    assert_eq!((status.total_jobs_processed, status.total_jobs_failed, last_ended), (1, 1, Some(250)));
}

#[test]
fn the_middle_of_a_lane_is_cancelled_and_the_rest_goes_on_in_order() {
    let host = Host::stopped();
    let mut tickets: Vec<_> = ["a", "b", "c", "d"].map(|name| host.accept(&job("d", &[add(name)]))).into();
    let middle = tickets.remove(1);
    host.cancel(&middle.job_id).expect("it waits");
    host.start_manager();
    assert!(results(tickets).iter().all(|result| result.success));
    cancelled(&result(middle));
    assert_eq!(host.state("d"), r#"["a","c","d"]"#);
}

#[test]
fn a_job_of_a_turn_that_was_taken_is_cancelled() {
    let host = Host::stopped();
    let [a, b, c] = [hold("a"), add("b"), add("c")].map(|action| host.accept(&job("d", &[action])));
    host.start_manager();
    host.script.wait_until_held("a");
    host.cancel(&b.job_id).expect("it has not started");
    host.script.release("a");
    assert!(result(a).success && result(c).success);
    cancelled(&result(b));
    host.wait_until_idle();
    assert_eq!((host.started(), host.status().active_jobs), (vec!["a".to_owned(), "c".to_owned()], 0));
}

#[test]
fn a_job_of_a_turn_that_was_cancelled_stays_cancelled_when_it_stops() {
    let host = Host::stopped();
    let [a, b] = [hold("a"), add("b")].map(|action| host.accept(&job("d", &[action])));
    host.start_manager();
    host.script.wait_until_held("a");
    let answer = host.cancel(&b.job_id).expect("it has not started");
    let stopping = host.stopping(Stop::Graceful);
    host.script.release("a");
    stopping.wait();
    assert!(result(a).success);
    assert_eq!(host.result_now(&b.job_id), Some(answer), "a result does not change");
}

#[test]
fn a_job_of_a_turn_that_was_cancelled_is_no_backlog_in_a_pause() {
    let host = Host::stopped();
    let [a, b] = [hold("a"), add("b")].map(|action| host.accept(&job("d", &[action])));
    host.start_manager();
    host.script.wait_until_held("a");
    host.cancel(&b.job_id).expect("it has not started");
    host.pause();
    host.script.release("a");
    assert!(result(a).success);
    // The worker puts back what it did not do.
    host.wait_until_idle();
    assert_eq!(host.stats().queue_backlog, 0);
}

#[test]
fn a_job_that_waits_for_another_is_cancelled_and_its_lane_goes_on() {
    let host = Host::start();
    let gate = host.shut_gate();
    let held = host.accept(&after(job("d", &[add("a")]), [&gate.job_id]));
    let next = host.accept(&job("d", &[add("b")]));
    // Another lane has had its turn, so the worker has seen that `a` is held.
    host.succeed(&job("e", &[add("x")]));
    cancelled(&host.cancel(&held.job_id).expect("it is held"));
    assert!(result(next).success, "while the gate is shut");
    assert_eq!(host.state("d"), r#"["b"]"#);
    host.open_gate();
    assert!(result(gate).success);
    cancelled(&result(held));
}

#[test]
fn what_depends_on_a_cancelled_job_fails() {
    let host = Host::stopped();
    let first = host.accept(&job("d", &[add("a")]));
    let dependents =
        ["e", "f", "d"].map(|document| host.accept(&after(job(document, &[add(document)]), [&first.job_id])));
    let free = host.accept(&job("e", &[add("x")]));
    host.cancel(&first.job_id).expect("it waits");
    host.start_manager();
    for ticket in dependents {
        failed_with(&result(ticket), &first.job_id, JobErrorCode::GracefulAbort);
    }
    assert!(result(free).success);
    assert_eq!(host.started(), ["x"]);
}

#[test]
fn what_is_held_by_a_job_fails_as_soon_as_that_is_cancelled() {
    let host = Host::start();
    let gate = host.shut_gate();
    let first = host.accept(&after(job("d", &[add("a")]), [&gate.job_id]));
    let dependent = host.accept(&after(job("e", &[add("b")]), [&first.job_id]));
    // Another lane has had its turn, so the worker has seen that both are held.
    host.succeed(&job("f", &[add("x")]));
    host.cancel(&first.job_id).expect("it is held");
    failed_with(&result(dependent), &first.job_id, JobErrorCode::GracefulAbort);
    host.open_gate();
    assert!(result(gate).success);
}

#[test]
fn a_job_that_has_started_is_not_cancelled() {
    let host = Host::with_one_worker();
    let gate = host.shut_gate();
    assert_eq!(host.cancel(&gate.job_id), Err(NotCancelled::Started(gate.job_id.clone())));
    host.open_gate();
    assert!(result(gate).success);
}

#[test]
fn a_job_that_backs_off_is_not_cancelled() {
    let host = Host::with(|config| config.manager.retry_base_delay = Some(1_000));
    host.script.fail("a", [broken()]);
    let ticket = host.accept(&job("d", &[add("a")]));
    host.wait_until_said("failed a, retry 1 follows");
    assert_eq!(host.cancel(&ticket.job_id), Err(NotCancelled::Started(ticket.job_id.clone())));
    host.advance(2_000);
    assert!(result(ticket).success);
}

#[test]
fn a_job_that_has_ended_or_is_unknown_is_not_cancelled() {
    let host = Host::start();
    let ended = host.succeed(&job("d", &[add("a")])).job.id.clone();
    assert_eq!(host.cancel(&ended), Err(NotCancelled::Ended(ended)));
    let nobody = JobId::from("nobody");
    assert_eq!(host.cancel(&nobody), Err(NotCancelled::Unknown(UnknownJob(nobody))));
    host.pause();
    let ticket = host.accept(&job("d", &[add("b")]));
    host.cancel(&ticket.job_id).expect("it waits");
    assert_eq!(host.cancel(&ticket.job_id), Err(NotCancelled::Ended(ticket.job_id.clone())), "twice is once too often");
}

#[test]
fn a_cancelled_job_makes_room_in_the_queue() {
    let host = Host::not_started(|config| config.limits.queue_depth_max = 1);
    let first = host.accept(&job("d", &[add("a")]));
    host.submit(&job("d", &[add("b")])).expect_err("the queue is full");
    host.cancel(&first.job_id).expect("it waits");
    host.accept(&job("d", &[add("c")]));
}

#[test]
fn of_a_worker_and_many_who_cancel_one_wins() {
    let host = Host::with(|config| config.manager.max_concurrency = Some(2));
    for round in 0..200 {
        let names: Vec<_> = (0..4).map(|number| format!("{round}-{number}")).collect();
        let tickets: Vec<_> =
            names.iter().map(|name| host.accept(&job(&format!("d{}", round % 5), &[add(name)]))).collect();
        let ids: Vec<_> = tickets.iter().map(|ticket| ticket.job_id.clone()).collect();
        let won: Vec<_> = std::thread::scope(|scope| {
            let cancel = || ids.iter().map(|id| host.cancel(id).is_ok()).collect::<Vec<_>>();
            let (one, other) = (scope.spawn(cancel), scope.spawn(cancel));
            let pairs = one.join().expect("no panic").into_iter().zip(other.join().expect("no panic"));
            pairs
                .map(|(one, other)| {
                    assert!(!(one && other), "both");
                    one || other
                })
                .collect()
        });
        for ((ticket, won), name) in tickets.into_iter().zip(won).zip(&names) {
            let ended = result(ticket);
            assert_eq!(ended.success, !won, "{name}");
            assert_eq!(host.result_now(&ended.job.id), Some(ended));
        }
    }
    let (started, failed) = (host.started().len() as u64, host.said_of("failed ").len() as u64);
    assert_eq!((started, started + failed), (host.status().total_jobs_succeeded, 800));
}
