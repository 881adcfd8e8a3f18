//! Checks that reducers are pure: some jobs are executed a second time, on a fresh instance.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::divergence::{Divergence, DivergenceKind, Hint, answer, dispatches};
use crate::failure::{ApplyError, AttemptError, HostFault, Reason};
use crate::ids::DocumentType;
use crate::reducer::{Call, DispatchRequest, LiveDocument, Reducer, ScopeState};
use crate::residents::{Resident, Residents};
use crate::store::Head;
use crate::time::Span;

/// Which jobs are executed a second time, on a fresh instance, to see whether their reducer is
/// pure. Nothing of the second time is committed, published, logged or dispatched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AuditPolicy {
    /// None.
    Never,
    /// As many, drawn by lot, as take up to this share of the time of each model's workers, from
    /// 0 to 1.
    Share(f64),
    /// Every one, whatever it takes: for tests, and for looking at a model.
    Every,
}

impl Default for AuditPolicy {
    /// One hundredth of the workers' time.
    fn default() -> Self {
        Self::Share(0.01)
    }
}

/// What becomes of a plugin whose job came out differently on a fresh instance. The job fails in
/// any case, with [`Reason::Diverged`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDivergence {
    /// Its revision is quarantined: its documents' jobs wait.
    #[default]
    Quarantine,
    /// It goes on.
    FailJob,
}

/// What audits have found and taken so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditStats {
    /// Jobs that were executed a second time. Those that failed by themselves do not count.
    pub audited: u64,
    /// Those of them that came out differently.
    pub diverged: u64,
    /// Those of them where nothing can be said, for instance because the fresh instance met a
    /// limit that depends on how long an instance has lived.
    pub inconclusive: u64,
    /// Time that workers spent on jobs, audits included. Not measured if there are no audits.
    pub working_ms: Span,
    /// Time that they spent on audits.
    pub auditing_ms: Span,
}

/// How much time one model's audits may take, and have taken. Plain data: its caller measures
/// time and draws lots.
#[derive(Clone, Debug)]
pub struct AuditBudget {
    share: f64,
    /// What is earned and not spent, in seconds; below zero after an audit that took more.
    credit_s: f64,
    /// How long a job takes, and an audit, lately and on average.
    job_s: f64,
    audit_s: f64,
}

/// What may be saved up, or else two audits: so that a quiet hour is not followed by a minute of
/// nothing but audits.
const CREDIT_MAX_S: f64 = 0.1;
/// How long an audit takes, as long as none was measured.
const AUDIT_GUESS_S: f64 = 0.000_2;
/// The weight of the latest measurement in an average.
const NEWS: f64 = 0.1;

impl AuditBudget {
    /// A budget of this share of a model's time, from 0 to 1. Nothing is earned yet.
    pub fn new(share: f64) -> Self {
        Self { share: share.clamp(0.0, 1.0), credit_s: 0.0, job_s: 0.0, audit_s: AUDIT_GUESS_S }
    }

    /// Takes note that workers spent `time` on so many jobs, audits included.
    pub fn earn(&mut self, time: Duration, jobs: usize) {
        let time_s = time.as_secs_f64();
        let most_s = CREDIT_MAX_S.max(2.0 * self.audit_s);
        self.credit_s = (self.credit_s + self.share * time_s).min(most_s);
        if jobs > 0 {
            self.job_s += (time_s / jobs as f64 - self.job_s) * NEWS;
        }
    }

    /// Takes note that an audit took `time`.
    pub fn spend(&mut self, time: Duration) {
        self.credit_s -= time.as_secs_f64();
        self.audit_s += (time.as_secs_f64() - self.audit_s) * NEWS;
    }

    /// The chance with which the next job should be audited: zero while the credit does not cover
    /// an audit, as long as those lately, and otherwise the same for every job, so that nobody can
    /// tell which one it will be.
    pub fn chance(&self) -> f64 {
        if self.credit_s <= self.audit_s {
            return 0.0;
        }
        (self.share * self.job_s / self.audit_s.max(f64::MIN_POSITIVE)).min(1.0)
    }
}

/// Audits jobs as the policy says, and keeps the books.
pub(crate) struct Auditor {
    policy: AuditPolicy,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    budgets: HashMap<DocumentType, AuditBudget>,
    stats: AuditStats,
    working: Duration,
    auditing: Duration,
}

