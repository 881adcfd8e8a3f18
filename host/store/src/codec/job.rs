//! Jobs, and what came of them, as records.
//!
//! The record of a completed job refers to its operations in the log instead of repeating them.

use std::borrow::Cow;
use std::sync::Arc;

use bincode::{BorrowDecode, Encode};
use reductor_core::{
    Accepted, Action, Causation, DocumentId, EndedJob, FailedAttempt, FailedDependency, Frame, IdempotencyKey, Job,
    JobError, JobErrorCode, JobExecutionConfig, JobId, JobMetadata, JobResult, JobStatus, JournaledJob,
    JournaledLineage, LaneKey, Operation, OperationId, PanicNote, Reason, Scope, Span, Timestamp,
};
use serde::Deserialize;
use serde::de::IntoDeserializer;

use super::{ActionRecord, BadRecord, Hash, Id, Name, OperationRecord, PluginName};
use crate::names::{NameWriter, Names};

/// What the record of an unfinished job begins with. Its number is its key.
#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct PendingHeader<'a> {
    pub(crate) id: Id<'a>,
    pub(crate) key: Option<&'a str>,
}

/// A job that was accepted and has not ended.
#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct PendingRecord<'a> {
    pub(crate) header: PendingHeader<'a>,
    document: &'a str,
    branch: Name<'a>,
    scopes: Option<Vec<Name<'a>>>,
    actions: Vec<ActionRecord<'a>>,
    resulting_hash: Option<Hash<'a>>,
    status: u8,
    document_type: Name<'a>,
    named_type: Option<Name<'a>>,
    config: Option<ConfigRecord>,
    depends_on: Vec<Id<'a>>,
    causation: Option<CausationRecord<'a>>,
    accepted_at_ms: i64,
    not_before_ms: Option<i64>,
    lineage_root: Id<'a>,
    lineage_depth: u32,
    budget_left: Option<u32>,
    failed_attempts: Vec<AttemptRecord<'a>>,
}

/// What follows the record of a journaled job that has it; the records of others end before.
#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct JournaledMore<'a> {
    failed_dependency: Option<DependencyRecord<'a>>,
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
struct DependencyRecord<'a> {
    job_id: Id<'a>,
    error_code: u32,
    error_message: &'a str,
}

impl<'a> JournaledMore<'a> {
    /// `None` for a job that has nothing of it.
    pub(crate) fn of(journaled: &'a JournaledJob) -> Option<Self> {
        let failed = journaled.failed_dependency.as_ref()?;
        let failed_dependency = Some(DependencyRecord {
            job_id: Id::of(failed.job_id.as_str()),
            error_code: failed.error.error_code.into(),
            error_message: &failed.error.error_message,
        });
        Some(Self { failed_dependency })
    }

    pub(crate) fn restore(&self, journaled: &mut JournaledJob) -> Result<(), BadRecord> {
        let Some(DependencyRecord { job_id, error_code, error_message }) = &self.failed_dependency else {
            return Ok(());
        };
        let error = JobError { error_code: code(*error_code)?, error_message: (*error_message).to_owned() };
        journaled.failed_dependency = Some(FailedDependency { job_id: job_id.restore(), error });
        Ok(())
    }
}

/// What the record of a completed job begins with. Its key is when it ended among the others.
#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct CompletedHeader<'a> {
    pub(crate) order: u64,
    pub(crate) id: Id<'a>,
    pub(crate) key: Option<&'a str>,
    pub(crate) completed_at_ms: i64,
}

/// A job that completed.
#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct CompletedRecord<'a> {
    pub(crate) header: CompletedHeader<'a>,
    pub(crate) lane: LaneName<'a>,
    scopes: Option<Vec<Name<'a>>>,
    resulting_hash: Option<Hash<'a>>,
    status: u8,
    success: bool,
    duration_us: u64,
    operations: Operations<'a>,
    actions: Actions<'a>,
    metadata: Option<MetadataRecord<'a>>,
    error_code: Option<u32>,
    error_message: Option<&'a str>,
}

