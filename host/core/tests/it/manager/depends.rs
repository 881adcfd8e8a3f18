//! Jobs that wait for others.

use std::sync::Arc;

use reductor_core::{JobErrorCode, JobId, Reason, Refusal, Stop, UnknownJob};

use super::drive::{after, broken, failed_with, given_back, metadata};
use crate::executor::host::{Host, add, hold, job, result, results};
use crate::executor::scripted::{failed, rejected};

#[test]
fn a_job_waits_for_one_of_another_document() {
    let host = Host::start();
    let gate = host.shut_gate();
    let mut held = host.accept(&after(job("d", &[add("a")]), [&gate.job_id]));
    // A lane behind it has had its turn.
    host.succeed(&job("e", &[add("x")]));
    assert_eq!((held.try_wait(), host.started()), (None, vec!["gate".to_owned(), "x".to_owned()]));
    assert_eq!(host.stats().queue_backlog, 1);
    host.open_gate();
    let ended = result(held);
    assert!(ended.success);
    assert_eq!(metadata(&ended).depends_on.as_slice(), std::slice::from_ref(&gate.job_id));
    let story = host.said();
    let at = |said: &str| story.iter().position(|other| other == said).expect("it is told");
    assert!(at("completed gate") < at("started a"), "{story:?}");
}

#[test]
fn a_job_waits_for_one_of_its_own_lane() {
    let host = Host::stopped();
    let first = host.accept(&job("d", &[add("a")]));
    let second = host.accept(&after(job("d", &[add("b")]), [&first.job_id]));
    host.start_manager();
    assert!(result(second).success && result(first).success);
    assert_eq!(host.state("d"), r#"["a","b"]"#);
}

#[test]
fn a_job_waits_while_the_other_is_repeated() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.manager.retry_base_delay = Some(1_000);
    });
    host.script.fail("a", [broken(), failed(Reason::Trap, "once")]);
    let first = host.accept(&job("d", &[add("a")]));
    let second = host.accept(&after(job("e", &[add("b")]), [&first.job_id]));
    for retry in [1, 2] {
        host.wait_until_said(&format!("failed a, retry {retry} follows"));
        host.succeed(&job("other", &[add(&retry.to_string())]));
        assert!(!host.started().contains(&"b".to_owned()));
        host.advance(10_000);
    }
    assert!(result(first).success && result(second).success);
}

