//! A plugin is replaced by another revision, and its documents go on: after an orderly end of `run`
//! without the earlier one, and after a kill with it.

use anyhow::{Result, ensure};
use reductor_tests::{STOCK, STOCK_VERSION_2, STOCK_WITH_OWNER};
use serde_json::{Value, json};

use crate::data::Data;

/// Operations that a document has when its plugin is replaced, its creation included. Snapshots lie
/// at multiples of 64.
const OPERATIONS: [u64; 6] = [3, 63, 64, 65, 128, 140];

/// How the first run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Orderly,
    Killed,
}

fn receive(by: u64) -> String {
    let action = json!({ "type": "RECEIVE", "input": { "by": by } });
    json!({ "documentId": "s1", "documentType": "test/stock", "actions": [action] }).to_string()
}

/// A directory with a document that the first revision made so many operations of, the last one of
/// `count`, `count` - 1 and so on to 1.
fn written(operations: u64, end: End) -> Result<Data> {
    let data = Data::new()?;
    match end {
        End::Orderly => {
            data.run(STOCK, &(1..operations).map(receive).collect::<Vec<_>>())?.succeeds()?;
        }
        End::Killed => {
            let mut running = data.start_with(STOCK)?;
            for by in 1..operations {
                ensure!(running.run(&receive(by))?["success"] == json!(true), "a job failed");
            }
            running.kill()?;
        }
    }
    Ok(data)
}

/// Lets another revision of the plugin go on, and says what the document's state is then.
fn go_on(data: &Data, plugin: &str, end: End) -> Result<Value> {
    let replay = ["--replay-plugin", STOCK];
    let replay = if end == End::Killed { &replay[..] } else { &[] };
    let ran = data.run_with(plugin, replay, &[receive(1)])?.succeeds()?;
    ensure!(ran.lines()?[0]["metadata"]["attempts"] == json!(1), "it was tried again: {}", ran.stdout);
    // What comes next needs no earlier revision.
    data.run(plugin, &[receive(1)])?.succeeds()?;
    let shown = data.call(&["doc", "show", "s1", "--plugin", plugin, "--json"])?.succeeds()?;
    Ok(shown.lines()?[0]["state"]["global"].clone())
}

/// Replaces the plugin of documents of every length, and has their history checked afterwards.
fn replace(plugin: &str, state: impl Fn(u64) -> Value) -> Result<()> {
    for end in [End::Orderly, End::Killed] {
        for operations in OPERATIONS {
            let data = written(operations, end)?;
            let sum = (1..operations).sum::<u64>() + 2;
            assert_eq!(go_on(&data, plugin, end)?, state(sum), "{operations} operations, {end:?}");
            let verify = ["store", "verify", "--plugin", plugin, "--replay-plugin", STOCK, "--json"];
            let report = &data.call(&verify)?.succeeds()?.lines()?[0];
            assert_eq!(report["replayed"], json!(operations + 2), "{report}");
            assert_eq!(report.get("notReplayedOperations"), None, "{report}");
        }
    }
    Ok(())
}

#[test]
fn a_new_field_with_a_default_needs_nothing() -> Result<()> {
    replace(STOCK_WITH_OWNER, |sum| json!({ "count": sum, "owner": "" }))
}

#[test]
fn a_higher_version_upgrades_what_the_lower_one_wrote() -> Result<()> {
    replace(STOCK_VERSION_2, |sum| json!({ "units": sum }))
}

#[test]
fn after_a_kill_the_job_says_which_plugin_is_missing_and_can_be_retried_with_it() -> Result<()> {
    let data = written(3, End::Killed)?;
    let failed = data.run(STOCK_WITH_OWNER, &[receive(5)])?.fails_with(1)?;
    let result = &failed.lines()?[0];
    assert_eq!((&result["errorCode"], &result["metadata"]["reason"]), (&json!(90005), &json!("revision-missing")));
    assert_eq!(result["metadata"]["attempts"], json!(1));
    let message = result["errorMessage"].as_str().unwrap_or_default();
    for word in ["test/stock v1", "sha256:", "--replay-plugin"] {
        ensure!(message.contains(word), "no `{word}` in: {message}");
    }
    let job = result["job"]["id"].as_str().unwrap_or_default();
    data.call(&["job", "retry", job])?.succeeds()?;
    data.run_with(STOCK_WITH_OWNER, &["--replay-plugin", STOCK], &[])?.succeeds()?;
    let shown = data.call(&["doc", "show", "s1", "--plugin", STOCK_WITH_OWNER, "--json"])?.succeeds()?;
    assert_eq!(shown.lines()?[0]["state"]["global"], json!({ "count": 8, "owner": "" }));
    Ok(())
}

#[test]
fn an_older_version_is_refused_and_the_document_stays() -> Result<()> {
    let data = Data::new()?;
    data.run(STOCK_VERSION_2, &[receive(2)])?.succeeds()?;
    let failed = data.run(STOCK, &[receive(1)])?.fails_with(1)?;
    assert_eq!(failed.lines()?[0]["metadata"]["reason"], json!("older-version"));
    data.run(STOCK_VERSION_2, &[receive(1)])?.succeeds()?;
    Ok(())
}

#[test]
fn past_revisions_are_shown_as_their_own_plugin_made_them() -> Result<()> {
    let data = written(3, End::Killed)?;
    data.run_with(STOCK_VERSION_2, &["--replay-plugin", STOCK], &[receive(4)])?.succeeds()?;
    let show = |revision: &str| -> Result<Value> {
        let plugins = ["--plugin", STOCK_VERSION_2, "--replay-plugin", STOCK];
        let arguments = [&["doc", "show", "s1", "--json", "--revision", revision][..], &plugins].concat();
        Ok(data.call(&arguments)?.succeeds()?.lines()?[0]["state"]["global"].clone())
    };
    assert_eq!([show("2")?, show("4")?], [json!({ "count": 1 }), json!({ "units": 7 })]);
    let refused = data.call(&["doc", "show", "s1", "--revision", "2", "--plugin", STOCK_VERSION_2])?;
    ensure!(refused.stderr.contains("--replay-plugin"), "{}", refused.stderr);
    let report = data.call(&["store", "verify", "--plugin", STOCK_VERSION_2, "--json"])?.succeeds()?;
    let missing = report.lines()?[0]["notReplayedOperations"].clone();
    assert_eq!(missing.as_object().map(|missing| missing.values().collect::<Vec<_>>()), Some(vec![&json!(3)]));
    Ok(())
}
