//! What is told, in which order, and to whom.

use std::collections::HashMap;
use std::sync::Arc;

use reductor_core::{
    Event, EventBus, ExecutorConfig, JobAvailableEvent, JobExecutorManager, OperationStore as _, Received, Stop,
    Subscription,
};

use super::drive::broken;
use crate::executor::host::{Host, add, job, result, results, say};
use crate::executor::scripted::rejected;

fn next(subscription: &mut Subscription) -> Arc<Event> {
    match subscription.recv_blocking() {
        Some(Received::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

fn available(document: &str) -> Event {
    Event::JobAvailable(JobAvailableEvent {
        document_id: document.into(),
        scopes: Arc::new([]),
        branch: "main".into(),
        job_id: "nobody".into(),
    })
}

#[test]
fn the_events_of_a_document_come_in_the_order_of_its_jobs_whatever_fails() {
    const DOCUMENTS: usize = 5;
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(3);
        config.max_retries = 2;
    });
    let mut expected: HashMap<usize, Vec<String>> = HashMap::new();
    let mut tickets = Vec::new();
    for number in 0..200 {
        let (name, document) = (number.to_string(), number % DOCUMENTS);
        let story = expected.entry(document).or_default();
        let retries = |count: usize| {
            let retry = |retry| {
                [
                    format!("started {name}"),
                    format!("failed {name}, retry {retry} follows"),
                    format!("retry {retry} of {name}"),
                ]
            };
            (1..=count).flat_map(retry).chain([format!("started {name}")]).collect::<Vec<_>>()
        };
        match number / DOCUMENTS % 4 {
            1 => {
                host.script.fail(&name, [broken(), broken()]);
                story.extend(retries(2));
                story.push(format!("completed {name}"));
            }
            2 => {
                host.script.fail(&name, [broken(), rejected("NO", "no")]);
                story.extend(retries(1));
                story.push(format!("failed {name} after 1 retries"));
            }
            _ => story.extend([format!("started {name}"), format!("completed {name}")]),
        }
        tickets.push(host.accept(&job(&document.to_string(), &[add(&name)])));
    }
    results(tickets);
    let mut told: HashMap<usize, Vec<String>> = HashMap::new();
    for event in host.events() {
        let document = match &*event {
            Event::JobStarted(event) => &event.job,
            Event::JobCompleted(event) => &event.job,
            Event::JobRetry(event) => &event.job,
            Event::JobFailed(event) => &event.job,
            _ => continue,
        };
        let document = document.document_id.as_str().parse().expect("documents are numbers");
        told.entry(document).or_default().push(say(&event));
    }
    assert_eq!(told, expected);
}

#[test]
fn a_job_is_announced_before_it_starts() {
    let host = Host::with(|config| config.manager.max_concurrency = Some(3));
    results((0..300).map(|number| host.accept(&job(&number.to_string(), &[add(&number.to_string())]))));
    let story = host.said();
    for number in 0..300 {
        let at = |said: String| story.iter().position(|other| *other == said).expect("it is told");
        assert!(at(format!("available in {number}")) < at(format!("started {number}")));
    }
}

#[test]
fn a_job_is_completed_only_when_its_operations_can_be_read() {
    const JOBS: usize = 300;
    let host = Host::start();
    let mut subscription = host.manager().events().subscribe();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut completed = 0;
            while completed < JOBS {
                if let Event::JobCompleted(event) = &*next(&mut subscription) {
                    completed += 1;
                    let last = event.result.operations.last().expect("it made one");
                    let stored = host.store.operation_of(&event.job.lane(), &last.action.scope, &last.action.id);
                    let stored = stored.expect("a readable log").expect("it is in the log");
                    assert_eq!(stored.operation, *last);
                    let head = host.manager().head(&event.job.lane()).expect("a readable log").expect("it is there");
                    assert!(head.revision > stored.sequence);
                }
            }
        });
        results((0..JOBS).map(|number| host.accept(&job(&format!("d{}", number % 7), &[add(&number.to_string())]))));
        reader.join().expect("every operation was there");
    });
}

#[test]
fn a_job_has_been_told_of_when_its_watch_resolves() {
    let host = Host::start();
    let mut subscription = host.manager().events().subscribe();
    for number in 0..200 {
        host.succeed(&job("d", &[add(&number.to_string())]));
        let mut told = Vec::new();
        while let Some(Received::Event(event)) = subscription.try_recv() {
            told.push(say(&event));
        }
        assert_eq!(told.last(), Some(&format!("completed {number}")));
    }
}

