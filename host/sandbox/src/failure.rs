//! Says what a failed call into a guest means, and whose fault it was.

use std::fmt::Write as _;

use reductor_core::{ApplyError, Frame, GuestFailure, HostFault, PanicNote, Reason};
use wasmtime::{FrameInfo, OutOfMemory, PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::guest::{HANDLES_MAX, Template};
use crate::host::{Ended, Refused};
use crate::limiter::{LimitMet, Starved};
use crate::lines::{LineTables, Place};
use crate::text::printable;

/// Frames of a backtrace that are kept.
pub(crate) const BACKTRACE_FRAMES_MAX: usize = 32;
/// Bytes of a function's or a file's name that are kept: names are the guest's to choose.
pub(crate) const NAME_BYTES_MAX: usize = 256;
const MESSAGE_BYTES_MAX: usize = 1_024;
/// Innermost frames that a recursion may have called last: a formatter, a copy of memory…
const LEAF_FRAMES_MAX: usize = 8;
/// Functions that may take turns in what is taken for a recursion.
const RECURSION_FUNCTIONS_MAX: usize = 4;

/// What the host was about when an error came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum During {
    /// It made an instance.
    Instantiation,
    /// It called a function of the guest.
    Call,
}

/// Classifies an error that a call into a guest ended with.
///
/// The guest trapped, met a bound or broke the canonical ABI; or the machine or the host
/// failed, and then the guest is not blamed.
pub(crate) fn classify(
    error: &wasmtime::Error,
    panic: Option<PanicNote>,
    during: During,
    template: &Template,
) -> ApplyError {
    let (limits, lines) = (&template.limits, &*template.lines);
    let failed = |reason, message| failure(reason, message, frames(error, lines));
    if let Some(ended) = error.downcast_ref::<Ended>() {
        return match ended {
            Ended::Interrupted => ApplyError::Interrupted,
            Ended::TimedOut { .. } => failed(Reason::Timeout, ended.to_string()),
        };
    }
    if let Some(Refused(refused)) = error.downcast_ref::<Refused>() {
        return failed(refused.reason, refused.message.clone());
    }
    if let Some(met) = error.downcast_ref::<LimitMet>() {
        let reason = match met {
            LimitMet::Memory { .. } => Reason::MemoryLimit,
            LimitMet::Table { .. } => Reason::TableLimit,
        };
        return failed(reason, met.to_string());
    }
    if let Some(fault) = host_fault(error, during) {
        return fault.into();
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            let message = format!("it burned all its fuel; {} units are allowed in one call", limits.fuel_per_call);
            failed(Reason::FuelExhausted, message)
        }
        Some(Trap::StackOverflow) => {
            let message = format!("it ran out of stack; {} bytes are allowed", limits.stack_bytes_max);
            failed(Reason::StackOverflow, message)
        }
        Some(trap) => trapped(*trap, panic, frames(error, lines)),
        None => misbehaved(error, lines),
    }
}

/// The fault of the host or the machine that the error stands for, if it does.
fn host_fault(error: &wasmtime::Error, during: During) -> Option<HostFault> {
    if error.is::<PoolConcurrencyLimitError>() {
        return Some(HostFault::NoRoom(error.to_string()));
    }
    // A guest is not told of the machine's errors in a way that it could bring them about.
    let of_the_machine = error.is::<Starved>() || error.is::<OutOfMemory>() || error.is::<std::io::Error>();
    let of_a_guest = error.downcast_ref::<WasmBacktrace>().is_some_and(|backtrace| !backtrace.frames().is_empty());
    let of_the_host = match error.downcast_ref::<Trap>() {
        // Only the host enters with no guest on the stack: it called an instance that is dead.
        Some(Trap::CannotEnterComponent) => !of_a_guest,
        Some(_) => false,
        // Making an instance runs no code of the guest but its start functions; what else goes
        // wrong there is memory that could not be mapped, or an import that admission missed.
        None => during == During::Instantiation && !of_a_guest,
    };
    let text = || printable(&error.root_cause().to_string(), MESSAGE_BYTES_MAX);
    (of_the_machine || of_the_host).then(|| HostFault::Broken(text()))
}

