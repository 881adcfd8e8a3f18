//! The manager: takes submissions in, and has worker threads execute them.

mod committer;
mod config;
mod doorbell;
mod intake;
mod journey;
mod letters;
mod outcast;
mod recovery;
mod saving;
mod shared;
mod sync;
mod ticket;
mod worker;
mod writing;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use self::config::ExecutorConfig;
pub use self::intake::{BatchRefusal, resolve_type};
pub use self::letters::NotADeadLetter;
pub use self::ticket::{ExecuteError, Submitted, Ticket, WaitCancelled};

use self::committer::Written;
use self::shared::{Run, Shared, Waiting};
use crate::audit::AuditStats;
use crate::event::{Event, EventBus, ExecutorStartedEvent};
use crate::history::{self, HistoryError};
use crate::ids::{JobId, LaneKey};
use crate::job::{Job, JobExecutionConfig, JobExecutorManagerConfig, JobResult};
use crate::journal::{JobQuery, JobRecord};
use crate::quarantine::Quarantine;
use crate::records::{Acceptance, NotCancelled, UnknownJob};
use crate::reducer::Call;
use crate::registry::Reducers;
use crate::roll::{ExecutorStats, ExecutorStatus, Phase};
use crate::store::{Head, OperationStore, Pausing, StoreError};
use crate::submission::{Refusal, Submission};

/// A guest may use 1 MiB of its worker's stack; the host's frames around it need room too.
const WORKER_STACK_BYTES: usize = 4 << 20;

/// How the manager stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// Running jobs are let finish. Then documents that have operations since their last snapshot
    /// get one, where the store outlives the process, within ten seconds: so the next process can
    /// have other revisions of their plugins.
    #[default]
    Graceful,
    /// Running guests are interrupted.
    Interrupt,
}

/// Executes jobs: one at a time in each lane, many lanes at once.
///
/// It takes submissions in whether it is started or not; while it is stopped or paused they
/// wait. All methods may be called from any thread, inside an async runtime or without one;
/// where a method is `async`, dropping its future ends the wait and nothing else.
///
/// | call | stopped | running | paused | stopping |
/// |---|---|---|---|---|
/// | `start` | starts | [`StartError::Started`] | [`StartError::Started`] | [`StartError::Stopping`] |
/// | `stop` | nothing to do | stops | stops | waits for the same end |
/// | `pause` | [`NotStarted`] | pauses | nothing to do | [`NotStarted`] |
/// | `resume` | [`NotStarted`] | nothing to do | resumes | [`NotStarted`] |
/// | `enqueue`, `execute` | the job waits | it is executed | it waits | [`Refusal::Stopping`] |
/// | `watch`, `cancel`, `get_status`, `get_stats` | as always | as always | as always | as always |
///
/// Dropping it interrupts what runs, waits for the threads, and gives every job that has not
/// ended a result of `GRACEFUL_ABORT`.
pub struct JobExecutorManager {
    shared: Arc<Shared>,
    /// The threads of the latest start.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The thread that writes the journal, where there is one.
    writer: Option<JoinHandle<()>>,
}

