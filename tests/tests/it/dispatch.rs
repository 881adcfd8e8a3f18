//! Actions that reducers ask for.

use anyhow::{Context as _, Result};
use reductor_core::{Event, JobCompletedEvent, JobFailedEvent, Limits, Reason, dispatched_action_id};
use serde_json::{Value, json};

use crate::support::{Host, NOON, Setup, UNRULY, job, note};

/// Waits for the end of the `count`-th job on the document, from 1, if it is a success.
fn completed(host: &mut Host, document: &str, count: usize) -> Result<Vec<JobCompletedEvent>> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let known: Vec<_> = seen.iter().map(|event: &JobCompletedEvent| event.job.id.clone()).collect();
        let next = |event: &Event| match event {
            Event::JobCompleted(event) => event.job.document_id.as_str() == document && !known.contains(&event.job.id),
            _ => false,
        };
        let event = host.event("the end of a dispatched job", next)?;
        if let Event::JobCompleted(event) = &*event {
            seen.push(event.clone());
        }
    }
    Ok(seen)
}

/// Waits until a job on the document has failed for good.
fn failed_for_good(host: &mut Host, document: &str) -> Result<JobFailedEvent> {
    let failed = |event: &Event| match event {
        Event::JobFailed(event) => event.job.document_id.as_str() == document && !event.will_retry,
        _ => false,
    };
    match &*host.event("the failure of a dispatched job", failed)? {
        Event::JobFailed(event) => Ok(event.clone()),
        other => anyhow::bail!("{other:?} is no failure"),
    }
}

#[test]
fn a_dispatched_action_becomes_a_job_of_its_own() -> Result<()> {
    let mut host = Host::start()?;
    let cause =
        host.applied(job(UNRULY, "u").fixed("a", "DISPATCH", json!({"count": 2, "type": "NOTE", "text": "n"})))?;
    let jobs = completed(&mut host, "u", 3)?;
    assert_eq!(host.state("u")?, json!({"notes": ["dispatched 2", "n 0", "n 1"]}));
    let causing = &cause.operations[1];
    for (ordinal, event) in jobs[1..].iter().enumerate() {
        let metadata = event.result.metadata.as_ref().context("results have metadata")?;
        let causation = metadata.causation.as_ref().context("a dispatched job has a cause")?;
        assert_eq!((&causation.job_id, causation.operation_id, causation.depth), (&cause.job.id, causing.id, 1));
        let action = &event.job.actions[0];
        assert_eq!(action.id, dispatched_action_id(causing.id, ordinal));
        assert_eq!(action.timestamp_utc_ms.as_str(), NOON);
    }
    let before = cause.metadata.as_ref().context("results have metadata")?;
    assert_eq!(before.causation, None);
    Ok(())
}

#[test]
fn dispatched_jobs_come_after_those_that_wait_already() -> Result<()> {
    let mut host = Setup::new().workers(1).start()?;
    let config = json!({"jobTimeout": 100, "maxRetries": 0});
    host.submit(crate::support::spin("busy").with("config", config))?;
    host.started("busy")?;
    host.submit(job(UNRULY, "u").action("DISPATCH", json!({"count": 1, "type": "NOTE", "text": "dispatched"})))?;
    host.submit(note("u", "waited"))?;
    completed(&mut host, "u", 3)?;
    assert_eq!(host.state("u")?, json!({"notes": ["dispatched 1", "waited", "dispatched 0"]}));
    Ok(())
}

#[test]
fn a_job_that_fails_has_dispatched_nothing() -> Result<()> {
    let host = Host::start()?;
    let dispatching = |then: &str, input: Value| {
        let dispatch = json!({"count": 1, "type": "NOTE", "text": "must not appear"});
        job(UNRULY, "u").action("DISPATCH", dispatch).action(then, input)
    };
    host.failed(dispatching("PANIC", json!({"message": "after a dispatch"})))?;
    host.failed(dispatching("REFUSE", Value::Null))?;
    host.failed(dispatching("NOTE", json!({"text": ""})).with("resultingHash", json!("another")))?;
    host.applied(note("u", "only this"))?;
    host.applied(note("u", "and this"))?;
    assert_eq!(host.state("u")?, json!({"notes": ["only this", "and this"]}));
    Ok(())
}

#[test]
fn an_action_that_was_applied_does_not_dispatch_again() -> Result<()> {
    let mut host = Host::start()?;
    let dispatching = || job(UNRULY, "u").fixed("a", "DISPATCH", json!({"count": 1, "type": "NOTE", "text": "n"}));
    host.applied(dispatching())?;
    completed(&mut host, "u", 2)?;
    host.applied(dispatching())?;
    host.applied(note("u", "last"))?;
    assert_eq!(host.state("u")?, json!({"notes": ["dispatched 1", "n 0", "last"]}));
    Ok(())
}

