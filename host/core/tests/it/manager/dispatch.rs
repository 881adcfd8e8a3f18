//! Dispatching to other documents, by grant.

use std::sync::Arc;

use reductor_core::{DispatchGrants, DocumentType, Event, JobErrorCode, JobResult, Reason, dispatched_action_id};
use serde_json::{Value, json};

use super::drive::metadata;
use crate::executor::host::{Host, MODEL, OTHER_MODEL, add, job, job_of, result, with};
use crate::executor::scripted::{Scripted, rejected};

/// A host with the documents `d` and `d2` of [`MODEL`] and `e` of [`OTHER_MODEL`].
fn host(grants: &[(&str, &str)]) -> Host {
    let allow = |grants: DispatchGrants, (from, to): &(&str, &str)| {
        grants.allow(DocumentType::from(*from), DocumentType::from(*to))
    };
    let host = Host::with(|config| config.grants = grants.iter().fold(DispatchGrants::none(), allow));
    host.succeed(&job("d", &[add("a")]));
    host.succeed(&job("d2", &[add("b")]));
    host.succeed(&job_of(OTHER_MODEL, "e", &[add("c")]));
    host
}

/// An action that dispatches an addition of `text` to `document`.
fn to(document: &str, id: &str, text: &str) -> Value {
    json!({ "id": id, "type": "DISPATCH", "input": [{ "document": document, "input": text }] })
}

/// Asserts that the dispatch is refused in these words, and that neither document changes.
#[track_caller]
fn refused(host: &Host, document: &str, target: &str, action: Value, reason: Reason, words: &str) {
    let before = [host.state(document), host.state(target)];
    let available = host.said_of("available").len();
    let result = host.fail(&job_of(model_of(document), document, &[add("first"), action]), JobErrorCode::LibraryError);
    assert_eq!((metadata(&result).reason, metadata(&result).action_index), (Some(reason), Some(1)));
    let message = result.error_message.as_deref().expect("a failure has a message");
    assert!(message.contains(words), "{message}");
    host.wait_until_idle();
    assert_eq!([host.state(document), host.state(target)], before);
    assert_eq!(host.said_of("available").len() - available, 1, "the job itself");
}

fn model_of(document: &str) -> &'static str {
    if document == "e" { OTHER_MODEL } else { MODEL }
}

/// Waits until the job that adds `text` has completed.
fn completed(host: &Host, text: &str) -> Arc<JobResult> {
    let input = json!(text).to_string();
    let event = host
        .wait_for(|event| matches!(event, Event::JobCompleted(event) if event.job.actions[0].input.as_str() == input));
    let Event::JobCompleted(event) = &*event else { panic!("just matched") };
    event.result.clone()
}

