//! The executor: worker threads that take lanes in turn and run their jobs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempt, Committed};
use crate::dispatch::Lineage;
use crate::event::{
    Event, EventBus, ExecutorStartedEvent, ExecutorStoppedEvent, JobAvailableEvent, JobCompletedEvent, JobFailedEvent,
    JobRetryEvent, JobStartedEvent,
};
use crate::failure::JobErrorCode;
use crate::ids::{DocumentType, JobId, LaneKey};
use crate::job::{Job, JobExecutionConfig, JobExecutorManagerConfig, JobMetadata, JobResult, JobStatus};
use crate::limits::Limits;
use crate::plugin::PluginRef;
use crate::queue::{NotQueued, Queue, Rest, Turn};
use crate::reducer::Call;
use crate::registry::Reducers;
use crate::report::Report;
use crate::residents::{Resident, ResidentBudget, Residents};
use crate::retry::{self, Fault, RetryPolicy, Verdict};
use crate::store::{Head, OperationStore, StoreError};
use crate::submission::{Accepted, Refusal, Submission};
use crate::time::{Clock, Span};

/// Jobs that a worker takes from a lane at once, so that the queue's lock is taken seldom.
const TURN_JOBS_MAX: usize = 32;
/// How long a lane may keep a worker while others wait; a job that has begun is not cut short.
const TURN_TIME_MAX: Duration = Duration::from_millis(2);
/// How often an idle worker looks for a new job before it sleeps: some ten microseconds.
const SEARCH_SPINS: u32 = 500;
/// A guest may use 1 MiB of its worker's stack; the host's frames around it need room too.
const WORKER_STACK_BYTES: usize = 4 << 20;

/// What an executor goes by.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// Concurrency, timeout and backoff, as the interface names them.
    pub manager: JobExecutorManagerConfig,
    /// How often a failed attempt is repeated, unless the job says otherwise.
    pub max_retries: u32,
    /// Bounds of jobs and guests.
    pub limits: Limits,
    /// How many live documents may lie idle.
    pub residents: ResidentBudget,
    /// What tells the time.
    pub clock: Clock,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self {
            manager: JobExecutorManagerConfig::default(),
            max_retries: 3,
            limits: Limits::default(),
            residents: ResidentBudget::default(),
            clock: Clock::system(),
        }
    }
}

/// How the executor stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Running jobs are let finish.
    Graceful,
    /// Running guests are interrupted.
    Interrupt,
}

/// Executes jobs: one at a time in each lane, many lanes at once.
///
/// Dropping it interrupts what runs and waits for the threads.
pub struct Executor {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// A place to wait for the result of one job. Dropping it does not cancel the job.
#[derive(Debug)]
pub struct Ticket {
    /// The job.
    pub job_id: JobId,
    done: oneshot::Receiver<Arc<JobResult>>,
}

impl Ticket {
    /// Waits for the result.
    pub async fn wait(self) -> Arc<JobResult> {
        self.done.await.expect("every accepted job gets a result")
    }

    /// The same for threads without an async runtime.
    pub fn wait_blocking(self) -> Arc<JobResult> {
        self.done.blocking_recv().expect("every accepted job gets a result")
    }
}

/// Why [`Executor::execute`] has no result to give.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The job was not accepted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The wait was cancelled. The job goes on.
    #[error("the wait for job {0} was cancelled; the job goes on")]
    WaitCancelled(JobId),
}

struct Shared {
    config: ExecutorConfig,
    defaults: Defaults,
    reducers: Arc<Reducers>,
    store: Arc<dyn OperationStore>,
    bus: EventBus,
    residents: Residents,
    waiting: Mutex<Waiting>,
    /// Counts the jobs that came, for workers that look out for the next.
    arrivals: AtomicU64,
    /// Wakes idle workers; waits on `waiting`.
    work: Condvar,
    /// Set under the lock of `waiting`, so that a worker on its way to wait sees it; read
    /// without it between two jobs.
    stopping: AtomicBool,
    interrupt: Arc<AtomicBool>,
}

