//! How the executor ends, and how a wait does.

use std::sync::Arc;

use reductor_core::{
    ActionId, ApplyError, ExecuteError, HostFault, Job, JobErrorCode, JobId, JobResult, JobStatus, Refusal, Stop,
    WaitCancelled,
};
use tokio_util::sync::CancellationToken;

use super::host::{Host, add, hold, job, result, within};

/// Asserts that a job was given back, not failed.
#[track_caller]
fn given_back(result: &JobResult, attempts: u32) {
    assert_eq!((result.success, result.error_code), (false, Some(JobErrorCode::GracefulAbort)));
    assert_eq!(result.error_message.as_deref(), Some("the host stopped before the job ended"));
    assert_eq!((result.job.status, result.operations.len()), (JobStatus::Pending, 0));
    let metadata = result.metadata.as_ref().expect("a result has metadata");
    assert_eq!((metadata.attempts, metadata.reason), (attempts, None));
}

/// A job for a document that exists, made elsewhere from one that was done.
fn another(done: &JobResult, id: &str) -> Job {
    let mut action = (*done.job.actions[0]).clone();
    action.id = ActionId::from(id);
    Job { id: JobId::from(id), actions: Arc::new([action.into()]), ..done.job.clone() }
}

#[test]
fn a_graceful_stop_lets_running_jobs_finish_and_begins_no_other() {
    let mut host = Host::start();
    // Both workers are held, so that one of them finds `a` and `b` together, in one turn.
    let held = ["x", "y"].map(|text| host.accept(&job(text, &[hold(text)])));
    host.script.wait_until_held("x");
    host.script.wait_until_held("y");
    let (a, b) = (host.accept(&job("d", &[hold("a")])), host.accept(&job("d", &[add("b")])));
    host.script.release("x");
    host.script.wait_until_held("a");
    host.script.release("y");
    assert!(held.into_iter().all(|ticket| result(ticket).success));
    let stopping = host.begin_to_stop(Stop::Graceful);
    // The other worker ends only because the executor has begun to stop.
    host.script.wait_until_a_worker_is_gone();
    host.script.release("a");
    stopping.wait();
    assert!(result(a).success);
    given_back(&result(b), 0);
    assert_eq!(host.state("d"), r#"["a"]"#);
    let story = host.said();
    assert!(!story.iter().any(|said| said == "started b" || said.starts_with("failed")), "{story:?}");
    assert_eq!(story.last().map(String::as_str), Some("executor stopped gracefully"));
}

#[test]
fn an_interrupting_stop_ends_running_guests_and_changes_nothing() {
    let mut host = Host::with_one_worker();
    host.succeed(&job("d", &[add("before")]));
    let (a, b) = (host.accept(&job("d", &[hold("a")])), host.accept(&job("d", &[add("b")])));
    host.script.wait_until_held("a");
    let c = host.accept(&job("e", &[add("c")]));
    let story = host.stop(Stop::Interrupt);
    given_back(&result(a), 1);
    given_back(&result(b), 0);
    given_back(&result(c), 0);
    assert_eq!((host.state("d"), host.state("e")), (r#"["before"]"#.into(), String::new()));
    assert!(!story.iter().any(|said| said.starts_with("failed")), "{story:?}");
    assert_eq!(story.last().map(String::as_str), Some("executor stopped at once"));
}

#[test]
fn a_job_that_backs_off_is_given_back() {
    for how in [Stop::Graceful, Stop::Interrupt] {
        let mut host = Host::with(|config| config.manager.retry_base_delay = Some(1_000_000));
        host.script.fail("a", [ApplyError::Host(HostFault::Broken("for a moment".to_owned()))]);
        let (a, b) = (host.accept(&job("d", &[add("a")])), host.accept(&job("d", &[add("b")])));
        host.wait_until_said("failed a, retry 1 follows");
        host.stop(how);
        given_back(&result(a), 1);
        given_back(&result(b), 0);
    }
}

#[test]
fn jobs_in_plenty_are_done_up_to_a_point_and_given_back_from_there() {
    let mut host = Host::start();
    let tickets: Vec<_> = (0..2_000).map(|number| host.accept(&job("d", &[add(&number.to_string())]))).collect();
    host.stop(Stop::Graceful);
    let outcomes: Vec<_> = tickets.into_iter().map(|ticket| result(ticket).success).collect();
    assert!(outcomes.is_sorted_by_key(|done| !done), "no job is done after one that was given back");
}

#[test]
fn dropping_an_executor_interrupts_it() {
    let host = Host::start();
    let ticket = host.accept(&job("d", &[hold("a")]));
    host.script.wait_until_held("a");
    drop(host);
    given_back(&result(ticket), 1);
}

#[test]
fn a_job_that_nobody_waits_for_goes_on() {
    let host = Host::start();
    drop(host.accept(&job("d", &[add("a")])));
    host.wait_until_said("completed a");
    assert_eq!(host.state("d"), r#"["a"]"#);
}

#[test]
fn a_job_made_elsewhere_keeps_its_id() {
    let host = Host::start();
    let done = host.succeed(&job("d", &[add("a")]));
    let job = another(&done, "mine");
    let executed = host.execute(job.clone());
    assert!(executed.success, "{:?}", executed.error_message);
    assert_eq!(executed.job, Job { status: JobStatus::Completed, ..job });
    assert_eq!(host.state("d"), r#"["a","a"]"#, "another action, with the same text");
}

#[test]
fn a_job_made_elsewhere_is_checked_like_any_submission() {
    let host = Host::start();
    let done = host.succeed(&job("d", &[add("a")]));
    let refused = |job: Job| match within(host.manager().execute(job, None, None)) {
        Err(ExecuteError::Refused(refusal)) => refusal.field().map(str::to_owned),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(another(&done, "")).as_deref(), Some("id"));
    assert_eq!(refused(Job { document_id: "none".into(), ..another(&done, "b") }).as_deref(), Some("documentId"));
    assert_eq!(refused(Job { actions: Arc::new([]), ..another(&done, "b") }).as_deref(), Some("actions"));
    assert_eq!(refused(Job { scopes: Arc::new([]), ..another(&done, "b") }).as_deref(), Some("scopes"));
}

#[test]
fn cancelling_a_wait_ends_the_wait_and_not_the_job() {
    let host = Host::start();
    let done = host.succeed(&job("d", &[add("a")]));
    let held = host.accept(&job("d", &[hold("h")]));
    host.script.wait_until_held("h");
    let signal = CancellationToken::new();
    signal.cancel();
    let outcome = within(host.manager().execute(another(&done, "mine"), None, Some(signal)));
    let Err(ExecuteError::WaitCancelled(id)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(id, WaitCancelled(JobId::from("mine")));
    host.script.release("h");
    host.wait_until_said("completed mine");
    assert!(result(held).success);
    assert_eq!(host.state("d"), r#"["a","h","a"]"#, "it came behind the job that was there");
}

#[test]
fn a_cancelled_wait_for_a_refused_job_tells_of_the_refusal() {
    let host = Host::start();
    let done = host.succeed(&job("d", &[add("a")]));
    let signal = CancellationToken::new();
    signal.cancel();
    let stranger = Job { document_id: "none".into(), ..another(&done, "b") };
    let outcome = within(host.manager().execute(stranger, None, Some(signal)));
    assert!(matches!(outcome, Err(ExecuteError::Refused(Refusal::UnknownDocument { .. }))), "{outcome:?}");
}
