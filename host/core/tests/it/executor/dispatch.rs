//! What a reducer dispatches becomes a job of its own, within bounds.

use std::sync::Arc;

use reductor_core::{Event, JobErrorCode, JobResult, JobStatus, Reason, Stop, dispatched_action_id};
use serde_json::{Value, json};

use super::host::{Host, add, hold, job, result, with};
use super::scripted::{failed, rejected};

/// An action that dispatches these: `{type?, document?, scope?, input, times?}` each.
fn dispatch(id: &str, requests: &[Value]) -> Value {
    json!({ "id": id, "type": "DISPATCH", "input": requests })
}

/// Requests to add these texts.
fn texts<const N: usize>(texts: [&str; N]) -> [Value; N] {
    texts.map(|text| json!({ "input": text }))
}

/// Waits until the dispatched job that adds `text` has completed.
fn completed(host: &Host, text: &str) -> Arc<JobResult> {
    let input = json!(text).to_string();
    let event = host
        .wait_for(|event| matches!(event, Event::JobCompleted(event) if event.job.actions[0].input.as_str() == input));
    match &*event {
        Event::JobCompleted(event) => event.result.clone(),
        other => panic!("{other:?}"),
    }
}

/// Asserts that the dispatch is refused in these words, and changes nothing.
#[track_caller]
fn refused(host: &Host, document: &str, requests: &[Value], words: &str) {
    refused_for(Reason::DispatchLimit, host, document, requests, words);
}

#[track_caller]
fn refused_for(reason: Reason, host: &Host, document: &str, requests: &[Value], words: &str) {
    let before = host.state(document);
    let result = host.fail(&job(document, &[add("x"), dispatch("y", requests)]), JobErrorCode::LibraryError);
    let metadata = result.metadata.as_ref().expect("a result has metadata");
    assert_eq!((metadata.reason, metadata.action_index), (Some(reason), Some(1)));
    let message = result.error_message.as_deref().expect("a failure has a message");
    assert!(message.contains(words), "{message}");
    assert_eq!(host.state(document), before);
}

