//! Data directories: what commands say of them, and how those open that only look.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reductor_host::{DiskStore, StoreOptions, StoreSync};

/// The file that makes a directory a store.
const VERSION_FILE: &str = "version";

/// A data directory that must be there.
#[derive(clap::Args)]
pub(crate) struct DataDir {
    /// The data directory, as given to `reductor run`.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

impl DataDir {
    pub(crate) fn path(&self) -> &Path {
        &self.data
    }

    /// Opens the store in it; makes none. One that cannot be written to is open for looking only.
    pub(crate) fn open(&self) -> anyhow::Result<DiskStore> {
        self.check()?;
        let opened = match DiskStore::open(&self.data, StoreOptions::default()) {
            Err(error) if error.is_unwritable() => DiskStore::open_read_only(&self.data, StoreOptions::default()),
            opened => opened,
        };
        opened.with_context(|| "--data".to_owned())
    }

    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let dir = self.data.display();
        anyhow::ensure!(self.data.exists(), "--data: {dir} does not exist");
        anyhow::ensure!(self.data.is_dir(), "--data: {dir} is not a directory");
        let is_store = self.data.join(VERSION_FILE).exists();
        anyhow::ensure!(
            is_store,
            "--data: {dir} is not a data directory of this host: `reductor run --data` makes one"
        );
        Ok(())
    }
}

/// The data directory of a run, which is made if it is not there.
#[derive(clap::Args)]
pub(crate) struct RunData {
    /// Keep documents and jobs in this directory, over runs; it is made if it does not exist.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// When what was written reaches the disk.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = SyncWhen::Always, requires = "data")]
    sync: SyncWhen,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum SyncWhen {
    /// Before a result is printed: nothing that was is ever lost.
    Always,
    /// Every 100 ms: so much is lost with the power, and nothing with the process.
    Interval,
    /// When the system thinks it right: half a minute is lost with the power.
    Never,
}

impl RunData {
    /// Where, and how.
    pub(crate) fn store(&self) -> Option<(&Path, StoreOptions)> {
        let sync = match self.sync {
            SyncWhen::Always => StoreSync::Always,
            SyncWhen::Interval => StoreSync::INTERVAL,
            SyncWhen::Never => StoreSync::Never,
        };
        Some((self.data.as_deref()?, StoreOptions { sync, ..StoreOptions::default() }))
    }
}
