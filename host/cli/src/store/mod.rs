//! `reductor store`: keeps a data directory in good order.

mod backup;
pub(crate) mod control;
mod restore;
mod stats;
mod verify;

use indicatif::{ProgressBar, ProgressStyle};
use reductor_host::{CompileWorker, StoreProgress};

use crate::Outcome;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Reads every record, applies every operation again, and reports what is wrong.
    Verify(verify::Args),
    /// Writes a copy of a data directory to a file, also while a host runs with it.
    Backup(backup::Args),
    /// Makes a data directory of a backup.
    Restore(restore::Args),
    /// Prints how many documents, operations and jobs a data directory has, and their size.
    Stats(stats::Args),
}

pub(crate) fn store(command: Command, worker: CompileWorker) -> anyhow::Result<Outcome> {
    match command {
        Command::Verify(args) => verify::verify(&args, worker),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => restore::restore(&args),
        Command::Stats(args) => stats::stats(&args),
    }
}

/// Shows on a terminal how many records have been dealt with.
fn records_bar(doing: &'static str) -> ProgressBar {
    let template = "{msg} {bar:40} {pos}/{len} records, {eta} left";
    let style = ProgressStyle::with_template(template).expect("the template is a constant");
    ProgressBar::new(0).with_style(style).with_message(doing)
}

fn show(bar: &ProgressBar, progress: StoreProgress) {
    bar.set_length(progress.total.max(progress.records));
    bar.set_position(progress.records);
}
