//! What is read when a store is opened.

use fjall::{Readable as _, Snapshot};
use reductor_core::JobRetention;

use crate::codec::{
    self, BadRecord, CompletedHeader, FailedHeader, LaneName, NameRecord, PendingHeader, RetentionRecord, StateRecord,
};
use crate::directory::{Acknowledged, Directory, Found};
use crate::engine::{Engine, EngineError, Expect, RETENTION_KEY, Remembered, STATE_KEY};
use crate::error::{OpenError, describe, into_io_error};
use crate::jobs::{Change, CompletedJob, DocumentTag, FailedJob, JobIndex, Unlisted, handles};
use crate::keys;
use crate::names::{FreshName, NameWriter, Names};
use crate::options::StoreOptions;
use crate::tail;
use crate::trees::{self, FilesError};

/// Completed jobs that are taken note of beyond the ones that are kept. Older ones are as good as
/// forgotten: a start must not take longer for them. Pruning remembers how they ended.
const COMPLETED_OVER_MAX: usize = 100_000;

/// What a store has in memory.
pub(crate) struct Loaded {
    pub(crate) state: StateRecord,
    pub(crate) names: Names,
    pub(crate) name_writer: NameWriter,
    pub(crate) jobs: JobIndex,
    pub(crate) retention: RetentionRecord,
}

/// Opens the engine, having looked at its files. Returns how many batches had reached the disk.
pub(crate) fn open_engine(
    directory: &Directory,
    found: Found,
    options: &StoreOptions,
) -> Result<(Engine, Acknowledged, u64), OpenError> {
    let io = |doing| move |error| OpenError::io(directory.path(), doing, error);
    let damaged = |problem| OpenError::Damaged { dir: directory.path().to_owned(), problem };
    let expect = match found {
        Found::Nothing => {
            directory.clear().map_err(io("clear it"))?;
            Expect::Nothing
        }
        Found::Store => {
            trees::check(&directory.stored_data()).map_err(|error| unusable(directory, error))?;
            Expect::Everything
        }
    };
    let (acknowledged, synced) = directory.acknowledged().map_err(io("read what was acknowledged"))?;
    if found == Found::Store {
        tail::check(&directory.data(), synced).map_err(|error| unusable(directory, error))?;
    }
    let engine = Engine::open(&directory.data(), options, expect).map_err(|error| match error {
        EngineError::Damaged(problem) => damaged(problem),
        EngineError::Engine(fjall::Error::Locked) => OpenError::InUse { dir: directory.path().to_owned(), pid: None },
        EngineError::Engine(error) => match into_io_error(error) {
            Ok(error) if !matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof) => {
                io("open its files")(error)
            }
            Ok(error) => damaged(error.to_string()),
            Err(error) => damaged(describe(&error)),
        },
    })?;
    Ok((engine, acknowledged, synced))
}

fn unusable(directory: &Directory, error: FilesError) -> OpenError {
    match error {
        FilesError::Damaged(problem) => OpenError::Damaged { dir: directory.path().to_owned(), problem },
        FilesError::Io(error) => OpenError::io(directory.path(), "read its files", error),
    }
}

/// Reads what is kept in memory.
pub(crate) fn load(engine: &Engine, directory: &Directory, retention: &JobRetention) -> Result<Loaded, OpenError> {
    let view = engine.database.snapshot();
    let damaged = |problem: String| OpenError::Damaged { dir: directory.path().to_owned(), problem };
    let load = || -> Result<Loaded, String> {
        let state = load_state(engine, &view)?;
        let remembered = load_retention(engine, &view)?;
        let (names, name_writer) = load_names(engine, &view)?;
        let jobs = load_jobs(engine, &view, &state, remembered.seed, retention)?;
        Ok(Loaded { state, names, name_writer, jobs, retention: remembered })
    };
    load().map_err(damaged)
}

fn load_state(engine: &Engine, view: &Snapshot) -> Result<StateRecord, String> {
    let problem = |problem: String| format!("its counters: {problem}");
    match view.get(&engine.meta, STATE_KEY).map_err(|error| problem(describe(&error)))? {
        None => Ok(StateRecord::default()),
        Some(value) => read(&value, |fields| codec::decode(fields)).map_err(|bad| problem(bad.to_string())),
    }
}

fn load_retention(engine: &Engine, view: &Snapshot) -> Result<RetentionRecord, String> {
    let problem = |problem: String| format!("what it remembers of jobs: {problem}");
    match view.get(&engine.meta, RETENTION_KEY).map_err(|error| problem(describe(&error)))? {
        None => Ok(RetentionRecord::new()),
        Some(_) if engine.remembered == Remembered::MadeNow => Err(problem("it is missing".to_owned())),
        Some(value) => read(&value, |fields| codec::decode(fields)).map_err(|bad| problem(bad.to_string())),
    }
}

