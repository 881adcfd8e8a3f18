//! What the manager and its workers share.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState as FoldHash;
use tokio::sync::oneshot;

use super::committer::Committer;
use super::config::{Defaults, ExecutorConfig};
use super::doorbell::{Doorbell, Guard};
use super::letters::Retried;
use crate::audit::Auditor;
use crate::dispatch::Budgets;
use crate::event::{EventBus, JobListener};
use crate::failure::HostFault;
use crate::ids::{DocumentType, JobId};
use crate::job::JobExecutorManagerConfig;
use crate::journal::FailedAttempt;
use crate::log::Log;
use crate::quarantine::Quarantines;
use crate::queue::{Limited, Queue};
use crate::records::{Hold, Record, Records, Retention};
use crate::registry::Reducers;
use crate::report::Report;
use crate::residents::Residents;
use crate::roll::Roll;
use crate::store::{Durability, OperationStore, StoreError};
use crate::suspects::Suspects;

/// Everything of a manager but its threads.
///
/// Locks are taken in the order `waiting`, then any other one, and no other under those.
pub(super) struct Shared {
    pub(super) config: ExecutorConfig,
    pub(super) reducers: Arc<Reducers>,
    pub(super) log: Log,
    /// Writes the journal, where the store outlives the process.
    pub(super) committer: Option<Arc<Committer>>,
    pub(super) bus: EventBus,
    pub(super) residents: Residents,
    pub(super) records: Records,
    pub(super) budgets: Budgets,
    /// Its phase changes only under the lock of `waiting`, so that no worker on its way to
    /// wait misses the change.
    pub(super) roll: Roll,
    pub(super) suspects: Suspects,
    /// The queue's lock is held while it changes, so that the models blocked there are those whose
    /// serving revisions are here.
    pub(super) quarantines: Quarantines,
    pub(super) auditor: Auditor,
    pub(super) waiting: Doorbell<Waiting>,
    /// Whoever takes a dead letter out holds it, and takes it first.
    pub(super) letters: Mutex<()>,
    pub(super) retried: Retried,
    /// Serialises the submissions of one job id, for ids that callers make.
    pub(super) caller_ids: IdLocks,
    /// Whether a lane waits for its turn, as far as the last worker at the queue saw.
    pub(super) others_wait: AtomicBool,
    /// Jobs that wait in turns that were taken.
    pub(super) in_turns: AtomicUsize,
}

/// The queue, and what its lock protects besides.
pub(super) struct Waiting {
    pub(super) queue: Queue<DocumentType, Pending>,
    /// Places in the queue that jobs under way have taken for what they dispatch.
    pub(super) reserved: usize,
    /// Jobs that were given back while the manager stops, for its next start.
    pub(super) given_back: Vec<Pending>,
    /// Workers that have not ended.
    pub(super) workers: usize,
    /// Whether the manager was started before.
    pub(super) was_started: bool,
    /// Whether the jobs that run while the manager stops are let finish.
    pub(super) graceful: bool,
    /// Interrupts the guests of this run.
    pub(super) interrupt: Arc<AtomicBool>,
    /// Tasks that wait for the manager to stop.
    pub(super) stopped: Vec<oneshot::Sender<()>>,
    /// Tasks that wait until there are no jobs.
    pub(super) idle: Vec<oneshot::Sender<()>>,
}

/// What the workers of one start go by.
pub(super) struct Run {
    pub(super) workers: usize,
    pub(super) defaults: Defaults,
    pub(super) interrupt: Arc<AtomicBool>,
    /// Whether the run never begins, for lack of threads.
    pub(super) called_off: AtomicBool,
}

/// How a job came into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was submitted or dispatched.
    New,
    /// It failed for good, and is retried.
    DeadLetter,
}

/// Locks for names, of which a few may share one.
#[derive(Default)]
pub(super) struct IdLocks {
    locks: [Mutex<()>; 16],
    hasher: FoldHash,
}

