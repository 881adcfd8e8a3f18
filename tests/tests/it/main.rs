//! End-to-end tests of Reductor: real components in a real host.
//!
//! `support` is the only module that knows the API. In the others a test's name is a
//! sentence, and its body a case.

mod abi;
mod admission;
mod admission_cache;
mod admission_canary;
mod admission_limits;
mod admission_worker;
mod audit;
mod budget;
mod dispatch;
mod editing;
mod flow;
mod javascript;
mod order;
mod promises;
mod purity;
mod retry;
mod revision;
mod security;
mod shapes;
mod stop;
mod submission;
mod support;
mod wasi;
