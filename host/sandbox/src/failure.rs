//! Says what a failed call into a guest means, and whose fault it was.

use reductor_core::{ApplyError, Frame, GuestFailure, PanicNote, Reason};
use wasmtime::{Trap, WasmBacktrace};

use crate::host::{Ended, Refused};
use crate::limiter::LimitMet;
use crate::text::printable;

/// Frames of a backtrace that are kept.
pub(crate) const BACKTRACE_FRAMES_MAX: usize = 32;
/// Bytes of a function's or a file's name that are kept: names are the guest's to choose.
const NAME_BYTES_MAX: usize = 256;
const MESSAGE_BYTES_MAX: usize = 1_024;

/// Classifies an error that a call into a guest ended with.
///
/// Every way out of a call that the host did not choose is the guest's doing: it trapped, or
/// it returned values that break the canonical ABI.
pub(crate) fn classify(error: &wasmtime::Error, panic: Option<PanicNote>) -> ApplyError {
    if let Some(ended) = error.downcast_ref::<Ended>() {
        return match ended {
            Ended::Interrupted => ApplyError::Interrupted,
            Ended::TimedOut => failure(Reason::Timeout, ended.to_string(), error),
        };
    }
    if let Some(Refused(refused)) = error.downcast_ref::<Refused>() {
        return failure(refused.reason, refused.message.clone(), error);
    }
    if let Some(met) = error.downcast_ref::<LimitMet>() {
        let reason = match met {
            LimitMet::Memory { .. } => Reason::MemoryLimit,
            LimitMet::Table { .. } => Reason::TableLimit,
        };
        return failure(reason, met.to_string(), error);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => failure(Reason::FuelExhausted, "it burned all its fuel".to_owned(), error),
        Some(Trap::StackOverflow) => failure(Reason::StackOverflow, "it ran out of stack".to_owned(), error),
        Some(trap) => trapped(*trap, panic, error),
        None => misbehaved(error),
    }
}

fn trapped(trap: Trap, panic: Option<PanicNote>, error: &wasmtime::Error) -> ApplyError {
    let kind = trap_kind(trap);
    let message = match &panic {
        Some(note) => format!("it panicked at {}: {}", note.location, note.message),
        None => format!("it trapped: {kind}"),
    };
    ApplyError::Failed(Box::new(GuestFailure {
        reason: Reason::Trap,
        message,
        trap: Some(kind),
        panic,
        backtrace: frames(error),
    }))
}

/// The call came back, but with values that the host cannot take.
fn misbehaved(error: &wasmtime::Error) -> ApplyError {
    let text = format!("{error:#}");
    // The error's type is private to wasmtime; a test holds on to its text.
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        return failure(Reason::OutputTooLarge, "it returned more bytes than it may".to_owned(), error);
    }
    let text = printable(&text, MESSAGE_BYTES_MAX);
    failure(Reason::InvalidOutput, format!("it broke the canonical ABI: {text}"), error)
}

fn failure(reason: Reason, message: String, error: &wasmtime::Error) -> ApplyError {
    ApplyError::Failed(Box::new(GuestFailure {
        backtrace: frames(error),
        ..GuestFailure::new(reason, printable(&message, MESSAGE_BYTES_MAX))
    }))
}

fn frames(error: &wasmtime::Error) -> Vec<Frame> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let mut frames = Vec::new();
    for frame in backtrace.frames() {
        // One wasm frame may hold several inlined calls, innermost first.
        for symbol in frame.symbols() {
            frames.push(Frame {
                function: name(symbol.name().or(frame.func_name()), frame.func_index()),
                file: symbol.file().map(|file| printable(file, NAME_BYTES_MAX)),
                line: symbol.line(),
            });
        }
        if frame.symbols().is_empty() {
            frames.push(Frame { function: name(frame.func_name(), frame.func_index()), file: None, line: None });
        }
    }
    let machinery = frames.iter().take_while(|frame| is_panic_machinery(&frame.function)).count();
    frames.drain(..machinery);
    frames.truncate(BACKTRACE_FRAMES_MAX);
    frames
}

/// Whether a frame only carries a Rust panic on its way out; whoever reads a backtrace looks
/// for what called it.
fn is_panic_machinery(function: &str) -> bool {
    let begins = ["__rustc::", "core::panicking::", "std::panicking::", "std::sys::backtrace::"];
    begins.iter().any(|begin| function.starts_with(begin)) || function.contains("::panic_handler::")
}

fn name(name: Option<&str>, index: u32) -> String {
    match name {
        Some(name) => printable(&demangle(name), NAME_BYTES_MAX),
        None => format!("function {index}"),
    }
}

/// Demangles Rust names, without the hash at their end.
fn demangle(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

fn trap_kind(trap: Trap) -> String {
    let kind = match trap {
        Trap::UnreachableCodeReached => "unreachable",
        Trap::MemoryOutOfBounds => "memory-out-of-bounds",
        Trap::TableOutOfBounds => "table-out-of-bounds",
        Trap::IndirectCallToNull => "indirect-call-to-null",
        Trap::BadSignature => "bad-signature",
        Trap::IntegerOverflow => "integer-overflow",
        Trap::IntegerDivisionByZero => "integer-division-by-zero",
        Trap::BadConversionToInteger => "bad-conversion-to-integer",
        Trap::HeapMisaligned => "heap-misaligned",
        other => return other.to_string(),
    };
    kind.to_owned()
}
