//! Looks at the machine: which compilers there are and what they can do. Changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::plan::{ActiveToolchain, DebianWeb, Facts, TARGET};
use crate::process::answer;

/// Where Debian's packages put their programs.
pub(crate) const DEBIAN_CARGO: &str = "/usr/bin/cargo";
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LINKER: &str = "/usr/bin/rust-lld";

/// The first compiler that understands edition 2024; older ones of Debian's are no help.
const RUSTC_MINOR_MIN: u32 = 85;

/// Collects what decides over the toolchain, as seen from `folder`: a `rust-toolchain.toml`
/// there or above counts.
pub(crate) fn gather(environment: &Environment, folder: &Path) -> Facts {
    Facts {
        active: active_toolchain(environment, folder),
        rustup_present: answer(environment.command("rustup", folder).arg("--version")).is_some(),
        debian_web: debian_web(environment, folder),
        debian: fs::read_to_string("/etc/os-release").is_ok_and(|text| is_debian(&text)),
        root: answer(environment.command("id", folder).arg("-u")).is_some_and(|id| id == "0"),
    }
}

fn active_toolchain(environment: &Environment, folder: &Path) -> Option<ActiveToolchain> {
    let sysroot = answer(environment.command("rustc", folder).args(["--print", "sysroot"]))?;
    let sysroot = PathBuf::from(sysroot);
    let has_target = sysroot.join("lib/rustlib").join(TARGET).is_dir();
    Some(ActiveToolchain { name: toolchain_name(&sysroot), has_target })
}

/// The name that rustup gave it; for any other compiler the place where it lives.
fn toolchain_name(sysroot: &Path) -> String {
    let of_rustup = sysroot.parent().is_some_and(|parent| parent.ends_with("toolchains"));
    match sysroot.file_name() {
        Some(name) if of_rustup => name.to_string_lossy().into_owned(),
        _ => format!("rustc in {}", sysroot.display()),
    }
}

/// What of Debian's parallel toolchain is there.
pub(crate) fn debian_web(environment: &Environment, folder: &Path) -> DebianWeb {
    let environment = environment.for_debian(Path::new(DEBIAN_RUSTC));
    let version = debian_rustc_version(&environment, folder);
    let mut missing = Vec::new();
    if version.is_none() {
        missing.push("rustc-web".to_owned());
    }
    if !Path::new(DEBIAN_CARGO).exists() {
        missing.push("cargo-web".to_owned());
    }
    if !Path::new("/usr/lib/rustlib/src/rust/library/std/Cargo.toml").exists() {
        missing.push("rust-web-src".to_owned());
    }
    missing.extend(missing_linker());
    match version {
        Some(version) if missing.is_empty() => DebianWeb::Ready { version },
        _ => DebianWeb::Missing(missing),
    }
}

/// The packages without which there is no `rust-lld`: it is a link of one package to a
/// program of another, which is not among the first one's dependencies.
fn missing_linker() -> Vec<String> {
    if Path::new(DEBIAN_LINKER).exists() {
        return Vec::new();
    }
    debian_linker_package().map_or_else(|| vec!["rust-web-llvm".into(), "lld-N".into()], |package| vec![package])
}

/// The package that `rust-lld` points to, such as `lld-22`, once `rust-web-llvm` is installed.
pub(crate) fn debian_linker_package() -> Option<String> {
    let target = fs::read_link(DEBIAN_LINKER).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

fn debian_rustc_version(environment: &Environment, folder: &Path) -> Option<String> {
    // A `rustc` of Debian's `rustup` package is in the same place and lives elsewhere.
    let sysroot = answer(environment.command(DEBIAN_RUSTC, folder).args(["--print", "sysroot"]))?;
    if sysroot != "/usr" {
        return None;
    }
    let text = answer(environment.command(DEBIAN_RUSTC, folder).arg("-vV"))?;
    recent_enough(&text).map(str::to_owned)
}

/// The release in the output of `rustc -vV`, if guests can be compiled with it.
fn recent_enough(version_text: &str) -> Option<&str> {
    let release = version_text.lines().find_map(|line| line.strip_prefix("release: "))?.trim();
    let minor: u32 = release.strip_prefix("1.")?.split('.').next()?.parse().ok()?;
    (minor >= RUSTC_MINOR_MIN).then_some(release)
}

fn is_debian(os_release: &str) -> bool {
    os_release.lines().any(|line| line.trim_end() == "ID=debian")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toolchains_of_rustup_go_by_their_name() {
        let name = |path| toolchain_name(Path::new(path));
        assert_eq!(
            name("/root/.rustup/toolchains/nightly-x86_64-unknown-linux-gnu"),
            "nightly-x86_64-unknown-linux-gnu"
        );
        assert_eq!(name("/usr"), "rustc in /usr");
    }

    #[test]
    fn compilers_older_than_the_edition_are_no_help() {
        let release = |release: &str| {
            format!("rustc {release} (built from a source tarball)\nrelease: {release}\nLLVM version: 22.1.8\n")
        };
        assert_eq!(recent_enough(&release("1.96.0")), Some("1.96.0"));
        assert_eq!(recent_enough(&release("1.85.0")), Some("1.85.0"));
        assert_eq!(recent_enough(&release("1.63.0")), None);
        assert_eq!(recent_enough("rustc"), None);
    }

    #[test]
    fn only_debian_is_debian() {
        assert!(is_debian("NAME=\"Debian GNU/Linux\"\nID=debian\n"));
        assert!(!is_debian("ID=ubuntu\nID_LIKE=debian\n"));
    }
}