/// [`JobExecutorManagerConfig`] with defaults, in types to calculate with.
struct Defaults {
    job_timeout: Duration,
    retry: RetryPolicy,
}

struct Waiting {
    queue: Queue<DocumentType, Pending>,
    /// Workers that wait for [`Shared::work`].
    idle_workers: usize,
    /// Whether a worker looks for the next turn without waiting; it needs no wake-up.
    searching: bool,
}

/// A job on its way.
struct Pending {
    accepted: Accepted,
    lineage: Lineage,
    accepted_at: Duration,
    started_at: Option<Duration>,
    attempts: u32,
    failed_before: Option<Report>,
    done: Option<oneshot::Sender<Arc<JobResult>>>,
}

/// What became of a job's turn.
enum Outcome {
    /// It has its result.
    Ended,
    /// It failed and is tried again from this moment on.
    Again(Box<Pending>, Duration),
}

impl Executor {
    /// Starts the worker threads and publishes `EXECUTOR_STARTED`.
    ///
    /// # Errors
    ///
    /// If the machine has no thread left.
    pub fn start(
        config: ExecutorConfig,
        reducers: Arc<Reducers>,
        store: Arc<dyn OperationStore>,
        bus: EventBus,
    ) -> std::io::Result<Self> {
        let manager = config.manager.resolved();
        let defaults = Defaults::new(&manager, config.max_retries);
        let shared = Arc::new(Shared {
            defaults,
            reducers,
            store,
            bus,
            residents: Residents::new(config.residents),
            waiting: Mutex::new(Waiting {
                queue: Queue::new(config.limits.queue_depth_max),
                idle_workers: 0,
                searching: false,
            }),
            arrivals: AtomicU64::new(0),
            work: Condvar::new(),
            stopping: AtomicBool::new(false),
            interrupt: Arc::new(AtomicBool::new(false)),
            config,
        });
        let mut executor = Self { shared: shared.clone(), workers: Vec::new() };
        for number in 0..manager.max_concurrency.unwrap_or(1) {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name(format!("reductor-{number}")).stack_size(WORKER_STACK_BYTES);
            executor.workers.push(thread.spawn(move || shared.work_until_stopped())?);
        }
        let started_at = shared.config.clock.now();
        shared.bus.publish(|| Event::ExecutorStarted(ExecutorStartedEvent { config: manager, started_at }));
        Ok(executor)
    }

    /// Accepts a submission as a job.
    ///
    /// # Errors
    ///
    /// [`Refusal`], naming the field at fault; nothing was queued then.
    pub fn submit(&self, submission: Submission) -> Result<Ticket, Refusal> {
        let lane = submission.lane();
        let document_type = self.document_type(&lane, submission.document_type.as_ref())?;
        let reducer = self.shared.reducers.serving(&document_type)?;
        let now = self.shared.config.clock.now();
        let accepted = submission.admit(reducer.manifest(), &self.shared.config.limits, now)?;
        self.shared.enqueue(lane, accepted)
    }

    /// Executes a job and waits for its result. It enters its document's lane like any other
    /// job, keeps its id, and is checked like any submission.
    ///
    /// Cancelling `signal`, or dropping the future, ends the wait and not the job.
    ///
    /// # Errors
    ///
    /// [`ExecuteError::Refused`] if the job was not accepted, [`ExecuteError::WaitCancelled`]
    /// if the wait was cancelled.
    pub async fn execute(
        &self,
        job: Job,
        config: Option<JobExecutionConfig>,
        signal: Option<CancellationToken>,
    ) -> Result<Arc<JobResult>, ExecuteError> {
        let (lane, job_id) = (job.lane(), job.id.clone());
        let document_type = self.document_type(&lane, None)?;
        let reducer = self.shared.reducers.serving(&document_type)?;
        let accepted = Accepted::from_job(job, config, reducer.manifest(), &self.shared.config.limits)?;
        let ticket = self.shared.enqueue(lane, accepted)?;
        match signal {
            None => Ok(ticket.wait().await),
            Some(signal) => {
                signal.run_until_cancelled_owned(ticket.wait()).await.ok_or(ExecuteError::WaitCancelled(job_id))
            }
        }
    }

