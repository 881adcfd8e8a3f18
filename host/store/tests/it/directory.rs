//! Which directories are opened, and by whom.

use std::fs;
use std::path::Path;
use std::time::Duration;

use reductor_core::{Entry, OperationStore as _, Pausing, StoreError, Timestamp};
use reductor_store::{DiskStore, OpenError, StoreOptions, Sync};
use tempfile::TempDir;

use crate::script;

fn refused(dir: &Path) -> OpenError {
    match DiskStore::open(dir, script::options()) {
        Ok(_) => panic!("{} is opened", dir.display()),
        Err(error) => error,
    }
}

#[test]
fn a_store_is_open_once() {
    let dir = TempDir::new().expect("a directory");
    let store = DiskStore::open(dir.path(), script::options()).expect("a new store");
    let error = refused(dir.path());
    let OpenError::InUse { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, Some(std::process::id()));
    assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
    drop(store);
    DiskStore::open(dir.path(), script::options()).expect("it is free");
}

#[test]
fn a_store_that_another_has_open_for_a_moment_is_waited_for() {
    let dir = TempDir::new().expect("a directory");
    let store = DiskStore::open(dir.path(), script::options()).expect("a new store");
    let options = StoreOptions { lock_wait: Duration::from_secs(60), ..script::options() };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| DiskStore::open(dir.path(), options).map(drop));
        // Whether it comes before this or after, it has the store in the end.
        drop(store);
        waiting.join().expect("no panic").expect("it is free now");
    });
}

#[test]
fn a_store_that_is_only_looked_at_is_not_written_to() {
    let dir = TempDir::new().expect("a directory");
    let expected = script::read(&script::write(dir.path())).expect("a readable store");
    let files = || {
        let mut files = Vec::new();
        let mut left = vec![dir.path().to_owned()];
        while let Some(next) = left.pop() {
            for entry in fs::read_dir(&next).expect("a directory") {
                let (path, metadata) = entry.map(|entry| (entry.path(), entry.metadata())).expect("an entry");
                let metadata = metadata.expect("readable");
                let content = metadata.is_file().then(|| fs::read(&path).expect("readable"));
                left.extend(metadata.is_dir().then(|| path.clone()));
                files.push((path, metadata.modified().expect("a time"), content));
            }
        }
        files.sort();
        files
    };
    let before = files();
    {
        let look = || DiskStore::open_read_only(dir.path(), script::options()).expect("it can be looked at");
        // Two at once, and nobody who writes.
        let (store, other) = (look(), look());
        assert!(matches!(refused(dir.path()), OpenError::InUse { .. }));
        assert_eq!(script::read(&store).expect("a readable store"), expected);
        assert_eq!(store.verify(&mut |_| {}).problems, []);
        let (mut stream, mut again) = (Vec::new(), Vec::new());
        store.backup(&mut stream, &mut |_| {}).expect("a backup");
        other.backup(&mut again, &mut |_| {}).expect("a backup");
        assert!(stream == again);
        let error = store.commit(&[Entry::Pausing(Pausing::Paused)]).expect_err("nothing is written");
        assert!(error.to_string().contains("it is open for looking only"), "{error}");
        assert!(store.prune(Timestamp { ms: 0 }).is_err() && store.settle().is_err() && store.check_room().is_err());
    }
    assert!(files() == before, "nothing in the directory has changed");
    let store = DiskStore::open(dir.path(), script::options()).expect("it can be written again");
    assert!(matches!(
        DiskStore::open_read_only(dir.path(), script::options()).map(drop),
        Err(OpenError::InUse { pid: Some(_), .. })
    ));
    drop(store);
    assert_eq!(script::read(&DiskStore::open(dir.path(), script::options()).expect("open")).expect("read"), expected);
}

#[test]
fn looking_makes_nothing_and_says_what_is_there() {
    let dir = TempDir::new().expect("a directory");
    let look = |dir: &Path| DiskStore::open_read_only(dir, script::options()).map(drop).expect_err("it is no store");
    assert!(matches!(look(&dir.path().join("absent")), OpenError::Missing(_)));
    assert!(!dir.path().join("absent").exists());
    assert!(matches!(look(dir.path()), OpenError::NotAStore(_)));
    fs::write(dir.path().join("file"), "").expect("written");
    assert!(matches!(look(&dir.path().join("file")), OpenError::NotADirectory(_)));
    fs::write(dir.path().join("restoring"), "").expect("written");
    assert!(matches!(look(dir.path()), OpenError::Unfinished(_)));
}

