//! What host and guests log, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "REDUCTOR_LOG";
const DEFAULT: &str = "warn";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Begins to write log lines to standard error.
pub(crate) fn to_stderr() {
    let (filter, problem) = match std::env::var(VARIABLE) {
        Ok(text) if !text.trim().is_empty() => match filter(&text) {
            Ok(filter) => (filter, None),
            Err(problem) => (EnvFilter::new(DEFAULT), Some(problem)),
        },
        _ => (EnvFilter::new(DEFAULT), None),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && wants_colours())
        .init();
    // With it, a store whose background writes fail names the cause.
    reductor_host::report_engine_errors();
    if let Some(problem) = problem {
        eprintln!("warning: {VARIABLE}: {problem}; `{DEFAULT}` is used");
    }
}

/// As <https://no-color.org> has it.
fn wants_colours() -> bool {
    let is_set = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !is_set && !is_dumb
}

/// Reads a filter such as `info` or `reductor::guest=debug,warn`.
fn filter(text: &str) -> Result<EnvFilter, String> {
    // With spans and fields the commas are not all separators.
    if !text.contains(['[', '{']) {
        text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).try_for_each(check)?;
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())
}

/// The library takes a word that it does not know for the name of a module, and logs nothing else.
fn check(directive: &str) -> Result<(), String> {
    let (word, what) = match directive.split_once('=') {
        Some((_, level)) => (level, "level"),
        None if directive.starts_with("reductor") => return Ok(()),
        None => (directive, "level or module"),
    };
    let is_level = LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let is_number = word.parse::<u8>().is_ok_and(|level| usize::from(level) < LEVELS.len());
    let levels = LEVELS.join(", ");
    if is_level || is_number { Ok(()) } else { Err(format!("`{word}` is not a {what}; the levels are {levels}")) }
}
