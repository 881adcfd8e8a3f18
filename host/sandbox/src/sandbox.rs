//! The engine that all guests share, and the clock that interrupts them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use reductor_core::Allowance;
use wasmparser::WasmFeatures;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::admit::{Maxima, StaticLimits};
use crate::compile::{ArtefactCache, CompileWorker, Compiler, Turns};
use crate::failure::BACKTRACE_FRAMES_MAX;
use crate::host::{self, HostState};
use crate::limits::GuestLimits;

/// How often a running guest is asked whether it should stop.
pub const EPOCH_TICK: Duration = Duration::from_millis(5);

/// How long a component may take when it is tried; one with an interpreter needs some milliseconds.
const CANARY_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a component waits for its turn: as long as two compilations may take.
const ADMISSION_WAIT_MAX: Duration = Duration::from_secs(120);
/// Components that are linked and tried at once. Each may use what a guest may use.
const TRIED_AT_ONCE_MAX: usize = 2;
/// Bytes that the engine's own structures of one instance may have: of one core module, and of a
/// whole component. They are on the host's heap, for every live document.
const INSTANCE_BYTES_MAX: usize = 1 << 20;

/// A linear memory of 32 bits has no more.
const MEMORY_BYTES_WASM32_MAX: usize = 4 << 30;

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// wasmtime could not set itself up on this machine.
    #[error("the WebAssembly engine could not be set up: {0}")]
    Engine(String),
    /// The machine has no thread left.
    #[error("no thread for the epoch ticker")]
    Ticker(#[source] std::io::Error),
}

/// Admits components and runs them. Cheap to clone; clones share the engine.
#[derive(Clone)]
pub struct Sandbox(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<HostState>,
    pub(crate) limits: GuestLimits,
    pub(crate) static_limits: StaticLimits,
    pub(crate) compiler: Compiler,
    pub(crate) maxima: Maxima,
    pub(crate) canary_time_max: Duration,
    pub(crate) admission_wait_max: Duration,
    /// Turns at linking and trying components.
    pub(crate) turns: Turns,
    pooled: bool,
    _ticker: Ticker,
}

/// Describes a sandbox that is still to be made.
#[derive(Debug)]
#[must_use = "a builder makes nothing until `build`"]
pub struct SandboxBuilder {
    limits: GuestLimits,
    static_limits: StaticLimits,
    compiler: Compiler,
    canary_time_max: Duration,
    admission_wait_max: Duration,
}

impl Default for SandboxBuilder {
    fn default() -> Self {
        Self {
            limits: GuestLimits::default(),
            static_limits: StaticLimits::default(),
            compiler: Compiler::default(),
            canary_time_max: CANARY_TIME_MAX,
            admission_wait_max: ADMISSION_WAIT_MAX,
        }
    }
}

impl SandboxBuilder {
    /// What each guest may use.
    pub fn guest_limits(mut self, limits: GuestLimits) -> Self {
        self.limits = limits;
        self
    }

    /// What the binary of a component may have.
    pub fn static_limits(mut self, limits: StaticLimits) -> Self {
        self.static_limits = limits;
        self
    }

    /// How long the calls into a component may take, all together, when it is tried; 10 s if
    /// this is not called.
    pub fn canary_time_max(mut self, time: Duration) -> Self {
        self.canary_time_max = time;
        self
    }

    /// How long a component waits for its turn while others are compiled, and again while others
    /// are tried; 120 s if this is not called. One that waits longer is refused as
    /// [`AdmissionError::Busy`](crate::AdmissionError::Busy), and so is one where too many wait
    /// already.
    pub fn admission_wait_max(mut self, time: Duration) -> Self {
        self.admission_wait_max = time;
        self
    }

    /// Checks and compiles in a child process, within limits of time and memory, instead of in
    /// this one.
    ///
    /// Do this for plugins that you do not trust: within this process nothing bounds what
    /// validation and the compiler take. A panic of them is caught and refuses the component, if
    /// the program unwinds; a stack that overflows, or memory that ends, ends the process.
    pub fn compile_worker(mut self, worker: CompileWorker) -> Self {
        self.compiler.worker = Some(worker);
        self
    }

    /// Keeps what was compiled.
    pub fn artefact_cache(mut self, cache: ArtefactCache) -> Self {
        self.compiler.cache = Some(cache);
        self
    }

    /// Sets up the engine and starts its ticker.
    ///
    /// Places for instances are reserved ahead where the address space allows it, and else
    /// made on demand.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] if this machine cannot run guests at all.
    pub fn build(self) -> Result<Sandbox, SandboxError> {
        let Self { limits, static_limits, compiler, canary_time_max, admission_wait_max } = self;
        let (engine, pooled) = match Engine::new(&config(&limits, Allocation::Pooled(&static_limits))) {
            Ok(engine) => (engine, true),
            Err(error) => {
                tracing::warn!("instances are allocated on demand, because no pool could be reserved: {error:#}");
                let on_demand = Engine::new(&config(&limits, Allocation::OnDemand));
                (on_demand.map_err(|error| SandboxError::Engine(format!("{error:#}")))?, false)
            }
        };
        let linker = host::linker(&engine).map_err(|error| SandboxError::Engine(format!("{error:#}")))?;
        let ticker = Ticker::start(engine.clone()).map_err(SandboxError::Ticker)?;
        let inner = Inner {
            engine,
            linker,
            limits,
            static_limits,
            compiler,
            maxima: Maxima::new(&static_limits, &limits),
            canary_time_max,
            admission_wait_max,
            turns: Turns::new(TRIED_AT_ONCE_MAX),
            pooled,
            _ticker: ticker,
        };
        Ok(Sandbox(Arc::new(inner)))
    }
}

