//! Reads job files: one submission a line, as JSON.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::Context as _;
use reductor_host::{
    Clock, DocumentType, Host, JobExecutorManager, LaneKey, Limits, NotWatched, OperationStore, Reducers, Refusal,
    StoreError, Submission, resolve_type,
};

/// Problems of a file that are told at once; more of them help nobody.
const PROBLEMS_MAX: usize = 10;
/// Bytes of a line: a job's actions at their largest would not fit, but a broken file should
/// not fill the memory.
const LINE_BYTES_MAX: u64 = 1 << 30;
/// Some editors begin a file with it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Checks submissions as the executor will, in a world where the jobs of earlier runs and earlier
/// lines have run.
pub(crate) struct Checker<'a> {
    manager: &'a JobExecutorManager,
    reducers: &'a Reducers,
    store: &'a dyn OperationStore,
    limits: Limits,
    /// What the unfinished jobs of earlier runs make of each lane.
    unfinished: HashMap<LaneKey, DocumentType>,
    /// What earlier lines make of each lane.
    lanes: HashMap<LaneKey, DocumentType>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(host: &'a Host) -> Result<Self, StoreError> {
        let (reducers, store) = (&**host.reducers(), &**host.store());
        let accepted = store.unfinished()?.into_iter().map(|journaled| journaled.accepted);
        let unfinished = accepted.map(|accepted| (accepted.job.lane(), accepted.document_type)).collect();
        Ok(Self {
            manager: host.manager(),
            reducers,
            store,
            limits: Limits::default(),
            unfinished,
            lanes: HashMap::new(),
        })
    }

    /// Reads a line and checks it.
    pub(crate) fn check(&mut self, line: &str) -> Result<Submission, Refusal> {
        let submission = Submission::from_json(line)?;
        let lane = submission.lane();
        let known = match self.lanes.get(&lane).or_else(|| self.unfinished.get(&lane)) {
            Some(document_type) => Some(document_type.clone()),
            None => self.store.position(&lane)?.map(|position| position.document_type),
        };
        let document_type = resolve_type(&lane.document, submission.document_type.as_ref(), known.as_ref())?;
        let reducer = self.reducers.serving(&document_type)?;
        submission.clone().admit(reducer.manifest(), &self.limits, Clock::system().now())?;
        self.check_dependencies(&submission)?;
        self.lanes.insert(lane, document_type);
        Ok(submission)
    }

    /// The jobs of a file have no ids before they run, so these are jobs of earlier runs.
    fn check_dependencies(&self, submission: &Submission) -> Result<(), Refusal> {
        let unknown = submission.depends_on.iter().enumerate().find_map(|(position, job)| {
            let error = self.manager.watch(job).err()?;
            Some(match error {
                NotWatched::Unknown(unknown) => Refusal::UnknownDependency { position, unknown },
                NotWatched::Store(error) => Refusal::Store(error),
            })
        });
        unknown.map_or(Ok(()), Err)
    }

    /// The lanes that lines so far go to, in the order of their names.
    pub(crate) fn lanes(&self) -> Vec<LaneKey> {
        let mut lanes: Vec<_> = self.lanes.keys().cloned().collect();
        lanes.sort();
        lanes
    }
}

/// Opens a job file.
pub(crate) fn open(path: &Path) -> anyhow::Result<File> {
    let unreadable = || format!("{} cannot be read", path.display());
    let file = File::open(path).with_context(unreadable)?;
    let is_dir = file.metadata().with_context(unreadable)?.is_dir();
    anyhow::ensure!(!is_dir, "{} is a directory; give a file of jobs", path.display());
    Ok(file)
}

/// Checks a whole input before anything of it runs, and keeps nothing of it. Returns how many jobs it
/// has.
pub(crate) fn check_all(name: &str, input: impl Read, checker: &mut Checker<'_>) -> anyhow::Result<usize> {
    let mut jobs = 0;
    read(name, input, checker, |_, _| jobs += 1)?;
    Ok(jobs)
}

/// The same, and keeps each submission with the number of its line.
pub(crate) fn read_all(
    name: &str,
    input: impl Read,
    checker: &mut Checker<'_>,
) -> anyhow::Result<Vec<(usize, Submission)>> {
    let mut submissions = Vec::new();
    read(name, input, checker, |number, submission| submissions.push((number, submission)))?;
    Ok(submissions)
}

fn read(
    name: &str,
    input: impl Read,
    checker: &mut Checker<'_>,
    mut take: impl FnMut(usize, Submission),
) -> anyhow::Result<()> {
    let (mut problems, mut more, mut malformed) = (Vec::new(), 0, false);
    for line in Lines::new(input) {
        let (number, text) = line.with_context(|| format!("{name} cannot be read"))?;
        match checker.check(&text) {
            Ok(submission) => take(number, submission),
            // It is no fault of the file.
            Err(Refusal::Store(error)) => return Err(anyhow::Error::new(error).context("nothing was run")),
            Err(refusal) if problems.len() < PROBLEMS_MAX => {
                malformed |= matches!(refusal, Refusal::Malformed { .. });
                problems.push(located(name, number, &refusal));
            }
            Err(_) => more += 1,
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    if malformed {
        problems.push(
            "a job file has one submission a line, each a JSON object; `reductor run --help` shows one".to_owned(),
        );
    }
    anyhow::bail!("nothing was run\n{}", problems.join("\n"))
}

/// Says where in the input a refusal belongs.
pub(crate) fn located(name: &str, line: usize, refusal: &Refusal) -> String {
    format!("{name}:{line}: {refusal}")
}

/// The lines of a job file that are not blank, with their numbers from 1.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    number: usize,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), number: 0 }
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = std::io::Result<(usize, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut line = String::new();
            self.number += 1;
            match (&mut self.reader).take(LINE_BYTES_MAX).read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {
                    let start = if self.number == 1 { line.strip_prefix(BYTE_ORDER_MARK) } else { None };
                    let text = start.unwrap_or(&line).trim_end();
                    if !text.trim_start().is_empty() {
                        return Some(Ok((self.number, text.to_owned())));
                    }
                }
                Err(error) => {
                    let text = format!("line {}: {error}", self.number);
                    return Some(Err(std::io::Error::new(error.kind(), text)));
                }
            }
        }
    }
}
