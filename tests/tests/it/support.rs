//! What the tests have in common: components, hosts, jobs, and waits that end.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reductor_core::{
    Action, ActionId, ActionType, AuditPolicy, AuditStats, Branch, DocumentId, Event, EventBus, ExecuteError,
    ExecutorConfig, Head, Job, JobErrorCode, JobExecutorManager, JobExecutorManagerConfig, JobId, JobMetadata,
    JobResult, JobStatus, Json, LaneKey, Limits, MemoryStore, NativeReducer, OperationStore as _, Quarantine, Received,
    Reducer, Reducers, Refusal, ResidentBudget, Scope, Stop, StoredOperation, Submission, Subscription, Ticket,
    TimestampText,
};
use reductor_sandbox::{ArtefactCache, GuestLimits, Plugin, Sandbox, SandboxBuilder};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) const COUNTER: &str = "example/counter";
pub(crate) const TEXT: &str = "example/text";
pub(crate) const TODO_LIST: &str = "example/todo-list";
pub(crate) const AMBIENT: &str = "test/ambient";
pub(crate) const UNRULY: &str = "test/unruly";

/// The time of an action where it must not vary.
pub(crate) const NOON: &str = "2026-03-01T12:00:00.000Z";

/// How long to wait for what is bound to come: so long that only a host that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Events that a subscriber may be behind; no test that looks at events makes as many.
const EVENTS_MAX: usize = 16_384;

/// Reads a component that the build script made: `COUNTER`, `TEXT`, `TODO_LIST`, `AMBIENT`
/// or `UNRULY`.
pub(crate) fn component(document_type: &str) -> Vec<u8> {
    let path = match document_type {
        COUNTER => reductor_tests::COUNTER,
        TEXT => reductor_tests::TEXT,
        TODO_LIST => reductor_tests::TODO_LIST,
        AMBIENT => reductor_tests::AMBIENT,
        UNRULY => reductor_tests::UNRULY,
        other => panic!("no guest is a {other}"),
    };
    std::fs::read(path).expect("the build script made the component")
}

/// A sandbox with the default limits; the same for all tests.
pub(crate) fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| Sandbox::builder().artefact_cache(cache()).build().expect("this machine runs guests"))
}

/// What guests were compiled to, by this run of the tests or an earlier one.
fn cache() -> ArtefactCache {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("artefacts");
    ArtefactCache::open(directory, ArtefactCache::BYTES_MAX_DEFAULT).expect("cargo's folder is ours")
}

/// A sandbox that a test makes for itself, with room for hardly more than the canary.
pub(crate) fn small_sandbox() -> SandboxBuilder {
    Sandbox::builder().guest_limits(GuestLimits { instances_max: 4, ..GuestLimits::default() })
}

/// Every guest, in [`sandbox`].
fn all_plugins() -> Vec<Arc<dyn Reducer>> {
    static PLUGINS: OnceLock<Vec<Arc<Plugin>>> = OnceLock::new();
    let admit = |guest| Arc::new(sandbox().admit(&component(guest)).expect("our own guests are let in"));
    let plugins = PLUGINS.get_or_init(|| [COUNTER, TEXT, TODO_LIST, AMBIENT, UNRULY].map(admit).into());
    plugins.iter().map(|plugin| Arc::clone(plugin) as Arc<dyn Reducer>).collect()
}

/// The JavaScript guest, in [`sandbox`]. To compile it takes seconds, so all tests share it.
pub(crate) fn javascript() -> Result<Arc<Plugin>> {
    static PLUGIN: OnceLock<Result<Arc<Plugin>, String>> = OnceLock::new();
    let admit = || {
        let path = reductor_tests::TODO_LIST_JS.map_err(str::to_owned)?;
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        sandbox().admit(&bytes).map(Arc::new).map_err(|error| error.to_string())
    };
    PLUGIN.get_or_init(admit).clone().map_err(anyhow::Error::msg)
}

/// What the unruly guest may use where it is kept short.
pub(crate) fn scarce() -> GuestLimits {
    GuestLimits { fuel_per_call: 20_000_000, output_bytes_max: 256 << 10, instances_max: 64, ..GuestLimits::default() }
}

