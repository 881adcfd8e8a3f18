//! The journey of a job: what is applied, what is refused, and what the log says of it.

use anyhow::{Context as _, Result};
use reductor_core::{Branch, DocumentId, JobErrorCode, LaneKey, Reason, Scope, state_hash};
use serde_json::{Value, json};

use crate::support::{COUNTER, Host, NOON, TEXT, TODO_LIST, UNRULY, job, note};

#[test]
fn a_counter_counts_up_and_down_and_starts_again() -> Result<()> {
    let host = Host::start()?;
    host.applied(job(COUNTER, "c").action("INCREMENT", json!({"by": 5})))?;
    host.applied(job(COUNTER, "c").action("DECREMENT", json!({"by": 7})))?;
    assert_eq!(host.state("c")?, json!({"value": -2}));
    host.applied(job(COUNTER, "c").action("RESET", Value::Null).action("INCREMENT", json!({"by": 1})))?;
    assert_eq!(host.state("c")?, json!({"value": 1}));
    Ok(())
}

#[test]
fn a_list_keeps_its_items_in_order_and_takes_the_time_from_the_actions() -> Result<()> {
    let host = Host::start()?;
    let actions = job(TODO_LIST, "l")
        .fixed("1", "ADD", json!({"id": "milk", "text": "buy milk"}))
        .fixed("2", "ADD", json!({"id": "ada", "text": "call Ada"}))
        .fixed("3", "ADD", json!({"id": "tea", "text": "make tea"}))
        .fixed("4", "RENAME", json!({"id": "milk", "text": "buy oats"}))
        .fixed("5", "COMPLETE", json!({"id": "ada"}));
    host.applied(actions)?;
    let item = |id, text, completed_at| json!({"id": id, "text": text, "addedAt": NOON, "completedAt": completed_at});
    let (milk, ada) = (item("milk", "buy oats", Value::Null), item("ada", "call Ada", json!(NOON)));
    let tea = item("tea", "make tea", Value::Null);
    assert_eq!(host.state("l")?, json!({"items": [milk, ada, tea]}));

    host.applied(job(TODO_LIST, "l").action("REMOVE", json!({"id": "tea"})))?;
    host.applied(job(TODO_LIST, "l").action("CLEAR_COMPLETED", json!({})))?;
    assert_eq!(host.state("l")?, json!({"items": [milk]}));
    Ok(())
}

#[test]
fn a_text_is_edited_by_code_points() -> Result<()> {
    let host = Host::start()?;
    host.applied(job(TEXT, "t").action("EDIT", json!({"patches": [[0, 0, "ä👍🏽z"], [3, 1, "Z"]]})))?;
    host.applied(job(TEXT, "t").action("EDIT", json!({"patches": [[1, 2, "\u{0}\"\\\n"]]})))?;
    assert_eq!(host.state("t")?, json!({"content": "ä\u{0}\"\\\nZ"}));
    Ok(())
}

/// What a reducer refuses: its model, the action, and the code of the refusal.
fn refusals() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let exact_max = (1_i64 << 53) - 1;
    vec![
        (COUNTER, "INCREMENT", json!({"by": exact_max}), "OUT_OF_RANGE"),
        (COUNTER, "DECREMENT", json!({"by": i64::MIN}), "OUT_OF_RANGE"),
        (COUNTER, "INCREMENT", json!({"by": "1"}), "INVALID_INPUT"),
        (COUNTER, "INCREMENT", Value::Null, "INVALID_INPUT"),
        (COUNTER, "INCREASE", json!({"by": 1}), "UNKNOWN_ACTION"),
        (COUNTER, "CREATE_DOCUMENT", json!({}), "UNKNOWN_ACTION"),
        (TODO_LIST, "ADD", json!({"id": "done", "text": "again"}), "TODO_EXISTS"),
        (TODO_LIST, "ADD", json!({"id": "", "text": "something"}), "EMPTY_ID"),
        (TODO_LIST, "ADD", json!({"id": "new", "text": " \n"}), "EMPTY_TEXT"),
        (TODO_LIST, "RENAME", json!({"id": "done", "text": ""}), "EMPTY_TEXT"),
        (TODO_LIST, "RENAME", json!({"id": "nobody", "text": "x"}), "TODO_NOT_FOUND"),
        (TODO_LIST, "COMPLETE", json!({"id": "nobody"}), "TODO_NOT_FOUND"),
        (TODO_LIST, "REMOVE", json!({"id": "nobody"}), "TODO_NOT_FOUND"),
        (TODO_LIST, "COMPLETE", json!({"id": "done"}), "TODO_COMPLETED"),
        (TODO_LIST, "ADD", json!({"id": "new"}), "INVALID_INPUT"),
        (TODO_LIST, "FINISH", json!({"id": "done"}), "UNKNOWN_ACTION"),
        (TEXT, "EDIT", json!({"patches": [[0, 1, ""], [4, 0, "beyond"]]}), "OUT_OF_RANGE"),
        (TEXT, "EDIT", json!({"patches": [[1, u32::MAX, ""]]}), "OUT_OF_RANGE"),
        (TEXT, "EDIT", json!({"patches": [[-1, 0, "before"]]}), "INVALID_INPUT"),
        (TEXT, "INSERT", json!({}), "UNKNOWN_ACTION"),
        (UNRULY, "REFUSE", Value::Null, "NO"),
    ]
}

