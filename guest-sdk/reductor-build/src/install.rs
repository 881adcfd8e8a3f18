//! Carries out the plan: tries one step after the other, and says what it installs.

use std::path::Path;
use std::process::Command;

use crate::BuildError;
use crate::environment::Environment;
use crate::facts::{self, DEBIAN_CARGO, DEBIAN_RUSTC};
use crate::plan::{self, DEBIAN_PACKAGES, DebianWeb, Facts, InstallPolicy, Step, TARGET, Toolchain};
use crate::process::{self, Log};

/// A cargo that can compile guests, and how to call it.
#[derive(Clone, Debug)]
pub(crate) struct Cargo {
    pub(crate) toolchain: Toolchain,
    pub(crate) program: &'static str,
    pub(crate) environment: Environment,
    /// Arguments of every `cargo build`.
    pub(crate) arguments: &'static [&'static str],
}

/// Finds a toolchain for the crate in `folder`; installs one only where `policy` allows it.
pub(crate) fn prepare(
    environment: &Environment,
    folder: &Path,
    policy: InstallPolicy,
    log: &Log,
) -> Result<Cargo, BuildError> {
    let environment = match policy {
        InstallPolicy::Never => environment.clone().without_auto_install(),
        InstallPolicy::Allowed => environment.clone(),
    };
    let facts = facts::gather(&environment, folder);
    attempt(&environment, folder, &facts, policy, log)
}

fn attempt(
    environment: &Environment,
    folder: &Path,
    facts: &Facts,
    policy: InstallPolicy,
    log: &Log,
) -> Result<Cargo, BuildError> {
    let mut tried = Vec::new();
    for step in plan::plan(facts, policy) {
        match take(step, environment, folder, log) {
            Ok(toolchain) => return Ok(cargo_of(toolchain, environment)),
            Err(reason) => {
                log.line(&reason);
                tried.push(reason);
            }
        }
    }
    Err(BuildError::NoToolchain { tried, ways: plan::ways(facts, policy) })
}

/// One step; the error is a line for people, since the next step may succeed.
fn take(step: Step, environment: &Environment, folder: &Path, log: &Log) -> Result<Toolchain, String> {
    match step {
        Step::UseTarget { toolchain } => Ok(Toolchain::RustupTarget { toolchain, added: false }),
        Step::UseDebian { version } => Ok(Toolchain::DebianWeb { version, installed: false }),
        Step::AddTarget { toolchain } => {
            log.line(&format!("installing: rustup target add {TARGET} (toolchain {toolchain})"));
            succeed(environment.command("rustup", folder).args(["target", "add", TARGET]), log)?;
            Ok(Toolchain::RustupTarget { toolchain, added: true })
        }
        Step::InstallDebian => install_debian(environment, folder, log),
    }
}

fn install_debian(environment: &Environment, folder: &Path, log: &Log) -> Result<Toolchain, String> {
    let apt_get = |arguments: &[&str]| {
        log.line(&format!("installing: apt-get {}", arguments.join(" ")));
        succeed(environment.command("apt-get", folder).env("DEBIAN_FRONTEND", "noninteractive").args(arguments), log)
    };
    let install = ["install", "-y", "--no-install-recommends"];
    apt_get(&["update"])?;
    apt_get(&[&install[..], &DEBIAN_PACKAGES].concat())?;
    // Only now is it known which linker belongs to this compiler.
    let linker = facts::debian_linker_package().ok_or("rust-web-llvm brought no rust-lld")?;
    apt_get(&[&install[..], &[linker.as_str()]].concat())?;
    match facts::debian_web(environment, folder) {
        DebianWeb::Ready { version } => Ok(Toolchain::DebianWeb { version, installed: true }),
        DebianWeb::Missing(missing) => Err(format!("still missing after apt-get: {}", missing.join(" "))),
    }
}

