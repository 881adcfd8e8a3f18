//! Whatever clients, faults and restarts come in whatever order, every job that was accepted ends
//! once, as its model says.
//!
//! Each seed is a script of calls and faults. What the script does is the same every time; when
//! the worker and the committer of the manager do their part is up to the machine's scheduler. So
//! the model does not say what a job has come to at a moment, but what may have happened, and what
//! must have in the end.
//!
//! `REDUCTOR_DURABLE_SEEDS` says how many seeds there are, and `REDUCTOR_DURABLE_SEED` repeats one.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reductor_core::{
    Event, JobErrorCode, JobId, JobRecord, JobResult, JobStatus, NotADeadLetter, NotCancelled, OperationStore as _,
    Phase, Reason, Refusal, Stop, Submitted, Ticket, state_hash,
};
use serde_json::{Value, json};

use super::disk::Fate;
use super::machine::{Machine, Process, Wait, read};
use crate::executor::host::{BOUND, add, job, lane, within};
use crate::executor::scripted::trapped;
use crate::manager::drive::{after, broken, keyed, metadata};

const SEEDS: u64 = 10_000;
const THREADS: usize = 2;
const DOCUMENTS: usize = 3;
/// No job of a script is tried more often.
const TRIES: usize = 40;
/// No backoff is longer. So short that the results of a script do not grow old.
const BACKOFF: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    /// Fails so often, and then succeeds.
    Flaky(usize),
    Rejected,
    /// Traps until it is healed.
    Trap,
    /// Dispatches so many others to its document.
    Dispatch(usize),
}

/// What is known of something that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    No,
    Yes,
    /// It was asked for and not acknowledged.
    Maybe,
}

struct ModelJob {
    name: String,
    id: JobId,
    document: usize,
    kind: Kind,
    depends_on: Option<usize>,
    key: Option<usize>,
    accepted: Known,
    cancelled: Known,
    discarded: Known,
    /// Whether it was retried as a dead letter since it was healed.
    retried: Known,
    /// What somebody was told that it came to.
    told: Option<Arc<JobResult>>,
}

/// A submission whose client waits.
struct Client {
    job: usize,
    accepted: Option<Wait<Result<Ticket, Refusal>>>,
    result: Option<Ticket>,
}

struct Run {
    random: fastrand::Rng,
    machine: Machine,
    process: Option<Process>,
    jobs: Vec<ModelJob>,
    clients: Vec<Client>,
    held: bool,
    paused: bool,
    /// What was done, for whoever has to find out why it failed.
    story: Arc<Mutex<Vec<String>>>,
    seen: usize,
}

impl Run {
    fn new(seed: u64, story: Arc<Mutex<Vec<String>>>) -> Self {
        let machine = Machine::new();
        let process = Some(boot(&machine));
        let random = fastrand::Rng::with_seed(seed);
        Self {
            random,
            machine,
            process,
            jobs: Vec::new(),
            clients: Vec::new(),
            held: false,
            paused: false,
            story,
            seen: 0,
        }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("one runs")
    }

