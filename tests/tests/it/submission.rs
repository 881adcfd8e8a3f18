//! What is refused at the door, and the waits of those who come in.

use anyhow::Result;
use reductor_core::{ActionId, Event, ExecuteError, LaneKey, Limits, Reason, Refusal, Scope, operation_id};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{COUNTER, Host, JobText, RAW, Setup, UNRULY, data, done, job, lane, made_job, note, spin};

#[test]
fn a_refusal_names_the_field() -> Result<()> {
    let host = Host::start()?;
    host.applied(note("known", "it exists"))?;
    let good = || job(COUNTER, "c").action("RESET", Value::Null);
    let cases = [
        (good().with("documentType", json!("example/stranger")), "documentType"),
        (JobText::of(json!({"documentId": "nobody", "actions": [{"type": "NOTE"}]})), "documentId"),
        (job(COUNTER, "known").action("RESET", Value::Null), "documentType"),
        (good().with("documentId", json!("")), "documentId"),
        (good().with("documentId", json!("a\u{7}b")), "documentId"),
        (good().with("documentId", json!("x".repeat(513))), "documentId"),
        (good().with("branch", json!("")), "branch"),
        (good().with("actions", json!([])), "actions"),
        (good().draft(json!({"type": "RESET", "scope": "local"})), "actions[1].scope"),
        (good().draft(json!({"type": "RESET", "scope": "document"})), "actions[1].scope"),
        (good().draft(json!({"type": ""})), "actions[1].type"),
        (good().draft(json!({"input": 1})), "actions[1]"),
        (good().draft(json!({"type": "RESET", "timestampUtcMs": "noon"})), "actions[1].timestampUtcMs"),
        (good().draft(json!({"type": "RESET", "id": ""})), "actions[1].id"),
        (good().draft(json!({"type": "RESET", "signature": ""})), "actions[1].signature"),
        (good().fixed("a", "RESET", Value::Null).fixed("a", "RESET", Value::Null), "actions[2].id"),
        (good().action("RESET", json!("x".repeat(1 << 20))), "actions[1].input"),
        (good().with("scopes", json!(["local"])), "scopes[0]"),
        (good().with("scopes", json!(["global", "global"])), "scopes[1]"),
        (good().with("scopes", json!([])), "scopes"),
        (good().with("config", json!({"jobTimeout": "soon"})), "config.jobTimeout"),
    ];
    for (job, field) in cases {
        let refusal = host.refused(job)?;
        assert_eq!(refusal.field(), Some(field), "{refusal}");
    }
    assert_eq!(host.head("c")?, None);
    Ok(())
}

#[test]
fn a_deeply_nested_input_is_refused_and_harms_nobody() -> Result<()> {
    let host = Host::start()?;
    let depth = 400_000;
    let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let failure = host.failed(job(COUNTER, "c").draft(json!({"type": "INCREMENT", "input": RAW})).raw(&deep))?;
    assert_eq!(failure.metadata.rejection_code.as_deref(), Some("INVALID_INPUT"), "{}", failure.message);
    host.applied(job(COUNTER, "c").action("RESET", Value::Null)).map(drop)
}

#[test]
fn any_number_fits_into_the_configuration_of_a_job() -> Result<()> {
    let host = Host::start()?;
    let most = json!({"jobTimeout": u64::MAX, "retryBaseDelay": u64::MAX, "retryMaxDelay": 0, "maxRetries": u32::MAX});
    host.applied(job(COUNTER, "c").action("RESET", Value::Null).with("config", most.clone()))?;
    let failure = host.failed(job(UNRULY, "u").action("ABORT", Value::Null).with("config", most))?;
    assert_eq!(failure.metadata.attempts, 2);
    let failure = host.failed(spin("u").with("config", json!({"jobTimeout": 0, "maxRetries": 2})))?;
    assert_eq!((failure.metadata.attempts, failure.metadata.reason), (3, Some(Reason::Timeout)));
    Ok(())
}

#[test]
fn an_unknown_model_is_refused_with_the_models_that_there_are() -> Result<()> {
    let host = Host::start()?;
    let refusal = host.refused(job("example/stranger", "d").action("RESET", Value::Null))?;
    assert!(matches!(refusal, Refusal::UnknownModel { .. }));
    assert!(refusal.to_string().contains("`example/counter`"), "{refusal}");
    Ok(())
}