#[test]
fn a_dispatched_action_is_a_job_that_knows_where_it_came_from() {
    let host = Host::start();
    let action = dispatch("a", &[json!({ "input": "one", "scope": "local" }), json!({ "input": "two" })]);
    let cause = host.succeed(&job("d", &[with(action, "timestampUtcMs", json!("2026-03-01T12:00:00Z"))]));
    let operation = &cause.operations[1];
    for (ordinal, text, scope) in [(0, "one", "local"), (1, "two", "global")] {
        let result = completed(&host, text);
        assert_eq!((result.job.document_id.as_str(), result.job.branch.as_str()), ("d", "main"));
        assert_eq!((result.job.status, result.job.scopes.len()), (JobStatus::Completed, 1));
        let action = &result.job.actions[0];
        assert_eq!(action.id, dispatched_action_id(operation.id, ordinal));
        assert_eq!((action.timestamp_utc_ms.as_str(), action.scope.as_str()), ("2026-03-01T12:00:00Z", scope));
        let causation = result.metadata.as_ref().and_then(|metadata| metadata.causation.clone()).expect("a cause");
        assert_eq!(
            (causation.job_id, causation.operation_id, causation.depth),
            (cause.job.id.clone(), operation.id, 1)
        );
    }
    assert_eq!((host.state("d"), host.state_of("d", "local")), (r#"["a","two"]"#.into(), r#"["one"]"#.into()));
}

#[test]
fn dispatched_jobs_wait_behind_those_that_were_there() {
    let host = Host::with_one_worker();
    let gate = host.accept(&job("gate", &[hold("h")]));
    host.script.wait_until_held("h");
    let tickets = [&job("d", &[dispatch("a", &texts(["last"]))]), &job("d", &[add("b")])].map(|job| host.accept(job));
    host.script.release("h");
    assert!(tickets.into_iter().chain([gate]).all(|ticket| result(ticket).success));
    completed(&host, "last");
    assert_eq!(host.state("d"), r#"["a","b","last"]"#);
}

#[test]
fn a_job_that_fails_dispatches_nothing() {
    let mut host = Host::start();
    host.script.fail("x", [rejected("NO", "no")]);
    host.fail(&job("d", &[dispatch("a", &texts(["one"])), add("x")]), JobErrorCode::LibraryError);
    host.script.fail("z", [failed(Reason::Trap, "once")]);
    host.succeed(&job("d", &[dispatch("b", &texts(["two"])), add("z")]));
    completed(&host, "two");
    assert_eq!(host.state("d"), r#"["b","z","two"]"#);
    let available = host.stop(Stop::Graceful).iter().filter(|said| *said == "available in d").count();
    assert_eq!(available, 3, "two submissions, and what the second dispatched, once");
}

#[test]
fn an_action_that_was_applied_before_does_not_dispatch_again() {
    let host = Host::start();
    for _ in 0..2 {
        host.succeed(&job("d", &[dispatch("a", &texts(["one"]))]));
        completed(&host, "one");
    }
    host.succeed(&job("d", &[add("end")]));
    assert_eq!(host.state("d"), r#"["a","one","end"]"#);
}

#[test]
fn a_reducer_dispatches_only_where_it_may() {
    let host = Host::start();
    let to = |name: &str, value: &str| [json!({ name: value, "input": "x" })];
    let words = "to document `e`, but `test/list` has no grant";
    refused_for(Reason::DispatchDenied, &host, "d", &to("document", "e"), words);
    refused_for(Reason::DispatchTarget, &host, "d", &to("scope", "document"), "to scope `document`");
    refused_for(Reason::DispatchTarget, &host, "d", &to("scope", "elsewhere"), "to scope `elsewhere`");
    host.succeed(&job("d", &[dispatch("a", &[json!({ "document": "d", "input": "own" })])]));
    completed(&host, "own");
}

#[test]
fn a_dispatched_action_is_bounded_like_a_submitted_one() {
    let host = Host::with(|config| config.limits.action_input_bytes_max = 100);
    let long = |times: u32| json!({ "input": "x", "times": times });
    refused(&host, "d", &[long(99)], "with an input of 101 bytes; 100 are allowed");
    host.succeed(&job("d", &[dispatch("a", &[long(98)])]));
    completed(&host, &"x".repeat(98));
    let nameless = dispatch("b", &[json!({ "type": "", "input": 1 })]);
    let result = host.fail(&job("d", &[nameless]), JobErrorCode::LibraryError);
    let message = "test/list v1 failed (invalid-output) in actions[0] `DISPATCH`: \
                   it dispatched an action whose type must not be empty";
    assert_eq!(result.error_message.as_deref(), Some(message));
    for (number, (request, words)) in [
        (json!({ "type": "A\u{200b}" }), "whose type must not contain invisible characters"),
        (json!({ "document": "a:b" }), "whose document id must not contain `:`"),
        (json!({ "scope": "a:b" }), "whose scope must not contain `:`"),
    ]
    .into_iter()
    .enumerate()
    {
        let result = host.fail(&job("d", &[dispatch(&format!("c{number}"), &[request])]), JobErrorCode::LibraryError);
        let message = result.error_message.as_deref().expect("a failure has a message");
        assert!(message.contains("(invalid-output)") && message.contains(words), "{message}");
    }
    let host = Host::with(|config| config.limits.job_bytes_max = 80);
    host.succeed(&job("d", &[dispatch("a", &[long(32)])]));
    refused(&host, "e", &[long(40)], "it dispatched a job of 83 bytes; 80 are allowed in one");
}

#[test]
fn an_action_dispatches_no_more_than_it_may() {
    let host = Host::with(|config| config.limits.dispatches_per_action_max = 2);
    refused(&host, "d", &texts(["1", "2", "3"]), "more than 2 actions");
    host.succeed(&job("d", &[dispatch("a", &texts(["1", "2"])), dispatch("b", &texts(["3", "4"]))]));
    completed(&host, "4");
    assert_eq!(host.state("d"), r#"["a","b","1","2","3","4"]"#);
}

#[test]
fn dispatches_that_follow_from_one_another_end() {
    let host = Host::with(|config| config.limits.dispatch_depth_max = 3);
    host.succeed(&job("d", &[json!({ "type": "CHAIN", "input": "c" })]));
    let event = host.wait_for(|event| matches!(event, Event::JobFailed(event) if !event.will_retry));
    let Event::JobFailed(failed) = &*event else { panic!("{event:?}") };
    assert!(failed.error.error_message.contains("after 3 dispatches that followed from one another"), "{failed:?}");
    assert_eq!(host.state("d"), r#"["c","c","c"]"#, "the root, and dispatches 1 and 2; the third may not dispatch");
}

#[test]
fn one_submission_leads_to_no_more_jobs_than_it_may() {
    let mut host = Host::with(|config| config.limits.dispatched_jobs_per_root_max = 3);
    refused(&host, "d", &texts(["1", "2", "3", "4"]), "may lead to 3 others by dispatch");
    for round in ["a", "b"] {
        host.succeed(&job("d", &[dispatch(round, &texts(["1", "2", round]))]));
        completed(&host, round);
    }
    host.succeed(&job("chain", &[json!({ "type": "CHAIN", "input": "c" })]));
    host.wait_for(|event| matches!(event, Event::JobFailed(event) if event.job.document_id.as_str() == "chain" && !event.will_retry));
    assert_eq!(host.state("chain"), r#"["c","c","c"]"#, "the root and two of its three; the third has no room left");
    host.stop(Stop::Graceful);
}

#[test]
fn room_that_was_reserved_for_a_job_that_failed_is_given_back() {
    let host = Host::with(|config| config.limits.dispatched_jobs_per_root_max = 3);
    host.store.fail_appends(2);
    host.succeed(&job("d", &[dispatch("a", &texts(["1", "2", "3"]))]));
    completed(&host, "3");
    assert_eq!(host.state("d"), r#"["a","1","2","3"]"#);
}
