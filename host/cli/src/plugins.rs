//! Plugins from files.

use std::path::Path;

use anyhow::Context as _;
use reductor_host::{Plugin, Sandbox};

/// Admits a component from a file.
pub(crate) fn admit(sandbox: &Sandbox, file: &Path) -> anyhow::Result<Plugin> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    sandbox.admit(&bytes).with_context(|| format!("{} was not admitted", file.display()))
}
