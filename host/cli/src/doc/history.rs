//! `reductor doc history`.

use std::collections::BTreeSet;

use reductor_host::{CompileWorker, Head, Scope};
use serde::Serialize;
use serde_json::Value;

use super::diff::{self, Change};
use super::replay::{self, PluginArgs};
use super::{DocumentArgs, check_revision};
use crate::{output, table};

/// Characters of a value that are shown to people.
const VALUE_CHARS: usize = 100;

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    document: DocumentArgs,
    /// The earlier revision; the one before the later by default.
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// The later revision; the newest by default.
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    #[command(flatten)]
    plugins: PluginArgs,
    /// Print JSON, with values whole.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  reductor doc history --data ./data --plugin todo.wasm list
  reductor doc history --data ./data --plugin todo.wasm list --from 1 --to 40

A line begins with + for what came, - for what went, and ~ for what changed.";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct History<'a> {
    document_id: &'a str,
    branch: &'a str,
    from: u64,
    to: u64,
    changes: Vec<Change>,
}

pub(super) fn history(args: &Args, worker: CompileWorker) -> anyhow::Result<()> {
    let DocumentArgs { data, document, branch } = &args.document;
    let store = data.open()?;
    let position = args.document.position(&store)?;
    let to = check_revision(&position, args.to.unwrap_or(position.revision), document)?;
    let from = check_revision(&position, args.from.unwrap_or(to.saturating_sub(1)), document)?;
    anyhow::ensure!(from <= to, "--from {from} is later than --to {to}");
    let reducers = args.plugins.load(worker)?;
    let lane = args.document.lane();
    let before = replay::at(&store, &reducers, &lane, from)?;
    let after = replay::at(&store, &reducers, &lane, to)?;
    let history = History { document_id: document, branch, from, to, changes: changes(&before, &after)? };
    if args.json { output::line(&history) } else { output::text(&history.describe()) }
}

fn changes(before: &Head, after: &Head) -> anyhow::Result<Vec<Change>> {
    let scopes: BTreeSet<&Scope> = [before, after].iter().flat_map(|head| &head.scopes).map(scope_name).collect();
    let mut changes = Vec::new();
    for scope in scopes {
        let (before, after) = (state(before, scope)?, state(after, scope)?);
        changes.extend(diff::changes(scope.as_str(), before.as_ref(), after.as_ref()));
    }
    Ok(changes)
}

fn scope_name(head: &reductor_host::ScopeHead) -> &Scope {
    &head.state.scope
}

fn state(head: &Head, scope: &Scope) -> anyhow::Result<Option<Value>> {
    head.scope(scope).map(|head| Ok(serde_json::from_slice(&head.state.json)?)).transpose()
}

impl History<'_> {
    fn describe(&self) -> String {
        let Self { document_id, branch, from, to, changes } = self;
        let mut text = format!("{document_id} ({branch}), from revision {from} to {to}");
        if changes.is_empty() {
            text += "\nnothing changed";
        }
        let shown = |value: &Value| table::cut(&value.to_string(), VALUE_CHARS);
        for Change { path, before, after } in changes {
            text += &match (before, after) {
                (Some(before), Some(after)) => format!("\n~ {path}: {} -> {}", shown(before), shown(after)),
                (Some(before), None) => format!("\n- {path}: {}", shown(before)),
                (None, Some(after)) => format!("\n+ {path}: {}", shown(after)),
                (None, None) => continue,
            };
        }
        text
    }
}
