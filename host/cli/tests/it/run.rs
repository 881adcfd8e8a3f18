//! `reductor run`.

use std::path::Path;

use anyhow::{Context as _, Result};
use reductor_tests::{COUNTER, UNRULY};
use serde_json::json;

use crate::support::{Ran, file, reductor, reductor_fed, reductor_unread};

/// The jobs of the README's tour.
const TOUR: &str = r#"
{"documentId": "c1", "documentType": "example/counter", "actions": [{"type": "INCREMENT", "input": {"by": 2}}]}
{"documentId": "c1", "actions": [{"type": "INCREMENT", "input": {"by": 40}}, {"type": "DECREMENT", "input": {"by": 1}}]}
{"documentId": "c1", "actions": [{"type": "INCREMENT", "input": {"by": "many"}}]}
"#;

/// A good first line for files whose second is not.
const GOOD: &str = r#"{"documentId": "c1", "documentType": "example/counter", "actions": [{"type": "INCREMENT", "input": {"by": 2}}]}"#;

fn run(plugin: &str, jobs: &Path, more: &[&str]) -> Result<Ran> {
    let jobs = jobs.to_str().context("a path in UTF-8")?;
    reductor([&["run", "--plugin", plugin][..], more, &[jobs]].concat())
}

#[test]
fn the_tour_of_the_readme() -> Result<()> {
    let ran = run(COUNTER, &file("tour.ndjson", TOUR)?, &["--print-state", "c1"])?.fails_with(1)?;
    let [first, second, third, state] = &ran.lines()?[..] else {
        anyhow::bail!("not three results and a state: {}", ran.stdout);
    };
    assert_eq!((&first["success"], &second["success"], &third["success"]), (&json!(true), &json!(true), &json!(false)));
    let kinds = |result: &serde_json::Value| -> Vec<_> {
        let operations = result["operations"].as_array().into_iter().flatten();
        operations.map(|operation| operation["action"]["type"].clone()).collect()
    };
    assert_eq!(kinds(first), ["CREATE_DOCUMENT", "INCREMENT"]);
    assert_eq!(kinds(second), ["INCREMENT", "DECREMENT"]);
    assert_eq!(kinds(third), [""; 0]);
    assert_eq!((&third["errorCode"], &third["metadata"]["reason"]), (&json!(90005), &json!("rejected")));
    assert_eq!((&state["revision"], &state["state"]["global"]), (&json!(4), &json!({"value": 41})));
    assert_eq!(state["hash"]["global"], second["operations"][1]["hash"]);
    assert!(ran.stderr.ends_with("3 jobs: 2 completed, 1 failed\n"), "{}", ran.stderr);
    Ok(())
}

#[test]
fn all_well_is_exit_code_0() -> Result<()> {
    let ran = run(COUNTER, &file("good.ndjson", GOOD)?, &[])?.succeeds()?;
    assert_eq!(ran.lines()?.len(), 1);
    assert_eq!(ran.stderr, "1 job: 1 completed\n");
    let quiet = run(COUNTER, &file("good.ndjson", GOOD)?, &["--quiet"])?.succeeds()?;
    assert_eq!((quiet.lines()?.len(), quiet.stderr.as_str()), (1, ""));
    Ok(())
}

#[test]
fn an_empty_file_is_no_jobs() -> Result<()> {
    let ran = run(COUNTER, &file("empty.ndjson", "\n  \n")?, &[])?.succeeds()?;
    assert_eq!(ran.stdout, "");
    Ok(())
}

