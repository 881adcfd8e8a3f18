//! What the host tells the world about jobs, and the bus that carries it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use tokio::sync::broadcast;

use crate::blocking::block_on;
use crate::failure::JobError;
use crate::ids::{Branch, DocumentId, JobId, Scope};
use crate::job::{Job, JobExecutorManagerConfig, JobResult};
use crate::time::Timestamp;

/// Something that happened. On the wire `{"type": number, "payload": {…}}`.
#[derive(Clone, Debug)]
pub enum Event {
    /// 10000: a job waits to be executed.
    JobAvailable(JobAvailableEvent),
    /// 20000: an attempt at a job begins.
    JobStarted(JobStartedEvent),
    /// 20001: a job was applied, and its operations can be read.
    JobCompleted(JobCompletedEvent),
    /// 20003: a failed job is queued again.
    JobRetry(JobRetryEvent),
    /// 20004: an attempt at a job failed.
    JobFailed(JobFailedEvent),
    /// 20005: the executor takes jobs from now on.
    ExecutorStarted(ExecutorStartedEvent),
    /// 20006: the executor takes no more jobs.
    ExecutorStopped(ExecutorStoppedEvent),
}

impl Event {
    /// The number of its kind in the interface.
    pub fn number(&self) -> u32 {
        match self {
            Self::JobAvailable(_) => 10000,
            Self::JobStarted(_) => 20000,
            Self::JobCompleted(_) => 20001,
            Self::JobRetry(_) => 20003,
            Self::JobFailed(_) => 20004,
            Self::ExecutorStarted(_) => 20005,
            Self::ExecutorStopped(_) => 20006,
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut event = serializer.serialize_struct("Event", 2)?;
        event.serialize_field("type", &self.number())?;
        match self {
            Self::JobAvailable(payload) => event.serialize_field("payload", payload)?,
            Self::JobStarted(payload) => event.serialize_field("payload", payload)?,
            Self::JobCompleted(payload) => event.serialize_field("payload", payload)?,
            Self::JobRetry(payload) => event.serialize_field("payload", payload)?,
            Self::JobFailed(payload) => event.serialize_field("payload", payload)?,
            Self::ExecutorStarted(payload) => event.serialize_field("payload", payload)?,
            Self::ExecutorStopped(payload) => event.serialize_field("payload", payload)?,
        }
        event.end()
    }
}

/// A job waits to be executed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobAvailableEvent {
    /// The document it acts on.
    pub document_id: DocumentId,
    /// The scopes it changes.
    pub scopes: Arc<[Scope]>,
    /// The branch it acts on.
    pub branch: Branch,
    /// The job.
    pub job_id: JobId,
}

/// An attempt at a job begins.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobStartedEvent {
    /// The job.
    pub job: Job,
    /// When the attempt began.
    pub started_at: Timestamp,
}

/// A job was applied, and its operations can be read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobCompletedEvent {
    /// The job.
    pub job: Job,
    /// What came of it.
    pub result: Arc<JobResult>,
}

/// A failed job is queued again.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRetryEvent {
    /// The job.
    pub job: Job,
    /// What the attempt before failed of.
    pub error: JobError,
    /// Which retry begins, from 1.
    pub retry_count: u32,
}

/// An attempt at a job failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobFailedEvent {
    /// The job.
    pub job: Job,
    /// Why.
    pub error: JobError,
    /// Whether another attempt follows.
    pub will_retry: bool,
    /// With `will_retry`, the number of the retry to come, from 1; else how many there were.
    pub retry_count: u32,
}

/// The executor takes jobs from now on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorStartedEvent {
    /// What it goes by, with defaults filled in.
    pub config: JobExecutorManagerConfig,
    /// When it started.
    pub started_at: Timestamp,
}

/// The executor takes no more jobs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorStoppedEvent {
    /// When it stopped.
    pub stopped_at: Timestamp,
    /// Whether running jobs were let finish.
    pub graceful: bool,
}

/// Carries events to whoever subscribes.
///
/// Publishing never waits: a subscriber that falls behind by more than the capacity loses
/// the oldest events and is told how many.
///
/// Handlers are loops around a [`Subscription`]: they may subscribe, unsubscribe and call the
/// host as they like, because nothing waits for them.
#[derive(Clone)]
pub struct EventBus {
    sender: broadcast::Sender<Arc<Event>>,
    /// Who wants to know of jobs that others announce.
    listeners: Arc<Mutex<Vec<Weak<dyn JobListener>>>>,
}

/// Is told of `JOB_AVAILABLE` events that were published from outside.
pub(crate) trait JobListener: Send + Sync {
    fn job_available(&self);
}

impl EventBus {
    /// Makes a bus that holds the last `capacity` events for slow subscribers.
    pub fn new(capacity: usize) -> Self {
        Self { sender: broadcast::Sender::new(capacity.max(1)), listeners: Arc::default() }
    }

    /// Subscribes to every event from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription(self.sender.subscribe())
    }

    /// Publishes an event from outside of the host. A `JOB_AVAILABLE` wakes the workers of the
    /// managers on this bus, if jobs wait for them.
    pub fn publish(&self, event: Event) {
        let wakes = matches!(event, Event::JobAvailable(_));
        self.tell(|| event);
        if wakes {
            self.listeners().iter().for_each(|listener| listener.job_available());
        }
    }

    /// Those that are still there.
    fn listeners(&self) -> Vec<Arc<dyn JobListener>> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.iter().filter_map(Weak::upgrade).collect()
    }

    /// Publishes the event that `make` makes, if anybody listens.
    pub(crate) fn tell(&self, make: impl FnOnce() -> Event) {
        if self.sender.receiver_count() > 0 {
            // An error means that the last subscriber left meanwhile.
            let _ = self.sender.send(Arc::new(make()));
        }
    }

    pub(crate) fn listen(&self, listener: Weak<dyn JobListener>) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }
}

impl std::fmt::Debug for EventBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventBus").field("subscribers", &self.sender.receiver_count()).finish_non_exhaustive()
    }
}

/// A place to receive events at. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription(broadcast::Receiver<Arc<Event>>);

/// What a subscriber receives.
#[derive(Clone, Debug)]
pub enum Received {
    /// The next event.
    Event(Arc<Event>),
    /// This many events were lost, because the subscriber fell behind.
    Missed(u64),
}

impl Subscription {
    /// Waits for the next event; `None` when the bus is gone.
    pub async fn recv(&mut self) -> Option<Received> {
        Self::received(self.0.recv().await)
    }

    /// The same for threads without an async runtime. On a thread of one it blocks that thread.
    pub fn recv_blocking(&mut self) -> Option<Received> {
        Self::received(block_on(self.0.recv()))
    }

    /// The next event if there is one already.
    pub fn try_recv(&mut self) -> Option<Received> {
        match self.0.try_recv() {
            Ok(event) => Some(Received::Event(event)),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(Received::Missed(missed)),
            Err(_) => None,
        }
    }

    fn received(result: Result<Arc<Event>, broadcast::error::RecvError>) -> Option<Received> {
        match result {
            Ok(event) => Some(Received::Event(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Received::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
