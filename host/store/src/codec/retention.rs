//! What the store has remembered of jobs whose results are gone, as records.

use bincode::{BorrowDecode, Encode};

/// How far retention has come. Written with what is forgotten and remembered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct RetentionRecord {
    /// Hashes of ids and keys are made with it, so that nobody can choose texts that collide.
    pub(crate) seed: u64,
    /// Where the clock of retention stood.
    pub(crate) clock_ms: Option<i64>,
    /// The number of the next generation of outcomes.
    pub(crate) next_generation: u32,
    /// The generations that are remembered, oldest first. Outcomes are added to the last.
    pub(crate) generations: Vec<GenerationRecord>,
    /// How many budgets were written since the store was made.
    pub(crate) budgets: u64,
}

/// Outcomes that are forgotten together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct GenerationRecord {
    pub(crate) number: u32,
    /// How many jobs.
    pub(crate) jobs: u64,
    /// When the first of them ended, and the newest.
    pub(crate) first_ms: i64,
    pub(crate) newest_ms: i64,
}
