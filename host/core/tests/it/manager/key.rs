//! Idempotency keys: submitting again makes no second job.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reductor_core::{JobErrorCode, Retention, Stop};

use super::drive::{cancelled, keyed, metadata};
use crate::executor::host::{Host, add, hold, job, result, results};
use crate::executor::scripted::rejected;

/// Submissions with the same key `k`, each with an action of its own.
fn again(name: &str) -> serde_json::Value {
    keyed(job("d", &[add(name)]), "k")
}

#[test]
fn a_key_names_one_job_while_it_waits_runs_and_has_ended() {
    let host = Host::with_one_worker();
    let gate = host.shut_gate();
    let first = host.accept(&keyed(job("d", &[hold("a")]), "k"));
    let id = first.job_id.clone();
    let waiting = host.accept(&again("b"));
    assert_eq!((&waiting.job_id, host.stats().queue_backlog), (&id, 1));
    host.open_gate();
    host.script.wait_until_held("a");
    let running = host.accept(&again("c"));
    host.script.release("a");
    let ended = result(first);
    assert_eq!(metadata(&ended).idempotency_key.as_ref().map(|key| key.as_str()), Some("k"));
    let mut later = host.accept(&again("d"));
    assert_eq!(later.try_wait().as_ref(), Some(&ended));
    assert!(results([waiting, running]).iter().all(|result| *result == ended));
    assert!(result(gate).success);
    assert_eq!((host.state("d"), host.said_of("available").len()), (r#"["a"]"#.into(), 2), "the gate, and one job");
}

#[test]
fn a_key_also_names_a_job_that_failed_or_was_cancelled() {
    let host = Host::start();
    host.script.fail("a", [rejected("NO", "no")]);
    let failed = host.fail(&again("a"), JobErrorCode::LibraryError);
    assert_eq!(host.run(&again("b")), failed);
    host.pause();
    let ticket = host.accept(&keyed(job("d", &[add("c")]), "other"));
    host.cancel(&ticket.job_id).expect("it waits");
    cancelled(&host.run(&keyed(job("d", &[add("d")]), "other")));
}

#[test]
fn other_keys_are_other_jobs() {
    let host = Host::start();
    host.succeed(&again("a"));
    host.succeed(&keyed(job("d", &[add("b")]), "k2"));
    host.succeed(&job("d", &[add("c")]));
    host.succeed(&job("d", &[add("e")]));
    assert_eq!(host.state("d"), r#"["a","b","c","e"]"#);
}

#[test]
fn a_key_is_forgotten_with_its_result() {
    let host = Host::with(|config| {
        config.retention =
            Retention { results_max: 9, age_max: Duration::from_secs(1), outcomes_max: 0, ..Retention::default() }
    });
    let first = host.succeed(&again("a"));
    host.wait_until_idle();
    host.advance(1_000);
    assert_eq!(host.run(&again("b")), first);
    host.advance(1);
    let second = host.succeed(&again("c"));
    assert_ne!(second.job.id, first.job.id);
    host.advance(1);
    assert_eq!(host.run(&again("d")), second, "the key names the later job now");
    assert_eq!(host.state("d"), r#"["a","c"]"#);
}

#[test]
fn a_key_outlives_a_restart() {
    let host = Host::stopped();
    let first = host.accept(&again("a"));
    host.start_manager();
    let ended = result(first);
    host.stop_for_now(reductor_core::Stop::Graceful);
    assert_eq!(host.run(&again("b")), ended);
}

#[test]
fn a_refused_submission_does_not_take_its_key() {
    let host = Host::start();
    host.submit(&keyed(job("d", &[]), "k")).expect_err("no actions");
    host.submit_all(&[again("x"), job("d", &[])]).expect_err("no actions");
    host.succeed(&again("a"));
    let refusal = host.submit(&keyed(job("d", &[add("b")]), "")).expect_err("no key");
    assert_eq!(refusal.field(), Some("idempotencyKey"));
}

#[test]
fn twins_in_one_batch_are_one_job() {
    let host = Host::start();
    let known = host.succeed(&keyed(job("d", &[add("known")]), "known"));
    let batch = [again("a"), job("d", &[add("b")]), again("c"), keyed(job("d", &[add("e")]), "known"), again("f")];
    let tickets = host.accept_all(&batch);
    let ids: Vec<_> = tickets.iter().map(|ticket| ticket.job_id.clone()).collect();
    assert!(ids[0] == ids[2] && ids[0] == ids[4] && ids[0] != ids[1]);
    assert_eq!(ids[3], known.job.id);
    let ended = results(tickets);
    assert!(ended.iter().all(|result| result.success) && ended[0] == ended[4]);
    assert_eq!(host.state("d"), r#"["known","a","b"]"#);
}

#[test]
fn twins_take_one_place_in_a_full_queue() {
    let host = Host::not_started(|config| config.limits.queue_depth_max = 1);
    host.accept_all(&[again("a"), again("b")]);
    host.accept(&again("c"));
    assert_eq!(host.stats().queue_backlog, 1);
}

#[test]
fn a_key_that_somebody_uses_after_it_was_looked_up_is_seen_all_the_same() {
    let host = Arc::new(Host::start());
    let (meanwhile, first) = (host.clone(), Arc::new(Mutex::new(None)));
    let theirs = first.clone();
    // Submitting looks up the key first, and then the document.
    host.store.after_next_head(move || {
        *theirs.lock().expect("no panic") = Some(meanwhile.accept(&again("theirs")));
    });
    let second = host.accept(&again("ours"));
    let first = first.lock().expect("no panic").take().expect("it was submitted");
    assert_eq!(first.job_id, second.job_id);
    assert_eq!(result(first), result(second));
    assert_eq!(host.state("d"), r#"["theirs"]"#);
}

#[test]
fn of_threads_that_submit_at_once_one_makes_the_job() {
    const THREADS: usize = 4;
    const KEYS: usize = 200;
    let host = Host::start();
    let accepted: Vec<Vec<_>> = std::thread::scope(|scope| {
        let submit = |thread: usize| {
            let host = &host;
            scope.spawn(move || {
                let one = |key: usize| {
                    let submission = job(&format!("d{}", key % 5), &[add(&format!("{key}/{thread}"))]);
                    host.accept(&keyed(submission, &key.to_string()))
                };
                (0..KEYS).map(one).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..THREADS).map(submit).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    for key in 0..KEYS {
        let ids: Vec<_> = accepted.iter().map(|tickets| &tickets[key].job_id).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "key {key}");
    }
    assert!(results(accepted.into_iter().flatten()).iter().all(|result| result.success));
    assert_eq!((host.status().total_jobs_processed, host.said_of("available").len()), (KEYS as u64, KEYS));
}

#[test]
fn the_key_of_a_job_that_a_stop_gave_back_may_be_used_again() {
    let host = Host::with_one_worker();
    host.pause();
    let given_back = host.accept(&keyed(job("d", &[add("a")]), "k"));
    host.stop_for_now(Stop::Graceful);
    assert_eq!(result(given_back).error_code, Some(JobErrorCode::GracefulAbort));
    host.start_manager();
    host.succeed(&keyed(job("d", &[add("a")]), "k"));
    assert_eq!(host.state("d"), r#"["a"]"#);
}
