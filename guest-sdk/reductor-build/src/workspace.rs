//! Finds the guest: its manifest, its workspace, and what the author decided there.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::install::Cargo;
use crate::process::{self, Log};
use crate::{BuildError, DebugInfo, LibSection};

/// A crate that is to become a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) package: String,
    /// What cargo calls the package. Unlike its name it is no other's: a dependency may have the same.
    pub(crate) id: String,
    pub(crate) manifest: PathBuf,
    pub(crate) workspace_root: PathBuf,
    /// The target folder of its workspace.
    pub(crate) target_dir: PathBuf,
}

impl Guest {
    pub(crate) fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(&self.workspace_root)
    }
}

/// The manifest that `path` means: a crate's folder, or the file itself.
pub(crate) fn locate(path: &Path) -> Result<PathBuf, BuildError> {
    let path = std::path::absolute(path).map_err(BuildError::io("find", path))?;
    // Without symbolic links, as cargo names it in its messages.
    let Ok(real) = path.canonicalize() else {
        return Err(BuildError::PathMissing { path });
    };
    let manifest = if real.is_dir() { real.join("Cargo.toml") } else { real };
    if manifest.file_name().is_some_and(|name| name == "Cargo.toml") && manifest.is_file() {
        Ok(manifest)
    } else {
        Err(BuildError::NotACrate { path })
    }
}

/// Asks cargo about the crate of `manifest`.
pub(crate) fn inspect(cargo: &Cargo, manifest: &Path) -> Result<Guest, BuildError> {
    let folder = manifest.parent().unwrap_or(manifest);
    let mut command = cargo.environment.command(cargo.program, folder);
    command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
    let mut json = String::new();
    let quiet = Log::to(|_| {});
    let ended = process::run(&mut command, &quiet, |line| json.push_str(line))?;
    let unreadable = |output| BuildError::Manifest { manifest: manifest.to_owned(), output };
    if !ended.status.success() {
        return Err(unreadable(ended.tail));
    }
    let metadata: Metadata = serde_json::from_str(&json).map_err(|error| unreadable(error.to_string()))?;
    guest_of(metadata, manifest, lib_section(manifest))
}

/// Whether the manifest, which cargo has read already, has a `[lib]`.
fn lib_section(manifest: &Path) -> LibSection {
    let table = fs::read_to_string(manifest).ok().and_then(|text| text.parse::<toml::Table>().ok());
    match table {
        Some(table) if table.contains_key("lib") => LibSection::Present,
        _ => LibSection::Missing,
    }
}

fn guest_of(metadata: Metadata, manifest: &Path, lib: LibSection) -> Result<Guest, BuildError> {
    let Metadata { packages, workspace_root, target_directory } = metadata;
    let manifest = manifest.to_owned();
    let Some(package) = packages.into_iter().find(|package| package.manifest_path == manifest) else {
        return Err(BuildError::NoPackage { manifest });
    };
    if !package.targets.iter().any(|target| target.crate_types.iter().any(|kind| kind == "cdylib")) {
        return Err(BuildError::NotCdylib { package: package.name, manifest, lib });
    }
    Ok(Guest { package: package.name, id: package.id, manifest, workspace_root, target_dir: target_directory })
}

/// The `--config` values of a guest's release profile.
///
/// Speed first: an action costs microseconds, and inlining across crates is most of it. But
/// arithmetic that overflows panics, as it does in the author's tests: a state that wrapped
/// in silence would be stored for good. What the author's workspace says of its release
/// profile wins, except over `debug_info`.
pub(crate) fn profile(guest: &Guest, debug_info: DebugInfo) -> Result<Vec<String>, BuildError> {
    let path = guest.workspace_root.join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(BuildError::io("read", &path))?;
    let manifest =
        toml::from_str(&text).map_err(|error| BuildError::Manifest { manifest: path, output: error.to_string() })?;
    Ok(profile_config(&manifest, debug_info))
}

