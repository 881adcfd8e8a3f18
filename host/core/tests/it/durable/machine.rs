//! A machine with a disk, and the processes that run on it one after the other.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use reductor_core::{
    AuditPolicy, Clock, Event, EventBus, ExecutorConfig, JobExecutorManager, JobExecutorManagerConfig, JobId,
    JobRecord, JobResult, JobStatus, NotADeadLetter, Phase, Received, Reducers, Refusal, Submission, Submitted,
    Subscription, Ticket,
};
use serde_json::Value;

use super::disk::{Disk, Fate, LONG, Mount};
use crate::executor::host::{BOUND, MODEL, OTHER_MODEL, lane, result, say, within};
use crate::executor::scripted::{Script, Scripted};

/// What is there before, between and after processes.
pub(super) struct Machine {
    pub(super) disk: Arc<Disk>,
    pub(super) script: Arc<Script>,
    pub(super) clock: Clock,
    pub(super) reducers: Arc<Reducers>,
}

/// A manager over the machine's disk.
pub(super) struct Process {
    /// `None` once it is gone.
    manager: Option<JobExecutorManager>,
    pub(super) mount: Arc<Mount>,
    log: Mutex<(Subscription, Vec<Arc<Event>>)>,
}

impl Machine {
    pub(super) fn new() -> Self {
        let (script, reducers) = (Arc::new(Script::default()), Arc::new(Reducers::new()));
        for model in [MODEL, OTHER_MODEL] {
            reducers.register(Arc::new(Scripted::new(model, 1, &["global", "local"], &script)));
        }
        Self { disk: Arc::default(), script, clock: Clock::manual(), reducers }
    }

    /// A started process with one worker.
    pub(super) fn boot(&self) -> Process {
        self.boot_with(|_| {})
    }

    pub(super) fn boot_with(&self, adjust: impl FnOnce(&mut ExecutorConfig)) -> Process {
        let process = self.open_with(adjust);
        process.manager().start(None).expect("threads are left");
        process
    }

    /// A process that is not started.
    pub(super) fn open(&self) -> Process {
        self.open_with(|_| {})
    }

    pub(super) fn open_with(&self, adjust: impl FnOnce(&mut ExecutorConfig)) -> Process {
        let manager = JobExecutorManagerConfig {
            max_concurrency: Some(1),
            retry_base_delay: Some(0),
            ..JobExecutorManagerConfig::default()
        };
        let (clock, audit) = (self.clock.clone(), AuditPolicy::Never);
        let mut config = ExecutorConfig { manager, clock, audit, ..ExecutorConfig::default() };
        adjust(&mut config);
        let (mount, bus) = (self.disk.mount(), EventBus::new(1 << 12));
        let log = Mutex::new((bus.subscribe(), Vec::new()));
        let manager = JobExecutorManager::open(config, self.reducers.clone(), mount.clone(), bus);
        Process { manager: Some(manager.expect("a readable journal")), mount, log }
    }

    /// Waits until there is a batch on the disk.
    pub(super) fn wait_until_written(&self) {
        let began = Instant::now();
        while self.disk.batches().is_empty() {
            assert!(began.elapsed() < BOUND, "nothing was written");
            std::thread::yield_now();
        }
    }

    /// The state of the scope `global` of a document as a new process finds it out.
    pub(super) fn state(&self, document: &str) -> String {
        self.open().state(document)
    }

    /// How often the reducer was given an action.
    pub(super) fn applied(&self, action: &str) -> usize {
        self.script.calls().applied.iter().filter(|applied| *applied == action).count()
    }

    /// The ids of a document's actions on the disk, but for its creation.
    pub(super) fn actions(&self, document: &str) -> Vec<String> {
        let operations = self.disk.operations(&lane(document));
        operations.iter().skip(1).map(|stored| stored.operation.action.id.to_string()).collect()
    }

    #[track_caller]
    pub(super) fn status(&self, job: &JobId) -> JobStatus {
        self.disk.job(job).expect("the journal has it").status()
    }
}

impl Process {
    pub(super) fn manager(&self) -> &JobExecutorManager {
        self.manager.as_ref().expect("the process runs")
    }

    pub(super) fn submit(&self, submission: &Value) -> Result<Submitted, Refusal> {
        self.manager().submit(read(submission))
    }

    /// Submits without waiting for the journal.
    #[track_caller]
    pub(super) fn hand_in(&self, submission: &Value) -> Submitted {
        self.submit(submission).expect("an acceptable submission")
    }

    /// Hands in what is accepted, and waits for that.
    #[track_caller]
    pub(super) fn accept(&self, submission: &Value) -> Ticket {
        self.manager().enqueue(read(submission)).expect("an acceptable submission")
    }

    #[track_caller]
    pub(super) fn run(&self, submission: &Value) -> Arc<JobResult> {
        result(self.accept(submission))
    }

    #[track_caller]
    pub(super) fn succeed(&self, submission: &Value) -> Arc<JobResult> {
        let result = self.run(submission);
        assert!(result.success, "{:?}", result.error_message);
        result
    }