/// The unruly guest within [`scarce`] limits.
fn scarce_plugin() -> Arc<dyn Reducer> {
    static PLUGIN: OnceLock<Arc<Plugin>> = OnceLock::new();
    let admit = || {
        let sandbox = Sandbox::builder().guest_limits(scarce()).artefact_cache(cache());
        let sandbox = sandbox.build().expect("this machine runs guests");
        Arc::new(sandbox.admit(&component(UNRULY)).expect("that is enough to be let in"))
    };
    PLUGIN.get_or_init(admit).clone()
}

/// A host about to start.
pub(crate) struct Setup {
    config: ExecutorConfig,
    reducers: Vec<Arc<dyn Reducer>>,
}

impl Setup {
    /// Every guest in its component, two workers, next to no delay before a retry, and every job
    /// audited.
    pub(crate) fn new() -> Self {
        let mut setup = Self { config: ExecutorConfig::default(), reducers: all_plugins() };
        setup.config.audit = AuditPolicy::Every;
        setup.config.manager = JobExecutorManagerConfig {
            max_concurrency: Some(2),
            job_timeout: None,
            retry_base_delay: Some(1),
            retry_max_delay: Some(1),
        };
        setup
    }

    /// The examples compiled into the host, and no guest.
    pub(crate) fn native(mut self) -> Self {
        self.reducers = vec![
            Arc::new(NativeReducer::<counter::Counter>::new()),
            Arc::new(NativeReducer::<text::Text>::new()),
            Arc::new(NativeReducer::<todo_list::TodoList>::new()),
        ];
        self
    }

    /// The to-do list in JavaScript, and no other guest.
    pub(crate) fn javascript(mut self) -> Result<Self> {
        self.reducers = vec![javascript()?];
        Ok(self)
    }

    /// The unruly guest alone, within [`scarce`] limits.
    pub(crate) fn scarce(mut self) -> Self {
        self.reducers = vec![scarce_plugin()];
        self
    }

    /// This reducer, and no other guest.
    pub(crate) fn only(mut self, reducer: Arc<dyn Reducer>) -> Self {
        self.reducers = vec![reducer];
        self
    }

    /// The unruly guest alone, with five log lines a second.
    pub(crate) fn quiet(self) -> Result<Self> {
        let limits = GuestLimits { log_lines_per_second_max: 5, instances_max: 64, ..GuestLimits::default() };
        let sandbox = Sandbox::builder().guest_limits(limits).artefact_cache(cache()).build()?;
        Ok(self.only(Arc::new(sandbox.admit(&component(UNRULY))?)))
    }

    pub(crate) fn workers(mut self, count: usize) -> Self {
        self.config.manager.max_concurrency = Some(count);
        self
    }

    /// A fresh instance for every turn of a lane.
    pub(crate) fn no_residents(mut self) -> Self {
        self.config.residents = ResidentBudget { documents_max: 0, bytes_max: 0 };
        self
    }

    /// As a host has it that is not told otherwise.
    pub(crate) fn default_audit(mut self) -> Self {
        self.config.audit = AuditPolicy::default();
        self
    }

    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// A clock that the test moves, and retries within `retry_delay` of it.
    pub(crate) fn manual_clock(mut self, retry_delay: Duration) -> Self {
        self.config.clock = reductor_core::Clock::manual();
        let ms = u64::try_from(retry_delay.as_millis()).expect("tests are not that patient");
        (self.config.manager.retry_base_delay, self.config.manager.retry_max_delay) = (Some(ms), Some(ms));
        self
    }

    pub(crate) fn start(self) -> Result<Host> {
        let reducers = Arc::new(Reducers::new());
        for reducer in self.reducers {
            reducers.register(reducer);
        }
        let (store, bus) = (Arc::new(MemoryStore::new()), EventBus::new(EVENTS_MAX));
        let events = bus.subscribe();
        let manager = JobExecutorManager::new(self.config, reducers.clone(), store.clone(), bus);
        manager.start(None)?;
        Ok(Host { manager: Some(manager), reducers, store, events, seen: Vec::new() })
    }
}

