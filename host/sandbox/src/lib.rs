//! Runs reducers as WebAssembly components, within hard limits.
//!
//! A [`Sandbox`] admits components of the world `reductor:reducer/reducer` (see `wit/` at the
//! root of the project) as [`Plugin`]s. A plugin is a [`reductor_core::Reducer`]: each live
//! document of it is a wasmtime store of its own, so documents share nothing. Whatever a
//! guest does ends within the limits, and every failure names its reason.
//!
//! Besides the interface `host` of that world a guest may import what the standard library of
//! its language drags in of WASI 0.2: `cli`, `clocks`, `random`, `io` and an empty `filesystem`.
//! It gives no authority and says nothing that varies with anything but document and action:
//! the wall clock stands at the action's timestamp, random bytes follow from the operation's id,
//! nothing sleeps, what is printed goes to the log, `exit` is a failure. Anything else is
//! refused at admission, with what would remove the import.
//!
//! Where things are: `sandbox` has the engine and its configuration, `admit` the checks that
//! a component passes before it may run, `compile` the child process in which it is checked and
//! becomes machine code, and the cache of what came out, `difference` what does not fit the world, `guest`
//! the calls into an instance, `host` and `wasi` what an instance may call, `limiter` memory and
//! tables, `log` how many lines it may write, `failure` what a failed call means, `sections` and `lines` names and places in the
//! source, `abi` the types that cross the boundary.

mod abi;
mod admit;
mod compile;
mod difference;
mod failure;
mod guest;
mod host;
mod limiter;
mod limits;
mod lines;
mod log;
mod plugin;
mod sandbox;
mod sections;
mod text;
mod wasi;

pub use admit::{AdmissionError, BinaryMeasures, Blame, Measure, OverLimit, StaticLimits};
pub use compile::{
    ArtefactCache, CacheError, CodeOrigin, CompileError, CompileLimits, CompileWorker, compile_worker_main,
};
pub use difference::Difference;
pub use limits::GuestLimits;
pub use plugin::Plugin;
pub use sandbox::{EPOCH_TICK, Sandbox, SandboxBuilder, SandboxError};
pub use text::{printable, printable_json};
