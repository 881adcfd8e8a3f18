//! Turns what a reducer asked for into jobs of their own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::action::{Action, Operation};
use crate::failure::{ApplyError, GuestFailure, HostFault, Reason};
use crate::grants::DispatchGrants;
use crate::hash;
use crate::ids::{DocumentId, DocumentType, JobId, LaneKey, Scope};
use crate::job::{Causation, Job, JobStatus};
use crate::journal::JournaledLineage;
use crate::limits::Limits;
use crate::log::Log;
use crate::plugin::Manifest;
use crate::reducer::{DispatchRequest, Reducer};
use crate::registry::Reducers;
use crate::store::{OperationStore, StoreError};
use crate::submission::Accepted;

/// Where a job stands among the jobs that follow from one another by dispatch.
#[derive(Clone, Debug)]
pub(crate) struct Lineage {
    /// The job that somebody submitted, if it is another one.
    root: Option<JobId>,
    /// Dispatches between this job and the one that somebody submitted.
    pub(crate) depth: u32,
    /// How many more jobs that one may lead to; made when it leads to the first.
    budget: OnceLock<Arc<AtomicU32>>,
}

impl Lineage {
    /// The lineage of a job that somebody submitted.
    pub(crate) fn root() -> Self {
        Self { root: None, depth: 0, budget: OnceLock::new() }
    }

    /// The lineage of the jobs that `parent`, whose lineage this is, dispatches.
    pub(crate) fn child(&self, parent: &JobId) -> Self {
        let root = self.root.as_ref().unwrap_or(parent);
        Self { root: Some(root.clone()), depth: self.depth + 1, budget: self.budget.clone() }
    }

    /// What the journal keeps of it, for `job`, whose lineage this is.
    pub(crate) fn journaled(&self, job: &JobId) -> JournaledLineage {
        JournaledLineage {
            root: self.root.as_ref().unwrap_or(job).clone(),
            depth: self.depth,
            budget_left: self.budget_left(),
        }
    }

    /// The lineage of a job in the journal. Jobs of one root share `budget`.
    pub(crate) fn recovered(journaled: &JournaledLineage, job: &JobId, budget: Option<Arc<AtomicU32>>) -> Self {
        let root = Some(&journaled.root).filter(|root| *root != job).cloned();
        Self { root, depth: journaled.depth, budget: budget.map_or_else(OnceLock::new, OnceLock::from) }
    }

    /// What is left of the root's budget, if any of it was spent.
    pub(crate) fn budget_left(&self) -> Option<u32> {
        self.budget.get().map(|budget| budget.load(Ordering::Relaxed))
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
            .get_or_init(|| Arc::new(AtomicU32::new(limits.dispatched_jobs_per_root_max)))
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(count))
            .map(drop)
            .map_err(|_| {
                let max = limits.dispatched_jobs_per_root_max;
                limit(format!("one submitted job may lead to {max} others by dispatch, and this would be more"))
            })
    }

    /// Gives back room for jobs that were not dispatched after all.
    pub(crate) fn release(&self, count: usize) {
        if let Some(budget) = self.budget.get() {
            budget.fetch_add(u32::try_from(count).unwrap_or(0), Ordering::Relaxed);
        }
    }
}

/// The dispatch budgets of roots whose jobs are under way. All jobs of a root share one budget, also
/// those that are recovered or retried.
#[derive(Default)]
pub(crate) struct Budgets(Mutex<HashMap<JobId, Weak<AtomicU32>>>);

impl Budgets {
    /// Remembers the budget of a job's root once some of it is spent.
    pub(crate) fn note(&self, job: &JobId, lineage: &Lineage) {
        if let Some(budget) = lineage.budget.get() {
            self.insert(lineage.root.as_ref().unwrap_or(job), budget);
        }
    }

    /// The budget of a job in the journal, if its root has spent of one: that of its relatives that
    /// are under way, or what was left after the latest end that spent of it.
    pub(crate) fn recover(
        &self,
        lineage: &JournaledLineage,
        store: &dyn OperationStore,
    ) -> Result<Option<Arc<AtomicU32>>, StoreError> {
        if let Some(known) = self.lock().get(&lineage.root).and_then(Weak::upgrade) {
            return Ok(Some(known));
        }
        // A root that was submitted and has not dispatched has spent nothing.
        if lineage.depth == 0 && lineage.budget_left.is_none() {
            return Ok(None);
        }
        let Some(left) = store.budget_left(&lineage.root)?.or(lineage.budget_left) else { return Ok(None) };
        let budget = Arc::new(AtomicU32::new(left));
        self.insert(&lineage.root, &budget);
        Ok(Some(budget))
    }

