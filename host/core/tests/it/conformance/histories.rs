//! What a store promises of operations, positions and snapshots.

use std::sync::Arc;

use reductor_core::{
    ActionId, Append, Branch, DocumentId, DuplicateCheck, Entry, Head, JobRetention, LaneKey, OperationStore, Scope,
    ScopeHead, ScopeState, StateHash, StoreError, StoredOperation, TimestampText, state_hash,
};

use super::samples::{commit, rich_action};
use super::{Make, Writer, find, plugin, read_all};

pub(crate) fn operations_come_back_as_they_were_given<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut writer = Writer::new("a:b ä\u{1}");
    let mut append = writer.next(&[("global", "a"), ("global", "b"), ("local", "c")]);
    let operation = &mut append.operations[0].operation;
    operation.action = Arc::new(rich_action("global", "a"));
    operation.timestamp_utc_ms = TimestampText::parse("1969-12-31T23:59:59Z").expect("a moment");
    operation.error = Some("it had no effect".to_owned());
    operation.skip = u64::MAX;
    operation.hash = StateHash::from("");
    append.operations[1].operation.action = Arc::new(rich_action("global", &"b".repeat(5_000)));
    store.append(append.clone()).expect("an append that fits");
    writer.head = append.head.clone();
    writer.append(&store, &[("global", "d")]);
    let stored = store.operations(&writer.lane, 0, 3).expect("readable operations");
    assert_eq!(stored, append.operations);
    let json = |stored: &[StoredOperation]| -> Vec<String> {
        stored.iter().map(|stored| serde_json::to_string(&stored.operation).expect("JSON")).collect()
    };
    assert_eq!(json(&stored), json(&append.operations));
    assert_eq!(find(&store, &writer.lane, "global", "a").as_ref(), append.operations.first());
}

pub(crate) fn every_operation_has_the_plugin_that_made_it<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut writer = Writer::new("d");
    for version in [1, 2, 2, 3, 1] {
        let mut append = writer.next(&[("global", &*writer.head.revision.to_string())]);
        append.operations[0].plugin = Arc::new(plugin(version));
        store.append(append.clone()).expect("an append that fits");
        writer.head = append.head;
    }
    let operations = store.operations(&writer.lane, 0, 9).expect("readable operations");
    let plugins: Vec<_> = operations.iter().map(|stored| (*stored.plugin).clone()).collect();
    assert_eq!(plugins, [1, 2, 2, 3, 1].map(plugin));
}

pub(crate) fn a_position_has_scopes_without_operations<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut writer = Writer::new("d");
    for scope in ["local", "global"] {
        let json: Arc<[u8]> = b"[]"[..].into();
        let state = ScopeState { scope: Scope::from(scope), json: json.clone() };
        writer.head.scopes.push(ScopeHead { next_index: 0, state, hash: state_hash(&json) });
    }
    for actions in [&[("document", "create")][..], &[("global", "a"), ("global", "b")], &[("document", "x")]] {
        let head = writer.append(&store, actions).head;
        assert_eq!(read_all(&store, &writer.lane).0, Some(head.position()));
    }
    // A scope that comes later, and one that changes without an operation.
    let mut append = writer.next(&[("global", "c"), ("new", "a")]);
    append.head.scopes[0].hash = StateHash::from("another");
    store.append(append.clone()).expect("an append that fits");
    assert_eq!(read_all(&store, &writer.lane).0, Some(append.head.position()));
    writer.head = append.head;
    let head = writer.append(&store, &[("local", "l"), ("global", "d")]).head;
    assert_eq!(read_all(&store, &writer.lane).0, Some(head.position()));
}

