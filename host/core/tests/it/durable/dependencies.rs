//! A job does not run if a job that it depends on failed, whatever is forgotten meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reductor_core::{
    ApplyError, Call, DispatchGrants, DocumentType, JobErrorCode, JobRecord, JobStatus, LiveDocument, Manifest,
    PluginRef, Reason, Reducer, Scope, ScopeState, Stop,
};
use serde_json::json;

use super::disk::Fate;
use super::machine::{Machine, Process, aside};
use crate::executor::host::{MODEL, add, hold, job, job_of, result, within};
use crate::executor::scripted::rejected;
use crate::manager::drive::{after, broken, failed_with, metadata};

/// A process whose failed attempts wait for a long time.
fn patient(machine: &Machine) -> Process {
    machine.boot_with(|config| {
        (config.manager.retry_base_delay, config.manager.retry_max_delay) = (Some(3_000_000), Some(3_000_000));
    })
}

#[test]
fn a_dependent_of_a_job_that_failed_does_not_run_after_a_discard_and_a_restart() {
    let machine = Machine::new();
    let process = patient(&machine);
    // The lane of the dependent is busy with a backoff.
    machine.script.fail("first", [broken()]);
    process.accept(&job("e", &[add("first")]));
    process.wait_until_said("failed first, retry 1 follows");
    machine.script.fail("fails", [rejected("NO", "no")]);
    process.manager().pause().expect("it runs");
    let fails = process.accept(&job("d", &[add("fails")])).job_id;
    let depends = process.accept(&after(job("e", &[add("depends")]), [&fails])).job_id;
    process.manager().resume().expect("it is paused");
    assert!(!within(process.watch(&fails).wait()).success);
    process.manager().discard_failed(&fails).expect("it failed for good");
    process.crash(Fate::Lost);
    let process = patient(&machine);
    process.advance();
    failed_with(&within(process.watch(&depends).wait()), &fails, JobErrorCode::LibraryError);
}

#[test]
fn a_dependency_that_failed_is_remembered_over_a_stop_although_its_result_is_forgotten() {
    let machine = Machine::new();
    let stubborn = Arc::new(Stubborn::default());
    machine.reducers.register(stubborn.clone());
    let process = machine.boot_with(|config| {
        config.manager.max_concurrency = Some(2);
        config.retention.results_max = 0;
    });
    let given_back = process.accept(&job("x", &[hold("x")]));
    machine.script.wait_until_held("x");
    let fails = process.accept(&job_of("test/stubborn", "y", &[add("y")])).job_id;
    while !stubborn.has_begun.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    let depends = process.accept(&after(job("z", &[add("z")]), [&given_back.job_id, &fails])).job_id;
    std::thread::scope(|scope| {
        let stop = aside(scope, || process.manager().stop_blocking(Stop::Interrupt));
        process.wait_until_stopping();
        assert_eq!(result(given_back).error_code, Some(JobErrorCode::GracefulAbort));
        stubborn.may_end.store(true, Ordering::SeqCst);
        stop.wait();
    });
    assert_eq!(machine.status(&fails), JobStatus::Failed);
    machine.script.release("x");
    let watched = process.watch(&depends);
    process.manager().start(None).expect("it is stopped");
    assert_eq!(metadata(&within(watched.wait())).reason, Some(Reason::DependencyFailed));
}

/// Refuses once it may, whatever interrupts it.
struct Stubborn {
    manifest: Manifest,
    plugin: Arc<PluginRef>,
    has_begun: AtomicBool,
    may_end: AtomicBool,
}

impl Default for Stubborn {
    fn default() -> Self {
        let document_type = DocumentType::from("test/stubborn");
        let plugin = PluginRef { document_type: document_type.clone(), version: 1, digest: "native".into() };
        let scopes = vec![Scope::from("global")];
        Self {
            manifest: Manifest { document_type, version: 1, scopes, actions: Vec::new(), canonical: true },
            plugin: Arc::new(plugin),
            has_begun: AtomicBool::new(false),
            may_end: AtomicBool::new(false),
        }
    }
}

impl Reducer for Stubborn {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn plugin(&self) -> &Arc<PluginRef> {
        &self.plugin
    }

