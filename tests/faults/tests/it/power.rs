//! Losses of power lose nothing that was acknowledged.

use anyhow::{Context as _, Result};
use reductor_faults::{Mode, Plan, Syncing, record};

use crate::victim;

const PLAN: Plan = Plan { seed: 1, round: 0, clients: 3, jobs: 25, text_bytes_max: 3_000 };

#[test]
fn nothing_is_lost_in_a_thousand_losses_of_power() -> Result<()> {
    let recorded = record(&victim(), Syncing::Always, PLAN)?;
    let cuts = recorded.check_cuts(1, 0..recorded.ops(), &Mode::ALL, 1_000, |_| {})?;
    assert_eq!(cuts.cuts, 1_000);
    assert!(cuts.operations > 10_000 && cuts.unfinished > 100 && cuts.unacknowledged > 100, "{cuts:?}");
    Ok(())
}

/// The engine writes the files of large values without syncing their directory, which no file
/// system on Linux needs and the standard demands.
const LINUX: [Mode; 4] = [Mode::Everything, Mode::Synced, Mode::Ordered, Mode::Harsh];

#[test]
fn nothing_is_lost_while_tables_are_written_and_removed() -> Result<()> {
    let recorded = record(&victim(), Syncing::Always, Plan { jobs: 120, text_bytes_max: Plan::FILLS_TABLES, ..PLAN })?;
    let tables = recorded.ops_on("/tables/").context("no table was written")?;
    recorded.check_cuts(1, tables, &LINUX, 60, |_| {})?;
    Ok(())
}

#[test]
fn a_store_that_never_syncs_is_found_out() -> Result<()> {
    let recorded = record(&victim(), Syncing::Never, PLAN)?;
    let error =
        recorded.check_cuts(1, 0..recorded.ops(), &Mode::ALL, 200, |_| {}).expect_err("it loses what it acknowledged");
    let error = format!("{error:#}");
    let lost = ["is lost", "was acknowledged", "its result said true, and its operations: false"];
    assert!(lost.iter().any(|words| error.contains(words)), "{error}");
    Ok(())
}
