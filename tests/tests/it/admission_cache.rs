//! The cache of compiled plugins: a hit is quick, and whatever is wrong with it costs a compilation.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use reductor_core::Reducer as _;
use reductor_sandbox::{AdmissionError, ArtefactCache, CacheError, CodeOrigin, Sandbox, StaticLimits};

use crate::support::{COUNTER, TEXT, TODO_LIST, component, small_sandbox};

const AMPLE: u64 = 1 << 30;
const HEADER_BYTES: u64 = 88;

/// A directory for one test, empty, and not made yet.
fn fresh(name: &str) -> Result<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("caches").join(name);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(directory),
    }
}

fn sandbox_with(directory: &Path, bytes_max: u64) -> Result<Sandbox> {
    Ok(small_sandbox().artefact_cache(ArtefactCache::open(directory, bytes_max)?).build()?)
}

/// Where the code of a guest comes from, with a sandbox of its own: nothing is shared but the directory.
fn origin(directory: &Path, bytes_max: u64, guest: &str) -> Result<CodeOrigin> {
    let plugin = sandbox_with(directory, bytes_max)?.admit(&component(guest))?;
    assert_eq!(plugin.manifest().document_type.as_str(), guest, "another plugin's code was loaded");
    Ok(plugin.code_origin())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<_> = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let files = files(directory)?;
    anyhow::ensure!(files.len() == 1, "not one file: {files:?}");
    files.into_iter().next().context("there is one")
}

#[test]
fn a_component_is_compiled_once() -> Result<()> {
    let directory = fresh("once")?;
    for expected in [CodeOrigin::InProcess, CodeOrigin::Cache, CodeOrigin::Cache] {
        assert_eq!(origin(&directory, AMPLE, COUNTER)?, expected);
    }
    assert_eq!(origin(&directory, AMPLE, TEXT)?, CodeOrigin::InProcess, "another component has another key");
    assert_eq!(files(&directory)?.len(), 2);
    Ok(())
}

#[test]
fn what_the_cache_knows_of_a_component_is_what_was_found_out() -> Result<()> {
    let directory = fresh("facts")?;
    let sandbox = sandbox_with(&directory, AMPLE)?;
    let (made, found) = (sandbox.admit(&component(TODO_LIST))?, sandbox.admit(&component(TODO_LIST))?);
    assert_eq!((made.code_origin(), found.code_origin()), (CodeOrigin::InProcess, CodeOrigin::Cache));
    assert_eq!((made.measures(), made.imports()), (found.measures(), found.imports()));
    assert_eq!((made.plugin(), made.manifest()), (found.plugin(), found.manifest()));
    Ok(())
}

#[test]
fn a_component_that_was_let_in_under_other_limits_is_checked_again() -> Result<()> {
    let directory = fresh("limits")?;
    let functions = sandbox_with(&directory, AMPLE)?.admit(&component(COUNTER))?.measures().functions;
    let limits = StaticLimits { functions_max: functions - 1, ..StaticLimits::default() };
    let cache = ArtefactCache::open(&directory, AMPLE)?;
    let strict = small_sandbox().static_limits(limits).artefact_cache(cache).build()?;
    let error = strict.admit(&component(COUNTER)).err().context("it was let in out of the cache")?;
    assert!(matches!(error, AdmissionError::OverLimit(_)), "{error}");
    Ok(())
}

