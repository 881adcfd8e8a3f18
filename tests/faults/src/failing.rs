//! Has every single write, sync and change of a run fail, and checks.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;

use crate::check::{Depth, check};
use crate::cores::on_all_cores;
use crate::disk::{Disk, Image, Mode};
use crate::record::Record;
use crate::recording::{Op, Recording};
use crate::scratch;
use crate::shim::{Fault, Kind, Lasts, Shim, What};
use crate::victim::{self, Syncing, Victim};
use crate::workload::Plan;

/// What a series of faults was like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failures {
    /// Runs with a fault.
    pub runs: usize,
    /// Runs whose store did not open.
    pub not_opened: usize,
    /// Runs in which somebody was told of the fault.
    pub noticed: usize,
    /// Results with `IO_ERROR`.
    pub io_errors: u64,
}

/// Which store the runs begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// None: it is made.
    New,
    /// One that has been worked on.
    Used,
}

/// How a run fails.
#[derive(Clone, Copy, Debug)]
struct Failure {
    of: Kind,
    what: What,
    lasts: Lasts,
}

const FAILURES: [Failure; 6] = [
    Failure { of: Kind::Write, what: What::Eio, lasts: Lasts::Once },
    // The disk is full, first in the midst of a write.
    Failure { of: Kind::Write, what: What::Short, lasts: Lasts::Once },
    Failure { of: Kind::Write, what: What::Enospc, lasts: Lasts::FromThenOn },
    Failure { of: Kind::Sync, what: What::Eio, lasts: Lasts::Once },
    Failure { of: Kind::Change, what: What::Eio, lasts: Lasts::Once },
    Failure { of: Kind::Any, what: What::Eio, lasts: Lasts::FromThenOn },
];

/// Losses of power that are looked at after each run.
const LOSSES: [Mode; 3] = [Mode::Everything, Mode::Ordered, Mode::Standard];

