//! What a client hands in, and the check that turns it into a job.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;

use crate::action::{Action, ActionContext};
use crate::ids::{
    ActionId, ActionType, Branch, DocumentId, DocumentType, IdempotencyKey, JobId, LaneKey, Scope, StateHash,
};
use crate::job::{Causation, Job, JobExecutionConfig, JobStatus};
use crate::json::Json;
use crate::limits::Limits;
use crate::plugin::Manifest;
use crate::records::UnknownJob;
use crate::text::is_invisible;
use crate::time::{Timestamp, TimestampText};

/// A request to apply actions to a document, as it comes over the wire.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "an object with `documentId` and `actions`")]
pub struct Submission {
    /// The document to act on.
    pub document_id: DocumentId,
    /// The model to create the document with, if it does not exist.
    #[serde(default)]
    pub document_type: Option<DocumentType>,
    /// The branch to act on; `main` when absent.
    #[serde(default)]
    pub branch: Option<Branch>,
    /// The scopes affected; those of the actions when absent.
    #[serde(default)]
    pub scopes: Option<Vec<Scope>>,
    /// What to apply, in order.
    pub actions: Vec<ActionDraft>,
    /// What the state must hash to afterwards.
    #[serde(default)]
    pub resulting_hash: Option<StateHash>,
    /// What the job asks for itself.
    #[serde(default)]
    pub config: Option<JobExecutionConfig>,
    /// Jobs accepted earlier that must complete before this one starts. While it waits, so do
    /// the later jobs of its lane.
    #[serde(default)]
    pub depends_on: Vec<JobId>,
    /// Makes submitting again harmless: while the job that was accepted with this key is known,
    /// the answer is that job, whatever else the submission says.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

/// An action whose host-given parts may be missing.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "an object with `type`")]
pub struct ActionDraft {
    /// Made up when absent.
    #[serde(default)]
    pub id: Option<ActionId>,
    /// What to do.
    #[serde(rename = "type")]
    pub action_type: ActionType,
    /// Now, when absent.
    #[serde(default)]
    pub timestamp_utc_ms: Option<TimestampText>,
    /// The parameters; `null` when absent.
    #[serde(default = "Json::null")]
    pub input: Json,
    /// The scope to change; `global` when absent.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// Where the author believed the stream to stand, and who signed.
    #[serde(default)]
    pub context: Option<ActionContext>,
}

/// Why a submission did not become a job. Nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The text is not a submission.
    #[error("{}{problem}", at(.field))]
    Malformed {
        /// Path to the field, such as `actions[0].type`; empty for the whole.
        field: String,
        /// What is wrong there.
        problem: String,
    },
    /// A field holds what it may not.
    #[error("{field}: {problem}")]
    Invalid {
        /// Path to the field.
        field: String,
        /// What is wrong there.
        problem: String,
    },
    /// No loaded plugin has this model.
    #[error("documentType: no plugin for `{document_type}` is loaded; loaded: {}", list(.loaded))]
    UnknownModel {
        /// What was asked for.
        document_type: DocumentType,
        /// What there is.
        loaded: Vec<DocumentType>,
    },
    /// The document does not exist, and the submission does not say how to create it.
    #[error("documentId: document `{document}` does not exist; give `documentType` to create it")]
    UnknownDocument {
        /// Which.
        document: DocumentId,
    },
    /// The document exists with another model.
    #[error("documentType: document `{document}` is a `{found}`, not a `{asked}`")]
    OtherModel {
        /// Which document.
        document: DocumentId,
        /// What the submission says it is.
        asked: DocumentType,
        /// What it is.
        found: DocumentType,
    },
    /// The model has no such scope.
    #[error("{field}: {document_type} has no scope `{scope}`; it has: {}", list(.known))]
    UnknownScope {
        /// Path to the field.
        field: String,
        /// What was asked for.
        scope: Scope,
        /// The model.
        document_type: DocumentType,
        /// What it has.
        known: Vec<Scope>,
    },
    /// It depends on a job that is not known, or not any more.
    #[error("dependsOn[{position}]: {unknown}")]
    UnknownDependency {
        /// Which of `dependsOn`.
        position: usize,
        /// The job.
        unknown: UnknownJob,
    },
    /// A job that was submitted with this idempotency key completed, so long ago that its result is
    /// not kept any more. Nothing is run again.
    #[error("idempotencyKey: job {job_id}, submitted with this key, completed; its result is not kept any more")]
    AlreadyCompleted {
        /// The job.
        job_id: JobId,
    },
    /// Too many jobs wait already.
    #[error("the queue is full: {depth} jobs wait, {limit} may")]
    QueueFull {
        /// How many jobs wait.
        depth: usize,
        /// How many may.
        limit: usize,
    },
    /// The host is stopping and takes no more jobs.
    #[error("the host is stopping and takes no more jobs")]
    Stopping,
    /// The store could not be read, or takes no more jobs.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

fn at(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field}: ") }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let names: Vec<_> = items.iter().map(|item| format!("`{item}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl Refusal {
    /// The field at fault, such as `actions[0].scope`, where it is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Malformed { field, .. } => Some(field.as_str()).filter(|field| !field.is_empty()),
            Self::Invalid { field, .. } | Self::UnknownScope { field, .. } => Some(field),
            Self::UnknownModel { .. } | Self::OtherModel { .. } => Some("documentType"),
            Self::UnknownDocument { .. } => Some("documentId"),
            Self::UnknownDependency { .. } => Some("dependsOn"),
            Self::AlreadyCompleted { .. } => Some("idempotencyKey"),
            Self::QueueFull { .. } | Self::Stopping | Self::Store(_) => None,
        }
    }
}

/// Whose the ids of a job's actions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActionIds {
    /// The host made all of them for this job, in this process: no operation can have one.
    Fresh,
    /// An operation may have one of them already.
    Given,
}

impl Submission {
    /// Whose the ids of its actions will be.
    pub(crate) fn action_ids(&self) -> ActionIds {
        if self.actions.iter().all(|action| action.id.is_none()) { ActionIds::Fresh } else { ActionIds::Given }
    }

    /// Reads a submission from JSON.
    ///
    /// # Errors
    ///
    /// [`Refusal::Malformed`], which names the field.
    ///
    /// ```
    /// use reductor_core::Submission;
    ///
    /// let refusal = Submission::from_json(r#"{"documentId": "d", "actions": [{"input": 1}]}"#).unwrap_err();
    /// assert_eq!(refusal.field(), Some("actions[0]"));
    /// assert!(refusal.to_string().contains("missing field `type`"));
    /// ```
    pub fn from_json(text: &str) -> Result<Self, Refusal> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let malformed = |field: &str, error| Refusal::Malformed { field: field.to_owned(), problem: problem(&error) };
        let submission = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            // A `.` stands for the whole, a `?` for a field whose name was not reached.
            let field = error.path().to_string();
            malformed(field.trim_end_matches(['.', '?']), error.into_inner())
        })?;
        deserializer.end().map_err(|error| malformed("", error))?;
        Ok(submission)
    }

    /// The lane that the submission goes to.
    pub fn lane(&self) -> LaneKey {
        let branch = self.branch.clone().unwrap_or_else(|| Branch::from(Branch::MAIN));
        LaneKey { document: self.document_id.clone(), branch }
    }

    /// Turns the submission into a job for a document of this model, or says why not.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`] or [`Refusal::UnknownScope`], naming the field.
    pub fn admit(self, manifest: &Manifest, limits: &Limits, now: Timestamp) -> Result<Accepted, Refusal> {
        let check = Check { manifest, limits };
        check.key("documentId", self.document_id.as_str())?;
        let lane = self.lane();
        check.key("branch", lane.branch.as_str())?;
        if let Some(document_type) = &self.document_type {
            check.name("documentType", document_type.as_str())?;
        }
        if let Some(hash) = &self.resulting_hash {
            check.name("resultingHash", hash.as_str())?;
        }
        check.count(self.actions.len())?;
        check.dependencies(&self.depends_on)?;
        if let Some(key) = &self.idempotency_key {
            check.name("idempotencyKey", key.as_str())?;
        }
        let (mut actions, mut bytes) = (Vec::with_capacity(self.actions.len()), 0);
        let now = TimestampText::from(now);
        for (position, draft) in self.actions.into_iter().enumerate() {
            let action = check.action(position, draft, &now)?;
            bytes += action_bytes(&action);
            actions.push(Arc::new(action));
        }
        check.bytes(bytes)?;
        unique_ids(&actions)?;
        let scopes = match self.scopes {
            Some(scopes) => check.scopes(scopes, &actions)?,
            None => scopes_of(&actions),
        };
        Ok(Accepted {
            job: Job {
                id: JobId::generate(),
                document_id: lane.document.clone(),
                scopes: scopes.into(),
                branch: lane.branch.clone(),
                actions: actions.into(),
                resulting_hash: self.resulting_hash,
                status: JobStatus::Pending,
            },
            document_type: manifest.document_type.clone(),
            named_type: self.document_type,
            config: self.config,
            depends_on: self.depends_on,
            idempotency_key: self.idempotency_key,
            causation: None,
        })
    }
}