fn profile_config(manifest: &toml::Table, debug_info: DebugInfo) -> Vec<String> {
    let authors = manifest.get("profile").and_then(|profiles| profiles.get("release"));
    let defaults = [("opt-level", "3"), ("lto", "\"fat\""), ("codegen-units", "1"), ("overflow-checks", "true")];
    // The function names stay either way; `debuginfo` drops what an installed standard
    // library brings along.
    let symbols = match debug_info {
        DebugInfo::FunctionNames => [("debug", "\"none\""), ("strip", "\"debuginfo\"")],
        DebugInfo::LineTables => [("debug", "\"line-tables-only\""), ("strip", "\"none\"")],
    };
    let ours = defaults.into_iter().filter(|(key, _)| authors.and_then(|release| release.get(key)).is_none());
    ours.chain(symbols).map(|(key, value)| format!("profile.release.{key}={value}")).collect()
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "/w/counter/Cargo.toml";

    fn guest(crate_types: &str, lib: LibSection) -> Result<Guest, BuildError> {
        let json = format!(
            r#"{{"packages": [
                {{"id": "path+file:///w#other@0.1.0", "name": "other", "manifest_path": "/w/Cargo.toml", "targets": []}},
                {{"id": "path+file:///w/counter#0.1.0", "name": "counter", "manifest_path": "{MANIFEST}", "targets": [{{"crate_types": {crate_types}}}]}}
            ], "workspace_root": "/w", "target_directory": "/w/target", "version": 1}}"#
        );
        guest_of(serde_json::from_str(&json).expect("valid metadata"), Path::new(MANIFEST), lib)
    }

    #[test]
    fn a_cdylib_is_a_guest() {
        let guest = guest(r#"["cdylib", "rlib"]"#, LibSection::Present).expect("a guest");
        assert_eq!((guest.package.as_str(), guest.folder()), ("counter", Path::new("/w/counter")));
        assert_eq!(guest.target_dir, Path::new("/w/target"));
    }

    #[test]
    fn a_library_is_no_guest_and_the_error_says_what_to_write_where() {
        let text = |lib| guest(r#"["lib"]"#, lib).expect_err("no guest").to_string();
        let start = "crate `counter` does not produce a WebAssembly module: ";
        let add = format!("add these lines to {MANIFEST}\n\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n");
        assert_eq!(text(LibSection::Missing), format!("{start}{add}"));
        let set = format!("in the [lib] of {MANIFEST}, set crate-type = [\"cdylib\", \"rlib\"]");
        assert_eq!(text(LibSection::Present), format!("{start}{set}"));
    }

    fn config(manifest: &str, debug_info: DebugInfo) -> Vec<String> {
        profile_config(&toml::from_str(manifest).expect("valid TOML"), debug_info)
    }

    #[test]
    fn guests_are_compiled_for_speed_check_for_overflow_and_keep_their_function_names() {
        let ours = config("[package]\nname = \"x\"", DebugInfo::FunctionNames);
        let expected = [
            "opt-level=3",
            "lto=\"fat\"",
            "codegen-units=1",
            "overflow-checks=true",
            "debug=\"none\"",
            "strip=\"debuginfo\"",
        ];
        assert_eq!(ours, expected.map(|value| format!("profile.release.{value}")));
    }

    #[test]
    fn what_the_author_decided_is_left_alone() {
        let theirs = "[profile.release]\nlto = false\nopt-level = \"s\"\noverflow-checks = false";
        let ours = config(theirs, DebugInfo::FunctionNames);
        let expected = ["codegen-units=1", "debug=\"none\"", "strip=\"debuginfo\""];
        assert_eq!(ours, expected.map(|value| format!("profile.release.{value}")));
    }

    #[test]
    fn line_tables_are_asked_for_and_not_taken_from_the_hosts_profile() {
        let manifest = "[profile.release]\ndebug = true\nstrip = true";
        let names = config(manifest, DebugInfo::FunctionNames);
        assert!(names.contains(&"profile.release.debug=\"none\"".to_owned()), "{names:?}");
        let lines = config(manifest, DebugInfo::LineTables);
        assert!(lines.contains(&"profile.release.strip=\"none\"".to_owned()), "{lines:?}");
    }
}
