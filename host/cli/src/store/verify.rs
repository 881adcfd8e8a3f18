//! `reductor store verify`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use reductor_host::{
    Call, CompileWorker, DiskStore, DocumentType, LaneKey, Limits, OperationStore as _, Reducers, StoreProblem,
    replay_all,
};
use serde::Serialize;

use super::{records_bar, show};
use crate::data::DataDir;
use crate::doc::PluginArgs;
use crate::exit::{self, Fault};
use crate::units::{self, count};
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
Operations are applied again by the revision of the plugin that made them: give earlier ones with
--replay-plugin, or theirs are left out.

Exit codes: 0 nothing is wrong; 1 a record is damaged, or an operation does not lead to the state
that the log has; 4 the store is too damaged to be opened. 2 and 3 say nothing of the store: bad
usage, a directory in use, a missing permission.")]
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
    /// Operations that were not replayed because the revision that made them is missing, by that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    not_replayed_operations: BTreeMap<String, u64>,
    problem_count: u64,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Problem {
    place: String,
    problem: String,
}

pub(super) fn verify(args: &Args, worker: CompileWorker) -> anyhow::Result<Outcome> {
    let store = match args.data.open() {
        Err(error) if Fault::of(&error) == Fault::Damage => {
            Report::of_unopened(args, &error).print(args.json)?;
            return Ok(Outcome::Damaged);
        }
        opened => opened?,
    };
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
    /// Of a store that is too damaged to be opened.
    fn of_unopened(args: &Args, error: &anyhow::Error) -> Self {
        let place = args.data.path().display().to_string();
        let mut report = Self::default();
        report.add(place, exit::describe(error));
        report
    }

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

    /// Applies the operations of a branch again, each with the revision that made it.
    fn replay(&mut self, store: &DiskStore, reducers: &Reducers, lane: &LaneKey) -> anyhow::Result<()> {
        let Some(position) = store.position(lane)? else { anyhow::bail!("it is listed, and is not there") };
        if !reducers.knows(&position.document_type) {
            *self.not_replayed.entry(position.document_type).or_default() += 1;
            return Ok(());
        }
        let (interrupt, limits) = (Arc::new(AtomicBool::new(false)), Limits::default());
        let mut call = Call::new(lane, Instant::now() + REPLAY_MAX, &interrupt, &limits);
        let (found, outcome) = replay_all(store, reducers, lane, &mut call);
        self.replayed += found.replayed;
        for (plugin, operations) in found.skipped {
            *self.not_replayed_operations.entry(format!("{plugin} ({})", plugin.digest)).or_default() += operations;
        }
        Ok(outcome?)
    }

    fn add(&mut self, place: String, problem: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { place, problem });
        }
    }

    fn print(&self, json: bool) -> anyhow::Result<()> {
        for (document_type, branches) in &self.not_replayed {
            let (branches, were) =
                (count(*branches, "branch", "branches"), if *branches == 1 { "was" } else { "were" });
            eprintln!("{branches} of `{document_type}` {were} not replayed: give its plugin with --plugin");
        }
        for (revision, operations) in &self.not_replayed_operations {
            eprintln!("{operations} operations of {revision} were not replayed: give it with --replay-plugin");
        }
        if json {
            return output::line(self);
        }
        for Problem { place, problem } in &self.problems {
            output::text(&format!("{place}: {problem}"))?;
        }
        output::text(&format!(
            "{}, {} ({} of them replayed), {}, {}: {}",
            count(self.branches, "branch", "branches"),
            count(self.operations, "operation", "operations"),
            self.replayed,
            count(self.snapshots, "snapshot", "snapshots"),
            units::jobs(self.jobs),
            count(self.problem_count, "problem", "problems"),
        ))
    }
}
