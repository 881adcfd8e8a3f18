//! `reductor audit`.

use std::path::Path;

use anyhow::{Context as _, Result};
use reductor_tests::{COUNTER, UNRULY};
use serde_json::json;

use crate::support::{Ran, file, reductor, reductor_fed, reductor_unread};

fn audit(plugin: &str, jobs: &Path, more: &[&str]) -> Result<Ran> {
    let jobs = jobs.to_str().context("a path in UTF-8")?;
    reductor([&["audit", "--plugin", plugin][..], more, &[jobs]].concat())
}

/// A line with a job on an unruly document.
fn unruly(document: &str, actions: &[(&str, serde_json::Value)]) -> String {
    let actions: Vec<_> = actions.iter().map(|(name, input)| json!({"type": name, "input": input})).collect();
    json!({"documentId": document, "documentType": "test/unruly", "actions": actions}).to_string()
}

fn null(name: &str) -> (&str, serde_json::Value) {
    (name, serde_json::Value::Null)
}

fn note(text: &str) -> (&str, serde_json::Value) {
    ("NOTE", json!({"text": text}))
}

const INCREMENT: &str = r#"{"documentId": "c1", "documentType": "example/counter", "actions": [{"type": "INCREMENT", "input": {"by": 2}}]}"#;

#[test]
fn a_pure_reducer_is_exit_code_0_and_one_line() -> Result<()> {
    let refused = INCREMENT.replace('2', "9223372036854775807");
    let jobs = file("audit-pure.ndjson", [INCREMENT, &refused, INCREMENT].join("\n"))?;
    let ran = audit(COUNTER, &jobs, &[])?.succeeds()?;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("3 jobs: 3 the same\n", ""));
    let ran = audit(COUNTER, &jobs, &["--json"])?.succeeds()?;
    let all = json!({"jobs": 3, "same": 3, "diverged": 0, "unsteady": 0, "failed": 0, "inconclusive": 0});
    assert_eq!(ran.lines()?, [all]);
    Ok(())
}

