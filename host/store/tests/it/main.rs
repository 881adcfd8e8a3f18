//! The behaviour of the durable store, seen from outside.

mod backup;
#[path = "../../../core/tests/it/conformance/mod.rs"]
mod conformance;
mod conforming;
mod damage;
mod directory;
mod fixture;
mod forgetting;
mod revision;
mod script;
mod size;
mod stand_in;