#[test]
fn a_document_need_not_exist_yet_if_a_job_that_waits_will_create_it() -> Result<()> {
    let mut host = Setup::new().workers(1).start()?;
    let busy = host.submit(spin("busy").with("config", json!({"jobTimeout": 100, "maxRetries": 0})))?;
    host.started("busy")?;
    let creating = host.submit(job(COUNTER, "c").action("INCREMENT", json!({"by": 1})))?;
    let following = host.submit(JobText::of(json!({"documentId": "c", "actions": [{"type": "RESET"}]})))?;
    let refusal = host.refused(note("c", "another model"))?;
    assert!(matches!(refusal, Refusal::OtherModel { .. }), "{refusal}");
    assert!(!done(busy)?.success);
    assert!(done(creating)?.success && done(following)?.success);
    assert_eq!(host.state("c")?, json!({"value": 0}));
    Ok(())
}

#[test]
fn a_job_may_not_have_more_actions_than_allowed() -> Result<()> {
    let host = Setup::new().limits(Limits { actions_per_job_max: 2, ..Limits::default() }).start()?;
    let two = job(COUNTER, "c").action("RESET", Value::Null).action("RESET", Value::Null);
    host.applied(two.clone())?;
    assert_eq!(host.refused(two.action("RESET", Value::Null))?.field(), Some("actions"));
    Ok(())
}

#[test]
fn a_full_queue_refuses_and_takes_jobs_again_when_there_is_room() -> Result<()> {
    let limits = Limits { queue_depth_max: 2, ..Limits::default() };
    let mut host = Setup::new().workers(1).limits(limits).start()?;
    let busy = host.submit(spin("busy").with("config", json!({"jobTimeout": 100, "maxRetries": 0})))?;
    host.started("busy")?;
    let waiting = [host.submit(note("a", "one"))?, host.submit(note("b", "one"))?];
    let refusal = host.refused(note("c", "too many"))?;
    assert_eq!(refusal, Refusal::QueueFull { depth: 2, limit: 2 });
    done(busy)?;
    for ticket in waiting {
        assert!(done(ticket)?.success);
    }
    host.applied(note("c", "in time")).map(drop)
}

#[test]
fn cancelling_a_wait_does_not_cancel_the_job() -> Result<()> {
    let mut host = Host::start()?;
    host.applied(note("u", "it exists"))?;
    let job = made_job("u", "NOTE", json!({"text": "nobody waits"}))?;
    let (job_id, cancelled) = (job.id.clone(), CancellationToken::new());
    cancelled.cancel();
    let waited = host.execute(job, Some(cancelled))?;
    assert!(matches!(&waited, Err(ExecuteError::WaitCancelled(cancelled)) if cancelled.0 == job_id), "{waited:?}");
    host.event("the end of the job", |event| matches!(event, Event::JobCompleted(event) if event.job.id == job_id))?;
    assert_eq!(host.state("u")?, json!({"notes": ["it exists", "nobody waits"]}));
    Ok(())
}

#[test]
fn a_job_that_is_executed_keeps_its_id_and_is_checked_like_any_other() -> Result<()> {
    let host = Host::start()?;
    let stranger = host.execute(made_job("u", "NOTE", json!({"text": "who?"}))?, None)?;
    assert!(matches!(stranger, Err(ExecuteError::Refused(Refusal::UnknownDocument { .. }))), "{stranger:?}");
    host.applied(note("u", "it exists"))?;
    let job = made_job("u", "NOTE", json!({"text": "it is known"}))?;
    let result = host.execute(job.clone(), None)?.map_err(anyhow::Error::from)?;
    assert!(result.success);
    assert_eq!((&result.job.id, &result.job.actions), (&job.id, &job.actions));
    Ok(())
}

#[test]
fn a_job_runs_though_nobody_waits_for_it() -> Result<()> {
    let host = Host::start()?;
    drop(host.submit(note("u", "unattended"))?);
    host.applied(note("u", "attended"))?;
    assert_eq!(host.state("u")?, json!({"notes": ["unattended", "attended"]}));
    Ok(())
}

#[test]
fn operation_ids_are_those_that_other_reactors_derive() -> Result<()> {
    let cases: Vec<Value> = serde_json::from_slice(&data("operation-ids.json")?)?;
    assert_eq!(cases.len(), 8);
    for case in cases {
        let text = |field: &str| case[field].as_str().unwrap_or_else(|| panic!("{case} has no {field}"));
        let lane = LaneKey { branch: text("branch").into(), ..lane(text("documentId")) };
        let id = operation_id(&lane, &Scope::from(text("scope")), &ActionId::from(text("actionId")));
        assert_eq!(id.to_string(), text("operationId"), "{}", text("note"));
    }
    Ok(())
}

#[test]
fn the_log_has_the_derived_ids() -> Result<()> {
    let host = Host::start()?;
    host.applied(job(UNRULY, "u").fixed("a", "NOTE", json!({"text": "x"})))?;
    let stored = host.operations("u")?;
    let derived = operation_id(&lane("u"), &Scope::from(Scope::GLOBAL), &ActionId::from("a"));
    assert_eq!(stored[1].operation.id, derived);
    Ok(())
}
