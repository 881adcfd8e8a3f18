//! Turns a guest crate into a WebAssembly component.
//!
//! A guest is a Rust crate of type `cdylib` that implements the world `reducer`, as the
//! guest SDK does for its author. [`GuestBuild::run`] finds a way to compile it for
//! `wasm32-unknown-unknown`, compiles it, and encodes the module as a component in process.
//!
//! A compiler is looked for in this order:
//! 1. the active toolchain of the guest's folder, if it has the target installed;
//! 2. with [`InstallPolicy::Allowed`]: the same after `rustup target add`;
//! 3. Debian's parallel toolchain (`rustc-web`, `cargo-web`, `rust-web-src`, `rust-web-llvm`
//!    and the linker that the last one points to), which compiles the standard library too;
//! 4. with [`InstallPolicy::Allowed`], on Debian, as root: the same after `apt-get install`;
//! 5. else [`BuildError::NoToolchain`] lists the ways.
//!
//! Guests are compiled in the release profile: for speed, and with `overflow-checks`, so that
//! arithmetic which panics in `cargo test` panics in the component too instead of wrapping.
//! What the author's workspace says in its `[profile.release]` wins over both. Their function
//! names are kept, so that the host can name them in backtraces.
//!
//! # In a build script
//!
//! The inner cargo has a target folder of its own and none of the variables of the outer
//! one, so the two neither wait for each other nor mix their flags.
//!
//! ```no_run
//! use reductor_build::GuestBuild;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let component = GuestBuild::new("../counter").run()?;
//!     for file in &component.dependencies {
//!         println!("cargo::rerun-if-changed={}", file.display());
//!     }
//!     println!("cargo::rustc-env=COUNTER_WASM={}", component.path.display());
//!     Ok(())
//! }
//! ```

mod cargo;
mod component;
mod environment;
mod error;
mod facts;
mod install;
mod options;
mod plan;
mod process;
mod sources;
mod workspace;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub use crate::component::componentize;
pub use crate::error::{BuildError, Cause, ComponentError, LibSection};
pub use crate::options::{BuildOptions, DebugInfo};
pub use crate::plan::{InstallPolicy, Toolchain};

use crate::environment::Environment;
use crate::install::Cargo;
use crate::process::Log;
use crate::workspace::Guest;

/// The folder in a target folder that is ours; cargo keeps to its own.
const GUESTS_FOLDER: &str = "reductor-guests";

/// The build of one guest.
#[derive(Clone, Debug)]
pub struct GuestBuild {
    guest: PathBuf,
    out: Option<PathBuf>,
    options: BuildOptions,
}

impl GuestBuild {
    /// The guest in this folder, or with this `Cargo.toml`.
    pub fn new(guest: impl Into<PathBuf>) -> Self {
        Self { guest: guest.into(), out: None, options: BuildOptions::new() }
    }

    /// The file that is to be the component. By default `<package>.wasm` in the target folder.
    pub fn out(mut self, file: impl Into<PathBuf>) -> Self {
        self.out = Some(file.into());
        self
    }

    /// How it is built.
    pub fn options(mut self, options: BuildOptions) -> Self {
        self.options = options;
        self
    }

    /// Builds the component. Its file is written whole or not at all, and is not touched
    /// where it would not change.
    pub fn run(&self) -> Result<Component, BuildError> {
        let mut components = build(&[&self.guest], self.out.as_deref(), &self.options)?;
        Ok(components.pop().expect("one guest gives one component"))
    }
}

/// A component that was built.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Component {
    /// The name of the guest's package.
    pub package: String,
    /// The file, absolute.
    pub path: PathBuf,
    /// Its size.
    pub bytes_len: u64,
    /// What it was compiled with.
    pub toolchain: Toolchain,
    /// The files that it was made from, sorted: sources of the guest and of its path
    /// dependencies, their manifests, the lock file.
    pub dependencies: Vec<PathBuf>,
}

/// Builds several guests, with one run of cargo for each workspace; the components are in
/// the order of `guests`.
///
/// Much faster than one after the other. Guests that are compiled together share the
/// features of their dependencies, as in any run of cargo: where the bytes of a component
/// matter (a release), build it alone.
pub fn build_all(guests: &[impl AsRef<Path>], options: &BuildOptions) -> Result<Vec<Component>, BuildError> {
    build(guests, None, options)
}

/// The journey from paths to components.
fn build(
    guests: &[impl AsRef<Path>],
    out: Option<&Path>,
    options: &BuildOptions,
) -> Result<Vec<Component>, BuildError> {
    let environment = Environment::inherited();
    let prepare = |folder: &Path| install::prepare(&environment, folder, options.install, &options.log);
    let manifests: Vec<_> = guests.iter().map(|guest| workspace::locate(guest.as_ref())).collect::<Result<_, _>>()?;
    let Some(folder) = manifests.first().and_then(|manifest| manifest.parent()) else {
        return Ok(Vec::new());
    };
    let first = prepare(folder)?;
    let guests: Vec<_> =
        manifests.iter().map(|manifest| workspace::inspect(&first, manifest)).collect::<Result<_, _>>()?;

    let mut built = BTreeMap::new();
    for group in by_workspace(&guests) {
        let run_folder = run_folder(&group);
        let cargo = if run_folder == folder { first.clone() } else { prepare(run_folder)? };
        let components = build_together(&cargo, &group, &target_dir(&environment, group[0], options)?, out, options)?;
        built.extend(group.iter().map(|guest| &guest.manifest).zip(components));
    }
    // By manifest: a guest that was asked for twice is there twice.
    Ok(guests.iter().filter_map(|guest| built.get(&guest.manifest).cloned()).collect())
}

