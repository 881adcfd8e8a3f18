//! Kills the process at any moment, starts it again, and checks.

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;

use crate::check::{Depth, check};
use crate::disk::{Disk, Mode};
use crate::record::{Intent, Record};
use crate::scratch;
use crate::shim::{Fault, Kind, Lasts, Shim, What};
use crate::victim::{self, KillAfter, Syncing, Victim};
use crate::workload::Plan;

/// What a series of kills was like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kills {
    /// Processes that were killed.
    pub killed: usize,
    /// Acknowledgements that were checked.
    pub acknowledged: usize,
    /// Jobs that had not ended when a process was killed, all told.
    pub unfinished: usize,
}

/// Processes that work on the same store, one after the other.
const ROUNDS: u64 = 10;
/// Operations on the disk at one of which a process is killed: it makes some hundreds.
const OPS_MAX: u64 = 900;
/// Lines after one of which it is killed.
const LINES_MAX: usize = 500;

/// Kills `count` processes, and checks after each that nothing was lost.
///
/// # Errors
///
/// What was lost or is wrong otherwise, with the seed that leads there again, as far as threads
/// allow: they take turns as they like.
pub fn crash(victim: &Victim, syncing: Syncing, seed: u64, count: usize, progress: impl Fn(Kills)) -> Result<Kills> {
    let mut kills = Kills::default();
    let mut series = 0;
    while kills.killed < count {
        let seed = seed.wrapping_add(series);
        let rounds = ROUNDS.min((count - kills.killed) as u64);
        one_store(victim, syncing, seed, rounds, &mut kills, &progress).with_context(|| format!("with seed {seed}"))?;
        series += 1;
    }
    Ok(kills)
}

fn one_store(
    victim: &Victim,
    syncing: Syncing,
    seed: u64,
    rounds: u64,
    kills: &mut Kills,
    progress: &impl Fn(Kills),
) -> Result<()> {
    let mut rng = Rng::with_seed(seed);
    let (dir, mut record) = (scratch::dir()?, Record::default());
    let mut before = 0;
    for round in 0..rounds {
        let plan = Plan { seed, round, clients: 3, jobs: 40, text_bytes_max: 2_000 };
        let again: Vec<Intent> = unanswered(&record).collect();
        let mut command = victim.command(&dir.path().join("store"), syncing, plan);
        // Either at any moment, or exactly before an operation on the disk.
        let kill = if rng.bool() {
            KillAfter::Lines(rng.usize(..LINES_MAX))
        } else {
            let fault = Fault { of: Kind::Any, number: rng.u64(1..OPS_MAX), lasts: Lasts::Once, what: What::Kill };
            Shim::new(dir.path()).fault(fault).watch(&mut command)?;
            KillAfter::End
        };
        let ended = victim::run(command, &again, kill)?;
        record.add(&ended.said).with_context(|| format!("in round {round}: {}", ended.complaints))?;
        ensure!(record.not_opened.is_none(), "in round {round} the store did not open: {:?}", record.not_opened);
        ensure!(ended.complaints.is_empty() || record.done, "in round {round}: {}", ended.complaints);
        kills.killed += 1;
        kills.acknowledged += record.acknowledged() - before;
        before = record.acknowledged();
        // The next process has the store as the killed one left it; a copy is checked.
        let copy = scratch::dir()?;
        Disk::from_dir(dir.path())?.after_power_loss(Mode::Everything, &mut rng).write_to(copy.path())?;
        let depth = if rng.u8(..4) == 0 { Depth::Twice } else { Depth::Once };
        let checked = check(&copy.path().join("store"), &record, depth);
        kills.unfinished += checked.with_context(|| format!("after round {round}, killed {kill:?}"))?.unfinished;
        progress(*kills);
    }
    Ok(())
}

/// Jobs whose client does not know whether they were accepted.
fn unanswered(record: &Record) -> impl Iterator<Item = Intent> {
    record.jobs.values().filter(|told| told.accepted.is_none()).map(|told| told.intent.clone())
}
