//! What the host asks of a log of operations.

use std::sync::Arc;

use crate::action::StoredOperation;
use crate::ids::{ActionId, DocumentType, IdempotencyKey, JobId, LaneKey, Scope, StateHash};
use crate::journal::{EndedJob, FailedAttempt, FailedDependency, JobOutcome, JobQuery, JobRecord, JournaledJob};
use crate::plugin::PluginRef;
use crate::reducer::ScopeState;
use crate::time::Timestamp;

/// Where a branch of a document stands, as its operations alone say: without the states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The model that the document was created with.
    pub document_type: DocumentType,
    /// How many operations the branch has, across scopes: the next operation's sequence.
    pub revision: u64,
    /// Where each scope stands, [`Scope::DOCUMENT`] included, in the order of their creation.
    pub scopes: Vec<ScopePosition>,
}

/// Where one scope of a document stands, without its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopePosition {
    /// The scope.
    pub scope: Scope,
    /// The index of its next operation.
    pub next_index: u64,
    /// The hash of its state.
    pub hash: StateHash,
}

/// Where a branch of a document stands: enough to go on from.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The model that the document was created with.
    pub document_type: DocumentType,
    /// How many operations the branch has, across scopes: the next operation's sequence.
    pub revision: u64,
    /// Where each scope stands, [`Scope::DOCUMENT`] included.
    pub scopes: Vec<ScopeHead>,
    /// The revision of the plugin that wrote the states. A store need not keep it: states at rest
    /// are always those of the revision that made the last operation.
    pub plugin: Option<Arc<PluginRef>>,
}

/// Where one scope of a document stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeHead {
    /// The index of its next operation.
    pub next_index: u64,
    /// Its state after the operations so far.
    pub state: ScopeState,
    /// The hash that its last operation has in the log. That is the hash of the state, unless
    /// another revision of the plugin has made operations of other scopes since: it writes the
    /// states of all scopes in its own way.
    pub hash: StateHash,
}

impl Head {
    /// The same without the states.
    pub fn position(&self) -> Position {
        let scope = |head: &ScopeHead| ScopePosition {
            scope: head.state.scope.clone(),
            next_index: head.next_index,
            hash: head.hash.clone(),
        };
        Position {
            document_type: self.document_type.clone(),
            revision: self.revision,
            scopes: self.scopes.iter().map(scope).collect(),
        }
    }

    /// Where `scope` stands, if the document has it.
    pub fn scope(&self, scope: &Scope) -> Option<&ScopeHead> {
        self.scopes.iter().find(|head| head.state.scope == *scope)
    }

    /// Everything that a reducer may see: all scopes but the host's own.
    pub fn snapshot(&self) -> Vec<ScopeState> {
        let own = |head: &&ScopeHead| head.state.scope.as_str() != Scope::DOCUMENT;
        self.scopes.iter().filter(own).map(|head| head.state.clone()).collect()
    }

    /// Bytes of all states together.
    pub(crate) fn state_bytes(&self) -> usize {
        self.scopes.iter().map(|head| head.state.json.len()).sum()
    }
}

/// Operations to append to one branch of a document, and where it stands with them.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    /// Where to.
    pub lane: LaneKey,
    /// The revision that the branch must have before.
    pub expected_revision: u64,
    /// What to append, in order; indices and sequences go on from where the branch stands.
    pub operations: Vec<StoredOperation>,
    /// Where the branch stands afterwards.
    pub head: Head,
    /// Who makes sure that no action is in the log already.
    pub duplicate_check: DuplicateCheck,
}

/// Who makes sure that an append has no action whose live operation is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicateCheck {
    /// The store looks up every action.
    ByStore,
    /// The writer has looked up all of them: at the expected revision no live operation has them,
    /// and none comes twice in the append. The store believes it, because it appends at no other
    /// revision.
    ByWriter,
}