#[test]
fn a_handler_may_subscribe_unsubscribe_and_call_the_manager() {
    let host = Host::start();
    let mut subscription = Some(host.manager().events().subscribe());
    std::thread::scope(|scope| {
        let handler = scope.spawn(|| {
            let (mut extra, mut handled) = (Vec::new(), 0);
            while let Some(received) = subscription.as_mut().and_then(Subscription::recv_blocking) {
                let Received::Event(event) = received else { panic!("missed some") };
                let Event::JobCompleted(event) = &*event else { continue };
                handled += 1;
                extra.push(host.manager().events().subscribe());
                if handled % 3 == 0 {
                    extra.clear();
                }
                assert!(host.result_now(&event.job.id).is_none_or(|result| result.success));
                host.manager().pause().expect("it runs");
                host.manager().resume().expect("it is paused");
                if handled < 50 {
                    host.accept(&job("d", &[add(&handled.to_string())]));
                } else {
                    subscription = None;
                }
            }
            handled
        });
        host.accept(&job("d", &[add("first")]));
        assert_eq!(handler.join().expect("it handles all"), 50);
    });
    host.wait_until_idle();
    assert_eq!(host.status().total_jobs_succeeded, 50);
}

#[test]
fn a_slow_subscriber_misses_events_and_jobs_go_on() {
    let elsewhere = Host::stopped();
    let bus = EventBus::new(8);
    let config = ExecutorConfig::default();
    let manager = JobExecutorManager::new(config, elsewhere.reducers.clone(), elsewhere.store.clone(), bus.clone());
    let mut slow = bus.subscribe();
    manager.start(None).expect("threads are left");
    let submission = |number: usize| {
        reductor_core::Submission::from_json(&job("d", &[add(&number.to_string())]).to_string()).expect("a submission")
    };
    results((0..100).map(|number| manager.enqueue(submission(number)).expect("acceptable")));
    manager.stop_blocking(Stop::Graceful);
    let Some(Received::Missed(missed)) = slow.try_recv() else { panic!("it has missed events") };
    assert_eq!(missed, 2 + 3 * 100 - 8, "all but the last eight");
    let rest: Vec<_> = std::iter::from_fn(|| slow.try_recv()).collect();
    assert!(rest.iter().all(|received| matches!(received, Received::Event(_))));
    assert_eq!(rest.len(), 8);
}

#[test]
fn a_knock_from_outside_is_harmless_in_every_phase() {
    let host = Host::stopped();
    let knock = |count: usize| (0..count).for_each(|_| host.manager().events().publish(available("nowhere")));
    knock(10);
    let waiting = host.accept(&job("d", &[add("a")]));
    knock(10);
    assert_eq!(host.started(), [""; 0], "it is not started");
    host.start_manager();
    knock(1_000);
    assert!(result(waiting).success);
    host.wait_until_idle();
    host.pause();
    let paused = host.accept(&job("d", &[add("b")]));
    knock(10);
    assert_eq!(host.started(), ["a"]);
    host.resume();
    assert!(result(paused).success);
    let gate = host.shut_gate();
    let stopping = host.stopping(Stop::Graceful);
    knock(10);
    host.open_gate();
    stopping.wait();
    assert!(result(gate).success);
    knock(10);
    let status = host.status();
    assert_eq!((status.total_jobs_processed, status.active_jobs, host.stats().queue_backlog), (3, 0, 0));
    assert_eq!(host.said_of("available in nowhere").len(), 1_050, "others hear them");
}

#[test]
fn a_knock_from_outside_wakes_sleeping_workers() {
    let host = Host::start();
    for round in 0..50 {
        let ticket = host.accept(&job("d", &[add(&round.to_string())]));
        host.manager().events().publish(available("d"));
        assert!(result(ticket).success);
        host.wait_until_idle();
    }
}

#[test]
fn a_bus_outlives_its_manager() {
    let mut host = Host::start();
    let bus = host.manager().events().clone();
    let mut subscription = bus.subscribe();
    host.drop_manager();
    bus.publish(available("d"));
    let told: Vec<_> = std::iter::from_fn(|| subscription.try_recv()).collect();
    assert_eq!(told.len(), 2, "the end, and the knock: {told:?}");
}

#[test]
fn a_retry_is_told_of_when_the_job_is_queued_again_and_not_when_it_starts() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.manager.retry_base_delay = Some(1_000);
    });
    let tickets = ["a", "b"].map(|name| {
        host.script.fail(name, [broken()]);
        let ticket = host.accept(&job(name, &[add(name)]));
        host.wait_until_said(&format!("failed {name}, retry 1 follows"));
        ticket
    });
    host.advance(1_000);
    assert!(results(tickets).iter().all(|result| result.success));
    let (said, place) = (host.said(), |sentence: &str| host.said().iter().position(|said| said == sentence));
    let both_queued = place("retry 1 of a").max(place("retry 1 of b"));
    let first_again =
        said.iter().rposition(|said| said == "started a").min(said.iter().rposition(|said| said == "started b"));
    assert!(both_queued < first_again, "{said:?}");
}
