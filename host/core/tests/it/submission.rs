//! What becomes a job, what does not, and which field a refusal names.

use reductor_core::{Accepted, ActionSchema, DocumentType, Limits, Manifest, Refusal, Scope, Submission, Timestamp};

/// Reads a submission and admits it for a model with the scopes `global` and `local`.
fn admit(text: &str) -> Result<Accepted, Refusal> {
    let limits = Limits { actions_per_job_max: 3, action_input_bytes_max: 16, name_bytes_max: 8, ..Limits::default() };
    Submission::from_json(text)?.admit(&manifest(), &limits, Timestamp { ms: 1_500 })
}

fn manifest() -> Manifest {
    Manifest {
        document_type: DocumentType::from("test/list"),
        version: 1,
        scopes: vec![Scope::from("global"), Scope::from("local")],
        actions: Vec::<ActionSchema>::new(),
        canonical: true,
    }
}

/// Asserts that the submission is refused at `field`, in words that contain `words`.
fn refused(text: &str, field: &str, words: &str) {
    let refusal = admit(text).expect_err(text);
    assert_eq!(refusal.field().unwrap_or_default(), field, "{text}: {refusal}");
    let message = refusal.to_string();
    assert!(message.contains(words), "{text}: {message}");
    assert!(message.starts_with(field), "a message begins with the field: {message}");
}

