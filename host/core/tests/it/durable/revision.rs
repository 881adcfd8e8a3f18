//! A plugin is replaced by another revision, and its documents go on: in the same process, after an
//! orderly stop, and after a crash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reductor_core::{
    Action, Allowance, ApplyError, Call, DocumentType, GuestFailure, HistoryError, JobErrorCode, JobResult,
    LiveDocument, Manifest, OnDivergence, PluginRef, Reason, Reducer, Scope, ScopeState, Stop, replay_all,
};
use serde_json::{Value, json};

use super::disk::Fate;
use super::machine::{Machine, Process};
use crate::executor::host::{job_of, lane, result, with};
use crate::manager::drive::metadata;

const NUMBER: &str = "test/number";

/// A revision of a model that adds up numbers in each of its scopes, as `{"sum": 3}`.
#[derive(Clone)]
struct Number {
    version: u32,
    digest: &'static str,
    /// Each number is multiplied by this.
    factor: i64,
    /// Another field that it writes, with this value where the state has none.
    default: Option<(&'static str, i64)>,
    scopes: &'static [&'static str],
    /// What an upgrade multiplies the sum by; refused without.
    upgrade: Option<i64>,
    /// Whether every instance counts, and adds its count.
    impure: bool,
    /// The name of each digest whose instance applied an action.
    applied: Arc<Mutex<Vec<&'static str>>>,
}

impl Number {
    fn new(digest: &'static str) -> Self {
        Self {
            version: 1,
            digest,
            factor: 1,
            default: None,
            scopes: &["global"],
            upgrade: None,
            impure: false,
            applied: Arc::default(),
        }
    }

    fn factor(self, factor: i64) -> Self {
        Self { factor, ..self }
    }

    fn version(self, version: u32, upgrade: Option<i64>) -> Self {
        Self { version, upgrade, ..self }
    }

    fn plugin_ref(&self) -> PluginRef {
        PluginRef { document_type: DocumentType::from(NUMBER), version: self.version, digest: self.digest.into() }
    }

    fn reducer(&self) -> Arc<dyn Reducer> {
        let manifest = Manifest {
            document_type: DocumentType::from(NUMBER),
            version: self.version,
            scopes: self.scopes.iter().copied().map(Scope::from).collect(),
            actions: Vec::new(),
            canonical: true,
        };
        Arc::new(Revision { number: self.clone(), manifest, plugin: Arc::new(self.plugin_ref()) })
    }
}

struct Revision {
    number: Number,
    manifest: Manifest,
    plugin: Arc<PluginRef>,
}

struct Sums {
    number: Number,
    sums: BTreeMap<String, BTreeMap<String, i64>>,
    count: i64,
}

impl Reducer for Revision {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn plugin(&self) -> &Arc<PluginRef> {
        &self.plugin
    }

    fn load(&self, snapshot: &[ScopeState], _: &mut Call<'_>) -> Result<Box<dyn LiveDocument>, ApplyError> {
        let mut live = Sums { number: self.number.clone(), sums: BTreeMap::new(), count: 0 };
        live.decode(snapshot)?;
        Ok(Box::new(live))
    }

    fn upgrade(&self, from: u32, snapshot: &[ScopeState], _: &mut Call<'_>) -> Result<Vec<ScopeState>, ApplyError> {
        let Some(factor) = self.number.upgrade else {
            let message = format!("it cannot read states of version {from}");
            return Err(GuestFailure::new(Reason::AbiMismatch, message).into());
        };
        let mut live = Sums { number: self.number.clone(), sums: BTreeMap::new(), count: 0 };
        live.decode(snapshot)?;
        live.sums.values_mut().for_each(|state| *state.get_mut("sum").expect("it has one") *= factor);
        Ok(self.manifest.scopes.iter().map(|scope| live.encode(scope)).collect())
    }
}

impl Sums {
    fn decode(&mut self, snapshot: &[ScopeState]) -> Result<(), ApplyError> {
        self.sums.clear();
        for state in snapshot {
            let decoded = serde_json::from_slice(&state.json);
            let decoded = decoded.map_err(|error| GuestFailure::new(Reason::AbiMismatch, error.to_string()))?;
            self.sums.insert(state.scope.to_string(), decoded);
        }
        Ok(())
    }

