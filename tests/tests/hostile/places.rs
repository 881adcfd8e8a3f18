//! Where in its source a guest trapped.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use reductor_core::Frame;
use reductor_sandbox::Plugin;
use serde_json::{Value, json};

use crate::run::{Fuel, Host, Residency, UNRULY, admit, admit_bytes};
use crate::{guests, process};

/// The backtrace of an unruly guest that panics in this way.
fn backtrace(component: &str, action: &str, input: Value) -> Result<Vec<Frame>> {
    let plugin = admit_bytes(&std::fs::read(component)?, Fuel::Plenty)?.map_err(anyhow::Error::msg)?;
    backtrace_of(&plugin, UNRULY, action, input)
}

fn backtrace_of(plugin: &Arc<Plugin>, document_type: &str, action: &str, input: Value) -> Result<Vec<Frame>> {
    let mut host = Host::start(plugin, Fuel::Plenty, Residency::Resident)?;
    let result = host.run_job(document_type, "u", json!([{"type": action, "input": input}]), json!({}))?;
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

#[test]
fn a_file_name_of_megabytes_is_cut_in_every_frame() -> Result<()> {
    let _alone = process::alone();
    let plugin = admit("dwarf-long-file-name", Fuel::Plenty)?.map_err(anyhow::Error::msg)?;
    let frames = backtrace_of(&plugin, guests::DOCUMENT_TYPE, "BAD", Value::Null)?;
    assert_eq!(frames.len(), 32, "it traps forty calls deep");
    for frame in frames {
        let file = frame.file.context("its line table names a file")?;
        assert!(file.starts_with("nnn") && file.ends_with("… (cut)") && file.len() < 300, "{} bytes", file.len());
    }
    Ok(())
}
