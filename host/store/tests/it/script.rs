//! A store with some of everything, always the same; and all that can be read of a store, as text.

use std::path::Path;
use std::sync::Arc;

use reductor_core::{
    Entry, JobId, JobQuery, JobStatus, JournaledJob, OperationStore, Pausing, Scope, ScopeState, StoreError, Timestamp,
};
use reductor_store::{DiskStore, StoreOptions, Sync};

use crate::conformance::Writer;
use crate::conformance::samples::{commit, completed, failed, failed_attempt, rich_accepted, rich_action};

pub(crate) fn options() -> StoreOptions {
    StoreOptions {
        reserve_bytes: 0,
        lock_wait: std::time::Duration::ZERO,
        sync: Sync::Always,
        ..StoreOptions::default()
    }
}

/// A job that is the same in every run.
fn job(order: u64, writer: &Writer) -> JournaledJob {
    let mut journaled = rich_accepted(order, &writer.lane);
    journaled.accepted.job.id = JobId::from(format!("01890a5d-ac96-774b-bcce-{order:012}"));
    journaled.accepted.depends_on = vec![JobId::from("another")];
    journaled
}

/// Writes a store: some of it to tables, the rest only to the write-ahead file.
pub(crate) fn write(dir: &Path) -> DiskStore {
    let store = DiskStore::open(dir, options()).expect("a new store");
    let mut writers = ["a", "b", "ä:c"].map(Writer::new);
    writers[1].lane.branch = "draft".into();
    for (part, writer) in writers.iter_mut().enumerate() {
        writer.append(&store, &[("document", "create"), ("local", "first")]);
        for number in 0..70 {
            let order = (part * 100 + number + 1) as u64;
            let id = number.to_string();
            let mut append = writer.next(&[("global", &id)]);
            if number % 10 == 3 {
                append.operations[0].operation.action = Arc::new(rich_action("global", &id));
            }
            let operations: Vec<_> = append.operations.iter().map(|stored| stored.operation.clone()).collect();
            writer.head = append.head.clone();
            commit(&store, &[Entry::Ended(completed(job(order, writer), operations, Some(append)))]);
        }
        let mut append = writer.next(&[("global", "69"), ("global", "68")]);
        append.operations[0].operation.skip = 2;
        writer.head = append.head.clone();
        commit(&store, &[Entry::Append(append)]);
        let (waits, fails) = (job(part as u64 * 100 + 90, writer), job(part as u64 * 100 + 91, writer));
        let mut letter = failed(fails);
        let metadata = Arc::make_mut(&mut letter.result).metadata.as_mut().expect("it has some");
        metadata.failed_dependency = Some(JobId::from("the one that failed"));
        let attempt = Entry::AttemptFailed {
            job_id: waits.accepted.job.id.clone(),
            order: waits.order,
            attempt: failed_attempt(3),
            not_before: Timestamp { ms: 77 },
        };
        commit(&store, &[Entry::Accepted(waits), attempt, Entry::Ended(letter)]);
        if part < 2 {
            store.settle().expect("tables are written");
        }
    }
    let [first, ..] = &writers;
    let head = Arc::new(first.head.clone());
    commit(&store, &[Entry::Snapshot { lane: first.lane.clone(), head }, Entry::Pausing(Pausing::Paused)]);
    store
}

/// Everything that a store says, or the first error.
pub(crate) fn read(store: &dyn OperationStore) -> Result<String, StoreError> {
    let mut text = String::new();
    let mut line = |what: &dyn std::fmt::Debug| text.push_str(&format!("{what:?}\n"));
    for lane in store.lanes(None, usize::MAX)? {
        let position = store.position(&lane)?;
        line(&(&lane, &position));
        let revision = position.map_or(0, |position| position.revision);
        for stored in store.operations(&lane, 0, usize::MAX)? {
            line(&stored);
            let action = &stored.operation.action;
            let found = store.operation_of(&lane, &action.scope, &action.id)?;
            line(&found.map(|found| found.sequence));
        }
        for at in (0..=revision).step_by(16).chain([u64::MAX]) {
            let head = store.snapshot(&lane, at)?;
            line(&head.map(|head| (head.position(), head.snapshot().iter().map(text_of).collect::<Vec<_>>())));
        }
        line(&store.operation_of(&lane, &Scope::from("global"), &"absent".into())?);
    }
    for job in store.jobs(&JobQuery { status: None, document: None, after: 0, limit: usize::MAX })? {
        line(&job);
        line(&(store.job(job.job_id())?.as_ref() == Some(&job)));
        line(&store.job_of_key(&format!("key of {}", job.order()).into())?);
    }
    for status in [JobStatus::Pending, JobStatus::Completed, JobStatus::Failed] {
        let query = JobQuery { status: Some(status), document: None, after: 0, limit: usize::MAX };
        line(&store.jobs(&query)?.len());
    }
    line(&store.unfinished()?);
    line(&(store.last_order()?, store.pausing()?));
    Ok(text)
}

fn text_of(state: &ScopeState) -> String {
    String::from_utf8_lossy(&state.json).into_owned()
}

/// Copies a store that is not open. The write-ahead files end where what is in them does.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        if path.is_dir() {
            copy(&path, &target);
            continue;
        }
        let mut bytes = std::fs::read(&path).expect("a file");
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(end);
        }
        std::fs::write(target, bytes).expect("a file is written");
    }
}
