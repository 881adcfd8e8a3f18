//! The one place that knows how to start, feed and watch an executor.

use std::future::Future;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use reductor_core::{
    AuditPolicy, Branch, Clock, DocumentId, Event, EventBus, ExecutorConfig, Job, JobErrorCode, JobExecutorManager,
    JobExecutorManagerConfig, JobResult, LaneKey, OperationStore as _, Received, Reducers, Refusal, Scope, Stop,
    StoredOperation, Submission, Subscription, Ticket,
};
use serde_json::{Value, json};

use super::scripted::{Calls, Script, Scripted};
use super::store::LeveredStore;

/// How long anything may take; only a bug takes as long.
pub(crate) const BOUND: Duration = Duration::from_secs(20);
/// The model of most tests.
pub(crate) const MODEL: &str = "test/list";
/// Another one, which takes the same actions.
pub(crate) const OTHER_MODEL: &str = "test/other";

/// An executor with scripted reducers, two workers, a manual clock and no backoff.
pub(crate) struct Host {
    /// `None` once it was stopped for good.
    manager: Option<JobExecutorManager>,
    pub(crate) script: Arc<Script>,
    pub(crate) store: Arc<LeveredStore>,
    pub(crate) reducers: Arc<Reducers>,
    log: Mutex<Log>,
}

/// What was published so far, as far as anybody looked.
struct Log {
    subscription: Subscription,
    events: Vec<Arc<Event>>,
}

impl Host {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// With one worker, which does one thing after the other.
    pub(crate) fn with_one_worker() -> Self {
        Self::with(|config| config.manager.max_concurrency = Some(1))
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut ExecutorConfig)) -> Self {
        let host = Self::not_started(adjust);
        host.manager().start(None).expect("threads are left");
        host
    }

    /// With every job audited.
    pub(crate) fn auditing() -> Self {
        Self::with(|config| config.audit = AuditPolicy::Every)
    }

    /// The same before its first start.
    pub(crate) fn not_started(adjust: impl FnOnce(&mut ExecutorConfig)) -> Self {
        let manager = JobExecutorManagerConfig {
            max_concurrency: Some(2),
            retry_base_delay: Some(0),
            ..JobExecutorManagerConfig::default()
        };
        // What a reducer is asked must not depend on chance.
        let mut config =
            ExecutorConfig { manager, clock: Clock::manual(), audit: AuditPolicy::Never, ..ExecutorConfig::default() };
        adjust(&mut config);
        let (script, store) = (Arc::new(Script::default()), Arc::new(LeveredStore::default()));
        let reducers = Arc::new(Reducers::new());
        for model in [MODEL, OTHER_MODEL] {
            reducers.register(Arc::new(Scripted::new(model, 1, &["global", "local"], &script)));
        }
        let bus = EventBus::new(1 << 16);
        let log = Mutex::new(Log { subscription: bus.subscribe(), events: Vec::new() });
        let manager = JobExecutorManager::new(config, reducers.clone(), store.clone(), bus);
        Self { manager: Some(manager), script, store, reducers, log }
    }

    pub(crate) fn manager(&self) -> &JobExecutorManager {
        self.manager.as_ref().expect("the host runs")
    }

    /// Hands in a submission, given as JSON.
    pub(crate) fn submit(&self, submission: &Value) -> Result<Ticket, Refusal> {
        self.manager().enqueue(Submission::from_json(&submission.to_string())?)
    }

    /// Hands in a submission that is accepted.
    #[track_caller]
    pub(crate) fn accept(&self, submission: &Value) -> Ticket {
        self.submit(submission).expect("an acceptable submission")
    }

    /// Hands in a submission and waits for its result.
    #[track_caller]
    pub(crate) fn run(&self, submission: &Value) -> Arc<JobResult> {
        result(self.accept(submission))
    }

    /// The same for one that succeeds.
    #[track_caller]
    pub(crate) fn succeed(&self, submission: &Value) -> Arc<JobResult> {
        let result = self.run(submission);
        assert!(result.success, "{:?}", result.error_message);
        result
    }

    /// The same for one that fails with this code.
    #[track_caller]
    pub(crate) fn fail(&self, submission: &Value, code: JobErrorCode) -> Arc<JobResult> {
        let result = self.run(submission);
        assert_eq!(result.error_code, Some(code), "{:?}", result.error_message);
        result
    }

    /// Executes a job that was made elsewhere.
    pub(crate) fn execute(&self, job: Job) -> Arc<JobResult> {
        within(self.manager().execute(job, None, None)).expect("an acceptable job")
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.manager().advance_clock(Duration::from_millis(ms));
    }

    pub(crate) fn calls(&self) -> Calls {
        self.script.calls()
    }

    /// The state of the scope `global` as the log has it; empty if there is no document.
    pub(crate) fn state(&self, document: &str) -> String {
        self.state_of(document, Scope::GLOBAL)
    }

    pub(crate) fn state_of(&self, document: &str, scope: &str) -> String {
        let head = self.store.snapshot(&lane(document), u64::MAX).expect("a readable head");
        let json = head.and_then(|head| head.scope(&Scope::from(scope)).map(|scope| scope.state.json.clone()));
        json.map_or_else(String::new, |json| String::from_utf8_lossy(&json).into_owned())
    }

    /// Every operation of a document.
    pub(crate) fn operations(&self, document: &str) -> Vec<StoredOperation> {
        self.store.operations(&lane(document), 0, usize::MAX).expect("readable operations")
    }

    /// Everything that was published so far.
    pub(crate) fn events(&self) -> Vec<Arc<Event>> {
        let mut log = self.log.lock().expect("no test panics with the lock");
        while let Some(received) = log.subscription.try_recv() {
            log.events.push(event(received));
        }
        log.events.clone()
    }

    /// The same as sentences; see [`say`].
    pub(crate) fn said(&self) -> Vec<String> {
        self.events().iter().map(|event| say(event)).collect()
    }

    /// Waits until an event says so.
    pub(crate) fn wait_until_said(&self, sentence: &str) -> Arc<Event> {
        self.wait_for(|event| say(event) == sentence)
    }

    /// Waits for an event, which may have come already.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Event) -> bool) -> Arc<Event> {
        if let Some(event) = self.events().into_iter().find(|event| wanted(event)) {
            return event;
        }
        let mut log = self.log.lock().expect("no test panics with the lock");
        loop {
            let event = event(within(log.subscription.recv()).expect("the bus is there"));
            log.events.push(event.clone());
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Begins to stop, on a thread of its own.
    pub(crate) fn begin_to_stop(&mut self, how: Stop) -> Stopping {
        let manager = self.manager.take().expect("the host runs");
        let (sender, stopped) = mpsc::channel();
        std::thread::spawn(move || {
            manager.stop_blocking(how);
            let _ = sender.send(());
        });
        Stopping(stopped)
    }

    /// Drops the manager, and leaves what it worked with.
    pub(crate) fn drop_manager(&mut self) {
        drop(self.manager.take().expect("the host runs"));
    }

    /// Stops, and says what was published from start to end.
    pub(crate) fn stop(&mut self, how: Stop) -> Vec<String> {
        self.begin_to_stop(how).wait();
        self.said()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What failed may be that it never ends: let the failure be seen.
            std::mem::forget(self.manager.take());
        }
    }
}

