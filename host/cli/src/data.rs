//! Data directories: what commands say of them, and how those open that only look.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reductor_host::{DiskStore, JobRetention, OpenError, StoreOptions, StoreSync};

use crate::store::control;
use crate::units::{self, age, size};

/// The file that makes a directory a store.
const VERSION_FILE: &str = "version";
/// The file of a restore that is not finished.
const RESTORING_FILE: &str = "restoring";

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

    /// Opens the store in the directory and never creates one; read-only if it cannot be written to.
    pub(crate) fn open(&self) -> anyhow::Result<DiskStore> {
        self.check()?;
        let options = self.looking();
        let opened = match DiskStore::open(&self.data, options.clone()) {
            Err(error) if error.is_unwritable() => DiskStore::open_read_only(&self.data, options),
            opened => opened,
        };
        opened.map_err(|error| match error {
            OpenError::InUse { .. } => anyhow::Error::new(error).context(
                "--data: a running host uses this directory, and no other command can read it meanwhile; \
                 `reductor store backup` makes a copy that can be read",
            ),
            error => anyhow::Error::new(error).context("--data"),
        })
    }

    /// How the store is opened to look into it. Another command that has it open is done within
    /// moments and is waited for; a host that runs has it for longer than anybody waits.
    pub(crate) fn looking(&self) -> StoreOptions {
        let options = StoreOptions::default();
        let lock_wait = if control::is_served(&self.data) { Duration::ZERO } else { options.lock_wait };
        StoreOptions { lock_wait, ..options }
    }

    /// Refuses a directory that is not a store, so that looking at one never makes one.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let dir = self.data.display();
        let unreadable = |error: std::io::Error| {
            let advice = match error.kind() {
                ErrorKind::NotFound => return anyhow::anyhow!("--data: {dir} does not exist"),
                ErrorKind::PermissionDenied => "; run this as the user who owns it",
                _ => "",
            };
            anyhow::Error::new(error).context(format!("--data: {dir} cannot be read{advice}"))
        };
        let is_dir = std::fs::metadata(&self.data).map_err(unreadable)?.is_dir();
        anyhow::ensure!(is_dir, "--data: {dir} is not a directory");
        std::fs::read_dir(&self.data).map_err(unreadable)?;
        if self.data.join(RESTORING_FILE).try_exists().map_err(unreadable)? {
            return Err(anyhow::Error::new(OpenError::Unfinished(self.data.clone())).context("--data"));
        }
        let is_store = self.data.join(VERSION_FILE).try_exists().map_err(unreadable)?;
        anyhow::ensure!(
            is_store,
            "--data: {dir} is not a data directory of this host: it has no file `{VERSION_FILE}`; \
             `reductor run --data` makes one"
        );
        Ok(())
    }
}

/// The data directory of a run, which is made if it is not there.
#[derive(clap::Args)]
#[command(next_help_heading = "Data directory")]
pub(crate) struct RunData {
    /// Keep documents and jobs in this directory, over runs; it is made if it does not exist.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// When written data is synced to the disk.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = SyncWhen::Always, requires = "data")]
    sync: SyncWhen,
    /// Accept no more jobs while less than this is free on the disk; accepted jobs can still end.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size, requires = "data")]
    disk_reserve: u64,
    /// Keep the results of at most this many completed jobs, for `reductor job` and for lines that repeat
    /// an idempotencyKey.
    #[arg(long, value_name = "N", default_value_t = JobRetention::default().completed_max, requires = "data")]
    keep_completed: usize,
    /// Keep the result of a completed job for this long.
    #[arg(long, value_name = "AGE", default_value_t = units::Age(JobRetention::default().completed_age_max), value_parser = age, requires = "data")]
    keep_completed_for: units::Age,
    /// Keep at most this many jobs that failed for good, for `reductor job retry`.
    #[arg(long, value_name = "N", default_value_t = JobRetention::default().failed_max, requires = "data")]
    keep_failed: usize,
    /// Keep a job that failed for good for this long.
    #[arg(long, value_name = "AGE", default_value_t = units::Age(JobRetention::default().failed_age_max), value_parser = age, requires = "data")]
    keep_failed_for: units::Age,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum SyncWhen {
    /// Sync before a result is printed. No printed result is ever lost.
    Always,
    /// Sync every 100 ms. A power failure may lose the results of the last 100 ms; a crash of the
    /// process loses none.
    Interval,
    /// Let the operating system decide. A power failure may lose the results of about the last 30 seconds;
    /// a crash of the process loses none.
    Never,
}

impl RunData {
    /// The directory, if there is to be one.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// Where, and how.
    pub(crate) fn store(&self) -> Option<(&Path, StoreOptions)> {
        let sync = match self.sync {
            SyncWhen::Always => StoreSync::Always,
            SyncWhen::Interval => StoreSync::INTERVAL,
            SyncWhen::Never => StoreSync::Never,
        };
        let mut options = StoreOptions { sync, reserve_bytes: self.disk_reserve, ..StoreOptions::default() };
        options.retention.completed_max = self.keep_completed;
        options.retention.completed_age_max = self.keep_completed_for.0;
        options.retention.failed_max = self.keep_failed;
        options.retention.failed_age_max = self.keep_failed_for.0;
        Some((self.data.as_deref()?, options))
    }
}
