//! Revisions of a plugin: documents in memory move to the one that serves, and history is applied
//! again within wider limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reductor_core::{Allowance, ApplyError, Call, JobErrorCode, Limits, Reason, Reducer, Scope, ScopeState};
use reductor_sandbox::{GuestLimits, Plugin, Sandbox};
use serde_json::{Value, json};

use crate::support::{Host, Setup, UNRULY, component, job, lane, made_job, sandbox};

const STOCK: &str = "test/stock";

fn plugin(path: &str) -> Result<Arc<Plugin>> {
    Ok(Arc::new(sandbox().admit(&std::fs::read(path)?)?))
}

fn receive(host: &Host, by: i64) -> Result<()> {
    host.applied(job(STOCK, "s").action("RECEIVE", json!({ "by": by }))).map(drop)
}

#[test]
fn a_document_in_memory_moves_to_each_new_revision_at_its_next_job() -> Result<()> {
    let host = Setup::new().only(plugin(reductor_tests::STOCK)?).start()?;
    receive(&host, 1)?;
    host.register(plugin(reductor_tests::STOCK_WITH_OWNER)?);
    receive(&host, 2)?;
    assert_eq!(host.state("s")?, json!({ "count": 3, "owner": "" }));
    host.register(plugin(reductor_tests::STOCK_VERSION_2)?);
    receive(&host, 4)?;
    assert_eq!(host.state("s")?, json!({ "units": 7 }));
    host.register(plugin(reductor_tests::STOCK)?);
    let refused = host.failed(job(STOCK, "s").action("RECEIVE", json!({ "by": 8 })))?;
    assert_eq!((refused.code, refused.metadata.reason), (JobErrorCode::LibraryError, Some(Reason::OlderVersion)));
    host.register(plugin(reductor_tests::STOCK_VERSION_2)?);
    receive(&host, 8)?;
    assert_eq!(host.state("s")?, json!({ "units": 15 }));
    ensure!(host.quarantined().is_empty(), "nobody is to blame");
    Ok(())
}

#[test]
fn an_upgrade_that_refuses_says_why() -> Result<()> {
    let plugin = plugin(reductor_tests::STOCK_VERSION_2)?;
    let state = ScopeState { scope: Scope::from(Scope::GLOBAL), json: Arc::from(&br#"{"count":3}"#[..]) };
    let upgraded = calling(Allowance::Job, |call| plugin.upgrade(1, std::slice::from_ref(&state), call))?;
    assert_eq!(&*upgraded[0].json, br#"{"units":3}"#);
    let refused = calling(Allowance::Job, |call| plugin.upgrade(7, std::slice::from_ref(&state), call));
    let Err(ApplyError::Failed(failure)) = refused else { anyhow::bail!("it was upgraded: {refused:?}") };
    assert_eq!(failure.reason, Reason::AbiMismatch);
    assert_eq!(failure.message, "it could not upgrade the document from version 7: there was no version 7");
    Ok(())
}

/// What an action comes to with this allowance, on a new document of the unruly guest.
fn apply(plugin: &Plugin, allowance: Allowance, action: &str, input: Value) -> Result<Result<(), Reason>> {
    let action = made_job("u", action, input)?.actions[0].clone();
    match calling(allowance, |call| plugin.load(&[], call)?.apply(&action, call)) {
        Ok(_) => Ok(Ok(())),
        Err(ApplyError::Failed(failure)) => Ok(Err(failure.reason)),
        Err(other) => Err(other).context("neither applied nor a failure of the guest"),
    }
}

fn calling<T>(allowance: Allowance, run: impl FnOnce(&mut Call<'_>) -> Result<T, ApplyError>) -> Result<T, ApplyError> {
    let (lane, interrupt, limits) = (lane("u"), Arc::default(), Limits::default());
    let mut call = Call::new(&lane, Instant::now() + Duration::from_secs(60), &interrupt, &limits);
    call.allowance = allowance;
    run(&mut call)
}

#[test]
fn a_replay_may_use_more_memory_and_more_fuel_than_a_job() -> Result<()> {
    let roomy = sandbox().admit(&component(UNRULY))?;
    let grow = |allowance| apply(&roomy, allowance, "GROW", json!({ "mib": 80 }));
    assert_eq!([grow(Allowance::Job)?, grow(Allowance::Replay)?], [Err(Reason::MemoryLimit), Ok(())]);
    let enough = |allowance| apply(&roomy, allowance, "GROW", json!({ "mib": 140 }));
    assert_eq!(enough(Allowance::Replay)?, Err(Reason::MemoryLimit), "but not without a bound");

    let write = json!({ "bytes": 4_000_000 });
    let action = made_job("u", "HUGE_STATE", write.clone())?.actions[0].clone();
    let burned = calling(Allowance::Job, |call| {
        let mut live = roomy.load(&[], call)?;
        let before = call.fuel_consumed;
        live.apply(&action, call)?;
        Ok(call.fuel_consumed - before)
    })?;
    let limits = GuestLimits { fuel_per_call: burned / 4 * 3, instances_max: 4, ..GuestLimits::default() };
    let scarce = Sandbox::new(limits)?.admit(&component(UNRULY))?;
    let write = |allowance| apply(&scarce, allowance, "HUGE_STATE", write.clone());
    assert_eq!([write(Allowance::Job)?, write(Allowance::Replay)?], [Err(Reason::FuelExhausted), Ok(())]);
    Ok(())
}