/// What the record of a job that failed begins with. Its number is its key.
#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct FailedHeader<'a> {
    /// When it ended among the others.
    pub(crate) end: u64,
    pub(crate) completed_at_ms: i64,
    pub(crate) id: Id<'a>,
    pub(crate) key: Option<&'a str>,
}

/// A job that failed for good.
#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct FailedRecord<'a> {
    pub(crate) header: FailedHeader<'a>,
    pub(crate) revision: u64,
    journaled: PendingRecord<'a>,
    result: FailedResult<'a>,
}

/// A lane that the store has given a number, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) enum LaneName<'a> {
    Known(u32),
    Text { document: &'a str, branch: &'a str },
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
enum Operations<'a> {
    /// So many in a row, from this sequence on.
    Run {
        first: u64,
        count: u64,
    },
    Each(Vec<OperationAt<'a>>),
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
enum OperationAt<'a> {
    Sequence(u64),
    Here(Box<OperationRecord<'a>>),
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
enum Actions<'a> {
    /// Those of the operations, but for so many of the first.
    OfOperations {
        skip: u64,
    },
    Each(Vec<ActionAt<'a>>),
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
enum ActionAt<'a> {
    OfOperation(u64),
    Here(Box<ActionRecord<'a>>),
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
enum FailedResult<'a> {
    /// Its job is the journaled one with this status, and it has no operations.
    Usual {
        status: u8,
        duration_us: u64,
        metadata: Option<Box<MetadataRecord<'a>>>,
        error_code: Option<u32>,
        error_message: Option<&'a str>,
    },
    /// As the wire spells it.
    Json(String),
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
struct AttemptRecord<'a> {
    attempt: u32,
    failed_at_ms: i64,
    error_code: u32,
    error_message: &'a str,
    reason: Option<&'a str>,
    trap: Option<&'a str>,
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
struct ConfigRecord {
    max_retries: Option<u32>,
    job_timeout: Option<u64>,
    retry_base_delay: Option<u64>,
    retry_max_delay: Option<u64>,
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
struct CausationRecord<'a> {
    job_id: Id<'a>,
    operation_id: [u8; 16],
    depth: u32,
}

/// Stands in a record for fuel that is not known; no job burns as much.
const FUEL_UNKNOWN: u64 = u64::MAX;

#[derive(Clone, Debug, Encode, BorrowDecode)]
struct MetadataRecord<'a> {
    attempts: u32,
    queued_us: u64,
    plugin: Option<PluginName<'a>>,
    fuel_consumed: u64,
    /// Most jobs have none of it.
    more: Option<MoreRecord<'a>>,
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
struct MoreRecord<'a> {
    document_type: Option<Name<'a>>,
    config: Option<ConfigRecord>,
    depends_on: Vec<Id<'a>>,
    idempotency_key: Option<&'a str>,
    causation: Option<CausationRecord<'a>>,
    reason: Option<&'a str>,
    failed_dependency: Option<Id<'a>>,
    deterministic: Option<bool>,
    rejection_code: Option<&'a str>,
    action_index: Option<u64>,
    trap: Option<&'a str>,
    panic: Option<(&'a str, &'a str)>,
    backtrace: Option<Vec<FrameRecord<'a>>>,
    /// JSON.
    divergence: Option<Cow<'a, str>>,
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
struct FrameRecord<'a> {
    function: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
}

impl<'a> PendingRecord<'a> {
    pub(crate) fn of(journaled: &'a JournaledJob, names: &mut NameWriter) -> Self {
        let JournaledJob {
            order: _,
            accepted,
            accepted_at,
            not_before,
            lineage,
            failed_attempts,
            failed_dependency: _,
        } = journaled;
        let Accepted { job, document_type, named_type, config, depends_on, idempotency_key, causation } = accepted;
        let Job { id, document_id, scopes, branch, actions, resulting_hash, status } = job;
        Self {
            header: PendingHeader {
                id: Id::of(id.as_str()),
                key: idempotency_key.as_ref().map(IdempotencyKey::as_str),
            },
            document: document_id.as_str(),
            branch: names.text(branch.as_str()),
            scopes: other_scopes(scopes, actions, names),
            actions: actions.iter().map(|action| ActionRecord::of(action, names)).collect(),
            resulting_hash: resulting_hash.as_ref().map(Hash::of),
            status: status_number(*status),
            document_type: names.text(document_type.as_str()),
            named_type: named_type.as_ref().map(|named| names.text(named.as_str())),
            config: config.map(ConfigRecord::of),
            depends_on: ids(depends_on),
            causation: causation.as_ref().map(CausationRecord::of),
            accepted_at_ms: accepted_at.ms,
            not_before_ms: not_before.map(|moment| moment.ms),
            lineage_root: Id::of(lineage.root.as_str()),
            lineage_depth: lineage.depth,
            budget_left: lineage.budget_left,
            failed_attempts: failed_attempts.iter().map(AttemptRecord::of).collect(),
        }
    }

    pub(crate) fn restore(&self, order: u64, names: &Names) -> Result<JournaledJob, BadRecord> {
        let actions: Vec<_> =
            self.actions.iter().map(|action| action.restore(names).map(Arc::new)).collect::<Result<_, _>>()?;
        let actions: Arc<[Arc<Action>]> = actions.into();
        let job = Job {
            id: self.header.id.restore(),
            document_id: DocumentId::from(self.document),
            scopes: restore_scopes(self.scopes.as_deref(), &actions, names)?,
            branch: names.text(&self.branch)?.into(),
            actions,
            resulting_hash: self.resulting_hash.as_ref().map(Hash::restore),
            status: status(self.status)?,
        };
        let accepted = Accepted {
            job,
            document_type: names.text(&self.document_type)?.into(),
            named_type: self.named_type.as_ref().map(|name| names.text(name)).transpose()?.map(Into::into),
            config: self.config.as_ref().map(ConfigRecord::restore),
            depends_on: restore_ids(&self.depends_on),
            idempotency_key: self.header.key.map(IdempotencyKey::from),
            causation: self.causation.as_ref().map(CausationRecord::restore),
        };
        let lineage = JournaledLineage {
            root: self.lineage_root.restore(),
            depth: self.lineage_depth,
            budget_left: self.budget_left,
        };
        Ok(JournaledJob {
            order,
            accepted,
            accepted_at: Timestamp { ms: self.accepted_at_ms },
            not_before: self.not_before_ms.map(|ms| Timestamp { ms }),
            lineage,
            failed_attempts: self.failed_attempts.iter().map(AttemptRecord::restore).collect::<Result<_, _>>()?,
            failed_dependency: None,
        })
    }
}

impl<'a> CompletedRecord<'a> {
    /// `sequences` says where in the log the result's operations are, if they are there exactly.
    pub(crate) fn of(
        ended: &'a EndedJob,
        lane: LaneName<'a>,
        sequences: &[Option<u64>],
        names: &mut NameWriter,
    ) -> Self {
        let JobResult { job, success, completed_at, duration, operations, metadata, error_code, error_message } =
            &*ended.result;
        let Job { id, document_id: _, scopes, branch: _, actions, resulting_hash, status } = job;
        let accepted = &ended.journaled.accepted;
        Self {
            header: CompletedHeader {
                order: ended.journaled.order,
                id: Id::of(id.as_str()),
                key: accepted.idempotency_key.as_ref().map(IdempotencyKey::as_str),
                completed_at_ms: completed_at.ms,
            },
            lane,
            scopes: other_scopes(scopes, actions, names),
            resulting_hash: resulting_hash.as_ref().map(Hash::of),
            status: status_number(*status),
            success: *success,
            duration_us: duration.us,
            operations: Operations::of(operations, sequences, names),
            actions: Actions::of(actions, operations, names),
            metadata: metadata.as_ref().map(|metadata| MetadataRecord::of(metadata, names)),
            error_code: error_code.map(u32::from),
            error_message: error_message.as_deref(),
        }
    }

    /// The sequences of the operations in the log that belong to it, in the order of the result.
    pub(crate) fn sequences(&self) -> Vec<u64> {
        match &self.operations {
            Operations::Run { first, count } => (*first..first.saturating_add(*count)).collect(),
            Operations::Each(each) => {
                let sequence = |at: &OperationAt<'_>| match at {
                    OperationAt::Sequence(sequence) => Some(*sequence),
                    OperationAt::Here(_) => None,
                };
                each.iter().filter_map(sequence).collect()
            }
        }
    }

    /// Puts the result together; `stored` are the operations at [`Self::sequences`].
    pub(crate) fn restore(&self, lane: LaneKey, stored: Vec<Operation>, names: &Names) -> Result<JobResult, BadRecord> {
        let operations = match &self.operations {
            Operations::Run { .. } => stored,
            Operations::Each(each) => {
                let mut stored = stored.into_iter();
                let one = |at: &OperationAt<'_>| match at {
                    OperationAt::Sequence(_) => {
                        stored.next().ok_or_else(|| BadRecord::fields("an operation is missing"))
                    }
                    OperationAt::Here(record) => record.restore_bare(names),
                };
                each.iter().map(one).collect::<Result<_, _>>()?
            }
        };
        let actions: Arc<[Arc<Action>]> = self.actions.restore(&operations, names)?.into();
        let job = Job {
            id: self.header.id.restore(),
            document_id: lane.document,
            scopes: restore_scopes(self.scopes.as_deref(), &actions, names)?,
            branch: lane.branch,
            actions,
            resulting_hash: self.resulting_hash.as_ref().map(Hash::restore),
            status: status(self.status)?,
        };
        Ok(JobResult {
            job,
            success: self.success,
            completed_at: Timestamp { ms: self.header.completed_at_ms },
            duration: Span { us: self.duration_us },
            operations,
            metadata: self.metadata.as_ref().map(|metadata| metadata.restore(names)).transpose()?,
            error_code: self.error_code.map(code).transpose()?,
            error_message: self.error_message.map(str::to_owned),
        })
    }
}

impl<'a> FailedRecord<'a> {
    pub(crate) fn of(ended: &'a EndedJob, end: u64, names: &mut NameWriter) -> Self {
        let journaled = PendingRecord::of(&ended.journaled, names);
        Self {
            header: FailedHeader {
                end,
                completed_at_ms: ended.result.completed_at.ms,
                id: journaled.header.id,
                key: journaled.header.key,
            },
            revision: ended.revision,
            journaled,
            result: FailedResult::of(ended, names),
        }
    }

    pub(crate) fn restore(&self, order: u64, names: &Names) -> Result<(JournaledJob, JobResult), BadRecord> {
        let journaled = self.journaled.restore(order, names)?;
        let result = match &self.result {
            FailedResult::Json(json) => serde_json::from_str(json).map_err(BadRecord::fields)?,
            FailedResult::Usual { status: number, duration_us, metadata, error_code, error_message } => JobResult {
                job: journaled.accepted.job.with_status(status(*number)?),
                success: false,
                completed_at: Timestamp { ms: self.header.completed_at_ms },
                duration: Span { us: *duration_us },
                operations: Vec::new(),
                metadata: metadata.as_ref().map(|metadata| metadata.restore(names)).transpose()?,
                error_code: error_code.map(code).transpose()?,
                error_message: error_message.map(str::to_owned),
            },
        };
        Ok((journaled, result))
    }
}

impl<'a> FailedResult<'a> {
    fn of(ended: &'a EndedJob, names: &mut NameWriter) -> Self {
        let JobResult { job, success, completed_at: _, duration, operations, metadata, error_code, error_message } =
            &*ended.result;
        let journaled = &ended.journaled.accepted.job;
        if *success || !operations.is_empty() || journaled.with_status(job.status) != *job {
            return Self::Json(serde_json::to_string(&*ended.result).expect("a result has only texts for keys"));
        }
        Self::Usual {
            status: status_number(job.status),
            duration_us: duration.us,
            metadata: metadata.as_ref().map(|metadata| Box::new(MetadataRecord::of(metadata, names))),
            error_code: error_code.map(u32::from),
            error_message: error_message.as_deref(),
        }
    }
}

impl<'a> Operations<'a> {
    fn of(operations: &'a [Operation], sequences: &[Option<u64>], names: &mut NameWriter) -> Self {
        let first = sequences.first().copied().flatten().unwrap_or(0);
        if sequences.iter().zip(first..).all(|(sequence, next)| *sequence == Some(next)) {
            return Self::Run { first, count: operations.len() as u64 };
        }
        let one = |(operation, sequence): (&'a Operation, &Option<u64>)| match sequence {
            Some(sequence) => OperationAt::Sequence(*sequence),
            None => OperationAt::Here(Box::new(OperationRecord::of_bare(operation, names))),
        };
        Self::Each(operations.iter().zip(sequences).map(one).collect())
    }
}

impl<'a> Actions<'a> {
    fn of(actions: &'a [Arc<Action>], operations: &'a [Operation], names: &mut NameWriter) -> Self {
        let same = |action: &Arc<Action>, operation: &Operation| {
            Arc::ptr_eq(action, &operation.action) || *action == operation.action
        };
        if let Some(skip) = operations.len().checked_sub(actions.len())
            && actions.iter().zip(&operations[skip..]).all(|(action, operation)| same(action, operation))
        {
            return Self::OfOperations { skip: skip as u64 };
        }
        // Both lists are in the same order, so that the search goes on from where it was.
        let mut from = 0;
        let one = |action: &'a Arc<Action>| match operations[from..].iter().position(|other| same(action, other)) {
            Some(at) => {
                from += at + 1;
                ActionAt::OfOperation(from as u64 - 1)
            }
            None => ActionAt::Here(Box::new(ActionRecord::of(action, names))),
        };
        Self::Each(actions.iter().map(one).collect())
    }

    fn restore(&self, operations: &[Operation], names: &Names) -> Result<Vec<Arc<Action>>, BadRecord> {
        let missing = || BadRecord::fields("it refers to an operation that it does not have");
        match self {
            Self::OfOperations { skip } => {
                let own = usize::try_from(*skip).ok().and_then(|skip| operations.get(skip..)).ok_or_else(missing)?;
                Ok(own.iter().map(|operation| operation.action.clone()).collect())
            }
            Self::Each(each) => {
                let one = |at: &ActionAt<'_>| match at {
                    ActionAt::Here(record) => Ok(Arc::new(record.restore(names)?)),
                    ActionAt::OfOperation(at) => {
                        let operation = usize::try_from(*at).ok().and_then(|at| operations.get(at));
                        operation.map(|operation| operation.action.clone()).ok_or_else(missing)
                    }
                };
                each.iter().map(one).collect()
            }
        }
    }
}