impl Sandbox {
    /// Begins to describe a sandbox.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder::default()
    }

    /// A sandbox that compiles in this process, and keeps nothing of it.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] if this machine cannot run guests at all.
    pub fn new(limits: GuestLimits) -> Result<Self, SandboxError> {
        Self::builder().guest_limits(limits).build()
    }

    /// What each guest may use.
    pub fn limits(&self) -> &GuestLimits {
        &self.0.limits
    }

    /// What the binary of a component may have.
    pub fn static_limits(&self) -> &StaticLimits {
        &self.0.static_limits
    }

    /// Whether places for instances are reserved ahead.
    pub fn is_pooled(&self) -> bool {
        self.0.pooled
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox")
            .field("limits", &self.0.limits)
            .field("pooled", &self.0.pooled)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Allocation<'a> {
    /// With room for components within these limits.
    Pooled(&'a StaticLimits),
    OnDemand,
}

/// Every setting that decides which code is made; compile workers have the same ones.
pub(crate) fn code_config() -> Config {
    let mut config = Config::new();
    config
        // Calls are synchronous on threads of ours: no fibers, and half the cost of a call.
        .concurrency_support(false)
        .wasm_component_model(true)
        .epoch_interruption(true)
        .consume_fuel(true)
        .cranelift_opt_level(OptLevel::Speed)
        // NaN bits would differ between machines.
        .cranelift_nan_canonicalization(true)
        // Line tables are the guest's, and read by `lines`, within bounds.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // Off until a toolchain that guests are built with needs it: less to trust, and
        // relaxed SIMD is not deterministic.
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_tail_call(false)
        // Types that refer to one another, of which one group may have a million; no guest needs
        // what they are for.
        .wasm_gc(false)
        .wasm_features(WasmFeatures::FUNCTION_REFERENCES.union(WasmFeatures::EXCEPTIONS), false);
    config
}

/// How code is run, beside how it is made.
fn config(limits: &GuestLimits, allocation: Allocation<'_>) -> Config {
    let mut config = code_config();
    config.max_wasm_stack(limits.stack_bytes_max).wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX));
    if let Allocation::Pooled(static_limits) = allocation {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits, static_limits)));
    }
    config
}

/// Room for as many documents of Rust guests as the limits say: all 8,448 of the default are
/// there, and within the 65,530 mappings that Linux gives a process. Such a guest has up to four
/// core instances, a memory and two tables; there is room for one component of any other kind.
///
/// What one component may have is what [`StaticLimits`] say, so that admission has refused what the
/// pool would refuse. Only the size of the engine's own structures is for the pool to find out.
fn pool(limits: &GuestLimits, static_limits: &StaticLimits) -> PoolingAllocationConfig {
    let instances = limits.instances_max;
    let at_most = |max: u64| u32::try_from(max).unwrap_or(u32::MAX);
    let core_instances_max = at_most(static_limits.core_instances_max);
    let memories_max = at_most(static_limits.memories_max);
    let tables_max = at_most(static_limits.tables_max);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(4).max(core_instances_max))
        .total_memories(instances.max(memories_max))
        .total_tables(instances.saturating_mul(3).max(tables_max))
        .max_core_instances_per_component(core_instances_max)
        .max_memories_per_component(memories_max)
        .max_tables_per_component(tables_max)
        // The pool's own default is one, and would refuse on this machine what another one takes.
        .max_tables_per_module(tables_max)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(memory_of_a_replay(limits))
        .table_elements(limits.table_elements_max);
    pool
}

/// A replay may use more than a job. A place in the pool has the addresses for a whole memory anyway,
/// and not more.
fn memory_of_a_replay(limits: &GuestLimits) -> usize {
    let twice = limits.memory_bytes_max.saturating_mul(Allowance::Replay.factor() as usize);
    twice.min(MEMORY_BYTES_WASM32_MAX).max(limits.memory_bytes_max)
}

/// Moves the engine's epoch on, so that running guests look up.
struct Ticker {
    /// Dropping it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: Engine) -> std::io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let tick = move || {
            while stopped.recv_timeout(EPOCH_TICK) == Err(RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        };
        let thread = std::thread::Builder::new().name("reductor-epoch".to_owned()).spawn(tick)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // Nothing in the thread can panic, and nothing is left to do if it did.
            let _ = thread.join();
        }
    }
}
