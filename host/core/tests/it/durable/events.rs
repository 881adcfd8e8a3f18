//! In which order a manager over a disk tells of its jobs.

use reductor_core::{Phase, Stop};
use serde_json::json;

use super::machine::Machine;
use crate::executor::host::{add, job, within};

#[test]
fn a_job_is_available_before_it_starts_however_slow_the_disk_is() {
    let machine = Machine::new();
    let process = machine.boot();
    process.mount.hold();
    let submitted = process.hand_in(&job("d", &[add("a")]));
    process.wait_until_started(1);
    process.mount.release();
    assert!(within(submitted.wait()).success);
    process.wait_until_idle();
    assert_eq!(process.said(), ["available in d", "started a", "completed a"]);
}

#[test]
fn a_job_completes_before_what_it_dispatched_is_available() {
    let machine = Machine::new();
    let process = machine.boot();
    let dispatch = json!({"id": "root", "type": "DISPATCH", "input": [{"input": "leaf"}]});
    process.succeed(&job("d", &[dispatch]));
    process.wait_until_idle();
    let said = process.said();
    assert_eq!(&said[..4], ["available in d", "started root", "completed root", "available in d"], "{said:?}");
}

#[test]
fn a_manager_that_was_paused_and_stopped_executes_when_it_starts_again() {
    let machine = Machine::new();
    let process = machine.boot();
    process.manager().pause().expect("it runs");
    process.manager().stop_blocking(Stop::Graceful);
    process.manager().start(None).expect("it is stopped");
    assert_eq!(process.manager().phase(), Phase::Running);
    process.succeed(&job("d", &[add("a")]));
    drop(process);
    assert_eq!(machine.boot().manager().phase(), Phase::Running, "the journal knows that it runs again");
}

#[test]
fn a_pause_outlives_a_stop_and_its_process() {
    let machine = Machine::new();
    let process = machine.boot();
    process.manager().pause().expect("it runs");
    process.manager().stop_blocking(Stop::Graceful);
    drop(process);
    assert_eq!(machine.boot().manager().phase(), Phase::Paused);
}