#[test]
fn what_the_system_refuses_is_told_once_with_its_cause() {
    use std::error::Error as _;
    let error = refused(Path::new("/proc/reductor-store"));
    let cause = error.source().expect("the system said why").to_string();
    assert!(!error.to_string().contains(&cause), "{error}: {cause}");
    let dir = TempDir::new().expect("a directory");
    let options = StoreOptions { reserve_bytes: u64::MAX, ..script::options() };
    let store = DiskStore::open(dir.path(), options).expect("a new store");
    let full = store.check_room().expect_err("nobody has so much room").to_string();
    assert!(full.starts_with("the disk is nearly full: "), "{full}");
    assert!(full.contains("iB are free") && full.contains("free some space"), "{full}");
}

#[cfg(unix)]
#[test]
fn a_directory_that_a_store_makes_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::new().expect("a directory");
    let made = dir.path().join("below").join("data");
    drop(DiskStore::open(&made, script::options()).expect("a new store"));
    assert_eq!(fs::metadata(&made).expect("it is there").permissions().mode() & 0o777, 0o700);
}

#[test]
fn what_is_no_store_stays_untouched() {
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "content").expect("written");
    assert!(matches!(refused(&file), OpenError::NotADirectory(_)));
    assert!(matches!(refused(dir.path()), OpenError::NotAStore(_)));
    let left: Vec<_> = fs::read_dir(dir.path()).expect("readable").map(|entry| entry.expect("one").path()).collect();
    assert_eq!(left, [file]);
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let dir = TempDir::new().expect("a directory");
    drop(script::write(dir.path()));
    fs::write(dir.path().join("version"), "reductor store 2\n").expect("written");
    assert!(matches!(refused(dir.path()), OpenError::Newer { found: 2, supported: 1, .. }));
    fs::write(dir.path().join("version"), "reductor store 1").expect("written");
    assert!(matches!(refused(dir.path()), OpenError::Damaged { .. }));
    fs::write(dir.path().join("version"), "reductor store 1\n").expect("written");
    DiskStore::open(dir.path(), script::options()).expect("it is itself again");
}

#[test]
fn a_store_that_was_not_made_to_the_end_is_made_again() {
    let dir = TempDir::new().expect("a directory");
    drop(script::write(dir.path()));
    // The version is written last.
    fs::remove_file(dir.path().join("version")).expect("removed");
    let store = DiskStore::open(dir.path(), script::options()).expect("a new store");
    assert_eq!(store.lanes(None, 9).expect("readable"), []);
}

#[test]
fn a_restore_that_did_not_finish_is_no_store() {
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join("restoring"), "").expect("written");
    assert!(matches!(refused(dir.path()), OpenError::Unfinished(_)));
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_of_the_system() {
    // Nobody can make directories there, root included.
    assert!(matches!(refused(Path::new("/proc/reductor-store")), OpenError::Io { .. }));
}

#[test]
fn with_less_than_the_reserve_no_jobs_are_accepted_and_writing_goes_on() {
    let dir = TempDir::new().expect("a directory");
    let options = StoreOptions { reserve_bytes: u64::MAX, ..script::options() };
    let store = DiskStore::open(dir.path(), options).expect("a new store");
    let error = store.check_room().expect_err("nobody has so much room");
    assert!(matches!(error, StoreError::DiskFull { reserve_bytes: u64::MAX, .. }), "{error}");
    crate::conformance::samples::commit(&store, &[reductor_core::Entry::Pausing(reductor_core::Pausing::Paused)]);
}

#[test]
fn the_loss_of_what_was_acknowledged_is_noticed() {
    // Whatever is written before an acknowledgement: an orderly end brings all of it to the disk.
    for sync in [Sync::Always, Sync::Never, Sync::Interval(Duration::from_secs(3600))] {
        let (dir, older) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
        let options = StoreOptions { sync, ..script::options() };
        let pause = |pausing| {
            let store = DiskStore::open(dir.path(), options.clone()).expect("it opens");
            crate::conformance::samples::commit(&store, &[reductor_core::Entry::Pausing(pausing)]);
        };
        pause(reductor_core::Pausing::Paused);
        script::copy(&dir.path().join("data"), &older.path().join("data"));
        pause(reductor_core::Pausing::Resumed);
        fs::remove_dir_all(dir.path().join("data")).expect("removed");
        script::copy(&older.path().join("data"), &dir.path().join("data"));
        let error = refused(dir.path());
        assert!(error.to_string().contains("the last 1 batches that were acknowledged are missing"), "{error}");
    }
}
