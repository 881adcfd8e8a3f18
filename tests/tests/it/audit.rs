//! Reducers that are not pure are found out and put into quarantine; those that are never are.

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use reductor_core::{Divergence, DivergenceKind, Hint, JobErrorCode, JobId, Reason, Stop, state_hash};
use serde_json::{Value, json};

use crate::support::{
    COUNTER, Failure, Host, JobText, Setup, TEXT, TODO_LIST, UNRULY, done, guest_log, job, keep_guest_logs, note,
};

/// A job of one action without input on an unruly document.
fn impure(document: &str, action_type: &str) -> JobText {
    job(UNRULY, document).action(action_type, Value::Null)
}

/// What the job says of how it diverged.
fn divergence(failure: Failure) -> Result<Divergence> {
    assert_eq!((failure.code, failure.metadata.reason), (JobErrorCode::LibraryError, Some(Reason::Diverged)));
    assert_eq!((failure.metadata.deterministic, failure.metadata.attempts), (Some(false), 1));
    Ok(*failure.metadata.divergence.context("it does not say how it diverged")?)
}

/// Lets everything in quarantine go.
fn release_all(host: &Host) -> usize {
    host.quarantined().iter().map(|quarantine| host.release(&quarantine.plugin.digest).len()).sum()
}

#[test]
fn hidden_state_is_found_at_the_second_job() -> Result<()> {
    for (action, path, resident, fresh) in [
        ("COUNT_IN_A_GLOBAL", "notes[2]", "\"count 2\"", "\"count 1\""),
        ("COUNT_IN_A_FIELD", "notes[2]", "\"visit 2\"", "\"visit 1\""),
    ] {
        let host = Host::start()?;
        host.applied(note("u", "first"))?;
        host.applied(impure("u", action))?;
        let failure = host.failed(impure("u", action))?;
        let said = format!(
            "test/unruly v1 failed (diverged) in actions[0] `{action}`: a fresh instance made another state of scope \
             `global` at `{path}`: the resident one made {resident}, the fresh one {fresh}"
        );
        assert_eq!(failure.message, said);
        let divergence = divergence(failure)?;
        assert_eq!((divergence.kind, divergence.hint), (DivergenceKind::State, Hint::HiddenState));
        assert_eq!(divergence.path.as_deref(), Some(path));
        assert_eq!((divergence.resident.value.as_str(), divergence.fresh.value.as_str()), (resident, fresh));
        for side in [&divergence.resident, &divergence.fresh] {
            assert!(side.text.starts_with(r#"{"notes":["first","#), "{}", side.text);
            assert_eq!(side.hash, Some(state_hash(side.text.as_bytes())));
        }
    }
    Ok(())
}

#[test]
fn hidden_state_in_dispatches_and_refusals_is_found_too() -> Result<()> {
    let host = Host::start()?;
    host.applied(impure("u", "COUNT_IN_A_DISPATCH"))?;
    host.idle()?;
    let found = divergence(host.failed(impure("u", "COUNT_IN_A_DISPATCH"))?)?;
    assert_eq!(found.kind, DivergenceKind::Dispatches);
    assert_eq!(found.fresh.text, r#"`NOTE` in scope `global`: {"text":"count 1"}"#);
    assert_eq!(host.state("u")?, json!({"notes": ["counted", "count 1"]}), "nothing was dispatched twice");

    release_all(&host);
    host.failed(impure("v", "COUNT_IN_A_REFUSAL"))?;
    let found = divergence(host.failed(impure("v", "COUNT_IN_A_REFUSAL"))?)?;
    assert_eq!((found.kind, found.fresh.value.as_str()), (DivergenceKind::Answer, "a refusal: refusal 1 (NO)"));
    Ok(())
}

#[test]
fn the_order_of_a_hash_map_and_the_address_of_an_allocation_are_found() -> Result<()> {
    for action in ["HASH_MAP_ORDER", "ADDRESS"] {
        let host = Host::start()?;
        let found =
            (0..5).find_map(|_| host.run(impure("u", action)).map(|it| Some(it).filter(|it| !it.success)).transpose());
        let result = found.with_context(|| format!("{action} was not found out"))??;
        assert_eq!(result.metadata.as_ref().and_then(|it| it.reason), Some(Reason::Diverged), "{result:?}");
    }
    Ok(())
}

#[test]
fn a_plugin_that_is_not_pure_waits_alone() -> Result<()> {
    let mut host = Host::start()?;
    host.applied(impure("u", "COUNT_IN_A_GLOBAL"))?;
    let failed = host.run(impure("u", "COUNT_IN_A_GLOBAL"))?;
    let [quarantine] = &host.quarantined()[..] else { anyhow::bail!("not one quarantine") };
    let job_id: &JobId = &failed.job.id;
    assert_eq!((quarantine.plugin.document_type.as_str(), &quarantine.job_id), (UNRULY, job_id));
    assert!(quarantine.plugin.digest.starts_with("sha256:"), "{}", quarantine.plugin.digest);

    let mut waiting = [host.submit(note("u", "later"))?, host.submit(note("other", "later"))?];
    host.applied(job(COUNTER, "c").action("INCREMENT", json!({"by": 1})))?;
    host.applied(job(TODO_LIST, "t").action("ADD", json!({"id": "1", "text": "go on"})))?;
    assert!(waiting.iter_mut().all(|ticket| ticket.try_wait().is_none()));
    host.idle()?;
    assert_eq!(host.release("sha256:0"), []);
    assert_eq!(release_all(&host), 1);
    for ticket in waiting {
        ensure!(done(ticket)?.success, "what waited was not applied");
    }
    assert_eq!(host.state("u")?, json!({"notes": ["count 1", "later"]}));
    host.stop(Stop::Graceful)
}

#[test]
fn a_guest_is_heard_once_although_it_runs_twice() -> Result<()> {
    keep_guest_logs();
    let host = Host::start()?;
    let log = json!({"lines": 3, "bytes": 4});
    host.applied(job(UNRULY, "heard once").action("LOG", log))?;
    assert_eq!((guest_log("heard once").len(), host.audits().audited), (3, 1));
    Ok(())
}

/// One more job of a random history on the document of this model; some are refused.
fn random_job(model: &str, rng: &mut Rng) -> JobText {
    let mut text = job(model, model);
    for _ in 0..rng.usize(1..4) {
        let id = format!("item {}", rng.u32(0..12));
        let words = format!("{} \"{}\" \u{1F9A6}\u{7f}\n", rng.alphabetic(), rng.u64(..));
        let (action, input) = match (model, rng.u32(0..6)) {
            (COUNTER, 0) => ("RESET", Value::Null),
            (COUNTER, 1..=3) => ("INCREMENT", json!({"by": rng.i64(-1 << 50..1 << 50)})),
            (COUNTER, _) => ("DECREMENT", json!({"by": rng.i64(-1 << 50..1 << 50)})),
            (TODO_LIST, 0) => ("COMPLETE", json!({"id": id})),
            (TODO_LIST, 1) => ("RENAME", json!({"id": id, "text": words})),
            (TODO_LIST, 2) => ("REMOVE", json!({"id": id})),
            (TODO_LIST, 3) => ("CLEAR_COMPLETED", Value::Null),
            (TODO_LIST, _) => ("ADD", json!({"id": id, "text": words})),
            _ => {
                let patches: Vec<_> = (0..rng.u32(1..4))
                    .map(|_| json!([rng.u32(0..40), rng.u32(0..3), words.repeat(rng.usize(0..3))]))
                    .collect();
                ("EDIT", json!({"patches": patches}))
            }
        };
        text = text.action(action, input);
    }
    text
}

#[test]
fn good_plugins_are_never_accused_whatever_their_history() -> Result<()> {
    for seed in 0..4 {
        let mut rng = Rng::with_seed(seed);
        let host = Host::start()?;
        let (mut applied, mut refused) = (0, 0);
        for _ in 0..200 {
            for model in [COUNTER, TODO_LIST, TEXT] {
                let result = host.run(random_job(model, &mut rng))?;
                let reason = result.metadata.as_ref().and_then(|metadata| metadata.reason);
                ensure!(result.success || reason == Some(Reason::Rejected), "seed {seed}: {:?}", result.error_message);
                *(if result.success { &mut applied } else { &mut refused }) += 1;
            }
        }
        ensure!(applied > 100 && refused > 50, "seed {seed}: {applied} applied, {refused} refused");
        let audits = host.audits();
        assert_eq!((audits.audited, audits.diverged, audits.inconclusive), (600, 0, 0), "seed {seed}");
        assert_eq!(host.quarantined(), []);
    }
    Ok(())
}

#[test]
fn a_host_that_is_not_told_otherwise_finds_an_impure_plugin_under_load() -> Result<()> {
    let host = Setup::new().default_audit().start()?;
    let mut jobs = 0;
    while host.quarantined().is_empty() {
        ensure!(jobs < 100_000, "{jobs} jobs, and it was not found out");
        // Those behind the job that is found out wait; nobody waits for them here.
        for number in 0..50 {
            host.submit(impure(&format!("u{}", number % 10), "COUNT_IN_A_GLOBAL"))?;
        }
        host.idle()?;
        jobs += 50;
    }
    assert_eq!(host.quarantined()[0].reason, Reason::Diverged);
    let audits = host.audits();
    ensure!(audits.audited < jobs / 5, "{audits:?} of {jobs} jobs");
    Ok(())
}
