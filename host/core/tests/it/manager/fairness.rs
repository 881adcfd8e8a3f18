//! Lanes take turns, and a model that times out does not take every worker.

use std::sync::Arc;

use reductor_core::{ApplyError, Event, ExecutorConfig, JobAvailableEvent, Phase, Reason, Ticket};

use serde_json::json;

use super::drive::{broken, metadata};
use crate::executor::host::{Host, MODEL, OTHER_MODEL, add, hold, job, job_of, result, results, with};
use crate::executor::scripted::{Scripted, failed, rejected};

/// How long a revision is suspected after a timeout.
const SUSPECTED_FOR_MS: u64 = 60_000;

fn timeout() -> ApplyError {
    failed(Reason::Timeout, "too long")
}

#[test]
fn a_lone_job_is_among_the_first_beside_a_busy_document() {
    let host = Host::stopped();
    let mut tickets: Vec<_> = (0..50).map(|number| host.accept(&job("a", &[add(&format!("a{number}"))]))).collect();
    tickets.push(host.accept(&job("b", &[add("b")])));
    host.start_manager();
    results(tickets);
    let before = host.started().iter().take_while(|name| *name != "b").count();
    assert!(before <= 4, "{before} jobs of `a` came first");
}

#[test]
fn a_lone_job_that_comes_during_a_turn_is_among_the_next() {
    let host = Host::stopped();
    let mut tickets: Vec<_> = [hold("a0"), add("a1")].map(|action| host.accept(&job("a", &[action]))).into();
    tickets.extend((2..50).map(|number| host.accept(&job("a", &[add(&format!("a{number}"))]))));
    host.start_manager();
    host.script.wait_until_held("a0");
    tickets.push(host.accept(&job("b", &[add("b")])));
    host.script.release("a0");
    results(tickets);
    let before = host.started().iter().take_while(|name| *name != "b").count();
    assert!(before <= 4, "{before} jobs of `a` came first");
}

#[test]
fn many_busy_documents_go_on_side_by_side() {
    let host = Host::stopped();
    let tickets: Vec<_> = (0..400)
        .map(|number| host.accept(&job(&format!("d{}", number % 8), &[add(&format!("{}.{}", number % 8, number / 8))])))
        .collect();
    host.start_manager();
    results(tickets);
    let started = host.started();
    for document in 0..8 {
        let last = started.iter().take(64).filter(|name| name.starts_with(&format!("{document}."))).count();
        assert!(last > 0, "document {document} has not had its turn among the first 64: {started:?}");
    }
}

#[test]
fn no_more_attempts_run_at_once_than_the_start_allows() {
    let host = Host::stopped();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let tickets = held(&host, MODEL, &names);
    host.start_manager_with(3);
    for (position, name) in names.iter().enumerate() {
        host.script.wait_until_held(name);
        // Three are held from the third on; the next can only come when one of them goes.
        if position >= 2 {
            host.script.release(names[position - 2]);
        }
    }
    names.iter().for_each(|name| host.script.release(name));
    results(tickets);
    let (mut running, mut most) = (0_u32, 0);
    for event in host.events() {
        match &*event {
            Event::JobStarted(_) => running += 1,
            Event::JobCompleted(_) => running -= 1,
            _ => {}
        }
        most = most.max(running);
    }
    assert_eq!((most, running), (3, 0));
}

/// A host with four workers whose model [`MODEL`] has just timed out.
fn host_with_a_suspect(adjust: impl FnOnce(&mut ExecutorConfig)) -> Host {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(4);
        config.max_retries = 1;
        adjust(config);
    });
    host.script.fail("slow", [timeout()]);
    host.succeed(&job("suspect", &[add("slow")]));
    host.wait_until_idle();
    host
}

/// Jobs that hold a worker each, on as many documents.
fn held(host: &Host, model: &str, names: &[&str]) -> Vec<Ticket> {
    names.iter().map(|name| host.accept(&job_of(model, name, &[hold(name)]))).collect()
}