/// What a store is asked to write, all of a batch or nothing of it.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Operations that no job of this host made: of an import.
    Append(Append),
    /// A job was accepted. If the same batch has its end, only that is written.
    Accepted(JournaledJob),
    /// An attempt at a job failed, and another one follows.
    AttemptFailed {
        /// The job.
        job_id: JobId,
        /// Its number in the journal.
        order: u64,
        /// What failed.
        attempt: FailedAttempt,
        /// When the next attempt may begin.
        not_before: Timestamp,
    },
    /// A dependency of an unfinished job failed. It is recorded with the unfinished job, so that it
    /// is known even after the dead letter of the dependency is discarded or pruned.
    DependencyFailed {
        /// The unfinished job.
        job_id: JobId,
        /// Its number in the journal.
        order: u64,
        /// The dependency. The first that was recorded of a job stays.
        failed: FailedDependency,
    },
    /// A job ended: with the operations that it made and the jobs that it dispatched, or failed
    /// for good.
    Ended(EndedJob),
    /// Where a branch stands or stood, with its states, to load it from. Refused with
    /// [`StoreError::RevisionConflict`] if it does not.
    Snapshot {
        /// Which branch.
        lane: LaneKey,
        /// Where it stands.
        head: Arc<Head>,
    },
    /// Whether jobs are to be executed after the next start.
    Pausing(Pausing),
    /// A job that failed for good is in the journal again, at its old place.
    Retried(JournaledJob),
    /// A job that failed for good is forgotten.
    Discarded(JobId),
}

/// Whether a queue executes its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pausing {
    /// It executes them.
    Resumed,
    /// It keeps them.
    Paused,
}

/// What becomes of written data when the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is gone. Nothing but operations need be written.
    Process,
    /// It is there at the next start.
    Disk,
}

/// Why a store did not do what it was asked to.
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
    /// The system refused to read, or to write what was not acknowledged to anybody.
    #[error("the store could not {doing}: {problem}")]
    Io {
        /// What it did, such as `read an operation`.
        doing: &'static str,
        /// What the system said.
        problem: String,
    },
    /// The store panicked. What it has written is not known.
    #[error("the store could not {doing}: it panicked")]
    Panicked {
        /// What it did, such as `write a batch`.
        doing: &'static str,
    },
    /// A record is there and is not what was written. It is not served.
    #[error("the store is damaged at {place}: {problem}; `reductor store verify` finds all of the damage")]
    Corrupt {
        /// Which record.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// So little room is left on the disk that no more jobs are accepted; those that were can
    /// still end.
    #[error(
        "the disk is nearly full: {} are free, and {} are kept in reserve for the jobs that were accepted; \
         free some space, or make the reserve smaller",
        human_bytes(*.free_bytes), human_bytes(*.reserve_bytes)
    )]
    DiskFull {
        /// Bytes that are free.
        free_bytes: u64,
        /// Bytes that must be free for more jobs to be accepted.
        reserve_bytes: u64,
    },
    /// A record would be larger than a store writes, so that it could not be read again. Nothing of
    /// the entry was written.
    #[error("{what} takes {}, and a record at most {}", human_bytes(*.bytes), human_bytes(*.bytes_max))]
    TooLarge {
        /// Which record.
        what: String,
        /// How many bytes it would take.
        bytes: u64,
        /// How many bytes a record may take.
        bytes_max: u64,
    },
    /// Writing failed before, so that it is not known what is on the disk. It is read at the
    /// next start; until then nothing more is written.
    #[error("the store stopped writing ({because}); what was not acknowledged is decided at the next start")]
    Stopped {
        /// The first failure.
        because: String,
    },
}

/// A number of bytes for people, such as `12.5 MiB`.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = "bytes";
    for larger in UNITS {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, larger);
    }
    // Whole numbers as such: most limits are.
    if unit == "bytes" || amount.fract() == 0.0 { format!("{amount} {unit}") } else { format!("{amount:.1} {unit}") }
}

/// Whether the operations after one in its stream take it back.
///
/// An operation at index `i` with skip `s` takes back the `s` operations before it, and with them
/// what those took back: the stream that counts is found by going back from its end, from `i` to
/// `i - s - 1`. `later` are the (index, skip) of all operations after the one at `index`, the
/// newest first.
pub fn taken_back(index: u64, later: impl IntoIterator<Item = (u64, u64)>) -> bool {
    let mut counts = u64::MAX;
    for (at, skip) in later {
        if at > counts {
            continue;
        }
        match at.checked_sub(skip).and_then(|before| before.checked_sub(1)) {
            Some(before) if before >= index => counts = before,
            _ => return true,
        }
    }
    counts != index && counts != u64::MAX
}

/// Keeps an append-only log of operations by document and branch, and a journal of jobs.
///
/// Promises, whatever the implementation: a batch is all or nothing; (lane, scope, index) is
/// unique, and so is the live operation of (lane, scope, action id): an action comes again only
/// after its operation was [taken back](taken_back), by the skip of the new one or of one in
/// between, and then is that of the new one; what was committed can be read at once by
/// everybody, and if it is on a disk survives whatever ends the process; what cannot be read as
/// it was written is an error and never an answer.
pub trait OperationStore: Send + Sync {
    /// What becomes of written data when the process ends.
    fn durability(&self) -> Durability;

