//! How submissions become jobs in the queue, and how jobs leave it again unexecuted.

use std::collections::HashMap;
use std::sync::Arc;

use super::committer::{self, Item, Then, Written};
use super::doorbell::Guard;
use super::journey::{journaled, unstarted_result};
use super::shared::{Pending, Shared, Waiting};
use super::ticket::{JobAcceptance, Submitted, Ticket};
use crate::dispatch::Lineage;
use crate::event::{Event, JobAvailableEvent, JobFailedEvent};
use crate::ids::{DocumentId, DocumentType, IdempotencyKey, JobId, LaneKey};
use crate::job::{Job, JobExecutionConfig, JobResult};
use crate::journal::{EndedJob, FailedAttempt, JobOutcome, keep_attempt};
use crate::queue::NotQueued;
use crate::records::{Acceptance, Hold, NotCancelled, Record, Released};
use crate::report::Report;
use crate::roll::{Ended, Phase};
use crate::store::{Entry, StoreError};
use crate::submission::{Accepted, ActionIds, Refusal, Submission};
use crate::time::Moment;

/// Why none of several submissions was accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("submissions[{position}]: {refusal}")]
pub struct BatchRefusal {
    /// The first submission that was refused.
    pub position: usize,
    /// Why.
    #[source]
    pub refusal: Refusal,
}

/// A submission on its way into the queue.
enum Arrival {
    New(New),
    /// It was submitted before.
    Known(Arc<Record>),
    /// It is submitted earlier in the same batch, at this position.
    Twin(usize),
}

struct New {
    lane: LaneKey,
    record: Arc<Record>,
    /// The jobs that it depends on.
    dependencies: Vec<Dependency>,
}

/// A job that another depends on.
enum Dependency {
    Known(Arc<Record>),
    /// It ended, and its result is gone.
    Remembered(JobId, JobOutcome),
}

/// A job on its last step into the queue.
struct Entrant {
    lane: LaneKey,
    document_type: DocumentType,
    pending: Pending,
}

impl New {
    fn document_type(&self) -> &DocumentType {
        &self.record.accepted.document_type
    }
}

impl Shared {
    /// Puts a submission into its lane.
    pub(super) fn submit(&self, submission: Submission) -> Result<Submitted, Refusal> {
        let arrival = self.prepare(submission, &Batch::default())?;
        self.let_in_one(arrival)
    }

    /// Puts submissions into their lanes: all of them or none. Waits until they are accepted.
    pub(super) fn enqueue_all(&self, submissions: Vec<Submission>) -> Result<Vec<Ticket>, BatchRefusal> {
        let mut batch = Batch::default();
        let mut arrivals = Vec::with_capacity(submissions.len());
        for (position, submission) in submissions.into_iter().enumerate() {
            let arrival = self.prepare(submission, &batch);
            let arrival = arrival.map_err(|refusal| BatchRefusal { position, refusal })?;
            batch.take_note(position, &arrival);
            arrivals.push(arrival);
        }
        self.let_in(arrivals)
    }

    /// Puts a job that was made elsewhere into its lane.
    pub(super) fn submit_job(&self, job: Job, config: Option<JobExecutionConfig>) -> Result<Submitted, Refusal> {
        let lane = job.lane();
        let document_type = self.document_type(&lane, None)?;
        let reducer = self.reducers.serving(&document_type)?;
        let accepted = Accepted::from_job(job, config, reducer.manifest(), &self.config.limits)?;
        self.check_writable()?;
        let at = self.config.clock.moment();
        // Of two callers with one id, the second finds the job of the first, or its result.
        let _serialised = self.caller_ids.lock(&accepted.job.id);
        match self.find_record(&accepted.job.id, at)? {
            // It did not run, and takes its place again.
            Ok(record) if record.is_given_back() => {}
            Ok(record) if record.accepted.job.is_same_as(&accepted.job) => {
                return self.let_in_one(Arrival::Known(record));
            }
            Ok(_) => return Err(id_taken(&accepted.job.id)),
            Err(_) => {}
        }
        if let Some(outcome) = self.outcome(&accepted.job.id)? {
            let problem = format!("the job `{}` {outcome}; its result is not kept any more", accepted.job.id);
            return Err(Refusal::Invalid { field: "id".to_owned(), problem });
        }
        let record = Record::new(accepted, Lineage::root(), ActionIds::Given, at);
        self.let_in_one(Arrival::New(New { lane, record, dependencies: Vec::new() }))
    }