/// Waits until all of these are held together, and lets them succeed.
#[track_caller]
fn all_held_at_once(host: &Host, names: &[&str], tickets: Vec<Ticket>) {
    names.iter().for_each(|name| host.script.wait_until_held(name));
    names.iter().for_each(|name| host.script.release(name));
    assert!(results(tickets).iter().all(|result| result.success));
}

/// Waits until exactly these are held. Jobs of another model have had their turns since.
#[track_caller]
fn only_held(host: &Host, names: &[&str], probe: &str) {
    names.iter().for_each(|name| host.script.wait_until_held(name));
    host.succeed(&job_of(OTHER_MODEL, "probe", &[add(probe)]));
    assert_eq!(host.status().active_jobs, names.len());
}

#[test]
fn a_model_that_timed_out_takes_half_of_the_workers_and_others_go_on() {
    let host = host_with_a_suspect(|_| {});
    let tickets = held(&host, MODEL, &["a", "b", "c", "d"]);
    only_held(&host, &["a", "b"], "1");
    let others = held(&host, OTHER_MODEL, &["x"]);
    only_held(&host, &["a", "b", "x"], "2");
    host.script.release("a");
    only_held(&host, &["b", "x", "c"], "3");
    ["b", "c", "d", "x"].iter().for_each(|name| host.script.release(name));
    assert!(results(tickets.into_iter().chain(others)).iter().all(|result| result.success));
}

#[test]
fn a_model_that_has_not_timed_out_takes_every_worker() {
    let host = host_with_a_suspect(|_| {});
    let names = ["a", "b", "c", "d"];
    let tickets = held(&host, OTHER_MODEL, &names);
    all_held_at_once(&host, &names, tickets);
}

#[test]
fn a_failure_that_is_no_timeout_takes_no_workers_away() {
    let host = Host::with(|config| config.manager.max_concurrency = Some(4));
    host.script.fail("t", [broken(), failed(Reason::Trap, "once")]);
    host.succeed(&job("suspect", &[add("t")]));
    let names = ["a", "b", "c", "d"];
    let tickets = held(&host, MODEL, &names);
    all_held_at_once(&host, &names, tickets);
}

#[test]
fn a_model_gets_its_workers_back_after_a_time() {
    let host = host_with_a_suspect(|_| {});
    let names = ["a", "b", "c", "d"];
    let tickets = held(&host, MODEL, &names);
    host.advance(SUSPECTED_FOR_MS - 1);
    only_held(&host, &["a", "b"], "1");
    host.advance(1);
    all_held_at_once(&host, &names, tickets);
}

#[test]
fn another_timeout_counts_from_its_own_moment() {
    let host = host_with_a_suspect(|_| {});
    host.advance(SUSPECTED_FOR_MS / 2);
    host.script.fail("again", [timeout()]);
    host.succeed(&job("suspect", &[add("again")]));
    host.wait_until_idle();
    host.advance(SUSPECTED_FOR_MS / 2 + 1);
    let tickets = held(&host, MODEL, &["a", "b", "c"]);
    only_held(&host, &["a", "b"], "1");
    ["a", "b", "c"].iter().for_each(|name| host.script.release(name));
    assert!(results(tickets).iter().all(|result| result.success));
}

#[test]
fn a_new_revision_starts_with_a_clean_slate() {
    let host = host_with_a_suspect(|_| {});
    host.reducers.register(Arc::new(Scripted::new(MODEL, 2, &["global", "local"], &host.script)));
    let names = ["a", "b", "c", "d"];
    let tickets = held(&host, MODEL, &names);
    all_held_at_once(&host, &names, tickets);
}

#[test]
fn lanes_that_were_passed_over_take_every_free_worker_of_a_new_revision() {
    // A worker that happens not to sleep yet finds them by itself.
    (0..20).for_each(|_| lanes_that_were_passed_over_are_taken_by_sleeping_workers());
}

