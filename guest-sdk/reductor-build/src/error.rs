//! What can go wrong on the way from a guest crate to a component, and whose turn it is.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// A component that was not built.
///
/// The message is meant to be read by the author of the guest: it names the crate or the
/// file and says what to change.
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
        "crate `{package}` does not produce a WebAssembly module: add these lines to {}\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\n",
        manifest.display()
    )]
    NotCdylib {
        /// The name of the guest.
        package: String,
        /// Its manifest.
        manifest: PathBuf,
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
    #[error("cargo could not build {packages} ({status}):\n{output}")]
    Compile {
        /// The guests of this invocation.
        packages: String,
        /// How cargo ended.
        status: ExitStatus,
        /// The last lines that cargo wrote.
        output: String,
    },

    /// Cargo succeeded and reported no module for the guest.
    #[error("cargo built `{package}` but reported no WebAssembly module for it")]
    NoModule {
        /// The name of the guest.
        package: String,
    },

    /// The author's module is not a component in the making.
    #[error("crate `{package}` compiles, but is no component: {source}")]
    Component {
        /// The name of the guest.
        package: String,
        /// What is wrong with the module.
        source: ComponentError,
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

/// A core module that could not be made a component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComponentError {
    /// The bytes are something else: text, a component already, or damaged.
    #[error("not a WebAssembly core module ({})", chain(source))]
    NotAModule {
        /// What the decoder met.
        source: Cause,
    },

    /// The module says nothing of its interface, or only of what it imports.
    #[error(
        "the module exports no interface; the crate must invoke the export macro of the guest \
         SDK (for bindings of `wit-bindgen`: `export!`) exactly once"
    )]
    NothingExported,

    /// The module declares an interface and does not implement all of it.
    #[error(
        "an exported function is missing ({}); invoke the export macro of the guest SDK in the \
         crate that is built, and keep one version of the SDK in the dependency tree",
        chain(source)
    )]
    ExportMissing {
        /// Which one.
        source: Cause,
    },

    /// The module asks for functions that no host offers.
    #[error(
        "it imports what the host does not offer ({}); a dependency expects an operating system, \
         JavaScript or a C library: switch that dependency's feature off, or replace it",
        chain(source)
    )]
    ImportUnknown {
        /// Which one.
        source: Cause,
    },

    /// Anything else, in the words of `wit-component`.
    #[error("it could not be encoded ({})", chain(source))]
    Encode {
        /// What the encoder met.
        source: Cause,
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

fn list(items: &[String]) -> String {
    items.iter().map(|item| format!("\n  - {item}")).collect()
}
