//! Jobs are executed a second time on a fresh instance, and must come out the same.

use reductor_core::{
    AuditPolicy, AuditStats, Divergence, DivergenceKind, Hint, HostFault, JobErrorCode, JobResult, OnDivergence,
    Reason, state_hash,
};
use serde_json::{Value, json};

use super::host::{Host, add, hold, job, result, with, within};
use super::scripted::{failed, rejected, trapped};

/// An action of this type, which is also its id but for a number.
fn action(action_type: &str, number: u32) -> Value {
    json!({ "id": format!("{action_type} {number}"), "type": action_type })
}

fn count(number: u32) -> Value {
    action("COUNT", number)
}

/// Fails as impure, and says how.
#[track_caller]
fn diverges(host: &Host, submission: &Value) -> (Divergence, String) {
    let result = host.fail(submission, JobErrorCode::LibraryError);
    let metadata = result.metadata.clone().expect("a result has metadata");
    assert_eq!((metadata.reason, metadata.deterministic), (Some(Reason::Diverged), Some(false)));
    assert_eq!(metadata.attempts, 1, "it is not tried again");
    let divergence = metadata.divergence.expect("it says how it diverged");
    assert_eq!(metadata.action_index, Some(divergence.action_index));
    (*divergence, result.error_message.clone().expect("a failure has a message"))
}

fn audits(host: &Host) -> (u64, u64, u64) {
    let AuditStats { audited, diverged, inconclusive, .. } = host.manager().audit_stats();
    (audited, diverged, inconclusive)
}

fn goes_on() -> Host {
    Host::with(|config| {
        config.audit = AuditPolicy::Every;
        config.on_divergence = OnDivergence::FailJob;
    })
}

