//! What runs after what, and what runs at the same time.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use reductor_core::{Event, JobErrorCode, Reason, Stop};
use serde_json::{Value, json};

use crate::support::{COUNTER, Host, Setup, done, failure, job, note, spin};

#[test]
fn jobs_of_one_document_run_in_the_order_they_came_and_never_at_once() -> Result<()> {
    let mut host = Setup::new().workers(4).start()?;
    let submit = |number: i32| host.submit(note("u", &number.to_string()));
    let tickets = (0..200).map(submit).collect::<Result<Vec<_>>>()?;
    let jobs: Vec<_> = tickets.iter().map(|ticket| ticket.job_id.clone()).collect();
    for ticket in tickets {
        assert!(done(ticket)?.success);
    }
    let mut happened = Vec::new();
    for event in host.events()? {
        match &**event {
            Event::JobStarted(event) => happened.push(("started", event.job.id.clone())),
            Event::JobCompleted(event) => happened.push(("completed", event.job.id.clone())),
            _ => {}
        }
    }
    let expected: Vec<_> =
        jobs.iter().flat_map(|job| ["started", "completed"].map(|what| (what, job.clone()))).collect();
    assert_eq!(happened, expected);
    let notes: Vec<_> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(host.state("u")?, json!({"notes": notes}));
    Ok(())
}

#[test]
fn a_job_waits_for_the_one_before_it_though_a_worker_is_free() -> Result<()> {
    let mut host = Host::start()?;
    let spinning = host.submit(spin("u").with("config", json!({"jobTimeout": 100, "maxRetries": 0})))?;
    let following = host.submit(note("u", "after it"))?;
    assert!(!done(spinning)?.success);
    assert!(done(following)?.success);
    let story = ["u SPIN started", "u SPIN failed for good after 0 retries", "u NOTE started", "u NOTE completed"];
    assert_eq!(host.story()?, story);
    Ok(())
}

#[test]
fn two_documents_run_at_the_same_time() -> Result<()> {
    let mut host = Host::start()?;
    // Neither ends by itself, so if both start, both run.
    let tickets = [host.submit(spin("a"))?, host.submit(spin("b"))?];
    host.started("a")?;
    host.started("b")?;
    let mut story = host.story()?;
    story.sort();
    assert_eq!(story, ["a SPIN started", "b SPIN started"], "one ended before the other began");
    host.stop(Stop::Interrupt)?;
    for ticket in tickets {
        assert_eq!(failure(&*done(ticket)?)?.code, JobErrorCode::GracefulAbort);
    }
    Ok(())
}

#[test]
fn two_branches_of_a_document_run_at_the_same_time() -> Result<()> {
    let mut host = Host::start()?;
    let spinning = host.submit(spin("u"))?;
    host.started("u")?;
    let draft = host.run(note("u", "elsewhere").with("branch", json!("draft")))?;
    assert!(draft.success);
    assert_eq!(host.story()?, ["u SPIN started", "u NOTE started", "u NOTE completed"]);
    host.stop(Stop::Interrupt)?;
    assert_eq!(failure(&*done(spinning)?)?.code, JobErrorCode::GracefulAbort);
    Ok(())
}

#[test]
fn neighbours_of_an_endless_loop_go_on() -> Result<()> {
    let mut host = Host::start()?;
    let spinning = host.submit(spin("a"))?;
    host.started("a")?;
    for number in 0..50 {
        host.applied(note("b", &number.to_string()))?;
        host.applied(job(COUNTER, "c").action("INCREMENT", json!({"by": 1})))?;
    }
    assert_eq!(host.state("c")?, json!({"value": 50}));
    let of_the_loop: Vec<_> = host.story()?.into_iter().filter(|line| line.starts_with("a ")).collect();
    assert_eq!(of_the_loop, ["a SPIN started"], "the loop ended before its neighbours");
    host.stop(Stop::Interrupt)?;
    assert_eq!(failure(&*done(spinning)?)?.code, JobErrorCode::GracefulAbort);
    Ok(())
}

