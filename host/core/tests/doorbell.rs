//! No order of events makes a worker miss work: loom tries them all, up to a number of
//! preemptions.
//!
//! The file under test is the one that the manager is built with, over loom's primitives
//! instead of the standard library's.

use std::collections::VecDeque;

use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

use self::doorbell::{Doorbell, Look};

#[path = "../src/manager/doorbell.rs"]
mod doorbell;

mod sync {
    pub(super) use loom::hint::spin_loop;
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(super) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(super) use std::sync::PoisonError;

    /// Once is enough to see both that something came and that nothing did.
    pub(super) const LOOK_OUT_SPINS: u32 = 1;
}

/// Switches of threads that need not have happened; more of them find no more here.
const PREEMPTIONS_MAX: usize = 3;

/// Work for workers, until it is closed.
#[derive(Default)]
struct Work {
    jobs: VecDeque<u32>,
    closed: bool,
    done: u32,
}

fn look(work: &mut Work) -> Look<Option<u32>> {
    match work.jobs.pop_front() {
        Some(job) => Look::Found { work: Some(job), more: !work.jobs.is_empty() },
        None if work.closed => Look::Found { work: None, more: false },
        None => Look::Nothing { wake_after: None, look_out: true },
    }
}

/// Does jobs until the work is closed, and says which.
fn worker(bell: &Arc<Doorbell<Work>>) -> thread::JoinHandle<u32> {
    let bell = bell.clone();
    thread::spawn(move || {
        let mut sum = 0;
        while let Some(job) = bell.wait(look) {
            sum += job;
            finish(&bell);
        }
        sum
    })
}

fn finish(bell: &Doorbell<Work>) {
    let mut work = bell.lock();
    work.done += 1;
    bell.tell_changed(&work);
}

fn bring(bell: &Doorbell<Work>, jobs: &[u32]) {
    let mut work = bell.lock();
    work.jobs.extend(jobs);
    bell.ring(work);
}

fn close(bell: &Doorbell<Work>) {
    let mut work = bell.lock();
    work.closed = true;
    bell.ring_all(work);
}

fn in_every_order(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(model);
}

#[test]
fn a_job_that_comes_while_workers_fall_asleep_is_done() {
    in_every_order(|| {
        let bell = Arc::new(Doorbell::new(Work::default()));
        let workers = [worker(&bell), worker(&bell)];
        bring(&bell, &[1]);
        bring(&bell, &[2]);
        bell.wait_while(|work| work.done < 2);
        close(&bell);
        let sums = workers.map(|worker| worker.join().expect("no worker panics"));
        assert_eq!(sums.iter().sum::<u32>(), 3);
    });
}

#[test]
fn several_jobs_that_come_at_once_wake_as_many_workers_as_they_need() {
    in_every_order(|| {
        let bell = Arc::new(Doorbell::new(Work::default()));
        // Neither ends before the other has a job, too.
        let together = |bell: Arc<Doorbell<Work>>| {
            bell.wait(look);
            finish(&bell);
            bell.wait_while(|work| work.done < 2);
        };
        let workers = [bell.clone(), bell.clone()].map(|bell| thread::spawn(move || together(bell)));
        bring(&bell, &[1, 2]);
        workers.into_iter().for_each(|worker| worker.join().expect("no worker panics"));
    });
}

#[test]
fn workers_that_sleep_hear_the_end() {
    in_every_order(|| {
        let bell = Arc::new(Doorbell::new(Work::default()));
        let workers = [worker(&bell), worker(&bell)];
        close(&bell);
        assert_eq!(workers.map(|worker| worker.join().expect("no worker panics")), [0, 0]);
    });
}
