//! A manager over a store that outlives it: nothing is lost, and nothing is told too early.

mod acceptance;
mod ahead;
mod clocks;
mod dependencies;
mod disk;
mod events;
mod failure;
mod letters;
mod machine;
mod memory;
mod model;
mod restart;
mod revision;
mod stop;
