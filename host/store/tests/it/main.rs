//! The behaviour of the durable store, seen from outside.

#[path = "../../../core/tests/it/conformance/mod.rs"]
mod conformance;
mod conforming;
