//! Standard output, for scripts to read.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};

use reductor_host::printable_json;
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
    writeln!(out, "{}", shown(text))?;
    Ok(out.flush()?)
}

/// Whether standard output was closed by its reader.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        io.or_else(|| cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind))
    });
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

/// A text as it may be shown: on a terminal without characters that control it or that a reader does
/// not see. Guests choose what is in a state. In JSON they are spelled so that its value stays.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if std::io::stdout().is_terminal() { printable_json(text) } else { Cow::Borrowed(text) }
}
