//! What the process takes of the machine.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};

/// Keeps tests that watch the process from running at the same time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that the process holds now, in bytes.
pub(crate) fn resident_bytes() -> Result<usize> {
    status("VmRSS:").map(|kib| kib << 10)
}

/// The most memory that it held since [`forget_peak`], in bytes.
pub(crate) fn peak_bytes() -> Result<usize> {
    status("VmHWM:").map(|kib| kib << 10)
}

/// Begins a new peak.
pub(crate) fn forget_peak() -> Result<()> {
    std::fs::write("/proc/self/clear_refs", "5").context("the peak of memory cannot be reset")
}

/// Memory that counts against its limit of data, in bytes.
pub(crate) fn data_bytes() -> Result<usize> {
    status("VmData:").map(|kib| kib << 10)
}

/// How many threads it has.
pub(crate) fn threads() -> Result<usize> {
    status("Threads:")
}

fn status(field: &str) -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)).context("the kernel does not say")?;
    let number = value.split_whitespace().next().context("the kernel does not say")?;
    Ok(number.parse()?)
}
