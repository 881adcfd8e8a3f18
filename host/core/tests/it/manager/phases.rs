//! Every call in every phase: the table of `JobExecutorManager`.

use std::pin::pin;

use reductor_core::{
    Event, ExecuteError, JobExecutorManagerConfig, JobId, NotCancelled, NotStarted, NotWatched, Phase, Refusal,
    StartError, Stop, UnknownJob,
};

use super::drive::{another, cancelled, given_back, poll};
use crate::executor::host::{Host, add, job, result, within};

const PHASES: [Phase; 4] = [Phase::Stopped, Phase::Running, Phase::Paused, Phase::Stopping];

/// Brings a manager with one worker to this phase, has `check` look at it, and ends it in peace.
///
/// A document `d` is there. While the manager stops, its worker is at the gate.
fn in_phase(phase: Phase, check: impl FnOnce(&Host)) {
    let host = Host::with_one_worker();
    host.succeed(&job("d", &[add("first")]));
    match phase {
        Phase::Running => check(&host),
        Phase::Stopped => {
            host.stop_for_now(Stop::Graceful);
            check(&host);
        }
        Phase::Paused => {
            host.pause();
            check(&host);
        }
        Phase::Stopping => {
            let gate = host.shut_gate();
            let stopping = host.stopping(Stop::Graceful);
            check(&host);
            host.open_gate();
            stopping.wait();
            result(gate);
        }
    }
}

#[test]
fn a_manager_says_in_which_phase_it_is() {
    assert_eq!(Host::stopped().phase(), Phase::Stopped, "before its first start");
    for phase in PHASES {
        in_phase(phase, |host| assert_eq!(host.phase(), phase));
    }
}

#[test]
fn only_a_stopped_manager_starts() {
    for phase in PHASES {
        in_phase(phase, |host| {
            let started = host.manager().start(None);
            match phase {
                Phase::Stopped => assert!(started.is_ok()),
                Phase::Running | Phase::Paused => assert!(matches!(started, Err(StartError::Started)), "{phase:?}"),
                Phase::Stopping => assert!(matches!(started, Err(StartError::Stopping)), "{started:?}"),
            }
            let begins = usize::from(phase == Phase::Stopped);
            assert_eq!(host.said_of("executor started").len(), 1 + begins, "{phase:?}");
            assert_eq!(host.phase(), if begins == 1 { Phase::Running } else { phase });
        });
    }
}

#[test]
fn every_manager_comes_to_its_end() {
    for phase in PHASES {
        in_phase(phase, |host| {
            let before = host.said_of("executor stopped").len();
            let stopping = host.stopping(Stop::Graceful);
            host.open_gate();
            stopping.wait();
            assert_eq!(host.phase(), Phase::Stopped, "{phase:?}");
            let said = host.said_of("executor stopped").len() - before;
            assert_eq!(said, usize::from(phase != Phase::Stopped), "{phase:?}");
        });
    }
}

#[test]
fn stopping_a_stopped_manager_leaves_its_jobs_waiting() {
    let host = Host::stopped();
    let mut waiting = host.accept(&job("d", &[add("a")]));
    for how in [Stop::Graceful, Stop::Interrupt] {
        host.stop_for_now(how);
        host.manager().stop_blocking(how);
    }
    assert_eq!((host.stats().queue_backlog, waiting.try_wait()), (1, None));
    host.start_manager();
    assert!(result(waiting).success);
}

#[test]
fn only_a_started_manager_is_paused_and_resumed() {
    for phase in PHASES {
        let expected = match phase {
            Phase::Running | Phase::Paused => Ok(()),
            Phase::Stopped | Phase::Stopping => Err(NotStarted),
        };
        in_phase(phase, |host| {
            let after = |then| if expected.is_ok() { then } else { phase };
            for _ in 0..2 {
                assert_eq!((host.manager().pause(), host.phase()), (expected, after(Phase::Paused)));
            }
            for _ in 0..2 {
                assert_eq!((host.manager().resume(), host.phase()), (expected, after(Phase::Running)));
            }
        });
    }
}

#[test]
fn jobs_are_taken_in_except_while_the_manager_stops() {
    for phase in PHASES {
        in_phase(phase, |host| {
            let submitted = host.submit(&job("d", &[add("a")]));
            match phase {
                Phase::Running => assert!(result(submitted.expect("it runs")).success),
                Phase::Stopped | Phase::Paused => {
                    let mut waiting = submitted.expect("it waits");
                    assert_eq!((host.stats().queue_backlog, waiting.try_wait()), (1, None));
                    if phase == Phase::Stopped {
                        host.start_manager()
                    } else {
                        host.resume()
                    }
                    assert!(result(waiting).success);
                }
                Phase::Stopping => {
                    assert_eq!(submitted.expect_err("it stops"), Refusal::Stopping);
                    let refusal = host.submit_all(&[job("d", &[add("a")])]).expect_err("it stops");
                    assert_eq!((refusal.position, refusal.refusal), (0, Refusal::Stopping));
                }
            }
        });
    }
}

