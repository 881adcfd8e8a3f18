//! `reductor doc list`.

use reductor_host::{Branch, DiskStore, DocumentId, LaneKey, OperationStore as _};
use serde::Serialize;

use crate::data::DataDir;
use crate::output;
use crate::table::Table;

/// Branches that are read and printed at once.
const PAGE: usize = 256;

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataDir,
    /// Only documents whose id comes after this one.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// List at most this many branches; those of one document are listed together.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print JSON: a branch a line.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  reductor doc list --data ./data
  reductor doc list --data ./data --after c41 --limit 1000 --json

Documents are sorted by their ids, byte by byte.";

/// A branch of a document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    document_id: String,
    branch: String,
    document_type: String,
    /// Operations of the branch, across scopes.
    revision: u64,
}

/// Reads branches in the order of their documents.
struct Branches<'a> {
    store: &'a DiskStore,
    after: Option<LaneKey>,
    page: std::vec::IntoIter<LaneKey>,
}

pub(super) fn list(args: &Args) -> anyhow::Result<()> {
    let store = args.data.open()?;
    // Of the document itself no branch is wanted, and nobody knows the name of its last.
    let first = |id: &str| LaneKey { document: DocumentId::from(id), branch: Branch::from("") };
    let after = args.after.as_deref();
    let mut branches = Branches { store: &store, after: after.map(first), page: Vec::new().into_iter() };
    let (mut listed, mut last) = (0, after.map(DocumentId::from));
    let mut rows = Rows::new(args.json);
    let more = loop {
        let Some(lane) = branches.next()? else { break false };
        let is_same = last.as_ref() == Some(&lane.document);
        if is_same && listed == 0 {
            continue;
        }
        if listed >= args.limit && !is_same {
            break true;
        }
        if let Some(position) = store.position(&lane)? {
            rows.add(Listed {
                document_id: lane.document.to_string(),
                branch: lane.branch.to_string(),
                document_type: position.document_type.to_string(),
                revision: position.revision,
            })?;
            listed += 1;
        }
        last = Some(lane.document);
    };
    rows.finish()?;
    if let Some(last) = last.filter(|_| more && !args.json) {
        eprintln!("there are more; go on with --after {last}");
    }
    Ok(())
}

impl Branches<'_> {
    fn next(&mut self) -> anyhow::Result<Option<LaneKey>> {
        if self.page.len() == 0 {
            self.page = self.store.lanes(self.after.as_ref(), PAGE)?.into_iter();
        }
        let next = self.page.next();
        if next.is_some() {
            self.after.clone_from(&next);
        }
        Ok(next)
    }
}

/// Prints branches, as a table a page at a time.
struct Rows {
    json: bool,
    is_first: bool,
    page: Vec<Listed>,
}

impl Rows {
    fn new(json: bool) -> Self {
        Self { json, is_first: true, page: Vec::new() }
    }

    fn add(&mut self, row: Listed) -> anyhow::Result<()> {
        if self.json {
            return output::line(&row);
        }
        self.page.push(row);
        if self.page.len() == PAGE { self.print() } else { Ok(()) }
    }

    fn finish(mut self) -> anyhow::Result<()> {
        if self.json || (self.page.is_empty() && !self.is_first) { Ok(()) } else { self.print() }
    }

    fn print(&mut self) -> anyhow::Result<()> {
        let mut table = Table::new(["document", "branch", "model", "revision"]);
        for row in self.page.drain(..) {
            table.row([row.document_id, row.branch, row.document_type, row.revision.to_string()]);
        }
        let with_head = std::mem::replace(&mut self.is_first, false);
        output::text(&if with_head { table.with_head() } else { table.rows_only() })
    }
}
