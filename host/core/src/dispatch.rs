//! Turns what a reducer asked for into jobs of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::action::{Action, Operation};
use crate::failure::{ApplyError, GuestFailure, Reason};
use crate::hash;
use crate::ids::{JobId, Scope};
use crate::job::{Causation, Job, JobStatus};
use crate::limits::Limits;
use crate::plugin::Manifest;
use crate::reducer::DispatchRequest;
use crate::submission::{Accepted, name_problem};

/// Where a job stands among the jobs that follow from one another by dispatch.
#[derive(Clone, Debug)]
pub(crate) struct Lineage {
    /// Dispatches between this job and the one that somebody submitted.
    pub(crate) depth: u32,
    /// How many more jobs that one may lead to.
    budget: Arc<AtomicU32>,
}

impl Lineage {
    /// The lineage of a job that somebody submitted.
    pub(crate) fn root(limits: &Limits) -> Self {
        Self { depth: 0, budget: Arc::new(AtomicU32::new(limits.dispatched_jobs_per_root_max)) }
    }

    /// The lineage of the jobs that this one dispatches.
    pub(crate) fn child(&self) -> Self {
        Self { depth: self.depth + 1, budget: self.budget.clone() }
    }

    /// Takes room for `count` more jobs, if there is any.
    pub(crate) fn reserve(&self, count: usize, limits: &Limits) -> Result<(), ApplyError> {
        if count == 0 {
            return Ok(());
        }
        if self.depth >= limits.dispatch_depth_max {
            let max = limits.dispatch_depth_max;
            return Err(limit(format!("dispatched after {max} dispatches that followed from one another")));
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(count))
            .map(drop)
            .map_err(|_| {
                let max = limits.dispatched_jobs_per_root_max;
                limit(format!("one submitted job may lead to {max} others by dispatch, and this would be more"))
            })
    }

    /// Gives back room for jobs that were not dispatched after all.
    pub(crate) fn release(&self, count: usize) {
        self.budget.fetch_add(u32::try_from(count).unwrap_or(0), Ordering::Relaxed);
    }
}

/// Plans the jobs that the action behind `operation` asked for, without accepting them yet.
///
/// Ids and timestamps derive from the operation, so that a job executed again dispatches the
/// same actions again.
pub(crate) fn plan(
    requests: Vec<DispatchRequest>,
    job: &Job,
    operation: &Operation,
    depth: u32,
    manifest: &Manifest,
    limits: &Limits,
) -> Result<Vec<Accepted>, ApplyError> {
    let planned = requests.into_iter().enumerate().map(|(ordinal, request)| {
        check(&request, job, manifest, limits)?;
        let action = Action {
            id: hash::dispatched_action_id(operation.id, ordinal),
            action_type: request.action_type,
            timestamp_utc_ms: operation.timestamp_utc_ms.clone(),
            input: request.input,
            scope: request.scope.clone(),
            context: None,
        };
        let causation = Causation { job_id: job.id.clone(), operation_id: operation.id, depth: depth + 1 };
        Ok(Accepted {
            job: Job {
                id: JobId::generate(),
                document_id: job.document_id.clone(),
                scopes: Arc::new([request.scope]),
                branch: job.branch.clone(),
                actions: Arc::new([Arc::new(action)]),
                resulting_hash: None,
                status: JobStatus::Pending,
            },
            document_type: manifest.document_type.clone(),
            named_type: None,
            config: None,
            causation: Some(causation),
        })
    });
    planned.collect()
}

fn check(request: &DispatchRequest, job: &Job, manifest: &Manifest, limits: &Limits) -> Result<(), ApplyError> {
    if let Some(problem) = name_problem(request.action_type.as_str(), limits) {
        let message = format!("dispatched an action whose type {problem}");
        return Err(GuestFailure::new(Reason::InvalidOutput, message).into());
    }
    let (bytes, max) = (request.input.as_str().len(), limits.action_input_bytes_max);
    if bytes > max {
        return Err(limit(format!(
            "dispatched `{}` with an input of {bytes} bytes; {max} are allowed",
            request.action_type
        )));
    }
    if let Some(document) = request.document_id.as_ref().filter(|document| **document != job.document_id) {
        return Err(limit(format!(
            "dispatched `{}` to document `{document}`, but only its own is allowed",
            request.action_type
        )));
    }
    if request.scope.as_str() == Scope::DOCUMENT || !manifest.scopes.contains(&request.scope) {
        return Err(limit(format!(
            "dispatched `{}` to scope `{}`, which the model does not have",
            request.action_type, request.scope
        )));
    }
    Ok(())
}

fn limit(message: String) -> ApplyError {
    GuestFailure::new(Reason::DispatchLimit, message).into()
}
