//! The environment of the inner cargo: the caller's, without what was meant for another build.
//!
//! A build script inherits dozens of variables that describe the crate it belongs to. Some
//! of them would change the guest (`RUSTFLAGS` of the host's processor), some would break it
//! (`RUSTC`), and a few would stop it for good (the outer cargo's jobserver).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Removed wherever they come from: they name a compiler, its flags or a jobserver.
const REMOVED: [&str; 10] = [
    "MAKEFLAGS",
    "MFLAGS",
    "RUSTC",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "RUST_RECURSION_COUNT",
];

/// Kept among the `CARGO_*`: how a person reaches registries, and tools per target. The rest
/// describes an outer package or selects another profile, target or folder.
const CARGO_KEPT: [&str; 11] = [
    "CARGO_BUILD_JOBS",
    "CARGO_CACHE_",
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_LOG",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TARGET_",
    "CARGO_TERM_",
];

/// The variables that a build gets, and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    vars: BTreeMap<OsString, OsString>,
    inside_cargo: bool,
    target_dir: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process, cleaned.
    pub(crate) fn inherited() -> Self {
        Self::cleaned(std::env::vars_os())
    }

    /// Keeps of `vars` what belongs to the person and not to an outer build.
    pub(crate) fn cleaned(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut vars: BTreeMap<_, _> = vars.into_iter().collect();
        // Cargo sets it for everything it starts: build scripts, `cargo run`, `cargo test`.
        let inside_cargo = vars.contains_key(OsStr::new("CARGO"));
        let target_dir = vars.get(OsStr::new("CARGO_TARGET_DIR")).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let jobs = vars.get(OsStr::new("NUM_JOBS")).cloned();
        vars.retain(|name, _| name.to_str().is_none_or(is_kept));
        if inside_cargo {
            // The toolchain of the outer package; outside of cargo it is a person's choice.
            vars.remove(OsStr::new("RUSTUP_TOOLCHAIN"));
            // Instead of the jobserver, whose file descriptors may not have come along.
            if let Some(jobs) = jobs {
                vars.entry("CARGO_BUILD_JOBS".into()).or_insert(jobs);
            }
        }
        Self { vars, inside_cargo, target_dir }
    }

    /// Forbids rustup to fetch a toolchain because a folder asks for one.
    pub(crate) fn without_auto_install(mut self) -> Self {
        self.vars.insert("RUSTUP_AUTO_INSTALL".into(), "0".into());
        self
    }

    /// The same for Debian's compiler, which needs permission to build the standard library.
    pub(crate) fn for_debian(&self, rustc: &Path) -> Self {
        let mut debian = self.clone();
        debian.vars.insert("RUSTC_BOOTSTRAP".into(), "1".into());
        debian.vars.insert("RUSTC".into(), rustc.into());
        // First, so that `rust-lld` and `cc` are Debian's; build scripts keep their tools.
        let mut path = OsString::from("/usr/bin:/bin");
        if let Some(rest) = self.vars.get(OsStr::new("PATH")) {
            path.push(":");
            path.push(rest);
        }
        debian.vars.insert("PATH".into(), path);
        if self.inside_cargo {
            // Cargo put the libraries of another compiler there.
            debian.vars.remove(OsStr::new("LD_LIBRARY_PATH"));
        }
        debian
    }

    /// A command with exactly these variables, in `folder`.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env_clear().envs(&self.vars);
        command
    }

    /// Where the person wants compiled things (`CARGO_TARGET_DIR`), relative to this process.
    pub(crate) fn target_dir(&self) -> Option<&Path> {
        self.target_dir.as_deref()
    }
}

fn is_kept(name: &str) -> bool {
    if name == "CARGO_TARGET_DIR" || name == "CARGO_TARGET_TMPDIR" {
        return false;
    }
    if name == "CARGO" || name.starts_with("CARGO_") {
        return CARGO_KEPT.iter().any(|kept| name.starts_with(kept));
    }
    !REMOVED.contains(&name) && !name.starts_with("__CARGO")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(vars: &[(&str, &str)]) -> Environment {
        Environment::cleaned(vars.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn get<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
        environment.vars.get(OsStr::new(name)).and_then(|value| value.to_str())
    }

    #[test]
    fn what_an_outer_build_says_of_itself_is_removed() {
        for name in [
            "CARGO",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_MAKEFLAGS",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_CFG_TARGET_ARCH",
            "CARGO_FEATURE_STD",
            "CARGO_PRIMARY_PACKAGE",
            "CARGO_TARGET_DIR",
            "CARGO_TARGET_TMPDIR",
            "CARGO_BUILD_TARGET",
            "CARGO_BUILD_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_UNSTABLE_BUILD_STD",
            "__CARGO_DEFAULT_LIB_METADATA",
            "MAKEFLAGS",
            "MFLAGS",
            "RUSTC",
            "RUSTDOC",
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_LINKER",
        ] {
            assert_eq!(get(&cleaned(&[(name, "x")]), name), None, "{name} was kept");
        }
    }

    #[test]
    fn what_belongs_to_the_person_is_kept() {
        for name in [
            "PATH",
            "HOME",
            "HTTPS_PROXY",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_HTTP_PROXY",
            "CARGO_TERM_COLOR",
            "CARGO_REGISTRIES_OURS_TOKEN",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER",
            "RUSTUP_HOME",
            "CARGOES",
        ] {
            assert_eq!(get(&cleaned(&[(name, "x")]), name), Some("x"), "{name} was removed");
        }
    }

    #[test]
    fn a_toolchain_that_a_person_chose_counts_and_the_one_of_an_outer_cargo_does_not() {
        let chosen = ("RUSTUP_TOOLCHAIN", "nightly");
        assert_eq!(get(&cleaned(&[chosen]), "RUSTUP_TOOLCHAIN"), Some("nightly"));
        assert_eq!(get(&cleaned(&[chosen, ("CARGO", "/cargo")]), "RUSTUP_TOOLCHAIN"), None);
    }

    #[test]
    fn the_number_of_jobs_of_a_build_script_becomes_the_inner_one() {
        let environment =
            cleaned(&[("CARGO", "/cargo"), ("NUM_JOBS", "3"), ("CARGO_MAKEFLAGS", "--jobserver-fds=8,9")]);
        assert_eq!(get(&environment, "CARGO_BUILD_JOBS"), Some("3"));
    }

    #[test]
    fn the_persons_target_folder_is_remembered_and_not_passed_on() {
        let environment = cleaned(&[("CARGO_TARGET_DIR", "/builds")]);
        assert_eq!(environment.target_dir(), Some(Path::new("/builds")));
        assert_eq!(cleaned(&[("CARGO_TARGET_DIR", "")]).target_dir(), None);
    }

    #[test]
    fn debians_tools_come_first_and_no_library_of_an_outer_cargo_is_found() {
        let vars =
            [("PATH", "/root/.cargo/bin"), ("LD_LIBRARY_PATH", "/x"), ("RUSTC", "/outer/rustc"), ("CARGO", "/cargo")];
        let debian = cleaned(&vars).for_debian(Path::new("/usr/bin/rustc"));
        assert_eq!(get(&debian, "PATH"), Some("/usr/bin:/bin:/root/.cargo/bin"));
        assert_eq!(get(&debian, "RUSTC"), Some("/usr/bin/rustc"));
        assert_eq!(get(&debian, "RUSTC_BOOTSTRAP"), Some("1"));
        assert_eq!(get(&debian, "LD_LIBRARY_PATH"), None);
    }
}
