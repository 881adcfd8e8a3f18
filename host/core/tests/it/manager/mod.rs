//! The manager: started and stopped, watched and cancelled, with jobs that wait for one another.

mod alike;
mod batch;
mod cancel;
mod depends;
mod dispatch;
pub(crate) mod drive;
mod drop;
mod events;
mod fairness;
mod key;
mod model;
mod pause;
mod phases;
mod quarantine;
mod soak;
mod stats;
mod stop;
mod watch;
