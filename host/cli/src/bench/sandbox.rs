//! `reductor bench sandbox`: what running a reducer in the sandbox costs.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use reductor_host::{
    Action, ActionId, Branch, Call, DocumentId, GuestLimits, Json, LaneKey, Limits, LiveDocument, NativeReducer,
    Reducer, Sandbox, Scope, Submission, TimestampText, state_hash,
};
use serde_json::json;

use super::report::{Goal, Report, median};
use super::workload::{JobGoals, job_cost, run_all, started};
use super::{Args, machine};
use crate::build;
use crate::trace::Trace;
use crate::{Outcome, plugins};

const ROUNDS: usize = 7;
/// How long one side of the sandbox tax is measured in one round.
const TAX_ROUND: Duration = Duration::from_millis(150);
const REFUSALS: usize = 40_000;

pub(super) fn bench(args: &Args) -> anyhow::Result<Outcome> {
    let source = args.source.folder()?;
    let components = build::guests(
        &source,
        &["example-reducers/counter", "example-reducers/todo-list", "example-reducers/text"],
        &args.toolchain,
    )?;
    let sandbox = Sandbox::new(GuestLimits::default())?;
    let plugin = |at: usize| -> anyhow::Result<Arc<dyn Reducer>> {
        Ok(Arc::new(plugins::admit(&sandbox, &components[at].path)?))
    };
    let (counter, todo, text) = (plugin(0)?, plugin(1)?, plugin(2)?);
    let native_counter: Arc<dyn Reducer> = Arc::new(NativeReducer::<counter::Counter>::new());
    let native_todo: Arc<dyn Reducer> = Arc::new(NativeReducer::<todo_list::TodoList>::new());

    let progress = ProgressBar::new_spinner().with_message("measuring");
    let mut report = Report::new();
    let taxes = [("0kB", 0, None), ("5kB", 5, Some(2.0)), ("50kB", 50, None), ("500kB", 500, None)];
    for (name, kilobytes, goal) in taxes {
        progress.tick();
        if !args.wants(&[&format!("sandbox-tax-{name}"), &format!("apply-{name}")]) {
            continue;
        }
        let tax = match kilobytes {
            0 => tax(&*counter, &*native_counter, &[], &increments())?,
            _ => tax(&*todo, &*native_todo, &todo_setup(kilobytes), &renames())?,
        };
        report.add(format!("sandbox-tax-{name}"), tax.ratio, "x", goal.map(Goal::AtMost));
        report.add(format!("apply-{name}-wasm"), tax.sandboxed_us, "us", None);
        report.add(format!("apply-{name}-native"), tax.native_us, "us", None);
    }
    progress.tick();
    if args.wants(&["job-cpu-us", "jobs-per-second"]) {
        let goals = JobGoals { cpu: Some(Goal::AtMost(8.0)), ..JobGoals::default() };
        job_cost(&mut report, "", &counter, goals)?;
        job_cost(&mut report, "-native", &native_counter, JobGoals::default())?;
    }
    progress.tick();
    if args.wants(&["refusals-per-second"]) {
        refusals(&mut report, &todo)?;
    }
    progress.tick();
    if args.wants(&["editing-session-s", "editing-session-memory-mb"]) {
        editing_session(&mut report, &text, &Trace::read(&source, "sveltecomponent")?)?;
    }
    progress.finish_and_clear();
    report.print(args.json)?;
    Ok(Outcome::AllWell)
}

/// How long an action takes, with hashing, in the sandbox and as native code.
struct Tax {
    sandboxed_us: f64,
    native_us: f64,
    ratio: f64,
}

/// Measures both sides in turn, so that a machine that changes speed changes both.
fn tax(sandboxed: &dyn Reducer, native: &dyn Reducer, setup: &[Action], actions: &[Action]) -> anyhow::Result<Tax> {
    let mut sides = [live(sandboxed, setup)?, live(native, setup)?];
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (side, times) in sides.iter_mut().zip(&mut times) {
            let time = apply_for(&mut **side, actions, TAX_ROUND)?;
            // The first round warms caches and branch predictors up.
            if round > 0 {
                times.push(time);
            }
        }
    }
    let ratios = times[0].iter().zip(&times[1]).map(|(sandboxed, native)| sandboxed / native).collect();
    let [sandboxed, native] = times;
    Ok(Tax { sandboxed_us: median(sandboxed), native_us: median(native), ratio: median(ratios) })
}

/// Microseconds for one action, over as many as fit into `time`.
fn apply_for(live: &mut dyn LiveDocument, actions: &[Action], time: Duration) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut applied = 0_u32;
    with_call(|call| {
        while began.elapsed() < time {
            for action in actions {
                let state = live.apply(action, call).map_err(|error| anyhow::anyhow!("{error:?}"))?;
                black_box(state_hash(&state.json));
                applied += 1;
            }
        }
        Ok(())
    })?;
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(applied))
}