    /// Checks a submission, outside of the lock.
    fn prepare(&self, submission: Submission, batch: &Batch) -> Result<Arrival, Refusal> {
        let at = self.config.clock.moment();
        self.check_writable()?;
        if let Some(key) = &submission.idempotency_key {
            if let Some(record) = self.known_by_key(key, at)? {
                return Ok(Arrival::Known(record));
            }
            if let Some(twin) = batch.keys.get(key) {
                return Ok(Arrival::Twin(*twin));
            }
        }
        let lane = submission.lane();
        let document_type = match batch.created.get(&lane) {
            Some(known) => resolve_type(&lane.document, submission.document_type.as_ref(), Some(known))?,
            None => self.document_type(&lane, submission.document_type.as_ref())?,
        };
        let reducer = self.reducers.serving(&document_type)?;
        let action_ids = submission.action_ids();
        let accepted = submission.admit(reducer.manifest(), &self.config.limits, at.now)?;
        let dependencies =
            accepted.depends_on.iter().enumerate().map(|(position, job_id)| match self.find_record(job_id, at)? {
                Ok(known) => Ok(Dependency::Known(known)),
                Err(unknown) => match self.outcome(job_id)? {
                    Some(outcome) => Ok(Dependency::Remembered(job_id.clone(), outcome)),
                    None => Err(Refusal::UnknownDependency { position, unknown }),
                },
            });
        let dependencies = dependencies.collect::<Result<_, Refusal>>()?;
        let record = Record::new(accepted, Lineage::root(), action_ids, at);
        Ok(Arrival::New(New { lane, record, dependencies }))
    }

    /// Puts what was prepared into the queue, unless something has changed meanwhile.
    fn let_in(&self, mut arrivals: Vec<Arrival>) -> Result<Vec<Ticket>, BatchRefusal> {
        let waiting = self.lock();
        if self.roll.phase() == Phase::Stopping {
            return Err(BatchRefusal { position: 0, refusal: Refusal::Stopping });
        }
        arrivals.iter_mut().for_each(|arrival| self.recognise(arrival));
        check_room(&waiting, &arrivals, self.beyond_queue(&waiting))?;
        let mut records: Vec<Arc<Record>> = Vec::with_capacity(arrivals.len());
        let mut entrants = Vec::with_capacity(arrivals.len());
        let mut known = Vec::new();
        for arrival in arrivals {
            let record = match arrival {
                Arrival::New(new) => {
                    let entrant = self.enter(new);
                    let record = entrant.pending.record.clone();
                    entrants.push(entrant);
                    record
                }
                Arrival::Known(record) => {
                    known.push(record.clone());
                    record
                }
                Arrival::Twin(position) => records[position].clone(),
            };
            records.push(record);
        }
        let tickets: Vec<_> = records.iter().map(|record| Ticket::of(record)).collect();
        let failed = |error| BatchRefusal { position: 0, refusal: Refusal::Store(error) };
        let written = self.push_accepted(waiting, entrants).map_err(failed)?;
        let known = known.iter().filter_map(|record| self.acceptance(record).request());
        known.chain(written).try_for_each(committer::wait).map_err(failed)?;
        Ok(tickets)
    }

