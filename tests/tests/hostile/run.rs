//! Runs hostile guests beside well-behaved documents. It alone here knows the API.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reductor_core::{
    EventBus, ExecutorConfig, JobExecutorManager, JobExecutorManagerConfig, JobResult, MemoryStore, Reducers,
    ResidentBudget, Stop, Submission, Ticket, state_hash,
};
use reductor_sandbox::{GuestLimits, Plugin, Sandbox};
use serde_json::{Value, json};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::guests;

const GUEST: &str = guests::DOCUMENT_TYPE;
const COUNTER: &str = "example/counter";
pub(crate) const UNRULY: &str = "test/unruly";
/// How long to wait for what is bound to come: so long that only a host that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Jobs that a neighbour runs at most, so that a host that never answers ends the test.
const NEIGHBOUR_JOBS_MAX: u64 = 10_000_000;

/// How much a guest may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fuel {
    /// 100 million units, burned in less than half a second.
    Scarce,
    /// The default, which no test is patient enough to see burned.
    Plenty,
}

impl Fuel {
    pub(crate) fn limits(self) -> GuestLimits {
        let limits = GuestLimits { instances_max: 64, ..GuestLimits::default() };
        match self {
            Self::Scarce => GuestLimits { fuel_per_call: 100_000_000, ..limits },
            Self::Plenty => limits,
        }
    }
}

/// A sandbox, and in it the plugin of the neighbours that share nothing with the guest.
pub(crate) struct Place {
    pub(crate) sandbox: Sandbox,
    counter: Arc<Plugin>,
}

/// The place of guests with that much fuel; the same for all of them.
pub(crate) fn place(fuel: Fuel) -> Result<Arc<Place>> {
    static PLACES: OnceLock<Mutex<HashMap<Fuel, Arc<Place>>>> = OnceLock::new();
    let mut places = PLACES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(place) = places.get(&fuel) {
        return Ok(place.clone());
    }
    let sandbox = Sandbox::new(fuel.limits())?;
    let counter = Arc::new(sandbox.admit(&std::fs::read(reductor_tests::COUNTER)?)?);
    let place = Arc::new(Place { sandbox, counter });
    places.insert(fuel, place.clone());
    Ok(place)
}

/// Offers a guest to the sandbox. The error is the whole message of a refusal.
pub(crate) fn admit(guest: &str, fuel: Fuel) -> Result<Result<Arc<Plugin>, String>> {
    admit_bytes(&guests::component(guest)?, fuel)
}

pub(crate) fn admit_bytes(component: &[u8], fuel: Fuel) -> Result<Result<Arc<Plugin>, String>> {
    Ok(place(fuel)?.sandbox.admit(component).map(Arc::new).map_err(|error| format!("{:#}", anyhow::Error::from(error))))
}

/// Whether documents stay alive between their jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Residency {
    Resident,
    Fresh,
}

/// A host that runs a guest and the neighbours' plugin, with two workers.
pub(crate) struct Host {
    manager: Option<JobExecutorManager>,
}

impl Host {
    pub(crate) fn start(guest: &Arc<Plugin>, fuel: Fuel, residency: Residency) -> Result<Self> {
        Self::start_with(std::slice::from_ref(guest), fuel, residency, None)
    }

    /// The same with several guests, each a model of its own, and the operator's timeout.
    pub(crate) fn start_with(
        guests: &[Arc<Plugin>],
        fuel: Fuel,
        residency: Residency,
        timeout: Option<Duration>,
    ) -> Result<Self> {
        let reducers = Arc::new(Reducers::new());
        reducers.register(place(fuel)?.counter.clone());
        for guest in guests {
            reducers.register(guest.clone());
        }
        let manager = JobExecutorManagerConfig {
            max_concurrency: Some(2),
            job_timeout: timeout.map(|timeout| timeout.as_millis() as u64),
            retry_base_delay: Some(1),
            retry_max_delay: Some(1),
        };
        let mut config = ExecutorConfig { manager, ..ExecutorConfig::default() };
        if residency == Residency::Fresh {
            config.residents = ResidentBudget { documents_max: 0, bytes_max: 0 };
        }
        let manager = JobExecutorManager::new(config, reducers, Arc::new(MemoryStore::new()), EventBus::new(16));
        manager.start(None)?;
        Ok(Self { manager: Some(manager) })
    }

    /// Runs one action on a document of the guest.
    pub(crate) fn run(&self, document: &str, action: &str, fields: Value) -> Result<Arc<JobResult>> {
        self.run_job(GUEST, document, json!([{"type": action, "input": null}]), fields)
    }

    pub(crate) fn run_job(
        &self,
        document_type: &str,
        document: &str,
        actions: Value,
        fields: Value,
    ) -> Result<Arc<JobResult>> {
        done(self.submit(document_type, document, actions, fields)?)
    }

    /// Hands in a job and does not wait for it.
    pub(crate) fn submit(&self, document_type: &str, document: &str, actions: Value, fields: Value) -> Result<Ticket> {
        let mut job = json!({"documentId": document, "documentType": document_type, "actions": actions});
        let (Value::Object(job_fields), Value::Object(fields)) = (&mut job, fields) else {
            bail!("the fields of a job are an object");
        };
        job_fields.extend(fields);
        let manager = self.manager.as_ref().context("the host was stopped")?;
        Ok(manager.enqueue(Submission::from_json(&job.to_string())?)?)
    }

