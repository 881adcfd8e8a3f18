//! How large records become at most, told without spelling them.

use reductor_core::{Action, ActionContext, FailedAttempt, JournaledJob, Operation};

/// More than a record of this kind takes without its texts and lists: numbers, lengths and hashes.
const FIXED: usize = 256;

/// The same of an element of a list.
const ELEMENT: usize = 64;

/// The largest record of an operation.
pub(crate) fn operation_bytes_max(operation: &Operation) -> usize {
    let error = operation.error.as_ref().map_or(0, String::len);
    FIXED + error + operation.hash.as_str().len() + action_bytes_max(&operation.action)
}

/// The largest record of a job that has not ended.
pub(crate) fn job_bytes_max(journaled: &JournaledJob) -> usize {
    let accepted = &journaled.accepted;
    let job = &accepted.job;
    let actions: usize = job.actions.iter().map(|action| action_bytes_max(action)).sum();
    let depends_on: usize = accepted.depends_on.iter().map(|id| ELEMENT + id.as_str().len()).sum();
    let attempts: usize = journaled.failed_attempts.iter().map(attempt_bytes_max).sum();
    let key = accepted.idempotency_key.as_ref().map_or(0, |key| key.as_str().len());
    let hash = job.resulting_hash.as_ref().map_or(0, |hash| hash.as_str().len());
    let cause = accepted.causation.as_ref().map_or(0, |causation| causation.job_id.as_str().len());
    let ids = job.id.as_str().len() + job.document_id.as_str().len() + journaled.lineage.root.as_str().len();
    let failed = journaled.failed_dependency.as_ref();
    let failed = failed.map_or(0, |failed| failed.job_id.as_str().len() + failed.error.error_message.len());
    FIXED + actions + depends_on + attempts + key + hash + cause + ids + failed + names_bytes_max(journaled)
}

/// The most that the names in the record of a job take, if none of them has a number.
pub(crate) fn names_bytes_max(journaled: &JournaledJob) -> usize {
    let accepted = &journaled.accepted;
    let job = &accepted.job;
    let scopes: usize = job.scopes.iter().map(|scope| ELEMENT + scope.as_str().len()).sum();
    let names = |action: &Action| ELEMENT + action.scope.as_str().len() + action.action_type.as_str().len();
    let actions: usize = job.actions.iter().map(|action| names(action)).sum();
    let named = accepted.named_type.as_ref().map_or(0, |named| named.as_str().len());
    ELEMENT + scopes + actions + named + job.branch.as_str().len() + accepted.document_type.as_str().len()
}

fn action_bytes_max(action: &Action) -> usize {
    let context = action.context.as_deref().map_or(0, context_bytes_max);
    let names = action.scope.as_str().len() + action.action_type.as_str().len();
    let own = action.id.as_str().len() + action.timestamp_utc_ms.as_str().len() + action.input.as_str().len();
    ELEMENT + names + own + context
}

fn context_bytes_max(context: &ActionContext) -> usize {
    let hash = context.prev_op_hash.as_ref().map_or(0, |hash| hash.as_str().len());
    let nonce = context.nonce.as_ref().map_or(0, String::len);
    let signer = context.signer.as_ref().map_or(0, |signer| {
        let signatures = signer.signatures.iter().flatten().map(|part| ELEMENT + part.len()).sum::<usize>();
        let user = signer.user.address.len() + signer.user.network_id.len();
        ELEMENT + user + signer.app.name.len() + signer.app.key.len() + signatures
    });
    ELEMENT + hash + nonce + signer
}

fn attempt_bytes_max(attempt: &FailedAttempt) -> usize {
    ELEMENT + attempt.error.error_message.len() + attempt.trap.as_ref().map_or(0, String::len)
}
