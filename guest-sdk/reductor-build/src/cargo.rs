//! Compiles guests of one workspace in one run of cargo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::BuildError;
use crate::install::Cargo;
use crate::plan::TARGET;
use crate::process::{self, Log};
use crate::workspace::Guest;

/// What one run of cargo is told besides the guests.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// Where cargo is called: it decides which configuration files count.
    pub(crate) folder: &'a Path,
    pub(crate) target_dir: &'a Path,
    /// `--config` values of the profile.
    pub(crate) profile: &'a [String],
    /// The caller's own arguments, such as `--locked`.
    pub(crate) arguments: &'a [String],
}

/// Compiles `guests`; the core module of each, in their order.
pub(crate) fn compile(cargo: &Cargo, guests: &[&Guest], run: &Run<'_>, log: &Log) -> Result<Vec<PathBuf>, BuildError> {
    let mut command = command(cargo, guests, run);
    let mut modules = BTreeMap::new();
    let ended = process::run(&mut command, log, |line| match module_in(line) {
        Some((manifest, module)) => {
            modules.insert(manifest, module);
        }
        // A procedural macro that prints.
        None if !line.starts_with('{') => log.line(line),
        None => {}
    })?;
    if !ended.status.success() {
        let packages: Vec<_> = guests.iter().map(|guest| format!("`{}`", guest.package)).collect();
        return Err(BuildError::Compile {
            packages: packages.join(", "),
            status: ended.status,
            hint: hint(&ended.tail),
            output: (!log.is_callers()).then_some(ended.tail),
        });
    }
    let module_of = |guest: &&Guest| {
        modules.get(&guest.manifest).cloned().ok_or_else(|| BuildError::NoModule { package: guest.package.clone() })
    };
    guests.iter().map(module_of).collect()
}

/// What the compiler's words do not say: which of the author's lines is one too many.
fn hint(output: &str) -> Option<&'static str> {
    let exported_twice = output.lines().any(|line| {
        line.contains("reductor:reducer/") && (line.contains("already defined") || line.contains("duplicate symbol"))
    });
    exported_twice.then_some("`reductor_guest::export!` may be invoked once, in the crate that is built")
}

fn command(cargo: &Cargo, guests: &[&Guest], run: &Run<'_>) -> Command {
    let mut command = cargo.environment.command(cargo.program, run.folder);
    command.args(["build", "--release", "--lib", "--target", TARGET]).args(cargo.arguments);
    command.arg("--message-format=json-render-diagnostics");
    if let [guest] = guests {
        command.arg("--manifest-path").arg(&guest.manifest);
    }
    for guest in guests {
        command.args(["--package", &guest.id]);
    }
    command.arg("--target-dir").arg(run.target_dir);
    // A folder for intermediate files that the outer cargo holds locked would stop both.
    let build_dir = toml::Value::String(run.target_dir.to_string_lossy().into_owned());
    command.arg("--config").arg(format!("build.build-dir={build_dir}"));
    for config in run.profile {
        command.args(["--config", config]);
    }
    command.args(run.arguments);
    command
}

/// The manifest and the file, if the line reports a compiled WebAssembly module.
fn module_in(line: &str) -> Option<(PathBuf, PathBuf)> {
    let message: Message = serde_json::from_str(line).ok()?;
    if message.reason != "compiler-artifact" || !message.target?.crate_types.iter().any(|kind| kind == "cdylib") {
        return None;
    }
    let module = message.filenames.into_iter().find(|file| file.extension().is_some_and(|end| end == "wasm"))?;
    Some((message.manifest_path?, module))
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<MessageTarget>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct MessageTarget {
    crate_types: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::plan::Toolchain;

    fn artifact(crate_type: &str, file: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/counter#0.1.0","manifest_path":"/w/counter/Cargo.toml","target":{{"kind":["{crate_type}"],"crate_types":["{crate_type}"],"name":"counter","src_path":"/w/counter/src/lib.rs"}},"filenames":["{file}"],"executable":null,"fresh":true}}"#
        )
    }

    #[test]
    fn the_module_of_a_cdylib_is_found() {
        let found = module_in(&artifact("cdylib", "/t/counter.wasm"));
        assert_eq!(found, Some(("/w/counter/Cargo.toml".into(), "/t/counter.wasm".into())));
    }

    #[test]
    fn other_messages_are_passed_over() {
        for line in [
            artifact("lib", "/t/libserde.rlib").as_str(),
            artifact("cdylib", "/t/libmacro.so").as_str(),
            r#"{"reason":"build-script-executed","package_id":"x","out_dir":"/t/out"}"#,
            r#"{"reason":"build-finished","success":true}"#,
            r#"{"reason":"a reason of the future"}"#,
            "a macro that prints",
        ] {
            assert_eq!(module_in(line), None, "{line}");
        }
    }

    #[test]
    fn a_second_export_is_explained_and_nothing_else() {
        let second = "error: symbol `cabi_post_reductor:reducer/model@1.0.0#describe` is already defined";
        let linked = "rust-lld: error: duplicate symbol: reductor:reducer/model@1.0.0#describe";
        for output in [second, linked] {
            let expected = "`reductor_guest::export!` may be invoked once, in the crate that is built";
            assert_eq!(hint(&format!("   Compiling x\n{output}\n  --> src/lib.rs:54:1")), Some(expected));
        }
        for output in ["", "error: symbol `main` is already defined", "reductor:reducer/model\nalready defined"] {
            assert_eq!(hint(output), None, "{output}");
        }
    }

    fn guest(package: &str) -> Guest {
        let manifest = PathBuf::from(format!("/w/{package}/Cargo.toml"));
        Guest {
            package: package.into(),
            id: package.into(),
            manifest,
            workspace_root: "/w".into(),
            target_dir: "/w/target".into(),
        }
    }

    fn arguments(guests: &[&Guest]) -> String {
        let cargo = Cargo {
            toolchain: Toolchain::DebianWeb { version: "1.96.0".into(), installed: false },
            program: "/usr/bin/cargo",
            environment: Environment::cleaned([]),
            arguments: &["-Zbuild-std=std,panic_abort"],
        };
        let profile = ["profile.release.lto=\"fat\"".to_owned()];
        let target_dir = Path::new("/w/target/reductor-guests");
        let run = Run { folder: Path::new("/w"), target_dir, profile: &profile, arguments: &["--locked".to_owned()] };
        let command = command(&cargo, guests, &run);
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        arguments.join(" ")
    }

    #[test]
    fn several_guests_are_one_run() {
        let arguments = arguments(&[&guest("counter"), &guest("text")]);
        assert!(arguments.contains("--package counter --package text"), "{arguments}");
        assert!(!arguments.contains("--manifest-path"), "{arguments}");
    }

    #[test]
    fn the_folders_are_never_those_of_an_outer_cargo() {
        let arguments = arguments(&[&guest("counter")]);
        let folder = "/w/target/reductor-guests";
        assert!(arguments.contains(&format!("--target-dir {folder}")), "{arguments}");
        assert!(arguments.contains(&format!("build.build-dir=\"{folder}\"")), "{arguments}");
        assert!(arguments.ends_with("--locked"), "{arguments}");
    }
}
