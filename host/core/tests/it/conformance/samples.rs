//! Jobs and operations with something in every field.

use std::sync::Arc;

use reductor_core::{
    Accepted, Action, ActionContext, ActionId, ActionSigner, ActionType, Append, Causation, Divergence, DocumentType,
    EndedJob, Entry, FailedAttempt, Frame, IdempotencyKey, Job, JobError, JobErrorCode, JobExecutionConfig, JobId,
    JobMetadata, JobResult, JobStatus, JournaledJob, JournaledLineage, Json, LaneKey, Operation, OperationStore,
    PanicNote, Reason, Scope, SignerApp, SignerUser, Span, StateHash, Timestamp, TimestampText, operation_id,
};

/// An action with a context and signatures, and JSON that nobody else would spell so.
pub(crate) fn rich_action(scope: &str, id: &str) -> Action {
    Action {
        id: ActionId::from(id),
        action_type: ActionType::from("SET"),
        timestamp_utc_ms: TimestampText::parse("2026-03-01T12:00:00.123456Z").expect("a moment"),
        input: Json::parse("{\"b\" : [1.0, 1e2, \"\\u00e4ä\"],\"a\":{}, \"a\":null }").expect("JSON"),
        scope: Scope::from(scope),
        context: Some(Arc::new(ActionContext {
            prev_op_index: Some(-1),
            prev_op_hash: Some(StateHash::from("no hash at all")),
            nonce: Some(String::new()),
            signer: Some(ActionSigner {
                user: SignerUser { address: "0x52".into(), network_id: "eip155".into(), chain_id: u64::MAX },
                app: SignerApp { name: "an app".into(), key: "did:key:z".into() },
                signatures: vec![["1", "2", "", "four", "5"].map(str::to_owned), Default::default()],
            }),
        })),
    }
}

/// A job as it is accepted.
pub(crate) fn accepted(order: u64, lane: &LaneKey, actions: Vec<Action>) -> JournaledJob {
    let actions: Vec<_> = actions.into_iter().map(Arc::new).collect();
    let mut scopes: Vec<_> = actions.iter().map(|action| action.scope.clone()).collect();
    scopes.dedup();
    let id = JobId::generate();
    let job = Job {
        id: id.clone(),
        document_id: lane.document.clone(),
        scopes: scopes.into(),
        branch: lane.branch.clone(),
        actions: actions.into(),
        resulting_hash: None,
        status: JobStatus::Pending,
    };
    let accepted = Accepted {
        job,
        document_type: DocumentType::from("test/list"),
        named_type: None,
        config: None,
        depends_on: Vec::new(),
        idempotency_key: None,
        causation: None,
    };
    let lineage = JournaledLineage { root: id, depth: 0, budget_left: None };
    let accepted_at = Timestamp { ms: 1_000 + order as i64 };
    JournaledJob {
        order,
        accepted,
        accepted_at,
        not_before: None,
        lineage,
        failed_attempts: Vec::new(),
        failed_dependency: None,
    }
}

/// A job with something in every field.
pub(crate) fn rich_accepted(order: u64, lane: &LaneKey) -> JournaledJob {
    let plain = Action { context: None, ..rich_action("local", "b") };
    let mut journaled = accepted(order, lane, vec![rich_action("global", "a"), plain]);
    let other = JobId::from("a job that somebody else named");
    let Accepted { job, named_type, config, depends_on, idempotency_key, causation, .. } = &mut journaled.accepted;
    job.scopes = vec![Scope::from("local"), Scope::from("global"), Scope::from("unused")].into();
    job.resulting_hash = Some(reductor_core::state_hash(b"{}"));
    *named_type = Some(DocumentType::from("test/other"));
    *config = Some(JobExecutionConfig {
        max_retries: Some(0),
        job_timeout: None,
        retry_base_delay: Some(u64::MAX),
        retry_max_delay: Some(5),
    });
    *depends_on = vec![JobId::generate(), other.clone()];
    *idempotency_key = Some(IdempotencyKey::from(format!("key of {order}")));
    *causation = Some(Causation { job_id: other.clone(), operation_id: an_operation_id(lane), depth: 3 });
    journaled.not_before = Some(Timestamp { ms: -5 });
    journaled.lineage = JournaledLineage { root: other, depth: 4, budget_left: Some(7) };
    journaled.failed_attempts = vec![failed_attempt(1), failed_attempt(2)];
    journaled
}