fn lanes_that_were_passed_over_are_taken_by_sleeping_workers() {
    let host = host_with_a_suspect(|_| {});
    let names = ["a", "b", "c", "d", "e"];
    let tickets = held(&host, MODEL, &names);
    only_held(&host, &["a", "b"], "1");
    host.reducers.register(Arc::new(Scripted::new(MODEL, 2, &["global", "local"], &host.script)));
    // One end of a job, and one knock from outside: as much reason to look as there can be.
    host.script.release("a");
    host.wait_until_said("completed a");
    let knock = JobAvailableEvent {
        document_id: "d".into(),
        scopes: Arc::new([]),
        branch: "main".into(),
        job_id: tickets[3].job_id.clone(),
    };
    host.manager().events().publish(Event::JobAvailable(knock));
    ["c", "d", "e"].iter().for_each(|name| host.script.wait_until_held(name));
    names.iter().for_each(|name| host.script.release(name));
    assert!(results(tickets).iter().all(|result| result.success));
}

#[test]
fn a_single_worker_still_runs_a_model_that_timed_out() {
    let host = host_with_a_suspect(|config| config.manager.max_concurrency = Some(1));
    host.succeed(&job("a", &[add("a")]));
    host.succeed(&job_of(OTHER_MODEL, "b", &[add("b")]));
    assert_eq!(host.phase(), Phase::Running);
}

/// A third model that times out, and one that never does.
const THIRD_MODEL: &str = "test/third";
const NEIGHBOUR: &str = "test/neighbour";

/// A host with so many workers, where each of these models has just timed out.
fn host_with_suspects(workers: usize, models: &[&str]) -> Host {
    let host = Host::not_started(|config| {
        config.manager.max_concurrency = Some(workers);
        config.max_retries = 1;
    });
    for model in [THIRD_MODEL, NEIGHBOUR] {
        host.reducers.register(Arc::new(Scripted::new(model, 1, &["global", "local"], &host.script)));
    }
    host.start_manager();
    for model in models {
        let (document, action) = (format!("suspect {model}"), format!("slow {model}"));
        host.script.fail(&action, [timeout()]);
        host.succeed(&job_of(model, &document, &[add(&action)]));
    }
    host.wait_until_idle();
    host
}

#[test]
fn models_that_timed_out_take_half_of_the_workers_together_and_a_neighbour_the_others() {
    let models = [MODEL, OTHER_MODEL, THIRD_MODEL];
    for (workers, suspects) in [(4, &models[..2]), (4, &models[..]), (2, &models[..2]), (2, &models[..])] {
        let host = host_with_suspects(workers, suspects);
        let half = workers / 2;
        // Each model has as many runaways as there are workers.
        let runaway = |number: usize| (suspects[number % suspects.len()], format!("runaway {number}"));
        let runaways: Vec<_> = (0..workers * suspects.len()).map(runaway).collect();
        let mut tickets: Vec<_> =
            runaways.iter().map(|(model, name)| host.accept(&job_of(model, name, &[hold(name)]))).collect();
        runaways[..half].iter().for_each(|(_, name)| host.script.wait_until_held(name));
        let neighbours: Vec<_> = (0..half).map(|number| format!("neighbour {number}")).collect();
        let neighbours: Vec<_> = neighbours.iter().map(String::as_str).collect();
        all_held_at_once(&host, &neighbours, held(&host, NEIGHBOUR, &neighbours));
        host.succeed(&job_of(NEIGHBOUR, "probe", &[add("probe")]));
        assert_eq!(host.status().active_jobs, half, "{workers} workers, {} suspects", suspects.len());
        // Whoever waits for a place gets it in turn, whichever model gave it up.
        for (position, (_, name)) in runaways.iter().enumerate() {
            host.script.wait_until_held(name);
            host.succeed(&job_of(NEIGHBOUR, &format!("probe {position}"), &[add(&format!("probe {position}"))]));
            assert!(host.status().active_jobs <= half);
            host.script.release(name);
        }
        tickets.drain(..).for_each(|ticket| assert!(result(ticket).success));
    }
}

