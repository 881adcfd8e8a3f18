//! What a restart and a wrong time of day do to spans of time.

use std::time::Duration;

use reductor_core::{Clock, JobId, Timestamp};

use super::disk::Fate;
use super::machine::{Machine, Process};
use crate::executor::host::{add, job, within};
use crate::manager::drive::{broken, metadata};

/// 2026-03-01T12:00:00Z.
const NOW: Timestamp = Timestamp { ms: 1_772_366_400_000 };

fn later(by: Duration) -> Clock {
    Clock::manual_at(Timestamp { ms: NOW.ms + by.as_millis() as i64 })
}

fn boot(machine: &Machine) -> Process {
    machine.boot_with(|config| {
        (config.manager.retry_base_delay, config.manager.retry_max_delay) = (Some(1_000), Some(5_000));
    })
}

#[test]
fn a_backoff_is_not_longer_after_the_time_of_day_went_back() {
    let (mut machine, id) = crashed_in_a_backoff();
    // The machine boots without a battery for its clock.
    machine.clock = Clock::manual();
    let process = boot(&machine);
    let watched = process.watch(&id);
    process.advance_by(Duration::from_secs(5));
    assert!(within(watched.wait()).success);
}

/// A machine whose process was lost, at time zero, while a job waited for its first retry.
fn crashed_in_a_backoff() -> (Machine, JobId) {
    let mut machine = Machine::new();
    machine.clock = later(Duration::ZERO);
    machine.script.fail("a", [broken()]);
    let process = boot(&machine);
    let id = process.accept(&job("d", &[add("a")])).job_id;
    process.wait_until_said("failed a, retry 1 follows");
    process.crash(Fate::Lost);
    (machine, id)
}

#[test]
fn a_backoff_that_passed_while_no_process_ran_is_over() {
    let (mut machine, id) = crashed_in_a_backoff();
    machine.clock = later(Duration::from_secs(60));
    let process = boot(&machine);
    assert!(within(process.watch(&id).wait()).success);
}

#[test]
fn the_time_that_a_job_waited_before_a_restart_counts() {
    let mut machine = Machine::new();
    machine.clock = later(Duration::ZERO);
    let process = machine.open();
    let id = process.accept(&job("d", &[add("a")])).job_id;
    process.crash(Fate::Lost);
    machine.clock = later(Duration::from_secs(90));
    let process = machine.boot();
    let ended = within(process.watch(&id).wait());
    assert_eq!(metadata(&ended).queued_ms, Duration::from_secs(90).into());
}

#[test]
fn the_duration_of_a_job_counts_from_its_first_start_in_an_earlier_process() {
    let (mut machine, id) = crashed_in_a_backoff();
    machine.clock = later(Duration::from_secs(3_600));
    let process = boot(&machine);
    assert_eq!(within(process.watch(&id).wait()).duration, Duration::from_secs(3_600).into());
}