impl Auditor {
    pub(crate) fn new(policy: AuditPolicy) -> Self {
        Self { policy, books: Mutex::default() }
    }

    pub(crate) fn stats(&self) -> AuditStats {
        let books = self.books();
        AuditStats { working_ms: books.working.into(), auditing_ms: books.auditing.into(), ..books.stats }
    }

    /// A worker's own notes.
    pub(crate) fn timesheet(&self) -> Timesheet<'_> {
        Timesheet { auditor: self, document_type: None, time: Duration::ZERO, jobs: 0 }
    }

    /// Begins to audit the attempt that is about to be made on `resident`, if its lot is drawn.
    ///
    /// An audit takes none of the job's time: as much as it takes is added to the deadline of `call`.
    /// It may take as long as the attempt may from here on.
    pub(crate) fn begin<'a, 'c: 'a>(
        &'a self,
        resident: &Resident,
        residents: &Residents,
        call: &mut Call<'c>,
    ) -> Audit<'a> {
        let document_type = &resident.reducer.manifest().document_type;
        if !self.draws(document_type) {
            return Audit(None);
        }
        let mut twin = Twin {
            auditor: self,
            document_type: document_type.clone(),
            call: Call::new(call.lane, call.deadline, call.interrupt, call.limits),
            time_left: call.deadline.saturating_duration_since(Instant::now()),
            live: None,
            not_loaded: None,
            followed: None,
            verdict: Verdict::Same,
            spent: Duration::ZERO,
        };
        let snapshot = if resident.head.revision == 0 { Vec::new() } else { resident.head.snapshot() };
        twin.in_its_own_time(call, |twin| {
            twin.load(&*resident.reducer, &snapshot, |error| {
                // Audits are optional work: never evict another document to make room for one.
                let full = matches!(error, ApplyError::Host(HostFault::NoRoom(_)));
                full && self.policy == AuditPolicy::Every && !residents.make_room().is_empty()
            });
        });
        Audit(Some(Box::new(twin)))
    }

    /// Jobs of a model are drawn in two steps, of which the first takes no lock. An audit does what
    /// its job did and loads a document besides, so hardly ever more of them can be paid for than
    /// the share says.
    fn draws(&self, document_type: &DocumentType) -> bool {
        let share = match self.policy {
            AuditPolicy::Never => return false,
            AuditPolicy::Every => return true,
            AuditPolicy::Share(share) => share,
        };
        let first = (4.0 * share).min(1.0);
        fastrand::f64() < first && fastrand::f64() * first < self.books().budget(document_type, share).chance()
    }

    fn ended(&self, twin: &Twin<'_>) {
        let mut books = self.books();
        books.auditing += twin.spent;
        books.stats.audited += u64::from(twin.verdict != Verdict::Moot);
        match twin.verdict {
            Verdict::Same | Verdict::Moot => {}
            Verdict::Diverged => books.stats.diverged += 1,
            Verdict::Unknown => books.stats.inconclusive += 1,
        }
        if let AuditPolicy::Share(share) = self.policy {
            books.budget(&twin.document_type, share).spend(twin.spent);
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn budget(&mut self, document_type: &DocumentType, share: f64) -> &mut AuditBudget {
        self.budgets.entry(document_type.clone()).or_insert_with(|| AuditBudget::new(share))
    }
}

/// What one worker has worked lately, before it is entered in the books: turns are short, and
/// there are many.
pub(crate) struct Timesheet<'a> {
    auditor: &'a Auditor,
    document_type: Option<DocumentType>,
    time: Duration,
    jobs: usize,
}

/// How much time is entered at once.
const ENTERED_AT_ONCE: Duration = Duration::from_millis(1);

impl Timesheet<'_> {
    /// Takes note of a turn that began at `began` and has just ended, with so many jobs.
    pub(crate) fn note(&mut self, document_type: &DocumentType, began: Instant, jobs: usize) {
        if self.auditor.policy == AuditPolicy::Never {
            return;
        }
        if self.document_type.as_ref() != Some(document_type) {
            self.enter();
            self.document_type = Some(document_type.clone());
        }
        self.time += began.elapsed();
        self.jobs += jobs;
        if self.time >= ENTERED_AT_ONCE {
            self.enter();
        }
    }

    fn enter(&mut self) {
        let (time, jobs) = (std::mem::take(&mut self.time), std::mem::take(&mut self.jobs));
        let Some(document_type) = self.document_type.as_ref().filter(|_| !time.is_zero()) else { return };
        let mut books = self.auditor.books();
        books.working += time;
        if let AuditPolicy::Share(share) = self.auditor.policy {
            books.budget(document_type, share).earn(time, jobs);
        }
    }
}

