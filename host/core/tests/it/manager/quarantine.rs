//! Jobs of a plugin in quarantine wait, whatever else happens to the manager, and others do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reductor_core::{
    ApplyError, AuditPolicy, Call, JobErrorCode, JobId, LiveDocument, Manifest, Phase, PluginRef, Reason, Reducer,
    ScopeState, Stop, Ticket,
};
use serde_json::{Value, json};

use super::drive::{after, cancelled, failed_with, given_back};
use crate::executor::host::{Host, MODEL, OTHER_MODEL, add, hold, job, job_of, result, results};
use crate::executor::scripted::{Scripted, trapped};

fn count(name: &str) -> Value {
    json!({ "id": name, "type": "COUNT" })
}

/// A host that has just put [`MODEL`] into quarantine, for what it did to the document `impure`.
fn host() -> Host {
    let host = Host::auditing();
    expose(&host);
    host
}

#[track_caller]
fn expose(host: &Host) -> JobId {
    host.succeed(&job("impure", &[add("first")]));
    let failed = host.fail(&job("impure", &[count("second")]), JobErrorCode::LibraryError);
    assert_eq!(failed.metadata.as_ref().and_then(|it| it.reason), Some(Reason::Diverged));
    failed.job.id.clone()
}

/// Jobs of other models have had their turns since; these have not started.
#[track_caller]
fn wait(host: &Host, probe: &str, tickets: &mut [Ticket]) {
    host.succeed(&job_of(OTHER_MODEL, "probe", &[add(probe)]));
    assert!(tickets.iter_mut().all(|ticket| ticket.try_wait().is_none()));
}

fn release(host: &Host) -> usize {
    host.manager().release("native").len()
}

#[test]
fn it_says_which_revision_and_why_and_for_which_job() {
    let host = Host::auditing();
    host.advance(5);
    let job_id = expose(&host);
    let [quarantine] = &host.manager().quarantined()[..] else { panic!("not one quarantine") };
    assert_eq!((quarantine.plugin.document_type.as_str(), quarantine.plugin.version), (MODEL, 1));
    assert_eq!((quarantine.reason, &quarantine.job_id), (Reason::Diverged, &job_id));
    assert_eq!((quarantine.document_id.as_str(), quarantine.branch.as_str()), ("impure", "main"));
    assert_eq!(quarantine.since.ms, 5);
    assert!(quarantine.message.contains("a fresh instance made another state"), "{}", quarantine.message);
    assert_eq!(quarantine.divergence.as_ref().and_then(|it| it.path.as_deref()), Some("[1]"));
}

