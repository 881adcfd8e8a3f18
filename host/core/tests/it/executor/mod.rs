//! The executor with reducers that fail on command and a clock that is moved by hand.

mod atomic;
mod bounds;
mod creation;
mod dispatch;
mod events;
mod host;
mod order;
mod retry;
mod revision;
mod scripted;
mod stop;
mod store;