/// Has every `step`-th operation of a short run fail in each way that it can, one a run.
///
/// After a failed sync, a second process goes on where the first ended: it reads from memory what
/// may never have reached the disk, and must not build on it.
///
/// The process must go on to its end: it tells its clients, reads on, and writes nothing more to
/// a file whose sync failed. Its store must be right when it is opened again, and after a loss of
/// power at the end too.
///
/// # Errors
///
/// What is wrong, with the fault.
pub fn failing(
    victim: &Victim,
    seed: u64,
    begin: Begin,
    step: usize,
    progress: impl Fn(Failures) + Sync,
) -> Result<Failures> {
    let start = Start::new(victim, seed, begin)?;
    let plan = Plan { seed, round: 1, clients: 2, jobs: 10, text_bytes_max: 2_000 };
    let undisturbed = start.run(victim, plan, &[])?.recording;
    let every = |failure: Failure| (1..=count(&undisturbed, failure.of)).step_by(step).map(move |at| (failure, at));
    let all: Vec<_> = FAILURES.into_iter().flat_map(every).collect();
    let done = Mutex::new(Failures::default());
    on_all_cores(|core, cores| {
        for (failure, number) in all.iter().skip(core).step_by(cores) {
            let faults = failure.at(*number);
            let ran = start.run(victim, plan, &faults).and_then(|ran| ran.check(*number).map(|()| ran));
            let ran = ran.with_context(|| format!("with {}, seed {seed}", faults[0]))?;
            if failure.of == Kind::Sync {
                let again = ran.again(victim, Plan { round: 2, ..plan }).and_then(|again| again.check(*number));
                again.with_context(|| format!("in the next process, after {}, seed {seed}", faults[0]))?;
            }
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.runs += 1;
            done.not_opened += usize::from(ran.record.not_opened.is_some());
            done.noticed += usize::from(ran.noticed());
            done.io_errors += ran.record.io_errors;
            progress(*done);
        }
        Ok(())
    })?;
    Ok(*done.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Failure {
    fn at(self, number: u64) -> Vec<Fault> {
        let Self { of, what, lasts } = self;
        let fault = Fault { of, number, lasts, what };
        match what {
            // Half of it went in, and then nothing more.
            What::Short => {
                vec![fault, Fault { number: number + 1, lasts: Lasts::FromThenOn, what: What::Enospc, ..fault }]
            }
            _ => vec![fault],
        }
    }
}

fn count(recording: &Recording, kind: Kind) -> u64 {
    let of = |op: &Op| match op {
        Op::Write { .. } => Some(Kind::Write),
        Op::Sync { .. } | Op::SyncAll => Some(Kind::Sync),
        Op::MakeDir { path, .. } if path.is_empty() => None,
        Op::Say { .. } | Op::Fault | Op::SyncFailed { .. } | Op::Unsupported { .. } => None,
        _ => Some(Kind::Change),
    };
    let counted = recording.ops.iter().filter_map(of).filter(|found| kind == Kind::Any || *found == kind);
    counted.count() as u64
}

/// What every run begins with.
struct Start {
    image: Image,
    record: Record,
}

/// A run that has come to its end.
struct Ran {
    disk: Disk,
    recording: Recording,
    record: Record,
}

impl Start {
    fn new(victim: &Victim, seed: u64, begin: Begin) -> Result<Self> {
        let mut start = Self { image: Image::default(), record: Record::default() };
        if begin == Begin::Used {
            let plan = Plan { seed, round: 0, clients: 2, jobs: 20, text_bytes_max: 2_000 };
            let ran = start.run(victim, plan, &[])?;
            start.image = ran.disk.after_power_loss(Mode::Everything, &mut Rng::new());
            start.record = ran.record;
        }
        Ok(start)
    }

    fn run(&self, victim: &Victim, plan: Plan, faults: &[Fault]) -> Result<Ran> {
        let dir = scratch::dir()?;
        self.image.write_to(dir.path())?;
        run(victim, plan, faults, Disk::from_dir(dir.path())?, dir.path(), &self.record)
    }
}

/// Runs a process in a directory that has what the disk has.
fn run(victim: &Victim, plan: Plan, faults: &[Fault], mut disk: Disk, dir: &Path, before: &Record) -> Result<Ran> {
    let log = scratch::file()?;
    let shim = faults.iter().fold(Shim::new(dir).log(&log), |shim, fault| shim.fault(*fault));
    let command = victim.command(&dir.join("store"), Syncing::Always, plan);
    let ended = victim::run_watched(command, &shim, &[])?;
    ensure!(ended.status.success(), "the process failed: {} {}", ended.status, ended.complaints);
    let recording = Recording::read(&log)?;
    recording.ops.iter().try_for_each(|op| disk.apply(op))?;
    let mut record = Record { done: false, ..before.clone() };
    record.add(&ended.said).context("what it said")?;
    ensure!(record.done || record.not_opened.is_some(), "it did not come to its end: {}", ended.complaints);
    Ok(Ran { disk, recording, record })
}

impl Ran {
    /// Runs the next process, which sees all that this one did, on the disk or not.
    fn again(&self, victim: &Victim, plan: Plan) -> Result<Self> {
        let dir = scratch::dir()?;
        self.disk.after_power_loss(Mode::Everything, &mut Rng::new()).write_to(dir.path())?;
        let mut disk = self.disk.clone();
        disk.move_to(dir.path())?;
        run(victim, plan, &[], disk, dir.path(), &self.record)
    }

    fn check(&self, seed: u64) -> Result<()> {
        ensure!(self.record.not_read.is_empty(), "it could not read any more: {:?}", self.record.not_read);
        self.check_nothing_was_retried()?;
        let mut rng = Rng::with_seed(seed);
        for mode in LOSSES {
            let dir = scratch::dir()?;
            self.disk.after_power_loss(mode, &mut rng).write_to(dir.path())?;
            let checked = check(&dir.path().join("store"), &self.record, Depth::Once);
            checked.with_context(|| format!("opened again, after power was lost as {mode:?}"))?;
        }
        Ok(())
    }

    /// After a failed sync nobody knows what is on the disk, and nothing is written after it. The
    /// engine syncs a file once more when it closes it, and believes nothing for that.
    fn check_nothing_was_retried(&self) -> Result<()> {
        for (at, op) in self.recording.ops.iter().enumerate() {
            let Op::SyncFailed { inode: failed } = op else { continue };
            let goes_on = |op: &Op| matches!(op, Op::Write { inode, .. } if inode == failed);
            ensure!(!self.recording.ops[at..].iter().any(goes_on), "it wrote to a file whose sync had failed");
        }
        Ok(())
    }

    fn noticed(&self) -> bool {
        self.record.not_opened.is_some() || self.record.not_accepted > 0 || self.record.io_errors > 0
    }
}