    /// The model of a document: that of the jobs that wait for it, or as the log has it, or as
    /// `named`.
    fn document_type(&self, lane: &LaneKey, named: Option<&DocumentType>) -> Result<DocumentType, Refusal> {
        // The queue first: a lane is gone from it only when what its jobs made can be read.
        let waiting = self.shared.lock().queue.kind(lane).cloned();
        let known = match waiting {
            Some(document_type) => Some(document_type),
            None => self.shared.store.head(lane)?.map(|head| head.document_type.clone()),
        };
        resolve_type(&lane.document, named, known.as_ref())
    }

    /// Where a branch of a document stands, if it exists.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the log cannot be read.
    pub fn head(&self, lane: &LaneKey) -> Result<Option<Arc<Head>>, StoreError> {
        self.shared.store.head(lane)
    }

    /// Where the host's events can be subscribed to.
    pub fn events(&self) -> &EventBus {
        &self.shared.bus
    }

    /// How many live documents lie idle, and how many bytes they take.
    pub fn residents(&self) -> (usize, usize) {
        self.shared.residents.level()
    }

    /// Moves a manual clock forward, and wakes whoever waits for a moment that has come.
    ///
    /// # Panics
    ///
    /// If the executor runs by the machine's clock.
    pub fn advance_clock(&self, by: Duration) {
        let _waiting = self.shared.lock();
        self.shared.config.clock.advance(by);
        self.shared.work.notify_all();
    }

    /// Stops: refuses new jobs, ends the running ones as told, and gives every job that has
    /// not ended a result of `GRACEFUL_ABORT`.
    pub fn stop(mut self, how: Stop) {
        self.shut_down(how);
    }

    fn shut_down(&mut self, how: Stop) {
        if self.workers.is_empty() {
            return;
        }
        let waiting = self.shared.lock();
        self.shared.stopping.store(true, Ordering::Relaxed);
        drop(waiting);
        // After `stopping`, so that a worker whose guest was interrupted begins no other job.
        if how == Stop::Interrupt {
            self.shared.interrupt.store(true, Ordering::Relaxed);
        }
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            worker.join().expect("a worker does not panic");
        }
        let left = self.shared.lock().queue.drain();
        left.into_iter().for_each(|pending| self.shared.abort(pending));
        let (stopped_at, graceful) = (self.shared.config.clock.now(), how == Stop::Graceful);
        self.shared.bus.publish(|| Event::ExecutorStopped(ExecutorStoppedEvent { stopped_at, graceful }));
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shut_down(Stop::Interrupt);
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

/// Decides which model a submission is for: the document's own, which it may name, or for a
/// new document the one it names.
///
/// # Errors
///
/// [`Refusal::OtherModel`] or [`Refusal::UnknownDocument`].
pub fn resolve_type(
    document: &crate::ids::DocumentId,
    named: Option<&DocumentType>,
    known: Option<&DocumentType>,
) -> Result<DocumentType, Refusal> {
    match (named, known) {
        (Some(asked), Some(found)) if asked != found => {
            Err(Refusal::OtherModel { document: document.clone(), asked: asked.clone(), found: found.clone() })
        }
        (_, Some(document_type)) | (Some(document_type), None) => Ok(document_type.clone()),
        (None, None) => Err(Refusal::UnknownDocument { document: document.clone() }),
    }
}

impl Defaults {
    fn new(manager: &JobExecutorManagerConfig, retries_max: u32) -> Self {
        let ms = |value: Option<u64>| Duration::from_millis(value.expect("a resolved configuration has every field"));
        Self {
            job_timeout: ms(manager.job_timeout),
            retry: RetryPolicy {
                retries_max,
                base_delay: ms(manager.retry_base_delay),
                max_delay: ms(manager.retry_max_delay),
            },
        }
    }

    fn timeout(&self, config: &JobExecutionConfig) -> Duration {
        config.job_timeout.map_or(self.job_timeout, Duration::from_millis)
    }

