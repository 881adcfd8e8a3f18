//! Many submissions at once: all of them or none.

use reductor_core::{Refusal, Stop};
use serde_json::json;

use super::drive::{after, keyed};
use crate::executor::host::{Host, MODEL, OTHER_MODEL, add, job, job_of, results, untyped_job, with};

#[test]
fn tickets_come_in_the_order_of_the_submissions() {
    let host = Host::start();
    let batch: Vec<_> = (0..100).map(|number| job(&format!("d{}", number % 3), &[add(&number.to_string())])).collect();
    let tickets = host.accept_all(&batch);
    for (number, result) in results(tickets).iter().enumerate() {
        assert_eq!((result.success, result.job.actions[0].id.as_str()), (true, number.to_string().as_str()));
    }
    let state: Vec<_> = (0..100).step_by(3).map(|number| number.to_string()).collect();
    assert_eq!(host.state("d0"), json!(state).to_string());
}

#[test]
fn no_job_of_another_client_comes_between() {
    let host = Host::start();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let host = &host;
            scope.spawn(move || {
                for round in 0..50 {
                    let name = |number| format!("{thread}/{round}/{number}");
                    let batch: Vec<_> = (0..5).map(|number| job("d", &[add(&name(number))])).collect();
                    host.accept_all(&batch);
                }
            });
        }
    });
    host.wait_until_idle();
    let state: Vec<String> = serde_json::from_str(&host.state("d")).expect("a list of texts");
    assert_eq!(state.len(), 1_000);
    for batch in state.chunks(5) {
        let client = batch[0].strip_suffix("/0").expect("the first of a batch");
        assert!((0..5).all(|number| batch[number] == format!("{client}/{number}")), "{batch:?}");
    }
}

/// Asserts that nothing of the batch was accepted, because of the submission at `position`.
#[track_caller]
fn refused(host: &Host, batch: &[serde_json::Value], position: usize, field: Option<&str>) -> Refusal {
    let (said, backlog) = (host.said(), host.stats().queue_backlog);
    let refusal = host.submit_all(batch).expect_err("one of them is not acceptable");
    assert_eq!((refusal.position, refusal.refusal.field()), (position, field), "{refusal}");
    assert_eq!((host.said(), host.stats().queue_backlog), (said, backlog), "nothing was announced or queued");
    assert!(refusal.to_string().starts_with(&format!("submissions[{position}]: ")), "{refusal}");
    refusal.refusal
}

#[test]
fn one_that_is_wrong_refuses_all() {
    let host = Host::stopped();
    let good = |name: &str| job("d", &[add(name)]);
    refused(&host, &[good("a"), job("d", &[]), good("b")], 1, Some("actions"));
    refused(&host, &[good("a"), good("b"), untyped_job("e", &[add("c")])], 2, Some("documentId"));
    refused(&host, &[job_of("test/none", "d", &[add("a")]), good("b")], 0, Some("documentType"));
    refused(&host, &[good("a"), after(good("b"), [&"nobody".into()])], 1, Some("dependsOn"));
    let elsewhere = with(add("b"), "scope", json!("elsewhere"));
    refused(&host, &[good("a"), job("d", &[elsewhere])], 1, Some("actions[0].scope"));
    host.start_manager();
    host.wait_until_idle();
    assert_eq!(host.started(), [""; 0]);
    host.succeed(&job_of(OTHER_MODEL, "d", &[add("x")]));
}

#[test]
fn a_batch_that_has_no_room_is_refused_where_the_room_ends() {
    let host = Host::not_started(|config| config.limits.queue_depth_max = 3);
    let batch = |names: &[&str]| names.iter().map(|name| job("d", &[add(name)])).collect::<Vec<_>>();
    let refusal = refused(&host, &batch(&["a", "b", "c", "d"]), 3, None);
    assert_eq!(refusal, Refusal::QueueFull { depth: 0, limit: 3 });
    host.accept(&keyed(job("d", &[add("k")]), "k"));
    let mut with_twin = batch(&["a", "b", "c"]);
    with_twin.insert(1, keyed(job("d", &[add("l")]), "k"));
    refused(&host, &with_twin, 3, None);
    host.accept_all(&batch(&["a", "b"]));
    assert_eq!(host.stats().queue_backlog, 3);
}

#[test]
fn a_document_has_the_model_that_the_batch_gave_it_first() {
    let host = Host::stopped();
    let batch =
        [job_of(MODEL, "d", &[add("a")]), job_of(OTHER_MODEL, "e", &[add("b")]), job_of(OTHER_MODEL, "d", &[add("c")])];
    let refusal = refused(&host, &batch, 2, Some("documentType"));
    assert!(matches!(refusal, Refusal::OtherModel { .. }), "{refusal}");
    let tickets = host.accept_all(&[job_of(OTHER_MODEL, "d", &[add("a")]), untyped_job("d", &[add("b")])]);
    host.start_manager();
    assert!(results(tickets).iter().all(|result| result.success));
    assert_eq!(host.state("d"), r#"["a","b"]"#);
}

#[test]
fn a_batch_of_nothing_is_nothing() {
    let host = Host::start();
    assert_eq!(host.accept_all(&[]).len(), 0);
    host.stop_for_now(Stop::Graceful);
    assert_eq!(host.said(), ["executor started", "executor stopped gracefully"]);
}
