//! The shim does what it is told, where it is told.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::Result;
use reductor_faults::{Fault, Kind, Lasts, Shim, What};

fn fault(of: Kind, number: u64, lasts: Lasts, what: What) -> Fault {
    Fault { of, number, lasts, what }
}

fn toy(pattern: &str, dir: &Path, shim: &Shim) -> Result<Output> {
    let mut toy = Command::new(env!("CARGO_BIN_EXE_toy"));
    toy.arg(pattern).arg(dir).stderr(Stdio::piped());
    shim.watch(&mut toy)?;
    Ok(toy.output()?)
}

fn said(output: &Output) -> usize {
    output.stdout.iter().filter(|byte| **byte == b'\n').count()
}

#[test]
fn the_sync_that_is_to_fail_does() -> Result<()> {
    let dir = tempfile::tempdir()?;
    // The file and its directory are synced before the first record.
    let shim = Shim::new(dir.path()).fault(fault(Kind::Sync, 5, Lasts::Once, What::Eio));
    let output = toy("append-and-sync", dir.path(), &shim)?;
    assert_eq!(said(&output), 2);
    let message = String::from_utf8(output.stderr)?;
    assert!(message.contains("not synced") && message.contains("os error 5"), "{message}");
    Ok(())
}

#[test]
fn a_short_write_is_gone_on_with_until_the_disk_is_full() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let shim = Shim::new(dir.path()).fault(fault(Kind::Write, 2, Lasts::Once, What::Short)).fault(fault(
        Kind::Write,
        4,
        Lasts::FromThenOn,
        What::Enospc,
    ));
    let output = toy("append-and-sync", dir.path(), &shim)?;
    assert_eq!(said(&output), 2, "the second record took two writes");
    assert_eq!(std::fs::metadata(dir.path().join("log"))?.len(), 10_000);
    Ok(())
}

#[test]
fn a_process_is_killed_before_the_operation_that_is_named() -> Result<()> {
    use std::os::unix::process::ExitStatusExt as _;
    let dir = tempfile::tempdir()?;
    // A file is made, it and its directory are synced, and a record is written and synced.
    let shim = Shim::new(dir.path()).fault(fault(Kind::Any, 6, Lasts::Once, What::Kill));
    let output = toy("append-and-sync", dir.path(), &shim)?;
    assert_eq!(output.status.signal(), Some(9));
    assert_eq!(said(&output), 1);
    assert_eq!(std::fs::metadata(dir.path().join("log"))?.len(), 5_000);
    Ok(())
}

#[test]
fn a_failed_rename_leaves_the_old_file() -> Result<()> {
    let dir = tempfile::tempdir()?;
    // Each round makes a file and renames it.
    let shim = Shim::new(dir.path()).fault(fault(Kind::Change, 4, Lasts::Once, What::Eio));
    let output = toy("replace", dir.path(), &shim)?;
    assert_eq!(said(&output), 1);
    assert_eq!(std::fs::read(dir.path().join("current"))?, [b'a'; 5_000]);
    Ok(())
}

#[test]
fn what_is_done_elsewhere_is_left_alone() -> Result<()> {
    let (dir, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let shim = Shim::new(dir.path()).fault(fault(Kind::Any, 1, Lasts::FromThenOn, What::Eio));
    let output = toy("replace", elsewhere.path(), &shim)?;
    assert!(output.status.success());
    Ok(())
}