/// The same for a submission with these actions, in JSON.
fn actions_refused(actions: &str, field: &str, words: &str) {
    refused(&format!(r#"{{"documentId": "d", "actions": {actions}}}"#), field, words);
}

#[test]
fn text_that_is_not_json_is_refused_with_its_place() {
    refused("", "", "EOF");
    refused("hello", "", "expected value (column 1)");
    refused(r#"{"documentId": "d", "actions": [{"type": "A"}]} {}"#, "", "trailing characters");
    refused(r#"{"documentId": "d", "actions": [{"type": "A""#, "actions[0]", "EOF");
    refused(
        r#"{"documentId": "d", "actions": [{"type": "A", "input": {1}}]}"#,
        "actions[0].input",
        "key must be a string",
    );
    refused(r#"{"documentId": "d", "actions": [{"type": "A", "input": NaN}]}"#, "actions[0].input", "expected value");
}

#[test]
fn json_that_is_no_object_is_refused() {
    refused("[]", "", "invalid length 0");
    refused("null", "", "invalid type: null");
    refused("\"text\"", "", "invalid type: string");
}

#[test]
fn missing_fields_are_named() {
    refused("{}", "", "missing field `documentId`");
    refused(r#"{"documentId": "d"}"#, "", "missing field `actions`");
    actions_refused(r#"[{"type": "A"}, {"input": 1}]"#, "actions[1]", "missing field `type`");
}

#[test]
fn fields_of_the_wrong_type_are_named() {
    refused(r#"{"documentId": 7, "actions": []}"#, "documentId", "invalid type: integer `7`");
    refused(r#"{"documentId": "d", "branch": [], "actions": []}"#, "branch", "invalid type");
    refused(r#"{"documentId": "d", "actions": {}}"#, "actions", "expected a sequence");
    refused(r#"{"documentId": "d", "scopes": "global", "actions": []}"#, "scopes", "expected a sequence");
    refused(r#"{"documentId": "d", "config": {"maxRetries": -1}, "actions": []}"#, "config.maxRetries", "u32");
    actions_refused(r#"["A"]"#, "actions[0]", "invalid type");
    actions_refused(r#"[{"type": true}]"#, "actions[0].type", "invalid type: boolean");
    actions_refused(
        r#"[{"type": "A", "context": {"prevOpIndex": "1"}}]"#,
        "actions[0].context.prevOpIndex",
        "invalid type: string",
    );
}

#[test]
fn unknown_and_repeated_fields_are_refused_wherever_they_are() {
    refused(r#"{"documentId": "d", "action": []}"#, "action", "unknown field `action`");
    refused(r#"{"documentId": "d", "documentId": "e", "actions": []}"#, "", "duplicate field `documentId`");
    refused(r#"{"documentId": "d", "config": {"retries": 1}, "actions": []}"#, "config.retries", "unknown field");
    actions_refused(r#"[{"type": "A", "scopes": ["global"]}]"#, "actions[0].scopes", "unknown field `scopes`");
    actions_refused(r#"[{"type": "A", "context": {"prev": 1}}]"#, "actions[0].context.prev", "unknown field `prev`");
}

#[test]
fn a_timestamp_is_iso_8601_in_utc() {
    for text in ["yesterday", "2026-03-01", "2026-03-01T12:00:00+01:00", "1772366400000"] {
        let actions = format!(r#"[{{"type": "A", "timestampUtcMs": "{text}"}}]"#);
        actions_refused(&actions, "actions[0].timestampUtcMs", "is not an ISO 8601 date and time in UTC");
    }
}

#[test]
fn names_are_neither_empty_nor_too_long_nor_unprintable() {
    let refusals =
        [("", "must not be empty"), ("123456789", "has 9 bytes; 8 are allowed"), (r"a\nb", "control characters")];
    for (name, words) in refusals {
        refused(&format!(r#"{{"documentId": "{name}", "actions": [{{"type": "A"}}]}}"#), "documentId", words);
        let branch = format!(r#"{{"documentId": "d", "branch": "{name}", "actions": [{{"type": "A"}}]}}"#);
        refused(&branch, "branch", words);
        actions_refused(&format!(r#"[{{"type": "{name}"}}]"#), "actions[0].type", words);
        actions_refused(&format!(r#"[{{"type": "A"}}, {{"type": "B", "id": "{name}"}}]"#), "actions[1].id", words);
    }
}

#[test]
fn a_job_has_some_actions_and_not_too_many() {
    actions_refused("[]", "actions", "must not be empty");
    let four = r#"[{"type": "A"}, {"type": "A"}, {"type": "A"}, {"type": "A"}]"#;
    actions_refused(four, "actions", "has 4 actions; 3 are allowed in one job");
}

#[test]
fn an_input_has_a_size_limit_that_counts_its_own_bytes() {
    let input = |text: &str| format!(r#"[{{"type": "A"}}, {{"type": "A", "input": {text}}}]"#);
    actions_refused(&input(r#""123456789012345""#), "actions[1].input", "has 17 bytes; 16 are allowed");
    let exactly = format!(r#"{{"documentId": "d", "actions": {}}}"#, input(r#""12345678901234""#));
    assert!(admit(&exactly).is_ok());
}

#[test]
fn an_id_names_one_action_of_a_scope() {
    actions_refused(
        r#"[{"type": "A", "id": "x"}, {"type": "B", "id": "x"}]"#,
        "actions[1].id",
        "`x` is the id of an earlier action",
    );
    let streams =
        r#"{"documentId": "d", "actions": [{"type": "A", "id": "x"}, {"type": "B", "id": "x", "scope": "local"}]}"#;
    assert!(admit(streams).is_ok(), "scopes are streams of their own");
}

#[test]
fn scopes_are_those_of_the_model() {
    actions_refused(r#"[{"type": "A", "scope": "elsewhere"}]"#, "actions[0].scope", "it has: `global`, `local`");
    actions_refused(r#"[{"type": "A", "scope": "document"}]"#, "actions[0].scope", "has no scope `document`");
    let scopes = |scopes: &str| format!(r#"{{"documentId": "d", "scopes": {scopes}, "actions": [{{"type": "A"}}]}}"#);
    refused(&scopes(r#"["global", "x"]"#), "scopes[1]", "has no scope `x`");
    refused(&scopes(r#"["global", "global"]"#), "scopes[1]", "`global` is named twice");
    refused(&scopes(r#"["local"]"#), "scopes", "lacks `global`, the scope of actions[0]");
    refused(&scopes("[]"), "scopes", "lacks `global`, the scope of actions[0]");
}

#[test]
fn what_is_left_out_is_filled_in() -> Result<(), Refusal> {
    let accepted = admit(r#"{"documentId": "d", "actions": [{"type": "A"}, {"type": "B", "scope": "local"}]}"#)?;
    let job = serde_json::to_value(&accepted.job).expect("a job has a JSON form");
    assert_eq!(job["branch"], "main");
    assert_eq!(job["scopes"], serde_json::json!(["global", "local"]), "those of the actions");
    assert_eq!(job["status"], "PENDING");
    assert_eq!(job["actions"][0]["scope"], "global");
    assert_eq!(job["actions"][0]["timestampUtcMs"], "1970-01-01T00:00:01.500Z", "now");
    assert_eq!(job["actions"][0]["input"], serde_json::Value::Null);
    assert_ne!(job["actions"][0]["id"], job["actions"][1]["id"], "generated ids differ");
    assert_eq!(job["id"].as_str().map(str::len), Some(36), "a UUID");
    assert_eq!(accepted.document_type.as_str(), "test/list");
    assert_eq!((accepted.named_type, accepted.config, accepted.causation), (None, None, None));
    Ok(())
}

#[test]
fn what_is_given_is_kept() -> Result<(), Refusal> {
    let accepted = admit(
        r#"{"documentId": "d", "documentType": "test/list", "branch": "b", "scopes": ["local", "global"],
            "resultingHash": "h", "config": {"maxRetries": 0},
            "actions": [{"id": "x", "type": "A", "timestampUtcMs": "2026-03-01T12:00:00Z", "scope": "local",
                         "input": [1], "context": {"prevOpIndex": 4, "nonce": "n"}}]}"#,
    )?;
    let job = serde_json::to_value(&accepted.job).expect("a job has a JSON form");
    assert_eq!(job["scopes"], serde_json::json!(["local", "global"]));
    assert_eq!((&job["branch"], &job["resultingHash"]), (&"b".into(), &"h".into()));
    let action = serde_json::json!({
        "id": "x", "type": "A", "timestampUtcMs": "2026-03-01T12:00:00Z", "scope": "local",
        "input": [1], "context": {"prevOpIndex": 4, "nonce": "n"},
    });
    assert_eq!(job["actions"][0], action);
    assert_eq!(accepted.named_type, Some(DocumentType::from("test/list")));
    assert_eq!(accepted.config.and_then(|config| config.max_retries), Some(0));
    Ok(())
}

#[test]
fn an_input_keeps_its_spelling_byte_for_byte() -> Result<(), Refusal> {
    let spellings = [
        "null",
        "-0",
        "1.0",
        "1e400",
        "123456789012345678901234567890",
        r#""\u00e9\/""#,
        r#"{ "b" : 1 , "a":[ ], "b":2 }"#,
        "[1,\n\t2]",
    ];
    for input in spellings {
        let text = format!(r#"{{"documentId": "d", "actions": [{{"input": {input} , "type": "A"}}]}}"#);
        let submission = Submission::from_json(&text)?;
        assert_eq!(submission.actions[0].input.as_str(), input);
        let written = serde_json::to_string(&submission.actions[0].input).expect("an input has a JSON form");
        assert_eq!(written, input);
    }
    Ok(())
}
