//! What a process tells the world, line by line: what it is about to do, and what was
//! acknowledged to it.

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;

use anyhow::{Context as _, Result};
use reductor_core::{DocumentId, JobErrorCode, JobId, JobResult};
use serde::{Deserialize, Serialize};

/// A line. Those that begin with an intention come before the call, the others after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
// Not tagged inside: what is JSON in an action would not be read.
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Line {
    /// The store did not open.
    NotOpened {
        /// Why.
        error: String,
    },
    /// The store is open and the manager runs.
    Opened,
    /// A job is about to be submitted.
    Submitting(Intent),
    /// A job was accepted.
    Accepted {
        /// What its client calls it.
        name: String,
        /// Its id.
        job_id: JobId,
    },
    /// A job was not accepted, or nobody knows.
    NotAccepted {
        /// What its client calls it.
        name: String,
        /// Why.
        error: String,
    },
    /// The result of a job.
    Result {
        /// What its client calls it.
        name: String,
        /// It.
        result: Box<JobResult>,
    },
    /// A dead letter is about to be retried.
    Retrying {
        /// Which.
        job_id: JobId,
    },
    /// A dead letter is about to be discarded.
    Discarding {
        /// Which.
        job_id: JobId,
    },
    /// A dead letter was discarded.
    Discarded {
        /// Which.
        job_id: JobId,
    },
    /// An attempt failed and another follows: the event was published.
    WillRetry {
        /// Which job.
        job_id: JobId,
        /// The number of the retry to come.
        retry_count: u32,
    },
    /// After writing had stopped, a document was read and replayed up to this revision.
    Read {
        /// Which.
        document: DocumentId,
        /// How many operations it has.
        revision: u64,
    },
    /// After writing had stopped, a document could not be read.
    NotRead {
        /// Which.
        document: DocumentId,
        /// Why.
        error: String,
    },
    /// The process came to its end.
    Done,
}

/// A job that a client wants to submit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// What its client calls it, and its idempotency key.
    pub name: String,
    /// The client; with a document, it numbers its jobs in the order in which it submits them.
    pub client: String,
    /// Its number there.
    pub number: u64,
    /// The document.
    pub document: DocumentId,
    /// The submission, as JSON.
    pub submission: String,
    /// The ids of its actions.
    pub actions: Vec<String>,
    /// What is to become of it.
    pub outcome: Outcome,
}

/// What is to become of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It completes.
    Completes,
    /// It is refused by its reducer.
    Fails,
}

impl Line {
    /// Tells the world, in one write.
    ///
    /// # Errors
    ///
    /// If nobody listens any more.
    pub fn tell(&self) -> Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        std::io::stdout().lock().write_all(&line).context("nobody listens")
    }
}

/// All that is known of a job from outside.
#[derive(Clone, Debug)]
pub struct Told {
    /// What it was to be.
    pub intent: Intent,
    /// Its id, if it was accepted.
    pub accepted: Option<JobId>,
    /// Its result, if one was acknowledged that is final.
    pub result: Option<JobResult>,
}

/// All that is known from outside.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The jobs, by what their clients call them.
    pub jobs: BTreeMap<String, Told>,
    /// Dead letters that were perhaps retried.
    pub retrying: HashSet<JobId>,
    /// Dead letters that were perhaps discarded.
    pub discarding: HashSet<JobId>,
    /// Dead letters that were discarded for certain.
    pub discarded: HashSet<JobId>,
    /// How often jobs were retried at least.
    pub retries: BTreeMap<JobId, u32>,
    /// Documents that were read after writing had stopped.
    pub read: Vec<(DocumentId, u64)>,
    /// Documents that could not be.
    pub not_read: Vec<String>,
    /// Submissions that were not accepted.
    pub not_accepted: u64,
    /// Results that said `IO_ERROR`.
    pub io_errors: u64,
    /// Why the store did not open.
    pub not_opened: Option<String>,
    /// Whether the process came to its end.
    pub done: bool,
}

impl Record {
    /// Takes down what a process has said. A line without its end is none.
    ///
    /// # Errors
    ///
    /// If it is not such lines.
    pub fn add(&mut self, said: &[u8]) -> Result<()> {
        let whole = said.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in said[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = serde_json::from_slice(line);
            self.add_line(line.context("the process said something else than lines of a record")?)?;
        }
        Ok(())
    }

    fn add_line(&mut self, line: Line) -> Result<()> {
        match line {
            Line::Opened => {}
            Line::NotOpened { error } => self.not_opened = Some(error),
            Line::Done => self.done = true,
            Line::Submitting(intent) => {
                let told = Told { intent: intent.clone(), accepted: None, result: None };
                self.jobs.entry(intent.name).or_insert(told);
            }
            Line::Accepted { name, job_id } => {
                let accepted = &mut self.job(&name)?.accepted;
                let before = accepted.replace(job_id.clone());
                anyhow::ensure!(
                    before.as_ref().is_none_or(|before| *before == job_id),
                    "{name} was accepted as {before:?}, and submitted again as {job_id}"
                );
            }
            Line::NotAccepted { .. } => self.not_accepted += 1,
            Line::Result { name, result } => match result.error_code {
                // The next start decides.
                Some(JobErrorCode::IoError) => self.io_errors += 1,
                Some(JobErrorCode::GracefulAbort) => {}
                _ => self.job(&name)?.result = Some(*result),
            },
            Line::Retrying { job_id } => drop(self.retrying.insert(job_id)),
            Line::Discarding { job_id } => drop(self.discarding.insert(job_id)),
            Line::Discarded { job_id } => drop(self.discarded.insert(job_id)),
            Line::WillRetry { job_id, retry_count } => {
                let retries = self.retries.entry(job_id).or_default();
                *retries = retry_count.max(*retries);
            }
            Line::Read { document, revision } => self.read.push((document, revision)),
            Line::NotRead { document, error } => self.not_read.push(format!("{document}: {error}")),
        }
        Ok(())
    }

    fn job(&mut self, name: &str) -> Result<&mut Told> {
        self.jobs.get_mut(name).with_context(|| format!("nobody has submitted {name}"))
    }

    /// How many acknowledgements there were: of acceptance, and of results.
    pub fn acknowledged(&self) -> usize {
        self.jobs.values().map(|told| usize::from(told.accepted.is_some()) + usize::from(told.result.is_some())).sum()
    }
}
