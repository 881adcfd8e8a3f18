//! The host under test: the durable store and the manager, with native reducers.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use reductor_core::{
    EventBus, ExecutorConfig, JobExecutorManager, JobExecutorManagerConfig, JobRetention, NativeReducer, Reducers,
};
use reductor_store::{DiskStore, OpenError, StoreOptions, Sync};

use crate::relay::Relay;

/// Completed jobs that are kept: so few that some are forgotten in every run.
const COMPLETED_MAX: usize = 40;

/// The reducers that the workload uses.
pub(crate) fn reducers() -> Arc<Reducers> {
    let reducers = Reducers::new();
    reducers.register(Arc::new(NativeReducer::<counter::Counter>::new()));
    reducers.register(Arc::new(NativeReducer::<todo_list::TodoList>::new()));
    reducers.register(Arc::new(NativeReducer::<Relay>::new()));
    Arc::new(reducers)
}

/// Opens the store as the workload has it.
pub(crate) fn open_store(dir: &Path, sync: Sync) -> Result<DiskStore, OpenError> {
    let retention = JobRetention { completed_max: COMPLETED_MAX, ..JobRetention::default() };
    // Snapshots come often, and nothing depends on how full the disk is on which this runs.
    DiskStore::open(
        dir,
        StoreOptions { sync, snapshot_every: 8, retention, reserve_bytes: 0, ..StoreOptions::default() },
    )
}

/// A manager over the store, with delays in which jobs gather behind one that waits.
pub(crate) fn open_manager(store: &Arc<DiskStore>, bus: EventBus) -> Result<JobExecutorManager> {
    let manager = JobExecutorManagerConfig {
        max_concurrency: Some(2),
        retry_base_delay: Some(10),
        retry_max_delay: Some(20),
        ..JobExecutorManagerConfig::default()
    };
    let config = ExecutorConfig { manager, ..ExecutorConfig::default() };
    JobExecutorManager::open(config, reducers(), store.clone(), bus).context("the manager did not open")
}
