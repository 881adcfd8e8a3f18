//! `reductor store stats`.

use indicatif::HumanBytes;
use reductor_host::StoreStats;
use serde_json::json;

use crate::data::DataDir;
use crate::{Outcome, output};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  reductor store stats --data ./data --json")]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataDir,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn stats(args: &Args) -> anyhow::Result<Outcome> {
    let stats = args.data.open()?.stats()?;
    if args.json {
        output::line(&as_json(&stats))?;
    } else {
        output::text(&describe(&stats))?;
    }
    Ok(Outcome::AllWell)
}

fn as_json(stats: &StoreStats) -> serde_json::Value {
    let keyspace = |kind: &reductor_host::KeyspaceStats| {
        let size = json!({ "records": kind.records, "bytes": kind.bytes });
        (kind.name.to_owned(), size)
    };
    json!({
        "branches": stats.lanes,
        "operations": stats.operations,
        "snapshots": stats.snapshots,
        "jobs": {
            "pending": stats.unfinished,
            "completed": stats.completed,
            "failed": stats.dead_letters,
        },
        "commits": stats.commits,
        "records": stats.keyspaces.iter().map(keyspace).collect::<serde_json::Map<_, _>>(),
        "writeAheadBytes": stats.write_ahead_bytes,
        "diskBytes": stats.disk_bytes,
        "freeBytes": stats.free_bytes,
    })
}

fn describe(stats: &StoreStats) -> String {
    let rows = [
        ("branches", stats.lanes.to_string()),
        ("operations", stats.operations.to_string()),
        ("snapshots", format!("about {}", stats.snapshots)),
        ("jobs pending", stats.unfinished.to_string()),
        ("jobs completed", stats.completed.to_string()),
        ("jobs failed", stats.dead_letters.to_string()),
        ("commits", stats.commits.to_string()),
        ("write-ahead", HumanBytes(stats.write_ahead_bytes).to_string()),
        ("on the disk", HumanBytes(stats.disk_bytes).to_string()),
        ("free", HumanBytes(stats.free_bytes).to_string()),
    ];
    let rows = rows.map(|(name, value)| format!("{name:<16}{value}"));
    let kinds = stats.keyspaces.iter().map(|kind| {
        let size = HumanBytes(kind.bytes);
        format!("  {:<14}about {} records, {size}", kind.name, kind.records)
    });
    rows.into_iter().chain(kinds).collect::<Vec<_>>().join("\n")
}
