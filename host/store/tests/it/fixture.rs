//! A store that version 1 wrote stays readable.
//!
//! `tests/fixtures/store-v1` is what `script::write` wrote with the first version. When the format
//! changes, it stays as it is: the new version is given a fixture of its own
//! (`REDUCTOR_WRITE_FIXTURE=1 cargo test -p reductor-store fixture`, with the number below
//! raised), and all of them must read as what the script writes today. When the script changes,
//! it keeps what it did for older versions.

use std::fs;
use std::path::{Path, PathBuf};

use reductor_store::DiskStore;
use tempfile::TempDir;

use crate::script;

const NEWEST: u32 = 1;

fn fixture(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/store-v{version}"))
}

#[test]
fn stores_of_every_version_read_as_what_was_written() {
    if std::env::var_os("REDUCTOR_WRITE_FIXTURE").is_some() {
        write(NEWEST);
    }
    let dir = TempDir::new().expect("a directory");
    let expected = script::read(&script::write(dir.path())).expect("a readable store");
    for version in 1..=NEWEST {
        let copy = TempDir::new().expect("a directory");
        script::copy(&fixture(version), copy.path());
        let store = DiskStore::open(copy.path(), script::options()).expect("the fixture opens");
        let text = script::read(&store).expect("a readable store");
        let differs = text.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
        assert_eq!(differs, None, "version {version}");
        assert_eq!(text.lines().count(), expected.lines().count());
        assert_eq!(store.verify(&mut |_| {}).problems, []);
    }
}

/// What is written today is what the newest fixture has: otherwise the format has changed, and a
/// number has to.
#[test]
fn the_same_script_makes_the_same_store_today() {
    let dir = TempDir::new().expect("a directory");
    let store = script::write(dir.path());
    let mut today = Vec::new();
    store.backup(&mut today, &mut |_| {}).expect("a backup");
    let copy = TempDir::new().expect("a directory");
    script::copy(&fixture(NEWEST), copy.path());
    let mut then = Vec::new();
    let frozen = DiskStore::open(copy.path(), script::options()).expect("the fixture opens");
    frozen.backup(&mut then, &mut |_| {}).expect("a backup");
    assert!(today == then, "records are spelled otherwise than those of version {NEWEST}");
}

fn write(version: u32) {
    let dir = TempDir::new().expect("a directory");
    let store = script::write(dir.path());
    fs::write(fixture(version).with_extension("txt"), script::read(&store).expect("a readable store"))
        .expect("written");
    drop(store);
    let _ = fs::remove_dir_all(fixture(version));
    script::copy(dir.path(), &fixture(version));
    fs::write(fixture(version).join("lock"), "").expect("written");
}