/// A host that is on its way to its end.
pub(crate) struct Stopping(mpsc::Receiver<()>);

impl Stopping {
    pub(crate) fn wait(self) {
        self.0.recv_timeout(BOUND).expect("the host stops");
    }
}

/// Waits for the result of a job.
#[track_caller]
pub(crate) fn result(ticket: Ticket) -> Arc<JobResult> {
    within(ticket.wait())
}

/// Waits for the results of many jobs.
#[track_caller]
pub(crate) fn results(tickets: impl IntoIterator<Item = Ticket>) -> Vec<Arc<JobResult>> {
    within(async {
        let mut results = Vec::new();
        for ticket in tickets {
            results.push(ticket.wait().await);
        }
        results
    })
}

/// Waits for a future, but not for ever.
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(BOUND, future).await }).expect("it would have come long ago")
}

fn event(received: Received) -> Arc<Event> {
    match received {
        Received::Event(event) => event,
        Received::Missed(count) => panic!("the bus is too small for this test: missed {count}"),
    }
}

/// What an event says, with the id of its job's first action for the job.
pub(crate) fn say(event: &Event) -> String {
    let name = |job: &Job| job.actions[0].id.clone();
    match event {
        Event::JobAvailable(event) => format!("available in {}", event.document_id),
        Event::JobStarted(event) => format!("started {}", name(&event.job)),
        Event::JobCompleted(event) => format!("completed {}", name(&event.job)),
        Event::JobRetry(event) => format!("retry {} of {}", event.retry_count, name(&event.job)),
        Event::JobFailed(event) if event.will_retry => {
            format!("failed {}, retry {} follows", name(&event.job), event.retry_count)
        }
        Event::JobFailed(event) => format!("failed {} after {} retries", name(&event.job), event.retry_count),
        Event::ExecutorStarted(_) => "executor started".to_owned(),
        Event::ExecutorStopped(event) if event.graceful => "executor stopped gracefully".to_owned(),
        Event::ExecutorStopped(_) => "executor stopped at once".to_owned(),
    }
}

pub(crate) fn lane(document: &str) -> LaneKey {
    LaneKey { document: DocumentId::from(document), branch: Branch::from(Branch::MAIN) }
}

/// A submission that creates the document if need be.
pub(crate) fn job(document: &str, actions: &[Value]) -> Value {
    job_of(MODEL, document, actions)
}

/// The same with another model.
pub(crate) fn job_of(model: &str, document: &str, actions: &[Value]) -> Value {
    json!({ "documentId": document, "documentType": model, "actions": actions })
}

/// A submission for a document that exists.
pub(crate) fn untyped_job(document: &str, actions: &[Value]) -> Value {
    json!({ "documentId": document, "actions": actions })
}

/// Adds `text`; it is also the action's id.
pub(crate) fn add(text: &str) -> Value {
    json!({ "id": text, "type": "ADD", "input": text })
}

/// Adds `text` when the script releases it.
pub(crate) fn hold(text: &str) -> Value {
    json!({ "id": text, "type": "HOLD", "input": text })
}

/// `value` with one field set.
pub(crate) fn with(mut value: Value, field: &str, content: Value) -> Value {
    value[field] = content;
    value
}
