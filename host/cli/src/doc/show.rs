//! `reductor doc show`.

use reductor_host::CompileWorker;

use super::replay::{self, PluginArgs};
use super::{DocumentArgs, check_revision};
use crate::output;
use crate::state::DocumentState;

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    document: DocumentArgs,
    /// The state after this many operations; the newest by default.
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    #[command(flatten)]
    plugins: PluginArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  reductor doc show --data ./data --plugin counter.wasm c1
  reductor doc show --data ./data --plugin counter.wasm c1 --revision 12 --json

Operations since the nearest stored state are applied again by the revision of the plugin that made
them, and each must come to the hash that the log has.";

pub(super) fn show(args: &Args, worker: CompileWorker) -> anyhow::Result<()> {
    let store = args.document.data.open()?;
    let position = args.document.position(&store)?;
    let revision = args.revision.unwrap_or(position.revision);
    let revision = check_revision(&position, revision, &args.document.document)?;
    let reducers = args.plugins.load(worker)?;
    let lane = args.document.lane();
    let head = replay::at(&store, &reducers, &lane, revision)?;
    let state = DocumentState::new(&lane, &head)?;
    if args.json { output::line(&state) } else { output::text(&state.describe()?) }
}