#[test]
fn jobs_are_accepted_and_wait_while_other_models_go_on() {
    let host = host();
    let mut tickets = ["impure", "b", "c"].map(|name| host.accept(&job(name, &[add(name)])));
    wait(&host, "1", &mut tickets);
    assert_eq!(host.stats().queue_backlog, 3);
    assert!(release(&host) == 1 && release(&host) == 0);
    assert!(results(tickets).iter().all(|result| result.success));
    assert_eq!(host.state("impure"), r#"["first","impure"]"#);
    assert_eq!(host.manager().quarantined(), []);
}

#[test]
fn jobs_that_were_queued_before_wait_too_and_keep_their_order() {
    let host = Host::stopped_auditing();
    let mut tickets: Vec<_> = ["a", "b"]
        .iter()
        .flat_map(|document| (0..40).map(move |number| job(document, &[add(&format!("{document}{number}"))])))
        .map(|submission| host.accept(&submission))
        .collect();
    let impure = ["first", "second"].map(|name| host.accept(&job("impure", &[count(name)])));
    let later = host.accept(&job("impure", &[add("later")]));
    host.start_manager();
    let [first, second] = impure.map(result);
    assert_eq!((first.success, second.success), (true, false));
    host.wait_until_idle();
    tickets.push(later);
    let done = |host: &Host| host.status().total_jobs_processed;
    let before = done(&host);
    host.succeed(&job_of(OTHER_MODEL, "probe", &[add("1")]));
    assert_eq!(done(&host), before + 1);
    release(&host);
    assert!(results(tickets).iter().all(|result| result.success));
    let expected: Vec<_> = (0..40).map(|number| format!("b{number}")).collect();
    assert_eq!(host.state("b"), json!(expected).to_string());
}

#[test]
fn a_turn_that_runs_when_its_plugin_is_found_out_ends_with_its_job() {
    let host = Host::not_started(|config| config.audit = AuditPolicy::Every);
    let held = host.accept(&job("other", &[hold("h")]));
    let mut behind = [host.accept(&job("other", &[add("behind")]))];
    host.start_manager();
    host.script.wait_until_held("h");
    expose(&host);
    host.script.release("h");
    assert!(result(held).success, "what runs is let finish");
    wait(&host, "1", &mut behind);
    release(&host);
    assert!(results(behind).iter().all(|result| result.success));
}

#[test]
fn another_revision_lets_the_jobs_go_on_and_the_old_one_waits_again() {
    let host = host();
    let ticket = host.accept(&job("impure", &[add("a")]));
    let old = host.reducers.get(&MODEL.into()).expect("it serves");
    host.reducers.register(Arc::new(Scripted::new(MODEL, 2, &["global", "local"], &host.script)));
    let done = result(ticket);
    assert_eq!(done.metadata.as_ref().and_then(|it| it.plugin.as_ref()).map(|it| it.version), Some(2));
    assert_eq!(host.manager().quarantined().len(), 1, "it is not forgotten");

    host.reducers.register(old);
    // Not the same document: its states are of version 2 now.
    let mut tickets = [host.accept(&job("b", &[add("b")]))];
    host.wait_until_idle();
    wait(&host, "1", &mut tickets);
    release(&host);
    assert!(results(tickets).iter().all(|result| result.success));
}

#[test]
fn a_release_of_another_digest_releases_nothing() {
    let host = host();
    let mut tickets = [host.accept(&job("b", &[add("b")]))];
    assert_eq!(host.manager().release("sha256:00"), []);
    wait(&host, "1", &mut tickets);
}

#[test]
fn a_plugin_that_was_released_is_found_out_again() {
    let host = host();
    release(&host);
    host.succeed(&job("impure", &[add("a")]));
    host.fail(&job("impure", &[count("third")]), JobErrorCode::LibraryError);
    assert_eq!(host.manager().quarantined().len(), 1);
}

#[test]
fn whoever_waits_until_there_is_nothing_to_do_does_not_wait_for_them() {
    let host = host();
    let waiting = host.accept(&job("impure", &[add("a")]));
    let dependent = host.accept(&after(job_of(OTHER_MODEL, "o", &[add("o")]), [&waiting.job_id]));
    host.wait_until_idle();
    host.manager().wait_until_idle_blocking();
    assert_eq!(host.stats().queue_backlog, 2);
    let busy = host.accept(&job_of(OTHER_MODEL, "busy", &[hold("busy")]));
    host.script.wait_until_held("busy");
    host.script.release("busy");
    host.wait_until_idle();
    assert!(result(busy).success);
    release(&host);
    assert!(results([waiting, dependent]).iter().all(|result| result.success));
    host.wait_until_idle();
    assert_eq!(host.stats().queue_backlog, 0);
}

#[test]
fn whoever_waits_already_is_told_when_the_last_lane_comes_to_wait() {
    let host = Host::auditing();
    host.succeed(&job("impure", &[add("first")]));
    let held = host.accept(&job("impure", &[hold("h"), count("second")]));
    host.script.wait_until_held("h");
    let mut behind = [host.accept(&job("impure", &[add("behind")]))];
    std::thread::scope(|scope| {
        scope.spawn(|| host.wait_until_idle());
        scope.spawn(|| host.manager().wait_until_idle_blocking());
        host.script.release("h");
    });
    assert!(!result(held).success);
    wait(&host, "1", &mut behind);
}

#[test]
fn a_stop_gives_them_back_and_the_quarantine_outlasts_it() {
    for how in [Stop::Graceful, Stop::Interrupt] {
        let host = host();
        let tickets = ["impure", "b"].map(|name| host.accept(&job(name, &[add(name)])));
        host.stop_for_now(how);
        results(tickets).iter().for_each(|result| given_back(result, 0));
        host.start_manager();
        let mut tickets = [host.accept(&job("b", &[add("b")]))];
        wait(&host, "1", &mut tickets);
        release(&host);
        assert!(results(tickets).iter().all(|result| result.success));
    }
}

#[test]
fn they_can_be_cancelled_and_their_dependents_fail() {
    let host = host();
    let waiting = host.accept(&job("impure", &[add("a")]));
    let dependent = host.accept(&after(job_of(OTHER_MODEL, "o", &[add("o")]), [&waiting.job_id]));
    let id = waiting.job_id.clone();
    cancelled(&host.cancel(&id).expect("it has not started"));
    failed_with(&result(dependent), &id, JobErrorCode::GracefulAbort);
    assert_eq!((host.stats().queue_backlog, host.phase()), (0, Phase::Running));
    release(&host);
    host.succeed(&job("impure", &[add("b")]));
}

#[test]
fn a_job_that_waits_for_its_retry_waits_for_the_plugin_as_well() {
    let host = Host::with(|config| {
        config.audit = AuditPolicy::Every;
        (config.manager.retry_base_delay, config.manager.retry_max_delay) = (Some(1_000_000), Some(1_000_000));
    });
    host.script.fail("a", [trapped("unreachable")]);
    let mut tickets = [host.accept(&job("d", &[add("a")]))];
    host.wait_until_said("failed a, retry 1 follows");
    expose(&host);
    host.wait_until_idle();
    host.advance(1_000_000);
    wait(&host, "1", &mut tickets);
    release(&host);
    assert!(results(tickets).iter().all(|result| result.success));
}

#[test]
fn others_are_not_touched_although_the_impure_one_has_many_documents() {
    let host = host();
    let waiting: Vec<_> = (0..500).map(|number| host.accept(&job(&format!("d{number}"), &[add("w")]))).collect();
    let others = (0..500)
        .map(|number| host.accept(&job_of(OTHER_MODEL, &format!("o{}", number % 9), &[add(&format!("{number}"))])));
    assert!(results(others.collect::<Vec<_>>()).iter().all(|result| result.success));
    assert_eq!(host.stats().queue_backlog, 500);
    release(&host);
    assert!(results(waiting).iter().all(|result| result.success));
}

/// The revision of a reducer, which does something when somebody asks which it is.
struct Asked {
    inner: Arc<dyn Reducer>,
    armed: AtomicBool,
    when_asked: Box<dyn Fn() + Send + Sync>,
}

impl Reducer for Asked {
    fn manifest(&self) -> &Manifest {
        self.inner.manifest()
    }

    fn plugin(&self) -> &Arc<PluginRef> {
        if self.armed.swap(false, Ordering::Relaxed) {
            (self.when_asked)();
        }
        self.inner.plugin()
    }

    fn load(&self, snapshot: &[ScopeState], call: &mut Call<'_>) -> Result<Box<dyn LiveDocument>, ApplyError> {
        self.inner.load(snapshot, call)
    }

    fn upgrade(
        &self,
        from_version: u32,
        snapshot: &[ScopeState],
        call: &mut Call<'_>,
    ) -> Result<Vec<ScopeState>, ApplyError> {
        self.inner.upgrade(from_version, snapshot, call)
    }
}

#[test]
fn one_that_is_registered_again_just_before_a_job_starts_does_not_run_it() {
    let host = Host::auditing();
    expose(&host);
    let old = host.reducers.get(&MODEL.into()).expect("it serves");
    let (reducers, comes_back) = (host.reducers.clone(), old.clone());
    // A worker is about to start a job on the new revision when the old one is registered again.
    let asked = Arc::new(Asked {
        inner: Arc::new(Scripted::new(MODEL, 2, &["global", "local"], &host.script)),
        armed: AtomicBool::new(false),
        when_asked: Box::new(move || {
            let (reducers, old) = (reducers.clone(), comes_back.clone());
            std::thread::spawn(move || reducers.register(old)).join().expect("it is registered");
        }),
    });
    host.reducers.register(asked.clone());
    let held = host.accept(&job("e", &[hold("h")]));
    let behind = host.accept(&job("e", &[add("behind")]));
    host.script.wait_until_held("h");
    asked.armed.store(true, Ordering::Relaxed);
    host.script.release("h");
    let versions = [held, behind]
        .map(result)
        .map(|result| result.metadata.as_ref().and_then(|it| it.plugin.as_ref()).map(|plugin| plugin.version));
    assert_eq!(versions, [Some(2), Some(2)]);
    let mut tickets = [host.accept(&job("b", &[add("b")]))];
    wait(&host, "1", &mut tickets);
    release(&host);
    assert!(results(tickets).iter().all(|result| result.success));
}