/// A submission that passed every check: a job, and what `Job` itself has no field for.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The job.
    pub job: Job,
    /// The model of its document, which the job creates if it does not exist.
    pub document_type: DocumentType,
    /// The model as the submission named it, if it did.
    pub named_type: Option<DocumentType>,
    /// What the job asks for itself.
    pub config: Option<JobExecutionConfig>,
    /// Jobs that must complete before it starts.
    pub depends_on: Vec<JobId>,
    /// What its client calls it.
    pub idempotency_key: Option<IdempotencyKey>,
    /// What dispatched it, where a reducer did.
    pub causation: Option<Causation>,
}

impl Accepted {
    /// Checks a job that was made elsewhere like any submission. It keeps its id.
    pub(crate) fn from_job(
        job: Job,
        config: Option<JobExecutionConfig>,
        manifest: &Manifest,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        Check { manifest, limits }.name("id", job.id.as_str())?;
        let submission = Submission {
            document_id: job.document_id,
            document_type: None,
            branch: Some(job.branch),
            scopes: Some(job.scopes.to_vec()),
            actions: job.actions.iter().map(|action| ActionDraft::from(&**action)).collect(),
            resulting_hash: job.resulting_hash,
            config,
            depends_on: Vec::new(),
            idempotency_key: None,
        };
        let mut accepted = submission.admit(manifest, limits, Timestamp { ms: 0 })?;
        accepted.job.id = job.id;
        Ok(accepted)
    }
}

