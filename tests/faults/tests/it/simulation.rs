//! The simulation of a loss of power, by patterns whose outcome is known.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use fastrand::Rng;
use reductor_faults::{Disk, Image, Inode, Mode, Op, Recording, Shim};

/// States that are looked at after every operation, in every mode.
const STATES: usize = 40;

/// A state after a loss of power, and how many rounds the process had told of.
struct Loss {
    mode: Mode,
    told: usize,
    image: Image,
}

impl Loss {
    fn file(&self, name: &str) -> Vec<u8> {
        self.image.file(name).unwrap_or_default()
    }
}

/// Has the toy run a pattern, and looks at losses of power after every operation.
fn losses(pattern: &str, mut look: impl FnMut(&Loss)) -> Result<()> {
    let (dir, log) = (tempfile::tempdir()?, tempfile::NamedTempFile::new()?);
    let mut disk = Disk::from_dir(dir.path())?;
    let mut toy = Command::new(env!("CARGO_BIN_EXE_toy"));
    toy.arg(pattern).arg(dir.path()).stdout(Stdio::null());
    Shim::new(dir.path()).log(log.path()).watch(&mut toy)?;
    ensure!(toy.status()?.success());
    let recording = Recording::read(log.path())?;
    ensure!(recording.ops.len() > 5);
    let mut rng = Rng::with_seed(7);
    for (number, op) in recording.ops.iter().enumerate() {
        disk.apply(op)?;
        let told = recording.said(number + 1).iter().filter(|byte| **byte == b'\n').count();
        for mode in Mode::ALL {
            for _ in 0..STATES {
                look(&Loss { mode, told, image: disk.after_power_loss(mode, &mut rng) });
            }
        }
    }
    let end = disk.after_power_loss(Mode::Everything, &mut rng);
    for path in end.paths() {
        assert_eq!(end.file(path), Some(std::fs::read(dir.path().join(path))?), "{path}");
    }
    Ok(())
}

fn record(round: usize) -> Vec<u8> {
    vec![b'a' + round as u8; 5_000]
}

#[test]
fn what_was_synced_is_never_lost() -> Result<()> {
    losses("append-and-sync", |loss| {
        let log = loss.file("log");
        let told: Vec<u8> = (0..loss.told).flat_map(record).collect();
        assert_eq!(log.get(..told.len()), Some(&told[..]), "{:?}", loss.mode);
        assert!(log.len() <= told.len() + 5_000);
    })
}

#[test]
fn what_was_not_synced_is_lost_torn_and_out_of_order() -> Result<()> {
    let (mut lost, mut torn, mut holes, mut whole) = (BTreeSet::new(), BTreeSet::new(), 0, BTreeSet::new());
    losses("append", |loss| {
        let (log, told) = (loss.file("log"), (0..loss.told).flat_map(record).collect::<Vec<u8>>());
        let mode = format!("{:?}", loss.mode);
        if log == told {
            whole.insert(mode);
            return;
        }
        if log.len() < told.len() {
            lost.insert(mode.clone());
        }
        if log.len() % 5_000 != 0 {
            torn.insert(mode.clone());
        }
        if log.contains(&0) {
            assert!(matches!(loss.mode, Mode::Harsh | Mode::Standard), "data are written before the length");
            holes += 1;
        }
    })?;
    assert!(whole.contains("Everything"));
    assert_eq!(lost.into_iter().collect::<Vec<_>>(), ["Harsh", "Ordered", "Standard", "Synced"]);
    assert!(torn.contains("Harsh") && holes > 0);
    Ok(())
}

#[test]
fn a_file_that_is_replaced_as_it_should_be_is_the_old_or_the_new_one() -> Result<()> {
    losses("replace", |loss| {
        let current = loss.file("current");
        let older = loss.told.checked_sub(1).map_or_else(Vec::new, record);
        assert!(current == older || current == record(loss.told), "{:?} after {}", loss.mode, loss.told);
    })
}

