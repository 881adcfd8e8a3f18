//! The memory store keeps the promises of every store.

use reductor_core::MemoryStore;

crate::conformance::conformance_tests!(MemoryStore::new());