#[test]
fn a_file_with_a_bad_line_runs_nothing_and_names_line_and_field() -> Result<()> {
    let cases: [(&str, &str, &[&str]); 12] = [
        ("cut", r#"{"documentId": "c1", "actions": ["#, &["EOF", "(column 33)", "one submission a line"]),
        ("no-json", "increment c1 by 2", &["column 1"]),
        (
            "model",
            r#"{"documentId": "x", "documentType": "no/such", "actions": [{"type": "A"}]}"#,
            &["documentType: ", "`no/such`", "`example/counter`"],
        ),
        ("document", r#"{"documentId": "x", "actions": [{"type": "A"}]}"#, &["documentId: ", "`x`"]),
        ("no-type", r#"{"documentId": "c1", "actions": [{"input": {"by": 1}}]}"#, &["actions[0]: ", "`type`"]),
        ("input", r#"{"documentId": "c1", "actions": [{"type": "INCREMENT", "input": by 1}]}"#, &["actions[0].input"]),
        (
            "scope",
            r#"{"documentId": "c1", "actions": [{"type": "RESET", "scope": "moon"}]}"#,
            &["actions[0].scope: ", "`moon`", "`global`"],
        ),
        ("no-actions", r#"{"documentId": "c1", "actions": []}"#, &["actions: must not be empty"]),
        ("list", "[]", &["an object with `documentId` and `actions`"]),
        ("list-of-actions", r#"{"documentId": "c1", "actions": {}}"#, &["actions: expected a list, found an object"]),
        (
            "dependency",
            r#"{"documentId": "c1", "dependsOn": ["nobody"], "actions": [{"type": "RESET"}]}"#,
            &["dependsOn[0]: ", "no job nobody"],
        ),
        ("field", r#"{"documentId": "c1", "action": [{"type": "RESET"}]}"#, &["`action`"]),
    ];
    for (name, line, words) in cases {
        let file = file(&format!("bad-{name}.ndjson"), format!("{GOOD}\n\n{line}\n"))?;
        let located = format!("bad-{name}.ndjson:3: ");
        run(COUNTER, &file, &[])?
            .refuses(&[&["nothing was run", &located], words].concat())
            .with_context(|| name.to_owned())?;
    }
    Ok(())
}

#[test]
fn every_bad_line_of_a_file_is_told_up_to_ten() -> Result<()> {
    let file = file("many-bad.ndjson", "{}\n".repeat(12))?;
    let refused = run(COUNTER, &file, &[])?.refuses(&["many-bad.ndjson:1: ", "many-bad.ndjson:10: ", "and 2 more"])?;
    assert!(!refused.stderr.contains(":11:"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn lines_of_standard_input_run_until_a_bad_one() -> Result<()> {
    let lines = format!("{GOOD}\n{{\"documentId\": \"c1\"}}\n{GOOD}\n");
    let ran = reductor_fed(["run", "--plugin", COUNTER, "-"], &lines)?.fails_with(2)?;
    assert_eq!(ran.lines()?.len(), 1, "what came before the bad line ran: {}", ran.stdout);
    assert!(ran.stderr.contains("standard input:2: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("accepted up to line 1 of standard input"), "{}", ran.stderr);
    Ok(())
}

#[test]
fn bad_lines_of_standard_input_are_skipped_if_told_so() -> Result<()> {
    let lines = format!("{GOOD}\n{{\"documentId\": \"c1\"}}\nhello\n{GOOD}\n");
    let ran = reductor_fed(["run", "--plugin", COUNTER, "--on-bad-line", "skip", "-"], &lines)?.fails_with(1)?;
    assert_eq!(ran.lines()?.len(), 2, "{}", ran.stdout);
    for words in ["warning: standard input:2: ", "warning: standard input:3: ", "skipped 2 lines of standard input"] {
        assert!(ran.stderr.contains(words), "no `{words}` in {}", ran.stderr);
    }
    Ok(())
}

#[test]
fn a_file_that_cannot_be_read_twice_runs_until_a_bad_line() -> Result<()> {
    let lines = format!("{GOOD}\n{{\"documentId\": \"c1\"}}\n");
    let ran = reductor_fed(["run", "--plugin", COUNTER, "/dev/stdin"], &lines)?.fails_with(2)?;
    assert_eq!(ran.lines()?.len(), 1, "{}", ran.stdout);
    assert!(ran.stderr.contains("/dev/stdin:2: "), "{}", ran.stderr);
    Ok(())
}

#[test]
fn a_file_may_begin_with_a_byte_order_mark() -> Result<()> {
    let ran = run(COUNTER, &file("marked.ndjson", format!("\u{feff}{GOOD}\n{GOOD}\n"))?, &[])?.succeeds()?;
    assert_eq!(ran.lines()?.len(), 2);
    Ok(())
}

#[test]
fn the_limits_of_guests_can_be_set() -> Result<()> {
    let job = |action: serde_json::Value| {
        json!({"documentId": "u", "documentType": "test/unruly", "actions": [action], "config": {"maxRetries": 0}})
            .to_string()
    };
    let state = file("limit-state.ndjson", job(json!({"type": "HUGE_STATE", "input": {"bytes": 5000}})))?;
    let failed = run(UNRULY, &state, &["--state", "4KiB"])?.fails_with(1)?;
    assert_eq!(failed.lines()?[0]["metadata"]["reason"], "output-too-large");
    run(UNRULY, &state, &["--state", "8KiB"])?.succeeds()?;
    let memory = file("limit-memory.ndjson", job(json!({"type": "GROW", "input": {"mib": 20}})))?;
    let failed = run(UNRULY, &memory, &["--memory", "16MiB"])?.fails_with(1)?;
    assert_eq!(failed.lines()?[0]["metadata"]["reason"], "memory-limit");
    let fuel = file("limit-fuel.ndjson", job(json!({"type": "SPIN"})))?;
    let failed = run(UNRULY, &fuel, &["--fuel", "50000000"])?.fails_with(1)?;
    let metadata = &failed.lines()?[0]["metadata"];
    assert_eq!(metadata["reason"], "fuel-exhausted");
    assert!(metadata["fuelConsumed"].as_u64().is_some_and(|fuel| fuel < 60_000_000), "{metadata}");
    run(UNRULY, &fuel, &["--memory", "5GiB"])?.refuses(&["--memory", "4GiB"])?;
    run(UNRULY, &fuel, &["--memory", "much"])?.refuses(&["a size such as 512MiB"])?;
    Ok(())
}

#[test]
fn files_that_are_not_there_are_named() -> Result<()> {
    let jobs = file("unused.ndjson", GOOD)?;
    run("no-such.wasm", &jobs, &[])?.refuses(&["no-such.wasm"])?;
    run(COUNTER, Path::new("no-such.ndjson"), &[])?.refuses(&["no-such.ndjson"])?;
    Ok(())
}

#[test]
fn a_plugin_that_is_not_admitted_runs_nothing() -> Result<()> {
    let broken = file("broken.wasm", "hello")?;
    let broken = broken.to_str().context("a path in UTF-8")?;
    let ran = run(COUNTER, &file("unrun.ndjson", GOOD)?, &["--plugin", broken])?;
    ran.refuses(&["broken.wasm", "not admitted"])?;
    Ok(())
}

#[test]
fn a_reducer_that_panics_fails_its_job_alone() -> Result<()> {
    let note = r#"{"documentId": "u", "documentType": "test/unruly", "actions": [{"type": "NOTE", "input": {"text": "fine"}}]}"#;
    let panic = r#"{"documentId": "u", "actions": [{"type": "PANIC", "input": {"message": "out of patience"}}]}"#;
    let file = file("panic.ndjson", [note, panic, note].join("\n"))?;
    let ran = run(UNRULY, &file, &["--print-state", "u"])?.fails_with(1)?;
    let [first, failed, last, state] = &ran.lines()?[..] else {
        anyhow::bail!("not three results and a state: {}", ran.stdout);
    };
    assert_eq!((&first["success"], &last["success"]), (&json!(true), &json!(true)));
    assert_eq!((&failed["errorCode"], &failed["metadata"]["reason"]), (&json!(90005), &json!("trap")));
    assert_eq!(failed["metadata"]["panic"]["message"], "it has had enough: out of patience");
    let functions = failed["metadata"]["backtrace"].as_array().context("a backtrace")?;
    let name = |frame: &serde_json::Value| frame["function"].as_str().unwrap_or_default().to_owned();
    assert!(functions.iter().map(name).any(|name| name.contains("lose_patience")), "{functions:?}");
    assert_eq!(state["state"]["global"], json!({"notes": ["fine", "fine"]}));
    Ok(())
}

#[test]
fn a_state_that_no_job_makes_cannot_be_asked_for() -> Result<()> {
    let file = file("state.ndjson", GOOD)?;
    run(COUNTER, &file, &["--print-state", "c2"])?.refuses(&["--print-state", "`c2`", "nothing was run"])?;
    Ok(())
}

#[test]
fn results_of_dispatched_jobs_are_printed_and_counted() -> Result<()> {
    let dispatch = r#"{"documentId": "u", "documentType": "test/unruly", "actions": [{"type": "DISPATCH", "input": {"count": 2, "type": "NOTE", "text": "note"}}]}"#;
    let ran = run(UNRULY, &file("dispatch.ndjson", dispatch)?, &["--print-state", "u"])?.succeeds()?;
    let lines = ran.lines()?;
    let (state, results) = lines.split_last().context("a state")?;
    assert_eq!(state["state"]["global"], json!({"notes": ["dispatched 2", "note 0", "note 1"]}));
    let caused = |result: &&serde_json::Value| result["metadata"]["causation"]["depth"] == json!(1);
    assert_eq!((results.len(), results.iter().filter(caused).count()), (3, 2), "{}", ran.stdout);

    let refused = dispatch.replace("NOTE", "REFUSE");
    let ran = run(UNRULY, &file("dispatch-refused.ndjson", refused)?, &[])?.fails_with(1)?;
    let failed = ran.lines()?.into_iter().filter(|result| result["success"] == json!(false)).count();
    assert_eq!(failed, 2, "{}", ran.stdout);
    Ok(())
}

#[test]
fn a_grant_lets_documents_dispatch_to_others() -> Result<()> {
    let note = r#"{"documentId": "b", "documentType": "test/unruly", "actions": [{"type": "NOTE", "input": {"text": "mine"}}]}"#;
    let elsewhere = r#"{"documentId": "a", "documentType": "test/unruly", "actions": [{"type": "DISPATCH_ELSEWHERE", "input": {"document": "b"}}], "config": {"maxRetries": 0}}"#;
    let jobs = file("grant.ndjson", [note, elsewhere].join("\n"))?;
    let refused = run(UNRULY, &jobs, &["--max-concurrency", "1"])?.fails_with(1)?;
    let failed = &refused.lines()?[1];
    assert_eq!(failed["metadata"]["reason"], "dispatch-denied");
    let message = failed["errorMessage"].as_str().context("a message")?;
    assert!(message.contains("--grant test/unruly=test/unruly"), "{message}");
    let grant = ["--max-concurrency", "1", "--grant", "test/unruly=test/unruly", "--print-state", "b"];
    let granted = run(UNRULY, &jobs, &grant)?.succeeds()?;
    let state = granted.lines()?.pop().context("a state")?;
    assert_eq!(state["state"]["global"]["notes"].as_array().map(Vec::len), Some(2), "{state}");
    run(UNRULY, &jobs, &["--grant", "test/unruly=no/such"])?.refuses(&["--grant", "`no/such`"])?;
    run(UNRULY, &jobs, &["--grant", "test/unruly"])?.refuses(&["expected two models"])?;
    Ok(())
}

#[test]
fn a_run_whose_reader_went_away_stops_and_says_so() -> Result<()> {
    let jobs = file("unread.ndjson", format!("{GOOD}\n").repeat(20_000))?;
    let jobs = jobs.to_str().context("a path in UTF-8")?;
    let (code, stderr) = reductor_unread(["run", "--plugin", COUNTER, jobs])?;
    assert_eq!(code, Some(141), "{stderr}");
    assert!(stderr.contains("accepted ") && !stderr.contains("error:"), "{stderr}");
    Ok(())
}
