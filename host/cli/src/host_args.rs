//! The host that a command runs jobs on, as its arguments describe it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reductor_host::{
    CompileWorker, DispatchGrants, DocumentType, ExecutorConfig, GuestLimits, Host, HostBuilder, HostError,
    JobExecutorManagerConfig, OpenError, Reducers, Refusal, StoreOptions,
};

use crate::plugins::{self, CacheArgs};
use crate::units::size;

/// Events that the reader of dispatched jobs may be behind.
const EVENTS_MAX: usize = 1 << 18;
/// A heading of its own for each option: one of the whole group would go on over what follows it.
const GUEST_HEADING: &str = "Limits of a guest";
/// What a guest of 32 bits can address.
const GUEST_BYTES_MAX: usize = 4 << 30;

#[derive(clap::Args)]
pub(crate) struct HostArgs {
    /// A component whose model the jobs use; may be given more than once, one for each model.
    #[arg(long, required = true, value_name = "FILE")]
    plugin: Vec<PathBuf>,
    /// An earlier revision of a plugin, used only to replay the operations that it made; may be given more
    /// than once. Documents may need it after a run was killed.
    #[arg(long, value_name = "FILE")]
    replay_plugin: Vec<PathBuf>,
    /// How many jobs run at once; the number of cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_concurrency: Option<u16>,
    /// Milliseconds that one attempt at a job may take; also the most that a job's config can ask for.
    #[arg(long, value_name = "MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    job_timeout: u64,
    /// Let documents of one model dispatch to other documents of another; may be given more than
    /// once.
    #[arg(long, value_name = "MODEL=MODEL", value_parser = grant)]
    grant: Vec<(DocumentType, DocumentType)>,
    #[command(flatten)]
    guest: GuestArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// What a guest may use. Operations that were made within higher limits than the defaults are replayed
/// within such limits only, so commands that replay take them as well.
#[derive(clap::Args)]
pub(crate) struct GuestArgs {
    /// Units of fuel, about one per instruction, that an action may burn.
    #[arg(long, value_name = "UNITS", default_value_t = GuestLimits::default().fuel_per_call, help_heading = GUEST_HEADING)]
    fuel: u64,
    /// Linear memory that the instance of a document may have.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size, help_heading = GUEST_HEADING)]
    memory: u64,
    /// How large the state of a scope may be, as JSON.
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = size, help_heading = GUEST_HEADING)]
    state: u64,
}

impl GuestArgs {
    pub(crate) fn limits(&self) -> anyhow::Result<GuestLimits> {
        let bytes = |option: &str, bytes: u64| {
            let wide = usize::try_from(bytes).ok().filter(|bytes| *bytes <= GUEST_BYTES_MAX);
            wide.with_context(|| format!("--{option}: at most 4GiB, which is all that a guest can address"))
        };
        Ok(GuestLimits {
            fuel_per_call: self.fuel,
            memory_bytes_max: bytes("memory", self.memory)?,
            output_bytes_max: bytes("state", self.state)?,
            ..GuestLimits::default()
        })
    }
}

impl HostArgs {
    /// What the arguments say, and otherwise the defaults.
    pub(crate) fn config(&self) -> ExecutorConfig {
        ExecutorConfig {
            manager: JobExecutorManagerConfig {
                max_concurrency: self.max_concurrency.map(usize::from),
                job_timeout: Some(self.job_timeout),
                ..JobExecutorManagerConfig::default()
            },
            grants: self
                .grant
                .iter()
                .cloned()
                .fold(DispatchGrants::none(), |grants, (from, to)| grants.allow(from, to)),
            ..ExecutorConfig::default()
        }
    }

    /// A host with the plugins, not started yet.
    pub(crate) fn build(
        &self,
        config: ExecutorConfig,
        data: Option<(&Path, StoreOptions)>,
        worker: CompileWorker,
    ) -> anyhow::Result<Host> {
        let plugins = self.plugin.iter().fold(Host::builder(), HostBuilder::plugin_file).compile_worker(worker);
        let plugins = self.replay_plugin.iter().fold(plugins, HostBuilder::replay_plugin_file);
        let plugins = plugins.guest_limits(self.guest.limits()?);
        let plugins = match self.cache.open()? {
            Some(cache) => plugins.artefact_cache(cache),
            None => plugins,
        };
        let host = plugins.config(config).events_max(EVENTS_MAX);
        let host = match data {
            Some((dir, options)) => host.data_dir(dir).store_options(options),
            None => host,
        };
        let host = plugins::patiently("compiling plugins", || host.build());
        let host = host.map_err(|error| match is_in_use(&error) {
            true => anyhow::Error::new(error).context("--data"),
            false => error.into(),
        })?;
        check_grants(&self.grant, host.reducers())?;
        Ok(host)
    }
}

fn is_in_use(error: &HostError) -> bool {
    matches!(error, HostError::DataDir(OpenError::InUse { .. }))
}

fn grant(text: &str) -> Result<(DocumentType, DocumentType), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.into(), to.into())),
        _ => Err("expected two models, such as shop/order=shop/stock".to_owned()),
    }
}

/// A grant for a model that is not there would be a typing mistake.
fn check_grants(grants: &[(DocumentType, DocumentType)], reducers: &Reducers) -> anyhow::Result<()> {
    grants.iter().flat_map(|(from, to)| [from, to]).try_for_each(|document_type| {
        reducers.serving(document_type).map(drop).map_err(|refusal| match refusal {
            Refusal::UnknownModel { document_type, loaded } => {
                let loaded: Vec<_> = loaded.iter().map(|model| format!("`{model}`")).collect();
                anyhow::anyhow!("--grant: no plugin for `{document_type}` is given; given: {}", loaded.join(", "))
            }
            refusal => anyhow::anyhow!("--grant: {refusal}"),
        })
    })
}