impl<'a> AttemptRecord<'a> {
    fn of(failed: &'a FailedAttempt) -> Self {
        let FailedAttempt { attempt, failed_at, error, reason, trap } = failed;
        Self {
            attempt: *attempt,
            failed_at_ms: failed_at.ms,
            error_code: error.error_code.into(),
            error_message: &error.error_message,
            reason: reason.map(Reason::name),
            trap: trap.as_deref(),
        }
    }

    fn restore(&self) -> Result<FailedAttempt, BadRecord> {
        Ok(FailedAttempt {
            attempt: self.attempt,
            failed_at: Timestamp { ms: self.failed_at_ms },
            error: JobError { error_code: code(self.error_code)?, error_message: self.error_message.to_owned() },
            reason: self.reason.map(reason).transpose()?,
            trap: self.trap.map(str::to_owned),
        })
    }
}

impl<'a> MetadataRecord<'a> {
    fn of(metadata: &'a JobMetadata, names: &mut NameWriter) -> Self {
        Self {
            attempts: metadata.attempts,
            queued_us: metadata.queued_ms.us,
            plugin: metadata.plugin.as_ref().map(|plugin| names.plugin(plugin)),
            fuel_consumed: metadata.fuel_consumed.unwrap_or(FUEL_UNKNOWN),
            more: MoreRecord::of(metadata, names),
        }
    }

