//! What the storage engine says of failures in its background threads.
//!
//! The engine keeps no error of a thread that flushes or compacts: a later write only learns that
//! there was one. The cause goes to the `log` facade, which has one logger for the whole program. A
//! program that installs no logger of its own installs this one here, once.

use std::sync::{Mutex, PoisonError};

static LOG: EngineLog = EngineLog { last_error: Mutex::new(None) };

/// Hands warnings and errors of the storage engine to `tracing`, and lets a store name the cause when
/// a write in the background failed. For programs that install no logger of the `log` facade: it
/// takes the place of one. Returns whether it did; another logger stays.
pub fn report_engine_errors() -> bool {
    if log::set_logger(&LOG).is_err() {
        return false;
    }
    log::set_max_level(log::LevelFilter::Warn);
    true
}

/// What the engine last said of a failure, if it was asked for.
pub(crate) fn last_error() -> Option<String> {
    LOG.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct EngineLog {
    last_error: Mutex<Option<String>>,
}

impl log::Log for EngineLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let of_engine = |name: &str| metadata.target().starts_with(name);
        metadata.level() <= log::Level::Warn && (of_engine("fjall") || of_engine("lsm_tree"))
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = words(&record.args().to_string());
        if record.level() == log::Level::Error {
            tracing::error!("the storage engine: {message}");
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        } else {
            tracing::warn!("the storage engine: {message}");
        }
    }

    fn flush(&self) {}
}

/// The words of a message that shows an error as Rust's debugging output does.
fn words(message: &str) -> String {
    let code = between(message, "code: ", ",").and_then(|code| code.parse::<i32>().ok());
    match code {
        Some(code) if message.contains("Os {") => std::io::Error::from_raw_os_error(code).to_string(),
        _ => between(message, "error: \"", "\"").unwrap_or(message).to_owned(),
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_is_told_in_its_words() {
        let system = std::io::Error::from_raw_os_error(5);
        let error = fjall::Error::Storage(fjall::LsmError::Io(std::io::Error::from_raw_os_error(5)));
        assert_eq!(words(&format!("Worker #0 crashed: {error:?}")), system.to_string());
        assert_eq!(words("something else"), "something else");
    }
}