/// A good first job for each model; the refusals above are meant for what it leaves.
fn beginning(document_type: &str) -> crate::support::JobText {
    let job = job(document_type, "d");
    match document_type {
        COUNTER => job.action("INCREMENT", json!({"by": 1})),
        TODO_LIST => job
            .action("ADD", json!({"id": "done", "text": "done"}))
            .action("COMPLETE", json!({"id": "done"}))
            .action("ADD", json!({"id": "open", "text": "open"})),
        TEXT => job.action("EDIT", json!({"patches": [[0, 0, "abc"]]})),
        UNRULY => job.action("NOTE", json!({"text": "good"})),
        other => panic!("no guest is a {other}"),
    }
}

#[test]
fn a_refusal_fails_the_job_at_once_and_changes_nothing() -> Result<()> {
    for (document_type, action, input, code) in refusals() {
        let host = Host::start()?;
        host.applied(beginning(document_type))?;
        let before = host.state("d")?;
        let failure = host.failed(job(document_type, "d").action(action, input))?;
        assert_eq!(failure.code, JobErrorCode::LibraryError, "{action}");
        assert_eq!(failure.metadata.reason, Some(Reason::Rejected), "{action}");
        assert_eq!(failure.metadata.rejection_code.as_deref(), Some(code), "{action}: {}", failure.message);
        assert_eq!(failure.metadata.deterministic, Some(true), "{action}");
        assert_eq!(failure.metadata.action_index, Some(0), "{action}");
        assert_eq!(failure.metadata.attempts, 1, "{action} was tried again");
        let named = format!("{document_type} v1 refused actions[0] `{action}`");
        assert!(failure.message.starts_with(&named), "{}", failure.message);
        assert_eq!(host.state("d")?, before, "{action}");
    }
    Ok(())
}

#[test]
fn what_a_reducer_changed_before_it_refused_is_forgotten() -> Result<()> {
    let host = Host::start()?;
    host.failed(job(UNRULY, "u").action("NOTE", json!({"text": "lost"})).action("REFUSE", Value::Null))?;
    assert_eq!(host.head("u")?, None, "a refused job created the document");
    host.applied(note("u", "first"))?;
    let failure =
        host.failed(note("u", "lost").action("REFUSE", Value::Null).action("NOTE", json!({"text": "lost"})))?;
    assert_eq!(failure.metadata.action_index, Some(1));
    host.applied(note("u", "second"))?;
    assert_eq!(host.state("u")?, json!({"notes": ["first", "second"]}));
    Ok(())
}

#[test]
fn a_trap_in_the_middle_of_a_job_leaves_the_document_as_it_was() -> Result<()> {
    let host = Host::start()?;
    let trapping =
        || note("u", "lost").action("PANIC_AFTER_CHANGE", Value::Null).action("NOTE", json!({"text": "never reached"}));
    let failure = host.failed(trapping())?;
    assert_eq!((failure.code, failure.metadata.reason), (JobErrorCode::LibraryError, Some(Reason::Trap)));
    assert_eq!(host.head("u")?, None, "a trapped job created the document");

    host.applied(note("u", "first"))?;
    for _ in 0..3 {
        let failure = host.failed(trapping())?;
        assert_eq!(failure.metadata.reason, Some(Reason::Trap));
        assert_eq!(failure.metadata.action_index, Some(1));
    }
    host.applied(note("u", "second"))?;
    assert_eq!(host.state("u")?, json!({"notes": ["first", "second"]}));
    assert_eq!(host.head("u")?.context("it exists")?.revision, 3);
    Ok(())
}

