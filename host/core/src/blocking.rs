//! Blocking a thread on a future, inside an async runtime or without one.

use std::future::Future;

use tokio::task::coop::unconstrained;

/// Blocks the thread until the future is ready.
///
/// Unlike tokio's own blocking waits it does not panic on a runtime's thread. Without
/// `unconstrained` it would hang there: once a task has used up its share, tokio's channels answer
/// "not yet" until the task gives its thread back, and a thread that blocks never does.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    pollster::block_on(unconstrained(future))
}
