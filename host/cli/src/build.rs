//! `reductor build`: a guest crate becomes a component.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reductor_build::{BuildOptions, Component, DebugInfo, GuestBuild, InstallPolicy};
use reductor_host::{CompileWorker, Sandbox};
use serde_json::json;

use crate::plugins::{self, CacheArgs};
use crate::{Outcome, output};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder of the guest crate, or its Cargo.toml.
    path: PathBuf,
    /// Where to write the component; `<package>.wasm` in the target folder by default.
    #[arg(long, short)]
    out: Option<PathBuf>,
    /// Keep files and lines for backtraces. A component becomes six to ten times as large.
    #[arg(long)]
    line_tables: bool,
    /// Do not check whether a host admits the component, as `reductor plugin check` does.
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    toolchain: ToolchainArgs,
    /// Print a JSON object instead of the path.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct ToolchainArgs {
    /// Install what is missing to compile for wasm32-unknown-unknown: with rustup, or as root
    /// on Debian with apt-get. Without it nothing is installed.
    #[arg(long)]
    pub(crate) install_toolchain: bool,
}

impl ToolchainArgs {
    pub(crate) fn options(&self) -> BuildOptions {
        let policy = if self.install_toolchain { InstallPolicy::Allowed } else { InstallPolicy::Never };
        BuildOptions::new().install(policy).on_line(|line| eprintln!("{line}"))
    }
}

pub(crate) fn build(args: Args, worker: CompileWorker) -> anyhow::Result<Outcome> {
    let debug_info = if args.line_tables { DebugInfo::LineTables } else { DebugInfo::FunctionNames };
    let mut guest = GuestBuild::new(&args.path).options(args.toolchain.options().debug_info(debug_info));
    if let Some(out) = &args.out {
        guest = guest.out(out);
    }
    let component = guest.run().with_context(|| format!("{} was not built", args.path.display()))?;
    if !args.no_check {
        admit(&args, &component, worker)?;
    }
    if args.json {
        output::line(&json!({
            "package": component.package,
            "path": component.path,
            "bytes": component.bytes_len,
            "toolchain": component.toolchain.to_string(),
        }))?;
    } else {
        eprintln!("{} kB, with {}", component.bytes_len.div_ceil(1000), component.toolchain);
        output::text(&component.path.display().to_string())?;
    }
    Ok(Outcome::AllWell)
}

/// Admits the component as a host does, so that its author hears at once what a host would refuse.
fn admit(args: &Args, component: &Component, worker: CompileWorker) -> anyhow::Result<()> {
    let sandbox = Sandbox::builder().compile_worker(worker);
    let sandbox = match args.cache.open()? {
        Some(cache) => sandbox.artefact_cache(cache),
        None => sandbox,
    };
    let (sandbox, path) = (sandbox.build()?, &component.path);
    let admitted = plugins::patiently(&format!("checking {}", path.display()), || sandbox.admit_file(path));
    admitted.map(drop).map_err(|error| plugins::refused(path, error).context("it was built, but hosts refuse it"))
}

/// Builds some of the project's own guests, in the order of `folders`.
pub(crate) fn guests(source: &Path, folders: &[&str], toolchain: &ToolchainArgs) -> anyhow::Result<Vec<Component>> {
    let folders: Vec<_> = folders.iter().map(|folder| source.join(folder)).collect();
    reductor_build::build_all(&folders, &toolchain.options()).context("the project's guests were not built")
}

/// Where the project's sources are, for commands that build its examples.
#[derive(clap::Args)]
pub(crate) struct SourceArgs {
    /// The folder of the project's sources; where this program was compiled by default.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."), hide_default_value = true)]
    pub(crate) source: PathBuf,
}

impl SourceArgs {
    /// The folder, if the sources are there.
    pub(crate) fn folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.source.canonicalize();
        let folder =
            folder.with_context(|| format!("no project sources in {}; give --source", self.source.display()))?;
        anyhow::ensure!(
            folder.join("example-reducers").is_dir(),
            "no project sources in {}; give --source",
            folder.display()
        );
        Ok(folder)
    }
}