    /// Runs one action of the guest that must be applied, and leave the document in `state`.
    pub(crate) fn applied(&self, document: &str, action: &str, state: &str) -> Result<()> {
        ensure_applied(&*self.run(document, action, json!({}))?, state)
    }

    /// Stops the host and waits until its threads are gone.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let manager = self.manager.take().context("the host was stopped")?;
        let (stopped, wait) = channel();
        let thread = std::thread::spawn(move || {
            manager.stop_blocking(Stop::Interrupt);
            drop(manager);
            // The test may have given up.
            let _ = stopped.send(());
        });
        wait.recv_timeout(PATIENCE).context("the host does not stop")?;
        thread.join().map_err(|_| anyhow::anyhow!("stopping the host panicked"))
    }
}

/// Fails unless the job was applied and its last operation has the hash of `state`.
pub(crate) fn ensure_applied(result: &JobResult, state: &str) -> Result<()> {
    ensure!(result.success, "it failed: {}", result.error_message.as_deref().unwrap_or_default());
    let operation = result.operations.last().context("an applied job has operations")?;
    ensure!(operation.hash == state_hash(state.as_bytes()), "its state does not hash as {state} does");
    Ok(())
}

/// A well-behaved document, and what it does over and over.
pub(crate) struct Neighbour {
    document_type: &'static str,
    document: &'static str,
    actions: Value,
    /// Its state after so many jobs.
    state: fn(u64) -> String,
}

impl Neighbour {
    /// A document of the hostile guest's own plugin.
    pub(crate) fn of_the_guest() -> Self {
        let actions = json!([{"type": "GOOD", "input": null}]);
        Self { document_type: GUEST, document: "neighbour of the guest", actions, state: |number| number.to_string() }
    }

    pub(crate) fn counter(document: &'static str) -> Self {
        let actions = json!([{"type": "INCREMENT", "input": {"by": 1}}]);
        Self { document_type: COUNTER, document, actions, state: |number| format!("{{\"value\":{number}}}") }
    }
}

/// What neighbours did, all together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lived {
    pub(crate) jobs: u64,
    /// The longest that one of their jobs took.
    pub(crate) longest: Duration,
}

/// Well-behaved documents that run one job after the other.
pub(crate) struct Neighbours<'scope> {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::ScopedJoinHandle<'scope, Result<Lived>>>,
}

impl<'scope> Neighbours<'scope> {
    /// Starts them, and returns once each has completed a job.
    pub(crate) fn start<'env>(
        scope: &'scope std::thread::Scope<'scope, 'env>,
        host: &'env Host,
        neighbours: Vec<Neighbour>,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (began, first) = channel();
        let count = neighbours.len();
        let threads = neighbours.into_iter().map(|neighbour| {
            let (stop, mut began) = (stop.clone(), Some(began.clone()));
            scope.spawn(move || live(host, &neighbour, &stop, &mut began))
        });
        let neighbours = Self { threads: threads.collect(), stop: stop.clone() };
        drop(began);
        for _ in 0..count {
            if first.recv_timeout(PATIENCE).is_err() {
                neighbours.stop()?;
                bail!("a neighbour's first job does not end");
            }
        }
        Ok(neighbours)
    }

    /// Lets each complete one more job, and says what they did together.
    pub(crate) fn stop(self) -> Result<Lived> {
        self.stop.store(true, Ordering::Relaxed);
        let mut lived = Lived::default();
        for thread in self.threads {
            let one = thread.join().map_err(|_| anyhow::anyhow!("a neighbour panicked"))?;
            let one = one.context("a neighbour was harmed")?;
            lived.jobs += one.jobs;
            lived.longest = lived.longest.max(one.longest);
        }
        Ok(lived)
    }
}

fn live(host: &Host, neighbour: &Neighbour, stop: &AtomicBool, began: &mut Option<Sender<()>>) -> Result<Lived> {
    let Neighbour { document_type, document, actions, state } = neighbour;
    let mut longest = Duration::ZERO;
    for number in 1..=NEIGHBOUR_JOBS_MAX {
        let last = stop.load(Ordering::Relaxed);
        let submitted = Instant::now();
        let result = host.run_job(document_type, document, actions.clone(), json!({}))?;
        longest = longest.max(submitted.elapsed());
        ensure_applied(&result, &state(number)).with_context(|| format!("job {number} of {document}"))?;
        if let Some(began) = began.take() {
            // The test may have given up.
            let _ = began.send(());
        }
        if last {
            return Ok(Lived { jobs: number, longest });
        }
    }
    bail!("nobody stopped {document}")
}

/// Keeps what guests write to the log from now on, and gives out what they wrote so far.
pub(crate) fn take_log() -> String {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        tracing_subscriber::registry().with(tracing_subscriber::EnvFilter::new("reductor=trace")).with(Keep).init();
    });
    std::mem::take(&mut *LOG.lock().unwrap_or_else(PoisonError::into_inner))
}

static LOG: Mutex<String> = Mutex::new(String::new());

/// Keeps each field of each event as it is, before any writer could make it harmless.
struct Keep;

impl<S: tracing::Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            // Writing to a string cannot fail.
            let _ = write!(log, "{}={value:?} ", field.name());
        });
        log.push('\n');
    }
}

pub(crate) fn done(ticket: Ticket) -> Result<Arc<JobResult>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let waited = runtime.block_on(async { tokio::time::timeout(PATIENCE, ticket.wait()).await });
    waited.with_context(|| format!("the result of a job did not come within {PATIENCE:?}"))
}
