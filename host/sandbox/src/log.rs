//! How many lines guests may write to the log: in a call, in a job, and in a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time over which the lines of a plugin are counted.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is written.
    Written,
    /// It is dropped, and so is all that follows within this bound: the log has to say so.
    FirstDropped(Bound),
    /// It is dropped, and the log says so already.
    Dropped,
}

/// What bounds the number of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Call { lines_max: u32 },
    Job { lines_max: u32 },
    Second { lines_max: u32 },
}

/// Lines of the call at hand, and of the job that it belongs to.
#[derive(Debug, Default)]
pub(crate) struct LineCount {
    in_call: Count,
    in_job: Count,
}

impl LineCount {
    /// A call within a job that has written so many lines before.
    pub(crate) fn new(call_max: u32, job_max: u32, job_lines: u32) -> Self {
        Self { in_call: Count { lines: 0, max: call_max }, in_job: Count { lines: job_lines, max: job_max } }
    }

    /// Lines of the job so far. One more than it may have once a line was dropped, so that the
    /// log says so once and not at each call.
    pub(crate) fn of_job(&self) -> u32 {
        self.in_job.lines
    }

    /// Takes one more line of the call. It depends on the call alone, so a guest may be made to
    /// feel it: a line that is dropped here is not even read.
    pub(crate) fn take_in_call(&mut self) -> Line {
        let lines_max = self.in_call.max;
        self.in_call.take().or(Bound::Call { lines_max })
    }

    /// Takes one more line of the job, and of its plugin's second unless nobody hears the line.
    /// How much is left depends on other calls, so a guest must not feel it.
    pub(crate) fn take_in_job(&mut self, rate: Option<&LineRate>) -> Line {
        let lines_max = self.in_job.max;
        match self.in_job.take().or(Bound::Job { lines_max }) {
            Line::Written => rate.map_or(Line::Written, |rate| rate.take(Instant::now())),
            dropped => dropped,
        }
    }
}

/// Lines out of so many.
#[derive(Debug, Default)]
struct Count {
    lines: u32,
    max: u32,
}

enum Take {
    Room,
    FirstBeyond,
    Beyond,
}

impl Take {
    fn or(self, bound: Bound) -> Line {
        match self {
            Self::Room => Line::Written,
            Self::FirstBeyond => Line::FirstDropped(bound),
            Self::Beyond => Line::Dropped,
        }
    }
}

impl Count {
    fn take(&mut self) -> Take {
        // Stops one beyond the bound: that is what tells the first line that is dropped.
        match self.lines.saturating_sub(self.max) {
            0 => self.lines = self.lines.saturating_add(1),
            _ => return Take::Beyond,
        }
        if self.lines > self.max { Take::FirstBeyond } else { Take::Room }
    }
}

/// Lines per second of one plugin, all its documents together.
#[derive(Debug)]
pub(crate) struct LineRate {
    lines_max: u32,
    window: Mutex<Option<Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    count: Count,
}

impl LineRate {
    pub(crate) fn new(lines_max: u32) -> Self {
        Self { lines_max, window: Mutex::new(None) }
    }

    /// Takes one more line of the second that `now` is in.
    fn take(&self, now: Instant) -> Line {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Window { began: now, count: Count { lines: 0, max: self.lines_max } };
        let window = window.get_or_insert_with(fresh);
        if now.saturating_duration_since(window.began) >= RATE_WINDOW {
            *window = fresh();
        }
        window.count.take().or(Bound::Second { lines_max: self.lines_max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of so many lines: how many are written, how often something is said.
    fn outcome(lines: impl Iterator<Item = Line>) -> (usize, Vec<Bound>) {
        let (mut written, mut said) = (0, Vec::new());
        for line in lines {
            match line {
                Line::Written => written += 1,
                Line::FirstDropped(bound) => said.push(bound),
                Line::Dropped => {}
            }
        }
        (written, said)
    }

    fn take(count: &mut LineCount, rate: &LineRate) -> Line {
        match count.take_in_call() {
            Line::Written => count.take_in_job(Some(rate)),
            dropped => dropped,
        }
    }

    #[test]
    fn lines_beyond_those_of_a_call_are_dropped_and_the_log_says_so_once() {
        let rate = LineRate::new(1_000);
        for _ in 0..2 {
            let mut count = LineCount::new(3, 100, 0);
            let (written, said) = outcome((0..10).map(|_| take(&mut count, &rate)));
            assert_eq!((written, said), (3, vec![Bound::Call { lines_max: 3 }]));
            assert_eq!(count.of_job(), 3, "lines that the call drops are not the job's");
        }
    }

    #[test]
    fn lines_beyond_those_of_a_job_are_dropped_and_the_log_says_so_once_in_all_its_calls() {
        let (rate, mut job_lines) = (LineRate::new(1_000), 0);
        let (mut written, mut said) = (0, Vec::new());
        for _ in 0..10 {
            let mut count = LineCount::new(3, 7, job_lines);
            let of_call = outcome((0..3).map(|_| take(&mut count, &rate)));
            written += of_call.0;
            said.extend(of_call.1);
            job_lines = count.of_job();
        }
        assert_eq!((written, said), (7, vec![Bound::Job { lines_max: 7 }]));
    }

    #[test]
    fn lines_beyond_those_of_a_second_are_dropped_and_the_log_says_so_once_a_second() {
        let (rate, start) = (LineRate::new(5), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let second = |from_ms: u64| outcome((0..100).map(|step| rate.take(at(from_ms + step))));
        let full = (5, vec![Bound::Second { lines_max: 5 }]);
        assert_eq!(second(0), full);
        assert_eq!(second(500), (0, vec![]), "the same second");
        assert_eq!(second(1_000), full);
        assert_eq!(outcome((0..5).map(|step| rate.take(at(10_000 + step)))), (5, vec![]));
    }
}