impl From<&Action> for ActionDraft {
    fn from(action: &Action) -> Self {
        let Action { id, action_type, timestamp_utc_ms, input, scope, context } = action.clone();
        Self {
            id: Some(id),
            action_type,
            timestamp_utc_ms: Some(timestamp_utc_ms),
            input,
            scope: Some(scope),
            context: context.map(|context| ActionContext::clone(&context)),
        }
    }
}

/// What serde says is wrong. Most submissions are one line, of a file that counts its own: the
/// column alone says where.
fn problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.strip_suffix(&format!(" at line 1 column {}", error.column())) {
        Some(problem) => format!("{} (column {})", in_words_of_json(problem), error.column()),
        None => text,
    }
}

/// The library names types of Rust where people know those of JSON.
fn in_words_of_json(problem: &str) -> String {
    let rest = problem.strip_prefix("invalid type: ").or_else(|| problem.strip_prefix("invalid value: "));
    let Some((found, expected)) = rest.and_then(|rest| rest.split_once(", expected ")) else {
        return problem.to_owned();
    };
    let found = match found {
        "map" => "an object",
        "sequence" => "a list",
        other => other,
    };
    let expected = match expected {
        "a sequence" => "a list",
        "a map" => "an object",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        other => other,
    };
    format!("expected {expected}, found {found}")
}

