//! The thread that syncs a store in intervals.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::store::Inner;

/// A thread that syncs a store until this is dropped, or a sync fails.
pub(crate) struct Ticker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(inner: &Arc<Inner>, every: Duration) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let inner = Arc::downgrade(inner);
        let tick = move || tick(&inner, &stopped, every);
        let thread = std::thread::Builder::new().name("reductor-store-sync".to_owned()).spawn(tick)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

fn tick(inner: &Weak<Inner>, stopped: &mpsc::Receiver<()>, every: Duration) {
    while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        // A failed sync was reported; the store has stopped.
        let Some(Ok(())) = inner.upgrade().map(|inner| inner.sync()) else { return };
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It does nothing that panics; if it did, the hook has said so.
            let _ = thread.join();
        }
    }
}