    /// The same for one, which is nearly always all there is, and without waiting.
    fn let_in_one(&self, mut arrival: Arrival) -> Result<Submitted, Refusal> {
        let waiting = self.lock();
        if self.roll.phase() == Phase::Stopping {
            return Err(Refusal::Stopping);
        }
        self.recognise(&mut arrival);
        let new = match arrival {
            Arrival::New(new) => new,
            Arrival::Known(record) => return Ok(Submitted::new(&record, self.acceptance(&record))),
            Arrival::Twin(_) => unreachable!("it has no batch to have a twin in"),
        };
        let beyond = self.beyond_queue(&waiting);
        let room = waiting.queue.has_room_for([(&new.lane, new.document_type())].into_iter(), beyond);
        room.map_err(|(_, problem)| refusal(problem, &new))?;
        let entrant = self.enter(new);
        let record = &entrant.pending.record;
        let submitted = Submitted::new(record, self.acceptance(record));
        self.push_one(waiting, entrant);
        Ok(submitted)
    }

    /// How to have the acceptance of a job written, where there is a journal.
    fn acceptance(&self, record: &Arc<Record>) -> JobAcceptance {
        match &self.committer {
            Some(committer) if !record.has_ended() => JobAcceptance::OnRequest(committer.clone(), record.clone()),
            _ => JobAcceptance::Done,
        }
    }

    /// Whether what is accepted can be kept.
    fn check_writable(&self) -> Result<(), Refusal> {
        match &self.committer {
            None => Ok(()),
            Some(committer) => match committer.stopped() {
                Some(error) => Err(Refusal::Store(error)),
                None => Ok(self.log.store().check_room()?),
            },
        }
    }

    /// Somebody may have submitted with the same key since the check: under the lock, nobody
    /// can.
    fn recognise(&self, arrival: &mut Arrival) {
        if let Arrival::Known(record) = arrival {
            // A stop and a start since the check have made another record of the same job.
            *record = self.records.current(record.clone());
        }
        if let Arrival::New(new) = arrival
            && let Some(key) = &new.record.accepted.idempotency_key
            && let Some(record) = self.records.of_key(key, self.config.clock.elapsed())
        {
            *arrival = Arrival::Known(record);
        }
    }

    /// Makes the job known.
    fn enter(&self, new: New) -> Entrant {
        let document_type = new.document_type().clone();
        let New { lane, record, dependencies } = new;
        // Before another thread can find the record: it may have the acceptance written.
        if let Some(committer) = &self.committer {
            record.journal.set_order(committer.next_order());
        }
        self.records.insert(&record);
        let hold = Some(dependencies).filter(|dependencies| !dependencies.is_empty()).map(|dependencies| {
            let hold = Arc::new(Hold::default());
            for dependency in dependencies {
                match dependency {
                    // A stop and a start since the check have made another record of the same job.
                    Dependency::Known(known) => self.depend(&self.records.current(known), &record, &hold),
                    Dependency::Remembered(job_id, outcome) => hold.ended_as(&job_id, outcome),
                }
            }
            hold
        });
        Entrant { lane, document_type, pending: Pending::new(record, hold) }
    }

    /// Holds a job back until another has completed. The journal must not have the dependent and not
    /// know the other.
    fn depend(&self, dependency: &Arc<Record>, dependent: &Arc<Record>, hold: &Arc<Hold>) {
        if let Some(committer) = &self.committer
            && dependency.journal.acceptance() == Acceptance::Deferred
        {
            // Before the acceptance of the dependent, and so durable no later.
            drop(committer.accept(dependency));
        }
        dependency.hold(dependent, hold);
    }

    /// Queues one job, whose acceptance is written when somebody asks for it.
    fn push_one(&self, waiting: Guard<'_, Waiting>, entrant: Entrant) {
        if let Some(committer) = &self.committer
            && let Err(error) = committer.defer(&entrant.pending.record)
        {
            drop(waiting);
            return self.suspend(&entrant.pending.record, &error);
        }
        self.push(waiting, [entrant]);
    }

    /// Queues jobs whose acceptances are to be in one batch. Returns where to wait for each, where
    /// there is a journal.
    fn push_accepted(&self, waiting: Guard<'_, Waiting>, entrants: Vec<Entrant>) -> Result<Vec<Written>, StoreError> {
        let Some(committer) = &self.committer else {
            self.push(waiting, entrants);
            return Ok(Vec::new());
        };
        let records: Vec<_> = entrants.iter().map(|entrant| &entrant.pending.record).collect();
        let written = match committer.accept_all(&records) {
            Ok(written) => written,
            Err(error) => {
                drop(waiting);
                records.into_iter().for_each(|record| self.suspend(record, &error));
                return Err(error);
            }
        };
        self.push(waiting, entrants);
        Ok(written)
    }

