//! `wasi:io`: the streams of standard input and output, and polls that never wait.

use reductor_core::Reason;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType, WasmList};

use super::lines::Lines;
use super::{Context, interface, refused};
use crate::abi::LevelParam;
use crate::host::{HostState, charge};

/// Bytes of one write: what WASI lets a guest write without asking.
const WRITE_BYTES_MAX: usize = 4_096;
/// What a pollable in a list costs, in bytes: as long as it takes to copy so many it takes to
/// look the pollable up twice.
const POLLABLE_BYTES: usize = 64;
/// The number of a pollable that is ready at any time; the others are moments of the clock.
pub(super) const READY: u32 = 0;
/// The numbers of output streams.
pub(super) const STDOUT: u32 = 0;
pub(super) const STDERR: u32 = 1;

// Resources are numbers: the host keeps nothing for a stream.
pub(super) struct IoError;
pub(super) struct Pollable;
pub(super) struct InputStream;
pub(super) struct OutputStream;

/// No operation on a stream of ours fails in another way than by its end.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut error = interface(linker, "wasi:io/error")?;
    error.resource("error", ResourceType::host::<IoError>(), |_, _| Ok(()))?;
    error.func_wrap("[method]error.to-debug-string", |_: Context<'_>, (_,): (Resource<IoError>,)| {
        Ok(("an error that never happens".to_owned(),))
    })?;
    poll(linker)?;
    let mut streams = interface(linker, "wasi:io/streams")?;
    input_stream(&mut streams)?;
    output_stream(&mut streams)
}

fn poll(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    type Self_ = (Resource<Pollable>,);
    let mut poll = interface(linker, "wasi:io/poll")?;
    poll.resource("pollable", ResourceType::host::<Pollable>(), |mut store, pollable| {
        let wasi = &mut store.data_mut().wasi;
        wasi.handle_dropped();
        wasi.moments.forget(pollable);
        Ok(())
    })?;
    // Asking moves the clock to the moment too: a guest may ask in a loop.
    poll.func_wrap("[method]pollable.ready", |mut store: Context<'_>, (pollable,): Self_| {
        advance(&mut store, &[pollable]);
        Ok((true,))
    })?;
    poll.func_wrap("[method]pollable.block", |mut store: Context<'_>, (pollable,): Self_| {
        advance(&mut store, &[pollable]);
        Ok(())
    })?;
    poll.func_wrap("poll", |mut store: Context<'_>, (pollables,): (Vec<Resource<Pollable>>,)| {
        if pollables.is_empty() {
            return Err(refused(Reason::AbiMismatch, "it polled an empty list, which would never end"));
        }
        charge(&mut store, pollables.len().saturating_mul(POLLABLE_BYTES))?;
        advance(&mut store, &pollables);
        let moments = &store.data().wasi.moments;
        let ready = (0..).zip(&pollables).filter(|(_, pollable)| moments.is_ready(pollable.rep()));
        Ok((ready.map(|(index, _): (u32, _)| index).collect::<Vec<_>>(),))
    })
}

fn advance(store: &mut Context<'_>, pollables: &[Resource<Pollable>]) {
    store.data_mut().wasi.moments.advance_to_first(pollables.iter().map(Resource::rep));
}

/// What every stream answers to `subscribe`.
fn ready_pollable(state: &mut HostState) -> wasmtime::Result<(Resource<Pollable>,)> {
    state.wasi.handle_made()?;
    Ok((Resource::new_own(READY),))
}

/// Standard input, which has ended before it began.
fn input_stream(streams: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    type Read = (Resource<InputStream>, u64);
    streams.resource("input-stream", ResourceType::host::<InputStream>(), |mut store, _| {
        store.data_mut().wasi.handle_dropped();
        Ok(())
    })?;
    for name in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        streams.func_wrap(name, |_: Context<'_>, _: Read| Ok((Err::<Vec<u8>, _>(StreamError::Closed),)))?;
    }
    for name in ["[method]input-stream.skip", "[method]input-stream.blocking-skip"] {
        streams.func_wrap(name, |_: Context<'_>, _: Read| Ok((Err::<u64, _>(StreamError::Closed),)))?;
    }
    streams.func_wrap("[method]input-stream.subscribe", |mut store: Context<'_>, _: (Resource<InputStream>,)| {
        ready_pollable(store.data_mut())
    })
}

