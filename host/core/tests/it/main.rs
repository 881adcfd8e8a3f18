//! The behaviour of the core, seen from outside.

mod audit_budget;
mod conformance;
mod durable;
mod executor;
mod golden;
mod manager;
mod memory_store;
mod queue;
mod submission;