    fn note(&self, what: String) {
        self.story.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn step(&mut self) {
        match self.random.u32(..32) {
            0..12 => self.submit(),
            12..14 => self.submit_batch(),
            14..16 => self.cancel(),
            16 => self.pause(),
            17..19 => self.resume(),
            19..22 => {
                self.note("advance".to_owned());
                self.process().advance_by(BACKOFF);
            }
            22..24 => self.hold(),
            24..26 => self.release(),
            26 => self.fail(),
            27 => self.crash(),
            28 => self.restart(),
            29 => self.discard(),
            _ => self.retry(),
        }
        self.listen();
    }

    /// Makes up a job that the manager does not know yet.
    fn invent(&mut self) -> (ModelJob, Value) {
        let kind = match self.random.u32(..12) {
            0 => Kind::Flaky(self.random.usize(1..4)),
            1 => Kind::Rejected,
            2 | 3 => Kind::Trap,
            4 => Kind::Dispatch(self.random.usize(1..3)),
            _ => Kind::Good,
        };
        let (document, name) = (self.random.usize(..DOCUMENTS), format!("j{}", self.jobs.len()));
        let depends_on = self.one_in(4, |job| job.accepted == Known::Yes && job.discarded == Known::No);
        match kind {
            Kind::Flaky(times) => self.machine.script.fail(&name, (0..times).map(|_| broken())),
            Kind::Trap => self.machine.script.fail(&name, (0..TRIES).map(|_| trapped("unreachable"))),
            Kind::Good | Kind::Rejected | Kind::Dispatch(_) => {}
        }
        let action = match kind {
            Kind::Rejected => json!({"id": name, "type": "NO"}),
            Kind::Dispatch(count) => {
                let requests: Vec<_> =
                    (0..count).map(|ordinal| json!({"input": format!("{name}.{ordinal}")})).collect();
                json!({"id": name, "type": "DISPATCH", "input": requests})
            }
            _ => add(&name),
        };
        let mut submission = job(&format!("d{document}"), &[action]);
        if let Some(dependency) = depends_on {
            submission = after(submission, [&self.jobs[dependency].id]);
        }
        let id = JobId::from("");
        let (accepted, cancelled, discarded, retried) = (Known::Maybe, Known::No, Known::No, Known::No);
        let job = ModelJob {
            name,
            id,
            document,
            kind,
            depends_on,
            key: None,
            accepted,
            cancelled,
            discarded,
            retried,
            told: None,
        };
        (job, submission)
    }

    /// One of the jobs that are such, at times.
    fn one_in(&mut self, times: u32, such: impl Fn(&ModelJob) -> bool) -> Option<usize> {
        let found: Vec<_> = (0..self.jobs.len()).filter(|job| such(&self.jobs[*job])).collect();
        if found.is_empty() || self.random.u32(..times) > 0 {
            None
        } else {
            Some(found[self.random.usize(..found.len())])
        }
    }

    fn submit(&mut self) {
        let again = self.one_in(6, |job| job.key.is_some() && job.accepted == Known::Yes && job.discarded == Known::No);
        if let Some(known) = again {
            return self.submit_again(known);
        }
        let (mut job, mut submission) = self.invent();
        if self.random.u32(..3) == 0 {
            job.key = Some(self.jobs.len());
            submission = keyed(submission, &job.name);
        }
        self.note(format!("submit {} ({:?}) to d{}, after {:?}", job.name, job.kind, job.document, job.depends_on));
        // Only a store that has stopped refuses, and then the process has gone as well.
        let submitted = self.process().submit(&submission).expect("nothing was wrong with it");
        self.jobs.push(job);
        self.wait_for(self.jobs.len() - 1, submitted);
        if !self.held && self.random.bool() {
            // A client that waits for its acceptance before the next.
            self.acknowledge();
        }
    }

    /// Submits a key again, whose job is known.
    fn submit_again(&mut self, known: usize) {
        let ModelJob { name, document, id, .. } = &self.jobs[known];
        let submission = keyed(job(&format!("d{document}"), &[add("other")]), name);
        self.note(format!("submit {name} again"));
        if let Ok(submitted) = self.process().submit(&submission) {
            let mut accepted = Wait::new(submitted.accepted());
            let answer = if self.held { accepted.look() } else { Some(accepted.wait()) };
            if let Some(Ok(ticket)) = answer {
                assert_eq!(ticket.job_id, *id, "a key names its job");
            }
        }
    }

    fn submit_batch(&mut self) {
        if self.held {
            return;
        }
        let (mut batch, mut submissions) = (Vec::new(), Vec::new());
        for _ in 0..self.random.usize(2..4) {
            let (job, submission) = self.invent();
            // Their names are those of their places.
            self.jobs.push(job);
            batch.push(self.jobs.len() - 1);
            submissions.push(read(&submission));
        }
        self.note(format!("submit {batch:?} at once"));
        match self.process().manager().enqueue_all(submissions) {
            Ok(tickets) => {
                for (job, ticket) in batch.into_iter().zip(tickets) {
                    (self.jobs[job].id, self.jobs[job].accepted) = (ticket.job_id.clone(), Known::Yes);
                    self.clients.push(Client { job, accepted: None, result: Some(ticket) });
                }
            }
            Err(error) => panic!("nothing was wrong with it: {error}"),
        }
    }

    fn wait_for(&mut self, job: usize, submitted: Submitted) {
        self.clients.push(Client { job, accepted: Some(Wait::new(submitted.accepted())), result: None });
    }

    /// Waits until all that was submitted is accepted.
    fn acknowledge(&mut self) {
        for client in &mut self.clients {
            if let Some(accepted) = client.accepted.take() {
                let ticket = accepted.wait().expect("the disk works");
                let job = &mut self.jobs[client.job];
                (job.id, job.accepted) = (ticket.job_id.clone(), Known::Yes);
                client.result = Some(ticket);
            }
        }
    }

    fn cancel(&mut self) {
        if self.held {
            return;
        }
        self.acknowledge();
        let there = |job: &ModelJob| job.accepted == Known::Yes && job.discarded == Known::No;
        let Some(job) = self.one_in(1, there) else { return };
        self.note(format!("cancel {}", self.jobs[job].name));
        match self.process().manager().cancel(&self.jobs[job].id) {
            Ok(_) => self.jobs[job].cancelled = Known::Yes,
            Err(NotCancelled::Started(_) | NotCancelled::Ended(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn pause(&mut self) {
        if !self.held {
            self.note("pause".to_owned());
            self.process().manager().pause().expect("it is started");
            self.paused = true;
        }
    }

    fn resume(&mut self) {
        if !self.held {
            self.note("resume".to_owned());
            self.process().manager().resume().expect("it is started");
            self.paused = false;
        }
    }

    fn hold(&mut self) {
        self.note("hold the disk".to_owned());
        self.process().mount.hold();
        self.held = true;
    }

    fn release(&mut self) {
        if self.held {
            self.note("release the disk".to_owned());
            self.process().mount.release();
            self.held = false;
            self.acknowledge();
        }
    }

    /// The next batch, or one that waits, fails: then the process is of no use.
    fn fail(&mut self) {
        let fate = if self.random.bool() { Fate::Lost } else { Fate::WrittenUnknown };
        self.note(format!("fail: {fate:?}"));
        self.process().mount.next(fate);
        let (job, submission) = self.invent();
        let submitted = self.process().submit(&submission);
        self.jobs.push(job);
        if let Ok(submitted) = submitted {
            self.wait_for(self.jobs.len() - 1, submitted);
        }
        self.process().mount.release();
        // Whoever waits is told, and what they are told is true.
        for client in &mut self.clients {
            if let Some(accepted) = client.accepted.take() {
                match accepted.wait() {
                    Ok(ticket) => {
                        let job = &mut self.jobs[client.job];
                        (job.id, job.accepted) = (ticket.job_id.clone(), Known::Yes);
                        client.result = Some(ticket);
                    }
                    Err(Refusal::Store(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        for client in &mut self.clients {
            if let Some(ticket) = client.result.take() {
                tell(&mut self.jobs[client.job], within(ticket.wait()));
            }
        }
        self.listen();
        drop(self.process.take());
        self.reopen();
    }

    fn crash(&mut self) {
        let fate = if self.random.bool() { Fate::Lost } else { Fate::WrittenUnknown };
        self.note(format!("crash: {fate:?}"));
        self.listen();
        let process = self.process.take().expect("one runs");
        process.mount.kill(fate);
        self.look();
        drop(process);
        self.reopen();
    }

    /// Sees what clients were told so far.
    fn look(&mut self) {
        for client in &mut self.clients {
            if let Some(Ok(ticket)) = client.accepted.as_mut().and_then(Wait::look) {
                client.accepted = None;
                let job = &mut self.jobs[client.job];
                (job.id, job.accepted) = (ticket.job_id.clone(), Known::Yes);
                client.result = Some(ticket);
            }
            if let Some(result) = client.result.as_mut().and_then(Ticket::try_wait) {
                client.result = None;
                tell(&mut self.jobs[client.job], result);
            }
        }
    }

    /// Goes on in a new process with what the disk has.
    fn reopen(&mut self) {
        self.clients.clear();
        self.resolve();
        self.process = Some(boot(&self.machine));
        (self.held, self.seen) = (false, 0);
        let phase = self.process().manager().phase();
        assert_eq!(phase == Phase::Paused, self.paused, "pausing survives");
    }

    /// Finds out from the disk what nobody was told.
    fn resolve(&mut self) {
        let records = self.machine.disk.jobs();
        let by_name: HashMap<String, &JobRecord> = records.iter().map(|record| (name(record), record)).collect();
        for job in &mut self.jobs {
            match by_name.get(&job.name) {
                Some(record) => {
                    assert_ne!(job.accepted, Known::No, "{} was lost before", job.name);
                    assert_eq!(job.discarded, Known::No, "{} was discarded", job.name);
                    (job.accepted, job.id) = (Known::Yes, record.job_id().clone());
                }
                None if job.discarded == Known::Yes => {}
                None => {
                    assert_ne!(job.accepted, Known::Yes, "{} was accepted, and is lost", job.name);
                    job.accepted = Known::No;
                }
            }
        }
    }

    /// Stops the manager and starts it again, or another process.
    fn restart(&mut self) {
        if self.held {
            return;
        }
        self.acknowledge();
        let how = if self.random.bool() { Stop::Graceful } else { Stop::Interrupt };
        let anew = self.random.bool();
        self.note(format!("stop {how:?}, then {}", if anew { "another process" } else { "start" }));
        self.process().manager().stop_blocking(how);
        self.look();
        self.listen();
        assert!(self.clients.iter().all(|client| client.result.is_none()), "a stop leaves nobody waiting");
        if anew {
            drop(self.process.take());
            return self.reopen();
        }
        self.clients.clear();
        self.process().manager().start(None).expect("it is stopped");
        self.paused = false;
    }

    fn retry(&mut self) {
        if self.held {
            return;
        }
        self.acknowledge();
        let dead = |job: &ModelJob| job.kind == Kind::Trap && job.accepted == Known::Yes && job.discarded == Known::No;
        let Some(chosen) = self.one_in(1, dead) else { return };
        let id = self.jobs[chosen].id.clone();
        let Some(JobRecord::Failed { result, revision, .. }) = self.machine.disk.job(&id) else { return };
        if metadata(&result).reason != Some(Reason::Trap) {
            return;
        }
        self.note(format!("retry {}", self.jobs[chosen].name));
        self.machine.script.heal(&self.jobs[chosen].name);
        let document = format!("d{}", self.jobs[chosen].document);
        match self.process().retry(&id) {
            Ok(ticket) => {
                // Who waits for its first result has nothing to do with the second.
                self.clients.retain(|client| client.job != chosen);
                let job = &mut self.jobs[chosen];
                (job.retried, job.told) = (Known::Yes, None);
                self.clients.push(Client { job: chosen, accepted: None, result: Some(ticket) });
            }
            Err(NotADeadLetter::Overtaken { now, failed_at, .. }) => {
                assert_eq!(failed_at, revision);
                assert!(now > failed_at, "{document} went on");
            }
            Err(NotADeadLetter::Busy(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn discard(&mut self) {
        if self.held {
            return;
        }
        self.acknowledge();
        let there = |job: &ModelJob| job.accepted == Known::Yes && job.discarded == Known::No;
        let Some(chosen) = self.one_in(1, there) else { return };
        // Who depends on it could not be told from others later.
        if self.jobs.iter().any(|job| job.depends_on == Some(chosen)) {
            return;
        }
        let answer = self.process().manager().discard_failed(&self.jobs[chosen].id);
        self.note(format!("discard {}: {answer:?}", self.jobs[chosen].name));
        match answer {
            Ok(()) => self.jobs[chosen].discarded = Known::Yes,
            Err(NotADeadLetter::NotFailed { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// What was published is on the disk.
    fn listen(&mut self) {
        let Some(process) = &self.process else { return };
        let events = process.events();
        for event in &events[self.seen..] {
            let (id, ended) = match &**event {
                Event::JobRetry(event) => (&event.job.id, false),
                Event::JobCompleted(event) => (&event.job.id, true),
                Event::JobFailed(event) => (&event.job.id, false),
                _ => continue,
            };
            let discarded = self.jobs.iter().any(|job| job.id == *id && job.discarded != Known::No);
            let record = self.machine.disk.job(id);
            assert!(record.is_some() || discarded, "{event:?} was told too early");
            if ended {
                assert_eq!(record.map(|record| record.status()), Some(JobStatus::Completed), "{event:?}");
            }
        }
        self.seen = events.len();
    }

    /// Lets all end, and compares it with the model.
    fn finish(mut self) {
        self.release();
        self.look();
        self.note("finish".to_owned());
        if self.random.bool() {
            self.crash();
        }
        self.acknowledge();
        self.resume();
        let began = Instant::now();
        let unfinished = |machine: &Machine| machine.disk.store().unfinished().expect("a readable journal");
        while let jobs = unfinished(&self.machine)
            && !jobs.is_empty()
        {
            let now = self.machine.clock.now();
            // The journal cuts the moment to milliseconds, so the same one may still be to come.
            if jobs.iter().any(|job| job.not_before.is_some_and(|moment| moment >= now)) {
                self.process().advance_by(BACKOFF);
            }
            std::thread::yield_now();
            assert!(began.elapsed() < BOUND, "jobs are left: {jobs:?}");
        }
        self.process().wait_until_idle();
        self.look();
        self.listen();
        drop(self.process.take());
        self.resolve();
        self.check_jobs();
        for document in 0..DOCUMENTS {
            self.check_document(document);
        }
    }

    fn check_jobs(&self) {
        for job in self.jobs.iter().filter(|job| job.accepted == Known::Yes && job.discarded == Known::No) {
            let record = self.machine.disk.job(&job.id).expect("resolved");
            let result = record.result().expect("all have ended");
            let found = (result.success, metadata(result).reason);
            let failed_first = job.depends_on.is_some_and(|dependency| self.failed_first(dependency, result));
            let expected = match (job.cancelled, job.kind) {
                (Known::Yes, _) => (false, Some(Reason::Cancelled)),
                _ if failed_first => (false, Some(Reason::DependencyFailed)),
                (_, Kind::Good | Kind::Flaky(_) | Kind::Dispatch(_)) => (true, None),
                (_, Kind::Rejected) => (false, Some(Reason::Rejected)),
                (_, Kind::Trap) if job.retried == Known::Yes => (true, None),
                (_, Kind::Trap) => (false, Some(Reason::Trap)),
            };
            assert_eq!(found, expected, "{} came to {result:?}", job.name);
            if let Some(told) = &job.told {
                assert_eq!(told, result, "{}: what somebody was told is not what is there", job.name);
            }
        }
    }

    /// Whether a dependency had failed when the job was to start. One that was retried since may
    /// have done so before or after.
    fn failed_first(&self, dependency: usize, result: &JobResult) -> bool {
        let dependency = &self.jobs[dependency];
        if dependency.retried == Known::Yes {
            return metadata(result).failed_dependency.as_ref() == Some(&dependency.id);
        }
        !self.machine.disk.job(&dependency.id).is_some_and(|record| record.status() == JobStatus::Completed)
    }

    /// Every operation once, in the order of its job, with the hash of the state it led to.
    fn check_document(&self, document: usize) {
        let name = format!("d{document}");
        let stored = self.machine.disk.operations(&lane(&name));
        let mut state: Vec<String> = Vec::new();
        let mut dispatched: BTreeMap<String, usize> = BTreeMap::new();
        let mut ours = Vec::new();
        for (sequence, stored) in stored.iter().enumerate() {
            let operation = &stored.operation;
            assert_eq!(stored.sequence, sequence as u64);
            if sequence == 0 {
                continue;
            }
            assert_eq!(operation.index, sequence as u64 - 1);
            let id = operation.action.id.to_string();
            let input: Value = serde_json::from_str(operation.action.input.as_str()).expect("JSON");
            let text = input.as_str().unwrap_or(&id).to_owned();
            if let Some((parent, ordinal)) = text.split_once('.') {
                let next = dispatched.entry(parent.to_owned()).or_default();
                assert_eq!(ordinal, next.to_string(), "dispatched jobs come once and in order");
                *next += 1;
            } else {
                ours.push(id);
            }
            state.push(text);
            let json = serde_json::to_vec(&state).expect("a list of texts");
            assert_eq!(operation.hash, state_hash(&json), "{name}, operation {sequence}");
        }
        let completed = |job: &&ModelJob| {
            job.document == document
                && self.machine.disk.job(&job.id).is_some_and(|record| record.status() == JobStatus::Completed)
        };
        let expected: Vec<_> = self.jobs.iter().filter(completed).map(|job| job.name.clone()).collect();
        assert_eq!(ours, expected, "{name}: every job's operation once, in the order of the jobs");
        for job in self.jobs.iter().filter(completed) {
            let Kind::Dispatch(count) = job.kind else { continue };
            assert_eq!(dispatched.remove(&job.name), Some(count), "what {} dispatched", job.name);
        }
        assert!(dispatched.is_empty(), "nobody dispatched {dispatched:?}");
        if !stored.is_empty() {
            let json = serde_json::to_string(&state).expect("a list of texts");
            assert_eq!(self.machine.state(&name), json);
        }
    }
}

/// Takes note of what a client was told, if it is the end.
fn tell(job: &mut ModelJob, result: Arc<JobResult>) {
    if result.job.status == JobStatus::Pending {
        let codes = [Some(JobErrorCode::IoError), Some(JobErrorCode::GracefulAbort)];
        assert!(codes.contains(&result.error_code), "{result:?}");
        return;
    }
    job.told = Some(result);
}

fn name(record: &JobRecord) -> String {
    let job = match record {
        JobRecord::Unfinished(journaled) | JobRecord::Failed { journaled, .. } => &journaled.accepted.job,
        JobRecord::Completed { result, .. } => &result.job,
    };
    job.actions[0].id.to_string()
}

fn boot(machine: &Machine) -> Process {
    machine.boot_with(|config| {
        let backoff_ms = u64::try_from(BACKOFF.as_millis()).ok();
        (config.manager.retry_base_delay, config.manager.retry_max_delay) = (backoff_ms, backoff_ms);
        config.residents.documents_max = 2;
        config.retention.results_max = 4;
    })
}

fn run(seed: u64) {
    let story = Arc::new(Mutex::new(Vec::new()));
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut run = Run::new(seed, story.clone());
        for _ in 0..run.random.usize(4..24) {
            run.step();
        }
        run.finish();
    }));
    if let Err(panic) = ran {
        let story = story.lock().unwrap_or_else(PoisonError::into_inner).join("\n  ");
        eprintln!("seed {seed} failed; REDUCTOR_DURABLE_SEED={seed} repeats it:\n  {story}");
        resume_unwind(panic);
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn whatever_happens_every_accepted_job_ends_once_and_as_it_should() {
    if let Some(seed) = number("REDUCTOR_DURABLE_SEED") {
        return run(seed);
    }
    let seeds = number("REDUCTOR_DURABLE_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let seed = next.fetch_add(1, Ordering::Relaxed)
                    && seed < seeds
                {
                    run(seed);
                }
            });
        }
    });
}
