//! A fair, bounded semaphore: turns are first come, first served.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Those that may wait for a turn; one more is sent away at once.
const WAITING_MAX: usize = 32;

/// Hands out turns.
#[derive(Debug)]
pub(crate) struct Turns {
    at_once_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// The tickets of those that wait, the oldest first.
    waiting: VecDeque<u64>,
    next_ticket: u64,
}

/// Somebody's turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a>(&'a Turns);

/// There was no turn in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Turns {
    /// Turns for so many at once.
    pub(crate) fn new(at_once_max: usize) -> Self {
        Self { at_once_max, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Waits for a turn, no longer than `wait_max`.
    pub(crate) fn take(&self, wait_max: Duration) -> Result<Turn<'_>, Busy> {
        let deadline = Instant::now().checked_add(wait_max);
        let mut state = self.lock();
        if state.waiting.len() >= WAITING_MAX {
            return Err(Busy);
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back(ticket);
        while state.taken == self.at_once_max || state.waiting.front() != Some(&ticket) {
            let left = deadline.map_or(wait_max, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                state.waiting.retain(|waiting| *waiting != ticket);
                self.changed.notify_all();
                return Err(Busy);
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting.pop_front();
        state.taken += 1;
        // The next one may have a turn as well.
        self.changed.notify_all();
        Ok(Turn(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().taken -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Waits until so many wait for a turn.
    fn until_waiting(turns: &Turns, count: usize) {
        while turns.lock().waiting.len() != count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn only_so_many_have_a_turn_at_once() {
        let turns = Turns::new(2);
        let first = turns.take(LONG);
        let second = turns.take(LONG);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(turns.take(Duration::ZERO).err(), Some(Busy));
        drop(first);
        assert!(turns.take(Duration::ZERO).is_ok());
    }

    #[test]
    fn who_came_first_is_served_first() {
        let turns = Turns::new(1);
        let (served, order) = channel();
        std::thread::scope(|scope| {
            let held = turns.take(LONG);
            for number in 0..4 {
                let (turns, served) = (&turns, served.clone());
                scope.spawn(move || {
                    let turn = turns.take(LONG);
                    served.send(number).expect("the test listens");
                    drop(turn);
                });
                until_waiting(turns, number + 1);
            }
            drop(held);
        });
        drop(served);
        assert_eq!(order.iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn no_more_than_so_many_wait() {
        let turns = Turns::new(1);
        std::thread::scope(|scope| {
            let held = turns.take(LONG);
            for number in 0..WAITING_MAX {
                scope.spawn(|| turns.take(LONG).is_ok());
                until_waiting(&turns, number + 1);
            }
            assert_eq!(turns.take(LONG).err(), Some(Busy));
            drop(held);
        });
    }
}
