//! A model in JavaScript, with an engine and a standard library that want WASI.

use anyhow::{Context as _, Result, ensure};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use reductor_core::{JobResult, Reducer as _};
use serde_json::{Value, json};

use crate::support::{Host, JobText, Setup, TODO_LIST, done, guest_log, javascript, job, keep_guest_logs};

/// Something to do to a list, with few enough ids that most of them are met again.
fn action() -> impl Strategy<Value = (&'static str, Value)> {
    let id = prop_oneof![
        4 => (0..6_u8).prop_map(|number| format!("item {number}")),
        2 => prop::sample::select(vec!["", "é", "\u{1F9A6}", "e\u{301}", "\"\\\u{7f}\u{2028}", "__proto__", "0"]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let text = prop_oneof![
        4 => any::<String>(),
        1 => prop::sample::select(vec!["", " \t\n", "\u{85}", "\u{feff}", "\u{3000}\u{2029}", "\u{200b}"]).prop_map(str::to_owned),
    ];
    let junk =
        prop::sample::select(vec![json!(null), json!({}), json!([]), json!(1.5e300), json!({"id": 1, "text": "x"})]);
    prop_oneof![
        6 => (id.clone(), text.clone()).prop_map(|(id, text)| ("ADD", json!({"id": id, "text": text}))),
        3 => id.clone().prop_map(|id| ("COMPLETE", json!({"id": id}))),
        2 => (id.clone(), text).prop_map(|(id, text)| ("RENAME", json!({"text": text, "id": id}))),
        1 => id.prop_map(|id| ("REMOVE", json!({"id": id, "more": [1, {}]}))),
        1 => Just(("CLEAR_COMPLETED", Value::Null)),
        1 => (prop::sample::select(vec!["ADD", "COMPLETE", "RENAME", "REMOVE", "CLEAR_COMPLETED"]), junk),
    ]
}

/// What of a result the language of the model must not change.
fn outcome(result: &JobResult) -> Value {
    let rejection = result.metadata.as_ref().and_then(|metadata| metadata.rejection_code.clone());
    let operations: Vec<_> = result.operations.iter().map(|it| json!([it.id, it.index, it.hash])).collect();
    json!([result.success, result.error_code, rejection, operations])
}

/// Runs a history on both hosts, and says where they part.
fn compare(rust: &Host, javascript: &Host, document: &str, history: &[(&'static str, Value)]) -> Result<usize> {
    let mut refused = 0;
    for (number, (action, input)) in history.iter().enumerate() {
        let job = || job(TODO_LIST, document).fixed(&format!("action {number}"), action, input.clone());
        let (expected, found) = (rust.run(job())?, javascript.run(job())?);
        let (expected, found) = (outcome(&expected), outcome(&found));
        ensure!(expected == found, "{action} {input}: Rust {expected}, JavaScript {found}");
        refused += usize::from(expected[0] == json!(false));
    }
    ensure!(rust.head(document)?.is_some() == javascript.head(document)?.is_some(), "only one created the document");
    if rust.head(document)?.is_some() {
        let (expected, found) = (rust.state(document)?, javascript.state(document)?);
        ensure!(expected == found, "the states differ: {expected} and {found}");
    }
    Ok(refused)
}

#[test]
fn random_histories_have_the_hashes_of_the_model_in_rust() -> Result<()> {
    let (rust, javascript) = (Host::start()?, Setup::new().javascript()?.start()?);
    let (mut documents, mut refused, mut jobs) = (0, 0, 0);
    let mut runner = TestRunner::new(Config { cases: 32, failure_persistence: None, ..Config::default() });
    let histories = prop::collection::vec(action(), 1..60);
    let ran = std::cell::RefCell::new((&mut documents, &mut refused, &mut jobs));
    runner.run(&histories, |history| {
        let mut ran = ran.borrow_mut();
        *ran.0 += 1;
        *ran.2 += history.len();
        let compared = compare(&rust, &javascript, &format!("list {}", ran.0), &history);
        *ran.1 += compared.map_err(|error| TestCaseError::fail(error.to_string()))?;
        Ok(())
    })?;
    assert!(refused > 50 && jobs - refused > 50, "{refused} of {jobs} jobs were refused, which proves little");
    Ok(())
}

/// Actions that look at what JavaScript finds around itself.
fn curious() -> Vec<JobText> {
    let mut jobs = Vec::new();
    for round in 0..4 {
        let id = |name: &str| format!("{name} {round}");
        jobs.push(job(TODO_LIST, "curious").fixed(&id("look"), "LOOK_AROUND", json!({"id": id("look")})));
        let wait = json!({"id": id("wait"), "delays": [3_600_000, 0, 60_000]});
        jobs.push(job(TODO_LIST, "curious").fixed(&id("wait"), "WAIT", wait));
        jobs.push(job(TODO_LIST, "curious").fixed(&id("no"), "REMOVE", json!({"id": "no such"})));
    }
    jobs
}

fn history(host: &Host) -> Result<Vec<Value>> {
    curious().into_iter().map(|job| Ok(outcome(&*host.run(job)?))).collect()
}

#[test]
fn clocks_and_chance_are_the_same_on_fresh_instances_resident_ones_and_other_hosts() -> Result<()> {
    let resident = Setup::new().javascript()?.start()?;
    let expected = history(&resident)?;
    assert_eq!(history(&Setup::new().javascript()?.no_residents().start()?)?, expected);
    assert_eq!(history(&Setup::new().javascript()?.start()?)?, expected);

    let items = resident.state("curious")?["items"].take();
    let texts = items.as_array().context("the items are a list")?.iter().filter_map(|item| item["text"].as_str());
    let texts = texts.map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    assert_eq!(texts.len(), 8, "{texts:#?}");
    let looked: Vec<_> = texts.iter().step_by(2).collect();
    for look in &looked {
        assert_eq!((&look["now"], &look["date"]), (&json!(1_772_366_400_000_u64), &json!("2026-03-01T12:00:00.000Z")));
    }
    assert!(looked[0]["random"] != looked[1]["random"] && looked[0]["uuid"] != looked[1]["uuid"], "{looked:#?}");
    for wait in texts.iter().skip(1).step_by(2) {
        assert_eq!(*wait, json!({"order": [0, 60_000, 3_600_000], "took": 3_600_000}));
    }
    Ok(())
}

#[test]
fn a_document_outlives_the_garbage_that_its_engine_piles_up() -> Result<()> {
    let host = Setup::new().javascript()?.start()?;
    let add =
        |number: u32| job(TODO_LIST, "l").action("ADD", json!({"id": number.to_string(), "text": "x".repeat(500)}));
    let rename = |number: u32| job(TODO_LIST, "l").action("RENAME", json!({"id": "0", "text": number.to_string()}));
    let jobs = (0..100).map(add).chain((0..1_000).map(rename));
    for ticket in jobs.map(|job| host.submit(job)).collect::<Result<Vec<_>>>()? {
        let result = done(ticket)?;
        let metadata = result.metadata.as_ref().context("results have metadata")?;
        ensure!(result.success && metadata.attempts == 1, "{:?} {metadata:?}", result.error_message);
    }
    Ok(())
}

#[test]
fn the_console_goes_to_the_log() -> Result<()> {
    keep_guest_logs();
    let host = Setup::new().javascript()?.start()?;
    host.applied(job(TODO_LIST, "console").action("LOOK_AROUND", json!({"id": "look"})))?;
    let log = guest_log("console");
    for (level, text) in
        [("INFO", "looked around at 20"), ("WARN", "this goes to stderr"), ("INFO", "and this to the host")]
    {
        assert!(log.iter().any(|line| line.contains(level) && line.contains(text)), "{text}: {log:#?}");
    }
    assert_eq!(log.len(), 3, "{log:#?}");
    Ok(())
}

#[test]
fn a_javascript_engine_is_let_in_with_what_it_wants_of_wasi() -> Result<()> {
    let plugin = javascript()?;
    for wanted in
        ["wasi:clocks/wall-clock@0.2.", "wasi:random/random@0.2.", "wasi:io/streams@0.2.", "wasi:filesystem/types@0.2."]
    {
        assert!(plugin.imports().iter().any(|import| import.starts_with(wanted)), "{wanted}: {:?}", plugin.imports());
    }
    assert!(plugin.manifest().canonical);
    Ok(())
}