/// Standard output and standard error, which are the guest's log.
fn output_stream(streams: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    type Self_ = (Resource<OutputStream>,);
    type Splice = (Resource<OutputStream>, Resource<InputStream>, u64);
    streams.resource("output-stream", ResourceType::host::<OutputStream>(), |mut store, _| {
        store.data_mut().wasi.handle_dropped();
        Ok(())
    })?;
    streams.func_wrap("[method]output-stream.check-write", |_: Context<'_>, _: Self_| {
        Ok((Ok::<_, StreamError>(WRITE_BYTES_MAX as u64),))
    })?;
    for name in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        type Write = (Resource<OutputStream>, WasmList<u8>);
        streams.func_wrap(name, |mut store: Context<'_>, (stream, list): Write| {
            charge(&mut store, check_write(list.len() as u64)?)?;
            let bytes = list.as_le_slice(&store).to_vec();
            store.data_mut().write(stream.rep(), &bytes);
            Ok((Ok::<_, StreamError>(()),))
        })?;
    }
    for name in ["[method]output-stream.write-zeroes", "[method]output-stream.blocking-write-zeroes-and-flush"] {
        streams.func_wrap(name, |mut store: Context<'_>, (stream, length): (Resource<OutputStream>, u64)| {
            let zeroes = &[0; WRITE_BYTES_MAX][..check_write(length)?];
            charge(&mut store, zeroes.len())?;
            store.data_mut().write(stream.rep(), zeroes);
            Ok((Ok::<_, StreamError>(()),))
        })?;
    }
    // A line is shown when it ends, whenever the guest flushes.
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        streams.func_wrap(name, |_: Context<'_>, _: Self_| Ok((Ok::<_, StreamError>(()),)))?;
    }
    for name in ["[method]output-stream.splice", "[method]output-stream.blocking-splice"] {
        streams.func_wrap(name, |_: Context<'_>, _: Splice| Ok((Err::<u64, _>(StreamError::Closed),)))?;
    }
    streams.func_wrap("[method]output-stream.subscribe", |mut store: Context<'_>, _: Self_| {
        ready_pollable(store.data_mut())
    })
}

/// Holds a guest to what `check-write` tells it.
fn check_write(length: u64) -> wasmtime::Result<usize> {
    usize::try_from(length).ok().filter(|length| *length <= WRITE_BYTES_MAX).ok_or_else(|| {
        let message = format!("it wrote {length} bytes to a stream at once, where it may write {WRITE_BYTES_MAX}");
        refused(Reason::AbiMismatch, message)
    })
}

impl HostState {
    /// Writes to standard output or standard error.
    fn write(&mut self, stream: u32, bytes: &[u8]) {
        let (lines, level) = self.stream(stream);
        let mut lines = std::mem::take(lines);
        lines.write(bytes, |line| self.log_line(level, line));
        *self.stream(stream).0 = lines;
    }

    /// Shows what the guest wrote and did not end with a line feed, at the end of a call.
    pub(crate) fn show_unfinished_lines(&mut self) {
        for stream in [STDOUT, STDERR] {
            let (lines, level) = self.stream(stream);
            if let Some(rest) = lines.take_rest() {
                self.log_line(level, &rest);
            }
        }
    }

    fn stream(&mut self, stream: u32) -> (&mut Lines, LevelParam) {
        if stream == STDERR {
            (&mut self.wasi.stderr, LevelParam::Warn)
        } else {
            (&mut self.wasi.stdout, LevelParam::Info)
        }
    }
}
