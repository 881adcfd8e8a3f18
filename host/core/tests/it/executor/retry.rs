//! Which failures are tried again, how often and when.

use reductor_core::{ApplyError, HostFault, JobErrorCode, JobResult, JobStatus, Reason, Stop};
use serde_json::json;

use super::host::{Host, add, hold, job, result, untyped_job, with};
use super::scripted::{failed, rejected, trapped};

/// A host whose jobs are repeated up to twice.
fn host() -> Host {
    Host::with(|config| config.max_retries = 2)
}

fn attempts(result: &JobResult) -> Option<u32> {
    result.metadata.as_ref().map(|metadata| metadata.attempts)
}

fn broken() -> ApplyError {
    ApplyError::Host(HostFault::Broken("the disk is gone".to_owned()))
}

#[test]
fn a_rejection_is_the_reducers_answer_and_final() {
    let mut host = host();
    host.script.fail("a", [rejected("FULL", "the list is full")]);
    let result = host.fail(&job("d", &[add("x"), add("a")]), JobErrorCode::LibraryError);
    assert_eq!(result.error_message.as_deref(), Some("test/list v1 refused actions[1] `ADD`: the list is full (FULL)"));
    assert_eq!((result.job.status, result.operations.len()), (JobStatus::Failed, 0));
    let metadata = result.metadata.as_ref().expect("a result has metadata");
    assert_eq!((metadata.attempts, metadata.reason, metadata.deterministic), (1, Some(Reason::Rejected), Some(true)));
    assert_eq!((metadata.rejection_code.as_deref(), metadata.action_index), (Some("FULL"), Some(1)));
    assert!(host.stop(Stop::Graceful).contains(&"failed x after 0 retries".to_owned()));
}

#[test]
fn a_hash_or_a_position_that_does_not_fit_is_final() {
    let host = host();
    let wrong_end = with(job("d", &[add("a")]), "resultingHash", json!("nonsense"));
    assert_eq!(attempts(&host.fail(&wrong_end, JobErrorCode::HashMismatch)), Some(1));
    let wrong_begin = with(add("a"), "context", json!({ "prevOpHash": "nonsense" }));
    assert_eq!(attempts(&host.fail(&job("d", &[wrong_begin]), JobErrorCode::HashMismatch)), Some(1));
    let wrong_index = with(add("a"), "context", json!({ "prevOpIndex": 7 }));
    assert_eq!(attempts(&host.fail(&job("d", &[wrong_index]), JobErrorCode::RebaseFailed)), Some(1));
}

