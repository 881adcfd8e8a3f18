//! Makes a component of the JavaScript guest, with the tools that its lockfile pins.
//!
//! A part of the build script. The tools are kept in the target folder, so they are installed
//! once; the component is made again when anything that it is made of has changed.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use reductor_build::InstallPolicy;

/// What the component and its tools are made of.
const SOURCES: [&str; 4] = ["package.json", "package-lock.json", "componentize.js", "todo-list.js"];
const NODE: &str = "the JavaScript guest needs Node.js 20 or later with npm: install it from https://nodejs.org or \
                    with your system's packages (on Debian `apt-get install nodejs npm`)";

/// Makes the component, and says where it is; or what is missing, in one line.
pub(crate) fn build(guest: &Path, wit: &Path, work: &Path, install: InstallPolicy) -> Result<PathBuf, String> {
    let sources = SOURCES.map(|name| guest.join(name));
    println!("cargo::rerun-if-changed={}", wit.display());
    sources.iter().for_each(|source| println!("cargo::rerun-if-changed={}", source.display()));
    let component = work.join("todo-list.wasm");
    if made_of(&component, &sources, wit)? {
        return Ok(component);
    }
    fs::create_dir_all(work).map_err(|error| format!("{}: {error}", work.display()))?;
    for source in &sources {
        copy(source, &work.join(source.file_name().expect("each is a file")))?;
    }
    install_tools(work, install)?;
    let source = work.join("todo-list.js");
    let script = [OsStr::new("componentize.js"), wit.as_os_str(), source.as_os_str(), component.as_os_str()];
    run(Command::new("node").args(script), work)?;
    fs::write(stamp(&component), inputs(&sources, wit)?).map_err(|error| error.to_string())?;
    Ok(component)
}

/// Whether the component is there and made of these very sources.
fn made_of(component: &Path, sources: &[PathBuf], wit: &Path) -> Result<bool, String> {
    let made_of = fs::read(stamp(component)).unwrap_or_default();
    Ok(component.exists() && made_of == inputs(sources, wit)?)
}

/// The file that keeps what the component was made of.
fn stamp(component: &Path) -> PathBuf {
    component.with_extension("inputs")
}

fn inputs(sources: &[PathBuf], wit: &Path) -> Result<Vec<u8>, String> {
    let read = |path: &PathBuf| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut inputs = Vec::new();
    for source in sources.iter().chain([&wit.to_owned()]) {
        inputs.extend(read(source)?);
    }
    Ok(inputs)
}

/// Installs what the lockfile pins, unless that was done before.
fn install_tools(work: &Path, install: InstallPolicy) -> Result<(), String> {
    let lock = work.join("package-lock.json");
    // npm has a lockfile of its own of what it installed; only one of ours says that it ended.
    let installed = work.join("node_modules/.installed-package-lock.json");
    let wanted = fs::read(&lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if install != InstallPolicy::Allowed {
        return Err(format!(
            "the tools of the JavaScript guest are not installed: set {}=1 to let `npm ci` install them in {}",
            crate::INSTALL,
            work.display()
        ));
    }
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]), work)?;
    copy(&lock, &installed)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(drop).map_err(|error| format!("{}: {error}", to.display()))
}

fn run(command: &mut Command, folder: &Path) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.current_dir(folder).output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("{NODE} (there is no `{name}`)"),
        _ => format!("`{name}` could not be started: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).take(20).collect();
    Err(format!("`{name}` failed in {} ({}): {}", folder.display(), output.status, said.join(" | ")))
}
