//! Which reducer serves which model.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::ids::DocumentType;
use crate::reducer::Reducer;
use crate::submission::Refusal;

/// The reducers that documents run on, by model.
///
/// A reducer that is registered for a model replaces the one before; documents move to it at
/// their next job.
#[derive(Default)]
pub struct Reducers(RwLock<HashMap<DocumentType, Arc<dyn Reducer>>>);

impl Reducers {
    /// No reducers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `reducer` the one for its model. Returns the one before.
    pub fn register(&self, reducer: Arc<dyn Reducer>) -> Option<Arc<dyn Reducer>> {
        let document_type = reducer.manifest().document_type.clone();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(document_type, reducer)
    }

    /// The reducer for a model, if there is one.
    pub fn get(&self, document_type: &DocumentType) -> Option<Arc<dyn Reducer>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(document_type).cloned()
    }

    /// The reducer for a model that a submission needs.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownModel`], which lists those that there are.
    pub fn serving(&self, document_type: &DocumentType) -> Result<Arc<dyn Reducer>, Refusal> {
        self.get(document_type).ok_or_else(|| Refusal::UnknownModel {
            document_type: document_type.clone(),
            loaded: self.document_types(),
        })
    }

    /// The models that have one, in alphabetical order.
    pub fn document_types(&self) -> Vec<DocumentType> {
        let mut types: Vec<_> = self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        types.sort();
        types
    }
}

impl std::fmt::Debug for Reducers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.document_types()).finish()
    }
}
