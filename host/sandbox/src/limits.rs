//! The bounds of one guest.

/// What an instance may use. [`reductor_core::Limits`] has what a job may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestLimits {
    /// Units of fuel for each call: about one per instruction.
    pub fuel_per_call: u64,
    /// Bytes of linear memory, all memories of the instance together.
    pub memory_bytes_max: usize,
    /// Elements of all its tables together.
    pub table_elements_max: usize,
    /// Bytes of stack.
    pub stack_bytes_max: usize,
    /// Bytes of one state, or whatever else it returns in one call.
    pub output_bytes_max: usize,
    /// Log lines of one call; later ones are dropped.
    pub log_lines_max: u32,
    /// Log lines of all documents of a plugin in one second; later ones are dropped.
    /// [`reductor_core::Limits::log_lines_per_job_max`] bounds those of one job.
    pub log_lines_per_second_max: u32,
    /// Bytes of one log line; the rest is cut off.
    pub log_line_bytes_max: usize,
    /// Bytes of the component.
    pub component_bytes_max: usize,
    /// Live documents of all plugins together, in the pooling allocator.
    pub instances_max: u32,
}

impl Default for GuestLimits {
    fn default() -> Self {
        Self {
            fuel_per_call: 10_000_000_000,
            memory_bytes_max: 64 << 20,
            table_elements_max: 100_000,
            stack_bytes_max: 1 << 20,
            output_bytes_max: 16 << 20,
            log_lines_max: 100,
            log_lines_per_second_max: 1_000,
            log_line_bytes_max: 4 << 10,
            component_bytes_max: 64 << 20,
            // The default budget of idle documents, and room for those at work.
            instances_max: 8_192 + 256,
        }
    }
}
