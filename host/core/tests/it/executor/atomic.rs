//! A job is applied wholly, exactly once, or not at all.

use reductor_core::{JobErrorCode, Operation, Reason, Scope, Submission, scopes_hash, state_hash};
use serde_json::json;

use super::host::{Host, add, job, result, untyped_job, with};
use super::scripted::{Calls, failed, rejected};

/// A host with a document `d` that has seen `a`.
fn host_with_a_document() -> Host {
    let host = Host::start();
    host.succeed(&job("d", &[add("a")]));
    host
}

fn in_scope(scope: &str, text: &str) -> serde_json::Value {
    with(add(text), "scope", json!(scope))
}

#[test]
fn a_rejected_job_changes_nothing_and_keeps_the_instance() {
    let host = host_with_a_document();
    host.script.fail("c", [rejected("NO", "no")]);
    host.fail(&job("d", &[add("b"), in_scope("local", "x"), add("c")]), JobErrorCode::LibraryError);
    assert_eq!((host.state("d"), host.state_of("d", "local")), (r#"["a"]"#.into(), "[]".into()));
    assert_eq!(host.operations("d").len(), 2, "its creation, and `a`");
    host.succeed(&job("d", &[add("d")]));
    assert_eq!(host.state("d"), r#"["a","d"]"#);
    let calls = Calls {
        loaded: vec![String::new()],
        reloaded: vec![r#"global=["a"] local=[]"#.into()],
        applied: ["a", "b", "x", "c", "d"].map(str::to_owned).to_vec(),
        dropped: 0,
    };
    assert_eq!(host.calls(), calls);
}

#[test]
fn a_failed_instance_is_dropped_and_rebuilt_from_the_last_commit() {
    let host = host_with_a_document();
    host.script.fail("c", [failed(Reason::Trap, "once")]);
    host.succeed(&job("d", &[add("b"), add("c")]));
    assert_eq!(host.state("d"), r#"["a","b","c"]"#);
    let calls = host.calls();
    assert_eq!(calls.loaded, ["", r#"global=["a"] local=[]"#]);
    assert_eq!((calls.reloaded.len(), calls.dropped), (0, 1));
}

#[test]
fn a_job_that_fails_before_the_reducer_saw_it_does_not_disturb_the_instance() {
    let host = host_with_a_document();
    let late = with(add("b"), "context", json!({ "prevOpIndex": 9 }));
    host.fail(&job("d", &[late]), JobErrorCode::RebaseFailed);
    host.succeed(&job("d", &[add("c")]));
    assert_eq!(host.calls().reloaded, [""; 0]);
}

#[test]
fn the_same_action_again_returns_the_operation_that_exists() {
    let host = host_with_a_document();
    let first = host.succeed(&job("d", &[add("b")]));
    let again = host.succeed(&job("d", &[add("b")]));
    assert_eq!(again.operations, first.operations);
    assert_eq!(host.state("d"), r#"["a","b"]"#);
    assert_eq!(host.calls().applied, ["a", "b"], "the reducer was not asked again");
}

#[test]
fn a_job_may_mix_actions_that_were_applied_with_new_ones() {
    let host = host_with_a_document();
    let result = host.succeed(&job("d", &[add("b"), add("a"), add("c")]));
    let indices: Vec<_> = result.operations.iter().map(|operation| operation.index).collect();
    assert_eq!(indices, [1, 0, 2]);
    assert_eq!(host.state("d"), r#"["a","b","c"]"#);
}

#[test]
fn the_same_value_spelled_otherwise_is_the_same_action() {
    let host = host_with_a_document();
    let action =
        |text: &str| format!(r#"{{"documentId": "d", "actions": [{{"id": "n", "type": "ADD", "input": {text}}}]}}"#);
    let submit = |text: &str| {
        let submission = Submission::from_json(&action(text)).expect("a submission");
        result(host.manager().enqueue(submission).expect("an acceptable submission"))
    };
    let first = submit(r#"{"b": 1.0, "a": "\u0041"}"#);
    assert_eq!(submit(r#"{"a":"A","b":1}"#).operations, first.operations);
    assert_eq!(submit(r#"{"a":"A","b":2}"#).error_code, Some(JobErrorCode::RebaseFailed));
}

#[test]
fn an_id_that_names_another_action_is_refused() {
    let host = host_with_a_document();
    let other_input = with(add("a"), "input", json!("z"));
    let result = host.fail(&job("d", &[add("b"), other_input]), JobErrorCode::RebaseFailed);
    let message = "actions[1]: action id `a` already names another action, `ADD`";
    assert_eq!(result.error_message.as_deref(), Some(message));
    assert_eq!(result.metadata.as_ref().and_then(|metadata| metadata.action_index), Some(1));
    let other_type = with(add("a"), "type", json!("HOLD"));
    host.fail(&job("d", &[other_type]), JobErrorCode::RebaseFailed);
    host.succeed(&job("d", &[in_scope("local", "a")]));
    assert_eq!((host.state("d"), host.state_of("d", "local")), (r#"["a"]"#.into(), r#"["a"]"#.into()));
}

#[test]
fn the_resulting_hash_is_that_of_the_one_scope() {
    let host = host_with_a_document();
    let expecting = |state: &[u8], text: &str| with(job("d", &[add(text)]), "resultingHash", json!(state_hash(state)));
    host.succeed(&expecting(br#"["a","b"]"#, "b"));
    let result = host.fail(&expecting(br#"["a","b"]"#, "c"), JobErrorCode::HashMismatch);
    let (found, expected) = (state_hash(br#"["a","b","c"]"#), state_hash(br#"["a","b"]"#));
    assert_eq!(result.error_message, Some(format!("the state hashes to {found}, not to {expected}")));
    assert_eq!(host.state("d"), r#"["a","b"]"#);
    host.succeed(&expecting(br#"["a","b","d"]"#, "d"));
}

#[test]
fn the_resulting_hash_of_several_scopes_is_that_of_them_together() {
    let host = host_with_a_document();
    let (global, local) = (Scope::from("global"), Scope::from("local"));
    let together = scopes_hash(vec![(&local, br#"["x"]"#), (&global, br#"["a","b"]"#)]);
    assert_eq!(together, state_hash(br#"{"global":["a","b"],"local":["x"]}"#));
    let both = job("d", &[in_scope("local", "x"), add("b")]);
    host.fail(&with(both.clone(), "resultingHash", json!(state_hash(br#"["a","b"]"#))), JobErrorCode::HashMismatch);
    host.succeed(&with(both, "resultingHash", json!(together)));
    let declared = with(job("d", &[add("c")]), "scopes", json!(["global", "local"]));
    let together = state_hash(br#"{"global":["a","b","c"],"local":["x"]}"#);
    host.succeed(&with(declared, "resultingHash", json!(together)));
}

#[test]
fn a_job_that_was_applied_before_succeeds_again_after_others_went_on() {
    let host = host_with_a_document();
    let expecting = with(job("d", &[add("b")]), "resultingHash", json!(state_hash(br#"["a","b"]"#)));
    let first = host.succeed(&expecting);
    host.succeed(&job("d", &[add("c")]));
    assert_eq!(host.succeed(&expecting).operations, first.operations);
}

#[test]
fn an_action_may_say_after_which_operation_it_was_made() {
    let host = Host::start();
    let after = |index: i64, text: &str| with(add(text), "context", json!({ "prevOpIndex": index }));
    host.succeed(&job("d", &[after(-1, "a"), after(0, "b")]));
    let result = host.fail(&job("d", &[add("x"), after(1, "c")]), JobErrorCode::RebaseFailed);
    let message = "actions[1]: it was made after operation 1 of scope `global`, which stands at 2";
    assert_eq!(result.error_message.as_deref(), Some(message));
    host.succeed(&job("d", &[after(1, "c"), with(after(-1, "x"), "scope", json!("local"))]));
    assert_eq!(host.state("d"), r#"["a","b","c"]"#);
}

#[test]
fn an_action_may_say_on_which_state_it_was_made() {
    let host = Host::start();
    let on = |state: &[u8], text: &str| with(add(text), "context", json!({ "prevOpHash": state_hash(state) }));
    host.succeed(&job("d", &[on(b"[]", "a"), on(br#"["a"]"#, "b")]));
    let result = host.fail(&job("d", &[on(br#"["a"]"#, "c")]), JobErrorCode::HashMismatch);
    let (found, expected) = (state_hash(br#"["a","b"]"#), state_hash(br#"["a"]"#));
    assert_eq!(
        result.error_message,
        Some(format!("actions[0]: the state hashes to {found}, not to {expected}, before it"))
    );
    assert_eq!(result.metadata.as_ref().and_then(|metadata| metadata.action_index), Some(0));
    host.succeed(&job("d", &[on(br#"["a","b"]"#, "c")]));
}

#[test]
fn the_log_says_of_each_operation_where_it_belongs() {
    let host = host_with_a_document();
    let result = host.succeed(&untyped_job("d", &[in_scope("local", "x"), add("b")]));
    let stored = host.operations("d");
    let places: Vec<_> = stored
        .iter()
        .map(|stored| {
            let Operation { index, action, .. } = &stored.operation;
            (stored.sequence, action.scope.as_str(), *index, action.id.as_str())
        })
        .collect();
    assert_eq!(
        places,
        [(0, "document", 0, "create:d"), (1, "global", 0, "a"), (2, "local", 0, "x"), (3, "global", 1, "b")]
    );
    let of_result: Vec<_> = stored[2..].iter().map(|stored| stored.operation.clone()).collect();
    assert_eq!(result.operations, of_result);
    assert_eq!(stored[3].operation.hash, state_hash(br#"["a","b"]"#));
}
