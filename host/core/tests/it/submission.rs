//! What becomes a job, what does not, and which field a refusal names.

use reductor_core::{Accepted, ActionSchema, DocumentType, Limits, Manifest, Refusal, Scope, Submission, Timestamp};

/// Reads a submission and admits it for a model with the scopes `global` and `local`.
fn admit(text: &str) -> Result<Accepted, Refusal> {
    let limits = Limits {
        actions_per_job_max: 3,
        action_input_bytes_max: 16,
        name_bytes_max: 9,
        context_bytes_max: 24,
        signatures_per_action_max: 2,
        ..Limits::default()
    };
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
    refused("null", "", "expected an object with `documentId` and `actions`, found null");
    refused("\"text\"", "", "found string");
}

#[test]
fn missing_fields_are_named() {
    refused("{}", "", "missing field `documentId`");
    refused(r#"{"documentId": "d"}"#, "", "missing field `actions`");
    actions_refused(r#"[{"type": "A"}, {"input": 1}]"#, "actions[1]", "missing field `type`");
}

#[test]
fn fields_of_the_wrong_type_are_named() {
    refused(r#"{"documentId": 7, "actions": []}"#, "documentId", "found integer `7`");
    refused(r#"{"documentId": "d", "branch": [], "actions": []}"#, "branch", "found a list");
    refused(r#"{"documentId": "d", "actions": {}}"#, "actions", "expected a list, found an object");
    refused(r#"{"documentId": "d", "scopes": "global", "actions": []}"#, "scopes", "expected a list");
    refused(
        r#"{"documentId": "d", "config": {"maxRetries": -1}, "actions": []}"#,
        "config.maxRetries",
        "a whole number",
    );
    actions_refused(r#"["A"]"#, "actions[0]", "expected an object with `type`");
    actions_refused(r#"[{"type": true}]"#, "actions[0].type", "found boolean");
    actions_refused(
        r#"[{"type": "A", "context": {"prevOpIndex": "1"}}]"#,
        "actions[0].context.prevOpIndex",
        "found string",
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
        [("", "must not be empty"), ("1234567890", "has 10 bytes; 9 are allowed"), (r"a\nb", "control characters")];
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
fn a_job_has_a_size_limit_over_all_of_its_actions() {
    let admit = |actions: &str, job_bytes_max: usize| {
        let limits = Limits { job_bytes_max, ..Limits::default() };
        let text = format!(r#"{{"documentId": "d", "actions": [{actions}]}}"#);
        Submission::from_json(&text)?.admit(&manifest(), &limits, Timestamp { ms: 0 })
    };
    // An id of 1 byte, a type of 1, a scope of 6, an input of 10 and contexts of 7 and 3.
    let plain = r#"{"id": "x", "type": "A", "input": "12345678", "context": {"nonce": "1234567"}}"#;
    let signer = r#"{"user": {"address": "", "networkId": "", "chainId": 1}, "app": {"name": "", "key": ""},
                     "signatures": [["1", "", "2", "3", ""]]}"#;
    let signed = format!(r#"{{"id": "y", "type": "A", "input": "12345678", "context": {{"signer": {signer}}}}}"#);
    let actions = format!("{plain}, {signed}");
    assert!(admit(&actions, 46).is_ok());
    let refusal = admit(&actions, 45).expect_err("it is a byte too long");
    assert_eq!(refusal.to_string(), "actions: have 46 bytes; 45 are allowed in one job");
    let default = Limits::default();
    assert!(default.job_bytes_max <= 64 << 20 && default.job_bytes_max >= default.action_input_bytes_max);
}

#[test]
fn the_context_of_an_action_has_size_limits_and_the_field_is_named() {
    let nonce = "n".repeat(64 << 20);
    let huge = format!(r#"{{"documentId": "d", "actions": [{{"type": "A", "context": {{"nonce": "{nonce}"}}}}]}}"#);
    let refusal = admit(&huge).expect_err("64 MiB of nonce");
    assert_eq!(refusal.field(), Some("actions[0].context.nonce"));
    let with_context = |context: &str| format!(r#"[{{"type": "A"}}, {{"type": "A", "context": {context}}}]"#);
    let long = "1234567890123456789012345";
    let signer = |address: &str, network: &str, name: &str, key: &str, signatures: &str| {
        format!(
            r#"{{"nonce": "{}", "signer": {{"user": {{"address": "{address}", "networkId": "{network}", "chainId": 1}},
                 "app": {{"name": "{name}", "key": "{key}"}}, "signatures": [{signatures}]}}}}"#,
            "1234"
        )
    };
    let one = r#"["1", "2", "3", "4", "5"]"#;
    let cases = [
        (format!(r#"{{"prevOpHash": "{long}"}}"#), "prevOpHash", "makes the context 25 bytes long; 24 are allowed"),
        (signer(long, "", "", "", ""), "signer.user.address", "29 bytes"),
        (signer("a", long, "", "", ""), "signer.user.networkId", "30 bytes"),
        (signer("a", "b", long, "", ""), "signer.app.name", "31 bytes"),
        (signer("a", "b", "c", long, ""), "signer.app.key", "32 bytes"),
        (signer("abcdefg", "hijklmn", "o", "p", one), "signer.signatures", "25 bytes"),
        (signer("", "", "", "", &[one; 3].join(",")), "signer.signatures", "has 3 signatures; 2 are allowed"),
    ];
    for (context, field, words) in cases {
        actions_refused(&with_context(&context), &format!("actions[1].context.{field}"), words);
    }
    let exactly = with_context(&signer("abcdefg", "hijklm", "o", "p", one));
    assert!(admit(&format!(r#"{{"documentId": "d", "actions": {exactly}}}"#)).is_ok());
}

#[test]
fn names_have_no_characters_that_a_reader_does_not_see() {
    let unseen = [
        "\u{200b}",
        "\u{202e}",
        "\u{61c}",
        "\u{ad}",
        "\u{e0041}",
        "\u{feff}",
        "\u{fe0f}",
        "\u{9b}",
        "\u{a0}",
        "\u{3000}",
    ];
    for name in unseen.map(|unseen| format!("a{unseen}")) {
        let words = "characters, such as";
        refused(&format!(r#"{{"documentId": "{name}", "actions": [{{"type": "A"}}]}}"#), "documentId", words);
        let branch = format!(r#"{{"documentId": "d", "branch": "{name}", "actions": [{{"type": "A"}}]}}"#);
        refused(&branch, "branch", words);
        let model = format!(r#"{{"documentId": "d", "documentType": "{name}", "actions": [{{"type": "A"}}]}}"#);
        refused(&model, "documentType", words);
        let key = format!(r#"{{"documentId": "d", "idempotencyKey": "{name}", "actions": [{{"type": "A"}}]}}"#);
        refused(&key, "idempotencyKey", words);
        let job = format!(r#"{{"documentId": "d", "dependsOn": ["{name}"], "actions": [{{"type": "A"}}]}}"#);
        refused(&job, "dependsOn[0]", words);
        actions_refused(&format!(r#"[{{"type": "{name}"}}]"#), "actions[0].type", words);
        actions_refused(&format!(r#"[{{"type": "A", "id": "{name}"}}]"#), "actions[0].id", words);
    }
    refused(
        "{\"documentId\": \"a\u{200b}\", \"actions\": [{\"type\": \"A\"}]}",
        "documentId",
        r"must not contain invisible characters, such as \u{200b}",
    );
    assert!(admit(r#"{"documentId": "é字🦀", "actions": [{"type": "A b"}]}"#).is_ok());
}

#[test]
fn a_resulting_hash_is_no_longer_than_a_name() {
    refused(
        r#"{"documentId": "d", "resultingHash": "1234567890", "actions": [{"type": "A"}]}"#,
        "resultingHash",
        "has 10 bytes; 9 are allowed",
    );
}

#[test]
fn two_streams_or_actions_never_share_an_operation_id() {
    // They are joined by colons, and only an action's id, which comes last, may have one.
    refused(r#"{"documentId": "d:e", "actions": [{"type": "A"}]}"#, "documentId", "must not contain `:`");
    refused(r#"{"documentId": "d", "branch": "b:c", "actions": [{"type": "A"}]}"#, "branch", "must not contain `:`");
    let split = Manifest { scopes: vec![Scope::from("global"), Scope::from("a:b")], ..manifest() };
    let admit_split = |text: &str| {
        let submission = Submission::from_json(text).expect("a submission");
        submission.admit(&split, &Limits::default(), Timestamp { ms: 0 })
    };
    let action = r#"{"documentId": "d", "actions": [{"type": "A", "scope": "a:b"}]}"#;
    assert_eq!(admit_split(action).expect_err("a colon").field(), Some("actions[0].scope"));
    let listed = r#"{"documentId": "d", "scopes": ["global", "a:b"], "actions": [{"type": "A"}]}"#;
    assert_eq!(admit_split(listed).expect_err("a colon").field(), Some("scopes[1]"));
    assert!(admit(r#"{"documentId": "d", "actions": [{"type": "A", "id": "x:y:z"}]}"#).is_ok());
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
