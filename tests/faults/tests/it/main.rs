//! Tests of durability with real processes, and of the simulation that they rest on.

mod crash;
mod failing;
mod power;
mod shim;
mod simulation;

/// The process under test.
fn victim() -> reductor_faults::Victim {
    reductor_faults::Victim::new(env!("CARGO_BIN_EXE_victim"))
}
