//! Operations and actions as records.

use std::sync::Arc;

use bincode::{BorrowDecode, Encode};
use reductor_core::{
    Action, ActionContext, ActionSigner, Json, Operation, OperationId, SignerApp, SignerUser, StoredOperation,
};

use super::{BadRecord, Hash, Id, Moment, Name, PluginName};
use crate::names::{NameWriter, Names};

/// An operation of the log. Its lane and sequence are its key.
#[derive(Clone, Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct OperationRecord<'a> {
    pub(crate) index: u64,
    pub(crate) skip: u64,
    pub(crate) hash: Hash<'a>,
    /// The last operations of the lane's other scopes.
    pub(crate) others: Vec<ScopeLast>,
    id: [u8; 16],
    plugin: PluginName<'a>,
    /// Absent if it is its action's.
    timestamp: Option<Moment<'a>>,
    error: Option<&'a str>,
    action: ActionRecord<'a>,
}

/// The last operation of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct ScopeLast {
    /// The scope's place in its lane's record.
    pub(crate) scope: u32,
    pub(crate) sequence: u64,
}

/// An action.
#[derive(Clone, Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct ActionRecord<'a> {
    pub(crate) scope: Name<'a>,
    action_type: Name<'a>,
    id: Id<'a>,
    timestamp: Moment<'a>,
    input: &'a str,
    context: Option<ContextRecord<'a>>,
}

#[derive(Clone, Debug, PartialEq, Encode, BorrowDecode)]
struct ContextRecord<'a> {
    prev_op_index: Option<i64>,
    prev_op_hash: Option<Hash<'a>>,
    nonce: Option<&'a str>,
    signer: Option<SignerRecord<'a>>,
}

#[derive(Clone, Debug, PartialEq, Encode, BorrowDecode)]
struct SignerRecord<'a> {
    address: &'a str,
    network_id: &'a str,
    chain_id: u64,
    app_name: &'a str,
    app_key: &'a str,
    signatures: Vec<[&'a str; 5]>,
}

impl<'a> OperationRecord<'a> {
    pub(crate) fn of(stored: &'a StoredOperation, others: Vec<ScopeLast>, names: &mut NameWriter) -> Self {
        Self::of_operation(&stored.operation, names.plugin(&stored.plugin), others, names)
    }

    /// An operation of which only the wire's part is known.
    pub(crate) fn of_bare(operation: &'a Operation, names: &mut NameWriter) -> Self {
        Self::of_operation(operation, PluginName::Known(u32::MAX), Vec::new(), names)
    }

    fn of_operation(
        operation: &'a Operation,
        plugin: PluginName<'a>,
        others: Vec<ScopeLast>,
        names: &mut NameWriter,
    ) -> Self {
        let Operation { id, index, skip, timestamp_utc_ms, hash, error, action } = operation;
        Self {
            index: *index,
            skip: *skip,
            hash: Hash::of(hash),
            others,
            id: id.bytes(),
            plugin,
            timestamp: (*timestamp_utc_ms != action.timestamp_utc_ms).then(|| Moment::of(timestamp_utc_ms)),
            error: error.as_deref(),
            action: ActionRecord::of(action, names),
        }
    }

    pub(crate) fn restore(&self, sequence: u64, names: &Names) -> Result<StoredOperation, BadRecord> {
        Ok(StoredOperation { operation: self.restore_bare(names)?, sequence, plugin: names.plugin(&self.plugin)? })
    }

    pub(crate) fn restore_bare(&self, names: &Names) -> Result<Operation, BadRecord> {
        let action = Arc::new(self.action.restore(names)?);
        let timestamp_utc_ms = match &self.timestamp {
            Some(moment) => moment.restore()?,
            None => action.timestamp_utc_ms.clone(),
        };
        Ok(Operation {
            id: OperationId::from_bytes(self.id),
            index: self.index,
            skip: self.skip,
            timestamp_utc_ms,
            hash: self.hash.restore(),
            error: self.error.map(str::to_owned),
            action,
        })
    }

    pub(crate) fn scope(&self) -> &Name<'a> {
        &self.action.scope
    }
}

impl<'a> ActionRecord<'a> {
    pub(crate) fn of(action: &'a Action, names: &mut NameWriter) -> Self {
        Self {
            scope: names.text(action.scope.as_str()),
            action_type: names.text(action.action_type.as_str()),
            id: Id::of(action.id.as_str()),
            timestamp: Moment::of(&action.timestamp_utc_ms),
            input: action.input.as_str(),
            context: action.context.as_deref().map(ContextRecord::of),
        }
    }

    pub(crate) fn restore(&self, names: &Names) -> Result<Action, BadRecord> {
        Ok(Action {
            id: self.id.restore(),
            action_type: names.text(&self.action_type)?.into(),
            timestamp_utc_ms: self.timestamp.restore()?,
            input: Json::parse(self.input).map_err(BadRecord::fields)?,
            scope: names.text(&self.scope)?.into(),
            context: self.context.as_ref().map(|context| Arc::new(context.restore())),
        })
    }
}

impl<'a> ContextRecord<'a> {
    fn of(context: &'a ActionContext) -> Self {
        let ActionContext { prev_op_index, prev_op_hash, nonce, signer } = context;
        Self {
            prev_op_index: *prev_op_index,
            prev_op_hash: prev_op_hash.as_ref().map(Hash::of),
            nonce: nonce.as_deref(),
            signer: signer.as_ref().map(|ActionSigner { user, app, signatures }| SignerRecord {
                address: &user.address,
                network_id: &user.network_id,
                chain_id: user.chain_id,
                app_name: &app.name,
                app_key: &app.key,
                signatures: signatures.iter().map(|five| five.each_ref().map(String::as_str)).collect(),
            }),
        }
    }

    fn restore(&self) -> ActionContext {
        ActionContext {
            prev_op_index: self.prev_op_index,
            prev_op_hash: self.prev_op_hash.as_ref().map(Hash::restore),
            nonce: self.nonce.map(str::to_owned),
            signer: self.signer.as_ref().map(|signer| ActionSigner {
                user: SignerUser {
                    address: signer.address.into(),
                    network_id: signer.network_id.into(),
                    chain_id: signer.chain_id,
                },
                app: SignerApp { name: signer.app_name.into(), key: signer.app_key.into() },
                signatures: signer.signatures.iter().map(|five| five.map(str::to_owned)).collect(),
            }),
        }
    }
}