#[test]
fn a_lane_keeps_its_order_while_its_first_job_is_held() {
    let host = Host::start();
    let gate = host.shut_gate();
    let held = host.accept(&after(job("d", &[add("a")]), [&gate.job_id]));
    let next = ["b", "c"].map(|name| host.accept(&job("d", &[add(name)])));
    host.succeed(&job("e", &[add("x")]));
    assert_eq!(host.state("d"), "");
    host.open_gate();
    assert!(results(next.into_iter().chain([held, gate])).iter().all(|result| result.success));
    assert_eq!(host.state("d"), r#"["a","b","c"]"#);
}

#[test]
fn a_job_held_in_the_middle_of_a_turn_keeps_its_place() {
    let host = Host::not_started(|_| {});
    let first = host.accept(&job("e", &[hold("h")]));
    let jobs = [job("d", &[add("a")]), after(job("d", &[add("b")]), [&first.job_id]), job("d", &[add("c")])];
    let tickets = host.accept_all(&jobs);
    host.start_manager();
    host.wait_until_said("completed a");
    host.succeed(&job("f", &[add("x")]));
    assert_eq!(host.state("d"), r#"["a"]"#);
    host.script.release("h");
    assert!(results(tickets.into_iter().chain([first])).iter().all(|result| result.success));
    assert_eq!(host.state("d"), r#"["a","b","c"]"#);
}

#[test]
fn a_failed_job_fails_those_that_wait_for_it_and_those_that_wait_for_them() {
    let host = Host::start();
    let gate = host.shut_gate();
    host.script.fail("a", [rejected("NO", "no")]);
    let first = host.accept(&after(job("d", &[add("a")]), [&gate.job_id]));
    let second = host.accept(&after(job("e", &[add("b")]), [&first.job_id]));
    let third = host.accept(&after(job("f", &[add("c")]), [&second.job_id]));
    let behind = host.accept(&job("f", &[add("x")]));
    host.open_gate();
    let (first, second, third) = (result(first), result(second), result(third));
    failed_with(&second, &first.job.id, JobErrorCode::LibraryError);
    failed_with(&third, &second.job.id, JobErrorCode::LibraryError);
    let message =
        format!("job {}, which it depends on, failed: test/list v1 refused actions[0] `ADD`: no (NO)", first.job.id);
    assert_eq!(second.error_message.as_deref(), Some(message.as_str()));
    assert!(result(behind).success && result(gate).success);
    assert_eq!(host.said_of("failed "), ["a", "b", "c"].map(|name| format!("{name} after 0 retries")));
    let status = host.status();
    assert_eq!((status.total_jobs_succeeded, status.total_jobs_failed, status.total_jobs_processed), (2, 3, 5));
}

#[test]
fn a_dependency_brings_its_own_code() {
    let host = Host::with(|config| config.max_retries = 0);
    host.script.fail("a", [broken()]);
    let first = host.fail(&job("d", &[add("a")]), JobErrorCode::IoError).job.id.clone();
    let second = host.run(&after(job("e", &[add("b")]), [&first]));
    failed_with(&second, &first, JobErrorCode::IoError);
    assert_eq!(metadata(&second).deterministic, Some(false));
}

#[test]
fn a_dependency_that_has_ended_decides_at_once() {
    let host = Host::start();
    host.script.fail("b", [rejected("NO", "no")]);
    let done = host.succeed(&job("d", &[add("a")])).job.id.clone();
    let not_done = host.fail(&job("d", &[add("b")]), JobErrorCode::LibraryError).job.id.clone();
    host.succeed(&after(job("e", &[add("c")]), [&done, &done]));
    failed_with(&host.run(&after(job("e", &[add("d")]), [&done, &not_done])), &not_done, JobErrorCode::LibraryError);
    assert_eq!(host.state("e"), r#"["c"]"#);
}

#[test]
fn one_failed_dependency_is_enough_while_others_run() {
    let host = Host::start();
    let gate = host.shut_gate();
    host.script.fail("a", [rejected("NO", "no")]);
    let bad = host.fail(&job("d", &[add("a")]), JobErrorCode::LibraryError).job.id.clone();
    failed_with(&host.run(&after(job("e", &[add("b")]), [&gate.job_id, &bad])), &bad, JobErrorCode::LibraryError);
    host.open_gate();
    assert!(result(gate).success);
}

#[test]
fn a_dependency_must_be_known() {
    let host = Host::start();
    let known = host.succeed(&job("d", &[add("a")])).job.id.clone();
    let nobody = JobId::from("nobody");
    let refusal = host.submit(&after(job("d", &[add("b")]), [&known, &nobody])).expect_err("unknown");
    assert_eq!(refusal.field(), Some("dependsOn"));
    assert_eq!(refusal, Refusal::UnknownDependency { position: 1, unknown: UnknownJob(nobody) });
    assert!(refusal.to_string().starts_with("dependsOn[1]: there is no job nobody"), "{refusal}");
}

#[test]
fn a_job_depends_on_no_more_jobs_than_it_may() {
    let host = Host::with(|config| config.limits.dependencies_per_job_max = 2);
    let known = host.succeed(&job("d", &[add("a")])).job.id.clone();
    host.succeed(&after(job("d", &[add("b")]), [&known, &known]));
    let refusal = host.submit(&after(job("d", &[add("c")]), [&known, &known, &known])).expect_err("too many");
    assert_eq!(
        (refusal.field(), refusal.to_string().as_str()),
        (Some("dependsOn"), "dependsOn: names 3 jobs; 2 are allowed")
    );
}

#[test]
fn many_jobs_wait_for_one() {
    const DEPENDENTS: usize = 300;
    let host = Host::start();
    let gate = host.shut_gate();
    let dependents: Vec<_> = (0..DEPENDENTS)
        .map(|number| {
            host.accept(&after(job(&format!("d{}", number % 100), &[add(&number.to_string())]), [&gate.job_id]))
        })
        .collect();
    host.succeed(&job("e", &[add("x")]));
    assert_eq!(host.started(), ["gate", "x"]);
    host.open_gate();
    assert!(results(dependents).iter().all(|result| result.success));
    assert_eq!(host.state("d7"), r#"["7","107","207"]"#);
}

#[test]
fn a_job_waits_for_several_in_whatever_order_they_end() {
    for order in [["a", "b", "c"], ["a", "c", "b"], ["b", "a", "c"], ["b", "c", "a"], ["c", "a", "b"], ["c", "b", "a"]]
    {
        let host = Host::with(|config| config.manager.max_concurrency = Some(4));
        let tickets = ["a", "b", "c"].map(|name| host.accept(&job(name, &[hold(name)])));
        let dependent = host.accept(&after(job("d", &[add("d")]), tickets.iter().map(|ticket| &ticket.job_id)));
        ["a", "b", "c"].iter().for_each(|name| host.script.wait_until_held(name));
        for name in order {
            // The free worker takes this after it has looked at the dependent.
            host.succeed(&job("e", &[add(&format!("before {name}"))]));
            assert!(!host.started().contains(&"d".to_owned()), "{order:?} {name}");
            host.script.release(name);
            host.wait_until_said(&format!("completed {name}"));
        }
        assert!(result(dependent).success);
    }
}

#[test]
fn a_job_that_is_held_is_given_back_when_it_stops() {
    for how in [Stop::Graceful, Stop::Interrupt] {
        let host = Host::start();
        let gate = host.shut_gate();
        let held = host.accept(&after(job("d", &[add("a")]), [&gate.job_id]));
        host.succeed(&job("e", &[add("x")]));
        let stopping = host.stopping(how);
        host.wait_until("the other worker to look", |host| how == Stop::Graceful || host.status().active_jobs == 0);
        host.open_gate();
        stopping.wait();
        result(gate);
        given_back(&result(held), 0);
    }
}

#[test]
fn what_depends_on_an_interrupted_job_in_its_own_turn_is_given_back_and_not_failed() {
    let host = Arc::new(Host::stopped());
    let first = host.accept(&job("d", &[add("a")]));
    let second = host.accept(&after(job("d", &[add("b")]), [&first.job_id]));
    // It is interrupted while the document is loaded, so that there is time left in its turn.
    let meanwhile = host.clone();
    host.store.after_next_head(move || drop(meanwhile.stopping(Stop::Interrupt)));
    host.start_manager();
    host.wait_until_said("executor stopped at once");
    given_back(&result(first), 1);
    assert_eq!((host.said_of("failed "), host.status().total_jobs_failed), (vec![], 0));
    given_back(&result(second), 0);
}

#[test]
fn dependencies_race_with_their_ends() {
    const ROUNDS: usize = 400;
    let host = Host::with(|config| config.manager.max_concurrency = Some(2));
    let mut chain: Vec<JobId> = Vec::new();
    let mut tickets = Vec::new();
    for round in 0..ROUNDS {
        // The jobs before may be about to end, whichever lane they are in.
        let latest = chain.iter().rev().take(3);
        let ticket = host.accept(&after(job(&format!("d{}", round % 3), &[add(&round.to_string())]), latest));
        chain.push(ticket.job_id.clone());
        tickets.push(ticket);
    }
    assert!(results(tickets).iter().all(|result| result.success));
    let started: Vec<_> = (0..ROUNDS).map(|round| round.to_string()).collect();
    assert_eq!(host.started(), started, "each depends on the one before");
}