struct Check<'a> {
    manifest: &'a Manifest,
    limits: &'a Limits,
}

impl Check<'_> {
    fn name(&self, field: &str, text: &str) -> Result<(), Refusal> {
        name_problem(text, self.limits)
            .map_or(Ok(()), |problem| Err(Refusal::Invalid { field: field.to_owned(), problem }))
    }

    /// [`Check::name`] for a part of what names an operation.
    fn key(&self, field: &str, text: &str) -> Result<(), Refusal> {
        key_problem(text, self.limits)
            .map_or(Ok(()), |problem| Err(Refusal::Invalid { field: field.to_owned(), problem }))
    }

    fn count(&self, actions: usize) -> Result<(), Refusal> {
        let max = self.limits.actions_per_job_max;
        let problem = match actions {
            0 => "must not be empty".to_owned(),
            count if count > max => format!("has {count} actions; {max} are allowed in one job"),
            _ => return Ok(()),
        };
        Err(Refusal::Invalid { field: "actions".to_owned(), problem })
    }

    fn bytes(&self, bytes: usize) -> Result<(), Refusal> {
        let max = self.limits.job_bytes_max;
        if bytes > max {
            let problem = format!("have {bytes} bytes; {max} are allowed in one job");
            return Err(Refusal::Invalid { field: "actions".to_owned(), problem });
        }
        Ok(())
    }

    fn dependencies(&self, jobs: &[JobId]) -> Result<(), Refusal> {
        let (count, max) = (jobs.len(), self.limits.dependencies_per_job_max);
        if count > max {
            let problem = format!("names {count} jobs; {max} are allowed");
            return Err(Refusal::Invalid { field: "dependsOn".to_owned(), problem });
        }
        let mut jobs = jobs.iter().enumerate();
        jobs.try_for_each(|(position, job)| self.bounded_name(|| format!("dependsOn[{position}]"), job.as_str()))
    }

    fn action(&self, position: usize, draft: ActionDraft, now: &TimestampText) -> Result<Action, Refusal> {
        let field = |name: &str| format!("actions[{position}].{name}");
        let scope = draft.scope.unwrap_or_else(|| Scope::from(Scope::GLOBAL));
        if !self.manifest.scopes.contains(&scope) {
            return Err(self.unknown_scope(field("scope"), scope));
        }
        if let Some(problem) = key_problem(scope.as_str(), self.limits) {
            return Err(Refusal::Invalid { field: field("scope"), problem });
        }
        self.bounded_name(|| field("type"), draft.action_type.as_str())?;
        if let Some(id) = &draft.id {
            self.bounded_name(|| field("id"), id.as_str())?;
        }
        let (bytes, max) = (draft.input.as_str().len(), self.limits.action_input_bytes_max);
        if bytes > max {
            let problem = format!("has {bytes} bytes; {max} are allowed");
            return Err(Refusal::Invalid { field: field("input"), problem });
        }
        if let Some(context) = &draft.context {
            self.context(position, context)?;
        }
        Ok(Action {
            id: draft.id.unwrap_or_else(ActionId::generate),
            action_type: draft.action_type,
            timestamp_utc_ms: draft.timestamp_utc_ms.unwrap_or_else(|| now.clone()),
            input: draft.input,
            scope,
            context: draft.context.map(Arc::new),
        })
    }

    fn context(&self, position: usize, context: &ActionContext) -> Result<(), Refusal> {
        let invalid = |name: &str, problem| {
            let field = format!("actions[{position}].context.{name}");
            Err(Refusal::Invalid { field, problem })
        };
        let (bytes_max, signatures_max) = (self.limits.context_bytes_max, self.limits.signatures_per_action_max);
        let signatures = context.signer.as_ref().map_or(0, |signer| signer.signatures.len());
        if signatures > signatures_max {
            let problem = format!("has {signatures} signatures; {signatures_max} are allowed");
            return invalid("signer.signatures", problem);
        }
        let mut bytes = 0;
        for (name, text) in context.texts() {
            bytes += text.len();
            if bytes > bytes_max {
                let problem = format!("makes the context {bytes} bytes long; {bytes_max} are allowed");
                return invalid(name, problem);
            }
        }
        Ok(())
    }

    /// [`Check::name`], with the field spelled out only where it is needed.
    fn bounded_name(&self, field: impl Fn() -> String, text: &str) -> Result<(), Refusal> {
        self.name("", text).map_err(|refusal| match refusal {
            Refusal::Invalid { problem, .. } => Refusal::Invalid { field: field(), problem },
            other => other,
        })
    }

    /// The scopes as the submission gave them: known ones, each once, the actions' among them.
    fn scopes(&self, scopes: Vec<Scope>, actions: &[Arc<Action>]) -> Result<Vec<Scope>, Refusal> {
        for (position, scope) in scopes.iter().enumerate() {
            let field = format!("scopes[{position}]");
            if !self.manifest.scopes.contains(scope) {
                return Err(self.unknown_scope(field, scope.clone()));
            }
            self.key(&field, scope.as_str())?;
            if scopes[..position].contains(scope) {
                return Err(Refusal::Invalid { field, problem: format!("`{scope}` is named twice") });
            }
        }
        match actions.iter().position(|action| !scopes.contains(&action.scope)) {
            Some(position) => Err(Refusal::Invalid {
                field: "scopes".to_owned(),
                problem: format!("lacks `{}`, the scope of actions[{position}]", actions[position].scope),
            }),
            None => Ok(scopes),
        }
    }

    fn unknown_scope(&self, field: String, scope: Scope) -> Refusal {
        Refusal::UnknownScope {
            field,
            scope,
            document_type: self.manifest.document_type.clone(),
            known: self.manifest.scopes.clone(),
        }
    }
}