    /// Hands in a job that fails for good.
    #[track_caller]
    pub(super) fn fail(&self, submission: &Value) -> JobId {
        let result = self.run(submission);
        assert_eq!((result.success, result.job.status), (false, JobStatus::Failed));
        self.wait_until_idle();
        result.job.id.clone()
    }

    #[track_caller]
    pub(super) fn watch(&self, job: &JobId) -> Ticket {
        self.manager().watch(job).expect("the job is known")
    }

    pub(super) fn retry(&self, job: &JobId) -> Result<Ticket, NotADeadLetter> {
        self.manager().retry_failed(job)
    }

    pub(super) fn state(&self, document: &str) -> String {
        let head = self.manager().head(&lane(document)).expect("a readable document");
        let json = head.and_then(|head| head.scope(&"global".into()).map(|scope| scope.state.json.clone()));
        json.map_or_else(String::new, |json| String::from_utf8_lossy(&json).into_owned())
    }

    pub(super) fn wait_until_stopping(&self) {
        while self.manager().phase() != Phase::Stopping {
            std::thread::yield_now();
        }
    }

    pub(super) fn wait_until_idle(&self) {
        within(self.manager().wait_until_idle());
    }

    /// Waits until the worker has done all it can: at least so many attempts were begun, and none
    /// runs.
    pub(super) fn wait_until_started(&self, attempts: usize) {
        let started = |event: &Event| matches!(event, Event::JobStarted(_));
        self.wait_for(|events| events.iter().filter(|event| started(event)).count() >= attempts);
        while self.manager().get_status().active_jobs > 0 {
            std::thread::yield_now();
        }
    }

    /// Lets a time pass that no backoff is longer than.
    pub(super) fn advance(&self) {
        self.advance_by(LONG);
    }

    pub(super) fn advance_by(&self, time: Duration) {
        self.manager().advance_clock(time);
    }

    pub(super) fn events(&self) -> Vec<Arc<Event>> {
        let (subscription, events) = &mut *self.log.lock().expect("no test panics with the lock");
        while let Some(received) = subscription.try_recv() {
            events.push(event(received));
        }
        events.clone()
    }

    /// What was published so far, without the executor's own start and stop.
    pub(super) fn said(&self) -> Vec<String> {
        let said = self.events().iter().map(|event| say(event)).collect::<Vec<_>>();
        said.into_iter().filter(|said| !said.starts_with("executor")).collect()
    }

    pub(super) fn wait_until_said(&self, sentence: &str) {
        self.wait_for(|events| events.iter().any(|event| say(event) == sentence));
    }

    fn wait_for(&self, come: impl Fn(&[Arc<Event>]) -> bool) {
        while !come(&self.events()) {
            let (subscription, events) = &mut *self.log.lock().expect("no test panics with the lock");
            events.push(event(within(subscription.recv()).expect("the bus is there")));
        }
    }

    /// Ends like a process that is killed. A batch that is under way meets its fate.
    pub(super) fn crash(mut self, fate: Fate) {
        self.mount.kill(fate);
        drop(self.manager.take());
    }

    /// The failed jobs that the journal keeps.
    pub(super) fn dead_letters(&self) -> Vec<JobRecord> {
        let query =
            reductor_core::JobQuery { status: Some(JobStatus::Failed), document: None, after: 0, limit: usize::MAX };
        self.manager().jobs(&query).expect("a readable journal")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What failed may be that it never ends: let the failure be seen.
            std::mem::forget(self.manager.take());
        }
        self.mount.release();
    }
}

pub(super) fn read(submission: &Value) -> Submission {
    Submission::from_json(&submission.to_string()).expect("a submission")
}

fn event(received: Received) -> Arc<Event> {
    match received {
        Received::Event(event) => event,
        Received::Missed(count) => panic!("the bus is too small for this test: missed {count}"),
    }
}

/// A future that is looked at now and then.
pub(super) struct Wait<T>(Pin<Box<dyn Future<Output = T>>>);

impl<T> Wait<T> {
    pub(super) fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self(Box::pin(future))
    }

    /// What came, if it has.
    pub(super) fn look(&mut self) -> Option<T> {
        match self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[track_caller]
    pub(super) fn wait(self) -> T {
        within(self.0)
    }
}

/// What `work` does on a thread of its own.
pub(super) struct Aside<T>(std::sync::mpsc::Receiver<T>);

impl<T: Send + 'static> Aside<T> {
    pub(super) fn has_ended(&self) -> bool {
        !matches!(self.0.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty))
    }

    #[track_caller]
    pub(super) fn wait(self) -> T {
        self.0.recv_timeout(BOUND).expect("it ends")
    }
}

/// Does something that blocks, beside the test.
pub(super) fn aside<'scope, T: Send + 'static>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Aside<T> {
    let (sender, receiver) = std::sync::mpsc::channel();
    scope.spawn(move || {
        let _ = sender.send(work());
    });
    Aside(receiver)
}
