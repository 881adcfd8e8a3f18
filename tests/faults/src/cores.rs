//! Work that is the same on every core.

use anyhow::Result;

/// Runs `work` on as many threads as there are cores. It is told which of how many it is.
///
/// # Errors
///
/// The first that one of them returned.
pub(crate) fn on_all_cores(work: impl Fn(usize, usize) -> Result<()> + Sync) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<_> = std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..cores).map(|core| scope.spawn(move || work(core, cores))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    results.into_iter().collect()
}
