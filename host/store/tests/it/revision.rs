//! Snapshots after a document has moved to another revision of its plugin.

use std::sync::Arc;

use reductor_core::{Entry, OperationStore as _, Scope};
use reductor_store::DiskStore;
use tempfile::TempDir;

use crate::conformance::samples::commit;
use crate::conformance::{Writer, plugin};
use crate::script::options;

/// A store with a document whose scope `local` was last changed by version 1 of its plugin, and whose
/// other scope by this version since. A snapshot has another state of `local` than its last operation.
fn written_anew_by(version: u32) -> (TempDir, DiskStore, Writer) {
    let dir = TempDir::new().expect("a directory");
    let store = DiskStore::open(dir.path(), options()).expect("a new store");
    let mut writer = Writer::new("d");
    writer.append(&store, &[("document", "create"), ("local", "a"), ("global", "b")]);
    let mut append = writer.next(&[("global", "c")]);
    append.operations[0].plugin = Arc::new(plugin(version));
    let local = append.head.scopes.iter_mut().find(|scope| scope.state.scope == Scope::from("local"));
    local.expect("it has the scope").state.json = Arc::from(&b"\"another\""[..]);
    append.head.plugin = Some(Arc::new(plugin(version)));
    store.append(append.clone()).expect("it fits");
    writer.head = append.head;
    commit(&store, &[Entry::Snapshot { lane: writer.lane.clone(), head: Arc::new(writer.head.clone()) }]);
    (dir, store, writer)
}

#[test]
fn a_state_that_another_revision_has_written_anew_is_right() {
    let (_dir, store, writer) = written_anew_by(2);
    assert_eq!(store.verify(&mut |_| {}).problems, []);
    let head = store.snapshot(&writer.lane, u64::MAX).expect("readable").expect("it is there");
    assert_eq!((head.position(), head.snapshot()), (writer.head.position(), writer.head.snapshot()));
}

#[test]
fn a_state_that_nobody_has_written_anew_is_damage() {
    let (_dir, store, _) = written_anew_by(1);
    let problems = store.verify(&mut |_| {}).problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].problem.contains("the state of scope local has another hash"), "{}", problems[0].problem);
}