    fn restore(&self, names: &Names) -> Result<JobMetadata, BadRecord> {
        let mut metadata = JobMetadata {
            attempts: self.attempts,
            queued_ms: Span { us: self.queued_us },
            plugin: self.plugin.as_ref().map(|plugin| names.plugin(plugin)).transpose()?,
            fuel_consumed: (self.fuel_consumed != FUEL_UNKNOWN).then_some(self.fuel_consumed),
            ..JobMetadata::default()
        };
        if let Some(more) = &self.more {
            more.restore(&mut metadata, names)?;
        }
        Ok(metadata)
    }
}

impl<'a> MoreRecord<'a> {
    /// Names every field, so that a new one cannot be forgotten here.
    fn of(metadata: &'a JobMetadata, names: &mut NameWriter) -> Option<Self> {
        let JobMetadata {
            attempts: _,
            queued_ms: _,
            plugin: _,
            fuel_consumed: _,
            document_type,
            config,
            depends_on,
            idempotency_key,
            causation,
            reason,
            failed_dependency,
            deterministic,
            rejection_code,
            action_index,
            trap,
            panic,
            backtrace,
            divergence,
        } = metadata;
        let usual = JobMetadata {
            attempts: metadata.attempts,
            queued_ms: metadata.queued_ms,
            plugin: metadata.plugin.clone(),
            fuel_consumed: metadata.fuel_consumed,
            ..JobMetadata::default()
        };
        (usual != *metadata).then(|| Self {
            document_type: document_type.as_ref().map(|name| names.text(name.as_str())),
            config: config.map(ConfigRecord::of),
            depends_on: ids(depends_on),
            idempotency_key: idempotency_key.as_ref().map(IdempotencyKey::as_str),
            causation: causation.as_ref().map(CausationRecord::of),
            reason: reason.map(Reason::name),
            failed_dependency: failed_dependency.as_ref().map(|id| Id::of(id.as_str())),
            deterministic: *deterministic,
            rejection_code: rejection_code.as_deref(),
            action_index: action_index.map(|index| index as u64),
            trap: trap.as_deref(),
            panic: panic.as_ref().map(|PanicNote { message, location }| (&**message, &**location)),
            backtrace: backtrace.as_ref().map(|frames| frames.iter().map(FrameRecord::of).collect()),
            divergence: divergence
                .as_ref()
                .map(|it| serde_json::to_string(it).expect("a divergence has only texts for keys").into()),
        })
    }