impl Drop for Timesheet<'_> {
    fn drop(&mut self) {
        self.enter();
    }
}

/// An attempt that is audited; or, nearly always, one that is not.
pub(crate) struct Audit<'a>(Option<Box<Twin<'a>>>);

/// A fresh instance that does what the resident does, one action behind.
struct Twin<'a> {
    auditor: &'a Auditor,
    document_type: DocumentType,
    call: Call<'a>,
    /// How long the audit may still take.
    time_left: Duration,
    /// Gone when there is nothing more to compare.
    live: Option<Box<dyn LiveDocument>>,
    /// Why there never was one, although the model itself made the snapshot.
    not_loaded: Option<String>,
    /// The last action that both applied.
    followed: Option<usize>,
    verdict: Verdict,
    spent: Duration,
}

#[derive(PartialEq, Eq)]
enum Verdict {
    Same,
    /// The job failed by itself.
    Moot,
    Diverged,
    Unknown,
}

impl Audit<'_> {
    /// Lets the fresh instance do what the resident just did: `applied` an action, and asked for
    /// `requests`.
    pub(crate) fn follow(
        &mut self,
        position: usize,
        action: &Action,
        applied: &Result<ScopeState, ApplyError>,
        requests: &[DispatchRequest],
        call: &mut Call<'_>,
    ) -> Result<(), AttemptError> {
        let Some(twin) = &mut self.0 else { return Ok(()) };
        let found = twin.in_its_own_time(call, |twin| twin.follow(position, action, applied, requests));
        found.map_or(Ok(()), |divergence| twin.diverged(divergence))
    }

    /// Compares all that the two documents hold after the last action, with one another and with
    /// what the log will say.
    ///
    /// A resident that cannot say what it holds is marked as dead, and that is all if the fresh
    /// instance cannot either: a job that is not audited does not ask, and must come out the same.
    pub(crate) fn finish(
        mut self,
        resident: &mut Resident,
        committed: &Head,
        call: &mut Call<'_>,
    ) -> Result<(), AttemptError> {
        let Some(twin) = &mut self.0 else { return Ok(()) };
        let Some(position) = twin.followed else { return Ok(()) };
        let found = twin.in_its_own_time(call, |twin| twin.compare_all(position, resident, committed));
        found.map_or(Ok(()), |divergence| twin.diverged(divergence))
    }
}

impl Drop for Audit<'_> {
    fn drop(&mut self) {
        if let Some(twin) = &mut self.0 {
            let began = Instant::now();
            twin.live = None;
            twin.spent += began.elapsed();
            twin.auditor.ended(twin);
        }
    }
}