pub(crate) fn an_action_comes_again_after_it_was_taken_back<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut writer = Writer::new("d");
    writer.append(&store, &[("global", "a"), ("global", "b"), ("local", "b"), ("global", "c")]);
    // As a rebase does: `x` comes between, and `b` and `c` again after it.
    let mut append = writer.next(&[("global", "x"), ("global", "b"), ("global", "c")]);
    append.operations[0].operation.skip = 2;
    store.append(append.clone()).expect("b and c were taken back");
    writer.head = append.head.clone();
    assert_eq!(find(&store, &writer.lane, "global", "b").as_ref(), append.operations.get(1));
    assert_eq!(find(&store, &writer.lane, "global", "c").as_ref(), append.operations.get(2));
    let local = find(&store, &writer.lane, "local", "b").expect("another stream");
    assert_eq!(local.sequence, 2);
    writer.misfit(&store, writer.next(&[("global", "b")]), "its action is in the log already");
    writer.misfit(&store, writer.next(&[("global", "a")]), "its action is in the log already");
    // By its own skip, and twice in one append.
    let mut append = writer.next(&[("global", "c"), ("global", "c")]);
    append.operations.iter_mut().for_each(|stored| stored.operation.skip = 1);
    store.append(append.clone()).expect("c was taken back, and again");
    assert_eq!(find(&store, &writer.lane, "global", "c").as_ref(), append.operations.get(1));
    assert_eq!(store.operations(&writer.lane, 0, 99).expect("readable").len(), 9);
}

pub(crate) fn an_action_that_counts_does_not_come_again<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut writer = Writer::new("d");
    writer.append(&store, &[("global", "a"), ("global", "b"), ("global", "c")]);
    let again = |writer: &Writer, id: &str, skip: u64| {
        let mut append = writer.next(&[("global", id)]);
        append.operations[0].operation.skip = skip;
        append
    };
    for (id, skip) in [("a", 0), ("a", 2), ("b", 1)] {
        writer.misfit(&store, again(&writer, id, skip), "its action is in the log already");
    }
    // What took something back is taken back itself: what that took back counts again.
    let taking = again(&writer, "x", 3);
    store.append(taking.clone()).expect("x is new");
    writer.head = taking.head;
    let restoring = again(&writer, "y", 1);
    store.append(restoring.clone()).expect("y is new");
    writer.head = restoring.head;
    for skip in [0, 2] {
        writer.misfit(&store, again(&writer, "c", skip), "its action is in the log already");
    }
    store.append(again(&writer, "c", 3)).expect("its skip takes y, x and c back");
}

pub(crate) fn what_the_writer_has_looked_up_is_appended<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut writer = Writer::new("d");
    let looked_up = |append| Append { duplicate_check: DuplicateCheck::ByWriter, ..append };
    for actions in [&[("document", "create"), ("global", "a")][..], &[("global", "b"), ("local", "a")]] {
        let append = looked_up(writer.next(actions));
        store.append(append.clone()).expect("an append that fits");
        writer.head = append.head.clone();
        for stored in &append.operations {
            let action = &stored.operation.action;
            assert_eq!(find(&store, &writer.lane, action.scope.as_str(), action.id.as_str()).as_ref(), Some(stored));
        }
    }
    // By the skip of the new one: as a rebase that has looked for what it takes back.
    let mut append = looked_up(writer.next(&[("global", "b")]));
    append.operations[0].operation.skip = 1;
    store.append(append.clone()).expect("b was taken back");
    writer.head = append.head.clone();
    assert_eq!(find(&store, &writer.lane, "global", "b").as_ref(), append.operations.first());
    // All else is checked as ever, the actions of others too.
    let behind = Append { expected_revision: 2, ..looked_up(writer.next(&[("global", "x")])) };
    assert!(matches!(store.append(behind), Err(StoreError::RevisionConflict { expected: 2, found: 5, .. })));
    let mut gap = looked_up(writer.next(&[("global", "x")]));
    gap.operations[0].operation.index += 1;
    writer.misfit(&store, gap, "its index is not the next of its scope");
    writer.misfit(&store, writer.next(&[("local", "a")]), "its action is in the log already");
}

pub(crate) fn lanes_are_listed_in_the_order_of_their_keys<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut lanes = Vec::new();
    for (document, branch) in [("b", "main"), ("a", "main"), ("a", "draft"), ("a\0", "x"), ("ab", ""), ("ä", "main")] {
        let mut writer = Writer::new(document);
        writer.lane.branch = Branch::from(branch);
        writer.append(&store, &[("global", "a")]);
        lanes.push(writer.lane);
    }
    lanes.sort();
    let listed = |after: Option<&LaneKey>, limit| store.lanes(after, limit).expect("a readable list");
    assert_eq!(listed(None, 99), lanes);
    assert_eq!(listed(None, 2), lanes[..2]);
    assert_eq!(listed(Some(&lanes[1]), 2), lanes[2..4]);
    assert_eq!(listed(Some(&lanes[5]), 2), []);
    let absent = LaneKey { document: DocumentId::from("aa"), branch: Branch::from("main") };
    let after = lanes.partition_point(|lane| *lane < absent);
    assert_eq!(listed(Some(&absent), 99), lanes[after..]);
}

