//! What is too large to be read again is not written.

use std::sync::Arc;

use reductor_core::{Action, Entry, Json, OperationStore as _, StoreError, StoredOperation};
use reductor_store::{DiskStore, StoreOptions};
use tempfile::TempDir;

use crate::conformance::Writer;
use crate::conformance::samples::{accepted, commit, completed, failed, failed_attempt, rich_action};
use crate::script;

const BYTES_MAX: usize = 64 << 10;

fn large_action(id: &str, bytes: usize) -> Action {
    let input = Json::parse(&format!("\"{}\"", "x".repeat(bytes))).expect("JSON");
    Action { input, ..rich_action("global", id) }
}

#[test]
fn a_job_that_could_not_be_read_again_is_refused_and_the_store_opens_again() {
    let dir = TempDir::new().expect("a directory");
    let options = StoreOptions { record_bytes_max: BYTES_MAX, ..script::options() };
    let store = DiskStore::open(dir.path(), options.clone()).expect("a new store");
    let mut writer = Writer::new("d");
    let small = |order| accepted(order, &Writer::new("e").lane, vec![large_action("a", 100)]);
    // Many actions of which none is too large, and one that is.
    let many = accepted(2, &writer.lane, (0..10).map(|at| large_action(&at.to_string(), 10_000)).collect());
    let one = accepted(3, &writer.lane, vec![large_action("a", BYTES_MAX)]);
    let mut large_append = writer.next(&[("global", "a"), ("global", "b")]);
    large_append.operations[1].operation.action = Arc::new(large_action("b", BYTES_MAX));
    let operations = |stored: &[StoredOperation]| stored.iter().map(|stored| stored.operation.clone()).collect();
    let ended = completed(small(4), operations(&large_append.operations), Some(large_append.clone()));
    let mut dispatching = completed(small(5), Vec::new(), None);
    dispatching.dispatched = vec![many.clone()];
    let batch = [
        Entry::Accepted(small(1)),
        Entry::Accepted(many.clone()),
        Entry::Accepted(one.clone()),
        Entry::Append(large_append),
        Entry::Ended(ended),
        Entry::Ended(dispatching),
        Entry::Ended(failed(one)),
        Entry::Accepted(small(6)),
    ];
    let outcomes = store.commit(&batch).expect("the batch is written");
    let too_large = |outcome: &Result<(), StoreError>| match outcome {
        Ok(()) => false,
        Err(StoreError::TooLarge { bytes, bytes_max, .. }) => {
            assert!(*bytes > *bytes_max && *bytes_max == BYTES_MAX as u64);
            true
        }
        Err(other) => panic!("{other}"),
    };
    let refused: Vec<_> = outcomes.iter().map(too_large).collect();
    assert_eq!(refused, [false, true, true, true, true, true, true, false]);
    let message = outcomes[1].as_ref().expect_err("it is refused").to_string();
    assert!(message.ends_with(", and a record at most 64 KiB"), "{message}");
    assert!(message.contains(many.accepted.job.id.as_str()), "{message}");
    // The lane is where it was, and goes on.
    assert_eq!(store.position(&writer.lane).expect("readable"), None);
    writer.append(&store, &[("global", "a")]);
    drop(store);
    let store = DiskStore::open(dir.path(), options).expect("the store opens again");
    assert_eq!(store.unfinished().expect("readable"), [small_as(&batch[0]), small_as(&batch[7])]);
    assert_eq!(store.verify(&mut |_| {}).problems, []);
}

fn small_as(entry: &Entry) -> reductor_core::JournaledJob {
    let Entry::Accepted(journaled) = entry else { panic!("it is none") };
    journaled.clone()
}

#[test]
fn a_job_that_grows_too_large_by_its_attempts_stays_as_it_was() {
    let dir = TempDir::new().expect("a directory");
    let options = StoreOptions { record_bytes_max: BYTES_MAX, ..script::options() };
    let store = DiskStore::open(dir.path(), options).expect("a new store");
    let job = accepted(1, &Writer::new("d").lane, vec![large_action("a", 40_000)]);
    commit(&store, &[Entry::Accepted(job.clone())]);
    let mut attempt = failed_attempt(1);
    attempt.error.error_message = "x".repeat(30_000);
    let not_before = reductor_core::Timestamp { ms: 1 };
    let entry = Entry::AttemptFailed { job_id: job.accepted.job.id.clone(), order: 1, attempt, not_before };
    let outcomes = store.commit(&[entry]).expect("the batch is written");
    assert!(matches!(outcomes[..], [Err(StoreError::TooLarge { .. })]), "{outcomes:?}");
    assert_eq!(store.unfinished().expect("readable"), [job]);
}
