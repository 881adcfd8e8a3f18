//! What is tried again, how often, and what the events say of it.

use std::time::Duration;

use anyhow::Result;
use reductor_core::{JobErrorCode, Reason};
use serde_json::{Value, json};

use crate::support::{Host, Setup, UNRULY, done, failure, job, note, spin};

fn panicking(document: &str) -> crate::support::JobText {
    job(UNRULY, document).action("PANIC", json!({"message": "again"}))
}

#[test]
fn a_trap_that_repeats_on_a_fresh_instance_is_not_tried_a_third_time() -> Result<()> {
    let mut host = Host::start()?;
    let failure = host.failed(panicking("u"))?;
    assert_eq!((failure.metadata.attempts, failure.metadata.deterministic), (2, Some(true)));
    let story = [
        "u PANIC started",
        "u PANIC failed, retry 1 follows",
        "u PANIC begins retry 1",
        "u PANIC started",
        "u PANIC failed for good after 1 retries",
    ];
    assert_eq!(host.story()?, story);
    Ok(())
}

#[test]
fn a_trap_on_a_resident_document_is_confirmed_once_too() -> Result<()> {
    let host = Host::start()?;
    host.applied(note("u", "now it is resident"))?;
    let failure = host.failed(panicking("u"))?;
    assert_eq!((failure.metadata.attempts, failure.metadata.deterministic), (2, Some(true)));
    // What the instance did before decides how much memory is missing.
    host.applied(job(UNRULY, "u").action("GROW", json!({"mib": 20})))?;
    let failure = host.failed(job(UNRULY, "u").action("GROW", json!({"mib": 100})))?;
    assert_eq!((failure.metadata.attempts, failure.metadata.deterministic), (2, Some(true)));
    Ok(())
}

#[test]
fn a_timeout_is_retried_as_often_as_the_job_allows() -> Result<()> {
    for retries in [0, 1, 3] {
        let mut host = Host::start()?;
        let failure = host.failed(spin("u").with("config", json!({"jobTimeout": 15, "maxRetries": retries})))?;
        assert_eq!((failure.code, failure.metadata.reason), (JobErrorCode::LibraryError, Some(Reason::Timeout)));
        assert_eq!((failure.metadata.attempts, failure.metadata.deterministic), (retries + 1, Some(false)));
        let mut story = vec!["u SPIN started".to_owned()];
        for retry in 1..=retries {
            story.push(format!("u SPIN failed, retry {retry} follows"));
            story.push(format!("u SPIN begins retry {retry}"));
            story.push("u SPIN started".to_owned());
        }
        story.push(format!("u SPIN failed for good after {retries} retries"));
        assert_eq!(host.story()?, story);
    }
    Ok(())
}

#[test]
fn a_job_that_waits_for_its_retry_blocks_its_document_and_no_other() -> Result<()> {
    let delay = Duration::from_secs(3_600);
    let mut host = Setup::new().workers(1).manual_clock(delay).start()?;
    let retrying = host.submit(panicking("a"))?;
    let following = host.submit(note("a", "after it"))?;
    // The only worker takes this one when the lane of the other rests.
    host.applied(note("b", "meanwhile"))?;
    let resting = ["a PANIC started", "a PANIC failed, retry 1 follows", "b NOTE started", "b NOTE completed"];
    assert_eq!(host.story()?, resting);

    host.advance_clock(delay);
    let result = done(retrying)?;
    assert_eq!(failure(&result)?.metadata.attempts, 2);
    assert_eq!(result.duration, delay.into());
    assert!(done(following)?.success);
    let rest = [
        "a PANIC begins retry 1",
        "a PANIC started",
        "a PANIC failed for good after 1 retries",
        "a NOTE started",
        "a NOTE completed",
    ];
    assert_eq!(host.story()?[4..], rest);
    Ok(())
}

#[test]
fn a_job_that_may_not_be_retried_is_tried_once() -> Result<()> {
    let host = Host::start()?;
    let failure = host.failed(panicking("u").with("config", json!({"maxRetries": 0})))?;
    assert_eq!((failure.metadata.attempts, failure.metadata.deterministic), (1, Some(true)));
    Ok(())
}

#[test]
fn every_attempt_starts_from_what_was_committed() -> Result<()> {
    let host = Host::start()?;
    host.applied(note("u", "kept"))?;
    let config = json!({"jobTimeout": 15, "maxRetries": 2});
    host.failed(note("u", "lost").action("SPIN", Value::Null).with("config", config))?;
    host.applied(note("u", "kept too"))?;
    assert_eq!(host.state("u")?, json!({"notes": ["kept", "kept too"]}));
    Ok(())
}
