//! Which reducer serves which model, and which revisions there are to replay history with.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use crate::ids::DocumentType;
use crate::plugin::PluginRef;
use crate::reducer::Reducer;
use crate::submission::Refusal;

/// Revisions of a model that are kept after they were replaced; of more, the oldest go. Each holds
/// its machine code.
const REPLACED_KEPT_MAX: usize = 8;

/// The reducers that documents run on, by model.
///
/// One revision serves each model. A reducer that is registered for a model replaces the one
/// before; documents move to it at their next job. Operations are applied again only by the
/// revision that made them, so earlier revisions are kept for that: the latest eight of a model
/// that were replaced here, and all that were [given for replay](Reducers::register_for_replay).
#[derive(Default)]
pub struct Reducers {
    models: RwLock<HashMap<DocumentType, Revisions>>,
    /// Who wants to know when a model gets another reducer.
    listeners: Mutex<Vec<Weak<dyn RegistryListener>>>,
}

/// The revisions of one model.
#[derive(Default)]
struct Revisions {
    serving: Option<Arc<dyn Reducer>>,
    /// The latest last.
    replaced: VecDeque<Arc<dyn Reducer>>,
    for_replay: Vec<Arc<dyn Reducer>>,
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
        let before = self.write().entry(document_type.clone()).or_default().serve(reducer);
        self.listeners().iter().for_each(|listener| listener.registered(&document_type));
        before
    }

    /// Gives a revision that serves no document, to apply the operations again that it made. It
    /// takes the place of another one with the same [`PluginRef`].
    pub fn register_for_replay(&self, reducer: Arc<dyn Reducer>) {
        let mut models = self.write();
        let revisions = models.entry(reducer.manifest().document_type.clone()).or_default();
        revisions.for_replay.retain(|known| known.plugin() != reducer.plugin());
        revisions.for_replay.push(reducer);
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

    /// The reducer that serves a model, if there is one.
    pub fn get(&self, document_type: &DocumentType) -> Option<Arc<dyn Reducer>> {
        self.read().get(document_type)?.serving.clone()
    }

    /// A certain revision of a model, be it the one that serves or an earlier one.
    pub fn revision(&self, plugin: &PluginRef) -> Option<Arc<dyn Reducer>> {
        let models = self.read();
        let revisions = models.get(&plugin.document_type)?;
        let all = revisions.serving.iter().chain(&revisions.for_replay).chain(revisions.replaced.iter().rev());
        all.into_iter().find(|reducer| **reducer.plugin() == *plugin).cloned()
    }

    /// Whether there is any revision of a model.
    pub fn knows(&self, document_type: &DocumentType) -> bool {
        self.read().contains_key(document_type)
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

    /// The models that are served, in alphabetical order.
    pub fn document_types(&self) -> Vec<DocumentType> {
        let models = self.read();
        let served = models.iter().filter(|(_, revisions)| revisions.serving.is_some());
        let mut types: Vec<_> = served.map(|(document_type, _)| document_type.clone()).collect();
        types.sort();
        types
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<DocumentType, Revisions>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<DocumentType, Revisions>> {
        self.models.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Revisions {
    /// Lets another revision serve, and keeps the one before.
    fn serve(&mut self, reducer: Arc<dyn Reducer>) -> Option<Arc<dyn Reducer>> {
        self.replaced.retain(|known| known.plugin() != reducer.plugin());
        let before = self.serving.replace(reducer.clone());
        if let Some(replaced) = before.clone().filter(|before| before.plugin() != reducer.plugin()) {
            self.replaced.push_back(replaced);
            if self.replaced.len() > REPLACED_KEPT_MAX {
                self.replaced.pop_front();
            }
        }
        before
    }
}

impl std::fmt::Debug for Reducers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.document_types()).finish()
    }
}
