//! The memory store keeps the promises of every store.

crate::conformance::conformance_tests!(::reductor_core::MemoryStore::with_retention);