#[test]
fn a_document_begins_with_its_creation() -> Result<()> {
    let host = Host::start()?;
    let result = host.applied(job(COUNTER, "c").fixed("one", "INCREMENT", json!({"by": 1})).fixed(
        "two",
        "INCREMENT",
        json!({"by": 2}),
    ))?;
    let stored = host.operations("c")?;
    let listed: Vec<_> = stored.iter().map(|stored| stored.operation.clone()).collect();
    assert_eq!(result.operations, listed);
    assert_eq!(stored.iter().map(|stored| stored.sequence).collect::<Vec<_>>(), [0, 1, 2]);

    let creation = &listed[0];
    assert_eq!((creation.action.action_type.as_str(), creation.action.scope.as_str()), ("CREATE_DOCUMENT", "document"));
    let details = json!({"model": COUNTER, "version": 1, "documentId": "c"});
    assert_eq!(serde_json::from_str::<Value>(creation.action.input.as_str())?, details);
    assert_eq!((creation.index, creation.skip), (0, 0));
    assert_eq!(creation.timestamp_utc_ms.as_str(), NOON);

    let streams: Vec<_> = listed[1..].iter().map(|it| (it.action.scope.as_str(), it.index, it.skip)).collect();
    assert_eq!(streams, [("global", 0, 0), ("global", 1, 0)]);
    // printf '{"value":3}' | openssl dgst -sha256 -binary | base64
    assert_eq!(listed[2].hash.as_str(), "1CjhWzb/Bk4itvjbYL16Wbz8B6BMzQ8V2altwGDHLjw=");

    host.applied(job(COUNTER, "c").action("RESET", Value::Null))?;
    let last = host.operations("c")?.pop().context("there are operations")?;
    assert_eq!((last.sequence, last.operation.index), (3, 2));
    Ok(())
}

