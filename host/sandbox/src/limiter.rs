//! Bounds the memories and tables of one store, and remembers which bound was met.

use wasmtime::ResourceLimiter;

use crate::limits::GuestLimits;

/// Linear memory that an instance may begin with and that does not count: a Rust guest begins
/// with a stack of a mebibyte, of which it touches a few pages, and with its constants. What an
/// instance has beyond that counts as if it were filled, and so does whatever it asks for later.
///
/// A guest that fills these pages holds so much more than is counted of it.
const UNCOUNTED_BYTES_MAX: usize = 18 << 16;

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
    /// What of them does not count.
    memory_bytes_uncounted: usize,
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
            memory_bytes_uncounted: 0,
            memory_bytes_loaded: 0,
            table_elements: 0,
            table_elements_max: limits.table_elements_max,
        }
    }

    /// How much of the machine's memory the memories take, as far as their sizes tell.
    pub(crate) fn memory_bytes_counted(&self) -> usize {
        self.memory_bytes - self.memory_bytes_uncounted
    }

    /// Takes note of the end of instantiation: what the memories have now they began with.
    pub(crate) fn instantiated(&mut self) {
        self.memory_bytes_uncounted = self.memory_bytes.min(UNCOUNTED_BYTES_MAX);
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

    /// What counts of an instance whose memory began with so many bytes and then grew to others.
    fn counted(began_with: usize, grew_to: usize) -> usize {
        let mut limiter = Limiter::new(&GuestLimits::default());
        limiter.memory_growing(0, began_with, None).expect("it is within the limit");
        limiter.instantiated();
        limiter.memory_growing(began_with, grew_to, None).expect("it is within the limit");
        limiter.memory_bytes_counted()
    }

    #[test]
    fn the_stack_of_a_rust_guest_does_not_count_and_all_else_does() {
        const PAGE: usize = 1 << 16;
        assert_eq!(counted(17 * PAGE, 17 * PAGE), 0);
        assert_eq!(counted(17 * PAGE, 20 * PAGE), 3 * PAGE);
        assert_eq!(counted(960 * PAGE, 960 * PAGE), 960 * PAGE - UNCOUNTED_BYTES_MAX);
        assert_eq!(counted(0, 960 * PAGE), 960 * PAGE, "a memory that begins with nothing has no stack");
    }

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