fn load_names(engine: &Engine, view: &Snapshot) -> Result<(Names, NameWriter), String> {
    let (mut names, mut writer) = (Names::default(), NameWriter::default());
    for tag in [b't', b'p'] {
        let problem = |problem: String| format!("its names: {problem}");
        for (expected, guard) in view.prefix(&engine.meta, [tag]).enumerate() {
            let (key, value) = guard.into_inner().map_err(|error| problem(describe(&error)))?;
            let name = codec::name_number(&key)
                .and_then(|number| read(&value, |fields| Ok(codec::decode::<NameRecord<'_>>(fields)?.restore(number))));
            let name = name.map_err(|bad| problem(bad.to_string()))?;
            let (FreshName::Text(number, _) | FreshName::Plugin(number, _)) = &name;
            if *number as usize != expected {
                return Err(problem(format!("number {expected} is missing")));
            }
            names.learn(&name);
            writer.know(&name);
        }
    }
    Ok((names, writer))
}

fn load_jobs(
    engine: &Engine,
    view: &Snapshot,
    state: &StateRecord,
    seed: u64,
    retention: &JobRetention,
) -> Result<JobIndex, String> {
    let mut jobs = JobIndex::new(seed);
    jobs.set_commits(state.commits);
    for guard in view.iter(&engine.pending) {
        let change = journal_record(guard, "an unfinished job", |order, fields| {
            // The document's id is what follows the header in the record.
            let ((header, document), _): ((PendingHeader<'_>, &str), _) = codec::decode_first(fields)?;
            let document = DocumentTag::of(seed, document);
            Ok(Change::Accepted { order, handles: handles(seed, header.id, header.key), document })
        })?;
        jobs.apply(change);
    }
    for guard in view.iter(&engine.failed) {
        let change = journal_record(guard, "a job that failed", |order, fields| {
            // The revision and the record of the journaled job follow the header.
            type Beginning<'a> = (FailedHeader<'a>, u64, PendingHeader<'a>, &'a str);
            let ((header, _, _, document), _): (Beginning<'_>, _) = codec::decode_first(fields)?;
            let FailedHeader { end, completed_at_ms, id, key } = header;
            let (handles, document) = (handles(seed, id, key), DocumentTag::of(seed, document));
            Ok(Change::Failed(order, FailedJob { end, completed_at_ms, handles, document }))
        })?;
        jobs.apply(change);
    }
    let completed_max = retention.completed_max.saturating_add(COMPLETED_OVER_MAX);
    let mut completed = Vec::new();
    for guard in view.range(&engine.completed, state.completed_from.to_be_bytes()..).rev().take(completed_max) {
        completed.push(journal_record(guard, "a job that completed", |end, fields| {
            completed_job(seed, end, fields).map(Change::Completed)
        })?);
    }
    if completed.len() == completed_max {
        jobs.set_unlisted(Unlisted::Older);
    }
    completed.into_iter().rev().for_each(|change| jobs.apply(change));
    Ok(jobs)
}

/// What the index has of a completed job.
pub(crate) fn completed_job(seed: u64, end: u64, fields: &[u8]) -> Result<CompletedJob, BadRecord> {
    let ((header, lane), _): ((CompletedHeader<'_>, LaneName<'_>), _) = codec::decode_first(fields)?;
    let CompletedHeader { order, id, key, completed_at_ms } = header;
    let document = match lane {
        LaneName::Known(number) => DocumentTag::of_lane(number),
        LaneName::Text { document, .. } => DocumentTag::of(seed, document),
    };
    Ok(CompletedJob { end, order, completed_at_ms, handles: handles(seed, id, key), document })
}

/// Reads the key and the beginning of a record of the journal.
fn journal_record(
    guard: fjall::Guard,
    what: &str,
    header: impl FnOnce(u64, &[u8]) -> Result<Change, BadRecord>,
) -> Result<Change, String> {
    let problem = |problem: String| format!("{what}: {problem}");
    let (key, value) = guard.into_inner().map_err(|error| problem(describe(&error)))?;
    let number = keys::number(&key).ok_or_else(|| problem("its key is not a number".to_owned()))?;
    read(&value, |fields| header(number, fields)).map_err(|bad| problem(bad.to_string()))
}

fn read<T>(value: &[u8], decode: impl FnOnce(&[u8]) -> Result<T, BadRecord>) -> Result<T, BadRecord> {
    decode(&codec::open(value)?)
}
