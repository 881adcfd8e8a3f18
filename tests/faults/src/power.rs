//! Takes the power away after any operation of a recorded run, and checks.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use tempfile::TempPath;

use crate::check::{Checked, Depth, check};
use crate::cores::on_all_cores;
use crate::disk::{Disk, Mode};
use crate::record::Record;
use crate::recording::{Op, Recording};
use crate::scratch;
use crate::shim::Shim;
use crate::victim::{self, Syncing, Victim};
use crate::workload::Plan;

/// A run that was recorded, from an empty directory on.
#[derive(Debug)]
pub struct Recorded {
    recording: Recording,
    /// Where the log is, which may be kept.
    log: TempPath,
}

/// One loss of power: enough to look at it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Operations that were done.
    pub ops: usize,
    /// What the loss leaves.
    pub mode: Mode,
    /// Chance.
    pub seed: u64,
}

/// What a series of losses was like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuts {
    /// Losses of power.
    pub cuts: usize,
    /// Operations in the stores that were left, all told.
    pub operations: usize,
    /// Jobs in them that had not ended, all told.
    pub unfinished: usize,
    /// Jobs in them that had not been acknowledged, all told.
    pub unacknowledged: usize,
}

/// Runs a process to its end and records what it does.
///
/// # Errors
///
/// If it does not come to its end.
pub fn record(victim: &Victim, syncing: Syncing, plan: Plan) -> Result<Recorded> {
    let dir = scratch::dir()?;
    let log = scratch::file()?;
    let shim = Shim::new(dir.path()).log(&log);
    let ended = victim::run_watched(victim.command(&dir.path().join("store"), syncing, plan), &shim, &[])?;
    ensure!(ended.status.success(), "the process failed: {}", ended.complaints);
    Ok(Recorded { recording: Recording::read(&log)?, log })
}

impl Recorded {
    /// Reads a recording that was kept.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn read(log: &Path) -> Result<Self> {
        let copy = scratch::file()?;
        std::fs::copy(log, &copy)?;
        Ok(Self { recording: Recording::read(log)?, log: copy })
    }

    /// How many operations the process made.
    pub fn ops(&self) -> usize {
        self.recording.ops.len()
    }

    /// The operations from the first to the last that makes or removes something with `part` in
    /// its path, once the store was open.
    pub fn ops_on(&self, part: &str) -> Option<Range<usize>> {
        let said = self.recording.ops.iter().position(|op| matches!(op, Op::Say { .. }))?;
        let named = |op: &Op| match op {
            Op::Create { path, .. } | Op::Unlink { path } => path.contains(part),
            _ => false,
        };
        let first = said + self.recording.ops[said..].iter().position(named)?;
        let last = self.recording.ops.iter().rposition(named)?;
        Some(first..last + 1)
    }

    /// Takes the power away `count` times, spread over `ops` and `modes`, and checks after
    /// each that nothing was lost. Works on as many cores as there are.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with the cut; the recording is kept then.
    pub fn check_cuts(
        &self,
        seed: u64,
        ops: Range<usize>,
        modes: &[Mode],
        count: usize,
        progress: impl Fn(Cuts) + Sync,
    ) -> Result<Cuts> {
        let done = Mutex::new(Cuts::default());
        let add = |checked: Checked| {
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.cuts += 1;
            done.operations += checked.operations;
            done.unfinished += checked.unfinished;
            done.unacknowledged += checked.unacknowledged;
            progress(*done);
        };
        let stop = AtomicBool::new(false);
        on_all_cores(|core, cores| {
            let cuts = cuts(seed, ops.clone(), modes, count).skip(core).step_by(cores);
            let checked = self.check_each(cuts, &stop, &add);
            stop.fetch_or(checked.is_err(), Ordering::Relaxed);
            checked
        })?;
        Ok(*done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn check_each(&self, cuts: impl Iterator<Item = Cut>, stop: &AtomicBool, add: &impl Fn(Checked)) -> Result<()> {
        let mut replay = Replay::new();
        for cut in cuts {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if cut.ops < replay.done {
                replay = Replay::new();
            }
            replay.up_to(cut.ops, &self.recording)?;
            let dir = scratch::dir()?;
            match replay.check(cut, dir.path()) {
                Ok(checked) => add(checked),
                Err(error) => return Err(error.context(self.kept(cut))),
            }
        }
        Ok(())
    }

    /// Takes the power away once, and leaves what it left in `dir`, before any check.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn check_cut(&self, cut: Cut, dir: &Path) -> Result<()> {
        let mut replay = Replay::new();
        replay.up_to(cut.ops, &self.recording)?;
        replay.disk.after_power_loss(cut.mode, &mut Rng::with_seed(cut.seed)).write_to(dir)?;
        replay.check(cut, scratch::dir()?.path())?;
        Ok(())
    }

    /// The last operations before a cut, for people.
    pub fn ops_before(&self, cut: Cut) -> &[Op] {
        &self.recording.ops[cut.ops.saturating_sub(12)..cut.ops]
    }

    fn kept(&self, cut: Cut) -> String {
        let path: PathBuf = std::env::temp_dir().join(self.log.file_name().unwrap_or_default());
        let copied = std::fs::copy(&self.log, &path);
        let Cut { ops, mode, seed } = cut;
        let again = format!("tests/faults/soak replay {} {ops} {mode:?} {seed}", path.display());
        match copied {
            Ok(_) => format!("after {ops} operations, power lost as {mode:?}; again: {again}"),
            Err(error) => format!("after {ops} operations, power lost as {mode:?}; the recording is lost: {error}"),
        }
    }
}

/// The cuts of a seed after some of `ops`, in their order.
fn cuts(seed: u64, ops: Range<usize>, modes: &[Mode], count: usize) -> impl Iterator<Item = Cut> {
    // More cuts than operations: several a piece. Fewer: one somewhere in each stretch.
    let stretch = (ops.len() / count.max(1)).max(1);
    (0..count).map(move |number| {
        let mut rng = Rng::with_seed(seed.wrapping_add(number as u64));
        let at = ops.start + (number as u128 * ops.len() as u128 / count as u128) as usize;
        Cut {
            ops: (at + 1 + rng.usize(..stretch)).min(ops.end),
            mode: modes[rng.usize(..modes.len())],
            seed: rng.u64(..),
        }
    })
}

/// A disk, and what the process had told the world, at some moment.
struct Replay {
    disk: Disk,
    record: Record,
    /// The beginning of a line.
    rest: Vec<u8>,
    done: usize,
}

impl Replay {
    fn new() -> Self {
        Self { disk: Disk::empty(), record: Record::default(), rest: Vec::new(), done: 0 }
    }

    fn up_to(&mut self, ops: usize, recording: &Recording) -> Result<()> {
        for op in &recording.ops[self.done..ops] {
            self.disk.apply(op).with_context(|| format!("operation {}", self.done))?;
            if let Op::Say { data } = op {
                self.rest.extend_from_slice(data);
                let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                self.record.add(&self.rest[..whole])?;
                self.rest.drain(..whole);
            }
            self.done += 1;
        }
        Ok(())
    }

    fn check(&self, cut: Cut, dir: &Path) -> Result<Checked> {
        let mut rng = Rng::with_seed(cut.seed);
        self.disk.after_power_loss(cut.mode, &mut rng).write_to(dir)?;
        let depth = if rng.u8(..8) == 0 { Depth::Twice } else { Depth::Once };
        check(&dir.join("store"), &self.record, depth)
    }
}
