//! Copies of stores.

use reductor_core::{Entry, OperationStore as _};
use reductor_store::{BackupError, BackupFile, DiskStore, Existing, RestoreError, restore};
use tempfile::TempDir;

use crate::conformance::Writer;
use crate::conformance::samples::commit;
use crate::script;

fn backup(store: &DiskStore) -> Vec<u8> {
    let mut stream = Vec::new();
    let summary = store.backup(&mut stream, &mut |_| {}).expect("a backup");
    assert_eq!(summary.bytes, stream.len() as u64);
    assert_eq!((summary.lanes, summary.operations, summary.jobs), (3, 222, 216));
    stream
}

#[test]
fn a_backup_restores_to_an_equal_store() {
    let (dir, other) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let store = script::write(dir.path());
    let stream = backup(&store);
    let expected = script::read(&store).expect("a readable store");
    restore(&mut &stream[..], other.path(), &mut |_| {}).expect("a store");
    let restored = DiskStore::open(other.path(), script::options()).expect("it opens");
    assert_eq!(script::read(&restored).expect("a readable store"), expected);
    assert_eq!(backup(&restored), stream);
    let report = restored.verify(&mut |_| {});
    assert_eq!((report.problems, report.lanes, report.operations), (Vec::new(), 3, 222));
    // And it goes on.
    let mut writer = Writer::new("new");
    writer.append(&restored, &[("global", "a")]);
    drop(restored);
    let error = restore(&mut &stream[..], other.path(), &mut |_| {}).expect_err("it is a store");
    assert!(matches!(error, RestoreError::Exists(_)), "{error}");
}

#[test]
fn a_backup_is_of_one_moment_while_the_store_goes_on() {
    let (dir, other) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let store = DiskStore::open(dir.path(), script::options()).expect("a new store");
    let mut writer = Writer::new("d");
    writer.append(&store, &[("global", "first")]);
    // Writes before each write of the stream.
    struct Busy<'a>(&'a DiskStore, Writer, Vec<u8>);
    impl std::io::Write for Busy<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let id = self.2.len().to_string();
            self.1.append(self.0, &[("global", &id)]);
            self.2.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut busy = Busy(&store, writer, Vec::new());
    let summary = store.backup(&mut busy, &mut |_| {}).expect("a backup");
    assert_eq!((summary.lanes, summary.operations), (1, 1));
    restore(&mut &busy.2[..], other.path(), &mut |_| {}).expect("a store");
    let restored = DiskStore::open(other.path(), script::options()).expect("it opens");
    let lane = busy.1.lane;
    assert_eq!(restored.position(&lane).expect("readable").expect("it is there").revision, 1);
    assert!(store.position(&lane).expect("readable").expect("it is there").revision > 5);
}

#[test]
fn a_damaged_or_cut_backup_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let stream = backup(&script::write(dir.path()));
    let refused = |stream: &[u8]| {
        let other = TempDir::new().expect("a directory");
        let error = restore(&mut &stream[..], other.path(), &mut |_| {}).expect_err("it is damaged");
        assert!(DiskStore::open(other.path(), script::options()).is_err() || matches!(error, RestoreError::NotABackup));
        error
    };
    assert!(matches!(refused(b""), RestoreError::NotABackup));
    assert!(matches!(refused(b"reductor backup 2\n"), RestoreError::NotABackup));
    for at in (18..stream.len()).step_by(stream.len() / 12) {
        assert!(matches!(refused(&stream[..at]), RestoreError::Damaged { .. }), "cut at {at}");
        let mut flipped = stream.clone();
        flipped[at] ^= 0x40;
        assert!(matches!(refused(&flipped), RestoreError::Damaged { .. }), "flipped at {at}");
    }
}

#[test]
fn a_backup_that_cannot_be_written_says_so() {
    let dir = TempDir::new().expect("a directory");
    let store = script::write(dir.path());
    let error = store.backup(&mut &mut [0; 100][..], &mut |_| {}).expect_err("there is no room");
    assert!(matches!(error, BackupError::Write(_)), "{error}");
    commit(&store, &[Entry::Discarded("none".into())]);
}

#[test]
fn a_backup_file_has_its_name_when_it_is_complete_and_leaves_nothing_else() {
    use std::io::Write as _;
    let dir = TempDir::new().expect("a directory");
    let target = dir.path().join("friday.backup");
    let names = || -> Vec<_> {
        let names = std::fs::read_dir(dir.path()).expect("a directory").map(|entry| entry.expect("one").file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    };
    // A process that was killed leaves this.
    std::fs::write(dir.path().join(".friday.backup.partial"), "the rest of another backup").expect("written");
    let made = BackupFile::create(&target).expect("it takes over what is left");
    let error = BackupFile::create(&target).expect_err("another one writes it");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    made.as_file().write_all(b"content").expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = made.as_file().metadata().expect("readable").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it is its owner's alone");
    }
    assert!(!target.exists());
    assert_eq!(made.finish(Existing::Keep).expect("it is complete"), 7);
    assert_eq!((names(), std::fs::read(&target).expect("readable")), (vec!["friday.backup".into()], b"content".into()));
    // Another one does not take its place unless it is told to; what is given up is gone.
    let made = BackupFile::create(&target).expect("a new one");
    let error = made.finish(Existing::Keep).expect_err("the target is there");
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    drop(BackupFile::create(&target).expect("a new one"));
    assert_eq!((names().len(), std::fs::read(&target).expect("readable")), (1, b"content".into()));
    let made = BackupFile::create(&target).expect("a new one");
    assert_eq!(made.finish(Existing::Replace).expect("it is complete"), 0);
    assert_eq!((names().len(), std::fs::read(&target).expect("readable")), (1, Vec::new()));
}

#[cfg(unix)]
#[test]
fn a_backup_file_is_not_written_through_a_link() {
    let dir = TempDir::new().expect("a directory");
    let other = dir.path().join("other");
    std::fs::write(&other, "content").expect("written");
    std::os::unix::fs::symlink(&other, dir.path().join(".friday.backup.partial")).expect("a link");
    BackupFile::create(dir.path().join("friday.backup")).expect_err("somebody laid a link there");
    assert_eq!(std::fs::read(&other).expect("readable"), b"content");
}

#[test]
fn a_store_counts_what_it_has() {
    let dir = TempDir::new().expect("a directory");
    let store = script::write(dir.path());
    let stats = store.stats().expect("numbers");
    assert_eq!((stats.lanes, stats.operations), (3, 222));
    assert_eq!((stats.unfinished, stats.dead_letters, stats.completed), (3, 3, 210));
    assert_eq!(stats.keyspaces.len(), 10);
    assert!(stats.disk_bytes > 0 && stats.free_bytes > 0 && stats.commits > 200);
}