    fn restore(&self, metadata: &mut JobMetadata, names: &Names) -> Result<(), BadRecord> {
        metadata.document_type = self.document_type.as_ref().map(|name| names.text(name)).transpose()?.map(Into::into);
        metadata.config = self.config.as_ref().map(ConfigRecord::restore);
        metadata.depends_on = restore_ids(&self.depends_on);
        metadata.idempotency_key = self.idempotency_key.map(IdempotencyKey::from);
        metadata.causation = self.causation.as_ref().map(CausationRecord::restore);
        metadata.reason = self.reason.map(reason).transpose()?;
        metadata.failed_dependency = self.failed_dependency.as_ref().map(Id::restore);
        metadata.deterministic = self.deterministic;
        metadata.rejection_code = self.rejection_code.map(str::to_owned);
        metadata.action_index = self.action_index.map(usize::try_from).transpose().map_err(BadRecord::fields)?;
        metadata.trap = self.trap.map(str::to_owned);
        metadata.panic = self
            .panic
            .map(|(message, location)| PanicNote { message: message.to_owned(), location: location.to_owned() });
        metadata.backtrace = self.backtrace.as_ref().map(|frames| frames.iter().map(FrameRecord::restore).collect());
        let divergence = self.divergence.as_deref().map(serde_json::from_str).transpose();
        metadata.divergence = divergence.map_err(BadRecord::fields)?;
        Ok(())
    }
}

