//! Tests of what Reductor promises about its disk, with real processes.
//!
//! [`Shim`] has a process watched, or fail, in what it does to a directory. [`Disk`] makes of
//! what was seen the states that a loss of power may leave. [`run`] is the process: clients of a
//! host, who tell the world what was acknowledged to them. [`Record`] is what they told, and
//! [`check`] says whether a store keeps all of it.

mod check;
mod client;
mod content;
mod cores;
mod crash;
mod disk;
mod failing;
mod file;
mod host;
mod log;
mod names;
mod power;
mod record;
mod recording;
mod relay;
mod scratch;
mod shim;
mod victim;
mod workload;

pub use check::{Checked, Depth, check};
pub use client::{Run, run};
pub use content::Content;
pub use crash::{Kills, crash};
pub use disk::{Disk, Image, Mode, SimulationError};
pub use failing::{Begin, Failures, failing};
pub use power::{Cut, Cuts, Recorded, record};
pub use record::{Intent, Line, Outcome, Record, Told};
pub use recording::{Inode, Op, Recording};
pub use shim::{Fault, Kind, Lasts, Shim, What};
pub use victim::{KillAfter, Syncing, Victim};
pub use workload::Plan;
