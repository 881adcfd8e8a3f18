//! How a host is put together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reductor_core::{
    DocumentType, EventBus, ExecutorConfig, JobExecutorManager, MemoryStore, NativeReducer, OperationStore, Reducer,
    Reducers, StartError, StoreError,
};
use reductor_sandbox::{
    AdmissionError, ArtefactCache, CompileWorker, GuestLimits, Sandbox, SandboxBuilder, SandboxError, StaticLimits,
};
use reductor_store::{DiskStore, OpenError, StoreOptions};

use crate::Host;

/// Events that a subscriber may be behind before it loses the oldest.
const EVENTS_MAX: usize = 16_384;

/// Describes a host that is still to be made.
#[must_use = "a builder makes nothing until `build` or `start`"]
pub struct HostBuilder {
    config: ExecutorConfig,
    sandbox: SandboxBuilder,
    plugins: Vec<PluginSource>,
    reducers: Vec<Arc<dyn Reducer>>,
    replay_plugins: Vec<PluginSource>,
    replay_reducers: Vec<Arc<dyn Reducer>>,
    log: Log,
    store_options: StoreOptions,
    events_max: usize,
}

/// Where the log and the jobs are kept.
enum Log {
    Memory,
    Directory(PathBuf),
    Store(Arc<dyn OperationStore>),
}

