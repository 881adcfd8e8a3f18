//! An admitted component.

use std::sync::Arc;
use std::time::Duration;

use reductor_core::{ApplyError, Call, LiveDocument, Manifest, PluginRef, Reducer, ScopeState};

use crate::admit::BinaryMeasures;
use crate::compile::CodeOrigin;
use crate::guest::{self, Guest, Template};
use crate::sandbox::Sandbox;

/// One revision of a document model: a component that passed every check.
///
/// It is a [`Reducer`]: documents are loaded from it, each into a store of its own.
pub struct Plugin {
    pub(crate) manifest: Manifest,
    pub(crate) plugin: Arc<PluginRef>,
    pub(crate) template: Arc<Template>,
    pub(crate) imports: Vec<String>,
    pub(crate) component_bytes: usize,
    pub(crate) measures: BinaryMeasures,
    pub(crate) code_origin: CodeOrigin,
    pub(crate) compile_time: Duration,
    /// Keeps the ticker alive as long as guests can run.
    pub(crate) _sandbox: Sandbox,
}

impl Plugin {
    /// The interfaces that the component imports.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// How large the component is.
    pub fn component_bytes(&self) -> usize {
        self.component_bytes
    }

    /// How much its binary has of what is limited.
    pub fn measures(&self) -> &BinaryMeasures {
        &self.measures
    }

    /// Where its machine code came from.
    pub fn code_origin(&self) -> CodeOrigin {
        self.code_origin
    }

    /// How long it took to compile, or to find in the cache.
    pub fn compile_time(&self) -> Duration {
        self.compile_time
    }
}

impl Reducer for Plugin {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn plugin(&self) -> &Arc<PluginRef> {
        &self.plugin
    }

    fn load(&self, snapshot: &[ScopeState], call: &mut Call<'_>) -> Result<Box<dyn LiveDocument>, ApplyError> {
        Ok(Box::new(Guest::load(&self.template, snapshot, call)?))
    }

    fn upgrade(
        &self,
        from_version: u32,
        snapshot: &[ScopeState],
        call: &mut Call<'_>,
    ) -> Result<Vec<ScopeState>, ApplyError> {
        guest::upgrade(&self.template, from_version, snapshot, call)
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}
