//! Which reducer serves which model.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use crate::ids::DocumentType;
use crate::reducer::Reducer;
use crate::submission::Refusal;

/// The reducers that documents run on, by model.
///
/// A reducer that is registered for a model replaces the one before; documents move to it at
/// their next job.
#[derive(Default)]
pub struct Reducers {
    by_model: RwLock<HashMap<DocumentType, Arc<dyn Reducer>>>,
    /// Who wants to know when a model gets another reducer.
    listeners: Mutex<Vec<Weak<dyn RegistryListener>>>,
}

/// Is told when a model has got another reducer.
pub(crate) trait RegistryListener: Send + Sync {
    fn registered(&self, document_type: &DocumentType);
}

impl Reducers {
    /// No reducers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `reducer` the one for its model. Returns the one before.
    pub fn register(&self, reducer: Arc<dyn Reducer>) -> Option<Arc<dyn Reducer>> {
        let document_type = reducer.manifest().document_type.clone();
        let mut by_model = self.by_model.write().unwrap_or_else(PoisonError::into_inner);
        let before = by_model.insert(document_type.clone(), reducer);
        drop(by_model);
        self.listeners().iter().for_each(|listener| listener.registered(&document_type));
        before
    }

    pub(crate) fn listen(&self, listener: Weak<dyn RegistryListener>) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Those that are still there.
    fn listeners(&self) -> Vec<Arc<dyn RegistryListener>> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.iter().filter_map(Weak::upgrade).collect()
    }

    /// The reducer for a model, if there is one.
    pub fn get(&self, document_type: &DocumentType) -> Option<Arc<dyn Reducer>> {
        self.by_model.read().unwrap_or_else(PoisonError::into_inner).get(document_type).cloned()
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
        let mut types: Vec<_> = self.by_model.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        types.sort();
        types
    }
}

impl std::fmt::Debug for Reducers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.document_types()).finish()
    }
}