/// Where a plugin comes from.
#[derive(Clone, Debug)]
pub enum PluginSource {
    /// A component in a file.
    File(PathBuf),
    /// The bytes of a component.
    Bytes(Vec<u8>),
}

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A plugin's file could not be read.
    #[error("{} cannot be read", .file.display())]
    Unreadable {
        /// The plugin's file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A plugin may not run here.
    #[error("{plugin} was not admitted")]
    NotAdmitted {
        /// Its file, or which of the plugins it is.
        plugin: String,
        /// Why not.
        #[source]
        source: AdmissionError,
    },
    /// Two plugins or reducers are for the same model.
    #[error("{plugin}: another one has the model `{document_type}` already; give an earlier revision for replay only")]
    SameModel {
        /// The second of them.
        plugin: String,
        /// The model.
        document_type: DocumentType,
    },
    /// This machine cannot run plugins.
    #[error("there is no sandbox for plugins")]
    Sandbox(#[from] SandboxError),
    /// The data directory could not be opened.
    #[error(transparent)]
    DataDir(#[from] OpenError),
    /// The jobs of an earlier process could not be read from the store.
    #[error("the unfinished jobs could not be taken up again")]
    Journal(#[source] StoreError),
    /// The host did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl HostBuilder {
    pub(crate) fn new() -> Self {
        Self {
            config: ExecutorConfig::default(),
            sandbox: Sandbox::builder(),
            plugins: Vec::new(),
            reducers: Vec::new(),
            replay_plugins: Vec::new(),
            replay_reducers: Vec::new(),
            log: Log::Memory,
            store_options: StoreOptions::default(),
            events_max: EVENTS_MAX,
        }
    }

    /// Admits a plugin from a file.
    pub fn plugin_file(self, file: impl AsRef<Path>) -> Self {
        self.plugin(PluginSource::File(file.as_ref().to_owned()))
    }

    /// Admits a plugin, given as the bytes of a component.
    pub fn plugin_bytes(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.plugin(PluginSource::Bytes(bytes.into()))
    }

    /// Admits a plugin.
    pub fn plugin(mut self, plugin: PluginSource) -> Self {
        self.plugins.push(plugin);
        self
    }

    /// Runs a model as native code, without a sandbox: for code that you trust.
    pub fn native<R: reductor_guest::Reducer + Send + 'static>(self) -> Self {
        self.reducer(Arc::new(NativeReducer::<R>::new()))
    }

    /// Runs a model by any other implementation of [`Reducer`].
    pub fn reducer(mut self, reducer: Arc<dyn Reducer>) -> Self {
        self.reducers.push(reducer);
        self
    }

    /// Admits an earlier revision of a plugin from a file, to apply the operations again that it made.
    pub fn replay_plugin_file(self, file: impl AsRef<Path>) -> Self {
        self.replay_plugin(PluginSource::File(file.as_ref().to_owned()))
    }

    /// Admits an earlier revision of a plugin, to apply the operations again that it made. It serves
    /// no job.
    ///
    /// It is needed after a crash, for documents that have operations of it since their last
    /// snapshot; a host whose manager was stopped gracefully has left a snapshot of each document
    /// that it had to do with.
    pub fn replay_plugin(mut self, plugin: PluginSource) -> Self {
        self.replay_plugins.push(plugin);
        self
    }

    /// The same by any other implementation of [`Reducer`].
    pub fn replay_reducer(mut self, reducer: Arc<dyn Reducer>) -> Self {
        self.replay_reducers.push(reducer);
        self
    }

    /// Keeps documents and jobs in a directory, which is made if it does not exist; in memory if
    /// neither this nor [`HostBuilder::store`] is called, of which the later call counts.
    ///
    /// One process at a time can have the directory open. Jobs that an earlier one had accepted
    /// and not finished run after the start.
    pub fn data_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.log = Log::Directory(dir.as_ref().to_owned());
        self
    }

    /// How the store in the data directory works: when it syncs, how often it keeps states, how
    /// long it keeps jobs that ended.
    pub fn store_options(mut self, options: StoreOptions) -> Self {
        self.store_options = options;
        self
    }

    /// Keeps the log in `store`.
    pub fn store(mut self, store: Arc<dyn OperationStore>) -> Self {
        self.log = Log::Store(store);
        self
    }

    /// What the manager goes by: concurrency, timeouts, retries, bounds, grants.
    pub fn config(mut self, config: ExecutorConfig) -> Self {
        self.config = config;
        self
    }

    /// What each guest may use.
    pub fn guest_limits(mut self, limits: GuestLimits) -> Self {
        self.sandbox = self.sandbox.guest_limits(limits);
        self
    }

    /// What the binary of each plugin may have.
    pub fn static_limits(mut self, limits: StaticLimits) -> Self {
        self.sandbox = self.sandbox.static_limits(limits);
        self
    }

    /// Compiles plugins in a child process, within limits of time and memory, instead of in
    /// this one; see [`SandboxBuilder::compile_worker`].
    pub fn compile_worker(mut self, worker: CompileWorker) -> Self {
        self.sandbox = self.sandbox.compile_worker(worker);
        self
    }

    /// Keeps compiled plugins, so that each is compiled once.
    pub fn artefact_cache(mut self, cache: ArtefactCache) -> Self {
        self.sandbox = self.sandbox.artefact_cache(cache);
        self
    }

    /// How many events a subscriber may be behind before it loses the oldest; 16,384 if this
    /// is not called.
    pub fn events_max(mut self, events: usize) -> Self {
        self.events_max = events;
        self
    }

    /// Makes the host and starts it. `EXECUTOR_STARTED` is published before anybody can subscribe; to
    /// see it, [build](Self::build) the host, subscribe, and start its manager.
    ///
    /// # Errors
    ///
    /// [`HostError`].
    pub fn start(self) -> Result<Host, HostError> {
        let host = self.build()?;
        host.manager.start(None)?;
        Ok(host)
    }

    /// Makes the host. It takes submissions in, and executes them once its manager is started.
    ///
    /// # Errors
    ///
    /// [`HostError`], but not [`HostError::Start`].
    pub fn build(self) -> Result<Host, HostError> {
        let reducers = Arc::new(Reducers::new());
        for reducer in self.reducers {
            let name = reducer.plugin().to_string();
            register(&reducers, reducer, name)?;
        }
        self.replay_reducers.into_iter().for_each(|reducer| reducers.register_for_replay(reducer));
        if !(self.plugins.is_empty() && self.replay_plugins.is_empty()) {
            let sandbox = self.sandbox.build()?;
            for (position, plugin) in self.plugins.into_iter().enumerate() {
                let (name, plugin) = admit(&sandbox, plugin, position)?;
                register(&reducers, plugin, name)?;
            }
            for (position, plugin) in self.replay_plugins.into_iter().enumerate() {
                reducers.register_for_replay(admit(&sandbox, plugin, position)?.1);
            }
        }
        // Last: a host that is not made for another reason leaves no directory behind.
        let (store, disk): (Arc<dyn OperationStore>, _) = match self.log {
            Log::Memory => (Arc::new(MemoryStore::new()), None),
            Log::Store(store) => (store, None),
            Log::Directory(dir) => {
                let disk = Arc::new(DiskStore::open(dir, self.store_options)?);
                (disk.clone(), Some(disk))
            }
        };
        let bus = EventBus::new(self.events_max);
        let manager = JobExecutorManager::open(self.config, reducers.clone(), store.clone(), bus);
        Ok(Host { manager: manager.map_err(HostError::Journal)?, reducers, store, disk })
    }
}

/// The admitted plugin, and what it is called in messages.
fn admit(sandbox: &Sandbox, plugin: PluginSource, position: usize) -> Result<(String, Arc<dyn Reducer>), HostError> {
    let (name, admitted) = match plugin {
        PluginSource::Bytes(bytes) => (format!("plugin {position}"), sandbox.admit(&bytes)),
        PluginSource::File(file) => match sandbox.admit_file(&file) {
            Err(AdmissionError::Unreadable(source)) => return Err(HostError::Unreadable { file, source }),
            admitted => (file.display().to_string(), admitted),
        },
    };
    match admitted {
        Ok(plugin) => Ok((name, Arc::new(plugin))),
        Err(source) => Err(HostError::NotAdmitted { plugin: name, source }),
    }
}

fn register(reducers: &Reducers, reducer: Arc<dyn Reducer>, name: String) -> Result<(), HostError> {
    let document_type = reducer.manifest().document_type.clone();
    match reducers.register(reducer) {
        None => Ok(()),
        Some(_) => Err(HostError::SameModel { plugin: name, document_type }),
    }
}

impl std::fmt::Debug for HostBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