#[test]
fn an_impure_one_is_shown_line_action_and_both_values() -> Result<()> {
    let count = null("COUNT_IN_A_GLOBAL");
    let lines = [
        unruly("u", &[note("a")]),
        String::new(),
        unruly("u", std::slice::from_ref(&count)),
        unruly("u", &[note("b"), count, note("c")]),
        unruly("u", &[note("d")]),
    ];
    let jobs = file("audit-impure.ndjson", lines.join("\n"))?;
    let ran = audit(UNRULY, &jobs, &[])?.fails_with(1)?;
    for text in [
        "audit-impure.ndjson:4: diverged in actions[1] `COUNT_IN_A_GLOBAL` on document `u`: another state (scope \
         `global`, at `notes[3]`)\n",
        "\n  resident  \"count 2\"\n  fresh     \"count 1\"\n  hashes    ",
        "\n  likely    something that an instance keeps and a snapshot does not: ",
        "\n4 jobs: 3 the same, 1 diverged\n",
    ] {
        assert!(ran.stdout.contains(text), "no `{text}` in\n{}", ran.stdout);
    }

    let ran = audit(UNRULY, &jobs, &["--json"])?.fails_with(1)?;
    let [finding, all] = &ran.lines()?[..] else { anyhow::bail!("not two lines: {}", ran.stdout) };
    assert_eq!((&finding["finding"], &finding["line"]), (&json!("diverged"), &json!(4)));
    assert_eq!((&finding["actionIndex"], &finding["actionType"]), (&json!(1), &json!("COUNT_IN_A_GLOBAL")));
    let divergence = &finding["divergence"];
    assert_eq!((&divergence["path"], &divergence["hint"]), (&json!("notes[3]"), &json!("hidden-state")));
    assert_eq!(divergence["fresh"]["text"], r#"{"notes":["a","count 1","b","count 1"]}"#);
    assert_eq!((&all["same"], &all["diverged"]), (&json!(3), &json!(1)));
    Ok(())
}

#[test]
fn every_divergence_is_found_although_the_first_would_be_a_quarantine() -> Result<()> {
    let jobs: Vec<_> = (0..10).map(|number| unruly(&format!("u{}", number % 2), &[null("COUNT_IN_A_FIELD")])).collect();
    let ran = audit(UNRULY, &file("audit-many.ndjson", jobs.join("\n"))?, &["--json"])?.fails_with(1)?;
    let lines = ran.lines()?;
    let all = lines.last().context("a summary")?;
    // A job that diverged leaves a fresh instance behind, on which the next one cannot.
    assert_eq!((&all["jobs"], &all["same"], &all["diverged"]), (&json!(10), &json!(6), &json!(4)));
    Ok(())
}

#[test]
fn dispatched_jobs_are_audited_and_named_after_the_line_that_led_to_them() -> Result<()> {
    let dispatch = ("DISPATCH", json!({"count": 2, "type": "COUNT_IN_A_GLOBAL", "text": null}));
    let jobs = file("audit-dispatched.ndjson", unruly("u", &[dispatch]))?;
    let ran = audit(UNRULY, &jobs, &[])?.fails_with(1)?;
    assert!(
        ran.stdout.contains("audit-dispatched.ndjson:1 (a job that it dispatched): diverged in "),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.ends_with("\n3 jobs: 2 the same, 1 diverged\n"), "{}", ran.stdout);
    Ok(())
}

#[test]
fn a_job_that_fails_cannot_be_audited() -> Result<()> {
    let lines = [unruly("u", &[note("a")]), unruly("u", &[("PANIC", json!({"message": "out of patience"}))])];
    let ran = audit(UNRULY, &file("audit-failed.ndjson", lines.join("\n"))?, &[])?.fails_with(1)?;
    assert!(ran.stdout.contains("audit-failed.ndjson:2: failed: test/unruly v1 failed (trap) in "), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("\n2 jobs: 1 the same, 1 failed\n"), "{}", ran.stdout);
    Ok(())
}

#[test]
fn a_failure_that_goes_away_on_a_fresh_instance_is_a_finding() -> Result<()> {
    let lines = [unruly("u", &[null("PANIC_LATER")]), unruly("u", &[null("PANIC_LATER")])];
    let ran = audit(UNRULY, &file("audit-unsteady.ndjson", lines.join("\n"))?, &[])?.fails_with(1)?;
    assert!(ran.stdout.contains("audit-unsteady.ndjson:2: unsteady on document `u`"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("\n2 jobs: 1 the same, 1 unsteady\n"), "{}", ran.stdout);
    Ok(())
}

#[test]
fn standard_input_is_read_to_its_end_before_anything_runs() -> Result<()> {
    let ran = reductor_fed(["audit", "--plugin", COUNTER, "-"], INCREMENT)?.succeeds()?;
    assert_eq!(ran.stdout, "1 job: 1 the same\n");
    let ran = reductor_fed(["audit", "--plugin", COUNTER, "-"], &format!("{INCREMENT}\n{{}}"))?;
    ran.refuses(&["nothing was run", "standard input:2: "])?;
    Ok(())
}

#[test]
fn bad_input_is_exit_code_2_and_named() -> Result<()> {
    let jobs = file("audit-bad.ndjson", format!("{INCREMENT}\nincrement\n"))?;
    audit(COUNTER, &jobs, &[])?.refuses(&["nothing was run", "audit-bad.ndjson:2: ", "one submission a line"])?;
    audit(COUNTER, Path::new("no-such.ndjson"), &[])?.refuses(&["no-such.ndjson"])?;
    audit("no-such.wasm", &file("audit-unused.ndjson", INCREMENT)?, &[])?.refuses(&["no-such.wasm"])?;
    let broken = file("audit-broken.wasm", "hello")?;
    let broken = broken.to_str().context("a path in UTF-8")?;
    audit(broken, &file("audit-unused.ndjson", INCREMENT)?, &[])?.refuses(&["audit-broken.wasm", "not admitted"])?;
    audit(COUNTER, &file("audit-unused.ndjson", INCREMENT)?, &["--grant", "a=b"])?.refuses(&["--grant", "`a`"])?;
    let empty = audit(COUNTER, &file("audit-empty.ndjson", "")?, &[])?.succeeds()?;
    assert_eq!(empty.stdout, "0 jobs: 0 the same\n");
    Ok(())
}

#[test]
fn whoever_has_read_enough_may_go() -> Result<()> {
    let jobs = file("audit-unread.ndjson", INCREMENT)?;
    let jobs = jobs.to_str().context("a path in UTF-8")?;
    let (code, stderr) = reductor_unread(["audit", "--plugin", COUNTER, jobs])?;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    Ok(())
}
