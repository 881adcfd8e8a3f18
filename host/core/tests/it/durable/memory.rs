//! What is remembered of jobs for longer than their results.

use std::sync::Arc;

use reductor_core::{JobErrorCode, JobRetention, Refusal};
use serde_json::Value;

use super::disk::Disk;
use super::machine::Machine;
use crate::executor::host::{Host, add, job, result, untyped_job};
use crate::executor::scripted::rejected;
use crate::manager::drive::{after, failed_with, keyed};

/// Adds a text by a job with that key.
fn key(document: &str, key: &str) -> Value {
    keyed(job(document, &[add(key)]), key)
}

#[test]
fn a_key_outlives_the_result_of_its_job_in_memory() {
    let host = Host::with(|config| config.retention.results_max = 1);
    let id = result(host.accept(&key("d", "k"))).job.id.clone();
    for number in 0..10 {
        host.succeed(&job("e", &[add(&number.to_string())]));
    }
    assert!(host.manager().watch(&id).is_err(), "the result is gone");
    let refused = host.submit(&key("d", "k")).map(drop);
    assert_eq!(refused, Err(Refusal::AlreadyCompleted { job_id: id }));
    assert_eq!(host.state("d"), r#"["k"]"#);
}

#[test]
fn how_a_dependency_ended_outlives_its_result_in_memory() {
    let host = Host::with(|config| config.retention.results_max = 1);
    host.script.fail("fails", [rejected("NO", "no")]);
    let completed = host.succeed(&job("d", &[add("a")])).job.id.clone();
    let failed = host.fail(&untyped_job("d", &[add("fails")]), JobErrorCode::LibraryError).job.id.clone();
    for number in 0..10 {
        host.succeed(&job("e", &[add(&number.to_string())]));
    }
    host.succeed(&after(job("f", &[add("b")]), [&completed]));
    failed_with(&result(host.accept(&after(job("f", &[add("c")]), [&failed]))), &failed, JobErrorCode::IoError);
}

#[test]
fn only_so_many_outcomes_are_remembered_in_memory() {
    let host = Host::with(|config| (config.retention.results_max, config.retention.outcomes_max) = (0, 10));
    for number in 0..30 {
        host.succeed(&key("d", &number.to_string()));
    }
    let is_known = |number: usize| host.submit(&key("d", &number.to_string())).is_err();
    assert!((25..30).all(is_known), "at least half of ten");
    assert!(!is_known(0), "and no more than ten");
}

#[test]
fn a_key_outlives_the_result_of_its_job_in_the_journal() {
    let retention = JobRetention { completed_max: 0, ..JobRetention::default() };
    let machine = Machine { disk: Arc::new(Disk::with_retention(retention)), ..Machine::new() };
    let process = machine.boot();
    let id = process.succeed(&key("d", "k")).job.id.clone();
    drop(process);
    let process = machine.boot();
    // Old jobs are forgotten from the start on.
    while machine.disk.job(&id).is_some() {
        std::thread::yield_now();
    }
    let refused = process.submit(&key("d", "k")).map(drop);
    assert_eq!(refused, Err(Refusal::AlreadyCompleted { job_id: id.clone() }));
    process.succeed(&after(job("e", &[add("b")]), [&id]));
}

#[test]
fn the_key_of_a_job_that_failed_and_is_forgotten_may_be_used_again() {
    let host = Host::with(|config| config.retention.results_max = 1);
    host.script.fail("k", [rejected("NO", "no")]);
    host.fail(&key("d", "k"), JobErrorCode::LibraryError);
    for number in 0..10 {
        host.succeed(&job("e", &[add(&number.to_string())]));
    }
    host.succeed(&key("d", "k"));
}
