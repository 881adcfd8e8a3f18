//! The table of verdicts: `guests/hostile/verdicts.toml`.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use reductor_core::Reason;
use serde::Deserialize;

use crate::{guests, shapes};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    guest: Vec<Row>,
}

/// One guest and its verdict.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// A file in `wat/`, without `.wat`, or one of [`shapes::NAMES`].
    pub(crate) name: String,
    /// What it does, for people.
    pub(crate) does: String,
    pub(crate) verdict: Verdict,
    /// Of a job that fails.
    pub(crate) reason: Option<Reason>,
    /// The kind of trap, of a job that traps.
    pub(crate) trap: Option<String>,
    /// Words of the error message.
    pub(crate) says: Option<String>,
    /// Words of the log.
    pub(crate) logs: Option<String>,
    /// The function in the first frame of the backtrace.
    pub(crate) frame: Option<String>,
    /// The state afterwards, of a job that is applied; 2 if it is not there.
    pub(crate) state: Option<String>,
    /// The attempt's timeout, where fuel is plenty; 30 s and little fuel if it is not there.
    pub(crate) timeout_ms: Option<u64>,
    /// Why the document's next job fails, if it does.
    pub(crate) next: Option<Reason>,
    /// Whether the verdict is not decided yet, and why.
    pub(crate) pending: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It is not let in.
    Refused,
    /// It is let in, and its job fails.
    Fails,
    /// It is let in, and its job is applied.
    Applied,
    /// Its job is applied, and two instances disagree about the state.
    Diverges,
}

pub(crate) fn rows() -> Result<Vec<Row>> {
    let path = guests::folder().join("verdicts.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(toml::from_str::<Table>(&text)?.guest)
}

#[test]
fn every_guest_has_a_verdict_and_every_verdict_a_guest() -> Result<()> {
    let mut files = BTreeSet::from(shapes::NAMES.map(str::to_owned));
    for entry in std::fs::read_dir(guests::folder().join("wat"))? {
        let file = entry?.file_name().into_string().ok().context("a file's name is no text")?;
        files.insert(file.strip_suffix(".wat").with_context(|| format!("{file} is no guest"))?.to_owned());
    }
    let rows = rows()?;
    let named: BTreeSet<_> = rows.iter().map(|row| row.name.clone()).collect();
    assert_eq!(named, files);
    assert_eq!(named.len(), rows.len(), "a guest has two verdicts");
    for row in &rows {
        let fails = row.verdict == Verdict::Fails;
        assert_eq!(row.reason.is_some(), fails, "{}: a reason belongs to a job that fails", row.name);
        assert_eq!(row.trap.is_some(), row.reason == Some(Reason::Trap), "{}: a kind belongs to a trap", row.name);
        assert!(row.says.is_some() || row.verdict != Verdict::Refused, "{}: a refusal says why", row.name);
        assert!(!row.does.is_empty());
    }
    Ok(())
}
