//! How workers wait for work without missing any.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::sync::{AtomicU64, Condvar, LOOK_OUT_SPINS, Mutex, MutexGuard, Ordering, PoisonError, spin_loop};

/// A lock around what workers wait for, and the bell that wakes them.
///
/// Whoever brings work rings while it still holds the lock. A worker looks for work under the
/// lock, and lets go of it only by falling asleep; so either it sees the work, or it hears the
/// bell.
pub(super) struct Doorbell<T> {
    inside: Mutex<Inside<T>>,
    /// Wakes workers.
    bell: Condvar,
    /// Wakes threads that wait for something else than work.
    changed: Condvar,
    /// How often somebody rang, for the worker that looks out.
    rings: AtomicU64,
}

struct Inside<T> {
    value: T,
    /// Workers that wait for the bell.
    asleep: usize,
    /// Whether a worker looks out for work without sleeping. It needs no bell: it looks under the
    /// lock again before it sleeps.
    looking_out: bool,
    /// Threads in [`Doorbell::wait_while`].
    curious: usize,
}

/// What is inside, for as long as the lock is held.
pub(super) struct Guard<'a, T>(MutexGuard<'a, Inside<T>>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0.value
    }
}

/// What a worker found when it looked for work.
pub(super) enum Look<W> {
    /// Something to do, and whether there is `more` for others.
    Found {
        /// What to do.
        work: W,
        /// Whether another worker would find something, too.
        more: bool,
    },
    /// Nothing.
    Nothing {
        /// How long until there may be something without anybody ringing.
        wake_after: Option<Duration>,
        /// Whether work is likely to come soon.
        look_out: bool,
    },
}

impl<T> Doorbell<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            inside: Mutex::new(Inside { value, asleep: 0, looking_out: false, curious: 0 }),
            bell: Condvar::new(),
            changed: Condvar::new(),
            rings: AtomicU64::new(0),
        }
    }

    pub(super) fn lock(&self) -> Guard<'_, T> {
        Guard(self.inside.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets go of the lock after bringing work, or a new moment to wake at: one worker looks.
    /// If there is more than one can do, it wakes the next.
    pub(super) fn ring(&self, guard: Guard<'_, T>) {
        let wake = guard.0.asleep > 0 && !guard.0.looking_out;
        self.rings.fetch_add(1, Ordering::Relaxed);
        drop(guard);
        if wake {
            self.bell.notify_one();
        }
    }

    /// Lets go of the lock after a change that every worker must see.
    pub(super) fn ring_all(&self, guard: Guard<'_, T>) {
        drop(guard);
        self.bell.notify_all();
    }

    /// Waits until `look` finds work.
    pub(super) fn wait<W>(&self, mut look: impl FnMut(&mut T) -> Look<W>) -> W {
        let mut looked_out = false;
        let mut inside = self.lock().0;
        loop {
            let wake_after = match look(&mut inside.value) {
                Look::Found { work, more } => {
                    let wake = more && inside.asleep > 0;
                    drop(inside);
                    if wake {
                        self.bell.notify_one();
                    }
                    return work;
                }
                Look::Nothing { look_out: true, .. } if !looked_out && !inside.looking_out => {
                    looked_out = true;
                    inside = self.look_out(inside);
                    continue;
                }
                Look::Nothing { wake_after, .. } => wake_after,
            };
            inside.asleep += 1;
            inside = match wake_after {
                Some(pause) => self.bell.wait_timeout(inside, pause).unwrap_or_else(PoisonError::into_inner).0,
                None => self.bell.wait(inside).unwrap_or_else(PoisonError::into_inner),
            };
            inside.asleep -= 1;
        }
    }

    /// Looks out for work for a moment before its caller goes to sleep: when jobs come one by
    /// one, putting a thread to sleep and waking it costs more than running them. One worker at
    /// a time does so.
    fn look_out<'a>(&'a self, mut inside: MutexGuard<'a, Inside<T>>) -> MutexGuard<'a, Inside<T>> {
        inside.looking_out = true;
        let seen = self.rings.load(Ordering::Relaxed);
        drop(inside);
        for _ in 0..LOOK_OUT_SPINS {
            if self.rings.load(Ordering::Relaxed) != seen {
                break;
            }
            spin_loop();
        }
        let mut inside = self.lock().0;
        inside.looking_out = false;
        inside
    }

    /// Tells those who wait with [`Doorbell::wait_while`] to look again.
    pub(super) fn tell_changed(&self, guard: &Guard<'_, T>) {
        // Nearly always nobody does, and a call of the kernel would cost more than the turn.
        if guard.0.curious > 0 {
            self.changed.notify_all();
        }
    }

    /// Waits for as long as `busy` says, for threads that are not workers.
    pub(super) fn wait_while(&self, busy: impl Fn(&T) -> bool) {
        let mut inside = self.lock().0;
        while busy(&inside.value) {
            inside.curious += 1;
            inside = self.changed.wait(inside).unwrap_or_else(PoisonError::into_inner);
            inside.curious -= 1;
        }
    }
}