/// Why the manager did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is started already.
    #[error("the manager is started already")]
    Started,
    /// It has not come to its end yet.
    #[error("the manager is stopping; it can start again when it has stopped")]
    Stopping,
    /// The machine has no thread left.
    #[error("no thread for a worker")]
    NoThread(#[source] std::io::Error),
    /// The store does not say whether the queue is paused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why there is no place to wait for a job's result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWatched {
    /// Its id is not known.
    #[error(transparent)]
    Unknown(#[from] UnknownJob),
    /// The journal could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The wait was cancelled. The operation that was waited for goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wait was cancelled; the operation itself goes on")]
pub struct Cancelled;

/// Why a call that pauses or resumes did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPaused {
    /// The manager is not started.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// The wait for the journal was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Only a manager that is started can be paused and resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the manager is not started")]
pub struct NotStarted;

impl JobExecutorManager {
    /// A manager that is not started yet, with a store in memory.
    ///
    /// # Panics
    ///
    /// If the store has a journal that cannot be read: those are for
    /// [`JobExecutorManager::open`].
    pub fn new(config: ExecutorConfig, reducers: Arc<Reducers>, store: Arc<dyn OperationStore>, bus: EventBus) -> Self {
        Self::open(config, reducers, store, bus).expect("a store in memory can be read")
    }

    /// A manager that is not started yet. Where the store outlives the process, the jobs of its
    /// journal that have not ended are queued, and run after the start.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read, or the machine has no thread left to write it
    /// with.
    pub fn open(
        config: ExecutorConfig,
        reducers: Arc<Reducers>,
        store: Arc<dyn OperationStore>,
        bus: EventBus,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::new(config, reducers, store, bus)?);
        // Before the jobs are queued: a model that gets its plugin meanwhile unblocks its lanes.
        let listener: Weak<Shared> = Arc::downgrade(&shared);
        shared.bus.listen(listener.clone());
        shared.reducers.listen(listener);
        shared.recover()?;
        let writer = match &shared.committer {
            None => None,
            Some(_) => Some(spawn_writer(&shared)?),
        };
        Ok(Self { shared, threads: Mutex::default(), writer })
    }

    /// Starts the worker threads, publishes `EXECUTOR_STARTED`, and executes what is queued.
    ///
    /// What `config` leaves out is as in [`ExecutorConfig::manager`], and else the default.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing has changed then.
    pub fn start(&self, config: Option<JobExecutorManagerConfig>) -> Result<(), StartError> {
        let shared = &self.shared;
        let config = config.unwrap_or_default().or(shared.config.manager).resolved();
        let mut waiting = shared.lock();
        match shared.roll.phase() {
            Phase::Stopped => {}
            Phase::Running | Phase::Paused => return Err(StartError::Started),
            Phase::Stopping => return Err(StartError::Stopping),
        }
        let pausing = if shared.committer.is_some() { shared.log.store().pausing()? } else { Pausing::Resumed };
        // A pause outlives its process, and not a stop and start of the same manager: whoever starts
        // it again wants it to execute, as with a store in memory.
        let resumes = waiting.was_started && pausing == Pausing::Paused;
        let run = Arc::new(Run::new(&config, &shared.config));
        // They wait for the lock.
        let workers = spawn_workers(shared, &run).map_err(|error| {
            run.called_off.store(true, Ordering::Relaxed);
            StartError::NoThread(error)
        })?;
        // Those of an earlier run have ended, or have nothing left to do but that.
        *self.threads() = workers;
        (waiting.workers, waiting.was_started) = (run.workers, true);
        waiting.interrupt = run.interrupt.clone();
        shared.roll.start(shared.config.clock.elapsed());
        let written = if resumes { shared.hand_over_pausing(Pausing::Resumed) } else { None };
        if pausing == Pausing::Paused && !resumes {
            shared.roll.set_phase(Phase::Paused);
        }
        let started_at = shared.config.clock.now();
        shared.bus.tell(|| Event::ExecutorStarted(ExecutorStartedEvent { config, started_at }));
        drop(waiting);
        shared.wait_for_pausing(written);
        Ok(())
    }

    /// Stops: takes no more jobs in, ends the running ones as told, and gives every job that
    /// has not ended a result of `GRACEFUL_ABORT`, without an event. Then publishes
    /// `EXECUTOR_STOPPED`.
    ///
    /// Stopping a manager that is stopped changes nothing: jobs that wait for its start go on
    /// waiting. A second call while it stops waits for the same end; if it is
    /// [`Stop::Interrupt`], what still runs is interrupted.
    pub async fn stop(&self, how: Stop) {
        if let Some(stopped) = self.shared.begin_stop(how) {
            // The sender is gone only together with the manager.
            let _ = stopped.await;
        }
    }

    /// The same, waiting no longer than until `signal` is cancelled. The manager stops all the same.
    ///
    /// # Errors
    ///
    /// [`Cancelled`].
    pub async fn stop_unless(&self, how: Stop, signal: &CancellationToken) -> Result<(), Cancelled> {
        let Some(stopped) = self.shared.begin_stop(how) else { return Ok(()) };
        // The sender is gone only together with the manager.
        signal.run_until_cancelled(stopped).await.map(drop).ok_or(Cancelled)
    }

    /// The same, blocking the thread.
    pub fn stop_blocking(&self, how: Stop) {
        if self.shared.begin_stop(how).is_some() {
            self.shared.waiting.wait_while(|_| self.shared.roll.phase() == Phase::Stopping);
        }
    }

    /// Waits until every job has ended that is queued, those included that are dispatched and
    /// retried meanwhile. Jobs that wait for a plugin in [quarantine](Self::quarantined), and those
    /// that depend on them, are not waited for. Returns at once from a manager that is stopped.
    pub async fn wait_until_idle(&self) {
        let idle = {
            let mut waiting = self.shared.lock();
            if !self.shared.has_work(&waiting) {
                return;
            }
            let (sender, idle) = oneshot::channel();
            waiting.idle.push(sender);
            idle
        };
        // The sender is gone only together with the manager.
        let _ = idle.await;
    }

    /// The same, waiting no longer than until `signal` is cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`].
    pub async fn wait_until_idle_unless(&self, signal: &CancellationToken) -> Result<(), Cancelled> {
        signal.run_until_cancelled(self.wait_until_idle()).await.ok_or(Cancelled)
    }

    /// The same, blocking the thread.
    pub fn wait_until_idle_blocking(&self) {
        self.shared.waiting.wait_while(|waiting| self.shared.has_work(waiting));
    }

    /// Starts no more jobs from now on. Those that run end in their own time. Where the store
    /// outlives the process, the first start of a later process's manager comes up paused; a later
    /// start of this one does not.
    ///
    /// # Errors
    ///
    /// [`NotStarted`]. Pausing twice is harmless.
    pub fn pause(&self) -> Result<(), NotStarted> {
        let written = self.shared.pause()?;
        self.shared.wait_for_pausing(written);
        Ok(())
    }

    /// The same without blocking the thread, waiting for the journal no longer than until `signal` is
    /// cancelled. No job starts from the call on.
    ///
    /// # Errors
    ///
    /// [`NotPaused`].
    pub async fn pause_unless(&self, signal: &CancellationToken) -> Result<(), NotPaused> {
        let written = self.shared.pause()?;
        Ok(signal.run_until_cancelled(self.shared.pausing_written(written)).await.ok_or(Cancelled)?)
    }

    /// Starts jobs again.
    ///
    /// # Errors
    ///
    /// [`NotStarted`]. Resuming a manager that runs is harmless.
    pub fn resume(&self) -> Result<(), NotStarted> {
        let written = self.shared.resume()?;
        self.shared.wait_for_pausing(written);
        Ok(())
    }

    /// The same without blocking the thread, waiting for the journal no longer than until `signal` is
    /// cancelled. Jobs start from the call on.
    ///
    /// # Errors
    ///
    /// [`NotPaused`].
    pub async fn resume_unless(&self, signal: &CancellationToken) -> Result<(), NotPaused> {
        let written = self.shared.resume()?;
        Ok(signal.run_until_cancelled(self.shared.pausing_written(written)).await.ok_or(Cancelled)?)
    }

    /// Whether it is started, paused or stopping.
    pub fn phase(&self) -> Phase {
        self.shared.roll.phase()
    }

    /// What it has done and is doing.
    pub fn get_status(&self) -> ExecutorStatus {
        self.shared.roll.status(self.shared.config.clock.elapsed())
    }

    /// How well it does.
    pub fn get_stats(&self) -> ExecutorStats {
        let backlog = {
            let waiting = self.shared.lock();
            waiting.queue.depth() + self.shared.in_turns.load(Ordering::Relaxed)
        };
        self.shared.roll.stats(self.shared.config.clock.elapsed(), backlog)
    }

    /// Accepts a submission as a job. With an `idempotencyKey` that a known job has, the ticket
    /// is for that job.
    ///
    /// # Errors
    ///
    /// [`Refusal`], naming the field at fault; nothing was queued then.
    pub fn enqueue(&self, submission: Submission) -> Result<Ticket, Refusal> {
        self.submit(submission)?.accepted_blocking()
    }

    /// The same without waiting until the journal has the job, where there is one: the job may
    /// run already. A client that waits for its result alone waits for one fsync, not two, and the
    /// journal gets the job's end alone, unless it is asked for its acceptance
    /// ([`Submitted::accepted`]), somebody else goes by the job's id, or the job takes longer than
    /// five seconds.
    ///
    /// # Errors
    ///
    /// [`Refusal`], naming the field at fault; nothing was queued then.
    pub fn submit(&self, submission: Submission) -> Result<Submitted, Refusal> {
        self.shared.submit(submission)
    }

    /// Accepts many submissions at once: all of them, or none. Tickets come in their order, and
    /// no job of another client comes between them.
    ///
    /// # Errors
    ///
    /// [`BatchRefusal`], naming the submission and the field at fault; nothing was queued then.
    pub fn enqueue_all(&self, submissions: Vec<Submission>) -> Result<Vec<Ticket>, BatchRefusal> {
        self.shared.enqueue_all(submissions)
    }

    /// Executes a job and waits for its result. It enters its document's lane like any other
    /// job, keeps its id, and is checked like any submission. It is handed in when this is called,
    /// not when the future is first polled. A job that is known already, by its id and with the same
    /// actions, is not run again: its result is returned. The document must exist, as a [`Job`] names no model.
    ///
    /// Cancelling `signal`, or dropping the future, ends the wait and not the job.
    ///
    /// # Errors
    ///
    /// [`ExecuteError::Refused`] if the job was not accepted, [`ExecuteError::WaitCancelled`]
    /// if the wait was cancelled.
    pub fn execute(
        &self,
        job: Job,
        config: Option<JobExecutionConfig>,
        signal: Option<CancellationToken>,
    ) -> impl Future<Output = Result<Arc<JobResult>, ExecuteError>> + Send + use<> {
        let submitted = self.shared.submit_job(job, config);
        async move {
            let submitted = submitted?;
            match signal {
                None => Ok(submitted.wait().await),
                Some(signal) => Ok(submitted.wait_unless(&signal).await?),
            }
        }
    }

    /// A place to wait for the result of a job. It is there at once if the job has ended; any
    /// number of watchers may wait for one job.
    ///
    /// # Errors
    ///
    /// [`NotWatched`] if no such job was accepted, or its result is not kept any more
    /// ([`ExecutorConfig::retention`], or where there is a journal as the store was told).
    pub fn watch(&self, job_id: &JobId) -> Result<Ticket, NotWatched> {
        let record = self.shared.find_record(job_id, self.shared.config.clock.moment())??;
        if let Some(committer) = &self.shared.committer
            && record.journal.acceptance() == Acceptance::Deferred
        {
            // Another one goes by its id now, and need not wait for it to be durable.
            drop(committer.accept(&record));
        }
        Ok(Ticket::of(&record))
    }

    /// What the journal knows of jobs: those that wait, and those that ended and are kept. Empty
    /// where the store does not outlive the process.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read.
    pub fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRecord>, StoreError> {
        self.shared.jobs(query)
    }

    /// Queues a job again that failed for good, at its old place among the jobs of its document.
    /// Waits until the journal has it.
    ///
    /// # Errors
    ///
    /// [`NotADeadLetter`], most of all if the document has gone on since.
    pub fn retry_failed(&self, job_id: &JobId) -> Result<Ticket, NotADeadLetter> {
        Ok(Ticket::of(&*self.shared.retry_failed(job_id)?))
    }

    /// Forgets a job that failed for good, with its error history.
    ///
    /// # Errors
    ///
    /// [`NotADeadLetter`].
    pub fn discard_failed(&self, job_id: &JobId) -> Result<(), NotADeadLetter> {
        self.shared.discard_failed(job_id)
    }

    /// Ends a job that has not started, for good: it fails with `GRACEFUL_ABORT` and the reason
    /// `cancelled`, `JOB_FAILED` is published, and jobs that depend on it fail. Returns its
    /// result. It counts among the jobs that were processed and failed.
    ///
    /// # Errors
    ///
    /// [`NotCancelled`] if the job has started, has ended, or is not known.
    pub fn cancel(&self, job_id: &JobId) -> Result<Arc<JobResult>, NotCancelled> {
        self.shared.cancel(job_id)
    }

    /// Where a branch of a document stands, as far as it is committed; `None` if it does not
    /// exist.
    ///
    /// Where the store does not have the states at hand, the operations since its last snapshot
    /// are applied again, on the calling thread, each by the revision of the plugin that made it.
    ///
    /// # Errors
    ///
    /// [`HistoryError`] if the log cannot be read or replayed.
    pub fn head(&self, lane: &LaneKey) -> Result<Option<Arc<Head>>, HistoryError> {
        self.head_at(lane, u64::MAX)
    }

    /// Where a branch of a document stood after `revision` operations.
    ///
    /// # Errors
    ///
    /// [`HistoryError`] if the log cannot be read or replayed, or the branch has not come so far.
    pub fn head_at(&self, lane: &LaneKey, revision: u64) -> Result<Option<Arc<Head>>, HistoryError> {
        self.shared.head_at(lane, revision)
    }

    /// Where the host's events can be subscribed to.
    pub fn events(&self) -> &EventBus {
        &self.shared.bus
    }

    /// The plugin revisions in quarantine, the latest last. Jobs for their models are accepted, and
    /// wait until another revision serves the model or this one is [released](Self::release).
    pub fn quarantined(&self) -> Vec<Quarantine> {
        self.shared.quarantines.list()
    }

    /// Lets revisions with this digest run again, and returns why they did not. Jobs that waited
    /// for them go on.
    pub fn release(&self, digest: &str) -> Vec<Quarantine> {
        self.shared.release_from_quarantine(digest)
    }

    /// What audits have found and taken so far.
    pub fn audit_stats(&self) -> AuditStats {
        self.shared.auditor.stats()
    }

    /// How many live documents lie idle, and how many bytes they take.
    pub fn residents(&self) -> (usize, usize) {
        self.shared.residents.level()
    }

    /// Moves a manual clock forward, and wakes whoever waits for a moment that has come.
    ///
    /// # Panics
    ///
    /// If the manager goes by the machine's clock.
    pub fn advance_clock(&self, by: Duration) {
        let waiting = self.shared.lock();
        self.shared.config.clock.advance(by);
        self.shared.waiting.ring_all(waiting);
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that writes the journal.
fn spawn_writer(shared: &Arc<Shared>) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name("reductor-commit".to_owned());
    let shared = shared.clone();
    let spawned = thread.spawn(move || writing::run(&shared));
    spawned.map_err(|error| StoreError::Io { doing: "start the thread that writes it", problem: error.to_string() })
}

/// All of the run's workers, or none.
fn spawn_workers(shared: &Arc<Shared>, run: &Arc<Run>) -> std::io::Result<Vec<JoinHandle<()>>> {
    (0..run.workers)
        .map(|number| {
            let (shared, run) = (shared.clone(), run.clone());
            let thread = std::thread::Builder::new().name(format!("reductor-{number}")).stack_size(WORKER_STACK_BYTES);
            thread.spawn(move || shared.work_until_stopped(&run))
        })
        .collect()
}

impl Shared {
    fn pause(&self) -> Result<Option<Written>, NotStarted> {
        // The lock is held until the journal's entry is handed over, so that it has the latest of
        // several calls.
        let _waiting = self.lock();
        match self.roll.phase() {
            Phase::Running => self.roll.set_phase(Phase::Paused),
            Phase::Paused => {}
            Phase::Stopped | Phase::Stopping => return Err(NotStarted),
        }
        Ok(self.hand_over_pausing(Pausing::Paused))
    }

    fn resume(&self) -> Result<Option<Written>, NotStarted> {
        let waiting = self.lock();
        match self.roll.phase() {
            Phase::Paused => self.roll.set_phase(Phase::Running),
            Phase::Running => {}
            Phase::Stopped | Phase::Stopping => return Err(NotStarted),
        }
        let written = self.hand_over_pausing(Pausing::Resumed);
        self.waiting.ring_all(waiting);
        Ok(written)
    }

    /// Whether there are jobs that will end some time.
    fn has_work(&self, waiting: &Waiting) -> bool {
        !self.is_idle(waiting) && self.roll.phase() != Phase::Stopped
    }

    fn head_at(&self, lane: &LaneKey, revision: u64) -> Result<Option<Arc<Head>>, HistoryError> {
        let store = &**self.log.store();
        let Some(position) = store.position(lane)? else { return Ok(None) };
        // Nearly always there is nothing to replay, and no need for the reducer.
        let revision = if revision == u64::MAX { position.revision } else { revision };
        if let Some(head) = store.snapshot(lane, revision)?.filter(|head| head.revision == revision) {
            return Ok(Some(head));
        }
        let pace = Duration::from_millis(self.config.manager.resolved().job_timeout.unwrap_or_default());
        let (interrupt, deadline) = (Arc::new(AtomicBool::new(false)), Instant::now() + pace);
        let mut call = Call::new(lane, deadline, &interrupt, &self.config.limits);
        let head = history::head_within(store, &self.reducers, lane, revision, Some(pace), &mut call)?;
        Ok(head.map(Arc::new))
    }

    /// Returns where to wait for the end, unless it has come.
    fn begin_stop(&self, how: Stop) -> Option<oneshot::Receiver<()>> {
        let mut waiting = self.lock();
        match self.roll.phase() {
            Phase::Stopped => return None,
            Phase::Stopping => {}
            Phase::Running | Phase::Paused => {
                waiting.graceful = true;
                self.roll.set_phase(Phase::Stopping);
            }
        }
        // After the phase, so that a worker whose guest was interrupted begins no other job.
        if how == Stop::Interrupt {
            waiting.graceful = false;
            waiting.interrupt.store(true, Ordering::Relaxed);
        }
        let (sender, stopped) = oneshot::channel();
        waiting.stopped.push(sender);
        self.waiting.ring_all(waiting);
        Some(stopped)
    }
}

impl Drop for JobExecutorManager {
    fn drop(&mut self) {
        self.stop_blocking(Stop::Interrupt);
        for thread in self.threads().drain(..) {
            thread.join().expect("a worker does not panic");
        }
        if let Some(committer) = &self.shared.committer {
            committer.accept_deferred();
            committer.wait_until_written();
        }
        let left = self.shared.lock().queue.drain();
        left.into_iter().for_each(|pending| self.shared.give_back_waiting(pending));
        if let (Some(committer), Some(writer)) = (&self.shared.committer, self.writer.take()) {
            committer.close();
            writer.join().expect("the committer does not panic");
        }
    }
}

impl std::fmt::Debug for JobExecutorManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobExecutorManager").field("phase", &self.phase()).finish_non_exhaustive()
    }
}
