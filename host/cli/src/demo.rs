//! `reductor demo`: a real editing session, job by job, through a sandboxed reducer.

use std::time::Instant;

use indicatif::ProgressBar;
use reductor_host::{Branch, DocumentId, Host, LaneKey};
use serde::Deserialize;

use crate::build::{self, SourceArgs, ToolchainArgs};
use crate::trace::Trace;
use crate::{Outcome, output};

const SESSION: &str = "sveltecomponent";

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    toolchain: ToolchainArgs,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Deserialize)]
struct TextState {
    content: String,
}

pub(crate) fn demo(args: Args) -> anyhow::Result<Outcome> {
    let source = args.source.folder()?;
    let trace = Trace::read(&source, SESSION)?;
    let components = build::guests(&source, &["example-reducers/text"], &args.toolchain)?;
    let host = Host::builder().plugin_file(&components[0].path).start()?;
    let manager = host.manager();

    let submissions = trace.submissions(SESSION)?;
    let jobs = submissions.len();
    let progress = ProgressBar::new(jobs as u64);
    let began = Instant::now();
    let tickets = manager.enqueue_all(submissions)?;
    for ticket in tickets {
        let result = ticket.wait_blocking();
        anyhow::ensure!(result.success, "a job failed: {}", result.error_message.as_deref().unwrap_or_default());
        progress.inc(1);
    }
    let took = began.elapsed();
    progress.finish_and_clear();

    let lane = LaneKey { document: DocumentId::from(SESSION), branch: Branch::from(Branch::MAIN) };
    let head = manager.head(&lane)?.ok_or_else(|| anyhow::anyhow!("the document was not created"))?;
    let scope = head.scopes.last().ok_or_else(|| anyhow::anyhow!("the document has no scope"))?;
    let state: TextState = serde_json::from_slice(&scope.state.json)?;
    anyhow::ensure!(state.content == trace.end_content, "the text differs from the end of the session");
    output::text(&format!(
        "{jobs} transactions of a real editing session, one job each, through a sandboxed reducer\n\
         {:.0} jobs/s ({:.2} s); the final text of {} characters is the session's\n\
         hash {}",
        jobs as f64 / took.as_secs_f64(),
        took.as_secs_f64(),
        state.content.chars().count(),
        scope.hash,
    ))?;
    Ok(Outcome::AllWell)
}
