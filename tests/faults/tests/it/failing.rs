//! A disk that fails makes jobs fail, and nothing else.

use anyhow::Result;
use reductor_faults::{Begin, failing};

use crate::victim;

#[test]
fn whatever_operation_fails_nothing_is_lost() -> Result<()> {
    let failures = failing(&victim(), 1, Begin::Used, 1, |_| {})?;
    assert!(failures.noticed * 2 > failures.runs && failures.io_errors > 10, "{failures:?}");
    Ok(())
}

#[test]
fn a_store_that_could_not_be_made_is_made_at_the_next_start() -> Result<()> {
    // Making one takes some hundreds of operations.
    let failures = failing(&victim(), 2, Begin::New, 25, |_| {})?;
    assert!(failures.not_opened > 10, "{failures:?}");
    Ok(())
}