fn live(reducer: &dyn Reducer, setup: &[Action]) -> anyhow::Result<Box<dyn LiveDocument>> {
    with_call(|call| {
        let mut live = reducer.load(&[], call).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        for action in setup {
            live.apply(action, call).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        }
        Ok(live)
    })
}

fn with_call<T>(run: impl FnOnce(&mut Call<'_>) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let lane = LaneKey { document: DocumentId::from("bench"), branch: Branch::from(Branch::MAIN) };
    let (interrupt, limits) = (Arc::new(AtomicBool::new(false)), Limits::default());
    run(&mut Call::new(&lane, Instant::now() + Duration::from_secs(600), &interrupt, &limits))
}

fn action(number: usize, action_type: &str, input: &serde_json::Value) -> Action {
    Action {
        id: ActionId::from(format!("action-{number}")),
        action_type: action_type.into(),
        timestamp_utc_ms: TimestampText::parse("2026-01-31T09:30:00.000Z").expect("the text is a constant"),
        input: Json::from_value(input),
        scope: Scope::from(Scope::GLOBAL),
        context: None,
    }
}

fn increments() -> Vec<Action> {
    (0..64).map(|number| action(number, "INCREMENT", &json!({ "by": 1 }))).collect()
}

/// Fills a to-do list to about this many kilobytes of state.
fn todo_setup(kilobytes: usize) -> Vec<Action> {
    let add = |number| action(number, "ADD", &json!({ "id": format!("item-{number:05}"), "text": item_text(number) }));
    // An item is about 125 bytes of state.
    (0..kilobytes * 8).map(add).collect()
}

fn renames() -> Vec<Action> {
    let rename = |number: usize| {
        let input = json!({ "id": format!("item-{:05}", number % 40), "text": item_text(number + 1) });
        action(number, "RENAME", &input)
    };
    (0..40).map(rename).collect()
}

fn item_text(number: usize) -> String {
    format!("buy {:03} \"fresh\" eggs at the market", number % 1000)
}

/// Jobs that their reducer refuses, on one document with 5 kB of state.
fn refusals(report: &mut Report, todo: &Arc<dyn Reducer>) -> anyhow::Result<()> {
    let manager = started(&[todo])?;
    let job = |actions: serde_json::Value| {
        let text = json!({ "documentId": "refused", "documentType": "example/todo-list", "actions": actions });
        Submission::from_json(&text.to_string())
    };
    let drafts = |actions: &[Action]| -> serde_json::Value {
        actions.iter().map(|action| json!({ "type": action.action_type, "input": action.input })).collect()
    };
    run_all(&manager, vec![job(drafts(&todo_setup(5)))?])?;
    let refused = || job(json!([{ "type": "COMPLETE", "input": { "id": "nobody" } }]));
    let submissions = (0..REFUSALS).map(|_| refused()).collect::<Result<Vec<_>, _>>()?;
    let began = Instant::now();
    let results = run_all(&manager, submissions)?;
    let rate = REFUSALS as f64 / began.elapsed().as_secs_f64();
    anyhow::ensure!(results.iter().all(|result| !result.success), "a refusal was not refused");
    report.add("refusals-per-second", rate, "jobs/s", Some(Goal::AtLeast(20_000.0)));
    Ok(())
}

/// A real editing session, one job for each transaction.
fn editing_session(report: &mut Report, text: &Arc<dyn Reducer>, trace: &Trace) -> anyhow::Result<()> {
    let mut seconds = Vec::new();
    let mut grown = Vec::new();
    for _ in 0..5 {
        let manager = started(&[text])?;
        let submissions = trace.submissions("session")?;
        let (before, began) = (machine::resident_kb(), Instant::now());
        let results = run_all(&manager, submissions)?;
        seconds.push(began.elapsed().as_secs_f64());
        grown.push(machine::resident_kb().saturating_sub(before) as f64 / 1000.0);
        let failed = results.iter().find(|result| !result.success);
        anyhow::ensure!(failed.is_none(), "a transaction failed: {:?}", failed.map(|result| &result.error_message));
        let lane = LaneKey { document: DocumentId::from("session"), branch: Branch::from(Branch::MAIN) };
        let head = manager.head(&lane)?.ok_or_else(|| anyhow::anyhow!("the session made no document"))?;
        let state: serde_json::Value = serde_json::from_slice(&head.snapshot()[0].json)?;
        anyhow::ensure!(state["content"] == trace.end_content, "the session ended in another text");
    }
    report.add("editing-session-s", median(seconds), "s", Some(Goal::AtMost(1.0)));
    report.add("editing-session-memory-mb", median(grown), "MB", None);
    Ok(())
}