#[test]
fn a_dispatched_action_that_is_refused_fails_its_own_job_only() -> Result<()> {
    let mut host = Host::start()?;
    host.applied(job(UNRULY, "u").action("DISPATCH", json!({"count": 1, "type": "REFUSE"})))?;
    let failed = failed_for_good(&mut host, "u")?;
    assert!(failed.error.error_message.contains("(NO)"), "{}", failed.error.error_message);
    host.applied(job(UNRULY, "v").action("DISPATCH", json!({"count": 1, "type": "STRANGE"})))?;
    let failed = failed_for_good(&mut host, "v")?;
    assert!(failed.error.error_message.contains("(UNKNOWN_ACTION)"), "{}", failed.error.error_message);
    assert_eq!(host.state("u")?, json!({"notes": ["dispatched 1"]}));
    Ok(())
}

#[test]
fn an_action_may_not_dispatch_more_than_allowed() -> Result<()> {
    let mut host = Host::start()?;
    let dispatching = |count| job(UNRULY, "u").action("DISPATCH", json!({"count": count, "type": "NOTE", "text": "n"}));
    let failure = host.failed(dispatching(65))?;
    assert_eq!(failure.metadata.reason, Some(Reason::DispatchLimit));
    assert_eq!(failure.metadata.deterministic, Some(true));
    assert!(failure.message.contains("more than 64"), "{}", failure.message);
    host.applied(dispatching(64))?;
    completed(&mut host, "u", 65)?;
    Ok(())
}

#[test]
fn a_job_may_not_dispatch_more_bytes_than_allowed_in_all_its_actions() -> Result<()> {
    let host = Host::start()?;
    let many = (0..20).fold(job(UNRULY, "u"), |many, _| many.action("DISPATCH_HUGE", json!({"bytes": 1_000_000})));
    let failure = host.failed(many)?;
    assert_eq!(failure.metadata.reason, Some(Reason::DispatchLimit), "{}", failure.message);
    assert!(failure.metadata.action_index > Some(10), "{}", failure.message);
    Ok(())
}

#[test]
fn a_dispatched_action_keeps_to_the_bounds_of_a_submitted_one() -> Result<()> {
    let host = Host::start()?;
    let named = |name: &str| json!({"count": 1, "type": name});
    let cases = [
        ("DISPATCH_HUGE", json!({"bytes": 2 << 20}), Reason::DispatchLimit),
        ("DISPATCH", named(""), Reason::InvalidOutput),
        ("DISPATCH", named(&"x".repeat(513)), Reason::InvalidOutput),
        ("DISPATCH", named("a\u{7}b"), Reason::InvalidOutput),
    ];
    for (action, input, reason) in cases {
        let failure = host.failed(job(UNRULY, "u").action(action, input))?;
        assert_eq!(failure.metadata.reason, Some(reason), "{action}: {}", failure.message);
    }
    Ok(())
}

#[test]
fn a_submitted_job_may_not_lead_to_more_than_allowed() -> Result<()> {
    let limits = Limits { dispatched_jobs_per_root_max: 5, ..Limits::default() };
    let mut host = Setup::new().limits(limits).start()?;
    let dispatching = |count| json!({"count": count, "type": "NOTE", "text": "n"});
    let failure =
        host.failed(job(UNRULY, "u").action("DISPATCH", dispatching(3)).action("DISPATCH", dispatching(3)))?;
    assert_eq!(failure.metadata.reason, Some(Reason::DispatchLimit));
    assert!(failure.message.contains("may lead to 5 others"), "{}", failure.message);
    host.applied(job(UNRULY, "u").action("DISPATCH", dispatching(3)).action("DISPATCH", dispatching(2)))?;
    completed(&mut host, "u", 6)?;
    Ok(())
}

#[test]
fn dispatches_that_follow_from_one_another_end_at_the_depth_allowed() -> Result<()> {
    let mut host = Host::start()?;
    host.applied(job(UNRULY, "u").action("DISPATCH_FOREVER", Value::Null))?;
    let failed = failed_for_good(&mut host, "u")?;
    let message = &failed.error.error_message;
    assert!(message.contains("dispatch-limit") && message.contains("after 16 dispatches"), "{message}");
    assert_eq!(host.state("u")?, json!({"notes": vec!["and again"; 16]}));
    let depths: Vec<_> = completed(&mut host, "u", 16)?
        .iter()
        .map(|event| event.result.metadata.as_ref().and_then(|it| it.causation.as_ref()).map_or(0, |it| it.depth))
        .collect();
    assert_eq!(depths, (0..16).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn other_documents_are_out_of_reach() -> Result<()> {
    let host = Host::start()?;
    host.applied(note("stranger", "untouched"))?;
    let elsewhere = |document: &str| job(UNRULY, "u").action("DISPATCH_ELSEWHERE", json!({"document": document}));
    let failure = host.failed(elsewhere("stranger"))?;
    assert_eq!(failure.metadata.reason, Some(Reason::DispatchDenied));
    assert!(failure.message.contains("`stranger`"), "{}", failure.message);
    assert_eq!(host.state("stranger")?, json!({"notes": ["untouched"]}));
    host.applied(elsewhere("u")).map(drop)
}
