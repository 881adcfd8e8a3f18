//! Jobs of a document keep their order; documents do not wait for one another.

use std::collections::HashMap;

use reductor_core::{ApplyError, Event, HostFault, Reason, Stop};
use serde_json::json;

use super::host::{Host, add, hold, job, result, say, with};
use super::scripted::{failed, rejected};

fn broken() -> ApplyError {
    ApplyError::Host(HostFault::Broken("for a moment".to_owned()))
}

#[test]
fn a_job_is_announced_started_and_completed() {
    let mut host = Host::start();
    host.succeed(&job("d", &[add("a")]));
    let story = ["executor started", "available in d", "started a", "completed a", "executor stopped gracefully"];
    assert_eq!(host.stop(Stop::Graceful), story);
}

#[test]
fn a_repeated_job_tells_of_every_attempt() {
    let mut host = Host::start();
    host.script.fail("a", [broken(), broken()]);
    host.succeed(&job("d", &[add("a")]));
    let story = [
        "executor started",
        "available in d",
        "started a",
        "failed a, retry 1 follows",
        "retry 1 of a",
        "started a",
        "failed a, retry 2 follows",
        "retry 2 of a",
        "started a",
        "completed a",
        "executor stopped gracefully",
    ];
    assert_eq!(host.stop(Stop::Graceful), story);
}

#[test]
fn events_carry_the_job_as_it_stood() {
    let mut host = Host::start();
    host.script.fail("a", [broken(), rejected("NO", "no")]);
    host.run(&job("d", &[add("a")]));
    host.stop(Stop::Graceful);
    let statuses: Vec<_> = host
        .events()
        .iter()
        .filter_map(|event| {
            let event = serde_json::to_value(event).expect("an event has a JSON form");
            event["payload"]["job"]["status"].as_str().map(str::to_owned)
        })
        .collect();
    assert_eq!(statuses, ["RUNNING", "FAILED", "PENDING", "RUNNING", "FAILED"]);
    let errors: Vec<_> = host
        .events()
        .iter()
        .filter_map(|event| match &**event {
            Event::JobRetry(event) => Some(u32::from(event.error.error_code)),
            Event::JobFailed(event) => Some(u32::from(event.error.error_code)),
            _ => None,
        })
        .collect();
    assert_eq!(errors, [90006, 90006, 90005]);
}

#[test]
fn jobs_that_fail_or_repeat_do_not_change_the_order_of_their_document() {
    const DOCUMENTS: usize = 6;
    const JOBS: usize = 90;
    let mut host = Host::with(|config| config.manager.max_concurrency = Some(4));
    let mut tickets = Vec::new();
    for number in 0..JOBS {
        for document in 0..DOCUMENTS {
            let name = format!("{document}-{number:02}");
            match number % 7 {
                2 => host.script.fail(&name, [broken(), failed(Reason::Trap, "once")]),
                4 => host.script.fail(&name, [rejected("NO", "never")]),
                _ => {}
            }
            tickets.push(host.accept(&job(&document.to_string(), &[add(&name)])));
        }
    }
    let succeeded = tickets.into_iter().map(result).filter(|result| result.success).count();
    assert_eq!(succeeded, DOCUMENTS * (0..JOBS).filter(|number| number % 7 != 4).count());

    host.stop(Stop::Graceful);
    let mut stories: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for event in host.events() {
        let said = say(&event);
        if let Some((what, name)) =
            said.split_once(' ').filter(|(what, _)| ["started", "completed", "failed"].contains(what))
        {
            let name = name.split([' ', ',']).next().unwrap_or_default().to_owned();
            let document = name.split('-').next().unwrap_or_default().to_owned();
            stories.entry(document).or_default().push((name, what.to_owned()));
        }
    }
    for (document, story) in &stories {
        let names: Vec<_> = story.iter().map(|(name, _)| name).collect();
        assert!(names.is_sorted(), "every event of a job comes before those of the next: {story:?}");
        let added: Vec<_> =
            (0..JOBS).filter(|number| number % 7 != 4).map(|number| format!("{document}-{number:02}")).collect();
        assert_eq!(host.state(document), json!(added).to_string());
    }
    assert_eq!(stories.len(), DOCUMENTS);
}

#[test]
fn other_documents_go_on_while_a_job_backs_off() {
    let host = Host::with(|config| config.manager.retry_base_delay = Some(1_000_000));
    host.script.fail("a", [broken()]);
    let waiting = host.accept(&job("d", &[add("a")]));
    host.wait_until_said("failed a, retry 1 follows");
    for name in ["x", "y", "z"] {
        host.succeed(&job(name, &[add(name)]));
    }
    assert_eq!(host.state("d"), "");
    drop(waiting);
}

#[test]
fn a_busy_document_does_not_starve_the_others() {
    const JOBS: usize = 200;
    let mut host = Host::with_one_worker();
    let held = host.accept(&job("gate", &[hold("h")]));
    host.script.wait_until_held("h");
    let busy: Vec<_> = (0..JOBS).map(|number| host.accept(&job("busy", &[add(&format!("b{number}"))]))).collect();
    let modest = host.accept(&job("modest", &[add("m")]));
    host.script.release("h");
    assert!(result(held).success && result(modest).success);
    assert!(busy.into_iter().all(|ticket| result(ticket).success));
    let story = host.stop(Stop::Graceful);
    let before = story.iter().take_while(|said| *said != "completed m").filter(|said| said.starts_with("completed b"));
    assert!(before.count() <= 32, "one turn of the busy document at most");
}

#[test]
fn branches_of_a_document_are_lanes_of_their_own() {
    let host = Host::start();
    let held = host.accept(&job("d", &[hold("h")]));
    host.script.wait_until_held("h");
    host.succeed(&with(job("d", &[add("a")]), "branch", json!("draft")));
    assert_eq!(host.state("d"), "", "the branch `main` is still held");
    host.script.release("h");
    assert!(result(held).success);
    assert_eq!(host.state("d"), r#"["h"]"#);
}
