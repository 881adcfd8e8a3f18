//! How soon a document is served again whose instance died.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use reductor_host::{
    Branch, Call, DocumentId, JobExecutorManager, LaneKey, Limits, Reason, Reducer, ScopeState, Submission,
};
use serde_json::{Value, json};

use super::report::{Goal, Report, median};
use super::workload::with_workers;

pub(super) const FIGURES: [&str; 4] = ["recovery-us", "recovery-us-50kB", "recovery-load-us", "recovery-load-us-50kB"];
/// What recovery may take beside loading the document's snapshot.
const ALLOWANCE_US: f64 = 1_000.0;
const ROUNDS: usize = 101;

/// From the end of a job that trapped to the end of the next one on the same document, beside the
/// time that it takes to load the document in a fresh instance.
pub(super) fn measure(report: &mut Report, unruly: &Arc<dyn Reducer>) -> anyhow::Result<()> {
    for (suffix, bytes) in [("", 0), ("-50kB", 50_000)] {
        let manager = with_workers(&[unruly], Some(1))?;
        if bytes > 0 {
            run(&manager, "HUGE_STATE", &json!({ "bytes": bytes }))?;
        }
        let mut recoveries = Vec::new();
        for _ in 0..ROUNDS {
            let failed = submit(&manager, "PANIC", &json!({ "message": "as told" }))?;
            let reason = failed.metadata.as_ref().and_then(|metadata| metadata.reason);
            anyhow::ensure!(reason == Some(Reason::Trap), "a panic ended otherwise: {:?}", failed.error_message);
            let began = Instant::now();
            // It is as long as it will be, so that every round is alike.
            run(&manager, "LOG", &json!({ "lines": 0, "bytes": 0 }))?;
            recoveries.push(began.elapsed().as_secs_f64() * 1e6);
        }
        let lane = lane();
        let head = manager.head(&lane)?.ok_or_else(|| anyhow::anyhow!("the document does not exist"))?;
        let load = load_us(&**unruly, &lane, &head.snapshot())?;
        let goal = Goal::AtMost((load + ALLOWANCE_US).round());
        report.add(format!("recovery-us{suffix}"), median(recoveries), "us", Some(goal));
        report.add(format!("recovery-load-us{suffix}"), load, "us", None);
    }
    Ok(())
}

/// How long it takes to load a document in a fresh instance, and to let go of it again.
fn load_us(unruly: &dyn Reducer, lane: &LaneKey, snapshot: &[ScopeState]) -> anyhow::Result<f64> {
    let (interrupt, limits) = (Arc::new(AtomicBool::new(false)), Limits::default());
    let mut call = Call::new(lane, Instant::now() + Duration::from_secs(600), &interrupt, &limits);
    let load = || {
        let began = Instant::now();
        drop(unruly.load(snapshot, &mut call).map_err(|error| anyhow::anyhow!("{error:?}"))?);
        Ok(began.elapsed().as_secs_f64() * 1e6)
    };
    Ok(median(std::iter::repeat_with(load).take(ROUNDS).collect::<anyhow::Result<_>>()?))
}

fn lane() -> LaneKey {
    LaneKey { document: DocumentId::from("recovering"), branch: Branch::from(Branch::MAIN) }
}

fn run(manager: &JobExecutorManager, action_type: &str, input: &Value) -> anyhow::Result<()> {
    let result = submit(manager, action_type, input)?;
    anyhow::ensure!(result.success, "a job failed: {:?}", result.error_message);
    Ok(())
}

fn submit(
    manager: &JobExecutorManager,
    action_type: &str,
    input: &Value,
) -> anyhow::Result<Arc<reductor_host::JobResult>> {
    let text = json!({
        "documentId": lane().document,
        "documentType": "test/unruly",
        "actions": [{ "type": action_type, "input": input }],
        "config": { "maxRetries": 0 },
    });
    Ok(manager.enqueue(Submission::from_json(&text.to_string())?)?.wait_blocking())
}