    fn push(&self, mut waiting: Guard<'_, Waiting>, entrants: impl IntoIterator<Item = Entrant>) {
        for Entrant { lane, document_type, pending } in entrants {
            // No worker can have started it: that needs the lock.
            self.announce_available(&pending.record.accepted.job);
            waiting.queue.push_beyond(lane, document_type, pending);
        }
        self.arrived(waiting);
    }

    pub(super) fn announce_available(&self, job: &Job) {
        self.bus.tell(|| {
            Event::JobAvailable(JobAvailableEvent {
                document_id: job.document_id.clone(),
                scopes: job.scopes.clone(),
                branch: job.branch.clone(),
                job_id: job.id.clone(),
            })
        });
    }

    /// Puts jobs that a committed one dispatched at the end of their lanes, where it has reserved
    /// places for them.
    pub(super) fn enqueue_dispatched(&self, dispatched: Vec<Arc<Record>>) {
        if dispatched.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        self.give_up_places(&mut waiting, dispatched.len());
        for record in dispatched {
            let (lane, document_type) = (record.accepted.job.lane(), record.accepted.document_type.clone());
            self.records.insert(&record);
            self.announce_available(&record.accepted.job);
            waiting.queue.push_beyond(lane, document_type, Pending::new(record, None));
        }
        self.arrived(waiting);
    }

    pub(super) fn cancel(&self, job_id: &JobId) -> Result<Arc<JobResult>, NotCancelled> {
        let at = self.config.clock.moment();
        let record = self.find_record(job_id, at)??;
        record.leave()?;
        let lane = record.accepted.job.lane();
        let mut waiting = self.lock();
        let mut failed_attempts = match waiting.queue.remove(&lane, |pending| Arc::ptr_eq(&pending.record, &record)) {
            // A dead letter that is retried has a history.
            Some((pending, _)) => pending.failed_attempts,
            None => {
                // A worker has it in its turn, and leaves it out; even if it holds the lane up.
                waiting.queue.wake(&lane);
                Vec::new()
            }
        };
        self.arrived(waiting);
        let report = Report::cancelled();
        let (error, failed_attempt) = (report.error.clone(), report.attempt(0, at.now));
        let result = unstarted_result(&record, report, at);
        keep_attempt(&mut failed_attempts, failed_attempt);
        let written = self.journal_cancelled(&record, &result, failed_attempts);
        if let Err(error) = written {
            self.left(&record, &self.unknown_result(&record, &error, at), at);
            return Err(error.into());
        }
        let job = result.job.clone();
        self.roll.count(Ended::FailedUnstarted, at);
        self.bus.tell(|| Event::JobFailed(JobFailedEvent { job, error, will_retry: false, retry_count: 0 }));
        self.left(&record, &result, at);
        Ok(result)
    }

    /// Hands the result of a job that was cancelled to everybody who waits for it.
    fn left(&self, record: &Arc<Record>, result: &Arc<JobResult>, at: Moment) {
        let waiters = record.left(result);
        self.records.ended(record, at.elapsed);
        self.release(waiters.tell(result));
        self.tell_if_idle(&mut self.lock());
    }

    /// Waits until the journal has that a job was cancelled, where there is one.
    fn journal_cancelled(
        &self,
        record: &Arc<Record>,
        result: &Arc<JobResult>,
        failed_attempts: Vec<FailedAttempt>,
    ) -> Result<(), StoreError> {
        let Some(committer) = &self.committer else { return Ok(()) };
        committer.write_end(
            record,
            Entry::Ended(EndedJob {
                journaled: journaled(record, failed_attempts),
                result: result.clone(),
                append: None,
                dispatched: Vec::new(),
                // If the position cannot be read now, `u64::MAX` makes a later retry find that the branch has moved.
                revision: self.log.revision(&record.accepted.job.lane()).unwrap_or(u64::MAX),
                budget_left: None,
            }),
        )
    }

