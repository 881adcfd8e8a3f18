//! How a document comes to be, and who decides which model it has.

use std::collections::BTreeSet;
use std::sync::Arc;

use reductor_core::{Append, DuplicateCheck, Head, JobErrorCode, OperationStore as _, Refusal, Scope};
use serde_json::json;

use super::host::{Host, MODEL, OTHER_MODEL, add, hold, job, job_of, lane, result, untyped_job};
use super::scripted::rejected;

/// A host whose only worker is busy until `h` is released.
fn busy_host() -> Host {
    let host = Host::with_one_worker();
    host.accept(&job("busy", &[hold("h")]));
    host.script.wait_until_held("h");
    host
}

#[test]
fn a_document_begins_with_its_creation() {
    let host = Host::start();
    let result = host.succeed(&job("d", &[add("a")]));
    let creation = &result.operations[0];
    assert_eq!(
        (creation.action.scope.as_str(), creation.action.action_type.as_str()),
        (Scope::DOCUMENT, "CREATE_DOCUMENT")
    );
    assert_eq!(creation.action.timestamp_utc_ms, result.job.actions[0].timestamp_utc_ms, "that of the first action");
    let details: serde_json::Value = serde_json::from_str(creation.action.input.as_str()).expect("JSON");
    assert_eq!(details, json!({ "model": MODEL, "version": 1, "documentId": "d" }));
    assert_eq!(
        result.metadata.as_ref().and_then(|metadata| metadata.document_type.as_ref()).map(|name| name.as_str()),
        Some(MODEL)
    );
    let head = host.manager().head(&lane("d")).expect("a readable head").expect("it exists");
    assert_eq!((head.document_type.as_str(), head.revision), (MODEL, 2));
}

#[test]
fn a_document_that_nobody_created_is_unknown() {
    let host = Host::start();
    let refusal = host.submit(&untyped_job("d", &[add("a")])).expect_err("no such document");
    assert_eq!((refusal.field(), matches!(refusal, Refusal::UnknownDocument { .. })), (Some("documentId"), true));
    let refusal = host.submit(&job_of("test/none", "d", &[add("a")])).expect_err("no such model");
    let message = "documentType: no plugin for `test/none` is loaded; loaded: `test/list`, `test/other`";
    assert_eq!((refusal.field(), refusal.to_string().as_str()), (Some("documentType"), message));
}

#[test]
fn a_document_keeps_its_model() {
    let host = Host::start();
    host.succeed(&job("d", &[add("a")]));
    let refusal = host.submit(&job_of(OTHER_MODEL, "d", &[add("b")])).expect_err("it has another model");
    assert_eq!(refusal.to_string(), "documentType: document `d` is a `test/list`, not a `test/other`");
    host.succeed(&untyped_job("d", &[add("b")]));
}