/// What is wrong with `text` as an id, a type or a name, if anything is.
pub(crate) fn name_problem(text: &str, limits: &Limits) -> Option<String> {
    let max = limits.name_bytes_max;
    if text.is_empty() {
        Some("must not be empty".to_owned())
    } else if text.len() > max {
        Some(format!("has {} bytes; {max} are allowed", text.len()))
    } else {
        // Spaces of other kinds look like the plain one.
        let is_unseen = |it: &char| is_invisible(*it) || (*it != ' ' && it.is_whitespace());
        let unseen = text.chars().find(is_unseen)?;
        let kind = if unseen.is_control() { "control" } else { "invisible" };
        Some(format!("must not contain {kind} characters, such as {}", unseen.escape_unicode()))
    }
}

/// The same for the id of a document, a scope or a branch: parts of what names an operation.
pub(crate) fn key_problem(text: &str, limits: &Limits) -> Option<String> {
    let separator = || text.contains(':').then(|| "must not contain `:`".to_owned());
    name_problem(text, limits).or_else(separator)
}

/// What an action counts for in [`Limits::job_bytes_max`].
fn action_bytes(action: &Action) -> usize {
    let Action { id, action_type, timestamp_utc_ms: _, input, scope, context } = action;
    let names = [id.as_str(), action_type.as_str(), scope.as_str(), input.as_str()];
    let context = context.iter().flat_map(|context| context.texts()).map(|(_, text)| text.len());
    names.into_iter().map(str::len).chain(context).sum()
}

fn unique_ids(actions: &[Arc<Action>]) -> Result<(), Refusal> {
    if actions.len() == 1 {
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(actions.len());
    match actions.iter().position(|action| !seen.insert((&action.scope, &action.id))) {
        Some(position) => Err(Refusal::Invalid {
            field: format!("actions[{position}].id"),
            problem: format!("`{}` is the id of an earlier action of this job", actions[position].id),
        }),
        None => Ok(()),
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
