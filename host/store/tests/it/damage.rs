//! A store whose files are not what was written: what it says is right, or it says an error.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use reductor_store::DiskStore;
use tempfile::TempDir;

use crate::script;

/// How a damaged store behaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    NotOpened,
    NotRead,
    Right,
}

struct Sample {
    dir: TempDir,
    expected: String,
}

impl Sample {
    fn new() -> Self {
        let (written, dir) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
        let store = script::write(written.path());
        let expected = script::read(&store).expect("a readable store");
        drop(store);
        script::copy(written.path(), dir.path());
        Self { dir, expected }
    }

    /// Damages a copy, and looks at what it says then.
    fn with(&self, damage: impl FnOnce(&Path)) -> Outcome {
        let copy = TempDir::new().expect("a directory");
        script::copy(self.dir.path(), copy.path());
        damage(copy.path());
        let Ok(store) = DiskStore::open(copy.path(), script::options()) else { return Outcome::NotOpened };
        let verified = store.verify(&mut |_| {});
        match script::read(&store) {
            Err(_) => {
                assert!(verified.problem_count > 0, "verify finds what cannot be read");
                Outcome::NotRead
            }
            Ok(text) => {
                assert!(text == self.expected, "it says something else than was written");
                Outcome::Right
            }
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect(self.dir.path(), &mut files);
        let relative = |path: PathBuf| path.strip_prefix(self.dir.path()).expect("a file of it").to_owned();
        let mut files: Vec<_> = files.into_iter().map(relative).filter(|path| !path.ends_with("lock")).collect();
        files.sort();
        files
    }
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { collect(&path, into) } else { into.push(path) }
    }
}

#[test]
fn a_flipped_byte_is_an_error_or_does_not_matter() {
    let sample = Sample::new();
    let mut noticed = 0;
    for round in 0..rounds() {
        noticed += flip_everywhere(&sample, &mut fastrand::Rng::with_seed(round));
    }
    assert!(noticed > 20, "only {noticed} were noticed");
}

/// More can be asked for.
fn rounds() -> u64 {
    std::env::var("REDUCTOR_DAMAGE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

/// Flips bytes of each file. Returns how often that was noticed.
fn flip_everywhere(sample: &Sample, random: &mut fastrand::Rng) -> usize {
    let mut noticed = 0;
    for file in sample.files() {
        let size = fs::metadata(sample.dir.path().join(&file)).expect("a file").len();
        for _ in 0..flips(&file) {
            let (at, bits) = (random.u64(..size.max(1)), random.u8(1..));
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                sample.with(|dir| {
                    let mut bytes = fs::read(dir.join(&file)).expect("a file");
                    if let Some(byte) = bytes.get_mut(usize::try_from(at).expect("a small file")) {
                        *byte ^= bits;
                    }
                    fs::write(dir.join(&file), bytes).expect("written");
                })
            }));
            let outcome = outcome.unwrap_or_else(|_| panic!("{} at {at}, {bits:#x}", file.display()));
            noticed += usize::from(outcome != Outcome::Right);
        }
    }
    noticed
}

/// More of them where more is.
fn flips(file: &Path) -> usize {
    if file.extension().is_some_and(|extension| extension == "jnl") { 20 } else { 1 }
}

#[test]
fn a_file_that_was_cut_is_an_error_or_does_not_matter() {
    let sample = Sample::new();
    let mut random = fastrand::Rng::with_seed(4);
    for file in sample.files() {
        let size = fs::metadata(sample.dir.path().join(&file)).expect("a file").len();
        let cut = random.u64(..size.max(1));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            sample.with(|dir| {
                fs::File::options().write(true).open(dir.join(&file)).expect("a file").set_len(cut).expect("cut")
            })
        }));
        outcome.unwrap_or_else(|_| panic!("{} cut to {cut}", file.display()));
    }
}

#[test]
fn a_file_that_is_missing_is_an_error_or_does_not_matter() {
    let sample = Sample::new();
    for file in sample.files() {
        if file.ends_with("version") && file.parent() == Some(Path::new("")) {
            continue;
        }
        let outcome =
            catch_unwind(AssertUnwindSafe(|| sample.with(|dir| fs::remove_file(dir.join(&file)).expect("removed"))));
        outcome.unwrap_or_else(|_| panic!("{} is missing", file.display()));
    }
}

#[test]
fn a_torn_last_batch_is_cut_off_and_an_acknowledged_one_is_not() {
    let sample = Sample::new();
    let journal = sample.files().into_iter().rfind(|file| file.extension().is_some_and(|e| e == "jnl")).expect("one");
    let change = |change: &dyn Fn(&mut Vec<u8>)| {
        sample.with(|dir| {
            let mut bytes = fs::read(dir.join(&journal)).expect("a file");
            change(&mut bytes);
            fs::write(dir.join(&journal), bytes).expect("written");
        })
    };
    // The beginning of a batch that nobody was told of, as any part of it may be missing.
    let torn = [&[1, 9, 0, 0, 0][..], &[7; 300], &[0; 5000], &[7; 100]].concat();
    assert_eq!(change(&|bytes| bytes.extend_from_slice(&torn)), Outcome::Right);
    assert_eq!(change(&|bytes| bytes.extend_from_slice(&[0; 10_000])), Outcome::Right);
    // Anything of the last batch that was acknowledged.
    for back in [1, 5, 13, 40] {
        let flip = |bytes: &mut Vec<u8>| {
            let at = bytes.len() - back;
            bytes[at] ^= 1;
        };
        assert_eq!(change(&flip), Outcome::NotOpened, "{back} from the end");
    }
    assert_eq!(change(&|bytes| bytes.truncate(bytes.len() - 20)), Outcome::NotOpened);
    assert_eq!(change(&|bytes| bytes.truncate(0)), Outcome::NotOpened);
}