#[test]
fn a_model_with_a_grant_dispatches_to_documents_of_the_other() {
    let host = host(&[(MODEL, OTHER_MODEL)]);
    host.succeed(&job("d", &[to("e", "x", "one")]));
    completed(&host, "one");
    assert_eq!((host.state("d"), host.state("e")), (r#"["a","x"]"#.into(), r#"["c","one"]"#.into()));
}

#[test]
fn a_model_dispatches_to_other_documents_of_its_own_only_with_a_grant() {
    let denied = Reason::DispatchDenied;
    refused(&host(&[]), "d", "d2", to("d2", "x", "one"), denied, "a `test/list`, but `test/list` has no grant");
    refused(&host(&[]), "d", "d2", to("d2", "x", "one"), denied, "--grant test/list=test/list gives one");
    let host = host(&[(MODEL, MODEL)]);
    host.succeed(&job("d", &[to("d2", "x", "one")]));
    completed(&host, "one");
    assert_eq!(host.state("d2"), r#"["b","one"]"#);
}

#[test]
fn a_grant_holds_for_its_two_models_and_in_its_direction() {
    let host = host(&[(MODEL, OTHER_MODEL)]);
    let (denied, words) = (Reason::DispatchDenied, "a `test/list`; `test/list` has no grant for that");
    refused(&host, "d", "d2", to("d2", "x", "one"), denied, words);
    refused(
        &host,
        "e",
        "d",
        to("d", "y", "one"),
        denied,
        "`test/other` has no grant to dispatch to documents other than its own",
    );
}

#[test]
fn a_grant_does_not_create_documents() {
    let host = host(&[(MODEL, OTHER_MODEL)]);
    refused(
        &host,
        "d",
        "nowhere",
        to("nowhere", "x", "one"),
        Reason::DispatchTarget,
        "to document `nowhere`, which does not exist on branch `main`",
    );
}

#[test]
fn the_other_document_is_that_of_the_same_branch() {
    let host = host(&[(MODEL, OTHER_MODEL)]);
    let draft = with(job("d", &[to("e", "x", "one")]), "branch", json!("draft"));
    let result = host.fail(&draft, JobErrorCode::LibraryError);
    assert!(result.error_message.as_deref().is_some_and(|message| message.contains("on branch `draft`")), "{result:?}");
    assert_eq!(host.state("e"), r#"["c"]"#);
}

#[test]
fn the_other_model_must_have_the_scope() {
    let host = host(&[(MODEL, OTHER_MODEL)]);
    host.reducers.register(Arc::new(Scripted::new(OTHER_MODEL, 2, &["global", "theirs"], &host.script)));
    let to_scope = |scope: &str| json!({ "id": scope, "type": "DISPATCH", "input": [{ "document": "e", "scope": scope, "input": "one" }] });
    for scope in ["local", "document", "elsewhere"] {
        let reason = Reason::DispatchTarget;
        refused(
            &host,
            "d",
            "e",
            to_scope(scope),
            reason,
            &format!("to scope `{scope}`, which `test/other` does not have"),
        );
    }
    // The document was created before this revision, so the model has the scope and the document has not.
    host.succeed(&job("d", &[to_scope("theirs")]));
    let event =
        host.wait_for(|event| matches!(event, Event::JobFailed(event) if event.job.document_id.as_str() == "e"));
    let Event::JobFailed(failed) = &*event else { panic!("just matched") };
    assert_eq!(failed.error.error_message, "actions[0]: the document has no scope `theirs`");
}

#[test]
fn the_dispatched_job_knows_where_it_came_from() {
    let host = host(&[(MODEL, OTHER_MODEL), (OTHER_MODEL, MODEL)]);
    let inner = json!([{ "document": "d2", "input": "back" }]);
    let input = json!([{ "document": "e", "input": "one" }, { "document": "e", "type": "DISPATCH", "input": inner }]);
    let action = json!({ "id": "x", "type": "DISPATCH", "input": input, "timestampUtcMs": "2026-03-01T12:00:00Z" });
    let cause = host.succeed(&job("d", &[action]));
    let operation = &cause.operations[0];
    let first = completed(&host, "one");
    let dispatched = &first.job.actions[0];
    assert_eq!((first.job.document_id.as_str(), &dispatched.id), ("e", &dispatched_action_id(operation.id, 0)));
    assert_eq!(dispatched.timestamp_utc_ms.as_str(), "2026-03-01T12:00:00Z");
    let causation = metadata(&first).causation.clone().expect("it was dispatched");
    assert_eq!((&causation.job_id, causation.operation_id, causation.depth), (&cause.job.id, operation.id, 1));

    let back = completed(&host, "back");
    let causation = metadata(&back).causation.clone().expect("it was dispatched");
    assert_eq!((back.job.document_id.as_str(), causation.depth), ("d2", 2));
    assert_eq!(back.job.actions[0].timestamp_utc_ms.as_str(), "2026-03-01T12:00:00Z");
    assert_eq!(metadata(&back).plugin.as_ref().map(|plugin| plugin.document_type.as_str()), Some(MODEL));
}

#[test]
fn nothing_is_dispatched_by_a_job_that_fails() {
    let host = host(&[(MODEL, OTHER_MODEL)]);
    host.script.fail("late", [rejected("NO", "no")]);
    host.fail(&job("d", &[to("e", "x", "one"), add("late")]), JobErrorCode::LibraryError);
    host.wait_until_idle();
    assert_eq!(host.state("e"), r#"["c"]"#);
    assert_eq!(host.said_of("available in e").len(), 1, "its own creation");
}

#[test]
fn a_dispatched_job_is_watched_and_counted_like_any_other() {
    let host = host(&[(MODEL, OTHER_MODEL)]);
    host.succeed(&job("d", &[to("e", "x", "one")]));
    let dispatched = completed(&host, "one");
    host.wait_until_idle();
    assert_eq!(host.result_now(&dispatched.job.id), Some(dispatched));
    assert_eq!(host.status().total_jobs_succeeded, 5);
}

#[test]
fn dispatched_jobs_count_against_the_depth_of_the_queue() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.limits.queue_depth_max = 10;
    });
    let gate = host.shut_gate();
    let leaves: Vec<_> = (0..4).map(|leaf| json!({"input": leaf.to_string()})).collect();
    let roots: Vec<_> = (0..9)
        .map(|root| {
            let dispatch = json!({"id": format!("root{root}"), "type": "DISPATCH", "input": leaves});
            host.accept(&job(&format!("d{root}"), &[dispatch]))
        })
        .collect();
    host.open_gate();
    assert!(result(gate).success);
    let deepest = roots.into_iter().map(|root| {
        let ended = result(root);
        if let (false, Some(message)) = (ended.success, &ended.error_message) {
            assert!(message.contains("the queue has no room"), "{message}");
        }
        host.stats().queue_backlog
    });
    let deepest = deepest.max();
    assert!(deepest <= Some(10), "{deepest:?} jobs waited");
    host.wait_until_idle();
    host.succeed(&job("e", &[add("there is room again")]));
}

#[test]
fn what_can_never_fit_into_the_queue_fails_the_job_that_dispatches_it() {
    let host = Host::with(|config| config.limits.queue_depth_max = 3);
    let leaves: Vec<_> = (0..4).map(|leaf| json!({"input": leaf.to_string()})).collect();
    let root = json!({"id": "root", "type": "DISPATCH", "input": leaves});
    let failed = host.fail(&job("d", &[root]), JobErrorCode::IoError);
    let message = failed.error_message.as_deref().unwrap_or_default();
    assert_eq!(message, "it dispatched 4 jobs, and the queue has no room for them: 0 wait, 3 may at most");
    assert!(host.operations("d").is_empty());
}