#[test]
fn the_first_job_that_waits_decides_the_model() {
    let host = busy_host();
    let first = host.accept(&job("d", &[add("a")]));
    let refusal = host.submit(&job_of(OTHER_MODEL, "d", &[add("b")])).expect_err("the first job has another model");
    assert!(matches!(refusal, Refusal::OtherModel { .. }), "{refusal}");
    let joining = host.accept(&untyped_job("d", &[add("c")]));
    host.script.release("h");
    assert!(result(first).success && result(joining).success);
    assert_eq!(host.state("d"), r#"["a","c"]"#);
}

#[test]
fn the_next_job_creates_a_document_whose_first_was_refused() {
    let host = busy_host();
    host.script.fail("a", [rejected("NO", "no")]);
    let (first, next) = (host.accept(&job("d", &[add("a")])), host.accept(&untyped_job("d", &[add("b")])));
    host.script.release("h");
    assert_eq!(result(first).error_code, Some(JobErrorCode::LibraryError));
    let next = result(next);
    assert_eq!(next.operations.len(), 2, "its creation and its action: {:?}", next.error_message);
    assert_eq!(host.state("d"), r#"["b"]"#);
    assert_eq!(host.calls().reloaded, [""], "from the beginning");
}

#[test]
fn a_document_whose_only_job_was_refused_is_free_for_any_model() {
    let host = Host::with_one_worker();
    host.script.fail("a", [rejected("NO", "no")]);
    host.fail(&job("d", &[add("a")]), JobErrorCode::LibraryError);
    // The only worker does this after it has put back the lane of `d`.
    host.succeed(&job("other", &[add("x")]));
    host.succeed(&job_of(OTHER_MODEL, "d", &[add("b")]));
    let head = host.store.snapshot(&lane("d"), u64::MAX).expect("a readable head").expect("it exists");
    assert_eq!(head.document_type.as_str(), OTHER_MODEL);
}

#[test]
fn a_document_that_somebody_else_created_meanwhile_keeps_its_model() {
    let host = busy_host();
    let ticket = host.accept(&job("d", &[add("a")]));
    let elsewhere = Host::start();
    elsewhere.succeed(&job_of(OTHER_MODEL, "d", &[add("b")]));
    let stored = elsewhere.operations("d");
    let head = elsewhere.store.snapshot(&lane("d"), u64::MAX).expect("readable").expect("created");
    let append = Append {
        lane: lane("d"),
        expected_revision: 0,
        operations: stored,
        head: Head::clone(&head),
        duplicate_check: DuplicateCheck::ByStore,
    };
    host.store.append(append).expect("the log of the host has no such document");
    host.script.release("h");
    let result = result(ticket);
    let message = "actions[0]: the document was created as a `test/other` meanwhile";
    assert_eq!((result.error_code, result.error_message.as_deref()), (Some(JobErrorCode::RebaseFailed), Some(message)));
}

#[test]
fn a_document_is_known_at_every_moment_of_its_creation() {
    let host = Arc::new(Host::with_one_worker());
    let creating = host.accept(&job("d", &[hold("a")]));
    host.script.wait_until_held("a");
    // If the next submission looks into the log, the job that creates the document ends then.
    let meanwhile = host.clone();
    host.store.after_next_head(move || {
        meanwhile.script.release("a");
        assert!(result(creating).success);
        // The only worker does this after it has put back the lane of `d`.
        meanwhile.succeed(&job("other", &[add("x")]));
    });
    let ticket = host.submit(&untyped_job("d", &[add("b")])).expect("the document is being created");
    host.script.release("a");
    assert!(result(ticket).success);
}

#[test]
fn a_job_does_not_run_on_the_live_document_of_another_model() {
    let host = Arc::new(Host::with_one_worker());
    let meanwhile = host.clone();
    // The document is created after the submission has found that it does not exist.
    host.store.after_next_head(move || {
        meanwhile.succeed(&job("d", &[add("a")]));
        meanwhile.succeed(&job("other", &[add("x")]));
    });
    let late = result(host.submit(&job_of(OTHER_MODEL, "d", &[add("b")])).expect("there is no document yet"));
    assert_eq!(late.error_code, Some(JobErrorCode::RebaseFailed), "{:?}", late.error_message);
    assert_eq!(host.state("d"), r#"["a"]"#);
}

#[test]
fn of_many_who_create_a_document_one_model_wins() {
    const DOCUMENTS: usize = 100;
    let host = Host::with(|config| config.manager.max_concurrency = Some(3));
    let creators = [MODEL, OTHER_MODEL, MODEL, OTHER_MODEL];
    let tickets: Vec<_> = std::thread::scope(|scope| {
        let create = |(number, model): (usize, &'static str)| {
            let host = &host;
            scope.spawn(move || {
                let submission = |document| job_of(model, &format!("d{document}"), &[add(&number.to_string())]);
                (0..DOCUMENTS).map(|document| (model, document, host.submit(&submission(document)))).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = creators.into_iter().enumerate().map(create).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let outcomes: Vec<_> =
        tickets.into_iter().map(|(model, document, ticket)| (model, document, ticket.map(result))).collect();
    let mut created = BTreeSet::new();
    for (model, document, outcome) in outcomes {
        let head = host.store.snapshot(&lane(&format!("d{document}")), u64::MAX).expect("readable").expect("created");
        match outcome {
            Ok(result) if result.success => {
                assert_eq!(head.document_type.as_str(), model);
                created.insert(document);
            }
            Ok(result) => assert_eq!(result.error_code, Some(JobErrorCode::RebaseFailed), "{:?}", result.error_message),
            Err(refusal) => assert!(matches!(refusal, Refusal::OtherModel { .. }), "{refusal}"),
        }
    }
    assert_eq!(created.len(), DOCUMENTS, "every document has a winner");
}
