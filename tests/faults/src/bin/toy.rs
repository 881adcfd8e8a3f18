//! Writes files in ways whose outcome after a loss of power is known, to test the simulation by.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// How often a pattern is repeated.
const ROUNDS: usize = 12;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(pattern), Some(dir)) = (arguments.next(), arguments.next()) else {
        bail!("usage: toy PATTERN DIR");
    };
    run(&pattern, Path::new(&dir))
}

fn run(pattern: &str, dir: &Path) -> Result<()> {
    match pattern {
        "append-and-sync" => append(dir, |log| log.sync_data()),
        "append" => append(dir, |_| Ok(())),
        "replace" => replace(dir, |file| file.sync_all(), || File::open(dir)?.sync_all()),
        "replace-without-sync" => replace(dir, |_| Ok(()), || File::open(dir)?.sync_all()),
        "replace-without-sync-of-directory" => replace(dir, |file| file.sync_all(), || Ok(())),
        "overwrite" => overwrite(dir),
        other => bail!("no pattern `{other}`"),
    }
}

/// Appends records to a file, and says which after each.
fn append(dir: &Path, sync: impl Fn(&File) -> std::io::Result<()>) -> Result<()> {
    let mut log = OpenOptions::new().create(true).append(true).open(dir.join("log"))?;
    log.sync_all()?;
    File::open(dir)?.sync_all()?;
    for round in 0..ROUNDS {
        // More than a page, and no number of sectors.
        log.write_all(&record(round))?;
        sync(&log).context("not synced")?;
        say(round)?;
    }
    Ok(())
}

/// Replaces a file by another, and says by which.
fn replace(
    dir: &Path,
    sync: impl Fn(&File) -> std::io::Result<()>,
    sync_dir: impl Fn() -> std::io::Result<()>,
) -> Result<()> {
    for round in 0..ROUNDS {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(&record(round))?;
        sync(file.as_file())?;
        // This crate renames past libc.
        file.persist(dir.join("current"))?;
        sync_dir()?;
        say(round)?;
    }
    Ok(())
}

/// Makes a long file, cuts it, makes it long again, and writes in the middle of it.
fn overwrite(dir: &Path) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let file = File::create(dir.join("file"))?;
    file.write_all_at(&[b'a'; 20_000], 0)?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    say(0)?;
    file.set_len(5_000)?;
    file.set_len(20_000)?;
    file.write_all_at(&[b'b'; 9_000], 1_000)?;
    file.sync_all()?;
    say(1)
}

fn record(round: usize) -> Vec<u8> {
    vec![b'a' + round as u8; 5_000]
}

fn say(round: usize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{round}")?;
    Ok(())
}
