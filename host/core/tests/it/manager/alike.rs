//! Whatever is asked of a manager in whatever order, it does what its model does.

use std::time::Duration;

use proptest::prelude::*;
use reductor_core::{
    JobErrorCode, JobId, JobResult, NotCancelled, NotStarted, Phase, Refusal, StartError, Stop, Ticket,
};

use super::drive::{after, broken, cancelled, failed_with, given_back};
use super::model::{End, Kind, Model, ModelJob};
use crate::executor::host::{Host, add, hold, job, result};
use crate::executor::scripted::rejected;

/// How many documents there are.
const DOCUMENTS: usize = 3;
/// No backoff is longer.
const BACKOFF_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
enum Call {
    Start,
    Stop(Stop),
    Pause,
    Resume,
    /// A job on a document, which may depend on one that was accepted before.
    Enqueue {
        document: usize,
        kind: Kind,
        depends_on: Option<prop::sample::Index>,
    },
    /// A job that keeps the worker, and others behind it that may be in the same turn.
    Hold {
        document: usize,
        followers: usize,
    },
    Release,
    Cancel(prop::sample::Index),
    Watch(prop::sample::Index),
    Advance,
}

/// The manager beside its model.
struct Pair {
    host: Host,
    model: Model,
    tickets: Vec<Option<Ticket>>,
    ids: Vec<JobId>,
}