impl Twin<'_> {
    /// Runs a part of the audit, and charges its time to the audit instead of the job.
    fn in_its_own_time<T>(&mut self, job: &mut Call<'_>, run: impl FnOnce(&mut Self) -> T) -> T {
        let began = Instant::now();
        self.call.deadline = began + self.time_left;
        let done = run(self);
        let took = began.elapsed();
        self.time_left = self.time_left.saturating_sub(took);
        self.spent += took;
        job.deadline += took;
        done
    }

    fn load(&mut self, reducer: &dyn Reducer, snapshot: &[ScopeState], make_room: impl Fn(&ApplyError) -> bool) {
        let mut loaded = unheard(|| reducer.load(snapshot, &mut self.call));
        while let Err(error) = &loaded
            && make_room(error)
        {
            loaded = unheard(|| reducer.load(snapshot, &mut self.call));
        }
        match loaded {
            Ok(live) => self.live = Some(live),
            Err(error) if says_nothing(&error) => self.give_up(),
            Err(error) => self.not_loaded = Some(answer(&error)),
        }
    }

    fn follow(
        &mut self,
        position: usize,
        action: &Action,
        applied: &Result<ScopeState, ApplyError>,
        requests: &[DispatchRequest],
    ) -> Option<Divergence> {
        if let Some(fresh) = self.not_loaded.take() {
            let (kind, resident) = (DivergenceKind::Answer, "a document");
            return Some(Divergence::of_texts(kind, position, &action.scope, resident, &fresh, Hint::Snapshot));
        }
        let live = self.live.as_mut()?;
        if let Err(ApplyError::Failed(_) | ApplyError::Interrupted | ApplyError::Host(_)) = applied {
            // It is tried again on a fresh instance anyway.
            self.live = None;
            self.verdict = Verdict::Moot;
            return None;
        }
        let repeated = unheard(|| live.apply(action, &mut self.call));
        let repeated_requests = self.call.outbox.take();
        if repeated.as_ref().is_err_and(says_nothing) {
            self.give_up();
            return None;
        }
        self.followed = Some(position);
        let scope = &action.scope;
        match (applied, &repeated) {
            (Ok(state), Ok(fresh)) if state.json != fresh.json => {
                Some(Divergence::of_states(DivergenceKind::State, position, scope, &state.json, &fresh.json))
            }
            (Ok(_), Ok(_)) if requests != repeated_requests => {
                let (resident, fresh) = (dispatches(requests), dispatches(&repeated_requests));
                let kind = DivergenceKind::Dispatches;
                Some(Divergence::of_texts(kind, position, scope, &resident, &fresh, Hint::HiddenState))
            }
            (Ok(_), Ok(_)) => None,
            _ => {
                let [resident, fresh] =
                    [applied, &repeated].map(|it| it.as_ref().map_or_else(answer, |_| "a new state".to_owned()));
                let (kind, hint, differ) = (DivergenceKind::Answer, Hint::HiddenState, resident != fresh);
                differ.then(|| Divergence::of_texts(kind, position, scope, &resident, &fresh, hint))
            }
        }
    }

    /// The first scope in which the documents, or the document and what the log will say, differ.
    fn compare_all(&mut self, position: usize, resident: &mut Resident, committed: &Head) -> Option<Divergence> {
        let reducer = resident.reducer.clone();
        for scope in &reducer.manifest().scopes {
            let held = unheard(|| resident.live.state(scope, &mut self.call));
            resident.is_dead |= held.is_err();
            let logged = committed.scope(scope).map(|logged| &logged.state.json);
            if let (Ok(held), Some(logged)) = (&held, logged)
                && held.json != *logged
            {
                let kind = DivergenceKind::UnloggedChange;
                return Some(Divergence::of_states(kind, position, scope, &held.json, logged));
            }
            let fresh = match &mut self.live {
                Some(live) => unheard(|| live.state(scope, &mut self.call)),
                None if held.is_ok() => continue,
                None => return None,
            };
            if let (Ok(held), Ok(fresh)) = (&held, &fresh) {
                if held.json == fresh.json {
                    continue;
                }
                let kind = DivergenceKind::State;
                return Some(Divergence::of_states(kind, position, scope, &held.json, &fresh.json));
            }
            let proves_nothing = [&held, &fresh].into_iter().any(|it| it.as_ref().is_err_and(says_nothing));
            let [resident, fresh] = [&held, &fresh].map(|it| it.as_ref().map_or_else(answer, |_| "a state".to_owned()));
            if !proves_nothing && resident != fresh {
                let (kind, hint) = (DivergenceKind::Answer, Hint::HiddenState);
                return Some(Divergence::of_texts(kind, position, scope, &resident, &fresh, hint));
            }
            // Where neither can say what it holds, there is nothing to compare.
            self.give_up();
            if held.is_err() {
                return None;
            }
        }
        None
    }

    fn diverged(&mut self, divergence: Divergence) -> Result<(), AttemptError> {
        self.verdict = Verdict::Diverged;
        Err(AttemptError::Diverged(Box::new(divergence)))
    }

    fn give_up(&mut self) {
        self.live = None;
        self.verdict = Verdict::Unknown;
    }
}

/// Whether an error of a fresh instance proves nothing: limits of time, fuel and memory depend on
/// how long an instance has lived, and the host has its own reasons.
fn says_nothing(error: &ApplyError) -> bool {
    match error {
        ApplyError::Rejected { .. } => false,
        ApplyError::Interrupted | ApplyError::Host(_) => true,
        ApplyError::Failed(failure) => matches!(
            failure.reason,
            Reason::Timeout | Reason::FuelExhausted | Reason::MemoryLimit | Reason::TableLimit | Reason::StackOverflow
        ),
    }
}

/// Runs a guest whose log lines are those of a job that has written them already.
fn unheard<T>(run: impl FnOnce() -> T) -> T {
    tracing::dispatcher::with_default(&tracing::Dispatch::none(), run)
}
