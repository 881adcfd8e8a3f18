//! What every [`OperationStore`] promises, tested once for all implementations.
//!
//! Each function takes an empty store and panics where it breaks a promise. The macro at the
//! end makes a test of each. The module uses nothing but the public API, so that the tests of
//! another crate can include it by its path.

pub(crate) mod batches;
pub(crate) mod histories;
pub(crate) mod jobs;
pub(crate) mod samples;

use std::sync::{Arc, Barrier};

use reductor_core::{
    Action, ActionId, ActionType, Append, Branch, DocumentId, DocumentType, DuplicateCheck, Head, Json, LaneKey,
    Operation, OperationStore, PluginRef, Position, Scope, ScopeHead, ScopeState, StoreError, StoredOperation,
    Timestamp, TimestampText, operation_id, state_hash,
};

/// A branch as its writer knows it: makes appends that fit, for tests to spoil.
pub(crate) struct Writer {
    pub(crate) lane: LaneKey,
    pub(crate) head: Head,
}

impl Writer {
    pub(crate) fn new(document: &str) -> Self {
        let lane = LaneKey { document: DocumentId::from(document), branch: Branch::from(Branch::MAIN) };
        let document_type = DocumentType::from("test/list");
        Self { lane, head: Head { document_type, revision: 0, scopes: Vec::new(), plugin: None } }
    }

    /// An append of these actions, given as (scope, action id).
    pub(crate) fn next(&self, actions: &[(&str, &str)]) -> Append {
        let mut head = self.head.clone();
        let operations = actions.iter().map(|(scope, id)| record(&self.lane, &mut head, scope, id)).collect();
        Append {
            lane: self.lane.clone(),
            expected_revision: self.head.revision,
            operations,
            head,
            duplicate_check: DuplicateCheck::ByStore,
        }
    }

    /// Makes and appends it, and goes on from there.
    pub(crate) fn append(&mut self, store: &dyn OperationStore, actions: &[(&str, &str)]) -> Append {
        let append = self.next(actions);
        store.append(append.clone()).expect("an append that fits");
        self.head = append.head.clone();
        append
    }

    /// Asserts that the store refuses the append for this reason, and changes nothing.
    fn misfit(&self, store: &dyn OperationStore, append: Append, reason: &str) {
        let before = read_all(store, &self.lane);
        let error = store.append(append).expect_err(reason);
        assert!(matches!(&error, StoreError::Misfit { problem, .. } if problem.contains(reason)), "{error}");
        assert_eq!(read_all(store, &self.lane), before, "nothing was appended");
    }
}

fn record(lane: &LaneKey, head: &mut Head, scope: &str, id: &str) -> StoredOperation {
    let (scope, id) = (Scope::from(scope), ActionId::from(id));
    let json: Arc<[u8]> = format!("\"{id}\"").into_bytes().into();
    let hash = state_hash(&json);
    let state = ScopeState { scope: scope.clone(), json };
    let at = head.scopes.iter().position(|head| head.state.scope == scope).unwrap_or_else(|| {
        head.scopes.push(ScopeHead { next_index: 0, state: state.clone(), hash: hash.clone() });
        head.scopes.len() - 1
    });
    let index = head.scopes[at].next_index;
    head.scopes[at] = ScopeHead { next_index: index + 1, state, hash: hash.clone() };
    let timestamp_utc_ms = TimestampText::from(Timestamp { ms: 0 });
    let operation = Operation {
        id: operation_id(lane, &scope, &id),
        index,
        skip: 0,
        timestamp_utc_ms: timestamp_utc_ms.clone(),
        hash,
        error: None,
        action: Arc::new(Action {
            id,
            action_type: ActionType::from("SET"),
            timestamp_utc_ms,
            input: Json::null(),
            scope,
            context: None,
        }),
    };
    head.revision += 1;
    StoredOperation { operation, sequence: head.revision - 1, plugin: Arc::new(plugin(1)) }
}

/// A revision of the plugin of every test.
pub(crate) fn plugin(version: u32) -> PluginRef {
    PluginRef { document_type: DocumentType::from("test/list"), version, digest: format!("sha256:{version}").into() }
}