impl<'a> FrameRecord<'a> {
    fn of(frame: &'a Frame) -> Self {
        Self { function: &frame.function, file: frame.file.as_deref(), line: frame.line }
    }

    fn restore(&self) -> Frame {
        Frame { function: self.function.to_owned(), file: self.file.map(str::to_owned), line: self.line }
    }
}

impl ConfigRecord {
    fn of(config: JobExecutionConfig) -> Self {
        let JobExecutionConfig { max_retries, job_timeout, retry_base_delay, retry_max_delay } = config;
        Self { max_retries, job_timeout, retry_base_delay, retry_max_delay }
    }

    fn restore(&self) -> JobExecutionConfig {
        let Self { max_retries, job_timeout, retry_base_delay, retry_max_delay } = *self;
        JobExecutionConfig { max_retries, job_timeout, retry_base_delay, retry_max_delay }
    }
}

impl<'a> CausationRecord<'a> {
    fn of(causation: &'a Causation) -> Self {
        let Causation { job_id, operation_id, depth } = causation;
        Self { job_id: Id::of(job_id.as_str()), operation_id: operation_id.bytes(), depth: *depth }
    }

    fn restore(&self) -> Causation {
        Causation {
            job_id: self.job_id.restore(),
            operation_id: OperationId::from_bytes(self.operation_id),
            depth: self.depth,
        }
    }
}