fn succeed(command: &mut Command, log: &Log) -> Result<(), String> {
    let ended = process::run(command, log, |line| log.line(line)).map_err(|error| error.to_string())?;
    if ended.status.success() {
        return Ok(());
    }
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    let program = command.get_program().to_string_lossy();
    let reason = ended.tail.lines().last().unwrap_or("no reason given").to_owned();
    Err(format!("`{program} {}` failed ({}): {reason}", arguments.join(" "), ended.status))
}

fn cargo_of(toolchain: Toolchain, environment: &Environment) -> Cargo {
    match toolchain {
        Toolchain::RustupTarget { .. } => {
            Cargo { toolchain, program: "cargo", environment: environment.clone(), arguments: &[] }
        }
        Toolchain::DebianWeb { .. } => Cargo {
            toolchain,
            program: DEBIAN_CARGO,
            environment: environment.for_debian(Path::new(DEBIAN_RUSTC)),
            arguments: &["-Zbuild-std=std,panic_abort"],
        },
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::plan::ActiveToolchain;

    /// A folder of one test, removed at its end.
    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            // Left behind, it does no harm.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// An environment whose `PATH` holds one pretended program and nothing else.
    fn with_program(test: &str, name: &str, script: &str) -> (Environment, Scratch) {
        let folder = std::env::temp_dir().join(format!("reductor-build-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder can be made");
        // Another process writes it: a child that another test starts just now would inherit our
        // open file, and a program that is open for writing cannot be run.
        let written = Command::new("/bin/sh")
            .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#, "sh"])
            .args([folder.join(name).as_os_str(), script.as_ref()])
            .status();
        assert!(written.is_ok_and(|status| status.success()), "the program can be written");
        (Environment::cleaned([("PATH".into(), folder.clone().into())]), Scratch(folder))
    }

    fn facts(debian_web: DebianWeb) -> Facts {
        let active = Some(ActiveToolchain { name: "stable".into(), has_target: false });
        Facts { active, rustup_present: true, debian_web, debian: false, root: false }
    }

    #[test]
    fn rustup_is_asked_for_the_target() {
        let script = r#"test "$*" = "target add wasm32-unknown-unknown""#;
        let (environment, folder) = with_program("adds", "rustup", script);
        let facts = facts(DebianWeb::Missing(vec![]));
        let cargo = attempt(&environment, &folder.0, &facts, InstallPolicy::Allowed, &Log::to(|_| {}))
            .expect("a step succeeds");
        assert_eq!(cargo.toolchain, Toolchain::RustupTarget { toolchain: "stable".into(), added: true });
    }

    #[test]
    fn when_rustup_fails_debians_toolchain_is_next() {
        let (environment, folder) = with_program("fails-over", "rustup", "echo no network >&2; exit 1");
        let facts = facts(DebianWeb::Ready { version: "1.96.0".into() });
        let cargo = attempt(&environment, &folder.0, &facts, InstallPolicy::Allowed, &Log::to(|_| {}))
            .expect("a step succeeds");
        assert_eq!(cargo.toolchain, Toolchain::DebianWeb { version: "1.96.0".into(), installed: false });
    }

    #[test]
    fn an_attempt_that_failed_is_told_with_the_ways() {
        let (environment, folder) = with_program("told", "rustup", "echo no network >&2; exit 1");
        let facts = facts(DebianWeb::Missing(vec![]));
        let error = attempt(&environment, &folder.0, &facts, InstallPolicy::Allowed, &Log::to(|_| {}))
            .expect_err("no step succeeds");
        let text = error.to_string();
        assert!(text.contains("failed (exit status: 1): no network"), "{text}");
        assert!(text.contains("`rustup target add wasm32-unknown-unknown` (active toolchain: stable)"), "{text}");
    }

    #[test]
    fn without_permission_no_program_is_called() {
        let (environment, folder) = with_program("never", "rustup", "touch called");
        let facts = facts(DebianWeb::Missing(vec![]));
        let result = attempt(&environment, &folder.0, &facts, InstallPolicy::Never, &Log::to(|_| {}));
        assert!(matches!(result, Err(BuildError::NoToolchain { .. })));
        assert!(!folder.0.join("called").exists());
    }
}