fn read_all(store: &dyn OperationStore, lane: &LaneKey) -> (Option<Position>, Vec<StoredOperation>) {
    let position = store.position(lane).expect("a readable position");
    (position, store.operations(lane, 0, usize::MAX).expect("readable operations"))
}

fn find(store: &dyn OperationStore, lane: &LaneKey, scope: &str, action: &str) -> Option<StoredOperation> {
    store.operation_of(lane, &Scope::from(scope), &ActionId::from(action)).expect("a readable index")
}

pub(crate) fn a_branch_that_was_never_written_has_nothing(store: &dyn OperationStore) {
    let lane = Writer::new("d").lane;
    assert_eq!(read_all(store, &lane), (None, Vec::new()));
    assert_eq!(find(store, &lane, "global", "a"), None);
}

pub(crate) fn what_was_appended_can_be_read_at_once(store: &dyn OperationStore) {
    let mut writer = Writer::new("d");
    let first = writer.append(store, &[("document", "create"), ("global", "a")]);
    assert_eq!(read_all(store, &writer.lane), (Some(first.head.position()), first.operations.clone()));
    let second = writer.append(store, &[("global", "b"), ("local", "a")]);
    let all: Vec<_> = first.operations.into_iter().chain(second.operations).collect();
    assert_eq!(read_all(store, &writer.lane), (Some(second.head.position()), all));
}

pub(crate) fn operations_are_read_by_range(store: &dyn OperationStore) {
    let mut writer = Writer::new("d");
    writer.append(store, &[("global", "a"), ("local", "b"), ("global", "c")]);
    writer.append(store, &[("global", "d")]);
    let sequences = |from, limit| -> Vec<u64> {
        let page = store.operations(&writer.lane, from, limit).expect("readable operations");
        page.iter().map(|stored| stored.sequence).collect()
    };
    assert_eq!(sequences(0, 2), [0, 1]);
    assert_eq!(sequences(1, 2), [1, 2]);
    assert_eq!(sequences(3, 9), [3]);
    assert_eq!(sequences(4, 9), [0; 0]);
    assert_eq!(sequences(u64::MAX, 9), [0; 0]);
    assert_eq!(sequences(0, 0), [0; 0]);
}

pub(crate) fn an_action_is_found_in_its_own_stream(store: &dyn OperationStore) {
    let mut writer = Writer::new("d");
    let append = writer.append(store, &[("global", "a"), ("local", "a"), ("local", "b")]);
    assert_eq!(find(store, &writer.lane, "global", "a").as_ref(), append.operations.first());
    assert_eq!(find(store, &writer.lane, "local", "a").as_ref(), append.operations.get(1));
    assert_eq!(find(store, &writer.lane, "global", "b"), None);
    assert_eq!(find(store, &Writer::new("e").lane, "global", "a"), None);
}

pub(crate) fn branches_do_not_disturb_one_another(store: &dyn OperationStore) {
    let (mut one, mut other) = (Writer::new("d"), Writer::new("d"));
    other.lane.branch = Branch::from("draft");
    one.append(store, &[("global", "a")]);
    one.append(store, &[("global", "b")]);
    let append = other.append(store, &[("global", "a")]);
    assert_eq!(read_all(store, &other.lane), (Some(append.head.position()), append.operations));
    assert_eq!(read_all(store, &one.lane).1.len(), 2);
}

pub(crate) fn a_writer_who_is_behind_or_ahead_is_refused(store: &dyn OperationStore) {
    let mut writer = Writer::new("d");
    let conflict = |writer: &Writer, expected, found| {
        let before = read_all(store, &writer.lane);
        let append = Append { expected_revision: expected, ..writer.next(&[("global", "x")]) };
        let error = store.append(append).expect_err("the revision is another");
        assert_eq!(error, StoreError::RevisionConflict { lane: writer.lane.clone(), expected, found });
        assert_eq!(read_all(store, &writer.lane), before, "nothing was appended");
    };
    conflict(&writer, 1, 0);
    writer.append(store, &[("global", "a"), ("global", "b")]);
    conflict(&writer, 0, 2);
    conflict(&writer, 1, 2);
    conflict(&writer, 3, 2);
}