pub(crate) fn a_snapshot_is_the_newest_that_is_not_later<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut writer = Writer::new("d");
    let mut heads: Vec<Head> = vec![writer.head.clone()];
    for number in 0..300 {
        writer.append(&store, &[("global", &number.to_string())]);
        heads.push(writer.head.clone());
        if number == 170 {
            commit(&store, &[Entry::Snapshot { lane: writer.lane.clone(), head: Arc::new(writer.head.clone()) }]);
        }
    }
    for (revision, _) in heads.iter().enumerate() {
        if let Some(head) = store.snapshot(&writer.lane, revision as u64).expect("a readable snapshot") {
            assert!(head.revision <= revision as u64);
            assert_eq!(*head, heads[usize::try_from(head.revision).expect("a small number")]);
        }
    }
    let newest = store.snapshot(&writer.lane, u64::MAX).expect("a readable snapshot").expect("one by now");
    assert!(newest.revision + 64 > 300, "at most 64 operations lead from a snapshot to where it stands");
    commit(&store, &[Entry::Snapshot { lane: writer.lane.clone(), head: Arc::new(writer.head.clone()) }]);
    let newest = store.snapshot(&writer.lane, u64::MAX).expect("a readable snapshot");
    assert_eq!(newest.as_deref(), Some(&writer.head));
    assert_eq!(store.snapshot(&Writer::new("e").lane, u64::MAX).expect("readable"), None);
}

pub(crate) fn a_snapshot_of_what_is_not_there_is_refused<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let mut writer = Writer::new("d");
    writer.append(&store, &[("global", "a")]);
    let ahead = writer.next(&[("global", "b")]).head;
    let mut other = writer.head.clone();
    other.scopes[0].hash = StateHash::from("another");
    for (lane, head) in [(&writer.lane, ahead), (&writer.lane, other), (&Writer::new("e").lane, writer.head.clone())] {
        let entry = Entry::Snapshot { lane: lane.clone(), head: Arc::new(head) };
        let outcome = store.commit(&[entry]).expect("a batch that is written").remove(0);
        assert!(matches!(outcome, Err(StoreError::RevisionConflict { .. })), "{outcome:?}");
    }
    assert_eq!(read_all(&store, &Writer::new("e").lane).0, None);
}

pub(crate) fn a_long_history_can_be_read_from_anywhere<S: OperationStore>(make: Make<'_, S>) {
    let store = make(JobRetention::default());
    let (mut writer, mut other) = (Writer::new("d"), Writer::new("e"));
    let mut all = Vec::new();
    for round in 0..150 {
        let names = [format!("{round} a"), format!("{round} b")];
        let appends = [
            writer.next(&[("global", &names[0]), ("local", &names[0]), ("global", &names[1])]),
            other.next(&[("global", &names[0])]),
        ];
        commit(&store, &appends.clone().map(Entry::Append));
        let [append, others] = appends;
        all.extend(append.operations);
        (writer.head, other.head) = (append.head, others.head);
    }
    for from in (0..470).step_by(7) {
        let page = store.operations(&writer.lane, from as u64, 20).expect("readable operations");
        assert_eq!(page, all[from.min(all.len())..(from + 20).min(all.len())]);
    }
    for stored in &all {
        let action = &stored.operation.action;
        let found = store.operation_of(&writer.lane, &action.scope, &action.id).expect("a readable index");
        assert_eq!(found.as_ref(), Some(stored));
    }
    assert_eq!(store.operation_of(&writer.lane, &Scope::from("global"), &ActionId::from("x")).expect("readable"), None);
    assert_eq!(read_all(&store, &writer.lane).0, Some(writer.head.position()));
}