#[test]
fn a_job_made_elsewhere_is_taken_in_except_while_the_manager_stops() {
    for phase in PHASES {
        in_phase(phase, |host| {
            let first = host.wait_until_said("completed first");
            let Event::JobCompleted(first) = &*first else { panic!("it says that the job completed") };
            let mut executing = pin!(host.manager().execute(another(&first.result, "mine"), None, None));
            match phase {
                Phase::Running => assert!(within(executing).expect("it runs").success),
                Phase::Stopped | Phase::Paused => {
                    assert!(poll(&mut executing).is_none(), "{phase:?}");
                    if phase == Phase::Stopped {
                        host.start_manager()
                    } else {
                        host.resume()
                    }
                    assert!(within(executing).expect("it waited").success);
                }
                Phase::Stopping => {
                    let outcome = within(executing);
                    assert!(matches!(outcome, Err(ExecuteError::Refused(Refusal::Stopping))), "{outcome:?}");
                }
            }
        });
    }
}

#[test]
fn questions_are_answered_in_every_phase() {
    let nobody = JobId::from("nobody");
    for phase in PHASES {
        in_phase(phase, |host| {
            let started = phase != Phase::Stopped;
            let status = host.status();
            assert_eq!((status.is_running, status.uptime.is_some()), (started, started), "{phase:?}");
            assert_eq!((status.total_jobs_processed, status.active_jobs), (1, usize::from(phase == Phase::Stopping)));
            assert_eq!((host.stats().success_rate, host.stats().queue_backlog), (1.0, 0));
            let error = host.watch(&nobody).map(drop).expect_err("unknown");
            assert_eq!(error, NotWatched::Unknown(UnknownJob(nobody.clone())));
            assert!(matches!(host.cancel(&nobody), Err(NotCancelled::Unknown(_))));
            // The gate of one that stops is a job.
            if phase != Phase::Stopping {
                host.wait_until_idle();
                host.manager().wait_until_idle_blocking();
            }
        });
    }
}

#[test]
fn jobs_are_cancelled_in_every_phase() {
    for phase in [Phase::Stopped, Phase::Paused] {
        in_phase(phase, |host| {
            let ticket = host.accept(&job("d", &[add("a")]));
            cancelled(&host.cancel(&ticket.job_id).expect("it waits"));
            cancelled(&result(ticket));
            assert_eq!((host.phase(), host.stats().queue_backlog), (phase, 0));
        });
    }
    let host = Host::with_one_worker();
    let gate = host.shut_gate();
    let [running, stopping] = ["a", "b"].map(|name| host.accept(&job("d", &[add(name)])));
    cancelled(&host.cancel(&running.job_id).expect("it waits"));
    let stop = host.stopping(Stop::Graceful);
    cancelled(&host.cancel(&stopping.job_id).expect("it waits still"));
    host.open_gate();
    stop.wait();
    assert!(result(gate).success);
    [running, stopping].into_iter().for_each(|ticket| cancelled(&result(ticket)));
}

#[test]
fn waiting_until_it_is_idle_ends_with_a_stop() {
    let host = Host::with_one_worker();
    let gate = host.shut_gate();
    let waiting = host.accept(&job("d", &[add("a")]));
    let mut idle = pin!(host.manager().wait_until_idle());
    assert!(poll(&mut idle).is_none());
    let stopping = host.stopping(Stop::Interrupt);
    within(idle);
    stopping.wait();
    given_back(&result(gate), 1);
    given_back(&result(waiting), 0);
    host.accept(&job("d", &[add("b")]));
    host.wait_until_idle();
    assert_eq!(host.stats().queue_backlog, 1, "a stopped manager is not waited for");
}

#[test]
fn each_start_may_bring_its_own_configuration() {
    let host = Host::not_started(|config| {
        config.manager = JobExecutorManagerConfig { job_timeout: Some(7), ..JobExecutorManagerConfig::default() };
    });
    let given = JobExecutorManagerConfig { max_concurrency: Some(3), ..JobExecutorManagerConfig::default() };
    for (config, concurrency) in
        [(Some(given), Some(3)), (None, JobExecutorManagerConfig::default().resolved().max_concurrency)]
    {
        host.manager().start(config).expect("it is stopped");
        let event = host.events().into_iter().rev().find_map(|event| match &*event {
            Event::ExecutorStarted(event) => Some(event.config),
            _ => None,
        });
        let config = event.expect("the start is told");
        assert_eq!(
            (config.max_concurrency, config.job_timeout, config.retry_base_delay),
            (concurrency, Some(7), Some(100))
        );
        host.stop_for_now(Stop::Graceful);
    }
}