pub(crate) fn indices_and_sequences_go_on_without_a_gap(store: &dyn OperationStore) {
    let mut writer = Writer::new("d");
    writer.append(store, &[("global", "a")]);
    for index in [0, 2] {
        let mut append = writer.next(&[("global", "b")]);
        append.operations[0].operation.index = index;
        writer.misfit(store, append, "its index is not the next of its scope");
    }
    let mut append = writer.next(&[("local", "b")]);
    append.operations[0].operation.index = 1;
    writer.misfit(store, append, "its index is not the next of its scope");
    for sequence in [0, 2] {
        let mut append = writer.next(&[("global", "b")]);
        append.operations[0].sequence = sequence;
        writer.misfit(store, append, "its sequence is not the next");
    }
}

pub(crate) fn an_action_is_in_its_stream_only_once(store: &dyn OperationStore) {
    let mut writer = Writer::new("d");
    writer.append(store, &[("global", "a")]);
    writer.misfit(store, writer.next(&[("global", "a")]), "its action is in the log already");
    writer.misfit(store, writer.next(&[("local", "b"), ("local", "b")]), "its action is in the log already");
}

pub(crate) fn an_append_is_all_or_nothing(store: &dyn OperationStore) {
    let mut writer = Writer::new("d");
    let spoiled = |writer: &Writer| {
        let mut append = writer.next(&[("global", "x"), ("local", "y"), ("global", "z")]);
        append.operations[2].operation.index += 1;
        append
    };
    writer.misfit(store, spoiled(&writer), "its index is not the next of its scope");
    writer.append(store, &[("global", "a")]);
    writer.misfit(store, spoiled(&writer), "its index is not the next of its scope");
    assert_eq!(find(store, &writer.lane, "global", "x"), None);
    writer.append(store, &[("global", "x")]);
}

pub(crate) fn one_of_two_appends_at_the_same_revision_wins(store: &dyn OperationStore) {
    let mut writer = Writer::new("d");
    for round in 0..RACES {
        let winner = race(store, &writer, &round.to_string());
        writer.head = winner.head;
    }
    assert_eq!(read_all(store, &writer.lane).1.len(), RACES);
}

pub(crate) fn one_of_two_who_create_a_document_wins(store: &dyn OperationStore) {
    const DOCUMENTS: usize = 2_000;
    let start = &Barrier::new(2);
    let create = |name: &'static str| {
        move || {
            let append = |document: usize| Writer::new(&document.to_string()).next(&[("global", name)]);
            let appends: Vec<_> = (0..DOCUMENTS).map(append).collect();
            start.wait();
            appends.into_iter().map(|append| store.append(append).is_ok()).collect::<Vec<_>>()
        }
    };
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(create("theirs"));
        (create("ours")(), theirs.join().expect("a store does not panic"))
    });
    for (document, (ours, theirs)) in ours.into_iter().zip(theirs).enumerate() {
        assert_ne!(ours, theirs, "document {document} has one creator");
        let lane = Writer::new(&document.to_string()).lane;
        let found = |name| find(store, &lane, "global", name).is_some();
        assert_eq!((found("ours"), found("theirs")), (ours, theirs));
    }
}

const RACES: usize = 50;

/// Lets several threads append at the same revision. Returns what the only winner appended.
fn race(store: &dyn OperationStore, writer: &Writer, name: &str) -> Append {
    const WRITERS: usize = 4;
    let start = &Barrier::new(WRITERS);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let attempt = |number: usize| {
            let append = writer.next(&[("global", &format!("{name}-{number}"))]);
            scope.spawn(move || {
                start.wait();
                store.append(append.clone()).map(|()| append)
            })
        };
        let threads: Vec<_> = (0..WRITERS).map(attempt).collect();
        threads.into_iter().map(|thread| thread.join().expect("a store does not panic")).collect()
    });
    let (mut won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert!(lost.iter().all(|outcome| matches!(outcome, Err(StoreError::RevisionConflict { .. }))), "{lost:?}");
    let winner = won.pop().expect("one wins").expect("a winner appended");
    assert_eq!(won.len(), 0, "only one wins");
    assert_eq!(store.position(&writer.lane).expect("a readable position"), Some(winner.head.position()));
    winner
}

