//! How a host stops, and what becomes of the jobs it had.

use anyhow::Result;
use reductor_core::{JobErrorCode, JobStatus, Reason, Stop};
use serde_json::json;

use crate::support::{Host, Setup, done, failure, note, spin};

#[test]
fn interrupting_ends_an_endless_loop_and_gives_every_job_back() -> Result<()> {
    let mut host = Setup::new().workers(1).start()?;
    let running = host.submit(spin("a"))?;
    let behind_it = host.submit(note("a", "never started"))?;
    let elsewhere = host.submit(note("b", "never started"))?;
    host.started("a")?;
    host.stop(Stop::Interrupt)?;

    for (ticket, attempts) in [(running, 1), (behind_it, 0), (elsewhere, 0)] {
        let result = done(ticket)?;
        let failure = failure(&result)?;
        assert_eq!((failure.code, result.job.status), (JobErrorCode::GracefulAbort, JobStatus::Pending));
        assert_eq!((failure.metadata.attempts, failure.metadata.reason), (attempts, None));
    }
    assert_eq!(host.story()?, ["a SPIN started"], "an aborted job is not a failed one");
    assert_eq!((host.head("a")?, host.head("b")?), (None, None));
    Ok(())
}

#[test]
fn stopping_gracefully_lets_a_running_job_end_and_starts_no_other() -> Result<()> {
    let mut host = Setup::new().workers(1).start()?;
    let running = host.submit(spin("a").with("config", json!({"jobTimeout": 200, "maxRetries": 0})))?;
    let behind_it = host.submit(note("a", "never started"))?;
    host.started("a")?;
    host.stop(Stop::Graceful)?;
    assert_eq!(failure(&*done(running)?)?.metadata.reason, Some(Reason::Timeout));
    assert_eq!(failure(&*done(behind_it)?)?.code, JobErrorCode::GracefulAbort);
    assert_eq!(host.story()?, ["a SPIN started", "a SPIN failed for good after 0 retries"]);
    Ok(())
}

#[test]
fn a_job_that_waits_for_its_retry_is_given_back() -> Result<()> {
    let mut host = Setup::new().workers(1).manual_clock(std::time::Duration::from_secs(3_600)).start()?;
    let retrying = host.submit(spin("a").with("config", json!({"jobTimeout": 15, "maxRetries": 1})))?;
    host.applied(note("b", "when the other rests"))?;
    host.stop(Stop::Graceful)?;
    let failure = failure(&*done(retrying)?)?;
    assert_eq!((failure.code, failure.metadata.attempts), (JobErrorCode::GracefulAbort, 1));
    Ok(())
}

#[test]
fn what_was_applied_before_the_stop_stays() -> Result<()> {
    let mut host = Host::start()?;
    host.applied(note("u", "kept"))?;
    host.stop(Stop::Graceful)?;
    assert_eq!(host.state("u")?, json!({"notes": ["kept"]}));
    Ok(())
}