pub(crate) fn failed_attempt(attempt: u32) -> FailedAttempt {
    let error = JobError { error_code: JobErrorCode::LibraryError, error_message: format!("attempt {attempt} ä") };
    let odd = attempt % 2 == 1;
    FailedAttempt {
        attempt,
        failed_at: Timestamp { ms: i64::from(attempt) },
        error,
        reason: odd.then_some(Reason::FuelExhausted),
        trap: odd.then(|| "unreachable".to_owned()),
    }
}

/// How a job ended: well, with these operations.
pub(crate) fn completed(journaled: JournaledJob, operations: Vec<Operation>, append: Option<Append>) -> EndedJob {
    let result = JobResult {
        job: journaled.accepted.job.with_status(JobStatus::Completed),
        success: true,
        completed_at: Timestamp { ms: 5_000 },
        duration: Span { us: 1_234 },
        operations,
        metadata: Some(JobMetadata {
            attempts: 1,
            queued_ms: Span { us: 17 },
            fuel_consumed: Some(99),
            ..Default::default()
        }),
        error_code: None,
        error_message: None,
    };
    let revision = append.as_ref().map_or(0, |append| append.head.revision);
    EndedJob {
        journaled,
        result: Arc::new(result),
        append: append.map(Arc::new),
        dispatched: Vec::new(),
        revision,
        budget_left: None,
    }
}

fn divergence() -> Divergence {
    serde_json::from_str(include_str!("../../golden/divergence.json")).expect("it is one")
}

/// How a job ended: badly.
pub(crate) fn failed(journaled: JournaledJob) -> EndedJob {
    let job = journaled.accepted.job.with_status(JobStatus::Failed);
    let metadata = JobMetadata {
        attempts: 3,
        queued_ms: Span { us: 1 },
        plugin: Some(Arc::new(super::plugin(7))),
        fuel_consumed: Some(0),
        document_type: journaled.accepted.named_type.clone(),
        config: journaled.accepted.config,
        depends_on: journaled.accepted.depends_on.clone(),
        idempotency_key: journaled.accepted.idempotency_key.clone(),
        causation: journaled.accepted.causation.clone(),
        reason: Some(Reason::Trap),
        failed_dependency: Some(JobId::generate()),
        deterministic: Some(false),
        rejection_code: Some("NO".to_owned()),
        action_index: Some(1),
        trap: Some("unreachable".to_owned()),
        panic: Some(PanicNote { message: "no\nwords".to_owned(), location: "src/lib.rs:1:2".to_owned() }),
        backtrace: Some(vec![
            Frame { function: "f".to_owned(), file: Some("src/lib.rs".to_owned()), line: Some(3) },
            Frame { function: "g".to_owned(), file: None, line: None },
        ]),
        divergence: Some(Box::new(divergence())),
    };
    let result = JobResult {
        job,
        success: false,
        completed_at: Timestamp { ms: 6_000 },
        duration: Span::default(),
        operations: Vec::new(),
        metadata: Some(metadata),
        error_code: Some(JobErrorCode::LibraryError),
        error_message: Some("it failed".to_owned()),
    };
    EndedJob {
        journaled,
        result: Arc::new(result),
        append: None,
        dispatched: Vec::new(),
        revision: 4,
        budget_left: None,
    }
}

/// Commits a batch of which no entry is refused.
pub(crate) fn commit(store: &dyn OperationStore, batch: &[Entry]) {
    let outcomes = store.commit(batch).expect("a batch that is written");
    assert_eq!(outcomes.len(), batch.len());
    outcomes.into_iter().for_each(|outcome| outcome.expect("an entry that fits"));
}

fn an_operation_id(lane: &LaneKey) -> reductor_core::OperationId {
    operation_id(lane, &Scope::from("global"), &ActionId::from("a"))
}