    fn retry(&self, config: &JobExecutionConfig) -> RetryPolicy {
        RetryPolicy {
            retries_max: config.max_retries.unwrap_or(self.retry.retries_max),
            base_delay: config.retry_base_delay.map_or(self.retry.base_delay, Duration::from_millis),
            max_delay: config.retry_max_delay.map_or(self.retry.max_delay, Duration::from_millis),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Puts an accepted job into its lane.
    fn enqueue(&self, lane: LaneKey, accepted: Accepted) -> Result<Ticket, Refusal> {
        let (sender, done) = oneshot::channel();
        let (job, document_type) = (accepted.job.clone(), accepted.document_type.clone());
        let pending =
            Pending::new(accepted, Lineage::root(&self.config.limits), self.config.clock.elapsed(), Some(sender));
        let mut waiting = self.lock();
        if self.stopping() {
            return Err(Refusal::Stopping);
        }
        let new_turn = waiting.queue.push(lane, document_type.clone(), pending);
        let new_turn = new_turn.map_err(|error| match error {
            NotQueued::Full { depth, limit } => Refusal::QueueFull { depth, limit },
            NotQueued::OtherKind(found) => {
                Refusal::OtherModel { document: job.document_id.clone(), asked: document_type, found }
            }
        })?;
        let wake = new_turn && waiting.idle_workers > 0 && !waiting.searching;
        // Announced before any worker can start it, because both need the lock.
        self.announce(&job);
        self.arrivals.fetch_add(1, Ordering::Relaxed);
        drop(waiting);
        if wake {
            self.work.notify_one();
        }
        Ok(Ticket { job_id: job.id, done })
    }

    fn announce(&self, job: &Job) {
        self.bus.publish(|| {
            Event::JobAvailable(JobAvailableEvent {
                document_id: job.document_id.clone(),
                scopes: job.scopes.clone(),
                branch: job.branch.clone(),
                job_id: job.id.clone(),
            })
        });
    }

    /// Puts jobs that a committed one dispatched at the end of their lane. Something else
    /// bounds their number: the lineage has reserved room for them.
    fn enqueue_dispatched(&self, lane: &LaneKey, dispatched: Vec<Accepted>, lineage: &Lineage) {
        if dispatched.is_empty() {
            return;
        }
        let now = self.config.clock.elapsed();
        let mut waiting = self.lock();
        for accepted in dispatched {
            self.announce(&accepted.job);
            waiting.queue.append_taken(lane, Pending::new(accepted, lineage.child(), now, None));
        }
    }

    /// What a worker thread does.
    fn work_until_stopped(&self) {
        while let Some(mut turn) = self.next_turn() {
            let mut resident = self.residents.take(&turn.lane);
            let began = Instant::now();
            let rest = loop {
                let Some(pending) = turn.jobs.pop_front() else { break Rest::None };
                match self.run(&turn.lane, pending, &mut resident) {
                    Outcome::Ended => {}
                    Outcome::Again(pending, moment) => {
                        turn.jobs.push_front(*pending);
                        break Rest::Until(moment);
                    }
                }
                if began.elapsed() >= TURN_TIME_MAX || self.stopping() {
                    break Rest::None;
                }
            };
            if let Some(resident) = resident {
                self.residents.keep(&turn.lane, resident);
            }
            self.end_turn(turn, rest);
        }
    }

    /// Waits for a lane to work on; `None` when the executor stops.
    fn next_turn(&self) -> Option<Turn<Pending>> {
        let clock = &self.config.clock;
        let mut searched = false;
        let mut waiting = self.lock();
        loop {
            if self.stopping() {
                return None;
            }
            if let Some(turn) = waiting.queue.take(clock.elapsed(), TURN_JOBS_MAX) {
                // Several lanes may have rested until the same moment, and one worker saw it.
                if waiting.queue.has_turn() && waiting.idle_workers > 0 {
                    self.work.notify_one();
                }
                return Some(turn);
            }
            if !searched && !waiting.searching {
                searched = true;
                waiting = self.search(waiting);
                continue;
            }
            waiting.idle_workers += 1;
            waiting = match waiting.queue.next_wake().filter(|_| clock.runs()) {
                Some(moment) => {
                    let pause = moment.saturating_sub(clock.elapsed());
                    self.work.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.work.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
            waiting.idle_workers -= 1;
        }
    }

    /// Looks out for a new job for a moment before its caller goes to sleep: when jobs come one
    /// by one, putting a thread to sleep and waking it costs more than running them. One
    /// worker at a time does so.
    fn search<'a>(&'a self, mut waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
        waiting.searching = true;
        let seen = self.arrivals.load(Ordering::Relaxed);
        drop(waiting);
        for _ in 0..SEARCH_SPINS {
            if self.arrivals.load(Ordering::Relaxed) != seen {
                break;
            }
            std::hint::spin_loop();
        }
        // Whoever pushed a job meanwhile did so under the lock and left it to this worker,
        // which looks into the queue again before it sleeps.
        let mut waiting = self.lock();
        waiting.searching = false;
        waiting
    }

    fn end_turn(&self, turn: Turn<Pending>, rest: Rest) {
        let mut waiting = self.lock();
        waiting.queue.put_back(turn, rest);
        // This worker takes the next turn itself; another one must learn of the new moment to
        // wake at, in case this one is busy by then.
        let wake = matches!(rest, Rest::Until(_)) && waiting.idle_workers > 0;
        drop(waiting);
        if wake {
            self.work.notify_one();
        }
    }

    /// The journey of a job: start, attempt, and what comes of it.
    fn run(&self, lane: &LaneKey, mut pending: Pending, slot: &mut Option<Resident>) -> Outcome {
        self.start(&mut pending);
        let config = pending.accepted.config.unwrap_or_default();
        let Some(reducer) = self.reducers.get(&pending.accepted.document_type) else {
            let report = Report::unserved(&pending.accepted.document_type);
            return self.failed(pending, &config, report, None, 0);
        };
        let plugin = reducer.plugin().clone();
        let deadline = Instant::now() + self.defaults.timeout(&config);
        let mut call = Call::new(lane, deadline, &self.interrupt, &self.config.limits);
        let attempt = Attempt {
            accepted: &pending.accepted,
            lane,
            lineage: &pending.lineage,
            reducer,
            store: &*self.store,
            residents: &self.residents,
        };
        let result = attempt.run(slot, &mut call);
        let fuel_consumed = call.fuel_consumed;
        match result {
            Ok(committed) => {
                self.complete(lane, pending, committed, plugin, fuel_consumed);
                Outcome::Ended
            }
            Err(error) => {
                let report = Report::of(error, &pending.accepted.job, &plugin);
                self.failed(pending, &config, report, Some(plugin), fuel_consumed)
            }
        }
    }

    fn start(&self, pending: &mut Pending) {
        pending.attempts += 1;
        pending.started_at.get_or_insert_with(|| self.config.clock.elapsed());
        let job = &pending.accepted.job;
        if let Some(before) = &pending.failed_before {
            let (job, error) = (job.with_status(JobStatus::Pending), before.error.clone());
            let retry_count = pending.attempts - 1;
            self.bus.publish(|| Event::JobRetry(JobRetryEvent { job, error, retry_count }));
        }
        let started_at = || self.config.clock.now();
        self.bus.publish(|| {
            Event::JobStarted(JobStartedEvent { job: job.with_status(JobStatus::Running), started_at: started_at() })
        });
    }

    fn complete(&self, lane: &LaneKey, pending: Pending, committed: Committed, plugin: Arc<PluginRef>, fuel: u64) {
        let metadata = self.metadata(&pending, Some(plugin), fuel);
        self.enqueue_dispatched(lane, committed.dispatched, &pending.lineage);
        let job = pending.accepted.job.with_status(JobStatus::Completed);
        let result = Arc::new(JobResult {
            success: true,
            completed_at: self.config.clock.now(),
            duration: self.duration(&pending),
            operations: committed.operations,
            metadata: Some(metadata),
            error_code: None,
            error_message: None,
            job,
        });
        self.bus.publish(|| Event::JobCompleted(JobCompletedEvent { job: result.job.clone(), result: result.clone() }));
        pending.resolve(result);
    }

    fn failed(
        &self,
        mut pending: Pending,
        config: &JobExecutionConfig,
        report: Report,
        plugin: Option<Arc<PluginRef>>,
        fuel: u64,
    ) -> Outcome {
        if report.fault.code == JobErrorCode::GracefulAbort {
            self.abort(pending);
            return Outcome::Ended;
        }
        let before = pending.failed_before.as_ref().map(|before: &Report| -> &Fault { &before.fault });
        let verdict = retry::decide(&report.fault, before, pending.attempts, self.defaults.retry(config));
        let retry_count =
            if matches!(verdict, Verdict::RetryWithin(_)) { pending.attempts } else { pending.attempts - 1 };
        let (job, error) = (pending.accepted.job.with_status(JobStatus::Failed), report.error.clone());
        let will_retry = matches!(verdict, Verdict::RetryWithin(_));
        let event = || Event::JobFailed(JobFailedEvent { job, error, will_retry, retry_count });
        self.bus.publish(event);
        match verdict {
            Verdict::RetryWithin(longest) => {
                pending.failed_before = Some(report);
                let delay = longest.mul_f64(fastrand::f64());
                Outcome::Again(Box::new(pending), self.config.clock.elapsed() + delay)
            }
            Verdict::GiveUp { deterministic } => {
                let metadata = self.metadata(&pending, plugin, fuel);
                self.give_up(pending, report, metadata, deterministic);
                Outcome::Ended
            }
        }
    }

    /// Gives back a job that the executor will not run, without calling it failed.
    fn abort(&self, pending: Pending) {
        let metadata = self.metadata(&pending, None, 0);
        self.give_up(pending, Report::aborted(), metadata, false);
    }

    fn give_up(&self, pending: Pending, report: Report, mut metadata: JobMetadata, deterministic: bool) {
        let status = match report.fault.code {
            // The job is as it was before it began: a durable queue would run it again.
            JobErrorCode::GracefulAbort => JobStatus::Pending,
            _ => JobStatus::Failed,
        };
        let error = report.error.clone();
        report.fill(&mut metadata, deterministic);
        let result = JobResult {
            job: pending.accepted.job.with_status(status),
            success: false,
            completed_at: self.config.clock.now(),
            duration: self.duration(&pending),
            operations: Vec::new(),
            metadata: Some(metadata),
            error_code: Some(error.error_code),
            error_message: Some(error.error_message),
        };
        pending.resolve(Arc::new(result));
    }

    fn metadata(&self, pending: &Pending, plugin: Option<Arc<PluginRef>>, fuel_consumed: u64) -> JobMetadata {
        let queued_until = pending.started_at.unwrap_or_else(|| self.config.clock.elapsed());
        JobMetadata {
            attempts: pending.attempts,
            queued_ms: Span::from(queued_until.saturating_sub(pending.accepted_at)),
            plugin,
            fuel_consumed,
            document_type: pending.accepted.named_type.clone(),
            config: pending.accepted.config,
            causation: pending.accepted.causation.clone(),
            reason: None,
            deterministic: None,
            rejection_code: None,
            action_index: None,
            trap: None,
            panic: None,
            backtrace: None,
        }
    }

    fn duration(&self, pending: &Pending) -> Span {
        let ran = |started| self.config.clock.elapsed().saturating_sub(started);
        pending.started_at.map_or(Span::default(), |started| ran(started).into())
    }
}

impl Pending {
    fn new(
        accepted: Accepted,
        lineage: Lineage,
        accepted_at: Duration,
        done: Option<oneshot::Sender<Arc<JobResult>>>,
    ) -> Self {
        Self { accepted, lineage, accepted_at, started_at: None, attempts: 0, failed_before: None, done }
    }

    fn resolve(self, result: Arc<JobResult>) {
        if let Some(done) = self.done {
            // Nobody may be waiting any more; the job counts all the same.
            let _ = done.send(result);
        }
    }
}
