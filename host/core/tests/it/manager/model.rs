//! A manager with one worker as a model, too simple to be wrong.
//!
//! Between two calls everything has ended that could. So the model needs no order of lanes:
//! going once through the jobs that wait, in the order they were accepted, finds all that end.

use std::collections::BTreeSet;

use reductor_core::{Phase, Stop};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Good,
    Bad,
    /// Fails once and succeeds after a backoff.
    Flaky,
    Held,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Succeeded,
    Rejected,
    Cancelled,
    GivenBack {
        attempts: u32,
    },
    /// Because the job of this number failed.
    Dependency(usize),
}

#[derive(Clone, Debug)]
pub(super) struct ModelJob {
    pub(super) document: usize,
    pub(super) kind: Kind,
    pub(super) depends_on: Option<usize>,
    pub(super) attempts: u32,
    pub(super) end: Option<End>,
}

pub(super) struct Model {
    pub(super) phase: Phase,
    pub(super) jobs: Vec<ModelJob>,
    /// The job that keeps the worker.
    pub(super) held: Option<usize>,
    /// Documents whose first job backs off.
    pub(super) resting: BTreeSet<usize>,
    pub(super) now_ms: u64,
    pub(super) started_ms: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) last_ended_ms: Option<u64>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Stopped,
            jobs: Vec::new(),
            held: None,
            resting: BTreeSet::new(),
            now_ms: 0,
            started_ms: 0,
            succeeded: 0,
            failed: 0,
            last_ended_ms: None,
        }
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = usize> {
        (0..self.jobs.len()).filter(|job| self.jobs[*job].end.is_none() && self.held != Some(*job))
    }

    pub(super) fn end(&mut self, job: usize, end: End) {
        self.jobs[job].end = Some(end);
        let (succeeded, failed) = match end {
            End::Succeeded => (1, 0),
            End::Rejected | End::Dependency(_) | End::Cancelled => (0, 1),
            End::GivenBack { .. } => return,
        };
        self.succeeded += succeeded;
        self.failed += failed;
        self.last_ended_ms = Some(self.now_ms);
    }

    /// Runs what can run. Returns the jobs that have failed for a moment.
    pub(super) fn run(&mut self) -> Vec<usize> {
        let mut back_off = Vec::new();
        if self.phase != Phase::Running || self.held.is_some() {
            return back_off;
        }
        let mut blocked = self.resting.clone();
        for job in self.waiting().collect::<Vec<_>>() {
            let ModelJob { document, kind, depends_on, attempts, .. } = self.jobs[job].clone();
            if blocked.contains(&document) {
                continue;
            }
            match depends_on.map(|dependency| (dependency, self.jobs[dependency].end)) {
                Some((_, None)) => {
                    blocked.insert(document);
                    continue;
                }
                Some((_, Some(End::Succeeded))) | None => {}
                Some((dependency, Some(_))) => {
                    self.end(job, End::Dependency(dependency));
                    continue;
                }
            }
            self.jobs[job].attempts += 1;
            match kind {
                Kind::Flaky if attempts == 0 => {
                    blocked.insert(document);
                    self.resting.insert(document);
                    back_off.push(job);
                }
                Kind::Good | Kind::Flaky => self.end(job, End::Succeeded),
                Kind::Bad => self.end(job, End::Rejected),
                Kind::Held => unreachable!("only a free worker is given one"),
            }
        }
        back_off
    }

    pub(super) fn give_back_all(&mut self) {
        for job in self.waiting().chain(self.held).collect::<Vec<_>>() {
            let attempts = self.jobs[job].attempts;
            self.end(job, End::GivenBack { attempts });
        }
        self.held = None;
        self.resting.clear();
        self.phase = Phase::Stopped;
    }

    /// What the host says of a stop.
    pub(super) fn stop(&mut self, how: Stop) {
        match (self.phase, self.held, how) {
            (Phase::Stopped, ..) => {}
            (_, Some(_), Stop::Graceful) => self.phase = Phase::Stopping,
            (_, None, _) | (_, _, Stop::Interrupt) => self.give_back_all(),
        }
    }

    pub(super) fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.end(held, End::Succeeded);
            if self.phase == Phase::Stopping {
                self.give_back_all();
            }
        }
    }
}
