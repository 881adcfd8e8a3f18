//! Standard output, for scripts to read.

use std::io::Write as _;

use serde::Serialize;

/// Prints one value as a line of JSON.
pub(crate) fn line(value: &impl Serialize) -> anyhow::Result<()> {
    text(&serde_json::to_string(value)?)
}

/// Prints one value as JSON that people can read too.
pub(crate) fn pretty(value: &impl Serialize) -> anyhow::Result<()> {
    text(&serde_json::to_string_pretty(value)?)
}

/// Prints a text and ends the line. Unlike `println!` it does not panic when nobody reads.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}
