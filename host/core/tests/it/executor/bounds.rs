//! What is bounded refuses or lets go, and says so.

use reductor_core::{JobErrorCode, Reason, Refusal, ResidentBudget};
use serde_json::json;

use super::host::{Host, add, hold, job, result, with, within};

#[test]
fn a_full_queue_refuses_and_takes_again_when_a_job_has_begun() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.limits.queue_depth_max = 2;
    });
    let held = host.accept(&job("busy", &[hold("h")]));
    host.script.wait_until_held("h");
    let waiting = ["a", "b"].map(|text| host.accept(&job(text, &[add(text)])));
    let refusal = host.submit(&job("c", &[add("c")])).expect_err("two wait already");
    assert_eq!(refusal, Refusal::QueueFull { depth: 2, limit: 2 });
    assert_eq!((refusal.field(), refusal.to_string().as_str()), (None, "the queue is full: 2 jobs wait, 2 may"));
    host.script.release("h");
    assert!(waiting.into_iter().chain([held]).all(|ticket| result(ticket).success));
    host.succeed(&job("c", &[add("c")]));
}

#[test]
fn the_least_recently_used_document_goes_and_comes_back_as_it_was() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.residents = ResidentBudget { documents_max: 2, bytes_max: usize::MAX };
    });
    for (document, text) in [("d", "1"), ("e", "2"), ("d", "3"), ("f", "4"), ("d", "5"), ("e", "6")] {
        host.succeed(&job(document, &[add(text)]));
    }
    let from_snapshot = r#"global=["2"] local=[]"#;
    assert_eq!(host.calls().loaded, ["", "", "", from_snapshot], "d, e and f are new; e went when f came");
    assert_eq!((host.state("d"), host.state("e")), (r#"["1","3","5"]"#.into(), r#"["2","6"]"#.into()));
}

/// A host whose idle documents take up to `bytes_max`, with one worker.
fn tight(bytes_max: usize) -> Host {
    Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.residents = ResidentBudget { documents_max: 100, bytes_max };
    })
}

/// How many documents lie idle when nothing runs, and how many bytes they take.
fn idle(host: &Host) -> (usize, usize) {
    within(host.manager().wait_until_idle());
    host.manager().residents()
}

/// What a document takes that has this text in its state.
fn bytes_of(text: &str) -> usize {
    let host = tight(usize::MAX);
    host.succeed(&job("0", &[with(add("a"), "input", json!(text))]));
    idle(&host).1
}

#[test]
fn idle_documents_stay_within_their_bytes() {
    let host = tight(3 * bytes_of("a"));
    for number in 0..9 {
        host.succeed(&job(&number.to_string(), &[add("a")]));
    }
    assert_eq!((idle(&host).0, host.calls().dropped), (3, 6));
}

#[test]
fn states_count_among_the_bytes_of_idle_documents() {
    let long = "a".repeat(10_000);
    let more = bytes_of(&long) - bytes_of("");
    assert_eq!(more, long.len());
    let host = tight(25_000);
    for number in 0..9 {
        host.succeed(&job(&number.to_string(), &[with(add("a"), "input", json!(long))]));
    }
    assert_eq!(idle(&host).0, 2);
}

#[test]
fn the_states_of_a_document_have_a_limit_together() {
    let host = Host::with(|config| {
        config.limits.document_state_bytes_max = 1_000;
        config.max_retries = 0;
    });
    let text =
        |id: &str, scope: &str, bytes| with(with(add(id), "input", json!("a".repeat(bytes))), "scope", json!(scope));
    host.succeed(&job("d", &[text("a", "global", 500)]));
    let result = host.fail(&job("d", &[text("b", "local", 500)]), JobErrorCode::LibraryError);
    let message = result.error_message.as_deref().expect("a failure has a message");
    assert!(message.contains("(output-too-large) in actions[0] `ADD`"), "{message}");
    assert!(message.ends_with("bytes together; 1000 are allowed"), "{message}");
    assert_eq!(result.metadata.as_ref().and_then(|metadata| metadata.reason), Some(Reason::OutputTooLarge));
    assert_eq!(host.state_of("d", "local"), "[]");
    host.succeed(&job("d", &[text("c", "local", 300)]));
    host.fail(&job("d", &[text("d", "global", 300)]), JobErrorCode::LibraryError);
}

#[test]
fn a_new_document_that_begins_too_large_is_not_created() {
    let host = Host::with(|config| {
        config.limits.document_state_bytes_max = 3;
        config.max_retries = 0;
    });
    let result = host.fail(&job("d", &[add("a")]), JobErrorCode::LibraryError);
    let message = result.error_message.as_deref().expect("a failure has a message");
    assert!(message.contains("(output-too-large) in loading the document"), "{message}");
    assert_eq!(host.state("d"), "");
}
