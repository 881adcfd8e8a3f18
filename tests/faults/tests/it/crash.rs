//! Processes that are killed lose nothing.

use anyhow::Result;
use reductor_faults::{Syncing, crash};

use crate::victim;

#[test]
fn nothing_is_lost_when_the_process_is_killed_25_times() -> Result<()> {
    let kills = crash(&victim(), Syncing::Always, 1, 25, |_| {})?;
    assert!(kills.acknowledged > 500 && kills.unfinished > 0, "it was killed too early to say anything: {kills:?}");
    Ok(())
}

#[test]
fn a_store_that_never_syncs_survives_that_too() -> Result<()> {
    // The system has what the process wrote: only a loss of power tells the two apart.
    crash(&victim(), Syncing::Never, 2, 10, |_| {})?;
    Ok(())
}