impl IdLocks {
    pub(super) fn lock(&self, id: &JobId) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one(id) as usize;
        self.locks[hash % self.locks.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job on its way.
pub(super) struct Pending {
    pub(super) record: Arc<Record>,
    pub(super) origin: Origin,
    /// Jobs that it depends on.
    pub(super) hold: Option<Arc<Hold>>,
    pub(super) started_at: Option<Duration>,
    pub(super) attempts: u32,
    /// When the attempt began that runs.
    pub(super) attempt_began: Duration,
    /// How long its attempts have run in this process, without the backoff between them.
    pub(super) executed: Duration,
    /// Whether `JOB_RETRY` was published for the attempt that comes next.
    pub(super) is_retry_announced: bool,
    /// When its next attempt may begin, if one failed.
    pub(super) not_before: Option<Duration>,
    pub(super) failed_before: Option<Report>,
    /// For the journal.
    pub(super) failed_attempts: Vec<FailedAttempt>,
}

impl Shared {
    pub(super) fn new(
        config: ExecutorConfig,
        reducers: Arc<Reducers>,
        store: Arc<dyn OperationStore>,
        bus: EventBus,
    ) -> Result<Self, StoreError> {
        let committer = match store.durability() {
            Durability::Process => None,
            Durability::Disk => Some(Arc::new(Committer::new(store.last_order()?))),
        };
        // A store that outlives the process remembers the outcomes.
        let outcomes_max = if committer.is_some() { 0 } else { config.retention.outcomes_max };
        let retention = Retention { outcomes_max, ..config.retention };
        Ok(Self {
            reducers,
            log: Log::new(store),
            committer,
            bus,
            residents: Residents::new(config.residents),
            records: Records::new(retention),
            budgets: Budgets::default(),
            roll: Roll::new(),
            suspects: Suspects::default(),
            quarantines: Quarantines::default(),
            auditor: Auditor::new(config.audit),
            waiting: Doorbell::new(Waiting {
                queue: Queue::new(config.limits.queue_depth_max),
                reserved: 0,
                given_back: Vec::new(),
                workers: 0,
                was_started: false,
                graceful: true,
                interrupt: Arc::new(AtomicBool::new(false)),
                stopped: Vec::new(),
                idle: Vec::new(),
            }),
            letters: Mutex::default(),
            retried: Retried::default(),
            caller_ids: IdLocks::default(),
            others_wait: AtomicBool::new(false),
            in_turns: AtomicUsize::new(0),
            config,
        })
    }

    pub(super) fn lock(&self) -> Guard<'_, Waiting> {
        self.waiting.lock()
    }

    /// Whether there are no jobs that go on: none waits for a worker, none runs, and the end of none
    /// is being written.
    pub(super) fn is_idle(&self, waiting: &Waiting) -> bool {
        !waiting.queue.goes_on() && !self.committer.as_ref().is_some_and(|committer| committer.is_busy())
    }

    /// Tells those who wait for it that there are no jobs, if there are none that go on.
    pub(super) fn tell_if_idle(&self, waiting: &mut Guard<'_, Waiting>) {
        if !self.is_idle(waiting) {
            return;
        }
        for waits in std::mem::take(&mut waiting.idle) {
            // Whoever waited may have gone.
            let _ = waits.send(());
        }
        self.waiting.tell_changed(waiting);
    }

    /// Jobs that count against the queue's depth besides those in it: they wait in turns that were
    /// taken, or are about to be dispatched.
    pub(super) fn beyond_queue(&self, waiting: &Waiting) -> usize {
        waiting.reserved + self.in_turns.load(Ordering::Relaxed)
    }

    /// Takes places in the queue for jobs that are about to be dispatched.
    ///
    /// # Errors
    ///
    /// [`HostFault::QueueFull`]. The job that dispatches fails then and is tried again: waiting for
    /// room while it keeps its lane could wait for itself.
    pub(super) fn reserve_places(&self, count: usize) -> Result<(), HostFault> {
        let mut waiting = self.lock();
        let (depth, limit) = (waiting.queue.depth() + self.beyond_queue(&waiting), self.config.limits.queue_depth_max);
        if depth + count > limit {
            return Err(HostFault::QueueFull { dispatched: count, depth, limit });
        }
        waiting.reserved += count;
        Ok(())
    }

    /// Gives back places that were taken for jobs that are queued now, or never will be.
    pub(super) fn give_up_places(&self, waiting: &mut Waiting, count: usize) {
        waiting.reserved = waiting.reserved.saturating_sub(count);
    }

    /// Lets go of the queue after jobs or turns came.
    pub(super) fn arrived(&self, waiting: Guard<'_, Waiting>) {
        if self.has_turn(&waiting) {
            self.waiting.ring(waiting);
        }
    }

    /// Whether a lane is ready for a worker. Turns that run learn of it, too.
    pub(super) fn has_turn(&self, waiting: &Waiting) -> bool {
        let now = if self.suspects.any() { self.config.clock.elapsed() } else { Duration::ZERO };
        let has_turn = waiting.queue.has_turn(&self.limited(waiting.workers, now));
        self.others_wait.store(has_turn, Ordering::Relaxed);
        has_turn
    }

    /// The models that are suspected at `now`, which may take half of so many workers together, at
    /// least one.
    pub(super) fn limited(&self, workers: usize, now: Duration) -> Limited<impl Fn(&DocumentType) -> bool> {
        Limited {
            is_limited: move |document_type: &DocumentType| {
                self.suspects.is_suspected(document_type, now, &self.reducers)
            },
            lanes_max: (workers / 2).max(1),
        }
    }
}

impl JobListener for Shared {
    fn job_available(&self) {
        self.arrived(self.lock());
    }
}

impl Run {
    /// The run of a configuration that has every field.
    pub(super) fn new(manager: &JobExecutorManagerConfig, config: &ExecutorConfig) -> Self {
        Self {
            workers: manager.max_concurrency.unwrap_or(1),
            defaults: Defaults::new(manager, config),
            interrupt: Arc::new(AtomicBool::new(false)),
            called_off: AtomicBool::new(false),
        }
    }
}

impl Pending {
    pub(super) fn new(record: Arc<Record>, hold: Option<Arc<Hold>>) -> Self {
        Self {
            record,
            origin: Origin::New,
            hold,
            started_at: None,
            attempts: 0,
            attempt_began: Duration::ZERO,
            executed: Duration::ZERO,
            is_retry_announced: false,
            not_before: None,
            failed_before: None,
            failed_attempts: Vec::new(),
        }
    }
}