#[test]
fn hidden_state_is_found_at_the_first_job_that_it_changes() {
    let host = Host::auditing();
    host.succeed(&job("d", &[count(1), count(2)]));
    let (divergence, message) = diverges(&host, &job("d", &[add("fine"), count(3), add("after")]));
    assert_eq!(host.state("d"), r#"["count 1","count 2"]"#, "nothing of the job was committed");
    let (resident, fresh) = (r#"["count 1","count 2","fine","count 4"]"#, r#"["count 1","count 2","fine","count 2"]"#);
    assert_eq!((divergence.kind, divergence.action_index), (DivergenceKind::State, 1));
    assert_eq!((divergence.resident.text.as_str(), divergence.fresh.text.as_str()), (resident, fresh));
    assert_eq!(divergence.resident.hash, Some(state_hash(resident.as_bytes())));
    assert_eq!(divergence.fresh.hash, Some(state_hash(fresh.as_bytes())));
    assert_eq!((divergence.path.as_deref(), divergence.hint), (Some("[3]"), Hint::HiddenState));
    assert_eq!(
        message,
        "test/list v1 failed (diverged) in actions[1] `COUNT`: a fresh instance made another state of scope \
         `global` at `[3]`: the resident one made \"count 4\", the fresh one \"count 2\""
    );
    assert_eq!(audits(&host), (2, 1, 0));
}

#[test]
fn what_was_dispatched_is_compared_and_not_dispatched_twice() {
    let host = Host::auditing();
    host.succeed(&job("d", &[action("COUNT_OUT", 1)]));
    host.wait_until_said("completed COUNT_OUT 1");
    let (divergence, _) = diverges(&host, &job("d", &[action("COUNT_OUT", 2)]));
    assert_eq!((divergence.kind, divergence.path), (DivergenceKind::Dispatches, None));
    assert_eq!(divergence.fresh.text, r#"`ADD` in scope `global`: "1""#);
    assert_eq!(host.state("d"), r#"["COUNT_OUT 1","1"]"#);
}

#[test]
fn refusals_are_compared_in_their_words() {
    let host = Host::auditing();
    host.fail(&job("d", &[action("COUNT_REFUSALS", 1)]), JobErrorCode::LibraryError);
    let (divergence, _) = diverges(&host, &job("d", &[action("COUNT_REFUSALS", 2)]));
    assert_eq!((divergence.kind, divergence.hint), (DivergenceKind::Answer, Hint::HiddenState));
    assert_eq!(divergence.fresh.value, "a refusal: refusal 1 (NO)");
    assert!(divergence.resident.value.starts_with("a refusal: refusal "), "{divergence}");
}

#[test]
fn an_action_that_only_one_of_both_applies_is_told() {
    for error in [rejected("FULL", "no room"), trapped("unreachable"), failed(Reason::InvalidOutput, "no JSON")] {
        let host = Host::auditing();
        host.script.fail_second("a", error);
        let (divergence, message) = diverges(&host, &job("d", &[add("a")]));
        assert_eq!((divergence.kind, divergence.resident.value.as_str()), (DivergenceKind::Answer, "a new state"));
        assert!(message.contains("a fresh instance gave another answer"), "{message}");
    }
}

#[test]
fn a_scope_that_changes_behind_the_logs_back_is_told() {
    let host = Host::auditing();
    let (divergence, message) = diverges(&host, &job("d", &[action("STRAY", 1)]));
    assert_eq!((divergence.kind, divergence.hint), (DivergenceKind::UnloggedChange, Hint::OtherScope));
    assert_eq!((divergence.scope.as_str(), divergence.path.as_deref()), ("local", Some("[0]")));
    assert_eq!((divergence.resident.text.as_str(), divergence.fresh.text.as_str()), (r#"["stray"]"#, "[]"));
    assert!(message.ends_with("another state of scope `local` than its actions returned at `[0]`: it holds \"stray\", and nothing was returned"), "{message}");
}

#[test]
fn a_state_that_cannot_be_loaded_again_is_told() {
    let host = Host::auditing();
    host.succeed(&job("d", &[add("a")]));
    host.script.fail_loads([failed(Reason::AbiMismatch, "it could not load the document")]);
    let (divergence, _) = diverges(&host, &job("d", &[add("b")]));
    assert_eq!((divergence.kind, divergence.hint), (DivergenceKind::Answer, Hint::Snapshot));
    assert!(divergence.fresh.value.contains("it could not load the document"), "{divergence}");
}

#[test]
fn limits_that_only_the_fresh_instance_meets_accuse_nobody() {
    let limits =
        [Reason::Timeout, Reason::FuelExhausted, Reason::MemoryLimit, Reason::TableLimit, Reason::StackOverflow];
    let mut errors: Vec<_> = limits.map(|reason| failed(reason, "too much")).into();
    errors.push(reductor_core::ApplyError::Host(HostFault::Broken("for a moment".to_owned())));
    errors.push(reductor_core::ApplyError::Interrupted);
    let host = Host::auditing();
    for (number, error) in errors.into_iter().enumerate() {
        host.script.fail_second(&format!("{number}"), error);
        host.succeed(&job("d", &[add(&format!("{number}")), add(&format!("then {number}"))]));
    }
    assert_eq!(audits(&host), (7, 0, 7));
    host.script.fail_loads([failed(Reason::MemoryLimit, "too much")]);
    host.succeed(&job("d", &[add("loaded")]));
    assert_eq!((audits(&host), host.manager().quarantined().len()), ((8, 0, 8), 0));
}

#[test]
fn an_audit_takes_none_of_its_jobs_time_and_makes_no_model_suspect() {
    let host = Host::with(|config| {
        config.audit = AuditPolicy::Every;
        config.manager.job_timeout = Some(1_000);
        config.max_retries = 0;
    });
    host.script.slow_at_second("a");
    host.succeed(&job("d", &[add("a"), add("b")]));
    assert_eq!(audits(&host), (1, 0, 1), "the fresh instance used up the time of an attempt");
    let held = ["e", "f"].map(|name| host.accept(&job(name, &[hold(name)])));
    ["e", "f"].iter().for_each(|name| host.script.wait_until_held(name));
    ["e", "f"].iter().for_each(|name| host.script.release(name));
    assert!(held.into_iter().all(|ticket| result(ticket).success));
}

#[test]
fn a_document_that_cannot_say_what_it_holds_goes_on_audited_or_not() {
    for reason in [Reason::Trap, Reason::Timeout, Reason::FuelExhausted] {
        let host = Host::auditing();
        host.succeed(&job("d", &[add("a")]));
        let before = host.calls().dropped;
        host.script.fail_states([(); 2].map(|()| Some(failed(reason, "no state"))));
        host.succeed(&job("d", &[add("b")]));
        assert_eq!(audits(&host), (2, 0, 1), "nothing can be said: {reason:?}");
        assert_eq!(host.calls().dropped, before + 2, "neither instance is asked again");
        host.script.fail_states([None]);
        host.succeed(&job("d", &[add("c")]));
        assert_eq!(host.state("d"), r#"["a","b","c"]"#);
        assert_eq!(host.calls().reloaded, Vec::<String>::new());
    }
}

#[test]
fn a_document_that_alone_cannot_say_what_it_holds_diverges() {
    let host = Host::auditing();
    host.succeed(&job("d", &[add("a")]));
    host.script.fail_states([Some(trapped("unreachable"))]);
    let (divergence, _) = diverges(&host, &job("d", &[add("b")]));
    assert_eq!((divergence.kind, divergence.fresh.value.as_str()), (DivergenceKind::Answer, "a state"));
    assert_eq!(divergence.resident.value, "a failure (trap): it met unreachable");
}

#[test]
fn a_job_that_fails_is_not_audited_but_for_refusals() {
    let host = Host::auditing();
    host.script.fail("a", [trapped("unreachable"), trapped("unreachable")]);
    host.fail(&job("d", &[add("before"), add("a")]), JobErrorCode::LibraryError);
    assert_eq!(audits(&host), (0, 0, 0));
    host.fail(&with(job("d", &[add("b")]), "resultingHash", json!("wrong")), JobErrorCode::HashMismatch);
    assert_eq!(audits(&host), (1, 0, 0), "whose fault the hash is has been seen");
}

#[test]
fn the_audit_of_a_job_adds_nothing_to_its_result() {
    let plain = Host::start();
    let audited = Host::auditing();
    let script = |host: &Host| -> Vec<JobResult> {
        let mut results = Vec::new();
        for number in 0..5_u32 {
            let name = |part: &str| format!("{part}{number}");
            let more = json!({ "id": name("d"), "type": "DISPATCH", "input": [{ "input": name("sent") }] });
            results.push(host.run(&job("d", &[add(&name("a")), more])));
            host.script.fail(&name("r"), [rejected("NO", "no"), rejected("NO", "no")]);
            results.push(host.run(&job("d", &[add(&name("r"))])));
        }
        within(host.manager().wait_until_idle());
        results.iter().map(|result| JobResult::clone(result)).collect()
    };
    let same = |result: &JobResult| {
        let metadata = result.metadata.clone().expect("a result has metadata");
        (result.operations.clone().into_iter().map(|it| (it.id, it.hash)).collect::<Vec<_>>(), metadata.reason)
    };
    let (plainly, auditedly) = (script(&plain), script(&audited));
    assert_eq!(plainly.iter().map(same).collect::<Vec<_>>(), auditedly.iter().map(same).collect::<Vec<_>>());
    assert_eq!(plain.state("d"), audited.state("d"));
    assert_eq!(audits(&plain), (0, 0, 0));
}

#[test]
fn a_job_whose_actions_were_all_applied_before_has_nothing_to_compare() {
    let host = Host::auditing();
    let script = job("d", &[add("a"), add("b")]);
    host.succeed(&script);
    host.succeed(&script);
    assert_eq!((audits(&host), host.state("d").as_str()), ((2, 0, 0), r#"["a","b"]"#));
}

#[test]
fn a_plugin_may_go_on_if_the_host_says_so() {
    let host = goes_on();
    host.succeed(&job("d", &[count(1)]));
    diverges(&host, &job("d", &[count(2)]));
    host.succeed(&job("d", &[add("a")]));
    host.succeed(&job("e", &[count(3)]));
    assert_eq!((host.state("d").as_str(), host.manager().quarantined().len()), (r#"["count 1","a"]"#, 0));
}

#[test]
fn a_share_of_everything_audits_soon_and_a_share_of_nothing_never() {
    let host = Host::with(|config| config.audit = AuditPolicy::Share(1.0));
    let mut jobs = 0_u32;
    while audits(&host).0 == 0 {
        jobs += 1;
        assert!(jobs < 100_000, "no job was audited");
        host.succeed(&job(&format!("d{}", jobs % 50), &[add(&format!("{jobs}"))]));
    }
    let host = Host::with(|config| config.audit = AuditPolicy::Share(0.0));
    (0..200).for_each(|number| drop(host.succeed(&job("d", &[add(&format!("{number}"))]))));
    assert_eq!(audits(&host), (0, 0, 0));
}