    /// Where a branch of a document stands; `None` if it was never created.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the log cannot be read.
    fn position(&self, lane: &LaneKey) -> Result<Option<Position>, StoreError>;

    /// The newest states of a branch that are kept and not of a later revision than
    /// `revision_max`. The operations since lead from there to any later state.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the log cannot be read.
    fn snapshot(&self, lane: &LaneKey, revision_max: u64) -> Result<Option<Arc<Head>>, StoreError>;

    /// Up to `limit` operations of a branch, in order, from sequence `from` on.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the log cannot be read.
    fn operations(&self, lane: &LaneKey, from: u64, limit: usize) -> Result<Vec<StoredOperation>, StoreError>;

    /// The operation that an action became, if it did; the last, if it was taken back before.
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

    /// Up to `limit` branches that exist, in the order of their keys, after `after`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the log cannot be read.
    fn lanes(&self, after: Option<&LaneKey>, limit: usize) -> Result<Vec<LaneKey>, StoreError>;

    /// Writes a batch. If it returns `Ok`, everything in it is where [`OperationStore::durability`]
    /// says, but for the entries whose own result is an error: they were refused, the others
    /// were not, and later entries of the batch see the earlier ones.
    ///
    /// # Errors
    ///
    /// Of an entry: [`StoreError::RevisionConflict`] if its branch does not stand where the
    /// writer believed, [`StoreError::Misfit`] if an operation breaks a promise above,
    /// [`StoreError::TooLarge`] if a record of it could not be read again. Of the
    /// whole: [`StoreError::Io`] or [`StoreError::Stopped`]; then nobody knows what was written,
    /// and nothing more is until the store is opened again.
    fn commit(&self, batch: &[Entry]) -> Result<Vec<Result<(), StoreError>>, StoreError>;

    /// Appends operations, as a batch of their own.
    ///
    /// # Errors
    ///
    /// Those of [`OperationStore::commit`]. Nothing was appended if it is one of an entry.
    fn append(&self, append: Append) -> Result<(), StoreError> {
        let mut outcomes = self.commit(&[Entry::Append(append)])?;
        outcomes.pop().expect("a batch of one entry has one outcome")
    }

    /// The jobs that were accepted and have not ended, in the order of their acceptance.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read.
    fn unfinished(&self) -> Result<Vec<JournaledJob>, StoreError>;

    /// The largest number in the journal that any job ever had; 0 if none had.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read.
    fn last_order(&self) -> Result<u64, StoreError>;

    /// What is known of a job.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read.
    fn job(&self, job: &JobId) -> Result<Option<JobRecord>, StoreError>;

    /// The jobs that a query asks for, in the order of their numbers in the journal.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read.
    fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRecord>, StoreError>;

    /// How a job ended, also long after its result was forgotten: for as long as
    /// [`JobRetention`](crate::JobRetention) says of outcomes. `None` for a job that has not ended
    /// or is not known.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read.
    fn outcome(&self, job: &JobId) -> Result<Option<JobOutcome>, StoreError>;

    /// What is left of a root's dispatch budget after the latest end that spent of it. It is
    /// remembered for at least the last 100,000 ends that spent of any budget.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read.
    fn budget_left(&self, root: &JobId) -> Result<Option<u32>, StoreError>;

    /// The job that was accepted last with this key, while the job is known or its outcome is
    /// remembered.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read.
    fn job_of_key(&self, key: &IdempotencyKey) -> Result<Option<JobId>, StoreError>;

    /// Whether the queue was paused when the store was last written.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be read.
    fn pausing(&self) -> Result<Pausing, StoreError>;

    /// Whether there is room for more jobs.
    ///
    /// # Errors
    ///
    /// [`StoreError::DiskFull`], or [`StoreError::Stopped`].
    fn check_room(&self) -> Result<(), StoreError>;

    /// Forgets ended jobs and their results that are older or more than the store was told to
    /// keep, at most [`PRUNE_JOBS_MAX`](crate::PRUNE_JOBS_MAX) of them; their outcomes and keys are
    /// remembered longer. Returns how many results were forgotten: callers call again until that is
    /// 0. Called now and then while the host runs; ages are measured by a
    /// [`RetentionClock`](crate::RetentionClock) that follows `now`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read or written.
    fn prune(&self, now: Timestamp) -> Result<u64, StoreError>;
}