    fn load(&self, _: &[ScopeState], _: &mut Call<'_>) -> Result<Box<dyn LiveDocument>, ApplyError> {
        self.has_begun.store(true, Ordering::SeqCst);
        while !self.may_end.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        Err(rejected("NO", "no"))
    }
}

#[test]
fn the_jobs_that_one_submission_leads_to_are_bounded_over_restarts() {
    let machine = Machine::new();
    let boot = || {
        machine.boot_with(|config| {
            config.limits.dispatched_jobs_per_root_max = 6;
            config.grants = DispatchGrants::none().allow(MODEL.into(), MODEL.into());
            (config.manager.retry_base_delay, config.manager.retry_max_delay) = (Some(3_000_000), Some(3_000_000));
        })
    };
    let process = boot();
    process.succeed(&job("e", &[add("before")]));
    machine.script.fail("busy", [broken()]);
    process.accept(&job("e", &[add("busy")]));
    process.wait_until_said("failed busy, retry 1 follows");
    let leaves = |of: &str| (1..=4).map(|at| json!({"input": format!("{of}{at}")})).collect::<Vec<_>>();
    // Two of six: one to its own document, and one that waits in the other. The first takes the
    // other four.
    let root = json!({"id": "root", "type": "DISPATCH", "input": [
        {"type": "DISPATCH", "input": leaves("a")},
        {"type": "DISPATCH", "document": "e", "input": leaves("b")}]});
    process.succeed(&job("d", &[root]));
    let dispatched = || {
        let jobs = machine.disk.jobs();
        let is_dispatched = |job: &&JobRecord| match job {
            JobRecord::Failed { journaled, .. } | JobRecord::Unfinished(journaled) => {
                journaled.accepted.causation.is_some()
            }
            JobRecord::Completed { result, .. } => metadata(result).causation.is_some(),
        };
        jobs.iter().filter(is_dispatched).count()
    };
    while dispatched() < 6 {
        std::thread::yield_now();
    }
    while machine.actions("d").len() < 6 {
        std::thread::yield_now();
    }
    process.crash(Fate::Lost);
    let process = boot();
    process.advance();
    // The dispatch that is too many fails, and fails again.
    while !process.said().iter().any(|said| said.ends_with("retry 1 follows")) {
        std::thread::yield_now();
    }
    process.advance();
    process.wait_until_idle();
    assert_eq!(dispatched(), 6, "one submission may lead to six jobs");
}

#[test]
fn a_dispatched_job_that_is_cancelled_in_a_turn_keeps_its_lineage() {
    let machine = Machine::new();
    let process = machine.boot();
    // While the first of the two runs, the second is in the same turn.
    let root = json!({"id": "root", "type": "DISPATCH", "input": [
        {"type": "HOLD", "input": "gate"}, {"type": "ADD", "input": "second"}]});
    process.succeed(&job("d", &[root]));
    machine.script.wait_until_held("gate");
    let second = machine.disk.jobs().into_iter().rfind(|job| job.status() == JobStatus::Pending).expect("it waits");
    let JobRecord::Unfinished(before) = &second else { panic!("it waits") };
    assert_eq!(before.lineage.depth, 1);
    process.manager().cancel(second.job_id()).expect("it waits");
    machine.script.release("gate");
    process.wait_until_idle();
    let Some(JobRecord::Failed { journaled, .. }) = machine.disk.job(second.job_id()) else { panic!("cancelled") };
    assert_eq!(journaled.lineage, before.lineage);
}

#[test]
fn a_dispatch_goes_to_no_document_that_the_disk_does_not_have_yet() {
    let machine = Machine::new();
    let process = machine.boot_with(|config| {
        config.grants = DispatchGrants::none().allow(MODEL.into(), MODEL.into());
        config.max_retries = 0;
    });
    process.mount.hold();
    let created = process.hand_in(&job("e", &[add("a")]));
    process.wait_until_started(1);
    let root = json!({"id": "root", "type": "DISPATCH", "input": [{"document": "e", "input": "b"}]});
    let dispatches = process.hand_in(&job("d", std::slice::from_ref(&root)));
    process.wait_until_started(2);
    process.mount.release();
    assert!(within(created.wait()).success && !within(dispatches.wait()).success);
    process.succeed(&job("d", &[root]));
}
