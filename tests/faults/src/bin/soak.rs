//! Kills thousands of processes, takes the power away a million times, and looks at one loss of
//! power again: what `tests/faults/soak` runs.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use reductor_faults::{Begin, Cut, Mode, Plan, Recorded, Syncing, Victim, crash, failing, record};

/// Losses of power in one recorded run, before another is recorded.
const CUTS_A_RUN: usize = 5_000;

const USAGE: &str = "usage: soak kill COUNT [SEED] | soak power COUNT [SEED] | soak fail RUNS [SEED] | \
                     soak replay RECORDING OPS MODE SEED [DIR]";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["kill", count] => kill(count.parse()?, fastrand::u64(..1 << 32)),
        ["kill", count, seed] => kill(count.parse()?, seed.parse()?),
        ["power", count] => power(count.parse()?, fastrand::u64(..1 << 32)),
        ["power", count, seed] => power(count.parse()?, seed.parse()?),
        ["fail", count] => fail(count.parse()?, fastrand::u64(..1 << 32)),
        ["fail", count, seed] => fail(count.parse()?, seed.parse()?),
        ["replay", recording, ops, mode, seed] => replay(recording, ops, mode, seed, None),
        ["replay", recording, ops, mode, seed, dir] => replay(recording, ops, mode, seed, Some(Path::new(dir))),
        _ => bail!(USAGE),
    }
}

fn victim() -> Result<Victim> {
    let program: PathBuf = std::env::current_exe()?.with_file_name("victim");
    Ok(Victim::new(program))
}

fn kill(count: usize, seed: u64) -> Result<()> {
    println!("{count} kills, seed {seed}");
    let started = Instant::now();
    let kills = crash(&victim()?, Syncing::Always, seed, count, |kills| progress(kills.killed, count))?;
    println!("\nnothing was lost in {:.0?}: {kills:?}", started.elapsed());
    Ok(())
}

fn power(count: usize, seed: u64) -> Result<()> {
    println!("{count} losses of power, seed {seed}");
    let started = Instant::now();
    let mut done = 0;
    let mut run = 0;
    while done < count {
        let plan = plan(seed.wrapping_add(run));
        let recorded = record(&victim()?, Syncing::Always, plan)?;
        // Long runs are cut where most happens.
        let everywhere = 0..recorded.ops();
        let ops =
            if plan.seed.is_multiple_of(2) { everywhere } else { recorded.ops_on("/tables/").unwrap_or(everywhere) };
        // Where files of large values are written, the engine asks more than the standard gives.
        let modes = if plan.text_bytes_max < Plan::FILLS_TABLES { &Mode::ALL[..] } else { &Mode::ALL[..4] };
        let cuts = CUTS_A_RUN.min(count - done);
        let checked = recorded.check_cuts(plan.seed, ops, modes, cuts, |cuts| progress(done + cuts.cuts, count))?;
        done += checked.cuts;
        run += 1;
    }
    println!("\nnothing was lost in {:.0?}", started.elapsed());
    Ok(())
}

/// Has all operations of a run fail, one after the other, and of other runs, until there were enough.
fn fail(count: usize, seed: u64) -> Result<()> {
    println!("{count} runs with a fault, seed {seed}");
    let (mut done, mut run) = (0, 0);
    while done < count {
        let begin = if run % 2 == 0 { Begin::Used } else { Begin::New };
        let failures = failing(&victim()?, seed.wrapping_add(run), begin, 1, |now| progress(done + now.runs, count))?;
        println!("\r{failures:?}");
        done += failures.runs;
        run += 1;
    }
    println!("nothing was lost");
    Ok(())
}

/// Runs are of all sizes: short ones are cut everywhere; in long ones tables are written and merged.
fn plan(seed: u64) -> Plan {
    let (jobs, text_bytes_max) = match seed % 8 {
        7 => (150, Plan::FILLS_TABLES),
        0..3 => (20, 300),
        _ => (20 + 10 * (seed % 7), 3_000),
    };
    Plan { seed, round: 0, clients: 1 + seed % 4, jobs, text_bytes_max }
}

fn replay(recording: &str, ops: &str, mode: &str, seed: &str, dir: Option<&Path>) -> Result<()> {
    let recorded = Recorded::read(Path::new(recording))?;
    let modes = Mode::ALL.into_iter();
    let mode = modes.into_iter().find(|known| format!("{known:?}") == mode).context("no such mode")?;
    let cut = Cut { ops: ops.parse()?, mode, seed: seed.parse()? };
    println!("the last of {} operations:", cut.ops);
    for op in recorded.ops_before(cut) {
        println!("  {}", format!("{op:?}").chars().take(140).collect::<String>());
    }
    let kept = dir.map_or_else(|| tempfile::tempdir().map(tempfile::TempDir::keep), |dir| Ok(dir.to_owned()))?;
    std::fs::create_dir_all(&kept)?;
    println!("what the loss of power left: {}", kept.display());
    recorded.check_cut(cut, &kept)?;
    println!("nothing was lost");
    Ok(())
}

fn progress(done: usize, of: usize) {
    if done.is_multiple_of((of / 1000).max(1)) || done == of {
        print!("\r{done} of {of}");
        // It is only for people.
        let _ = std::io::stdout().flush();
    }
}
