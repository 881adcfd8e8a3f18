//! The same jobs give the same history, wherever and however they run.

use anyhow::Result;
use reductor_core::{OperationId, StateHash};
use serde_json::{Value, json};

use crate::support::{COUNTER, Host, JobText, Setup, TEXT, TODO_LIST, UNRULY, job};

/// Jobs on one document of each example, refused ones among them; the same at every call.
fn script() -> Vec<JobText> {
    let mut jobs = Vec::new();
    let mut next = 0;
    let mut id = || {
        next += 1;
        format!("action-{next}")
    };
    for round in 0..30_i64 {
        let by = json!({"by": round * 1_000_000_007});
        jobs.push(job(COUNTER, "counter").fixed(&id(), if round % 3 == 0 { "DECREMENT" } else { "INCREMENT" }, by));
        jobs.push(job(COUNTER, "counter").fixed(&id(), "INCREMENT", json!({"by": i64::MAX})));

        let (item, text) = (format!("item {round}"), format!("do \"{round}\" \u{1F9A6}\u{7f}\n"));
        jobs.push(job(TODO_LIST, "list").fixed(&id(), "ADD", json!({"id": item, "text": text})));
        jobs.push(job(TODO_LIST, "list").fixed(&id(), "COMPLETE", json!({"id": format!("item {}", round / 2)})));
        if round % 7 == 6 {
            jobs.push(job(TODO_LIST, "list").fixed(&id(), "CLEAR_COMPLETED", Value::Null));
        }

        let edits = json!([[round / 2, 0, format!("é{round}\u{10FFFF}")], [0, round % 2, "\\"]]);
        jobs.push(job(TEXT, "text").fixed(&id(), "EDIT", json!({"patches": edits})).fixed(
            &id(),
            "EDIT",
            json!({"patches": [[round, 1, ""]]}),
        ));
    }
    jobs
}

/// Everything about a history that must not vary.
type History = Vec<(OperationId, u64, u64, StateHash)>;

/// Runs the script, one job after the other.
fn histories(host: &Host) -> Result<Vec<History>> {
    for job in script() {
        host.run(job)?;
    }
    let history = |document| -> Result<History> {
        let operations = host.operations(document)?.into_iter();
        Ok(operations.map(|it| (it.operation.id, it.sequence, it.operation.index, it.operation.hash)).collect())
    };
    ["counter", "list", "text"].into_iter().map(history).collect()
}

#[test]
fn fresh_instances_resident_ones_and_native_code_make_the_same_history() -> Result<()> {
    let resident = Host::start()?;
    let expected = histories(&resident)?;
    assert!(expected.iter().all(|history| history.len() > 30), "too little happened");

    let fresh = Setup::new().no_residents().start()?;
    assert_eq!(histories(&fresh)?, expected);
    assert_eq!(fresh.idle_documents(), 0);

    let native = Setup::new().native().start()?;
    assert_eq!(histories(&native)?, expected);
    Ok(())
}

#[test]
fn jobs_that_gather_make_the_same_history_as_jobs_that_come_one_by_one() -> Result<()> {
    let expected = histories(&Host::start()?)?;
    let host = Host::start()?;
    for ticket in script().into_iter().map(|job| host.submit(job)).collect::<Result<Vec<_>>>()? {
        crate::support::done(ticket)?;
    }
    // Everything is applied already, so the script changes nothing more.
    assert_eq!(histories(&host)?, expected);
    Ok(())
}

#[test]
fn a_document_stays_alive_between_its_jobs() -> Result<()> {
    let host = Setup::new().workers(1).start()?;
    let fuel = |job: JobText| -> Result<u64> {
        Ok(host.applied(job)?.metadata.as_ref().and_then(|it| it.fuel_consumed).unwrap_or(0))
    };
    let note = |text: &str| job(UNRULY, "u").action("NOTE", json!({"text": text}));
    let loading = fuel(note("a"))?;
    let resident = fuel(note("b"))?;
    assert!(resident < loading, "{resident} units of fuel on the resident, {loading} with loading it");
    // The worker lays the document of one turn aside before it takes the next.
    host.applied(job(COUNTER, "c").action("RESET", Value::Null))?;
    assert!(host.idle_documents() >= 1);
    Ok(())
}