/// A host that runs.
pub(crate) struct Host {
    manager: Option<JobExecutorManager>,
    reducers: Arc<Reducers>,
    store: Arc<MemoryStore>,
    events: Subscription,
    seen: Vec<Arc<Event>>,
}

/// A job that was not applied, and what it says of that.
pub(crate) struct Failure {
    pub(crate) code: JobErrorCode,
    pub(crate) message: String,
    pub(crate) metadata: JobMetadata,
}

impl Host {
    /// As [`Setup::new`] describes it.
    pub(crate) fn start() -> Result<Self> {
        Setup::new().start()
    }

    fn manager(&self) -> &JobExecutorManager {
        self.manager.as_ref().expect("the test has not stopped it")
    }

    /// Lets another revision of a model serve it.
    pub(crate) fn register(&self, reducer: Arc<dyn Reducer>) {
        self.reducers.register(reducer);
    }

    /// Hands in a job.
    pub(crate) fn submit(&self, job: JobText) -> Result<Ticket> {
        Ok(self.manager().enqueue(job.submission()?)?)
    }

    /// Hands in a job that must be refused at the door.
    pub(crate) fn refused(&self, job: JobText) -> Result<Refusal> {
        match job.submission().and_then(|submission| self.manager().enqueue(submission)) {
            Ok(_) => bail!("it was accepted"),
            Err(refusal) => Ok(refusal),
        }
    }

    /// Runs a job, whatever comes of it.
    pub(crate) fn run(&self, job: JobText) -> Result<Arc<JobResult>> {
        done(self.submit(job)?)
    }

    /// Runs a job that must be applied.
    pub(crate) fn applied(&self, job: JobText) -> Result<Arc<JobResult>> {
        let result = self.run(job)?;
        ensure!(result.success, "the job failed: {}", result.error_message.as_deref().unwrap_or_default());
        Ok(result)
    }

    /// Runs a job that must fail and leave no trace.
    pub(crate) fn failed(&self, job: JobText) -> Result<Failure> {
        let lane = job.submission()?.lane();
        let before = (self.head_of(&lane)?, self.operations_of(&lane)?);
        let result = self.run(job)?;
        let failure = failure(&result)?;
        ensure!(before == (self.head_of(&lane)?, self.operations_of(&lane)?), "a failed job left a trace");
        Ok(failure)
    }

    /// Executes a job that somebody else made.
    pub(crate) fn execute(
        &self,
        job: Job,
        signal: Option<CancellationToken>,
    ) -> Result<Result<Arc<JobResult>, ExecuteError>> {
        within("the end of the wait", self.manager().execute(job, None, signal))
    }

    /// The state of a document's scope `global`.
    pub(crate) fn state(&self, document: &str) -> Result<Value> {
        let head = self.head(document)?.context("the document does not exist")?;
        let scope = head.scope(&Scope::from(Scope::GLOBAL)).context("the document has no scope `global`")?;
        Ok(serde_json::from_slice(&scope.state.json)?)
    }

    /// Where a document's main branch stands.
    pub(crate) fn head(&self, document: &str) -> Result<Option<Head>> {
        self.head_of(&lane(document))
    }

    pub(crate) fn head_of(&self, lane: &LaneKey) -> Result<Option<Head>> {
        Ok(self.store.snapshot(lane, u64::MAX)?.map(|head| Head::clone(&head)))
    }

    /// The operations of a document's main branch.
    pub(crate) fn operations(&self, document: &str) -> Result<Vec<StoredOperation>> {
        self.operations_of(&lane(document))
    }

    pub(crate) fn operations_of(&self, lane: &LaneKey) -> Result<Vec<StoredOperation>> {
        Ok(self.store.operations(lane, 0, usize::MAX)?)
    }

    /// What audits found so far.
    pub(crate) fn audits(&self) -> AuditStats {
        self.manager().audit_stats()
    }

    /// The plugin revisions that may not run.
    pub(crate) fn quarantined(&self) -> Vec<Quarantine> {
        self.manager().quarantined()
    }

