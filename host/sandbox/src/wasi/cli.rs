//! `wasi:cli`: an empty environment, the standard streams, and the way out.

use reductor_core::Reason;
use wasmtime::component::{Linker, Resource, ResourceType};

use super::io::{InputStream, OutputStream, STDERR, STDOUT};
use super::{Context, interface, refused};
use crate::host::HostState;

struct TerminalInput;
struct TerminalOutput;

pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    environment(linker)?;
    exit(linker)?;
    streams(linker)?;
    terminals(linker)
}

fn environment(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut environment = interface(linker, "wasi:cli/environment")?;
    environment.func_wrap("get-environment", |_: Context<'_>, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
    environment.func_wrap("get-arguments", |_: Context<'_>, (): ()| Ok((Vec::<String>::new(),)))?;
    environment.func_wrap("initial-cwd", |_: Context<'_>, (): ()| Ok((None::<String>,)))
}

fn exit(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    fn left(status: u8) -> wasmtime::Result<()> {
        Err(refused(Reason::Exit, format!("it called `exit` with status {status}")))
    }
    let mut exit = interface(linker, "wasi:cli/exit")?;
    exit.func_wrap("exit", |_: Context<'_>, (status,): (Result<(), ()>,)| left(u8::from(status.is_err())))?;
    exit.func_wrap("exit-with-code", |_: Context<'_>, (status,): (u8,)| left(status))
}

fn streams(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    interface(linker, "wasi:cli/stdin")?.func_wrap("get-stdin", |mut store: Context<'_>, (): ()| {
        store.data_mut().wasi.handle_made()?;
        Ok((Resource::<InputStream>::new_own(0),))
    })?;
    for (name, function, stream) in
        [("wasi:cli/stdout", "get-stdout", STDOUT), ("wasi:cli/stderr", "get-stderr", STDERR)]
    {
        interface(linker, name)?.func_wrap(function, move |mut store: Context<'_>, (): ()| {
            store.data_mut().wasi.handle_made()?;
            Ok((Resource::<OutputStream>::new_own(stream),))
        })?;
    }
    Ok(())
}

fn terminals(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let input = ResourceType::host::<TerminalInput>();
    interface(linker, "wasi:cli/terminal-input")?.resource("terminal-input", input, |_, _| Ok(()))?;
    let output = ResourceType::host::<TerminalOutput>();
    interface(linker, "wasi:cli/terminal-output")?.resource("terminal-output", output, |_, _| Ok(()))?;
    interface(linker, "wasi:cli/terminal-stdin")?
        .func_wrap("get-terminal-stdin", |_: Context<'_>, (): ()| Ok((None::<Resource<TerminalInput>>,)))?;
    for (name, function) in
        [("wasi:cli/terminal-stdout", "get-terminal-stdout"), ("wasi:cli/terminal-stderr", "get-terminal-stderr")]
    {
        interface(linker, name)?
            .func_wrap(function, |_: Context<'_>, (): ()| Ok((None::<Resource<TerminalOutput>>,)))?;
    }
    Ok(())
}
