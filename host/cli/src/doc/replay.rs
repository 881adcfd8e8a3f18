//! States of documents at any revision, with the plugin or out of a snapshot.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use reductor_host::{
    Call, CompileWorker, Head, LaneKey, Limits, OperationStore, Reducer as _, Reducers, Sandbox, head_at,
};

use crate::host_args::GuestArgs;
use crate::plugins::{self, CacheArgs};

/// How long the replay of one document may take.
const REPLAY_MAX: Duration = Duration::from_hours(1);

#[derive(clap::Args)]
pub(crate) struct PluginArgs {
    /// A component to replay operations with; may be given more than once, one for each model.
    /// The store keeps the state of a document at some revisions only; all others are found by
    /// applying operations again.
    #[arg(long, value_name = "FILE")]
    plugin: Vec<PathBuf>,
    /// An earlier revision of a plugin, used only to replay the operations that it made; may be given more
    /// than once.
    #[arg(long, value_name = "FILE")]
    replay_plugin: Vec<PathBuf>,
    #[command(flatten)]
    guest: GuestArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

impl PluginArgs {
    /// Admits the plugins.
    pub(crate) fn load(&self, worker: CompileWorker) -> anyhow::Result<Reducers> {
        let reducers = Reducers::new();
        if self.plugin.is_empty() && self.replay_plugin.is_empty() {
            return Ok(reducers);
        }
        let sandbox = Sandbox::builder().guest_limits(self.guest.limits()?).compile_worker(worker);
        let sandbox = match self.cache.open()? {
            Some(cache) => sandbox.artefact_cache(cache),
            None => sandbox,
        };
        let sandbox = sandbox.build()?;
        for file in &self.plugin {
            let plugin = plugins::patiently("compiling plugins", || plugins::admit(&sandbox, file))?;
            let document_type = plugin.manifest().document_type.clone();
            let another = reducers.register(Arc::new(plugin)).is_some();
            anyhow::ensure!(
                !another,
                "{}: another plugin has the model `{document_type}` already; give earlier revisions with --replay-plugin",
                file.display()
            );
        }
        for file in &self.replay_plugin {
            let plugin = plugins::patiently("compiling plugins", || plugins::admit(&sandbox, file))?;
            reducers.register_for_replay(Arc::new(plugin));
        }
        Ok(reducers)
    }
}

/// Where a branch stood after so many operations, which it has.
pub(crate) fn at(
    store: &dyn OperationStore,
    reducers: &Reducers,
    lane: &LaneKey,
    revision: u64,
) -> anyhow::Result<Arc<Head>> {
    let stored = store.snapshot(lane, revision)?;
    if let Some(head) = stored.as_ref().filter(|head| head.revision == revision) {
        return Ok(head.clone());
    }
    let position = store.position(lane)?.context("the document is gone")?;
    let document_type = &position.document_type;
    anyhow::ensure!(reducers.knows(document_type), {
        let from = stored.map_or(0, |head| head.revision);
        format!(
            "the state at revision {revision} is not stored: give the plugin for `{document_type}` with --plugin FILE, \
             to apply the operations from {from} on again{}",
            if from > 0 { format!("; what is stored next to it is --revision {from}") } else { String::new() }
        )
    });
    replay(store, reducers, lane, revision)
}

/// The same by applying operations again since the nearest snapshot.
fn replay(store: &dyn OperationStore, reducers: &Reducers, lane: &LaneKey, revision: u64) -> anyhow::Result<Arc<Head>> {
    let (interrupt, limits) = (Arc::new(AtomicBool::new(false)), Limits::default());
    let mut call = Call::new(lane, Instant::now() + REPLAY_MAX, &interrupt, &limits);
    let head = head_at(store, reducers, lane, revision, &mut call)?;
    Ok(Arc::new(head.context("the document is gone")?))
}