    /// Lets revisions with this digest run again.
    pub(crate) fn release(&self, digest: &str) -> Vec<Quarantine> {
        self.manager().release(digest)
    }

    /// Waits until no job is left that goes on.
    pub(crate) fn idle(&self) -> Result<()> {
        within("an idle host", self.manager().wait_until_idle())
    }

    /// How many documents are alive without having work.
    pub(crate) fn idle_documents(&self) -> usize {
        self.manager().residents().0
    }

    pub(crate) fn advance_clock(&self, by: Duration) {
        self.manager().advance_clock(by);
    }

    /// Stops the host and waits until it has.
    pub(crate) fn stop(&mut self, how: Stop) -> Result<()> {
        let manager = self.manager.take().context("it was stopped before")?;
        let (stopped, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            manager.stop_blocking(how);
            // The test may have given up.
            let _ = stopped.send(());
        });
        wait.recv_timeout(PATIENCE).context("the host does not stop")
    }

    /// Every event so far. A job's are there once its result is.
    pub(crate) fn events(&mut self) -> Result<&[Arc<Event>]> {
        while let Some(received) = self.events.try_recv() {
            self.take(received)?;
        }
        Ok(&self.seen)
    }

    /// Waits for an event, unless it came before.
    pub(crate) fn event(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<Arc<Event>> {
        if let Some(event) = self.events()?.iter().find(|event| wanted(event)) {
            return Ok(event.clone());
        }
        loop {
            let received = within(what, self.events.recv())?.context("the host is gone")?;
            let event = self.take(received)?;
            if wanted(&event) {
                return Ok(event);
            }
        }
    }

    fn take(&mut self, received: Received) -> Result<Arc<Event>> {
        let Received::Event(event) = received else { bail!("events were lost") };
        self.seen.push(event.clone());
        Ok(event)
    }

    /// Waits until a job on `document` has started.
    pub(crate) fn started(&mut self, document: &str) -> Result<()> {
        let started =
            |event: &Event| matches!(event, Event::JobStarted(event) if event.job.document_id.as_str() == document);
        self.event("the start of a job", started).map(drop)
    }

    /// What happened to jobs so far, a line each, such as `a SPIN started`.
    pub(crate) fn story(&mut self) -> Result<Vec<String>> {
        Ok(self.events()?.iter().filter_map(|event| line(event)).collect())
    }
}

impl Drop for Host {
    /// Stops the host, so that one that does not stop fails its test instead of hanging it.
    fn drop(&mut self) {
        if self.manager.is_some() {
            let stopped = self.stop(Stop::Interrupt);
            assert!(stopped.is_ok() || std::thread::panicking(), "the host does not stop");
        }
    }
}

/// One line of a story: the document, the type of the job's first action, what happened.
fn line(event: &Event) -> Option<String> {
    let (job, what) = match event {
        Event::JobStarted(event) => (&event.job, "started".to_owned()),
        Event::JobCompleted(event) => (&event.job, "completed".to_owned()),
        Event::JobRetry(event) => (&event.job, format!("begins retry {}", event.retry_count)),
        Event::JobFailed(event) if event.will_retry => {
            (&event.job, format!("failed, retry {} follows", event.retry_count))
        }
        Event::JobFailed(event) => (&event.job, format!("failed for good after {} retries", event.retry_count)),
        _ => return None,
    };
    Some(format!("{} {} {what}", job.document_id, job.actions[0].action_type))
}

/// A job as a client spells it.
#[derive(Clone)]
pub(crate) struct JobText {
    json: Value,
    raw: Option<String>,
}

/// Stands in a job for the text that [`JobText::raw`] puts there.
pub(crate) const RAW: &str = "@raw";

/// A job on a document that is created if it does not exist; no actions yet.
pub(crate) fn job(document_type: &str, document: &str) -> JobText {
    JobText::of(json!({"documentId": document, "documentType": document_type, "actions": []}))
}

/// A job that adds a note to an unruly document.
pub(crate) fn note(document: &str, text: &str) -> JobText {
    job(UNRULY, document).action("NOTE", json!({"text": text}))
}

