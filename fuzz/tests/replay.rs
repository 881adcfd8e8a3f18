//! Replays every seed and every case that was found, and some random bytes beside them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use reductor_fuzz::{TARGETS, Target};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
/// Texts as the host writes them, for whatever reads texts.
const GOLDEN: &str = "../host/core/tests/golden";
const RANDOM_BYTES_MAX: usize = 4_096;

#[test]
fn admission_holds_for_a_component_with_one_byte_changed() -> Result<()> {
    let component = fs::read(Path::new(HERE).join("seeds/admission/counter.wasm"))?;
    let target = target("admission")?;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..50 {
        let mut damaged = component.clone();
        let at = random.usize(8..damaged.len());
        damaged[at] = random.u8(..);
        target(&damaged);
    }
    Ok(())
}

#[test]
fn admission_holds() -> Result<()> {
    replay("admission", &[])?;
    random("admission", 20)
}

#[test]
fn decoders_hold() -> Result<()> {
    replay("decoders", &[GOLDEN])?;
    random("decoders", 200)
}

#[test]
fn json_text_holds() -> Result<()> {
    replay("json_text", &[GOLDEN])?;
    random("json_text", 200)
}

#[test]
fn json_value_holds() -> Result<()> {
    replay("json_value", &[])?;
    random("json_value", 2_000)
}

#[test]
fn smith_holds() -> Result<()> {
    replay("smith", &[])?;
    random("smith", 50)
}

/// `Cargo.toml` names the targets for cargo-fuzz, the library for everyone else.
#[test]
fn every_target_is_known_everywhere() -> Result<()> {
    let here = Path::new(HERE);
    let names: BTreeSet<_> = TARGETS.iter().map(|(name, _)| format!("{name}.rs")).collect();
    let files = files(&here.join("fuzz_targets"))?;
    let files: BTreeSet<_> = files.iter().filter_map(|file| file.file_name()?.to_str()).map(str::to_owned).collect();
    ensure!(names == files, "{names:?} in the library, {files:?} in fuzz_targets");
    let manifest = fs::read_to_string(here.join("Cargo.toml"))?;
    for (name, _) in TARGETS {
        let file = format!("path = \"fuzz_targets/{name}.rs\"");
        ensure!(manifest.contains(&file), "Cargo.toml has no bin `{name}`");
    }
    Ok(())
}

fn target(name: &str) -> Result<Target> {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.map(|(_, target)| *target).with_context(|| format!("no target `{name}`"))
}

/// Runs the target over its seeds, what was found, and the files of other folders.
fn replay(name: &str, others: &[&str]) -> Result<()> {
    let target = target(name)?;
    let here = Path::new(HERE);
    let mut cases = files(&here.join("seeds").join(name))?;
    ensure!(!cases.is_empty(), "there are no seeds");
    let found = here.join("found").join(name);
    if found.is_dir() {
        cases.extend(files(&found)?);
    }
    for folder in others {
        cases.extend(files(&here.join(folder))?);
    }
    for case in cases {
        println!("{}", case.display());
        target(&fs::read(case)?);
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}

/// Runs the target over random bytes, the same at every run.
fn random(name: &str, times: u64) -> Result<()> {
    let target = target(name)?;
    for seed in 0..times {
        println!("random bytes of seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let length = random.usize(..RANDOM_BYTES_MAX);
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        target(&bytes);
    }
    Ok(())
}
