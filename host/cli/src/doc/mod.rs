//! `reductor doc`: lists and shows the documents in a data directory.

mod diff;
mod history;
mod list;
mod log;
mod replay;
mod show;

use anyhow::Context as _;
use reductor_host::{Branch, CompileWorker, DocumentId, LaneKey, OperationStore, Position};

pub(crate) use self::replay::PluginArgs;
use crate::data::DataDir;
use crate::{Outcome, state};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Lists the documents, with their models and revisions.
    List(list::Args),
    /// Prints the state of a document, now or at an earlier revision.
    Show(show::Args),
    /// Prints the operations of a document.
    Log(log::Args),
    /// Prints what changed between two revisions of a document.
    History(history::Args),
}

/// Which document, and where it is.
#[derive(clap::Args)]
struct DocumentArgs {
    #[command(flatten)]
    data: DataDir,
    /// The document's id.
    #[arg(value_name = "ID")]
    document: String,
    /// The document's branch.
    #[arg(long, value_name = "BRANCH", default_value = Branch::MAIN)]
    branch: String,
}

pub(crate) fn doc(command: Command, worker: CompileWorker) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list::list(&args)?,
        Command::Show(args) => show::show(&args, worker)?,
        Command::Log(args) => log::log(&args)?,
        Command::History(args) => history::history(&args, worker)?,
    }
    Ok(Outcome::AllWell)
}

impl DocumentArgs {
    fn lane(&self) -> LaneKey {
        LaneKey { document: DocumentId::from(self.document.as_str()), branch: Branch::from(self.branch.as_str()) }
    }

    /// Where the branch stands, which must exist.
    fn position(&self, store: &dyn OperationStore) -> anyhow::Result<Position> {
        if let Some(position) = store.position(&self.lane())? {
            return Ok(position);
        }
        let branches = state::branches(store, &self.document)?;
        let names: Vec<_> = branches.iter().map(|lane| format!("`{}`", lane.branch)).collect();
        let document = &self.document;
        match &names[..] {
            [] => anyhow::bail!("there is no document `{document}` in {}", self.data.path().display()),
            names => {
                let known = names.join(", ");
                anyhow::bail!("document `{document}` has no branch `{}`; it has {known}", self.branch)
            }
        }
    }
}

/// Refuses a revision that the branch has not reached.
fn check_revision(position: &Position, revision: u64, document: &str) -> anyhow::Result<u64> {
    let newest = position.revision;
    let problem = || format!("document `{document}` stands at revision {newest}; it has no revision {revision}");
    (revision <= newest).then_some(revision).with_context(problem)
}
