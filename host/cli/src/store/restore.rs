//! `reductor store restore`.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::Context as _;
use reductor_host::restore_store;
use serde_json::json;

use super::{records_bar, show};
use crate::units::{self, count};
use crate::{Outcome, output};

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  reductor store restore friday.backup --data ./restored

Every record is checked. A directory that was not restored to the end is not opened by any command.")]
pub(crate) struct Args {
    /// The directory to make: empty, or not there yet.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print JSON: what was restored.
    #[arg(long)]
    json: bool,
    /// What `reductor store backup` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn restore(args: &Args) -> anyhow::Result<Outcome> {
    let Args { data, json, file } = args;
    let named = || file.display().to_string();
    let mut from = BufReader::new(File::open(file).with_context(|| format!("{} cannot be read", file.display()))?);
    let is_new = !data.exists();
    let is_empty = is_new || fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_none());
    anyhow::ensure!(is_empty, "--data: {} is not an empty directory", data.display());
    let bar = records_bar("restoring");
    let restored = restore_store(&mut from, data, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    if restored.is_err() && is_new {
        // Nobody else had it: what is left would only be in the way of the next try.
        let _ = fs::remove_dir_all(data);
    }
    let summary = restored.with_context(named)?;
    let (lanes, operations, jobs) = (summary.lanes, summary.operations, summary.jobs);
    if *json {
        output::line(&json!({ "branches": lanes, "operations": operations, "jobs": jobs }))?;
        return Ok(Outcome::AllWell);
    }
    eprintln!(
        "restored {}, {} and {} to {}",
        count(lanes, "branch", "branches"),
        count(operations, "operation", "operations"),
        units::jobs(jobs),
        data.display()
    );
    Ok(Outcome::AllWell)
}