fn trapped(trap: Trap, panic: Option<PanicNote>, backtrace: Vec<Frame>) -> ApplyError {
    let kind = trap_kind(trap);
    let message = match &panic {
        Some(note) => format!("it panicked at {}: {}", note.location, note.message),
        None => match recursion(trap, &backtrace) {
            Some(function) => format!("it trapped: {kind}; it probably recursed too deep, in `{function}`"),
            None => format!("it trapped: {kind}"),
        },
    };
    ApplyError::Failed(Box::new(GuestFailure { reason: Reason::Trap, message, trap: Some(kind), panic, backtrace }))
}

/// The function that called itself until the stack in linear memory was full, if that is how it
/// looks: many languages keep one there, below which memory ends, and the engine's own stack has
/// room left. It is a guess, so the trap stays what it is.
fn recursion(trap: Trap, backtrace: &[Frame]) -> Option<&str> {
    if trap != Trap::MemoryOutOfBounds || backtrace.len() < BACKTRACE_FRAMES_MAX {
        return None;
    }
    let calls = &backtrace[LEAF_FRAMES_MAX..];
    let repeats =
        |every: usize| calls.iter().zip(&calls[every..]).all(|(inner, outer)| inner.function == outer.function);
    (1..=RECURSION_FUNCTIONS_MAX).any(repeats).then(|| calls[0].function.as_str())
}

/// The guest broke the canonical ABI: in what it returned, or in what it gave to a host
/// function or a handle.
///
/// The types of these errors are private to wasmtime; tests hold on to their texts.
fn misbehaved(error: &wasmtime::Error, lines: &LineTables) -> ApplyError {
    let text = error.root_cause().to_string();
    let (reason, message) = if text.contains("fuel allocated for hostcalls has been exhausted") {
        (Reason::OutputTooLarge, "it handed over more bytes at once than it may".to_owned())
    } else if text.contains("store handle limit exceeded") {
        (Reason::TableLimit, format!("it holds as many handles as it may, {HANDLES_MAX}"))
    } else {
        (Reason::InvalidOutput, format!("it broke the canonical ABI: {text}"))
    };
    failure(reason, message, frames(error, lines))
}

fn failure(reason: Reason, message: String, backtrace: Vec<Frame>) -> ApplyError {
    let message = printable(&message, MESSAGE_BYTES_MAX);
    ApplyError::Failed(Box::new(GuestFailure { backtrace, ..GuestFailure::new(reason, message) }))
}

fn frames(error: &wasmtime::Error, lines: &LineTables) -> Vec<Frame> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let frames = backtrace.frames();
    let offsets: Vec<_> = frames.iter().map(FrameInfo::module_offset).collect();
    let places = lines.places(&offsets);
    let mut frames: Vec<_> = frames.iter().zip(places).map(|(frame, place)| named(frame, place)).collect();
    let machinery = frames.iter().take_while(|frame| is_panic_machinery(&frame.function)).count();
    frames.drain(..machinery);
    frames
}

fn named(frame: &FrameInfo, place: Option<Place>) -> Frame {
    let (file, line) = place.map_or((None, None), |place| (place.file, place.line));
    Frame {
        function: name(frame.func_name(), frame.func_index()),
        file: file.map(|file| printable(&file, NAME_BYTES_MAX)),
        line,
    }
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
///
/// What comes out may be a thousand times as long as what went in, so it is cut while it is
/// written.
fn demangle(name: &str) -> String {
    let mut demangled = Cut(String::new());
    // The error says that it was cut; then the rest does not matter.
    let _ = write!(demangled, "{:#}", rustc_demangle::demangle(name));
    demangled.0
}

/// Takes a little more text than is shown, and refuses the rest.
struct Cut(String);

impl std::fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.push_str(text);
        if self.0.len() > 2 * NAME_BYTES_MAX { Err(std::fmt::Error) } else { Ok(()) }
    }
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
        Trap::NullReference => "null-reference",
        Trap::CannotEnterComponent => "cannot-enter-component",
        Trap::CannotLeaveComponent => "cannot-leave-component",
        Trap::InvalidChar => "invalid-char",
        Trap::StringOutOfBounds => "string-out-of-bounds",
        Trap::ListOutOfBounds => "list-out-of-bounds",
        Trap::InvalidDiscriminant => "invalid-discriminant",
        Trap::UnalignedPointer => "unaligned-pointer",
        other => return other.to_string(),
    };
    kind.to_owned()
}