    fn scope(&mut self, scope: &Scope) -> &mut BTreeMap<String, i64> {
        let state = self.sums.entry(scope.to_string()).or_default();
        state.entry("sum".to_owned()).or_insert(0);
        if let Some((field, value)) = self.number.default {
            state.entry(field.to_owned()).or_insert(value);
        }
        state
    }

    fn encode(&mut self, scope: &Scope) -> ScopeState {
        let json = serde_json::to_vec(self.scope(scope)).expect("a map of numbers");
        ScopeState { scope: scope.clone(), json: json.into() }
    }
}

impl LiveDocument for Sums {
    fn apply(&mut self, action: &Action, _: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        self.number.applied.lock().expect("no test panics with the lock").push(self.number.digest);
        if action.action_type.as_str() == "REFUSE" {
            return Err(crate::executor::scripted::rejected("NO", "no"));
        }
        let by: i64 = serde_json::from_str(action.input.as_str()).expect("a number");
        self.count += i64::from(self.number.impure);
        let by = by * self.number.factor + self.count;
        *self.scope(&action.scope).get_mut("sum").expect("it has one") += by;
        Ok(self.encode(&action.scope))
    }

    fn state(&mut self, scope: &Scope, _: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        Ok(self.encode(scope))
    }

    fn reload(&mut self, snapshot: &[ScopeState], _: &mut Call<'_>) -> Result<(), ApplyError> {
        self.decode(snapshot)
    }

    fn memory_bytes(&self) -> usize {
        1
    }
}

/// Adds a number, which is also the action's id.
fn plus(number: i64) -> Value {
    json!({ "id": number.to_string(), "type": "ADD", "input": number })
}

fn job(actions: &[Value]) -> Value {
    job_of(NUMBER, "d", actions)
}

/// A machine on which a revision has made an operation of each of these numbers, and the process
/// that did.
fn with_history(first: &Number, numbers: impl IntoIterator<Item = i64>) -> (Machine, Process) {
    let machine = Machine::new();
    machine.reducers.register(first.reducer());
    let process = machine.boot();
    for number in numbers {
        process.succeed(&job(&[plus(number)]));
    }
    (machine, process)
}

/// Nothing is registered any more that was before.
fn forget_plugins(machine: &mut Machine) {
    machine.reducers = Machine::new().reducers;
}

fn snapshots(machine: &Machine) -> Vec<String> {
    machine.disk.written().into_iter().filter(|entry| entry.starts_with("snapshot")).collect()
}

#[track_caller]
fn fails(process: &Process, submission: &Value, reason: Reason) -> Arc<JobResult> {
    let failed = process.run(submission);
    let found = (failed.error_code, metadata(&failed).reason, metadata(&failed).attempts);
    assert_eq!(found, (Some(JobErrorCode::LibraryError), Some(reason), 1), "{:?}", failed.error_message);
    failed
}