/// Makes a test of every promise. `$make` makes an empty store that keeps ended jobs as it is
/// told.
macro_rules! conformance_tests {
    ($make:expr) => {
        $crate::conformance::conformance_tests! {
            $make,
            a_branch_that_was_never_written_has_nothing,
            what_was_appended_can_be_read_at_once,
            operations_are_read_by_range,
            an_action_is_found_in_its_own_stream,
            branches_do_not_disturb_one_another,
            a_writer_who_is_behind_or_ahead_is_refused,
            indices_and_sequences_go_on_without_a_gap,
            an_action_is_in_its_stream_only_once,
            an_append_is_all_or_nothing,
            one_of_two_appends_at_the_same_revision_wins,
            one_of_two_who_create_a_document_wins,
        }
        mod histories {
            $crate::conformance::conformance_tests! {
                in histories, $make,
                operations_come_back_as_they_were_given,
                every_operation_has_the_plugin_that_made_it,
                a_position_has_scopes_without_operations,
                an_action_comes_again_after_it_was_taken_back,
                an_action_that_counts_does_not_come_again,
                lanes_are_listed_in_the_order_of_their_keys,
                what_the_writer_has_looked_up_is_appended,
                a_snapshot_is_the_newest_that_is_not_later,
                a_snapshot_of_what_is_not_there_is_refused,
                a_long_history_can_be_read_from_anywhere,
            }
        }
        mod batches {
            $crate::conformance::conformance_tests! {
                in batches, $make,
                a_refused_entry_leaves_the_others,
                later_entries_of_a_batch_see_the_earlier_ones,
                a_refused_end_leaves_the_job_unfinished,
                an_empty_batch_changes_nothing,
            }
        }
        mod jobs {
            $crate::conformance::conformance_tests! {
                in jobs, $make,
                an_unknown_job_is_not_there,
                an_accepted_job_comes_back_as_it_was_given,
                unfinished_jobs_come_in_the_order_of_their_acceptance,
                failed_attempts_are_kept,
                a_completed_job_has_its_result,
                a_result_has_repeated_operations_and_creations,
                a_job_that_failed_is_a_dead_letter,
                a_dead_letter_is_retried_at_its_old_place,
                a_dead_letter_is_discarded,
                dispatched_jobs_are_accepted_with_the_end,
                a_job_can_be_accepted_and_end_in_one_batch,
                a_job_is_found_by_its_key_while_it_is_known,
                jobs_are_listed_by_what_is_asked,
                the_last_number_never_goes_back,
                pausing_is_kept,
                completed_jobs_are_pruned_by_number_and_age,
                dead_letters_are_pruned_by_number_and_age,
                a_prune_forgets_a_bounded_number_of_jobs,
                a_wall_clock_that_jumps_forward_forgets_nothing_at_once,
                the_outcome_of_a_job_outlives_its_result,
                outcomes_are_forgotten_by_number_and_age,
                a_failed_dependency_is_recorded_with_the_job,
                what_is_left_of_a_budget_is_what_the_latest_end_said,
                there_is_room,
            }
        }
    };
    (in $module:ident, $make:expr, $($promise:ident),+ $(,)?) => {
        $(#[test] fn $promise() { $crate::conformance::$module::$promise(&$make); })+
    };
    ($make:expr, $($promise:ident),+ $(,)?) => {
        $(#[test] fn $promise() {
            let retention = ::reductor_core::JobRetention::default();
            $crate::conformance::$promise(&$make(retention));
        })+
    };
}
pub(crate) use conformance_tests;

/// Makes an empty store that keeps ended jobs as it is told.
pub(crate) type Make<'a, S> = &'a dyn Fn(reductor_core::JobRetention) -> S;
