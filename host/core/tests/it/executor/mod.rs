//! The executor with reducers that fail on command and a clock that is moved by hand.

mod atomic;
mod audit;
mod bounds;
mod creation;
mod dispatch;
mod events;
pub(crate) mod host;
mod order;
mod retry;
mod revision;
pub(crate) mod scripted;
mod stop;
mod store;