#[test]
fn an_endless_loop_holds_up_a_worker_no_longer_than_its_timeout() -> Result<()> {
    let mut host = Setup::new().workers(1).start()?;
    let config = json!({"jobTimeout": 50, "maxRetries": 0});
    let spinning = host.submit(spin("a").with("config", config))?;
    let waiting = [host.submit(note("b", "one"))?, host.submit(note("c", "one"))?];
    assert_eq!(failure(&*done(spinning)?)?.metadata.reason, Some(Reason::Timeout));
    for ticket in waiting {
        assert!(done(ticket)?.success);
    }
    assert_eq!(host.story()?[1], "a SPIN failed for good after 0 retries");
    Ok(())
}

#[test]
fn a_busy_document_does_not_starve_the_others() -> Result<()> {
    let mut host = Setup::new().workers(1).start()?;
    // While the only worker is busy, everything else gathers.
    let busy = host.submit(spin("z").with("config", json!({"jobTimeout": 500, "maxRetries": 0})))?;
    host.started("z")?;
    let many = (0..1_000).map(|_| host.submit(note("a", "one of many"))).collect::<Result<Vec<_>>>()?;
    let one = host.submit(note("b", "only one"))?;
    done(busy)?;
    done(one)?;
    for ticket in many {
        done(ticket)?;
    }
    let completed: Vec<_> = host.story()?.into_iter().filter(|line| line.ends_with("NOTE completed")).collect();
    let place = completed.iter().position(|line| line.starts_with("b ")).context("b completed")?;
    assert!(place < 100, "the only job of b came after {place} of a");
    Ok(())
}

#[test]
fn many_documents_keep_their_own_order() -> Result<()> {
    let host = Setup::new().workers(3).start()?;
    let mut tickets = Vec::new();
    for number in 0..40 {
        for document in 0..25 {
            tickets.push(host.submit(note(&format!("d{document}"), &number.to_string()))?);
        }
    }
    for ticket in tickets {
        assert!(done(ticket)?.success);
    }
    let notes: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    for document in 0..25 {
        assert_eq!(host.state(&format!("d{document}"))?, json!({"notes": notes}), "d{document}");
    }
    Ok(())
}

#[test]
fn every_job_is_announced_before_it_starts_and_readable_when_it_has_completed() -> Result<()> {
    let mut host = Host::start()?;
    for number in 0..20 {
        let document = format!("c{}", number % 3);
        host.submit(job(COUNTER, &document).action("INCREMENT", json!({"by": 1})))?;
    }
    host.applied(job(COUNTER, "c0").action("RESET", Value::Null))?;
    host.applied(job(COUNTER, "c1").action("RESET", Value::Null))?;
    host.applied(job(COUNTER, "c2").action("RESET", Value::Null))?;

    let mut stage = HashMap::new();
    for event in host.events()? {
        let (job, number) = match &**event {
            Event::JobAvailable(event) => (event.job_id.clone(), 1),
            Event::JobStarted(event) => (event.job.id.clone(), 2),
            Event::JobCompleted(event) => (event.job.id.clone(), 3),
            _ => continue,
        };
        let before = stage.insert(job, number).unwrap_or(0);
        assert_eq!(before + 1, number);
    }
    assert_eq!(stage.len(), 23);
    assert!(stage.values().all(|number| *number == 3));
    Ok(())
}

#[test]
fn events_are_spelled_as_the_interface_says() -> Result<()> {
    let mut host = Host::start()?;
    host.applied(job(COUNTER, "c").action("RESET", Value::Null))?;
    host.stop(Stop::Graceful)?;
    let events = host.events()?.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    let numbers: Vec<_> = events.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(numbers, [20005, 10000, 20000, 20001, 20006]);
    let config = json!({"maxConcurrency": 2, "jobTimeout": 30_000, "retryBaseDelay": 1, "retryMaxDelay": 1});
    assert_eq!(events[0]["payload"]["config"], config);
    let job_id = &events[1]["payload"]["jobId"];
    let available = json!({"documentId": "c", "scopes": ["global"], "branch": "main", "jobId": job_id});
    assert_eq!(events[1]["payload"], available);
    assert_eq!(
        (&events[2]["payload"]["job"]["id"], &events[2]["payload"]["job"]["status"]),
        (job_id, &json!("RUNNING"))
    );
    assert_eq!(events[3]["payload"]["job"]["status"], "COMPLETED");
    assert_eq!(events[3]["payload"]["result"]["job"]["id"], *job_id);
    assert_eq!(events[4]["payload"]["graceful"], true);
    Ok(())
}
