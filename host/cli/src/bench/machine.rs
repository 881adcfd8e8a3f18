//! What machine a figure was measured on, and what it says of this process.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// A machine, as far as figures depend on it.
#[derive(Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_gb: u64,
    kernel: String,
    profile: &'static str,
}

impl Machine {
    /// The machine that this runs on. What cannot be found out is left empty.
    pub(crate) fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gb: kilobytes(&field(&read("/proc/meminfo"), "MemTotal")) / 1_000_000,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            profile: if cfg!(debug_assertions) { "dev" } else { "release" },
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cpu, cores, memory_gb, kernel, profile } = self;
        write!(f, "{cpu}, {cores} cores, {memory_gb} GB, Linux {kernel}, {profile} build")
    }
}

/// CPU time that all threads of this process have used.
pub(crate) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Memory of this process that is in RAM, in kB.
pub(crate) fn resident_kb() -> u64 {
    kilobytes(&field(&fs::read_to_string("/proc/self/status").unwrap_or_default(), "VmRSS"))
}

fn field(text: &str, name: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

fn kilobytes(text: &str) -> u64 {
    text.trim_end_matches("kB").trim().parse().unwrap_or(0)
}