#[test]
fn a_head_says_where_every_scope_stands() -> Result<()> {
    let host = Host::start()?;
    host.applied(job(COUNTER, "c").action("INCREMENT", json!({"by": 1})).action("INCREMENT", json!({"by": 2})))?;
    let head = host.head("c")?.context("it exists")?;
    assert_eq!((head.document_type.as_str(), head.revision), (COUNTER, 3));
    let scope = |name: &str| head.scope(&Scope::from(name)).map(|scope| (scope.next_index, scope.hash.clone()));
    assert_eq!(scope("global"), Some((2, state_hash(br#"{"value":3}"#))));
    let creation = br#"{"documentId":"c","model":"example/counter","version":1}"#;
    assert_eq!(scope("document"), Some((1, state_hash(creation))));
    Ok(())
}

#[test]
fn an_action_that_was_applied_is_not_applied_again() -> Result<()> {
    let host = Host::start()?;
    let first = host.applied(job(COUNTER, "c").fixed("a", "INCREMENT", json!({"by": 2})))?;
    let head = host.head("c")?;
    // Another time and another spelling of the same action.
    let again = host.applied(job(COUNTER, "c").draft(json!({"id": "a", "type": "INCREMENT", "input": {"by": 2.0}})))?;
    assert_eq!(again.operations, first.operations[1..]);
    assert_eq!(host.head("c")?, head);

    let mixed = host.applied(job(COUNTER, "c").fixed("a", "INCREMENT", json!({"by": 2})).fixed(
        "b",
        "INCREMENT",
        json!({"by": 3}),
    ))?;
    assert_eq!(mixed.operations.iter().map(|it| it.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(host.state("c")?, json!({"value": 5}));
    Ok(())
}

#[test]
fn another_action_under_a_known_id_is_refused() -> Result<()> {
    let host = Host::start()?;
    host.applied(job(COUNTER, "c").fixed("a", "INCREMENT", json!({"by": 2})))?;
    let others = [("INCREMENT", json!({"by": 3})), ("DECREMENT", json!({"by": 2}))];
    for (action, input) in others {
        let failure = host.failed(job(COUNTER, "c").action("RESET", Value::Null).fixed("a", action, input))?;
        assert_eq!(failure.code, JobErrorCode::RebaseFailed);
        assert_eq!((failure.metadata.action_index, failure.metadata.attempts), (Some(1), 1));
        assert!(failure.message.contains("`a`"), "{}", failure.message);
    }
    host.applied(job(COUNTER, "c").action("INCREMENT", json!({"by": 1})))?;
    assert_eq!(host.state("c")?, json!({"value": 3}));
    Ok(())
}

#[test]
fn an_action_made_for_another_position_is_refused() -> Result<()> {
    let host = Host::start()?;
    let after = |index: i64| {
        let context = json!({"prevOpIndex": index});
        job(COUNTER, "c").draft(json!({"type": "INCREMENT", "input": {"by": 1}, "context": context}))
    };
    host.applied(after(-1))?;
    host.applied(after(0))?;
    for index in [-1, 0, 2] {
        assert_eq!(host.failed(after(index))?.code, JobErrorCode::RebaseFailed, "{index}");
    }
    let seen = |hash: &str| {
        let context = json!({"prevOpIndex": 1, "prevOpHash": hash});
        job(COUNTER, "c").draft(json!({"type": "INCREMENT", "input": {"by": 1}, "context": context}))
    };
    assert_eq!(host.failed(seen("another"))?.code, JobErrorCode::HashMismatch);
    host.applied(seen(state_hash(br#"{"value":2}"#).as_str()))?;
    assert_eq!(host.state("c")?, json!({"value": 3}));
    Ok(())
}

#[test]
fn a_job_whose_resulting_hash_is_right_is_applied() -> Result<()> {
    let host = Host::start()?;
    for value in 1..=3 {
        let hash = state_hash(format!(r#"{{"value":{value}}}"#).as_bytes());
        let job = job(COUNTER, "c").action("INCREMENT", json!({"by": 1})).with("resultingHash", json!(hash));
        host.applied(job)?;
    }
    Ok(())
}

#[test]
fn a_job_whose_resulting_hash_is_wrong_is_not_applied() -> Result<()> {
    let host = Host::start()?;
    let wrong = || {
        let hash = state_hash(br#"{"value":7}"#);
        job(COUNTER, "c").action("INCREMENT", json!({"by": 1})).with("resultingHash", json!(hash))
    };
    assert_eq!(host.failed(wrong())?.code, JobErrorCode::HashMismatch);
    assert_eq!(host.head("c")?, None, "a mismatch created the document");
    host.applied(job(COUNTER, "c").action("INCREMENT", json!({"by": 1})))?;
    let failure = host.failed(wrong())?;
    assert_eq!((failure.code, failure.metadata.attempts), (JobErrorCode::HashMismatch, 1));
    assert_eq!(failure.metadata.reason, None);
    // The instance had gone ahead; the next job must not build on that.
    host.applied(job(COUNTER, "c").action("INCREMENT", json!({"by": 1})))?;
    assert_eq!(host.state("c")?, json!({"value": 2}));
    Ok(())
}

#[test]
fn a_job_that_was_applied_may_be_handed_in_again_whatever_came_after_it() -> Result<()> {
    let host = Host::start()?;
    let hash = state_hash(br#"{"value":1}"#);
    let again = || job(COUNTER, "c").fixed("a", "INCREMENT", json!({"by": 1})).with("resultingHash", json!(hash));
    let first = host.applied(again())?;
    host.applied(job(COUNTER, "c").action("INCREMENT", json!({"by": 1})))?;
    assert_eq!(host.applied(again())?.operations, first.operations[1..]);
    assert_eq!(host.state("c")?, json!({"value": 2}));
    Ok(())
}

#[test]
fn branches_of_a_document_have_histories_of_their_own() -> Result<()> {
    let host = Host::start()?;
    host.applied(job(COUNTER, "c").action("INCREMENT", json!({"by": 1})))?;
    host.applied(job(COUNTER, "c").with("branch", json!("draft")).action("INCREMENT", json!({"by": 5})))?;
    let draft = LaneKey { document: DocumentId::from("c"), branch: Branch::from("draft") };
    let head = host.head_of(&draft)?.context("the branch exists")?;
    assert_eq!(&*head.snapshot()[0].json, br#"{"value":5}"#);
    assert_eq!(host.state("c")?, json!({"value": 1}));
    assert_eq!((host.operations("c")?.len(), host.operations_of(&draft)?.len()), (2, 2));
    Ok(())
}

#[test]
fn a_result_is_spelled_as_the_interface_says() -> Result<()> {
    let host = Host::start()?;
    let result = host.applied(job(COUNTER, "c").fixed("a", "INCREMENT", json!({"by": 1})))?;
    let json = serde_json::to_value(&*result)?;
    let keys = |value: &Value| value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
    let fields = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(keys(&json), fields(&["job", "success", "completedAt", "duration", "operations", "metadata"]));
    assert_eq!(keys(&json["job"]), fields(&["id", "documentId", "scopes", "branch", "actions", "status"]));
    let operation = fields(&["id", "index", "skip", "timestampUtcMs", "hash", "action"]);
    assert_eq!(keys(&json["operations"][1]), operation);
    let action = json!({"id": "a", "type": "INCREMENT", "timestampUtcMs": NOON, "input": {"by": 1}, "scope": "global"});
    assert_eq!(json["operations"][1]["action"], action);
    assert_eq!((&json["job"]["status"], &json["success"]), (&json!("COMPLETED"), &json!(true)));

    let metadata = &json["metadata"];
    assert_eq!((&metadata["attempts"], &metadata["documentType"]), (&json!(1), &json!(COUNTER)));
    assert!(metadata["queuedMs"].is_number() && json["duration"].is_number(), "{json}");
    assert!(metadata["fuelConsumed"].as_u64() > Some(0), "{metadata}");
    assert_eq!(metadata["plugin"]["documentType"], COUNTER);
    assert!(metadata["plugin"]["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{metadata}");

    let failed = serde_json::to_value(&*host.run(job(UNRULY, "u").action("REFUSE", Value::Null))?)?;
    assert_eq!((&failed["errorCode"], &failed["job"]["status"]), (&json!(90005), &json!("FAILED")));
    assert_eq!((&failed["operations"], &failed["metadata"]["reason"]), (&json!([]), &json!("rejected")));
    Ok(())
}