fn ids(jobs: &[JobId]) -> Vec<Id<'_>> {
    jobs.iter().map(|id| Id::of(id.as_str())).collect()
}

fn restore_ids(ids: &[Id<'_>]) -> Vec<JobId> {
    ids.iter().map(Id::restore).collect()
}

/// The scopes of a job, if they are not those of its actions in the order of their first use.
fn other_scopes<'a>(scopes: &'a [Scope], actions: &[Arc<Action>], names: &mut NameWriter) -> Option<Vec<Name<'a>>> {
    (scopes_of(actions).as_slice() != scopes).then(|| scopes.iter().map(|scope| names.text(scope.as_str())).collect())
}

fn restore_scopes(
    scopes: Option<&[Name<'_>]>,
    actions: &[Arc<Action>],
    names: &Names,
) -> Result<Arc<[Scope]>, BadRecord> {
    match scopes {
        None => Ok(scopes_of(actions).into()),
        Some(scopes) => scopes.iter().map(|scope| names.text(scope).map(Scope::from)).collect(),
    }
}

fn scopes_of(actions: &[Arc<Action>]) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = Vec::with_capacity(1);
    for action in actions {
        if !scopes.contains(&action.scope) {
            scopes.push(action.scope.clone());
        }
    }
    scopes
}

fn status_number(status: JobStatus) -> u8 {
    match status {
        JobStatus::Pending => 0,
        JobStatus::Running => 1,
        JobStatus::Completed => 2,
        JobStatus::Failed => 3,
    }
}

fn status(number: u8) -> Result<JobStatus, BadRecord> {
    match number {
        0 => Ok(JobStatus::Pending),
        1 => Ok(JobStatus::Running),
        2 => Ok(JobStatus::Completed),
        3 => Ok(JobStatus::Failed),
        other => Err(BadRecord::fields(format!("{other} is no status of a job"))),
    }
}

fn code(number: u32) -> Result<JobErrorCode, BadRecord> {
    JobErrorCode::try_from(number).map_err(BadRecord::fields)
}

fn reason(name: &str) -> Result<Reason, BadRecord> {
    Reason::deserialize(name.into_deserializer()).map_err(|error: serde::de::value::Error| BadRecord::fields(error))
}