impl Pair {
    fn new() -> Self {
        let host = Host::not_started(|config| {
            config.manager.max_concurrency = Some(1);
            config.manager.retry_base_delay = Some(BACKOFF_MS);
            config.manager.retry_max_delay = Some(BACKOFF_MS);
        });
        Self { host, model: Model::new(), tickets: Vec::new(), ids: Vec::new() }
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Start => self.start(),
            Call::Stop(how) => {
                let stopping = self.host.stopping(how);
                self.model.stop(how);
                // The model says whether anything is left to wait for.
                if self.model.phase == Phase::Stopped {
                    stopping.wait();
                }
            }
            Call::Pause => self.change(Phase::Paused),
            Call::Resume => self.change(Phase::Running),
            Call::Enqueue { document, kind, depends_on } => {
                let depends_on = depends_on.filter(|_| !self.ids.is_empty()).map(|index| index.index(self.ids.len()));
                self.enqueue(&[(document, kind, depends_on)]);
            }
            Call::Hold { document, followers } => self.hold(document, followers),
            Call::Release => {
                if let Some(held) = self.model.held {
                    self.host.script.release(&held.to_string());
                }
                self.model.release();
                if self.model.phase == Phase::Stopped {
                    self.host.stop_for_now(Stop::Graceful);
                }
            }
            Call::Cancel(index) => self.cancel(index),
            Call::Watch(index) if !self.ids.is_empty() => self.watch(index.index(self.ids.len())),
            Call::Watch(_) => {}
            Call::Advance => {
                self.host.advance(BACKOFF_MS);
                self.model.now_ms += BACKOFF_MS;
                self.model.resting.clear();
            }
        }
        self.settle();
    }

    fn start(&mut self) {
        let started = self.host.manager().start(None);
        match self.model.phase {
            Phase::Stopped => {
                started.expect("it is stopped");
                (self.model.phase, self.model.started_ms) = (Phase::Running, self.model.now_ms);
            }
            Phase::Running | Phase::Paused => assert!(matches!(started, Err(StartError::Started))),
            Phase::Stopping => assert!(matches!(started, Err(StartError::Stopping))),
        }
    }

    /// Pauses or resumes.
    fn change(&mut self, to: Phase) {
        let manager = self.host.manager();
        let changed = if to == Phase::Paused { manager.pause() } else { manager.resume() };
        match self.model.phase {
            Phase::Running | Phase::Paused => {
                assert_eq!(changed, Ok(()));
                self.model.phase = to;
            }
            Phase::Stopped | Phase::Stopping => assert_eq!(changed, Err(NotStarted)),
        }
    }

    fn enqueue(&mut self, jobs: &[(usize, Kind, Option<usize>)]) {
        let stopping = self.model.phase == Phase::Stopping;
        let batch = jobs.iter().enumerate().map(|(offset, (document, kind, depends_on))| {
            let name = (self.ids.len() + offset).to_string();
            match kind {
                // It is refused, and another job gets its name.
                _ if stopping => {}
                Kind::Bad => self.host.script.fail(&name, [rejected("NO", "no")]),
                Kind::Flaky => self.host.script.fail(&name, [broken()]),
                Kind::Good | Kind::Held => {}
            }
            let action = if *kind == Kind::Held { hold(&name) } else { add(&name) };
            after(job(&format!("d{document}"), &[action]), depends_on.map(|dependency| &self.ids[dependency]))
        });
        let batch = batch.collect::<Vec<_>>();
        let accepted = self.host.submit_all(&batch);
        if stopping {
            assert_eq!(accepted.expect_err("it is stopping").refusal, Refusal::Stopping);
            return;
        }
        for (ticket, &(document, kind, depends_on)) in accepted.expect("acceptable submissions").into_iter().zip(jobs) {
            self.ids.push(ticket.job_id.clone());
            self.tickets.push(Some(ticket));
            self.model.jobs.push(ModelJob { document, kind, depends_on, attempts: 0, end: None });
        }
    }

    /// Gives a free worker a job to keep it, on a document that has no other.
    fn hold(&mut self, document: usize, followers: usize) {
        let has_jobs = self.model.waiting().any(|job| self.model.jobs[job].document == document);
        if self.model.phase != Phase::Running || self.model.held.is_some() || has_jobs {
            return;
        }
        let held = self.ids.len();
        let mut jobs = vec![(document, Kind::Held, None)];
        jobs.resize(1 + followers, (document, Kind::Good, None));
        self.enqueue(&jobs);
        self.host.script.wait_until_held(&held.to_string());
        self.model.held = Some(held);
        self.model.jobs[held].attempts = 1;
    }

    fn cancel(&mut self, index: prop::sample::Index) {
        let nobody = JobId::from("nobody");
        assert!(matches!(self.host.cancel(&nobody), Err(NotCancelled::Unknown(_))));
        if self.ids.is_empty() {
            return;
        }
        let job = index.index(self.ids.len());
        let id = &self.ids[job];
        let answer = self.host.cancel(id);
        match (self.model.jobs[job].end, self.model.jobs[job].attempts) {
            (Some(_), _) => assert_eq!(answer, Err(NotCancelled::Ended(id.clone()))),
            (None, 0) => {
                cancelled(&answer.expect("it waits"));
                self.model.end(job, End::Cancelled);
            }
            (None, _) => assert_eq!(answer, Err(NotCancelled::Started(id.clone()))),
        }
    }

    fn watch(&self, job: usize) {
        let found = self.host.result_now(&self.ids[job]);
        match self.model.jobs[job].end {
            Some(end) => self.check(&found.expect("it has ended"), end),
            None => assert_eq!(found, None),
        }
    }

    /// Lets both do what they can, and compares them.
    fn settle(&mut self) {
        for job in self.model.run() {
            self.host.wait_until_said(&format!("failed {job}, retry 1 follows"));
        }
        for job in 0..self.ids.len() {
            if let Some(end) = self.model.jobs[job].end
                && let Some(ticket) = self.tickets[job].take()
            {
                self.check(&result(ticket), end);
            }
        }
        let (model, status) = (&self.model, self.host.status());
        assert_eq!(self.host.phase(), model.phase);
        let totals = (status.total_jobs_processed, status.total_jobs_succeeded, status.total_jobs_failed);
        assert_eq!(totals, (model.succeeded + model.failed, model.succeeded, model.failed));
        let started = model.phase != Phase::Stopped;
        let uptime = started.then(|| Duration::from_millis(model.now_ms - model.started_ms).into());
        assert_eq!((status.is_running, status.uptime), (started, uptime));
        let last_ended = status.last_job_completed_at.map(|moment| moment.ms.unsigned_abs());
        assert_eq!(last_ended, model.last_ended_ms);
        let (waiting, held) = (model.waiting().count(), usize::from(model.held.is_some()));
        if held == 0 && waiting == 0 {
            self.host.wait_until_idle();
        }
        // Otherwise the worker may be about to put back what it did not do.
        if held == 1 || waiting == 0 || model.phase == Phase::Stopped {
            assert_eq!(self.host.status().active_jobs, held);
        }
        if held == 0 && waiting == 0 || model.phase == Phase::Stopped {
            assert_eq!(self.host.stats().queue_backlog, waiting);
        }
    }

    fn check(&self, result: &JobResult, end: End) {
        match end {
            End::Succeeded => assert!(result.success, "{result:?}"),
            End::Rejected => assert_eq!(result.error_code, Some(JobErrorCode::LibraryError)),
            End::Cancelled => cancelled(result),
            End::GivenBack { attempts } => given_back(result, attempts),
            End::Dependency(dependency) => failed_with(result, &self.ids[dependency], self.code(dependency)),
        }
    }

    /// The code that a failed job has, and hands on.
    fn code(&self, job: usize) -> JobErrorCode {
        match self.model.jobs[job].end {
            Some(End::Dependency(dependency)) => self.code(dependency),
            Some(End::Cancelled | End::GivenBack { .. }) => JobErrorCode::GracefulAbort,
            _ => JobErrorCode::LibraryError,
        }
    }

    /// Ends everything, and asks once more for every result.
    fn finish(mut self) {
        self.call(Call::Stop(Stop::Interrupt));
        for job in 0..self.ids.len() {
            if self.model.jobs[job].end.is_some() {
                self.watch(job);
            }
        }
        self.host.drop_manager();
        for (job, ticket) in self.tickets.drain(..).enumerate() {
            if let Some(ticket) = ticket {
                given_back(&result(ticket), self.model.jobs[job].attempts);
            }
        }
    }
}

fn call() -> impl Strategy<Value = Call> {
    let index = any::<prop::sample::Index>;
    let how = prop_oneof![Just(Stop::Graceful), Just(Stop::Interrupt)];
    let kind = prop_oneof![4 => Just(Kind::Good), 1 => Just(Kind::Bad), 1 => Just(Kind::Flaky)];
    prop_oneof![
        3 => Just(Call::Start),
        1 => how.prop_map(Call::Stop),
        1 => Just(Call::Pause),
        2 => Just(Call::Resume),
        8 => (0..DOCUMENTS, kind, prop::option::of(index())).prop_map(|(document, kind, depends_on)| {
            Call::Enqueue { document, kind, depends_on }
        }),
        2 => (0..DOCUMENTS, 0..4_usize).prop_map(|(document, followers)| Call::Hold { document, followers }),
        2 => Just(Call::Release),
        2 => index().prop_map(Call::Cancel),
        1 => index().prop_map(Call::Watch),
        2 => Just(Call::Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn the_manager_does_what_its_model_does(calls in prop::collection::vec(call(), 1..60)) {
        let mut pair = Pair::new();
        for call in calls {
            pair.call(call);
        }
        pair.finish();
    }
}
