//! Lines of the input on their way to the host, read ahead of it within bounds.

use std::io::Read;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::input::Lines;

/// Jobs between the input and the output. The queue holds far more; this bounds the results that
/// wait to be printed in order.
pub(crate) const JOBS_MAX: usize = 10_000;
/// Bytes of their lines. A longer line goes alone.
const BYTES_MAX: usize = 64 << 20;

/// What there is to do next.
pub(super) enum Next {
    Submit(Line),
    /// The input has ended.
    End,
    Unreadable(std::io::Error),
    /// The run is to stop before the input ends.
    Stop,
}

pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    pub(super) text: String,
    pub(super) place: Place,
}

/// Reads lines in a thread of its own, which ends with the process: nothing can wake it while it waits
/// for input.
pub(super) fn read_ahead(input: impl Read + Send + 'static, to: Sender<Next>) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("reductor-input".to_owned());
    thread.spawn(move || {
        let window = Arc::new(Window::default());
        for line in Lines::new(input) {
            let next = match line {
                Ok((number, text)) => {
                    let place = window.enter(text.len());
                    Next::Submit(Line { number, text, place })
                }
                Err(error) => Next::Unreadable(error),
            };
            let is_last = matches!(next, Next::Unreadable(_));
            // Without a receiver the run is over.
            if to.send(next).is_err() || is_last {
                return;
            }
        }
        let _ = to.send(Next::End);
    })?;
    Ok(())
}

/// Bounds what is between the input and the output.
#[derive(Default)]
struct Window {
    taken: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Default)]
struct Taken {
    jobs: usize,
    bytes: usize,
}

/// A line's place between the input and the output; free again when it is dropped.
pub(super) struct Place {
    window: Arc<Window>,
    bytes: usize,
}

impl Window {
    /// Waits until there is room.
    fn enter(self: &Arc<Self>, bytes: usize) -> Place {
        let is_full = |taken: &mut Taken| taken.jobs > 0 && (taken.jobs >= JOBS_MAX || taken.bytes + bytes > BYTES_MAX);
        let mut taken = self.freed.wait_while(self.taken(), is_full).unwrap_or_else(PoisonError::into_inner);
        taken.jobs += 1;
        taken.bytes += bytes;
        drop(taken);
        Place { window: self.clone(), bytes }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.window.taken();
        taken.jobs -= 1;
        taken.bytes -= self.bytes;
        drop(taken);
        self.window.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn feed(lines: &[String]) -> Receiver<Next> {
        let (to, from) = channel();
        read_ahead(std::io::Cursor::new(lines.join("\n")), to).expect("a thread");
        from
    }

    /// Takes lines until there is no room for another, and frees the first then.
    fn lines_ahead(line_bytes: usize) -> usize {
        let lines = feed(&vec!["x".repeat(line_bytes); 2 * BYTES_MAX / line_bytes]);
        let mut ahead = Vec::new();
        loop {
            // There is room, so the reader does not wait for us.
            match lines.recv() {
                Ok(Next::Submit(line)) => ahead.push(line),
                _ => panic!("the input did not go on"),
            }
            let taken = ahead[0].place.window.taken();
            let is_full = taken.bytes + line_bytes > BYTES_MAX || taken.jobs == JOBS_MAX;
            // Lines that have their places may still be on their way to us.
            if is_full && taken.jobs == ahead.len() {
                break;
            }
        }
        assert!(lines.try_recv().is_err(), "it read beyond the bound");
        let count = ahead.len();
        ahead.remove(0);
        assert!(matches!(lines.recv(), Ok(Next::Submit(_))), "it did not go on");
        count
    }

    #[test]
    fn large_lines_are_bounded_by_their_bytes() {
        assert_eq!(lines_ahead(1 << 20), 64);
    }

    #[test]
    fn small_lines_are_bounded_by_their_number() {
        assert_eq!(lines_ahead(8 << 10), BYTES_MAX / (8 << 10));
        let lines = feed(&vec!["x".to_owned(); 2 * JOBS_MAX]);
        let ahead: Vec<_> = lines.iter().take(JOBS_MAX).collect();
        assert!(lines.try_recv().is_err(), "it read beyond the bound");
        drop(ahead);
        assert_eq!(lines.iter().filter(|next| matches!(next, Next::Submit(_))).count(), JOBS_MAX);
    }

    #[test]
    fn a_line_beyond_the_bound_goes_alone() {
        let lines = feed(&["x".repeat(BYTES_MAX + 1), "y".to_owned()]);
        let Ok(Next::Submit(first)) = lines.recv() else { panic!("no first line") };
        assert!(lines.try_recv().is_err(), "it read beyond the bound");
        drop(first);
        assert!(matches!(lines.recv(), Ok(Next::Submit(line)) if line.text == "y"));
    }
}
