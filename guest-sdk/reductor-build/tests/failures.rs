//! Crates that cannot become components are refused in words that help.

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use reductor_build::{BuildError, BuildOptions, GuestBuild, build_all};

const MANIFEST: &str = "[package]\nname = \"broken\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n";
const BROKEN: &str = "#![no_std]\nfn broken( {}\n";
const CDYLIB: &str = "\n[lib]\ncrate-type = [\"cdylib\"]\n";

/// A crate of its own, for one test.
fn crate_with(test: &str, manifest: &str, source: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(folder.join("src")).expect("the folder can be made");
    fs::write(folder.join("Cargo.toml"), manifest).expect("the manifest can be written");
    fs::write(folder.join("src/lib.rs"), source).expect("the source can be written");
    folder
}

/// Where this workspace's guests are compiled: without an installed target, the standard
/// library alone takes a minute, and it is there already or will be of use.
fn shared_target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("reductor-guests")
}

/// Builds what cannot be built.
fn refused(guest: impl Into<PathBuf>) -> BuildError {
    GuestBuild::new(guest).options(BuildOptions::new().on_line(|_| {})).run().expect_err("this is no guest")
}

#[test]
fn a_path_that_leads_nowhere_is_named() {
    let error = refused("no/such/crate");
    assert!(matches!(error, BuildError::PathMissing { .. }));
    assert!(error.to_string().ends_with("no/such/crate"), "{error}");
}

#[test]
fn a_folder_without_a_manifest_is_no_crate() {
    let folder = crate_with("no-manifest", MANIFEST, "");
    assert!(matches!(refused(folder.join("src")), BuildError::NotACrate { .. }));
    assert!(matches!(refused(folder.join("src/lib.rs")), BuildError::NotACrate { .. }));
}

#[test]
fn a_workspace_is_no_crate() {
    let folder = crate_with("virtual", "[workspace]\n", "");
    assert!(matches!(refused(folder), BuildError::NoPackage { .. }));
}

#[test]
fn a_manifest_that_cargo_cannot_read_comes_with_cargos_reason() {
    let error = refused(crate_with("manifest", "[package]\nname =", ""));
    assert!(matches!(error, BuildError::Manifest { .. }));
    assert!(error.to_string().contains("Cargo.toml:2"), "{error}");
}

#[test]
fn a_library_is_told_to_become_a_cdylib() {
    let error = refused(crate_with("library", MANIFEST, ""));
    assert!(matches!(error, BuildError::NotCdylib { .. }));
    assert!(error.to_string().contains("\n\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n"), "{error}");
}

#[test]
fn a_library_with_a_section_of_its_own_is_told_to_change_that() {
    let error = refused(crate_with("named-library", &[MANIFEST, "\n[lib]\nname = \"other\"\n"].concat(), ""));
    assert!(matches!(error, BuildError::NotCdylib { .. }));
    let text = error.to_string();
    assert!(text.contains("in the [lib] of ") && text.ends_with("set crate-type = [\"cdylib\", \"rlib\"]"), "{text}");
}

#[test]
fn what_the_compiler_says_is_in_the_error() {
    let folder = crate_with("silent", &[MANIFEST, CDYLIB].concat(), BROKEN);
    let options = BuildOptions::new().target_dir(shared_target_dir());
    let error = GuestBuild::new(&folder).options(options).run().expect_err("the source is broken");
    assert!(matches!(error, BuildError::Compile { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("cargo could not build `broken` (exit status: 101):\n"), "{text}");
    assert!(text.contains("src/lib.rs:2"), "{text}");
}

#[test]
fn a_crate_may_have_the_name_of_one_of_its_dependencies() {
    let dependency = "\n[dependencies]\nother = { package = \"broken\", path = \"../namesake-dependency\" }\n";
    let folder = crate_with("namesake", &[MANIFEST, CDYLIB, dependency].concat(), BROKEN);
    crate_with("namesake-dependency", &MANIFEST.replace("0.1.0", "0.2.0"), "#![no_std]\n");
    let options = BuildOptions::new().target_dir(shared_target_dir());
    let error = GuestBuild::new(&folder).options(options).run().expect_err("the source is broken");
    assert!(error.to_string().contains("src/lib.rs:2"), "it did not come to the compiler: {error}");
}

#[test]
fn what_was_streamed_is_not_repeated_in_the_error() {
    let folder = crate_with("syntax", &[MANIFEST, CDYLIB].concat(), BROKEN);
    let heard = Arc::new(Mutex::new(String::new()));
    let options = BuildOptions::new().target_dir(shared_target_dir()).on_line({
        let heard = Arc::clone(&heard);
        move |line| heard.lock().expect("no test panics here").push_str(line)
    });
    let error = GuestBuild::new(&folder).options(options).run().expect_err("the source is broken");
    assert_eq!(error.to_string(), "cargo could not build `broken` (exit status: 101)");
    let heard = heard.lock().expect("no test panics here");
    assert!(heard.contains("building broken with") && heard.contains("src/lib.rs:2"), "{heard}");
}

#[test]
fn a_crate_that_exports_nothing_is_told_so_once() {
    let panics = "#[panic_handler] fn on_panic(_: &core::panic::PanicInfo) -> ! { loop {} }";
    let folder = crate_with("exports-nothing", &[MANIFEST, CDYLIB].concat(), &format!("#![no_std]\n{panics}\n"));
    let options = BuildOptions::new().target_dir(shared_target_dir()).on_line(|_| {});
    let error = GuestBuild::new(&folder).options(options).run().expect_err("it exports nothing");
    let expected = "crate `broken` compiles, but is no component: \
                    the crate exports no model; add `reductor_guest::export!(YourModel);`";
    assert_eq!(error.to_string(), expected);
    assert!(error.source().is_none(), "a chain of errors would say it twice");
}

#[test]
fn no_guests_are_no_components() {
    let none: [&Path; 0] = [];
    assert!(build_all(&none, &BuildOptions::new()).expect("there is nothing to fail").is_empty());
}