    fn insert(&self, root: &JobId, budget: &Arc<AtomicU32>) {
        let mut known = self.lock();
        if known.len() == known.capacity() {
            known.retain(|_, budget| budget.strong_count() > 0);
        }
        known.insert(root.clone(), Arc::downgrade(budget));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Weak<AtomicU32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a reducer's dispatches may go.
pub(crate) struct Targets<'a> {
    pub(crate) reducer: &'a dyn Reducer,
    pub(crate) reducers: &'a Reducers,
    pub(crate) log: &'a Log,
    pub(crate) grants: &'a DispatchGrants,
}

impl Targets<'_> {
    /// Plans the jobs that the action behind `operation` asked for, without accepting them yet.
    ///
    /// Ids and timestamps derive from the operation, so that a job executed again dispatches the
    /// same actions again.
    pub(crate) fn plan(
        &self,
        requests: Vec<DispatchRequest>,
        job: &Job,
        operation: &Operation,
        depth: u32,
    ) -> Result<Vec<Accepted>, ApplyError> {
        let planned = requests.into_iter().enumerate().map(|(ordinal, request)| {
            let (document_id, document_type) = self.target(&request, job)?;
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
                    document_id,
                    scopes: Arc::new([request.scope]),
                    branch: job.branch.clone(),
                    actions: Arc::new([Arc::new(action)]),
                    resulting_hash: None,
                    status: JobStatus::Pending,
                },
                document_type,
                named_type: None,
                config: None,
                depends_on: Vec::new(),
                idempotency_key: None,
                causation: Some(causation),
            })
        });
        planned.collect()
    }

    /// The document that the request is for, and its model, if all of the request is allowed.
    fn target(&self, request: &DispatchRequest, job: &Job) -> Result<(DocumentId, DocumentType), ApplyError> {
        match request.document_id.as_ref().filter(|document| **document != job.document_id) {
            Some(document) => {
                let document_type = self.other_document(document, request, job)?;
                Ok((document.clone(), document_type))
            }
            None => {
                check_scope(request, self.reducer.manifest())?;
                Ok((job.document_id.clone(), self.reducer.manifest().document_type.clone()))
            }
        }
    }

    /// The model of another document, if this one may dispatch to it.
    fn other_document(
        &self,
        document: &DocumentId,
        request: &DispatchRequest,
        job: &Job,
    ) -> Result<DocumentType, ApplyError> {
        let own = &self.reducer.manifest().document_type;
        let refused = |reason, why: String| {
            failed(reason, format!("dispatched `{}` to document `{document}`, {why}", request.action_type))
        };
        let lane = LaneKey { document: document.clone(), branch: job.branch.clone() };
        // Only what is committed counts: the dispatch may be durable before an append that is still on
        // its way to the disk, and would create the document after a crash.
        let known = self.log.store().position(&lane).map_err(|error| HostFault::Broken(error.to_string()))?;
        let known = known.map(|position| position.document_type);
        if !self.grants.any_from(own) {
            // The operator is told which grant would do.
            let (to, model) = known.map_or_else(
                || (String::new(), "MODEL".to_owned()),
                |known| (format!("a `{known}`, "), known.to_string()),
            );
            let why = format!(
                "{to}but `{own}` has no grant to dispatch to documents other than its own; --grant {own}={model} gives one"
            );
            return Err(refused(Reason::DispatchDenied, why));
        }
        let Some(document_type) = known else {
            return Err(refused(Reason::DispatchTarget, format!("which does not exist on branch `{}`", job.branch)));
        };
        if !self.grants.allows(own, &document_type) {
            let why =
                format!("a `{document_type}`; `{own}` has no grant for that; --grant {own}={document_type} gives one");
            return Err(refused(Reason::DispatchDenied, why));
        }
        let Some(reducer) = self.reducers.get(&document_type) else {
            return Err(HostFault::Broken(format!("no plugin for `{document_type}` is loaded")).into());
        };
        check_scope(request, reducer.manifest())?;
        Ok(document_type)
    }
}

fn check_scope(request: &DispatchRequest, manifest: &Manifest) -> Result<(), ApplyError> {
    // The scope `document` is never in a manifest: it is the host's own.
    if manifest.scopes.contains(&request.scope) && request.scope.as_str() != Scope::DOCUMENT {
        return Ok(());
    }
    let message = format!(
        "dispatched `{}` to scope `{}`, which `{}` does not have",
        request.action_type, request.scope, manifest.document_type
    );
    Err(failed(Reason::DispatchTarget, message))
}

fn limit(message: String) -> ApplyError {
    failed(Reason::DispatchLimit, message)
}

fn failed(reason: Reason, message: String) -> ApplyError {
    GuestFailure::new(reason, message).into()
}
