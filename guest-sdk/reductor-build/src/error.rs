//! What can go wrong on the way from a guest crate to a component, and whose turn it is.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// A component that was not built.
///
/// The message is meant to be read by the author of the guest: it names the crate or the
/// file and says what to change. What it repeats of an inner reason is not a `source` as
/// well, or whoever prints the chain would print it twice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The caller's path leads nowhere.
    #[error("there is nothing at {}", path.display())]
    PathMissing {
        /// The path as it was given, made absolute.
        path: PathBuf,
    },

    /// The caller's path exists and is no crate.
    #[error("{} is not a crate: expected a folder with a Cargo.toml, or the Cargo.toml itself", path.display())]
    NotACrate {
        /// The path as it was given, made absolute.
        path: PathBuf,
    },

    /// The caller's path is a workspace without a package of its own.
    #[error("{} is a workspace, not a crate: give the path of one of its members", manifest.display())]
    NoPackage {
        /// The manifest that has no `[package]`.
        manifest: PathBuf,
    },

    /// Cargo cannot read the author's manifest, or the workspace around it.
    #[error("cargo could not read {}:\n{output}", manifest.display())]
    Manifest {
        /// The manifest of the guest.
        manifest: PathBuf,
        /// The last lines that cargo wrote.
        output: String,
    },

    /// The author's crate produces no WebAssembly module.
    #[error(
        "crate `{package}` does not produce a WebAssembly module: {}",
        lib.advice(manifest)
    )]
    NotCdylib {
        /// The name of the guest.
        package: String,
        /// Its manifest.
        manifest: PathBuf,
        /// Whether the manifest has a section that can be changed.
        lib: LibSection,
    },

    /// The machine cannot compile for WebAssembly.
    #[error("no way to compile for wasm32-unknown-unknown was found{}; any of these helps:{}", list(tried), list(ways))]
    NoToolchain {
        /// What was attempted, and why it failed.
        tried: Vec<String>,
        /// What a person can do about it.
        ways: Vec<String>,
    },

    /// A program that the build needs did not start.
    #[error("could not run {program}")]
    NotStarted {
        /// The program.
        program: String,
        /// The operating system's reason.
        source: io::Error,
    },

    /// The author's code does not compile, or a dependency could not be fetched.
    #[error("cargo could not build {packages} ({status}){}{}", after("; ", hint), after(":\n", output))]
    Compile {
        /// The guests of this invocation.
        packages: String,
        /// How cargo ended.
        status: ExitStatus,
        /// What we make of the compiler's words, where they say too little.
        hint: Option<&'static str>,
        /// The last lines that cargo wrote, unless
        /// [`on_line`](crate::BuildOptions::on_line) has had them all.
        output: Option<String>,
    },

    /// Cargo succeeded and reported no module for the guest.
    #[error("cargo built `{package}` but reported no WebAssembly module for it")]
    NoModule {
        /// The name of the guest.
        package: String,
    },

    /// The author's module is not a component in the making.
    #[error("crate `{package}` compiles, but is no component: {reason}")]
    Component {
        /// The name of the guest.
        package: String,
        /// What is wrong with the module.
        reason: ComponentError,
    },

    /// The disk refused.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was to be done: a verb, such as `write`.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl BuildError {
    /// For `map_err`: the disk refused to do `action` with `path`.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// Whether a manifest has a section `[lib]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LibSection {
    /// A second one would break the manifest: the one that is there has to change.
    Present,
    /// It can be added.
    Missing,
}

impl LibSection {
    /// What makes the crate of `manifest` a guest that can also be tested and linked natively.
    fn advice(self, manifest: &Path) -> String {
        let (manifest, line) = (manifest.display(), "crate-type = [\"cdylib\", \"rlib\"]");
        match self {
            Self::Present => format!("in the [lib] of {manifest}, set {line}"),
            Self::Missing => format!("add these lines to {manifest}\n\n[lib]\n{line}\n"),
        }
    }
}

/// A core module that could not be made a component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComponentError {
    /// The bytes are something else: text, a component already, or damaged.
    #[error("not a WebAssembly core module ({})", chain(cause))]
    NotAModule {
        /// What the decoder met.
        cause: Cause,
    },

    /// The module says nothing of its interface, or only of what it imports.
    #[error("the crate exports no model; add `reductor_guest::export!(YourModel);`")]
    NothingExported,

    /// The module declares an interface and does not implement all of it.
    #[error(
        "an exported function is missing ({}); invoke the export macro of the guest SDK in the \
         crate that is built, and keep one version of the SDK in the dependency tree",
        chain(cause)
    )]
    ExportMissing {
        /// Which one.
        cause: Cause,
    },

    /// The module asks for functions that no host offers.
    #[error(
        "it imports what the host does not offer ({}); a dependency expects an operating system, \
         JavaScript or a C library: switch that dependency's feature off, or replace it",
        chain(cause)
    )]
    ImportUnknown {
        /// Which one.
        cause: Cause,
    },

    /// Anything else, in the words of `wit-component`.
    #[error("it could not be encoded ({})", chain(cause))]
    Encode {
        /// What the encoder met.
        cause: Cause,
    },
}

/// The reason that another crate gave.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The reason and the reasons behind it, on one line, each once.
pub(crate) fn chain(cause: &Cause) -> String {
    let mut text = cause.to_string();
    let mut next = cause.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// `text` behind what separates it from the text before, or nothing.
fn after(separator: &str, text: &Option<impl AsRef<str>>) -> String {
    text.as_ref().map(|text| format!("{separator}{}", text.as_ref())).unwrap_or_default()
}

fn list(items: &[String]) -> String {
    items.iter().map(|item| format!("\n  - {item}")).collect()
}
