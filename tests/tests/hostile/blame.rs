//! A failure of the host is not a guest's.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reductor_core::{
    Action, ActionId, ActionType, ApplyError, Branch, Call, DocumentId, HostFault, Json, LaneKey, Limits, LiveDocument,
    Reducer as _, Scope, ScopeState, TimestampText,
};
use reductor_sandbox::{GuestLimits, Plugin, Sandbox};

use crate::{guests, process};

/// A guest where there is room for no more than `instances` documents.
fn crowded(guest: &str, instances: u32) -> Result<Plugin> {
    let sandbox = Sandbox::new(GuestLimits { instances_max: instances, ..GuestLimits::default() })?;
    Ok(sandbox.admit(&guests::component(guest)?)?)
}

fn load(plugin: &Plugin) -> Result<Box<dyn LiveDocument>, ApplyError> {
    called(|call| plugin.load(&[], call))
}

/// Has the document execute its bad action.
fn misbehave(document: &mut dyn LiveDocument) -> Result<ScopeState, ApplyError> {
    let action = Action {
        id: ActionId::from("a"),
        action_type: ActionType::from("BAD"),
        timestamp_utc_ms: TimestampText::parse("2026-03-01T12:00:00.000Z").expect("that is a time"),
        input: Json::parse("null").expect("that is JSON"),
        scope: Scope::from(Scope::GLOBAL),
        context: None,
    };
    called(|call| document.apply(&action, call))
}

pub(crate) fn called<T>(run: impl FnOnce(&mut Call<'_>) -> T) -> T {
    let lane = LaneKey { document: DocumentId::from("d"), branch: Branch::from(Branch::MAIN) };
    let (interrupt, limits) = (Arc::new(AtomicBool::new(false)), Limits::default());
    run(&mut Call::new(&lane, Instant::now() + Duration::from_secs(60), &interrupt, &limits))
}

/// Runs while the kernel gives this process next to no more memory.
fn starved<T>(run: impl FnOnce() -> T) -> Result<T> {
    limit_data(&format!("{}:", process::data_bytes()? + (16 << 20)))?;
    let ran = run();
    limit_data("unlimited:")?;
    Ok(ran)
}

fn limit_data(limit: &str) -> Result<()> {
    let pid = std::process::id().to_string();
    let status = std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--data={limit}")]).status();
    ensure!(status.context("`prlimit` of util-linux is not there")?.success(), "the kernel did not take the limit");
    Ok(())
}

#[test]
fn a_full_pool_is_not_the_guests_failure() -> Result<()> {
    let _alone = process::alone();
    let plugin = crowded("unreachable", 2)?;
    let held = [load(&plugin), load(&plugin)].into_iter().collect::<Result<Vec<_>, _>>();
    let held = held.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let error = load(&plugin).err().context("there was room for a third")?;
    assert!(matches!(error, ApplyError::Host(HostFault::NoRoom(_))), "{error:?}");
    drop(held);
    assert!(load(&plugin).is_ok(), "the room was not given back");
    Ok(())
}

#[test]
fn a_machine_that_maps_no_more_memory_is_not_the_guests_failure() -> Result<()> {
    let _alone = process::alone();
    let plugin = crowded("memory-to-the-limit", 8)?;
    let mut document = load(&plugin).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let error = starved(|| misbehave(&mut *document))?.err().context("the guest got its memory")?;
    assert!(matches!(&error, ApplyError::Host(HostFault::Broken(what)) if what.contains("no memory")), "{error:?}");
    Ok(())
}
