//! `reductor doc log`.

use reductor_host::{Operation, OperationStore as _, PluginRef, StoredOperation};
use serde::Serialize;

use super::DocumentArgs;
use crate::output;
use crate::table::{self, Table};

/// Operations that are read and printed at once.
const PAGE: usize = 256;
/// Characters of a hash that tell two apart.
const HASH_CHARS: usize = 10;
/// Characters of an input that a table shows.
const INPUT_CHARS: usize = 60;

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    document: DocumentArgs,
    /// The sequence of the first operation.
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    from: u64,
    /// Print at most this many operations.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Print JSON: an operation a line, whole.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  reductor doc log --data ./data c1
  reductor doc log --data ./data c1 --from 1000 --limit 50 --json";

/// An operation with what the log keeps beside it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    sequence: u64,
    #[serde(flatten)]
    operation: &'a Operation,
    plugin: &'a PluginRef,
}

pub(super) fn log(args: &Args) -> anyhow::Result<()> {
    let store = args.document.data.open()?;
    let position = args.document.position(&store)?;
    let document = &args.document.document;
    let newest = position.revision;
    anyhow::ensure!(
        args.from < newest || args.from == 0,
        "document `{document}` has {newest} operations, from 0 to {}; it has no operation {}",
        newest.saturating_sub(1),
        args.from
    );
    let end = args.from.saturating_add(args.limit).min(newest);
    let lane = args.document.lane();
    let mut next = args.from;
    let mut first = true;
    while next < end {
        let limit = usize::try_from(end - next).unwrap_or(PAGE).min(PAGE);
        let operations = store.operations(&lane, next, limit)?;
        anyhow::ensure!(!operations.is_empty(), "operation {next} of {lane} is missing");
        next += operations.len() as u64;
        if args.json {
            operations.iter().try_for_each(print_json)?;
        } else {
            print_rows(&operations, first)?;
        }
        first = false;
    }
    if end < newest && !args.json {
        eprintln!("{} more; go on with --from {end}", newest - end);
    }
    Ok(())
}

fn print_json(stored: &StoredOperation) -> anyhow::Result<()> {
    let StoredOperation { operation, sequence, plugin } = stored;
    output::line(&Line { sequence: *sequence, operation, plugin })
}

fn print_rows(operations: &[StoredOperation], with_head: bool) -> anyhow::Result<()> {
    let mut table = Table::new(["sequence", "scope", "index", "action", "time", "hash", "input"]);
    for StoredOperation { operation, sequence, .. } in operations {
        table.row([
            sequence.to_string(),
            operation.action.scope.to_string(),
            operation.index.to_string(),
            operation.action.action_type.to_string(),
            operation.timestamp_utc_ms.as_str().to_owned(),
            operation.hash.as_str().chars().take(HASH_CHARS).collect(),
            table::cut(operation.action.input.as_str(), INPUT_CHARS),
        ]);
    }
    output::text(&if with_head { table.with_head() } else { table.rows_only() })
}