#[test]
fn a_model_that_timed_out_does_not_starve_another_one_that_did() {
    let host = host_with_suspects(2, &[MODEL, OTHER_MODEL]);
    let busy = |number: usize| job("busy", &[add(&format!("busy {number}"))]);
    let mut tickets = vec![host.accept(&job("busy", &[hold("gate")]))];
    host.script.wait_until_held("gate");
    tickets.extend((0..200).map(|number| host.accept(&busy(number))));
    tickets.push(host.accept(&job_of(OTHER_MODEL, "waits", &[add("waits")])));
    host.script.release("gate");
    results(tickets);
    let started = host.started();
    let before = started.iter().skip_while(|name| *name != "gate").take_while(|name| *name != "waits").count();
    assert!(before <= 40, "{before} jobs of the other model came first");
}

#[test]
fn a_job_that_asks_for_less_time_makes_no_model_suspect() {
    let host = Host::start();
    let hasty = json!({ "jobTimeout": 0, "maxRetries": 0 });
    for number in 0..100 {
        let name = format!("hasty {number}");
        let result = host.run(&with(job(&name, &[add(&name)]), "config", hasty.clone()));
        assert_eq!(metadata(&result).reason, Some(Reason::Timeout));
    }
    let names = ["a", "b"];
    let tickets = held(&host, MODEL, &names);
    all_held_at_once(&host, &names, tickets);
}

#[test]
fn jobs_that_ask_for_a_little_less_time_do_not_keep_a_runaway_from_suspicion() {
    let host = host_with_suspects(4, &[]);
    let wily = json!({ "jobTimeout": 29_999, "maxRetries": 0 });
    for name in ["x", "y"] {
        host.script.fail(name, [timeout()]);
        host.run(&with(job(name, &[add(name)]), "config", wily.clone()));
    }
    let tickets = held(&host, MODEL, &["a", "b", "c"]);
    ["a", "b"].iter().for_each(|name| host.script.wait_until_held(name));
    host.succeed(&job_of(NEIGHBOUR, "probe", &[add("probe")]));
    assert_eq!(host.status().active_jobs, 2);
    ["a", "b", "c"].iter().for_each(|name| host.script.release(name));
    assert!(results(tickets).iter().all(|result| result.success));
}

#[test]
fn every_runaway_of_a_model_gets_its_result_in_the_end() {
    let host = host_with_a_suspect(|_| {});
    let names: Vec<_> = (0..40).map(|number| format!("n{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        if number % 3 == 0 {
            host.script.fail(name, [timeout(), timeout()]);
        }
    }
    let tickets: Vec<_> = names.iter().map(|name| host.accept(&job(name, &[add(name)]))).collect();
    let succeeded = results(tickets).iter().filter(|result| result.success).count();
    assert_eq!(succeeded, 26);
    assert!(result(host.accept(&job("last", &[add("last")]))).success);
}

#[test]
fn time_that_failed_attempts_take_makes_a_model_suspect_whatever_they_fail_with() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(2);
        config.manager.job_timeout = Some(1_000);
        config.max_retries = 0;
    });
    // The attempt takes as long as the test says: it is held, and refused after that.
    let slow = host.accept(&job("a", &[hold("slow"), add("slow again")]));
    host.script.wait_until_held("slow");
    host.script.fail("slow again", [rejected("NO", "no")]);
    host.advance(1_000);
    host.script.release("slow");
    assert!(!result(slow).success);
    // One of two workers is left to others.
    let runaways = ["b", "c"].map(|name| host.accept(&job(name, &[hold(name)])));
    host.script.wait_until_held("b");
    host.succeed(&job_of(OTHER_MODEL, "d", &[add("d")]));
    assert_eq!(host.status().active_jobs, 1);
    ["b", "c"].iter().for_each(|name| host.script.release(name));
    assert!(results(runaways).iter().all(|result| result.success));
}
