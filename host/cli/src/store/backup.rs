//! `reductor store backup`.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::{HumanBytes, ProgressBar};
use reductor_host::{BackupFile, DiskStore, ExistingBackup, OpenError};
use serde_json::json;

use super::{control, records_bar, show};
use crate::data::DataDir;
use crate::{Outcome, output};

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  reductor store backup --data ./data friday.backup

It is a copy as of one moment. A host that runs with the directory writes it itself, and goes on.")]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataDir,
    /// Write over the file if it exists.
    #[arg(long)]
    force: bool,
    /// Print JSON: the file and its bytes.
    #[arg(long)]
    json: bool,
    /// The file to make; it appears when it is complete.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn backup(args: &Args) -> anyhow::Result<Outcome> {
    let Args { data, force, json, file } = args;
    data.check()?;
    let exists = || format!("{} exists; --force writes over it", file.display());
    anyhow::ensure!(*force || !file.exists(), exists());
    let unwritable = || format!("{} cannot be written", file.display());
    let made = BackupFile::create(file).with_context(unwritable)?;
    write(data, made.as_file())?;
    let existing = if *force { ExistingBackup::Replace } else { ExistingBackup::Keep };
    let bytes = made.finish(existing).map_err(|error| match error.kind() {
        // Another process has made it meanwhile.
        ErrorKind::AlreadyExists => anyhow::anyhow!(exists()),
        _ => anyhow::Error::new(error).context(unwritable()),
    })?;
    if *json {
        output::line(&json!({ "file": file, "bytes": bytes }))?;
    } else {
        eprintln!("wrote {} ({})", file.display(), HumanBytes(bytes));
    }
    Ok(Outcome::AllWell)
}

/// Copies the store, or has the process copy it that has it open.
fn write(data: &DataDir, file: &File) -> anyhow::Result<()> {
    let mut to = BufWriter::new(file);
    // A host that has it open makes the copy itself: it need not be waited for.
    let options = data.looking();
    let opened = match DiskStore::open(data.path(), options.clone()) {
        Err(error) if error.is_unwritable() => DiskStore::open_read_only(data.path(), options),
        opened => opened,
    };
    match opened {
        Ok(store) => {
            let bar = records_bar("copying");
            store.backup(&mut to, &mut |progress| show(&bar, progress))?;
            bar.finish_and_clear();
        }
        Err(in_use @ OpenError::InUse { .. }) => {
            let bar = ProgressBar::new_spinner();
            control::fetch_backup(data.path(), &mut to, &mut |bytes| {
                bar.set_message(format!("copying, {} so far", HumanBytes(bytes)));
                bar.tick();
            })
            .with_context(|| format!("{in_use}, and that process makes no backup"))?;
            bar.finish_and_clear();
        }
        Err(error) => return Err(error.into()),
    }
    to.flush()?;
    Ok(())
}