#[test]
fn a_trap_that_goes_away_is_forgotten() {
    let host = host();
    host.script.fail("a", [failed(Reason::Trap, "a stray bit")]);
    let result = host.succeed(&job("d", &[add("a")]));
    let metadata = result.metadata.as_ref().expect("a result has metadata");
    assert_eq!((metadata.attempts, metadata.reason, metadata.deterministic), (2, None, None));
    assert_eq!(host.state("d"), r#"["a"]"#);
}

#[test]
fn a_trap_that_repeats_identically_is_proven_deterministic() {
    let mut host = host();
    // What it says may have the address of something in it.
    host.script.fail("a", ["at 0x1000", "at 0x2000", "at 0x3000"].map(|message| failed(Reason::Trap, message)));
    let result = host.fail(&job("d", &[add("a")]), JobErrorCode::LibraryError);
    let metadata = result.metadata.as_ref().expect("a result has metadata");
    assert_eq!((metadata.attempts, metadata.reason, metadata.deterministic), (2, Some(Reason::Trap), Some(true)));
    assert!(host.stop(Stop::Graceful).contains(&"failed a after 1 retries".to_owned()));
}

#[test]
fn traps_that_differ_are_repeated_up_to_the_maximum() {
    let host = host();
    host.script.fail("a", ["unreachable", "overflow", "unreachable"].map(trapped));
    let result = host.fail(&job("d", &[add("a")]), JobErrorCode::LibraryError);
    assert_eq!(attempts(&result), Some(3));
    let message = result.error_message.as_deref().expect("a failure has a message");
    assert_eq!(
        message, "test/list v1 failed (trap) in actions[0] `ADD`: it met unreachable",
        "that of the last attempt"
    );
}

#[test]
fn a_timeout_is_repeated_up_to_the_maximum_although_it_repeats() {
    let host = host();
    host.script.fail("a", [(); 9].map(|()| failed(Reason::Timeout, "too long")));
    let result = host.fail(&job("d", &[add("a")]), JobErrorCode::LibraryError);
    let metadata = result.metadata.as_ref().expect("a result has metadata");
    assert_eq!((metadata.attempts, metadata.reason, metadata.deterministic), (3, Some(Reason::Timeout), Some(false)));
}

#[test]
fn a_fault_of_the_host_is_an_io_error_and_repeated() {
    let host = host();
    host.script.fail("a", [broken(), broken()]);
    assert_eq!(attempts(&host.succeed(&job("d", &[add("a")]))), Some(3));
    host.script.fail("b", [broken(), broken(), broken()]);
    let result = host.fail(&job("d", &[add("b")]), JobErrorCode::IoError);
    assert_eq!(result.error_message.as_deref(), Some("the disk is gone"));
    let metadata = result.metadata.as_ref().expect("a result has metadata");
    assert_eq!((metadata.attempts, metadata.reason, metadata.deterministic), (3, None, None));
    assert_eq!(host.state("d"), r#"["a"]"#);
}

#[test]
fn a_log_that_cannot_be_written_is_an_io_error_and_repeated() {
    let host = host();
    host.succeed(&job("d", &[add("a")]));
    host.store.fail_appends(2);
    assert_eq!(attempts(&host.succeed(&job("d", &[add("b")]))), Some(3));
    assert_eq!(
        host.calls().loaded,
        ["", r#"global=["a"] local=[]"#, r#"global=["a"] local=[]"#],
        "each time from what the log has"
    );
    host.store.fail_appends(3);
    host.fail(&job("d", &[add("c")]), JobErrorCode::IoError);
    host.succeed(&job("d", &[add("d")]));
    assert_eq!(host.state("d"), r#"["a","b","d"]"#);
}

#[test]
fn a_document_that_cannot_be_loaded_fails_like_one_that_cannot_be_changed() {
    let host = host();
    host.script.fail_loads([failed(Reason::AbiMismatch, "no"), failed(Reason::AbiMismatch, "no")]);
    let result = host.fail(&job("d", &[add("a")]), JobErrorCode::LibraryError);
    let message = "test/list v1 failed (abi-mismatch) in loading the document: no";
    assert_eq!(result.error_message.as_deref(), Some(message));
    let metadata = result.metadata.as_ref().expect("a result has metadata");
    assert_eq!((metadata.attempts, metadata.action_index), (2, None));
    assert_eq!(host.state("d"), "", "the document was not created");
}

fn no_room() -> ApplyError {
    ApplyError::Host(HostFault::NoRoom("the pool is full".to_owned()))
}

#[test]
fn idle_documents_make_room_before_anything_is_repeated() {
    let host = Host::with_one_worker();
    host.succeed(&job("idle", &[add("a")]));
    host.script.fail_loads([no_room()]);
    let result = host.succeed(&job("d", &[add("a")]));
    assert_eq!(attempts(&result), Some(1));
    assert_eq!(host.calls().dropped, 1, "the idle one went");
    host.succeed(&job("idle", &[add("b")]));
    assert_eq!(host.state("idle"), r#"["a","b"]"#);
}

#[test]
fn no_room_at_all_is_an_io_error_and_repeated() {
    let host = host();
    host.script.fail_loads([no_room(), no_room()]);
    let result = host.succeed(&job("d", &[add("a")]));
    assert_eq!(attempts(&result), Some(3));
    let host = Host::with(|config| config.max_retries = 0);
    host.script.fail_loads([no_room()]);
    let result = host.fail(&job("d", &[add("a")]), JobErrorCode::IoError);
    assert_eq!(result.error_message.as_deref(), Some("no room for another live document: the pool is full"));
}

#[test]
fn a_jobs_own_configuration_overrides_the_hosts() {
    let host = Host::with(|config| {
        config.max_retries = 2;
        config.job_config_max.max_retries = Some(5);
    });
    host.script.fail("a", [broken()]);
    let once = with(job("d", &[add("a")]), "config", json!({ "maxRetries": 0 }));
    let result = host.fail(&once, JobErrorCode::IoError);
    let metadata = result.metadata.as_ref().expect("a result has metadata");
    assert_eq!((metadata.attempts, metadata.config.and_then(|config| config.max_retries)), (1, Some(0)));
    host.script.fail("b", [(); 5].map(|()| broken()));
    host.succeed(&with(job("d", &[add("b")]), "config", json!({ "maxRetries": 5 })));
}

#[test]
fn a_job_that_asks_for_more_than_the_operator_allows_gets_the_most() {
    let host = host();
    let greedy = json!({ "maxRetries": u32::MAX, "jobTimeout": u64::MAX });
    host.script.fail("a", [(); 9].map(|()| broken()));
    let result = host.fail(&with(job("d", &[add("a")]), "config", greedy.clone()), JobErrorCode::IoError);
    assert_eq!(attempts(&result), Some(3), "by default the most is what a job gets that asks for nothing");

    let at_once = Host::with(|config| {
        config.manager.job_timeout = Some(0);
        config.max_retries = 0;
    });
    at_once.fail(&with(job("d", &[add("a")]), "config", greedy.clone()), JobErrorCode::LibraryError);

    let patient = Host::with(|config| {
        config.manager.job_timeout = Some(0);
        config.job_config_max.job_timeout = Some(60_000);
    });
    patient.succeed(&with(job("d", &[add("a")]), "config", greedy));
}

#[test]
fn a_job_waits_for_its_retries_no_longer_than_the_operator_allows() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.manager.retry_base_delay = Some(1_000);
        config.manager.retry_max_delay = Some(1_500);
    });
    host.script.fail("a", [broken(), broken()]);
    let patient = json!({ "retryBaseDelay": u64::MAX, "retryMaxDelay": u64::MAX });
    let ticket = host.accept(&with(job("d", &[add("a")]), "config", patient));
    for (retry, other, longest) in [(1, "x", 1_000), (2, "y", 1_500)] {
        host.wait_until_said(&format!("failed a, retry {retry} follows"));
        // The only worker runs it after it has put the lane of `d` to rest.
        host.succeed(&job("other", &[add(other)]));
        host.advance(longest);
        host.wait_until_said(&format!("retry {retry} of a"));
    }
    assert!(result(ticket).success);
}

#[test]
fn a_jobs_own_timeout_is_checked_between_its_actions() {
    let host = host();
    let at_once = with(job("d", &[add("a")]), "config", json!({ "jobTimeout": 0, "maxRetries": 0 }));
    let result = host.fail(&at_once, JobErrorCode::LibraryError);
    let metadata = result.metadata.as_ref().expect("a result has metadata");
    assert_eq!((metadata.reason, metadata.deterministic), (Some(Reason::Timeout), Some(false)));
}

#[test]
fn an_interrupted_guest_is_an_abort_and_not_repeated() {
    let mut host = host();
    host.script.fail("a", [ApplyError::Interrupted]);
    let result = host.fail(&job("d", &[add("a")]), JobErrorCode::GracefulAbort);
    assert_eq!(result.job.status, JobStatus::Pending, "it was not done, and nobody gave it up");
    assert_eq!(attempts(&result), Some(1));
    assert!(!host.stop(Stop::Graceful).iter().any(|said| said.starts_with("failed")));
}

#[test]
fn a_job_backs_off_until_the_clock_has_moved_and_keeps_its_place() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.manager.retry_base_delay = Some(60_000);
        config.manager.retry_max_delay = Some(90_000);
    });
    host.script.fail("a", [broken(), broken()]);
    let (a, b) = (host.accept(&job("d", &[add("a")])), host.accept(&job("d", &[add("b")])));
    for (retry, other, longest) in [(1, "x", 60_000), (2, "y", 90_000)] {
        host.wait_until_said(&format!("failed a, retry {retry} follows"));
        // The only worker runs it after it has put the lane of `d` to rest.
        host.succeed(&job("other", &[add(other)]));
        assert!(!host.said().contains(&format!("retry {retry} of a")), "the clock has not moved");
        host.advance(longest);
        host.wait_until_said(&format!("retry {retry} of a"));
    }
    assert!(result(a).success && result(b).success);
    assert_eq!(host.state("d"), r#"["a","b"]"#);
}

#[test]
fn the_duration_counts_from_the_first_start_and_the_wait_until_then() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.manager.retry_base_delay = Some(1_000);
    });
    host.succeed(&job("d", &[add("x")]));
    let held = host.accept(&job("busy", &[hold("h")]));
    host.script.wait_until_held("h");
    host.script.fail("a", [broken()]);
    let ticket = host.accept(&untyped_job("d", &[add("a")]));
    host.advance(300);
    host.script.release("h");
    assert!(result(held).success);
    host.wait_until_said("failed a, retry 1 follows");
    host.succeed(&job("other", &[add("y")]));
    host.advance(2_000);
    let result = result(ticket);
    assert_eq!(result.duration.us, 2_000_000);
    assert_eq!(result.completed_at.to_string(), "1970-01-01T00:00:02.300Z");
    assert_eq!(result.metadata.as_ref().map(|metadata| metadata.queued_ms.us), Some(300_000));
}
