//! The primitives that [`doorbell`](super::doorbell) stands on. A test puts others here, which
//! try every order of events.

pub(super) use std::hint::spin_loop;
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How often a worker looks for new work before it sleeps.
pub(super) const LOOK_OUT_SPINS: u32 = 500;
