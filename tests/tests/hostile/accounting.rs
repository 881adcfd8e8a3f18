//! What counts of a guest's memory.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use reductor_core::{Reducer as _, ResidentBudget};
use reductor_sandbox::Plugin;

use crate::blame::called;
use crate::process;
use crate::run::{Fuel, admit, admit_bytes};

/// What a new document of the guest counts in the budget of live documents.
fn counted(admitted: Result<Arc<Plugin>, String>) -> Result<usize> {
    let plugin = admitted.map_err(anyhow::Error::msg)?;
    let document = called(|call| plugin.load(&[], call)).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(document.memory_bytes())
}

#[test]
fn memory_that_an_instance_begins_with_counts_as_memory_that_it_asks_for() -> Result<()> {
    let _alone = process::alone();
    let bytes = counted(admit("memory-born-large", Fuel::Plenty)?)?;
    // All but the stack that the host takes an instance to begin with.
    ensure!(bytes >= 58 << 20, "{} MiB of 60 MiB are counted", bytes >> 20);
    Ok(())
}

#[test]
fn as_many_ordinary_documents_as_the_budget_names_fit_into_it() -> Result<()> {
    let _alone = process::alone();
    let budget = ResidentBudget::default();
    let bytes = counted(admit_bytes(&std::fs::read(reductor_tests::COUNTER)?, Fuel::Plenty)?)?;
    let all = bytes.checked_mul(budget.documents_max).context("that is beyond any budget")?;
    ensure!(all <= budget.bytes_max, "a counter counts {bytes} bytes");
    Ok(())
}