#[test]
fn the_cache_is_for_its_owner_alone() -> Result<()> {
    let directory = fresh("owner")?;
    origin(&directory, AMPLE, COUNTER)?;
    let mode = |path: &Path| Ok::<_, anyhow::Error>(path.metadata()?.permissions().mode() & 0o777);
    assert_eq!((mode(&directory)?, mode(&only_file(&directory)?)?), (0o700, 0o600));
    for open in [0o701, 0o710, 0o755, 0o777] {
        fs::set_permissions(&directory, Permissions::from_mode(open))?;
        let error = ArtefactCache::open(&directory, AMPLE).err().context("it was used")?;
        assert!(matches!(error, CacheError::OpenToOthers { mode, .. } if mode == open), "{error}");
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
    Ok(())
}

#[test]
fn a_directory_that_cannot_be_used_is_named() -> Result<()> {
    let file = fresh("in-the-way")?;
    fs::create_dir_all(file.parent().context("it has a parent")?)?;
    File::create(&file)?;
    for directory in [file.clone(), file.join("below"), PathBuf::from("/proc/no-such-directory")] {
        let error = ArtefactCache::open(&directory, AMPLE).err().context("it was used")?;
        assert!(matches!(&error, CacheError::Unusable { directory: named, .. } if *named == directory), "{error}");
    }
    fs::remove_file(file)?;
    Ok(())
}

/// That a damaged file is not used, replaced, and used again.
fn recovers(directory: &Path, damage: &str) -> Result<()> {
    let origins = [origin(directory, AMPLE, COUNTER)?, origin(directory, AMPLE, COUNTER)?];
    assert_eq!(origins, [CodeOrigin::InProcess, CodeOrigin::Cache], "{damage}");
    Ok(())
}

#[test]
fn damage_at_any_place_is_noticed() -> Result<()> {
    let directory = fresh("damaged")?;
    origin(&directory, AMPLE, COUNTER)?;
    let file = only_file(&directory)?;
    let whole = fs::read(&file)?;
    // Magic, key, two lengths, digest, facts, and the artefact's middle and end.
    for place in [0, 8, 40, 47, 48, 55, 56, 88, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(&file, damaged)?;
        recovers(&directory, &format!("byte {place}"))?;
        assert!(fs::read(&file)? == whole, "compiling again makes the same bytes");
    }
    Ok(())
}

#[test]
fn a_file_of_another_length_is_noticed() -> Result<()> {
    let directory = fresh("truncated")?;
    origin(&directory, AMPLE, COUNTER)?;
    let file = only_file(&directory)?;
    let whole = fs::metadata(&file)?.len();
    let cut = [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1, whole / 2, whole - 1, whole + 1];
    for length in cut {
        File::options().write(true).open(&file)?.set_len(length)?;
        recovers(&directory, &format!("{length} bytes of {whole}"))?;
    }
    Ok(())
}

#[test]
fn what_is_in_the_place_of_a_file_is_not_used() -> Result<()> {
    let directory = fresh("swapped")?;
    origin(&directory, AMPLE, COUNTER)?;
    let counter = only_file(&directory)?;
    origin(&directory, AMPLE, TEXT)?;
    let text = files(&directory)?.into_iter().find(|file| *file != counter).context("there are two")?;

    fs::copy(&text, &counter)?;
    recovers(&directory, "another component's artefact")?;

    let elsewhere = directory.with_extension("elsewhere");
    fs::rename(&counter, &elsewhere)?;
    symlink(&elsewhere, &counter)?;
    recovers(&directory, "a symbolic link")?;
    assert!(!counter.symlink_metadata()?.is_symlink(), "it was replaced");

    fs::set_permissions(&counter, Permissions::from_mode(0o644))?;
    recovers(&directory, "a file that others may read")?;
    fs::remove_file(elsewhere)?;
    Ok(())
}

#[test]
fn what_was_not_used_for_longest_goes_first() -> Result<()> {
    let directory = fresh("eviction")?;
    origin(&directory, AMPLE, COUNTER)?;
    let counter = only_file(&directory)?;
    origin(&directory, AMPLE, TEXT)?;
    let text = files(&directory)?.into_iter().find(|file| *file != counter).context("there are two")?;
    let length = |file: &Path| Ok::<_, anyhow::Error>(fs::metadata(file)?.len());
    let age = |file: &Path, seconds| {
        File::options().write(true).open(file)?.set_modified(SystemTime::now() - Duration::from_secs(seconds))
    };

    // The counter is the older one, until it is used.
    age(&counter, 2_000)?;
    age(&text, 1_000)?;
    assert_eq!(origin(&directory, AMPLE, COUNTER)?, CodeOrigin::Cache);
    let unfinished = directory.join("left-by-a-crash.unfinished");
    File::create(&unfinished)?;
    age(&unfinished, 7_200)?;
    let bytes_max = length(&counter)? + length(&text)? + 1;
    assert_eq!(origin(&directory, bytes_max, TODO_LIST)?, CodeOrigin::InProcess);
    assert!(counter.exists() && !text.exists() && !unfinished.exists(), "{:?}", files(&directory)?);
    let bytes: u64 = files(&directory)?.iter().map(|file| length(file)).sum::<Result<_>>()?;
    assert!(bytes <= bytes_max, "{bytes} of {bytes_max}");

    // What does not fit at all is not kept, and nothing goes for it.
    assert_eq!(origin(&directory, 1_000, TEXT)?, CodeOrigin::InProcess);
    assert!(counter.exists() && !text.exists(), "{:?}", files(&directory)?);
    Ok(())
}

#[test]
fn a_cache_that_disappears_or_cannot_be_written_is_done_without() -> Result<()> {
    let directory = fresh("gone")?;
    let sandbox = sandbox_with(&directory, AMPLE)?;
    fs::remove_dir_all(&directory)?;
    assert_eq!(sandbox.admit(&component(COUNTER))?.code_origin(), CodeOrigin::InProcess);
    File::create(&directory)?;
    assert_eq!(sandbox.admit(&component(COUNTER))?.code_origin(), CodeOrigin::InProcess);
    fs::remove_file(&directory)?;
    Ok(())
}

#[test]
fn many_at_once_share_a_cache() -> Result<()> {
    let directory = fresh("concurrent")?;
    ArtefactCache::open(&directory, AMPLE)?;
    std::thread::scope(|scope| {
        let admit = |guest| origin(&directory, AMPLE, guest);
        let threads: Vec<_> =
            [COUNTER, TEXT, COUNTER, TEXT].into_iter().map(|guest| scope.spawn(move || admit(guest))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic").map(drop))
    })?;
    for guest in [COUNTER, TEXT] {
        assert_eq!(origin(&directory, AMPLE, guest)?, CodeOrigin::Cache);
    }
    assert_eq!(files(&directory)?.len(), 2, "nothing unfinished is left");
    Ok(())
}
