//! What stands around a hostile component: one sandbox, and a neighbour that must not notice.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use reductor_core::{
    Action, ApplyError, Branch, Call, DocumentId, GuestFailure, Json, LaneKey, Limits, LiveDocument, Reason,
    Reducer as _, Scope, ScopeState, Timestamp,
};
use reductor_json::{Form, Limits as JsonLimits};
use reductor_sandbox::{GuestLimits, Plugin, Sandbox};

use crate::smith::shell;

/// Bounds so small that a guest runs into each of them in no time.
const GUEST: GuestLimits = GuestLimits {
    fuel_per_call: 1_000_000,
    memory_bytes_max: 4 << 20,
    table_elements_max: 10_000,
    stack_bytes_max: 256 << 10,
    output_bytes_max: 64 << 10,
    log_lines_max: 4,
    log_line_bytes_max: 256,
    log_lines_per_second_max: 1_000,
    component_bytes_max: 1 << 20,
    instances_max: 16,
};
/// Fuel ends nearly everything long before; filling memory burns little of it.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The neighbour needs microseconds; it may not fail because the machine is busy.
const NEIGHBOUR_TIMEOUT: Duration = Duration::from_secs(600);
const ACTIONS: usize = 3;

/// Returns the surroundings, the same for the life of the process.
pub(crate) fn surroundings() -> &'static Surroundings {
    static SURROUNDINGS: OnceLock<Surroundings> = OnceLock::new();
    SURROUNDINGS.get_or_init(Surroundings::new)
}

/// A sandbox and its other inhabitant.
pub(crate) struct Surroundings {
    pub(crate) sandbox: Sandbox,
    neighbour: Mutex<Neighbour>,
}

/// A document that has counted its actions since the process began.
struct Neighbour {
    document: Box<dyn LiveDocument>,
    count: u32,
}

/// What came of one action, as far as it must be the same when it is done again.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    State(ScopeState),
    Rejected { code: String, message: String },
    Failed(Box<GuestFailure>),
}

impl Surroundings {
    fn new() -> Self {
        let sandbox = Sandbox::new(GUEST).expect("this machine can run guests");
        let plugin = sandbox.admit(&shell::counter()).expect("the counter is well-behaved");
        let document = with_call(NEIGHBOUR_TIMEOUT, |call| plugin.load(&[], call)).expect("the counter loads");
        Self { sandbox, neighbour: Mutex::new(Neighbour { document, count: 0 }) }
    }

    /// Lets the neighbour do one action.
    pub(crate) fn neighbour_is_well(&self) {
        let mut neighbour = self.neighbour.lock().expect("the neighbour has not failed before");
        neighbour.count += 1;
        let state = with_call(NEIGHBOUR_TIMEOUT, |call| neighbour.document.apply(&action(0), call));
        let state = state.expect("the counter counts");
        assert_eq!(*state.json, *neighbour.count.to_string().as_bytes(), "somebody else changed the neighbour");
    }
}

/// Runs some actions twice, each time in a fresh instance: the same must come of it. Returns
/// what did.
///
/// A timeout is no such thing: it depends on the machine.
pub(crate) fn behaves_the_same_twice(plugin: &Plugin) -> History {
    let (first, second) = (history(plugin), history(plugin));
    let timed_out = |history: &History| history.outcomes.iter().any(is_timeout);
    if !timed_out(&first) && !timed_out(&second) {
        assert_eq!(first, second, "a fresh instance did something else");
    }
    first
}

/// What came of some actions.
#[derive(Debug, PartialEq)]
pub(crate) struct History {
    pub(crate) outcomes: Vec<Outcome>,
    fuel_consumed: u64,
}

fn is_timeout(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(failure) if failure.reason == Reason::Timeout)
}

/// Does what the host does with a live document, up to its first failure.
fn history(plugin: &Plugin) -> History {
    with_call(TIMEOUT, |call| {
        let mut outcomes = Vec::new();
        if let Err(error) = live(plugin, call, &mut outcomes) {
            outcomes.push(outcome(error));
        }
        History { outcomes, fuel_consumed: call.fuel_consumed }
    })
}

fn live(plugin: &Plugin, call: &mut Call<'_>, outcomes: &mut Vec<Outcome>) -> Result<(), ApplyError> {
    let mut document = plugin.load(&[], call)?;
    let scopes = &plugin.manifest().scopes;
    let snapshot: Vec<_> = scopes.iter().map(|scope| document.state(scope, call)).collect::<Result<_, _>>()?;
    for number in 0..ACTIONS {
        match document.apply(&action(number), call) {
            Ok(state) => {
                assert_eq!(reductor_json::check(&state.json, JsonLimits::default()), Ok(Form::Canonical));
                assert!(state.json.len() <= GUEST.output_bytes_max);
                outcomes.push(Outcome::State(state));
            }
            Err(error @ ApplyError::Rejected { .. }) => {
                outcomes.push(outcome(error));
                document.reload(&snapshot, call)?;
            }
            Err(error) => return Err(error),
        }
        let dispatched = call.outbox.take();
        assert!(dispatched.len() <= call.limits.dispatches_per_action_max);
    }
    Ok(())
}

fn outcome(error: ApplyError) -> Outcome {
    match error {
        ApplyError::Rejected { code, message } => Outcome::Rejected { code, message },
        ApplyError::Failed(failure) => {
            assert!(is_of_a_guest(failure.reason), "{failure:?}");
            assert!(!failure.message.chars().any(char::is_control), "{failure:?}");
            Outcome::Failed(failure)
        }
        ApplyError::Interrupted => panic!("nobody interrupted it"),
        ApplyError::Host(fault) => panic!("a guest brought the host into trouble: {fault}"),
    }
}

/// Whether a guest can fail for this reason by itself.
fn is_of_a_guest(reason: Reason) -> bool {
    !matches!(reason, Reason::Rejected | Reason::DependencyFailed | Reason::Cancelled)
}

fn with_call<T>(timeout: Duration, run: impl FnOnce(&mut Call<'_>) -> T) -> T {
    let lane = LaneKey { document: DocumentId::from("fuzz"), branch: Branch::from(Branch::MAIN) };
    let (interrupt, limits) = (Arc::new(AtomicBool::new(false)), Limits::default());
    run(&mut Call::new(&lane, Instant::now() + timeout, &interrupt, &limits))
}

fn action(number: usize) -> Action {
    Action {
        id: format!("action-{number}").into(),
        action_type: "RUN".into(),
        timestamp_utc_ms: Timestamp { ms: 0 }.into(),
        input: Json::parse(&format!("[{number}]")).expect("it is JSON"),
        scope: Scope::from(Scope::GLOBAL),
        context: None,
    }
}
