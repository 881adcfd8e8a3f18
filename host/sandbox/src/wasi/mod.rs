//! WASI 0.2 for guests whose standard library drags it in: deterministic, and no authority.
//!
//! Nothing here reaches a file, a socket, a clock or the machine's randomness; none of the
//! code that could is even linked. What varies for a guest varies with the document and the
//! action alone, so that a fresh instance and a resident one see the same.
//!
//! | import | what it does here |
//! |---|---|
//! | `wasi:cli/environment` | no variables, no arguments, no current directory |
//! | `wasi:cli/exit` | ends the call as a failure with reason `exit` |
//! | `wasi:cli/stdin` | closed |
//! | `wasi:cli/stdout`, `stderr` | lines go to the log (`info`, `warn`), within the limits of `log` |
//! | `wasi:cli/terminal-*` | there is no terminal |
//! | `wasi:clocks/wall-clock` | stands at the action's timestamp during `apply`, else at 1970 |
//! | `wasi:clocks/monotonic-clock` | starts anew with every call, moves on by a microsecond with every reading |
//! | `wasi:random/*` | a generator that starts anew with every call: from the operation's id during `apply`, else from document and branch |
//! | `wasi:io/poll` | nothing ever sleeps; waiting for a moment moves the monotonic clock there |
//! | `wasi:io/streams`, `error` | those of stdin, stdout and stderr |
//! | `wasi:filesystem/*` | not one directory is open, so nothing else of it can be called |

mod cli;
mod clock;
mod filesystem;
mod io;
mod lines;
mod random;
mod state;

use reductor_core::{GuestFailure, Reason};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance};

use crate::host::{HostState, Refused};

pub(crate) use state::Wasi;

/// What is granted, item by item.
pub(crate) const WIT: &str = include_str!("wasi.wit");
/// The version that the WIT has.
pub(crate) const VERSION: &str = "0.2.12";

type Context<'a> = StoreContextMut<'a, HostState>;

/// Defines everything that [`WIT`] lists.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    io::add_to_linker(linker)?;
    clock::add_to_linker(linker)?;
    random::add_to_linker(linker)?;
    cli::add_to_linker(linker)?;
    filesystem::add_to_linker(linker)
}

/// An interface by its name without the package's version, such as `wasi:io/poll`.
fn interface<'a>(linker: &'a mut Linker<HostState>, name: &str) -> wasmtime::Result<LinkerInstance<'a, HostState>> {
    linker.instance(&format!("{name}@{VERSION}"))
}

/// The name that an interface of WASI has in the [`WIT`], whatever patch of 0.2 a guest was
/// built with: the linker takes one for the other as well. Other names stay as they are.
pub(crate) fn granted_version(name: &str) -> String {
    let patch = |version: &str| {
        let patch = version.strip_prefix("0.2.")?;
        patch.bytes().all(|byte| byte.is_ascii_digit()).then_some(())
    };
    match name.split_once('@') {
        Some((interface, version)) if interface.starts_with("wasi:") && patch(version).is_some() => {
            format!("{interface}@{VERSION}")
        }
        _ => name.to_owned(),
    }
}

/// The failure that ends a call at a host function.
fn refused(reason: Reason, message: impl Into<String>) -> wasmtime::Error {
    wasmtime::Error::new(Refused(Box::new(GuestFailure::new(reason, message))))
}
