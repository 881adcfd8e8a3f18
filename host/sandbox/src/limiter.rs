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
    /// What the memories had when they were made, most of it never touched.
    memory_bytes_at_start: usize,
    table_elements: usize,
    table_elements_max: usize,
}

impl Limiter {
    pub(crate) fn new(limits: &GuestLimits) -> Self {
        Self {
            memory_bytes: 0,
            memory_bytes_max: limits.memory_bytes_max,
            memory_bytes_at_start: 0,
            table_elements: 0,
            table_elements_max: limits.table_elements_max,
        }
    }

    /// How much the memories have grown since they were made. What a guest asks for, it
    /// usually fills; what a memory begins with is mostly stack that is never reached.
    pub(crate) fn memory_bytes_grown(&self) -> usize {
        self.memory_bytes - self.memory_bytes_at_start
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
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

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.table_elements.saturating_add(desired - current);
        if wanted > self.table_elements_max {
            return Err(wasmtime::Error::new(LimitMet::Table { wanted, max: self.table_elements_max }));
        }
        self.table_elements = wanted;
        Ok(true)
    }
}
