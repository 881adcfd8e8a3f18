//! `reductor build`, apart from the compiling itself, which makes every guest of these tests.

use anyhow::{Context as _, Result};

use crate::support::{file, reductor};

#[test]
fn a_folder_that_is_no_guest_crate_says_what_is_missing() -> Result<()> {
    reductor(["build", "/no/such/folder"])?.refuses(&["/no/such/folder was not built"])?;
    let folder = env!("CARGO_TARGET_TMPDIR");
    reductor(["build", folder])?.refuses(&["Cargo.toml"])?;
    Ok(())
}

#[test]
fn a_crate_that_makes_no_library_for_c_says_what_to_write() -> Result<()> {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("plain-library");
    std::fs::create_dir_all(folder.join("src"))?;
    file("plain-library/Cargo.toml", "[package]\nname = \"plain\"\nedition = \"2024\"\n\n[workspace]\n")?;
    file("plain-library/src/lib.rs", "")?;
    reductor(["build", folder.to_str().context("a path in UTF-8")?])?.refuses(&["crate-type", "cdylib"])?;
    Ok(())
}
