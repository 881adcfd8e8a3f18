//! Bounds the memories and tables of one store, and remembers which bound was met.

use wasmtime::ResourceLimiter;

use crate::limits::GuestLimits;

/// A bound that a guest ran into. The store's call traps with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitMet {
    #[error("it wanted {wanted} bytes of linear memory; {max} are allowed")]
    Memory { wanted: usize, max: usize },
    #[error("it wanted {wanted} table elements; {max} are allowed")]
    Table { wanted: usize, max: usize },
}

/// Counts what all memories and tables of a store hold together; wasmtime's own limiter
/// counts each by itself.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes: usize,
    memory_bytes_max: usize,
    /// What a job's guest may have; a replay's may have more.
    memory_bytes_usual_max: usize,
    /// What the memories had when they were made, most of it never touched.
    memory_bytes_at_start: usize,
    /// What they had when a document had been loaded.
    memory_bytes_loaded: usize,
    table_elements: usize,
    table_elements_max: usize,
}

impl Limiter {
    pub(crate) fn new(limits: &GuestLimits) -> Self {
        Self {
            memory_bytes: 0,
            memory_bytes_max: limits.memory_bytes_max,
            memory_bytes_usual_max: limits.memory_bytes_max,
            memory_bytes_at_start: 0,
            memory_bytes_loaded: 0,
            table_elements: 0,
            table_elements_max: limits.table_elements_max,
        }
    }

    /// How much the memories have grown since they were made. What a guest asks for, it
    /// usually fills; what a memory begins with is mostly stack that is never reached.
    pub(crate) fn memory_bytes_grown(&self) -> usize {
        self.memory_bytes - self.memory_bytes_at_start
    }

    /// Allows so many times the usual memory from now on, and no more than the machine's pool has.
    pub(crate) fn allow(&mut self, factor: u32) {
        self.memory_bytes_max = self.memory_bytes_usual_max.saturating_mul(factor as usize);
    }

    /// Takes note of what a document takes that was just loaded.
    pub(crate) fn loaded(&mut self) {
        self.memory_bytes_loaded = self.memory_bytes;
    }

    /// Whether three quarters of the memory are taken, and a document that was just loaded took
    /// less than half of that. Memories never shrink, and a garbage collector that does not know
    /// of the limit lets them grow until they meet it.
    pub(crate) fn is_spent(&self) -> bool {
        self.memory_bytes > self.memory_bytes_usual_max / 4 * 3 && self.memory_bytes > 2 * self.memory_bytes_loaded
    }
}

/// The machine did not give a guest what it may have.
#[derive(Debug, thiserror::Error)]
#[error("the machine has no {what} for a guest that may have it: {problem}")]
pub(crate) struct Starved {
    what: &'static str,
    problem: String,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if is_beyond(desired, maximum, self.memory_bytes_max) {
            return Ok(false);
        }
        let wanted = self.memory_bytes.saturating_add(desired - current);
        if wanted > self.memory_bytes_max {
            return Err(wasmtime::Error::new(LimitMet::Memory { wanted, max: self.memory_bytes_max }));
        }
        self.memory_bytes = wanted;
        if current == 0 {
            self.memory_bytes_at_start += desired;
        }
        Ok(true)
    }

    /// What a guest may have and did not get is the machine's fault. A guest that was told so
    /// would make a state of it, or a trap.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Starved { what: "memory", problem: format!("{error:#}") }))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if is_beyond(desired, maximum, self.table_elements_max) {
            return Ok(false);
        }
        let wanted = self.table_elements.saturating_add(desired - current);
        if wanted > self.table_elements_max {
            return Err(wasmtime::Error::new(LimitMet::Table { wanted, max: self.table_elements_max }));
        }
        self.table_elements = wanted;
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Starved { what: "table", problem: format!("{error:#}") }))
    }
}

/// Whether a memory or table would outgrow the maximum of its own type. Then growing fails, as
/// WebAssembly has it, and nothing counts; only what the host does not allow ends the call.
///
/// A maximum that is no less than the host's bound may be the pool's and not the type's.
fn is_beyond(desired: usize, maximum: Option<usize>, bound: usize) -> bool {
    maximum.is_some_and(|maximum| maximum < bound && desired > maximum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_that_the_machine_denies_is_the_machines_fault() {
        let mut limiter = Limiter::new(&GuestLimits::default());
        let denied = || wasmtime::Error::new(std::io::Error::from(std::io::ErrorKind::OutOfMemory));
        let error = limiter.memory_grow_failed(denied()).expect_err("the guest must not go on");
        assert!(error.is::<Starved>());
        let error = limiter.table_grow_failed(denied()).expect_err("the guest must not go on");
        assert!(error.is::<Starved>());
    }
}