#[test]
fn a_file_that_was_not_synced_before_its_rename_may_be_empty() -> Result<()> {
    let mut broken = 0;
    losses("replace-without-sync", |loss| {
        let current = loss.file("current");
        if loss.told > 0 && current != record(loss.told - 1) && current != record(loss.told) {
            assert_ne!(loss.mode, Mode::Everything);
            broken += 1;
        }
    })?;
    assert!(broken > 0);
    Ok(())
}

#[test]
fn a_rename_may_be_lost_while_its_directory_was_not_synced() -> Result<()> {
    let mut lost = BTreeSet::new();
    losses("replace-without-sync-of-directory", |loss| {
        if loss.told > 0 && loss.file("current") != record(loss.told - 1) && loss.file("current") != record(loss.told) {
            lost.insert(format!("{:?}", loss.mode));
        }
    })?;
    assert_eq!(lost.into_iter().collect::<Vec<_>>(), ["Harsh", "Ordered", "Standard", "Synced"]);
    Ok(())
}

#[test]
fn the_name_of_a_file_is_synced_with_it_except_where_only_the_standard_holds() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut disk = Disk::from_dir(dir.path())?;
    let (parent, file) = (Inode(u64::MAX), Inode(u64::MAX - 1));
    disk.apply(&Op::MakeDir { inode: parent, path: "dir".to_owned() })?;
    disk.apply(&Op::Create { inode: file, path: "dir/file".to_owned() })?;
    disk.apply(&Op::Sync { inode: file })?;
    let mut rng = Rng::with_seed(1);
    let mut there =
        |mode| (0..100).filter(|_| disk.after_power_loss(mode, &mut rng).file("dir/file").is_some()).count();
    assert_eq!((there(Mode::Ordered), there(Mode::Harsh)), (100, 100));
    assert!((1..100).contains(&there(Mode::Standard)));
    Ok(())
}

#[test]
fn what_was_cut_off_does_not_come_back_once_the_file_has_grown_again() -> Result<()> {
    let mut lengths = BTreeSet::new();
    losses("overwrite", |loss| {
        let file = loss.file("file");
        match loss.told {
            0 => {}
            1 => {
                assert!([5_000, 20_000].contains(&file.len()), "{}", file.len());
                assert!(file[..1_000].iter().all(|byte| *byte == b'a'));
                // Once it was cut, there are zeros or what was written since; never both old and
                // new in a unit that the disk writes whole.
                if file.len() == 20_000 && file[10_000..].contains(&0) {
                    assert!(!file[10_000..].contains(&b'a'));
                    assert!(!file[5_000..10_000].contains(&b'a'));
                }
                lengths.insert(file.len());
            }
            _ => {
                let expected = [vec![b'a'; 1_000], vec![b'b'; 9_000], vec![0; 10_000]].concat();
                assert_eq!(file, expected, "{:?}", loss.mode);
            }
        }
    })?;
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [5_000, 20_000]);
    Ok(())
}

#[test]
fn a_sync_that_succeeds_after_one_that_failed_does_not_bring_back_what_was_given_up() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut disk = Disk::from_dir(dir.path())?;
    let inode = Inode(u64::MAX);
    let write = |at, byte| Op::Write { inode, at, data: vec![byte; 4096].into() };
    let root = Inode(std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(dir.path())?));
    let made = Op::Create { inode, path: "file".to_owned() };
    let ops = [made, Op::Sync { inode: root }, write(0, b'a'), write(4096, b'a'), Op::SyncFailed { inode }];
    ops.iter().try_for_each(|op| disk.apply(op))?;
    for op in [write(4096, b'b'), Op::Sync { inode }] {
        disk.apply(&op)?;
    }
    let mut rng = Rng::with_seed(1);
    let mut first_pages = BTreeSet::new();
    for _ in 0..100 {
        let file = disk.after_power_loss(Mode::Harsh, &mut rng).file("file").unwrap_or_default();
        assert_eq!(file[4096..], [b'b'; 4096], "it was written again and synced");
        first_pages.insert(file[..4096].to_vec());
    }
    assert!(first_pages.contains(&vec![b'a'; 4096]) && first_pages.contains(&vec![0; 4096]));
    Ok(())
}
