//! Plugins from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use reductor_core::{Reducer as _, Reducers};
use reductor_sandbox::{Plugin, Sandbox};

/// Admits a component from a file.
pub(crate) fn admit(sandbox: &Sandbox, file: &Path) -> anyhow::Result<Plugin> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    sandbox.admit(&bytes).with_context(|| format!("{} was not admitted", file.display()))
}

/// Admits components from files, one for each model.
pub(crate) fn admit_all(sandbox: &Sandbox, files: &[PathBuf]) -> anyhow::Result<Arc<Reducers>> {
    let reducers = Reducers::new();
    for file in files {
        let plugin = admit(sandbox, file)?;
        let document_type = plugin.manifest().document_type.clone();
        if reducers.register(Arc::new(plugin)).is_some() {
            anyhow::bail!("{}: another --plugin has the model `{document_type}` already", file.display());
        }
    }
    Ok(Arc::new(reducers))
}