#[test]
fn a_document_in_memory_goes_on_with_a_revision_that_computes_otherwise() {
    let (machine, process) = with_history(&Number::new("one"), [1, 2]);
    machine.reducers.register(Number::new("ten").factor(10).reducer());
    process.succeed(&job(&[plus(3)]));
    assert_eq!(process.state("d"), r#"{"sum":33}"#);
    process.crash(Fate::Lost);
    assert_eq!(machine.state("d"), r#"{"sum":33}"#, "each operation is replayed by the revision that made it");
}

#[test]
fn a_document_goes_on_with_a_new_revision_after_an_orderly_stop_and_needs_the_old_one_no_more() {
    let (mut machine, process) = with_history(&Number::new("one"), [1, 2]);
    process.manager().stop_blocking(Stop::Graceful);
    drop(process);
    assert_eq!(snapshots(&machine), ["snapshot d 3"]);
    forget_plugins(&mut machine);
    machine.reducers.register(Number::new("ten").factor(10).reducer());
    let process = machine.boot();
    process.succeed(&job(&[plus(3)]));
    assert_eq!(process.state("d"), r#"{"sum":33}"#);
}

#[test]
fn after_a_crash_the_revision_that_made_the_operations_is_given_for_replay() {
    let (mut machine, process) = with_history(&Number::new("one"), [1, 2]);
    process.crash(Fate::Lost);
    forget_plugins(&mut machine);
    machine.reducers.register(Number::new("ten").factor(10).reducer());
    machine.reducers.register_for_replay(Number::new("one").reducer());
    let process = machine.boot();
    process.succeed(&job(&[plus(3)]));
    assert_eq!(process.state("d"), r#"{"sum":33}"#);
    process.crash(Fate::Lost);
    assert_eq!(snapshots(&machine), ["snapshot d 3"], "where it stood before is written before it goes on");
    // From now on nobody needs it.
    forget_plugins(&mut machine);
    machine.reducers.register(Number::new("ten").factor(10).reducer());
    assert_eq!(machine.state("d"), r#"{"sum":33}"#);
}

#[test]
fn without_the_revision_that_made_the_operations_the_job_fails_once_and_says_what_to_do() {
    let (mut machine, process) = with_history(&Number::new("one"), [1, 2]);
    process.crash(Fate::Lost);
    forget_plugins(&mut machine);
    machine.reducers.register(Number::new("ten").factor(10).reducer());
    let process = machine.boot();
    let failed = fails(&process, &job(&[plus(3)]), Reason::RevisionMissing);
    assert_eq!(metadata(&failed).deterministic, Some(false));
    let message = failed.error_message.clone().expect("a failure has a message");
    for word in ["test/number v1 (one)", "operation 1 of d (main)", "ten comes to another state", "--replay-plugin"] {
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
    assert!(process.manager().quarantined().is_empty(), "that is nobody's fault");
    machine.reducers.register_for_replay(Number::new("one").reducer());
    process.wait_until_idle();
    process.manager().retry_failed(&failed.job.id).map(result).expect("the document has not gone on");
    assert_eq!(process.state("d"), r#"{"sum":33}"#);
}

#[test]
fn a_revision_that_comes_to_the_same_states_may_stand_in_for_a_missing_one() {
    let (mut machine, process) = with_history(&Number::new("one"), [1, 2]);
    process.crash(Fate::Lost);
    forget_plugins(&mut machine);
    machine.reducers.register(Number::new("rebuilt").reducer());
    let process = machine.boot();
    process.succeed(&job(&[plus(3)]));
    assert_eq!(process.state("d"), r#"{"sum":6}"#);
    process.crash(Fate::Lost);
    assert_eq!(snapshots(&machine), ["snapshot d 3"], "what is proven need not be proven again");
}

#[test]
fn a_revision_that_would_have_begun_the_document_otherwise_does_not_stand_in() {
    let two = Number { scopes: &["global", "local"], ..Number::new("one") };
    let (mut machine, process) = with_history(&two, [1, 2]);
    process.crash(Fate::Lost);
    forget_plugins(&mut machine);
    // Its states of `global` are the same, and no operation says anything of `local`.
    let other = Number { digest: "other", ..two };
    machine.reducers.register(Arc::new(OtherStart(other.reducer())));
    let process = machine.boot();
    fails(&process, &job(&[plus(3)]), Reason::RevisionMissing);
}

/// A revision whose new documents begin otherwise in the scope `local`.
struct OtherStart(Arc<dyn Reducer>);

impl Reducer for OtherStart {
    fn manifest(&self) -> &Manifest {
        self.0.manifest()
    }

    fn plugin(&self) -> &Arc<PluginRef> {
        self.0.plugin()
    }

    fn load(&self, snapshot: &[ScopeState], call: &mut Call<'_>) -> Result<Box<dyn LiveDocument>, ApplyError> {
        let local = ScopeState { scope: Scope::from("local"), json: Arc::from(&br#"{"sum":7}"#[..]) };
        let start = [local];
        self.0.load(if snapshot.is_empty() { &start } else { snapshot }, call)
    }
}

#[test]
fn a_higher_version_upgrades_the_states_in_memory_and_from_the_disk() {
    for hot in [true, false] {
        let (mut machine, process) = with_history(&Number::new("one"), [1, 2]);
        let second = Number::new("two").version(2, Some(100));
        let process = if hot {
            process
        } else {
            process.manager().stop_blocking(Stop::Graceful);
            drop(process);
            forget_plugins(&mut machine);
            machine.reducers.register(second.reducer());
            machine.boot()
        };
        machine.reducers.register(second.reducer());
        process.succeed(&job(&[plus(3)]));
        assert_eq!(process.state("d"), r#"{"sum":303}"#, "in memory: {hot}");
        process.crash(Fate::Lost);
        assert_eq!(machine.state("d"), r#"{"sum":303}"#, "in memory: {hot}");
    }
}

#[test]
fn a_version_that_cannot_upgrade_is_told_so_in_its_own_words() {
    let (machine, process) = with_history(&Number::new("one"), [1]);
    machine.reducers.register(Number::new("two").version(2, None).reducer());
    let failed = process.run(&job(&[plus(2)]));
    assert_eq!(metadata(&failed).reason, Some(Reason::AbiMismatch));
    assert!(failed.error_message.as_ref().is_some_and(|it| it.contains("it cannot read states of version 1")));
}

#[test]
fn a_lower_version_than_that_of_the_states_is_refused() {
    for hot in [true, false] {
        let second = Number::new("two").version(2, Some(100));
        let (machine, process) = with_history(&second, [1]);
        let process = if hot {
            process
        } else {
            drop(process);
            machine.boot()
        };
        machine.reducers.register(Number::new("one").reducer());
        let failed = fails(&process, &job(&[plus(2)]), Reason::OlderVersion);
        let message = failed.error_message.clone().expect("a failure has a message");
        assert!(
            message.contains("has states of version 2 of its model, and test/number v1 (one) is older"),
            "{message}"
        );
        machine.reducers.register(second.reducer());
        process.succeed(&job(&[plus(3)]));
        assert_eq!(process.state("d"), r#"{"sum":4}"#);
    }
}

#[test]
fn an_upgrade_may_add_a_scope_and_none_may_go() {
    let (machine, process) = with_history(&Number::new("one"), [1]);
    let second = Number { scopes: &["global", "local"], ..Number::new("two").version(2, Some(1)) };
    machine.reducers.register(second.reducer());
    process.succeed(&job(&[with(plus(2), "scope", json!("local"))]));
    process.crash(Fate::Lost);
    let process = machine.boot();
    let head = process.manager().head(&lane("d")).expect("readable").expect("it exists");
    let states: Vec<_> =
        head.snapshot().iter().map(|state| String::from_utf8_lossy(&state.json).into_owned()).collect();
    assert_eq!(states, [r#"{"sum":1}"#, r#"{"sum":2}"#]);
    machine.reducers.register(Number::new("three").version(3, Some(1)).reducer());
    let failed = process.run(&job(&[plus(3)]));
    assert_eq!(metadata(&failed).reason, Some(Reason::InvalidOutput));
    assert!(failed.error_message.as_ref().is_some_and(|it| it.contains("leaves out the scope `local`")));
}

#[test]
fn states_that_a_revision_writes_otherwise_are_the_same_hot_and_replayed() {
    let two = Number { scopes: &["global", "local"], ..Number::new("one") };
    let (machine, process) = with_history(&two, [1]);
    process.succeed(&job(&[with(plus(2), "scope", json!("local"))]));
    let newer = Number { default: Some(("owner", 5)), digest: "newer", ..two };
    machine.reducers.register(newer.reducer());
    process.succeed(&job(&[plus(3)]));
    let read = |process: &Process| {
        let head = process.manager().head(&lane("d")).expect("readable").expect("it exists");
        head.snapshot().iter().map(|state| String::from_utf8_lossy(&state.json).into_owned()).collect::<Vec<_>>()
    };
    let expected = [r#"{"owner":5,"sum":4}"#, r#"{"owner":5,"sum":2}"#];
    assert_eq!(read(&process), expected);
    // Its author goes by the last operation of its scope.
    let hash = machine.disk.operations(&lane("d"))[2].operation.hash.to_string();
    let known = json!({ "prevOpIndex": 0, "prevOpHash": hash });
    process.succeed(&job(&[with(with(plus(4), "scope", json!("local")), "context", known)]));
    process.crash(Fate::Lost);
    assert_eq!(read(&machine.open()), [r#"{"owner":5,"sum":4}"#, r#"{"owner":5,"sum":6}"#]);
}

#[test]
fn a_revision_that_made_no_operation_leaves_no_trace() {
    let (machine, process) = with_history(&Number::new("one"), [1]);
    let passing = Number { default: Some(("owner", 1)), ..Number::new("passing") };
    machine.reducers.register(passing.reducer());
    assert!(!process.run(&job(&[json!({ "id": "r", "type": "REFUSE" })])).success);
    let last = Number { default: Some(("owner", 2)), ..Number::new("last") };
    machine.reducers.register(last.reducer());
    process.succeed(&job(&[plus(2)]));
    assert_eq!(process.state("d"), r#"{"owner":2,"sum":3}"#);
    process.manager().stop_blocking(Stop::Graceful);
    drop(process);
    assert_eq!(machine.state("d"), r#"{"owner":2,"sum":3}"#);
}

#[test]
fn past_revisions_are_found_across_changes_of_revision() {
    let (machine, process) = with_history(&Number::new("one"), [1, 2]);
    machine.reducers.register(Number::new("two").version(2, Some(100)).reducer());
    process.succeed(&job(&[plus(3)]));
    machine.reducers.register(Number::new("ten").version(2, Some(100)).factor(10).reducer());
    process.succeed(&job(&[plus(4)]));
    process.crash(Fate::Lost);
    let process = machine.open();
    let sums: Vec<_> = (2..=5)
        .map(|revision| {
            let head = process.manager().head_at(&lane("d"), revision).expect("readable").expect("it exists");
            let state: Value = serde_json::from_slice(&head.snapshot()[0].json).expect("JSON");
            (state["sum"].as_i64(), head.plugin.as_ref().map(|plugin| plugin.digest.to_string()))
        })
        .collect();
    let expected = [(1, "one"), (3, "one"), (303, "two"), (343, "ten")];
    let expected = expected.map(|(sum, digest)| (Some(sum), Some(digest.to_owned())));
    assert_eq!(sums, expected);
}

#[test]
fn the_whole_history_is_replayed_from_the_first_operation_as_far_as_its_revisions_are_there() {
    let (mut machine, process) = with_history(&Number::new("one"), [1, 2]);
    machine.reducers.register(Number::new("ten").factor(10).reducer());
    process.succeed(&job(&[plus(3)]));
    process.crash(Fate::Lost);
    let replay = |machine: &Machine| {
        let (lane, interrupt, limits) = (lane("d"), Arc::default(), reductor_core::Limits::default());
        let until = std::time::Instant::now() + crate::executor::host::BOUND;
        let mut call = Call::new(&lane, until, &interrupt, &limits);
        let mount = machine.disk.mount();
        let (found, outcome) = replay_all(&*mount, &machine.reducers, &lane, &mut call);
        outcome.expect("a right history");
        let skipped: Vec<_> = found.skipped.iter().map(|(plugin, count)| (plugin.digest.to_string(), *count)).collect();
        (found.replayed, skipped)
    };
    assert_eq!(replay(&machine), (4, Vec::new()));
    forget_plugins(&mut machine);
    machine.reducers.register(Number::new("ten").factor(10).reducer());
    assert_eq!(replay(&machine), (2, vec![("one".to_owned(), 2)]), "the creation is anybody's");
}

#[test]
fn a_revision_that_replays_its_own_operations_otherwise_is_quarantined() {
    let impure = Number { impure: true, ..Number::new("impure") };
    let (machine, process) = with_history(&impure, [1, 2]);
    process.crash(Fate::Lost);
    let process = machine.boot();
    // A fresh instance counts from the beginning, as the first one did.
    process.succeed(&job(&[plus(3)]));
    drop(process);
    let process = machine.boot_with(|config| config.residents.documents_max = 0);
    process.succeed(&job(&[plus(4)]));
    process.succeed(&job(&[plus(5)]));
    process.crash(Fate::Lost);
    let tampered = Number { impure: true, ..Number::new("impure") }.factor(2);
    machine.reducers.register(tampered.reducer());
    let process = machine.boot();
    let failed = fails(&process, &job(&[plus(6)]), Reason::Diverged);
    let message = failed.error_message.clone().expect("a failure has a message");
    assert!(
        message.starts_with("test/number v1 failed (diverged) in loading the document: operation 1 of"),
        "{message}"
    );
    let [quarantine] = &process.manager().quarantined()[..] else { panic!("not one quarantine") };
    assert_eq!((&*quarantine.plugin.digest, quarantine.reason), ("impure", Reason::Diverged));
    assert!(matches!(process.manager().head(&lane("d")), Err(HistoryError::Differs { sequence: 1, .. })));
    process.crash(Fate::Lost);
    let process = machine.boot_with(|config| config.on_divergence = OnDivergence::FailJob);
    fails(&process, &job(&[plus(7)]), Reason::Diverged);
    assert!(process.manager().quarantined().is_empty());
}

#[test]
fn a_stop_leaves_snapshots_of_documents_that_are_not_in_memory_too() {
    let machine = Machine::new();
    machine.reducers.register(Number::new("one").reducer());
    let process = machine.boot_with(|config| config.residents.documents_max = 1);
    for document in ["a", "b", "c"] {
        process.succeed(&job_of(NUMBER, document, &[plus(1)]));
    }
    process.manager().stop_blocking(Stop::Graceful);
    let mut written = snapshots(&machine);
    written.sort();
    assert_eq!(written, ["snapshot a 2", "snapshot b 2", "snapshot c 2"]);
    process.manager().start(None).expect("it is stopped");
    process.succeed(&job_of(NUMBER, "c", &[plus(2)]));
    process.manager().stop_blocking(Stop::Graceful);
    assert_eq!(snapshots(&machine)[3..], ["snapshot c 3"], "the others have one");
}

#[test]
fn a_stop_that_interrupts_writes_no_snapshots() {
    let (machine, process) = with_history(&Number::new("one"), [1]);
    process.manager().stop_blocking(Stop::Interrupt);
    assert!(snapshots(&machine).is_empty());
}

/// What a reducer was allowed in a call.
type Allowed = Arc<Mutex<Vec<(Allowance, Duration)>>>;

/// Notes what each action is allowed, and takes its time when it is applied again.
struct Noting {
    inner: Arc<dyn Reducer>,
    allowed: Allowed,
    replay: OnReplay,
}

#[derive(Clone, Copy)]
enum OnReplay {
    /// It is as quick as ever.
    Quick,
    /// It takes longer than a second.
    Slow,
    /// It runs into its timeout.
    TooSlow,
}

struct NotingDocument {
    inner: Box<dyn LiveDocument>,
    allowed: Allowed,
    replay: OnReplay,
}

impl Reducer for Noting {
    fn manifest(&self) -> &Manifest {
        self.inner.manifest()
    }

    fn plugin(&self) -> &Arc<PluginRef> {
        self.inner.plugin()
    }

    fn load(&self, snapshot: &[ScopeState], call: &mut Call<'_>) -> Result<Box<dyn LiveDocument>, ApplyError> {
        let inner = self.inner.load(snapshot, call)?;
        Ok(Box::new(NotingDocument { inner, allowed: self.allowed.clone(), replay: self.replay }))
    }
}

impl LiveDocument for NotingDocument {
    fn apply(&mut self, action: &Action, call: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        let left = call.deadline.saturating_duration_since(Instant::now());
        self.allowed.lock().expect("no test panics with the lock").push((call.allowance, left));
        match (call.allowance, self.replay) {
            (Allowance::Replay, OnReplay::Slow) => {
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(1) {
                    std::hint::spin_loop();
                }
            }
            (Allowance::Replay, OnReplay::TooSlow) => {
                return Err(GuestFailure::new(Reason::Timeout, "it ran longer than its timeout").into());
            }
            _ => {}
        }
        self.inner.apply(action, call)
    }

    fn state(&mut self, scope: &Scope, call: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        self.inner.state(scope, call)
    }

    fn reload(&mut self, snapshot: &[ScopeState], call: &mut Call<'_>) -> Result<(), ApplyError> {
        self.inner.reload(snapshot, call)
    }

    fn memory_bytes(&self) -> usize {
        self.inner.memory_bytes()
    }
}

/// A document with two operations of jobs that has to be replayed, and what that is allowed.
fn to_replay(replay: OnReplay) -> (Machine, Allowed) {
    let (machine, process) = with_history(&Number::new("one"), [1, 2]);
    process.crash(Fate::Lost);
    let allowed = Allowed::default();
    let inner = Number::new("one").reducer();
    machine.reducers.register(Arc::new(Noting { inner, allowed: allowed.clone(), replay }));
    (machine, allowed)
}

const TIMEOUT: Duration = Duration::from_secs(100);

fn boot(machine: &Machine) -> Process {
    machine.boot_with(|config| config.manager.job_timeout = Some(100_000))
}

#[test]
fn a_replay_has_more_time_and_more_of_everything_than_a_job() {
    let (machine, allowed) = to_replay(OnReplay::Quick);
    let process = boot(&machine);
    process.succeed(&job(&[plus(3)]));
    let allowed = allowed.lock().expect("no test panics with the lock").clone();
    let kinds: Vec<_> = allowed.iter().map(|(allowance, _)| *allowance).collect();
    assert_eq!(kinds, [Allowance::Replay, Allowance::Replay, Allowance::Job]);
    assert_eq!((Allowance::Replay.factor(), Allowance::Job.factor()), (2, 1));
    assert!(allowed[0].1 > 2 * TIMEOUT, "as many timeouts as operations: {:?}", allowed[0].1);
    assert!(allowed[2].1 <= TIMEOUT, "{:?}", allowed[2].1);
}

#[test]
fn a_jobs_own_timeout_is_no_bound_of_its_documents_replay() {
    let (machine, allowed) = to_replay(OnReplay::Quick);
    let process = boot(&machine);
    let impatient = json!({ "jobTimeout": 0, "maxRetries": 0 });
    let failed = process.run(&with(job(&[plus(3)]), "config", impatient));
    assert_eq!(metadata(&failed).reason, Some(Reason::Timeout));
    let allowed = allowed.lock().expect("no test panics with the lock").clone();
    assert!(allowed.len() == 2 && allowed.iter().all(|(_, left)| *left > 2 * TIMEOUT), "{allowed:?}");
}

#[test]
fn a_replay_that_takes_too_long_is_told_apart_from_a_job_that_does() {
    let (machine, _) = to_replay(OnReplay::TooSlow);
    let process = boot(&machine);
    let failed = process.run(&with(job(&[plus(3)]), "config", json!({ "maxRetries": 1 })));
    let found = (failed.error_code, metadata(&failed).reason, metadata(&failed).attempts);
    assert_eq!(found, (Some(JobErrorCode::LibraryError), Some(Reason::ReplayTimeout), 2));
}

#[test]
fn a_replay_that_took_long_leaves_a_snapshot() {
    let (machine, _) = to_replay(OnReplay::Slow);
    let process = boot(&machine);
    process.succeed(&job(&[plus(3)]));
    process.wait_until_idle();
    assert_eq!(snapshots(&machine), ["snapshot d 3"]);
    let (quick, _) = to_replay(OnReplay::Quick);
    let process = boot(&quick);
    process.succeed(&job(&[plus(3)]));
    process.wait_until_idle();
    assert!(snapshots(&quick).is_empty());
}

/// What the documents of [`Number`]s should hold, computed without a log.
#[derive(Clone)]
struct Expected {
    scopes: BTreeMap<&'static str, BTreeMap<&'static str, i64>>,
    made_by: Option<(u32, &'static str)>,
}

impl Expected {
    /// An operation of a revision. It is the first to count that is not the last one's.
    fn apply(&mut self, number: &Number, scope: &'static str, by: i64) {
        let before = self.made_by.replace((number.version, number.digest));
        let upgrades = before.is_some_and(|(version, _)| version < number.version);
        for state in self.scopes.values_mut() {
            if upgrades {
                *state.get_mut("sum").expect("it has one") *= number.upgrade.expect("it upgrades");
            }
            if let Some((field, value)) = number.default {
                state.entry(field).or_insert(value);
            }
        }
        *self.scopes.get_mut(scope).expect("it has the scope").get_mut("sum").expect("it has one") +=
            by * number.factor;
    }

    fn text(&self) -> Vec<String> {
        self.scopes.values().map(|state| serde_json::to_string(state).expect("a map of numbers")).collect()
    }
}

/// Whatever happens, and in whichever order: what a document holds depends on its operations and on
/// who made them alone, and replaying all of them comes to the same.
#[test]
fn a_document_holds_what_its_operations_and_their_revisions_say_whatever_happens_in_between() {
    const SCOPES: &[&str] = &["global", "local"];
    let base = Number { scopes: SCOPES, ..Number::new("a") };
    let revisions = [
        base.clone(),
        Number { digest: "b", factor: 3, ..base.clone() },
        Number { digest: "c", default: Some(("owner", 1)), ..base.clone() },
        Number { digest: "d", default: Some(("owner", 2)), version: 2, upgrade: Some(10), ..base.clone() },
        Number { digest: "e", factor: 5, version: 2, upgrade: Some(7), ..base.clone() },
        Number { digest: "f", default: Some(("place", 4)), version: 3, upgrade: Some(2), ..base.clone() },
    ];
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let machine = Machine::new();
        let evicting = |config: &mut reductor_core::ExecutorConfig| config.residents.documents_max = seed as usize % 2;
        let mut serving = &revisions[0];
        machine.reducers.register(serving.reducer());
        let mut process = machine.boot_with(evicting);
        let start = SCOPES.iter().map(|scope| (*scope, BTreeMap::from([("sum", 0)]))).collect();
        let mut expected = Expected { scopes: start, made_by: None };
        for step in 0..40_i64 {
            match random.u32(..10) {
                0 => {
                    process.crash(Fate::Lost);
                    process = machine.boot_with(evicting);
                }
                1 => {
                    process.manager().stop_blocking(Stop::Graceful);
                    drop(process);
                    process = machine.boot_with(evicting);
                }
                2 | 3 => {
                    let least = expected.made_by.map_or(1, |(version, _)| version);
                    let usable: Vec<_> = revisions.iter().filter(|it| it.version >= least).collect();
                    serving = usable[random.usize(..usable.len())];
                    machine.reducers.register(serving.reducer());
                }
                4 if expected.made_by.is_some() => {
                    let refused = json!({ "id": format!("r{step}"), "type": "REFUSE" });
                    assert!(!process.run(&job(&[refused])).success);
                }
                _ => {
                    let scope = SCOPES[random.usize(..2)];
                    process.succeed(&job(&[with(plus(step), "scope", json!(scope))]));
                    expected.apply(serving, scope, step);
                }
            }
            if expected.made_by.is_some() {
                let head = process.manager().head(&lane("d")).expect("readable").expect("it exists");
                let states = head.snapshot();
                let found: Vec<_> = states.iter().map(|state| String::from_utf8_lossy(&state.json)).collect();
                assert_eq!(found, expected.text(), "seed {seed}, step {step}");
            }
        }
        let (lane, interrupt, limits) = (lane("d"), Arc::default(), reductor_core::Limits::default());
        let mut call = Call::new(&lane, Instant::now() + crate::executor::host::BOUND, &interrupt, &limits);
        let (found, outcome) = replay_all(&*machine.disk.mount(), &machine.reducers, &lane, &mut call);
        outcome.expect("a right history");
        assert_eq!((found.replayed, found.skipped), (machine.disk.operations(&lane).len() as u64, Vec::new()));
    }
}
