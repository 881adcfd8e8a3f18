//! `reductor store backup`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::{HumanBytes, ProgressBar};
use reductor_host::{DiskStore, OpenError, StoreOptions};
use tempfile::NamedTempFile;

use super::{control, records_bar, show};
use crate::Outcome;
use crate::data::DataDir;

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
    /// The file to make; it appears when it is complete.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn backup(args: &Args) -> anyhow::Result<Outcome> {
    let Args { data, force, file } = args;
    data.check()?;
    let exists = || format!("{} exists; --force writes over it", file.display());
    anyhow::ensure!(*force || !file.exists(), exists());
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let unwritable = || format!("{} cannot be written", file.display());
    let made = NamedTempFile::new_in(dir).with_context(unwritable)?;
    write(data, made.as_file())?;
    made.as_file().sync_all().with_context(unwritable)?;
    let bytes = made.as_file().metadata()?.len();
    if *force {
        made.persist(file).with_context(unwritable)?;
    } else {
        // Somebody else may have made it meanwhile.
        made.persist_noclobber(file).with_context(exists)?;
    }
    File::open(dir)?.sync_all().with_context(unwritable)?;
    eprintln!("wrote {} ({})", file.display(), HumanBytes(bytes));
    Ok(Outcome::AllWell)
}

/// Copies the store, or has the process copy it that has it open.
fn write(data: &DataDir, file: &File) -> anyhow::Result<()> {
    let mut to = BufWriter::new(file);
    match DiskStore::open(data.path(), StoreOptions::default()) {
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
