//! Where in its source a guest trapped.

use anyhow::{Context as _, Result};
use reductor_core::Frame;
use serde_json::{Value, json};

use crate::process;
use crate::run::{Fuel, Host, Residency, UNRULY, admit_bytes};

/// The backtrace of an unruly guest that panics in this way.
fn backtrace(component: &str, action: &str, input: Value) -> Result<Vec<Frame>> {
    let plugin = admit_bytes(&std::fs::read(component)?, Fuel::Plenty)?.map_err(anyhow::Error::msg)?;
    let mut host = Host::start(&plugin, Fuel::Plenty, Residency::Resident)?;
    let result = host.run_job(UNRULY, "u", json!([{"type": action, "input": input}]), json!({}))?;
    host.stop()?;
    let metadata = result.metadata.as_ref().context("it has no metadata")?;
    metadata.backtrace.clone().with_context(|| format!("it has no backtrace: {:?}", result.error_message))
}

#[test]
fn a_guest_with_line_tables_is_told_the_file_and_the_line() -> Result<()> {
    let _alone = process::alone();
    let frames = backtrace(reductor_tests::UNRULY_WITH_LINES, "PANIC", json!({"message": "enough"}))?;
    let frame = frames.iter().find(|frame| frame.function == "unruly::lose_patience").context("it is not named")?;
    let file = frame.file.as_deref().context("it has no file")?;
    assert!(file.ends_with("unruly/src/lib.rs"), "{file}");
    let source = include_str!("../../guests/unruly/src/lib.rs");
    let line = source.lines().position(|line| line.contains("it has had enough: {message}")).context("it says so")? + 1;
    assert_eq!(frame.line.map(|line| line as usize), Some(line));
    Ok(())
}

#[test]
fn a_guest_without_line_tables_is_told_the_function() -> Result<()> {
    let _alone = process::alone();
    let frames = backtrace(reductor_tests::UNRULY, "PANIC", json!({"message": "enough"}))?;
    let frame = frames.iter().find(|frame| frame.function == "unruly::lose_patience").context("it is not named")?;
    assert_eq!((&frame.file, frame.line), (&None, None));
    Ok(())
}
