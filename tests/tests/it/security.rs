//! `SECURITY.md` says what the code does.

use std::collections::BTreeMap;
use std::fmt::Debug;

use anyhow::{Context as _, Result};
use reductor_core::{ExecutorConfig, JobExecutorManagerConfig, Limits, ResidentBudget, Retention};
use reductor_sandbox::{ArtefactCache, CompileLimits, GuestLimits, StaticLimits};

const SECURITY: &str = include_str!("../../../SECURITY.md");

/// The limits that the tables list, with their defaults as they are written there.
fn listed() -> Result<BTreeMap<String, String>> {
    let mut listed = BTreeMap::new();
    for row in SECURITY.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (name, default) = cells.next().zip(cells.next()).context("a row has a name and a default")?;
        let twice = listed.insert(name.trim_matches('`').to_owned(), default.replace([',', ' '], ""));
        anyhow::ensure!(twice.is_none(), "{name} is there twice");
    }
    Ok(listed)
}

/// The fields of a flat structure, by what `Debug` says of it.
fn fields(structure: &impl Debug) -> Vec<(String, String)> {
    let text = format!("{structure:?}");
    let (name, fields) = text.split_once(" { ").expect("it has fields");
    let fields = fields.trim_end_matches(" }").split(", ");
    let field =
        |field: &str| field.split_once(": ").map(|(field, value)| (format!("{name}::{field}"), value.to_owned()));
    fields.map(|text| field(text).expect("a field has a value")).collect()
}

#[test]
fn the_tables_of_limits_are_complete_and_true() -> Result<()> {
    let config = ExecutorConfig::default();
    let mut expected: Vec<(String, String)> = [
        fields(&GuestLimits::default()),
        fields(&StaticLimits::default()),
        fields(&CompileLimits::default()),
        fields(&Limits::default()),
        fields(&ResidentBudget::default()),
    ]
    .concat();
    let timeout = JobExecutorManagerConfig::default().resolved().job_timeout.context("it has a default")?;
    expected.extend([
        ("JobExecutorManagerConfig::CONCURRENCY_MAX".to_owned(), JobExecutorManagerConfig::CONCURRENCY_MAX.to_string()),
        ("JobExecutorManagerConfig::job_timeout".to_owned(), timeout.to_string()),
        ("ExecutorConfig::max_retries".to_owned(), config.max_retries.to_string()),
        ("Retention::results_max".to_owned(), Retention::default().results_max.to_string()),
        ("Retention::results_bytes_max".to_owned(), Retention::default().results_bytes_max.to_string()),
        ("ArtefactCache::BYTES_MAX_DEFAULT".to_owned(), ArtefactCache::BYTES_MAX_DEFAULT.to_string()),
    ]);
    let listed = listed()?;
    for (name, default) in &expected {
        assert_eq!(listed.get(name), Some(default), "{name}");
    }
    assert_eq!(listed.len(), expected.len(), "a limit is listed that is none");
    Ok(())
}
