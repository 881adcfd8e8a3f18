//! What a store keeps of jobs, so that none is lost.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::{JobError, Reason};
use crate::ids::{DocumentId, JobId};
use crate::job::{JobResult, JobStatus};
use crate::store::Append;
use crate::submission::Accepted;
use crate::time::Timestamp;

/// A job as the journal has it: everything that a later process needs to run it.
#[derive(Clone, Debug, PartialEq)]
pub struct JournaledJob {
    /// Its number in the journal. Numbers grow with acceptance, and order the jobs of a lane.
    pub order: u64,
    /// The job, and what came with it.
    pub accepted: Accepted,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When its next attempt may begin, if one failed.
    pub not_before: Option<Timestamp>,
    /// Where it comes from by dispatch.
    pub lineage: JournaledLineage,
    /// The attempts that failed so far, oldest first; the latest [`FAILED_ATTEMPTS_MAX`].
    pub failed_attempts: Vec<FailedAttempt>,
    /// The first of its dependencies that failed, if one did: the job does not run.
    pub failed_dependency: Option<FailedDependency>,
}

/// A job that failed although others depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedDependency {
    /// The job that failed.
    pub job_id: JobId,
    /// Why, in the words of the interface.
    pub error: JobError,
}

/// Failed attempts that are kept of a job; later ones take the place of the oldest but the first.
pub const FAILED_ATTEMPTS_MAX: usize = 16;

/// Where a job stands among those that follow from one another by dispatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournaledLineage {
    /// The job that somebody submitted and that this one follows from; itself, if none did.
    pub root: JobId,
    /// Dispatches between the two.
    pub depth: u32,
    /// How many more jobs the root might lead to when this one was accepted, if it was counted.
    pub budget_left: Option<u32>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedAttempt {
    /// Which one, from 1.
    pub attempt: u32,
    /// When it failed.
    pub failed_at: Timestamp,
    /// Why, in the words of the interface.
    #[serde(flatten)]
    pub error: JobError,
    /// Why, more exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The kind of trap, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trap: Option<String>,
}

/// A job that ended, and all that changes by its end.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedJob {
    /// The job, with the attempts that failed, the last one included.
    pub journaled: JournaledJob,
    /// What came of it.
    pub result: Arc<JobResult>,
    /// The operations that it made; none if it failed, or if all were there before.
    pub append: Option<Arc<Append>>,
    /// The jobs that it dispatched.
    pub dispatched: Vec<JournaledJob>,
    /// Where its branch stood when it failed; where it stands now, if it completed.
    pub revision: u64,
    /// How many more jobs the root may lead to after this end. Set by ends that spent of the
    /// root's budget.
    pub budget_left: Option<u32>,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobOutcome {
    /// All that it does is done.
    Completed,
    /// It failed for good.
    Failed,
}

impl fmt::Display for JobOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
        })
    }
}

/// What a store knows of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobRecord {
    /// It waits or runs.
    Unfinished(JournaledJob),
    /// It completed.
    Completed {
        /// Its number in the journal.
        order: u64,
        /// What came of it.
        result: Arc<JobResult>,
    },
    /// It failed for good, and can be retried or discarded: a dead letter.
    Failed {
        /// The job, with the attempts that failed.
        journaled: JournaledJob,
        /// What came of it.
        result: Arc<JobResult>,
        /// Where its branch stood then.
        revision: u64,
    },
}

/// How long ended jobs are kept. Whichever bound is met first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRetention {
    /// How many completed jobs.
    pub completed_max: usize,
    /// How old the oldest completed job may be.
    pub completed_age_max: Duration,
    /// How many jobs that failed for good.
    pub failed_max: usize,
    /// How old the oldest of those may be.
    pub failed_age_max: Duration,
    /// How many ended jobs are remembered after their results are gone: how each ended, and its
    /// idempotency key. A store may drop them in groups, each at most an eighth of this number.
    pub outcomes_max: usize,
    /// How old the oldest of those may be.
    pub outcomes_age_max: Duration,
}

impl Default for JobRetention {
    /// 100,000 completed jobs of the last day, 100,000 failed ones of the last 30 days, and the
    /// outcomes of 10,000,000 jobs of the last 30 days.
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            completed_max: 100_000,
            completed_age_max: DAY,
            failed_max: 100_000,
            failed_age_max: 30 * DAY,
            outcomes_max: 10_000_000,
            outcomes_age_max: 30 * DAY,
        }
    }
}

/// Jobs that one call of [`OperationStore::prune`](crate::OperationStore::prune) forgets at most:
/// a few milliseconds of work, so that nobody who writes waits longer for it.
pub const PRUNE_JOBS_MAX: usize = 4_096;

/// The time by which retention measures age.
///
/// A wall clock can jump: to 1970 without a battery, years ahead by a wrong digit. What retention
/// forgets is gone for good, so that a jump must not make everything old at once. This clock
/// follows the wall clock by at most [`RetentionClock::STEP_MAX`] in a round of calls that forget,
/// in both directions; and it is never ahead of the wall clock. With a round every 30 seconds it
/// catches up with a day of downtime in 12 minutes, and a clock that is 30 days ahead can be set
/// right for 6 hours before the first dead letter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionClock {
    reached: Option<Timestamp>,
    round: Round,
}

