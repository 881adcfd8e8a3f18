//! Compiles the guests that the tests run, once for all of them.
//!
//! Each becomes a variable of the tests, such as `GUEST_TODO_LIST`: the path of its
//! component. Nothing is installed unless `REDUCTOR_INSTALL_TOOLCHAIN` is `1`.
//!
//! Without Node.js everything but the tests of the JavaScript guest runs; those say what is
//! missing.

mod javascript;

use std::path::Path;

use reductor_build::{BuildError, BuildOptions, Component, DebugInfo, InstallPolicy, build_all};

const GUESTS: [&str; 5] = [
    "../example-reducers/counter",
    "../example-reducers/text",
    "../example-reducers/todo-list",
    "guests/ambient",
    "guests/unruly",
];
/// It is built a second time, so that its backtraces name files and lines.
const WITH_LINES: &str = "guests/unruly";
/// It has several revisions: the features of each, and the end of its variable.
const REVISED: &str = "guests/stock";
const REVISIONS: [(&str, &str); 3] = [("", ""), ("owner", "_WITH_OWNER"), ("version-2", "_VERSION_2")];
const INSTALL: &str = "REDUCTOR_INSTALL_TOOLCHAIN";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={INSTALL}");
    if let Err(error) = build_guests() {
        // Cargo shows these lines as they are, without the noise of a panic.
        error.to_string().lines().for_each(|line| println!("cargo::error={line}"));
    }
}

fn build_javascript(here: &Path, policy: InstallPolicy) {
    println!("cargo::rerun-if-changed=javascript.rs");
    let out = std::env::var_os("OUT_DIR").expect("cargo runs build scripts with it");
    // target/PROFILE/build/PACKAGE/out
    let target = Path::new(&out).ancestors().nth(4).expect("it is that deep");
    let (guest, wit) = (here.join("guests/todo-list-js"), here.join("../wit/reducer.wit"));
    match javascript::build(&guest, &wit, &target.join("reductor-javascript"), policy) {
        Ok(component) => println!("cargo::rustc-env=GUEST_TODO_LIST_JS={}", component.display()),
        Err(problem) => {
            println!("cargo::warning={problem}");
            println!("cargo::rustc-env=GUEST_TODO_LIST_JS_PROBLEM={problem}");
            // What is missing may be there the next time, and cargo cannot know.
            println!("cargo::rerun-if-changed={}", Path::new(&out).join("never-there").display());
        }
    }
}

fn build_guests() -> Result<(), BuildError> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs build scripts with it");
    let guests = GUESTS.map(|guest| Path::new(&here).join(guest));
    let policy = match std::env::var(INSTALL).as_deref() {
        Ok("1") => InstallPolicy::Allowed,
        _ => InstallPolicy::Never,
    };
    build_javascript(Path::new(&here), policy);
    let components = build_all(&guests, &BuildOptions::new().install(policy))?;
    components.iter().for_each(|component| announce(component, ""));
    // A folder of its own: the two would have the same path.
    let folder = Path::new(&std::env::var_os("OUT_DIR").expect("cargo runs build scripts with it")).join("with-lines");
    let options = BuildOptions::new().install(policy).debug_info(DebugInfo::LineTables).target_dir(folder);
    let with_lines = build_all(&[Path::new(&here).join(WITH_LINES)], &options)?;
    with_lines.iter().for_each(|component| announce(component, "_WITH_LINES"));
    build_revisions(Path::new(&here), policy)?;
    if let Some(component) = components.first() {
        println!("cargo::warning=guests were compiled with {}", component.toolchain);
    }
    Ok(())
}

/// Builds each revision of a guest. They have one path, so each is put aside before the next.
fn build_revisions(here: &Path, policy: InstallPolicy) -> Result<(), BuildError> {
    let out = std::env::var_os("OUT_DIR").expect("cargo runs build scripts with it");
    for (features, suffix) in REVISIONS {
        let options = BuildOptions::new().install(policy).cargo_arg(format!("--features={features}"));
        for mut component in build_all(&[here.join(REVISED)], &options)? {
            let aside = Path::new(&out).join(format!("{}{suffix}.wasm", component.package));
            let bytes = std::fs::read(&component.path).expect("it was just written");
            // One that is as it was keeps its time, so that nothing is built again because of that.
            if std::fs::read(&aside).ok().as_ref() != Some(&bytes) {
                std::fs::write(&aside, bytes).expect("cargo's folder can be written");
            }
            component.path = aside;
            announce(&component, suffix);
        }
    }
    Ok(())
}

/// Tells the tests where the component is, and cargo what it is made of.
fn announce(component: &Component, suffix: &str) {
    let variable = component.package.to_uppercase().replace('-', "_");
    println!("cargo::rustc-env=GUEST_{variable}{suffix}={}", component.path.display());
    // The component too: whoever removes it wants it back.
    for file in component.dependencies.iter().chain([&component.path]) {
        println!("cargo::rerun-if-changed={}", file.display());
    }
}