/// The guests of each workspace, each guest once.
fn by_workspace(guests: &[Guest]) -> Vec<Vec<&Guest>> {
    let mut groups: BTreeMap<&Path, Vec<&Guest>> = BTreeMap::new();
    for guest in guests {
        let group = groups.entry(&guest.workspace_root).or_default();
        if !group.contains(&guest) {
            group.push(guest);
        }
    }
    groups.into_values().collect()
}

/// Where cargo is called, which decides over `rust-toolchain.toml` and cargo's configuration:
/// a guest's own folder when it is alone, else the one that the guests have in common.
fn run_folder<'a>(group: &[&'a Guest]) -> &'a Path {
    match group {
        [guest] => guest.folder(),
        _ => &group[0].workspace_root,
    }
}

fn target_dir(environment: &Environment, guest: &Guest, options: &BuildOptions) -> Result<PathBuf, BuildError> {
    let folder = match (&options.target_dir, environment.target_dir()) {
        (Some(folder), _) => folder.clone(),
        (None, Some(folder)) => folder.join(GUESTS_FOLDER),
        (None, None) => guest.target_dir.join(GUESTS_FOLDER),
    };
    // Cargo is called elsewhere, where a relative path would mean another folder.
    std::path::absolute(&folder).map_err(BuildError::io("find", folder))
}

fn build_together(
    cargo: &Cargo,
    group: &[&Guest],
    target_dir: &Path,
    out: Option<&Path>,
    options: &BuildOptions,
) -> Result<Vec<Component>, BuildError> {
    let names: Vec<_> = group.iter().map(|guest| guest.package.as_str()).collect();
    options.log.line(&format!("building {} with {}", names.join(", "), cargo.toolchain));
    let profile = workspace::profile(group[0], options.debug_info)?;
    let run = cargo::Run { folder: run_folder(group), target_dir, profile: &profile, arguments: &options.cargo_args };

    // Held until the modules are read: another process may be about to replace them.
    let _lock = lock(target_dir, &options.log)?;
    let modules = cargo::compile(cargo, group, &run, &options.log)?;
    let made = group.iter().zip(&modules).map(|(guest, module)| {
        let out = out.map_or_else(|| target_dir.join(&guest.package).with_extension("wasm"), Path::to_owned);
        finish(guest, module, &out, &cargo.toolchain)
    });
    made.collect()
}

/// From the core module on: encode it, write it, say what it was made from.
fn finish(guest: &Guest, module: &Path, out: &Path, toolchain: &Toolchain) -> Result<Component, BuildError> {
    let core_module = fs::read(module).map_err(BuildError::io("read", module))?;
    let bytes = componentize(&core_module)
        .map_err(|reason| BuildError::Component { package: guest.package.clone(), reason })?;
    let path = std::path::absolute(out).map_err(BuildError::io("find", out))?;
    component::write_if_changed(&path, &bytes)?;
    Ok(Component {
        package: guest.package.clone(),
        path,
        bytes_len: bytes.len() as u64,
        toolchain: toolchain.clone(),
        dependencies: sources::of_module(guest, module)?,
    })
}

/// Keeps other builds out of `target_dir` until the file is dropped.
fn lock(target_dir: &Path, log: &Log) -> Result<File, BuildError> {
    fs::create_dir_all(target_dir).map_err(BuildError::io("create", target_dir))?;
    let path = target_dir.join(".reductor-build.lock");
    let file = File::create(&path).map_err(BuildError::io("create", &path))?;
    if file.try_lock().is_err() {
        log.line(&format!("waiting for another build in {}", target_dir.display()));
        file.lock().map_err(BuildError::io("lock", &path))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(workspace: &str, package: &str) -> Guest {
        let workspace_root = PathBuf::from(workspace);
        let manifest = workspace_root.join(package).join("Cargo.toml");
        Guest {
            package: package.into(),
            id: package.into(),
            manifest,
            target_dir: workspace_root.join("target"),
            workspace_root,
        }
    }

    #[test]
    fn guests_of_one_workspace_are_compiled_together_and_once() {
        let guests = [guest("/a", "x"), guest("/b", "x"), guest("/a", "y"), guest("/a", "x")];
        let groups = by_workspace(&guests);
        assert_eq!(groups, [vec![&guests[0], &guests[2]], vec![&guests[1]]]);
        assert_eq!(run_folder(&groups[0]), Path::new("/a"));
        assert_eq!(run_folder(&groups[1]), Path::new("/b/x"));
    }

    #[test]
    fn compiled_things_go_beside_the_workspaces_own_and_never_among_them() {
        let folder = |vars: &[(&str, &str)], options: BuildOptions| {
            let vars = vars.iter().map(|(name, value)| (name.into(), value.into()));
            target_dir(&Environment::cleaned(vars), &guest("/a", "x"), &options)
                .expect("an absolute path needs no disk")
        };
        let set = [("CARGO_TARGET_DIR", "/builds")];
        assert_eq!(folder(&[], BuildOptions::new()), Path::new("/a/target/reductor-guests"));
        assert_eq!(folder(&set, BuildOptions::new()), Path::new("/builds/reductor-guests"));
        assert_eq!(folder(&set, BuildOptions::new().target_dir("/mine")), Path::new("/mine"));
    }
}