/// Whether the calls that forget, one after another until nothing is left to forget, are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Over,
    UnderWay,
}

impl RetentionClock {
    /// How far it moves in a round.
    pub const STEP_MAX: Duration = Duration::from_hours(1);

    /// A clock that had reached this moment when it was last stored; `None` if it never was.
    pub fn new(reached: Option<Timestamp>) -> Self {
        Self { reached, round: Round::Over }
    }

    /// How far it has come, to be stored with what was forgotten.
    pub fn reached(&self) -> Option<Timestamp> {
        self.reached
    }

    /// The time to measure ages by. A clock that was never stored begins at the end of the newest
    /// job that ended, because the wall clock may have jumped since.
    pub fn read(&mut self, wall: Timestamp, newest_end: Option<Timestamp>) -> Timestamp {
        let start = || newest_end.map_or(wall.ms, |end| end.ms.min(wall.ms));
        let mut reached = self.reached.map_or_else(start, |reached| reached.ms);
        if self.round == Round::Over {
            let step = Self::STEP_MAX.as_millis() as i64;
            reached = wall.ms.clamp(reached.saturating_sub(step), reached.saturating_add(step));
        }
        (self.reached, self.round) = (Some(Timestamp { ms: reached }), Round::UnderWay);
        Timestamp { ms: reached.min(wall.ms) }
    }

    /// Takes note of how many jobs were forgotten: with none, the round is over, and the next call
    /// of [`RetentionClock::read`] moves the clock again.
    pub fn forgot(&mut self, jobs: u64) {
        self.round = if jobs == 0 { Round::Over } else { Round::UnderWay };
    }
}

/// Which jobs to list. The default asks for the first hundred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobQuery {
    /// Only those that stand so: PENDING for all that are unfinished, COMPLETED or FAILED.
    pub status: Option<JobStatus>,
    /// Only those of this document.
    pub document: Option<DocumentId>,
    /// Only those with a number after this one.
    pub after: u64,
    /// How many at most.
    pub limit: usize,
}

impl JobRecord {
    /// How it ended, if it did.
    pub fn outcome(&self) -> Option<JobOutcome> {
        match self {
            Self::Unfinished(_) => None,
            Self::Completed { .. } => Some(JobOutcome::Completed),
            Self::Failed { .. } => Some(JobOutcome::Failed),
        }
    }

    /// The job's number in the journal.
    pub fn order(&self) -> u64 {
        match self {
            Self::Unfinished(journaled) | Self::Failed { journaled, .. } => journaled.order,
            Self::Completed { order, .. } => *order,
        }
    }

    /// Its id.
    pub fn job_id(&self) -> &JobId {
        match self {
            Self::Unfinished(journaled) | Self::Failed { journaled, .. } => &journaled.accepted.job.id,
            Self::Completed { result, .. } => &result.job.id,
        }
    }

    /// What came of it, if it ended.
    pub fn result(&self) -> Option<&Arc<JobResult>> {
        match self {
            Self::Unfinished(_) => None,
            Self::Completed { result, .. } | Self::Failed { result, .. } => Some(result),
        }
    }

    /// Where it stands: PENDING, COMPLETED or FAILED.
    pub fn status(&self) -> JobStatus {
        match self {
            Self::Unfinished(_) => JobStatus::Pending,
            Self::Completed { .. } => JobStatus::Completed,
            Self::Failed { .. } => JobStatus::Failed,
        }
    }
}

impl Default for JobQuery {
    fn default() -> Self {
        Self { status: None, document: None, after: 0, limit: 100 }
    }
}

impl JobQuery {
    /// Whether it asks for this job, its bounds apart.
    pub fn wants(&self, record: &JobRecord) -> bool {
        let document = match record {
            JobRecord::Unfinished(journaled) | JobRecord::Failed { journaled, .. } => {
                &journaled.accepted.job.document_id
            }
            JobRecord::Completed { result, .. } => &result.job.document_id,
        };
        record.order() > self.after
            && self.status.is_none_or(|status| status == record.status())
            && self.document.as_ref().is_none_or(|wanted| wanted == document)
    }
}

impl JournaledJob {
    /// Takes note of a dependency that failed. The first is the one to name.
    pub fn dependency_failed(&mut self, failed: FailedDependency) {
        self.failed_dependency.get_or_insert(failed);
    }

    /// Takes note of an attempt that failed.
    pub fn attempt_failed(&mut self, attempt: FailedAttempt, not_before: Option<Timestamp>) {
        keep_attempt(&mut self.failed_attempts, attempt);
        self.not_before = not_before;
    }

    /// How often the job was started and failed.
    pub fn attempts(&self) -> u32 {
        self.failed_attempts.last().map_or(0, |last| last.attempt)
    }
}

/// Adds an attempt to those that are kept.
pub(crate) fn keep_attempt(attempts: &mut Vec<FailedAttempt>, attempt: FailedAttempt) {
    if attempts.len() >= FAILED_ATTEMPTS_MAX {
        attempts.remove(1);
    }
    attempts.push(attempt);
}
