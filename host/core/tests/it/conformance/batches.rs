//! What a store promises of batches.

use reductor_core::{Entry, JobRetention, OperationStore, Pausing, StoreError};

use super::samples::{accepted, commit, completed, rich_action};
use super::{Make, Writer, read_all};

pub(crate) fn a_refused_entry_leaves_the_others<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let writers: Vec<_> = ["a", "b", "c", "d"].map(Writer::new).into();
    let mut appends: Vec<_> = writers.iter().map(|writer| writer.next(&[("global", "x"), ("global", "y")])).collect();
    appends[1].expected_revision = 1;
    appends[1].head.revision = 3;
    appends[2].operations[1].operation.index = 7;
    let batch: Vec<_> = appends.iter().cloned().map(Entry::Append).chain([Entry::Pausing(Pausing::Paused)]).collect();
    let outcomes = store.commit(&batch).expect("a batch that is written");
    assert!(matches!(
        &outcomes[..],
        [Ok(()), Err(StoreError::RevisionConflict { .. }), Err(StoreError::Misfit { .. }), Ok(()), Ok(())]
    ));
    for (at, writer) in writers.iter().enumerate() {
        let written = [0, 3].contains(&at);
        assert_eq!(read_all(&store, &writer.lane).1.len(), if written { 2 } else { 0 });
    }
    assert_eq!(store.pausing().expect("readable"), Pausing::Paused);
}

pub(crate) fn later_entries_of_a_batch_see_the_earlier_ones<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut writer = Writer::new("d");
    let mut batch = Vec::new();
    for number in 0..130 {
        let append = writer.next(&[("global", &number.to_string())]);
        writer.head = append.head.clone();
        batch.push(Entry::Append(append));
    }
    batch.push(Entry::Append(writer.next(&[("global", "7")])));
    let mut again = writer.next(&[("global", "129")]);
    again.operations[0].operation.skip = 1;
    batch.push(Entry::Append(again.clone()));
    let outcomes = store.commit(&batch).expect("a batch that is written");
    let refused: Vec<_> =
        outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_err()).map(|(at, _)| at).collect();
    assert_eq!(refused, [130], "{:?}", outcomes[131]);
    let (position, operations) = read_all(&store, &writer.lane);
    assert_eq!((position, operations.len()), (Some(again.head.position()), 131));
    assert_eq!(operations.last(), again.operations.last());
}

pub(crate) fn a_refused_end_leaves_the_job_unfinished<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let writer = Writer::new("d");
    let journaled = accepted(1, &writer.lane, vec![rich_action("global", "a")]);
    commit(&store, &[Entry::Accepted(journaled.clone())]);
    let append = super::Append { expected_revision: 4, ..writer.next(&[("global", "a")]) };
    let operations = append.operations.iter().map(|stored| stored.operation.clone()).collect();
    let mut ended = completed(journaled.clone(), operations, Some(append));
    ended.dispatched = vec![accepted(2, &writer.lane, Vec::new())];
    let outcome = store.commit(&[Entry::Ended(ended)]).expect("a batch that is written").remove(0);
    assert!(matches!(outcome, Err(StoreError::RevisionConflict { .. })), "{outcome:?}");
    assert_eq!(store.unfinished().expect("a readable journal"), [journaled]);
    assert_eq!(read_all(&store, &writer.lane), (None, Vec::new()));
}

pub(crate) fn an_empty_batch_changes_nothing<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    commit(&store, &[]);
    assert_eq!(store.lanes(None, 9).expect("readable"), []);
    assert_eq!(store.last_order().expect("readable"), 0);
    assert_eq!(store.pausing().expect("readable"), Pausing::Resumed);
}
