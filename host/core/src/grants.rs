//! What reducers may do beyond their own document, because an operator said so.

use std::collections::{HashMap, HashSet};

use crate::ids::DocumentType;

/// Which models may dispatch to documents of which.
///
/// A reducer may always dispatch to its own document. To any other document it may only with
/// a grant from its model to that document's.
///
/// ```
/// use reductor_core::{DispatchGrants, DocumentType};
///
/// let (orders, stock) = (DocumentType::from("shop/order"), DocumentType::from("shop/stock"));
/// let grants = DispatchGrants::none().allow(orders.clone(), stock.clone());
/// assert!(grants.allows(&orders, &stock));
/// assert!(!grants.allows(&stock, &orders));
/// assert!(!grants.allows(&orders, &orders), "another order is another document");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DispatchGrants(HashMap<DocumentType, HashSet<DocumentType>>);

impl DispatchGrants {
    /// No model may dispatch to documents other than its own.
    pub fn none() -> Self {
        Self::default()
    }

    /// Documents of model `from` may also dispatch to any document of model `to`.
    #[must_use]
    pub fn allow(mut self, from: DocumentType, to: DocumentType) -> Self {
        self.0.entry(from).or_default().insert(to);
        self
    }

    /// Whether documents of model `from` may dispatch to other documents of model `to`.
    pub fn allows(&self, from: &DocumentType, to: &DocumentType) -> bool {
        self.0.get(from).is_some_and(|granted| granted.contains(to))
    }

    /// Whether they may dispatch to any other document at all.
    pub(crate) fn any_from(&self, from: &DocumentType) -> bool {
        self.0.contains_key(from)
    }
}
