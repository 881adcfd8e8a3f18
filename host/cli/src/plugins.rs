//! Plugins from files: admitting them, and where what they are compiled to is kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use reductor_host::{AdmissionError, ArtefactCache, Plugin, Sandbox};

/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(120);

#[derive(clap::Args)]
pub(crate) struct CacheArgs {
    /// Where compiled plugins are kept; $XDG_CACHE_HOME/reductor or ~/.cache/reductor by
    /// default. The directory must be yours alone.
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Compile again, and keep nothing of it.
    #[arg(long, conflicts_with = "cache_dir")]
    no_cache: bool,
}

impl CacheArgs {
    /// Opens the cache. One that nobody asked for is done without if it cannot be used.
    pub(crate) fn open(&self) -> anyhow::Result<Option<ArtefactCache>> {
        let open = |directory: PathBuf| ArtefactCache::open(directory, ArtefactCache::BYTES_MAX_DEFAULT);
        match &self.cache_dir {
            _ if self.no_cache => Ok(None),
            Some(directory) => Ok(Some(open(directory.clone()).context("--cache-dir")?)),
            None => Ok(default_directory().and_then(|directory| {
                let warn = |error: anyhow::Error| tracing::warn!("compiled plugins are not kept: {error:#}");
                open(directory).map_err(anyhow::Error::from).map_err(warn).ok()
            })),
        }
    }
}

/// As the XDG base directory specification has it: a path that is not absolute is ignored.
fn default_directory() -> Option<PathBuf> {
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("reductor"))
}

/// Admits a component from a file.
pub(crate) fn admit(sandbox: &Sandbox, file: &Path) -> anyhow::Result<Plugin> {
    sandbox.admit_file(file).map_err(|error| refused(file, error))
}

/// Says which file was refused, and why.
pub(crate) fn refused(file: &Path, error: AdmissionError) -> anyhow::Error {
    let file = file.display();
    match error {
        AdmissionError::Unreadable(source) => anyhow::Error::new(source).context(format!("{file} cannot be read")),
        error => anyhow::Error::new(error).context(format!("{file} was not admitted")),
    }
}

/// Does what may take a while, and shows on a terminal that it is being done.
pub(crate) fn patiently<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is a constant");
    let spinner = ProgressBar::new_spinner().with_style(style).with_message(what.to_owned());
    spinner.enable_steady_tick(TURN);
    let done = work();
    spinner.finish_and_clear();
    done
}