    /// Lets lanes go on that were held by a job that has ended, and takes down which jobs fail with
    /// it: the next start must know, even if the journal has forgotten the job by then.
    pub(super) fn release(&self, released: Released) {
        let Released { lanes, failed } = released;
        if let Some(committer) = &self.committer {
            for (record, failed) in failed {
                let (job_id, order) = (record.job_id().clone(), record.journal.order());
                let entry = Entry::DependencyFailed { job_id, order, failed };
                // If nothing is written any more, the next start finds the job that failed.
                let _ = committer.push_about(&record, Item { entry: Some(entry), then: Then::Nothing });
            }
        }
        if lanes.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        for lane in lanes {
            waiting.queue.wake(&lane);
        }
        self.arrived(waiting);
    }

    /// The model of a document: that of the jobs that wait for it, or as the log has it, or as
    /// `named`.
    fn document_type(&self, lane: &LaneKey, named: Option<&DocumentType>) -> Result<DocumentType, Refusal> {
        // The queue first: a lane is gone from it only when what its jobs made can be read.
        let waiting = self.lock().queue.kind(lane).cloned();
        let known = match waiting {
            Some(document_type) => Some(document_type),
            None => self.log.document_type(lane)?,
        };
        resolve_type(&lane.document, named, known.as_ref())
    }
}

/// What earlier submissions of the same batch make.
#[derive(Default)]
struct Batch {
    keys: HashMap<IdempotencyKey, usize>,
    created: HashMap<LaneKey, DocumentType>,
}

impl Batch {
    fn take_note(&mut self, position: usize, arrival: &Arrival) {
        let Arrival::New(new) = arrival else { return };
        self.created.insert(new.lane.clone(), new.document_type().clone());
        if let Some(key) = &new.record.accepted.idempotency_key {
            self.keys.insert(key.clone(), position);
        }
    }
}

/// Whether the queue takes all that is new, where so many jobs count besides those in it.
fn check_room(waiting: &Waiting, arrivals: &[Arrival], beyond: usize) -> Result<(), BatchRefusal> {
    let new = arrivals.iter().enumerate().filter_map(|(position, arrival)| match arrival {
        Arrival::New(new) => Some((position, new)),
        Arrival::Known(_) | Arrival::Twin(_) => None,
    });
    let new: Vec<_> = new.collect();
    let lanes = new.iter().map(|(_, new)| (&new.lane, new.document_type()));
    waiting.queue.has_room_for(lanes, beyond).map_err(|(at, problem)| {
        let (position, new) = &new[at];
        BatchRefusal { position: *position, refusal: refusal(problem, new) }
    })
}

fn refusal(problem: NotQueued<DocumentType>, new: &New) -> Refusal {
    match problem {
        NotQueued::Full { depth, limit } => Refusal::QueueFull { depth, limit },
        NotQueued::OtherKind(found) => {
            let (document, asked) = (new.lane.document.clone(), new.document_type().clone());
            Refusal::OtherModel { document, asked, found }
        }
    }
}

fn id_taken(job_id: &JobId) -> Refusal {
    Refusal::Invalid { field: "id".to_owned(), problem: format!("`{job_id}` is the id of another job") }
}

/// Decides which model a submission is for: the document's own, which it may name, or for a
/// new document the one it names.
///
/// # Errors
///
/// [`Refusal::OtherModel`] or [`Refusal::UnknownDocument`].
pub fn resolve_type(
    document: &DocumentId,
    named: Option<&DocumentType>,
    known: Option<&DocumentType>,
) -> Result<DocumentType, Refusal> {
    match (named, known) {
        (Some(asked), Some(found)) if asked != found => {
            Err(Refusal::OtherModel { document: document.clone(), asked: asked.clone(), found: found.clone() })
        }
        (_, Some(document_type)) | (Some(document_type), None) => Ok(document_type.clone()),
        (None, None) => Err(Refusal::UnknownDocument { document: document.clone() }),
    }
}
