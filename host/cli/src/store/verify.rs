//! `reductor store verify`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use reductor_host::{
    Call, CompileWorker, DiskStore, DocumentType, LaneKey, Limits, LiveDocument, OperationStore as _, Reducer,
    Reducers, Scope, StoreProblem, StoredOperation, state_hash,
};
use serde::Serialize;

use super::{records_bar, show};
use crate::data::DataDir;
use crate::doc::PluginArgs;
use crate::{Outcome, output};

/// Branches and operations that are read at once.
const PAGE: usize = 256;
/// How long the replay of one document may take.
const REPLAY_MAX: Duration = Duration::from_hours(1);
/// Problems of replays that are listed.
const PROBLEMS_MAX: usize = 1_000;

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  reductor store verify --data ./data --plugin counter.wasm --plugin todo.wasm

Documents of models without a plugin are not applied again; everything else of them is checked.
The exit code is 1 if anything is wrong.")]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    plugins: PluginArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    branches: u64,
    operations: u64,
    snapshots: u64,
    jobs: u64,
    /// Operations that were applied again.
    replayed: u64,
    /// Branches that were not replayed, by model.
    not_replayed: BTreeMap<DocumentType, u64>,
    problem_count: u64,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Problem {
    place: String,
    problem: String,
}

pub(super) fn verify(args: &Args, worker: CompileWorker) -> anyhow::Result<Outcome> {
    let store = args.data.open()?;
    let reducers = args.plugins.load(worker)?;
    let bar = records_bar("reading");
    let records = store.verify(&mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    let of_record = |StoreProblem { place, problem }| Problem { place, problem };
    let mut report = Report {
        branches: records.lanes,
        operations: records.operations,
        snapshots: records.snapshots,
        jobs: records.jobs,
        problem_count: records.problem_count,
        problems: records.problems.into_iter().map(of_record).collect(),
        ..Report::default()
    };
    report.replay_all(&store, &reducers)?;
    report.print(args.json)?;
    Ok(if report.problem_count == 0 { Outcome::AllWell } else { Outcome::JobsFailed })
}

impl Report {
    /// Applies the operations of every branch again, from the first on.
    fn replay_all(&mut self, store: &DiskStore, reducers: &Reducers) -> anyhow::Result<()> {
        let template = "replaying {bar:40} {pos}/{len} operations, {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is a constant");
        let bar = ProgressBar::new(self.operations).with_style(style);
        let mut after: Option<LaneKey> = None;
        loop {
            let lanes = store.lanes(after.as_ref(), PAGE)?;
            for lane in &lanes {
                let before = self.replayed;
                if let Err(error) = self.replay(store, reducers, lane) {
                    self.add(lane.to_string(), format!("{error:#}"));
                }
                bar.inc(self.replayed - before);
            }
            after = match lanes.last() {
                Some(last) if lanes.len() == PAGE => Some(last.clone()),
                _ => break,
            };
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn replay(&mut self, store: &DiskStore, reducers: &Reducers, lane: &LaneKey) -> anyhow::Result<()> {
        let Some(position) = store.position(lane)? else { anyhow::bail!("it is listed, and is not there") };
        let Some(reducer) = reducers.get(&position.document_type) else {
            *self.not_replayed.entry(position.document_type).or_default() += 1;
            return Ok(());
        };
        let (interrupt, limits) = (Arc::new(AtomicBool::new(false)), Limits::default());
        let mut call = Call::new(lane, Instant::now() + REPLAY_MAX, &interrupt, &limits);
        let mut live = load(&*reducer, &mut call)?;
        let mut next = 0;
        while next < position.revision {
            let operations = store.operations(lane, next, PAGE)?;
            anyhow::ensure!(!operations.is_empty(), "operation {next} is missing");
            for stored in &operations {
                step(&mut *live, stored, &mut call)?;
                self.replayed += 1;
            }
            next += operations.len() as u64;
        }
        Ok(())
    }

    fn add(&mut self, place: String, problem: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { place, problem });
        }
    }

    fn print(&self, json: bool) -> anyhow::Result<()> {
        for (document_type, branches) in &self.not_replayed {
            eprintln!("{branches} branches of `{document_type}` were not replayed: give its plugin with --plugin");
        }
        if json {
            return output::line(self);
        }
        for Problem { place, problem } in &self.problems {
            output::text(&format!("{place}: {problem}"))?;
        }
        let Self { branches, operations, snapshots, jobs, replayed, problem_count, .. } = self;
        output::text(&format!(
            "{branches} branches, {operations} operations ({replayed} of them replayed), {snapshots} snapshots, \
             {jobs} jobs: {problem_count} problems"
        ))
    }
}

fn load(reducer: &dyn Reducer, call: &mut Call<'_>) -> anyhow::Result<Box<dyn LiveDocument>> {
    reducer.load(&[], call).map_err(|error| anyhow::anyhow!("it could not be created: {error}"))
}

/// Applies an operation again, and compares the state with the hash that the log has.
fn step(live: &mut dyn LiveDocument, stored: &StoredOperation, call: &mut Call<'_>) -> anyhow::Result<()> {
    let StoredOperation { operation, sequence, plugin } = stored;
    if operation.action.scope.as_str() == Scope::DOCUMENT {
        // The host's own; no reducer applied it.
        return Ok(());
    }
    let applied = live.apply(&operation.action, call);
    // What it dispatched, it dispatched when it was applied first.
    drop(call.outbox.take());
    let state = applied.map_err(|error| {
        anyhow::anyhow!("operation {sequence}, which {plugin} made, could not be applied again: {error}")
    })?;
    let hash = state_hash(&state.json);
    anyhow::ensure!(
        hash == operation.hash,
        "operation {sequence}, which {plugin} made, came to a state that hashes to {hash}, not to {}",
        operation.hash
    );
    Ok(())
}
