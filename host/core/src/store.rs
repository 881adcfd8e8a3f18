//! What the host asks of a log of operations.

use std::sync::Arc;

use crate::action::StoredOperation;
use crate::ids::{ActionId, DocumentType, LaneKey, Scope, StateHash};
use crate::reducer::ScopeState;

/// Where a branch of a document stands: enough to go on from.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The model that the document was created with.
    pub document_type: DocumentType,
    /// How many operations the branch has, across scopes: the next operation's sequence.
    pub revision: u64,
    /// Where each scope stands, [`Scope::DOCUMENT`] included.
    pub scopes: Vec<ScopeHead>,
}

/// Where one scope of a document stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeHead {
    /// The index of its next operation.
    pub next_index: u64,
    /// Its state after the operations so far.
    pub state: ScopeState,
    /// The hash of that state.
    pub hash: StateHash,
}

impl Head {
    /// Where `scope` stands, if the document has it.
    pub fn scope(&self, scope: &Scope) -> Option<&ScopeHead> {
        self.scopes.iter().find(|head| head.state.scope == *scope)
    }

    /// Everything that a reducer may see: all scopes but the host's own.
    pub fn snapshot(&self) -> Vec<ScopeState> {
        let own = |head: &&ScopeHead| head.state.scope.as_str() != Scope::DOCUMENT;
        self.scopes.iter().filter(own).map(|head| head.state.clone()).collect()
    }
}

/// Operations to append to one branch of a document, and where it stands with them.
#[derive(Clone, Debug)]
pub struct Append {
    /// Where to.
    pub lane: LaneKey,
    /// The revision that the branch must have before.
    pub expected_revision: u64,
    /// What to append, in order; indices and sequences go on from where the branch stands.
    pub operations: Vec<StoredOperation>,
    /// Where the branch stands afterwards.
    pub head: Head,
}

/// Why the log did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else has appended meanwhile.
    #[error("{lane} stands at revision {found}, not {expected}")]
    RevisionConflict {
        /// Where.
        lane: LaneKey,
        /// What the writer believed.
        expected: u64,
        /// What the log says.
        found: u64,
    },
    /// An operation does not go on from where its stream stands, or its action is there.
    #[error("operation {operation} of {lane} does not fit the log: {problem}")]
    Misfit {
        /// Where.
        lane: LaneKey,
        /// Which.
        operation: String,
        /// Why.
        problem: &'static str,
    },
}

/// An append-only log of operations, by document and branch.
///
/// Promises, whatever the implementation: an append is all or nothing; (lane, scope, index)
/// is unique, and so is (lane, scope, action id); what was appended can be read at once by
/// everybody.
pub trait OperationStore: Send + Sync {
    /// Where a branch of a document stands; `None` if it was never created.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the log cannot be read.
    fn head(&self, lane: &LaneKey) -> Result<Option<Arc<Head>>, StoreError>;

    /// Appends operations.
    ///
    /// # Errors
    ///
    /// [`StoreError::RevisionConflict`] if the branch does not stand where the writer
    /// believed, [`StoreError::Misfit`] if an operation breaks a promise above. Nothing was
    /// appended then.
    fn append(&self, append: Append) -> Result<(), StoreError>;

    /// Up to `limit` operations of a branch, in order, from sequence `from` on.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the log cannot be read.
    fn operations(&self, lane: &LaneKey, from: u64, limit: usize) -> Result<Vec<StoredOperation>, StoreError>;

    /// The operation that an action became, if it did.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the log cannot be read.
    fn operation_of(
        &self,
        lane: &LaneKey,
        scope: &Scope,
        action: &ActionId,
    ) -> Result<Option<StoredOperation>, StoreError>;
}