/// A job that never ends by itself.
pub(crate) fn spin(document: &str) -> JobText {
    job(UNRULY, document).action("SPIN", Value::Null)
}

impl JobText {
    /// Any text that claims to be a job.
    pub(crate) fn of(text: Value) -> Self {
        Self { json: text, raw: None }
    }

    /// One more action, with an id and a time of the host's making.
    pub(crate) fn action(self, action_type: &str, input: Value) -> Self {
        self.draft(json!({"type": action_type, "input": input}))
    }

    /// One more action that is the same whenever it is made.
    pub(crate) fn fixed(self, id: &str, action_type: &str, input: Value) -> Self {
        self.draft(json!({"id": id, "type": action_type, "input": input, "timestampUtcMs": NOON}))
    }

    /// One more action, as JSON.
    pub(crate) fn draft(mut self, action: Value) -> Self {
        self.json["actions"].as_array_mut().expect("the actions are a list").push(action);
        self
    }

    /// The same job with another value of a field.
    pub(crate) fn with(mut self, field: &str, value: Value) -> Self {
        self.json[field] = value;
        self
    }

    /// The same job with this text, which need not be good JSON, in place of [`RAW`].
    pub(crate) fn raw(mut self, text: &str) -> Self {
        self.raw = Some(text.to_owned());
        self
    }

    fn submission(&self) -> Result<Submission, Refusal> {
        let mut text = self.json.to_string();
        if let Some(raw) = &self.raw {
            text = text.replace(&format!("\"{RAW}\""), raw);
        }
        Submission::from_json(&text)
    }
}

/// A job as a program makes it that uses the host as a library.
pub(crate) fn made_job(document: &str, action_type: &str, input: Value) -> Result<Job> {
    let action = Action {
        id: ActionId::generate(),
        action_type: ActionType::from(action_type),
        timestamp_utc_ms: TimestampText::parse(NOON)?,
        input: Json::from_value(&input),
        scope: Scope::from(Scope::GLOBAL),
        context: None,
    };
    Ok(Job {
        id: JobId::generate(),
        document_id: DocumentId::from(document),
        scopes: Arc::new([Scope::from(Scope::GLOBAL)]),
        branch: Branch::from(Branch::MAIN),
        actions: Arc::new([Arc::new(action)]),
        resulting_hash: None,
        status: JobStatus::Pending,
    })
}

/// The main branch of a document.
pub(crate) fn lane(document: &str) -> LaneKey {
    LaneKey { document: DocumentId::from(document), branch: Branch::from(Branch::MAIN) }
}

/// Waits for a job's result.
pub(crate) fn done(ticket: Ticket) -> Result<Arc<JobResult>> {
    within("the result of a job", ticket.wait())
}

/// What a result says that is none of a success.
pub(crate) fn failure(result: &JobResult) -> Result<Failure> {
    ensure!(!result.success, "the job was applied");
    ensure!(result.operations.is_empty(), "a failed job has operations");
    Ok(Failure {
        code: result.error_code.context("a failed job has no error code")?,
        message: result.error_message.clone().context("a failed job has no error message")?,
        metadata: result.metadata.clone().context("a failed job has no metadata")?,
    })
}

/// Waits for what is bound to come, and fails where it would hang.
fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let waited = runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await });
    waited.with_context(|| format!("{what} did not come within {PATIENCE:?}"))
}

/// A file of `tests/data`.
pub(crate) fn data(file: &str) -> Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(file);
    std::fs::read(&path).with_context(|| path.display().to_string())
}

/// Keeps the log lines of guests from now on; [`guest_log`] has them.
pub(crate) fn keep_guest_logs() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        tracing_subscriber::fmt()
            .with_env_filter("reductor::guest=info")
            .with_ansi(false)
            .with_writer(|| GuestLog)
            .init();
    });
}

/// The log lines that the document's guest wrote, and those about them.
pub(crate) fn guest_log(document: &str) -> Vec<String> {
    let lane = format!("lane={document} (main)");
    let lines = LOG_LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| line.contains(&lane)).cloned().collect()
}

static LOG_LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct GuestLog;

impl Write for GuestLog {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        LOG_LINES.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
