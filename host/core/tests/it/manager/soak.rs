//! Many jobs that fail, wait for one another and are cancelled, and counts that add up.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use reductor_core::{Event, JobErrorCode, JobId, JobResult, NotCancelled, Reason, Received, Stop, Subscription};
use serde_json::{Value, json};

use super::drive::{after, broken, metadata};
use crate::executor::host::{Host, MODEL, OTHER_MODEL, job_of, results};
use crate::executor::scripted::{failed, rejected, trapped};

/// How many jobs, unless `REDUCTOR_SOAK_JOBS` says otherwise.
const JOBS: usize = 20_000;
/// How many of them share a document, one with another.
const JOBS_PER_DOCUMENT: usize = 400;
const WORKERS: usize = 4;

/// What was told, counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    available: u64,
    started: u64,
    completed: u64,
    failed_for_good: u64,
    failed_for_now: u64,
    retried: u64,
}

/// Counts events until the manager has stopped.
fn count(mut subscription: Subscription) -> JoinHandle<Told> {
    std::thread::spawn(move || {
        let mut told = Told::default();
        loop {
            let event = match subscription.recv_blocking() {
                Some(Received::Event(event)) => event,
                other => panic!("the bus is too small for this test: {other:?}"),
            };
            match &*event {
                Event::JobAvailable(_) => told.available += 1,
                Event::JobStarted(_) => told.started += 1,
                Event::JobCompleted(_) => told.completed += 1,
                Event::JobFailed(event) if event.will_retry => told.failed_for_now += 1,
                Event::JobFailed(_) => told.failed_for_good += 1,
                Event::JobRetry(_) => told.retried += 1,
                Event::ExecutorStarted(_) => {}
                Event::ExecutorStopped(_) => return told,
            }
        }
    })
}

/// An action whose text is short however many there are.
fn small(id: &str) -> Value {
    json!({ "id": id, "type": "ADD", "input": "x" })
}

/// Makes some actions fail, some for good.
fn script(host: &Host, random: &mut fastrand::Rng, name: &str) {
    match random.u32(..20) {
        0 => host.script.fail(name, [rejected("NO", "no")]),
        1 => host.script.fail(name, [broken(), failed(Reason::Trap, "once")]),
        2 => host.script.fail(name, [trapped("unreachable"), trapped("unreachable")]),
        3 => host.script.fail(name, [failed(Reason::Timeout, "too long")]),
        4 => host.script.fail(name, (0..4).map(|_| broken())),
        _ => {}
    }
}

fn jobs() -> usize {
    std::env::var("REDUCTOR_SOAK_JOBS").map_or(JOBS, |jobs| jobs.parse().expect("a number of jobs"))
}

fn is_cancelled(result: &JobResult) -> bool {
    metadata(result).reason == Some(Reason::Cancelled)
}

#[test]
fn every_job_ends_once_and_all_counts_agree() {
    let jobs = jobs();
    let documents = jobs.div_ceil(JOBS_PER_DOCUMENT);
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(WORKERS);
        config.retention.results_max = jobs;
        config.limits.queue_depth_max = jobs;
    });
    let counting = count(host.manager().events().subscribe());
    let mut random = fastrand::Rng::with_seed(20_261_124);
    let mut tickets = Vec::with_capacity(jobs);
    let mut ids: Vec<JobId> = Vec::with_capacity(jobs);
    let mut cancelled = 0;
    for number in 0..jobs {
        let name = number.to_string();
        script(&host, &mut random, &name);
        let document = random.usize(..documents);
        let model = if document.is_multiple_of(2) { MODEL } else { OTHER_MODEL };
        let mut submission = job_of(model, &format!("d{document}"), &[small(&name)]);
        if number > 0 && random.u32(..8) == 0 {
            let latest = number.saturating_sub(200);
            let dependencies: Vec<_> =
                (0..random.usize(1..4)).map(|_| ids[random.usize(latest..number)].clone()).collect();
            submission = after(submission, &dependencies);
        }
        let ticket = host.accept(&submission);
        ids.push(ticket.job_id.clone());
        tickets.push(ticket);
        if random.u32(..10) == 0 {
            match host.cancel(&ids[random.usize(number.saturating_sub(40)..=number)]) {
                Ok(_) => cancelled += 1,
                Err(NotCancelled::Started(_) | NotCancelled::Ended(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    let results = results(tickets);
    host.wait_until_idle();
    let (status, stats) = (host.status(), host.stats());
    assert_eq!((status.active_jobs, stats.queue_backlog), (0, 0));
    host.stop_for_now(Stop::Graceful);
    let told = counting.join().expect("it counts");

    let count = |what: &dyn Fn(&JobResult) -> bool| results.iter().filter(|result| what(result)).count() as u64;
    let (succeeded, given_up) =
        (count(&|result| result.success), count(&|result| !result.success && !is_cancelled(result)));
    assert_eq!(count(&is_cancelled), cancelled);
    assert_eq!(succeeded + given_up + cancelled, jobs as u64);
    let totals = (status.total_jobs_processed, status.total_jobs_succeeded, status.total_jobs_failed);
    assert_eq!(totals, (jobs as u64, succeeded, given_up + cancelled));
    let attempts: u64 = results.iter().map(|result| u64::from(metadata(result).attempts)).sum();
    let unstarted = count(&|result| metadata(result).attempts == 0);
    let expected = Told {
        available: jobs as u64,
        started: attempts,
        completed: succeeded,
        failed_for_good: given_up + cancelled,
        failed_for_now: attempts - (jobs as u64 - unstarted),
        retried: attempts - (jobs as u64 - unstarted),
    };
    assert_eq!(told, expected);
    assert!(cancelled > 100 && given_up > 1_000 && unstarted > cancelled + 100, "it was a soak: {told:?}");
    check_dependencies(&results);
    check_documents(&host, documents, &results);
}

/// A job that ran had only dependencies that succeeded; one that did not names one that failed.
fn check_dependencies(results: &[Arc<JobResult>]) {
    let by_id: HashMap<_, _> = results.iter().map(|result| (&result.job.id, result)).collect();
    for result in results {
        let metadata = metadata(result);
        if metadata.attempts > 0 {
            assert!(metadata.depends_on.iter().all(|dependency| by_id[dependency].success), "{result:?}");
        }
        if let Some(failed) = &metadata.failed_dependency {
            assert!(metadata.depends_on.contains(failed) && !by_id[failed].success, "{result:?}");
            assert_eq!(result.error_code, by_id[failed].error_code);
        }
        assert_ne!((result.error_code, metadata.reason), (Some(JobErrorCode::GracefulAbort), None), "{result:?}");
    }
}

/// Each document has the operations of its jobs that succeeded, in the order of the jobs.
fn check_documents(host: &Host, documents: usize, results: &[Arc<JobResult>]) {
    let mut expected: HashMap<_, Vec<_>> = HashMap::new();
    for result in results.iter().filter(|result| result.success) {
        expected.entry(result.job.document_id.as_str()).or_default().push(&result.job.actions[0].id);
    }
    for document in (0..documents).map(|document| format!("d{document}")) {
        let stored = host.operations(&document);
        let stored: Vec<_> = stored.iter().skip(1).map(|stored| &stored.operation.action.id).collect();
        assert_eq!(stored, expected.remove(document.as_str()).unwrap_or_default(), "document {document}");
    }
}
