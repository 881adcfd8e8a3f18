//! What a guest may call: the interface `host`, and the part of WASI in [`wasi`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use reductor_core::{Action, Call, GuestFailure, LaneKey, Outbox, PanicNote, Reason};
use wasmtime::component::{Linker, WasmStr};
use wasmtime::{Engine, StoreContextMut, UpdateDeadline};

use crate::abi::{DispatchParam, LevelParam};
use crate::limiter::Limiter;
use crate::limits::GuestLimits;
use crate::text::printable;
use crate::wasi::{self, Wasi};

/// What the host keeps beside each instance.
pub(crate) struct HostState {
    pub(crate) limiter: Limiter,
    limits: GuestLimits,
    pub(crate) lane: LaneKey,
    deadline: Instant,
    interrupt: Arc<AtomicBool>,
    may_dispatch: bool,
    /// What the call at hand dispatched so far.
    pub(crate) outbox: Outbox,
    log_lines: u32,
    /// What the guest said of the trap that follows.
    pub(crate) panic: Option<PanicNote>,
    pub(crate) wasi: Wasi,
}

/// What the guest was called for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase<'a> {
    /// `document.apply` with this action: it may dispatch.
    Applying(&'a Action),
    /// Anything else.
    Other,
}

/// The host ended the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ended {
    #[error("it ran longer than its timeout")]
    TimedOut,
    #[error("the host is stopping")]
    Interrupted,
}

/// A host function refused what the guest asked; the call traps with the failure.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct Refused(pub(crate) Box<GuestFailure>);

impl HostState {
    pub(crate) fn new(limits: &GuestLimits, call: &Call<'_>) -> Self {
        Self {
            limiter: Limiter::new(limits),
            limits: *limits,
            lane: call.lane.clone(),
            deadline: call.deadline,
            interrupt: call.interrupt.clone(),
            may_dispatch: false,
            outbox: Outbox::new(call.limits),
            log_lines: 0,
            panic: None,
            wasi: Wasi::new(limits),
        }
    }

    /// Readies the state for a call into the guest.
    pub(crate) fn arm(&mut self, call: &Call<'_>, phase: Phase<'_>) {
        self.deadline = call.deadline;
        self.limiter.allow(call.allowance.factor());
        if !Arc::ptr_eq(&self.interrupt, call.interrupt) {
            self.interrupt = call.interrupt.clone();
        }
        self.may_dispatch = matches!(phase, Phase::Applying(_));
        self.wasi.arm(phase);
        self.outbox = Outbox::new(call.limits);
        self.log_lines = 0;
        self.panic = None;
    }

    /// Asked at every tick while the guest runs.
    pub(crate) fn at_tick(&self) -> wasmtime::Result<UpdateDeadline> {
        if self.interrupt.load(Ordering::Relaxed) {
            return Err(wasmtime::Error::new(Ended::Interrupted));
        }
        if Instant::now() >= self.deadline {
            return Err(wasmtime::Error::new(Ended::TimedOut));
        }
        Ok(UpdateDeadline::Continue(1))
    }

    fn dispatch(&mut self, request: DispatchParam) -> Result<(), Box<GuestFailure>> {
        if !self.may_dispatch {
            return Err(Box::new(GuestFailure::new(Reason::DispatchLimit, "it dispatched outside of `apply`")));
        }
        let DispatchParam { document_id, action_type, scope, input } = request;
        self.outbox.push_from_guest(document_id, action_type, scope, input)
    }

    /// Writes a line that came in another way than through `log`, within the same limits.
    pub(crate) fn log_line(&mut self, level: LevelParam, line: &str) {
        if self.may_log() {
            self.log(level, &printable(line, self.limits.log_line_bytes_max));
        }
    }

    /// Whether the guest may write one more line in this call.
    fn may_log(&mut self) -> bool {
        self.log_lines = self.log_lines.saturating_add(1);
        let max = self.limits.log_lines_max;
        if self.log_lines == max.saturating_add(1) {
            tracing::warn!(target: "reductor::guest", lane = %self.lane, "more than {max} log lines in one call; the rest is dropped");
        }
        self.log_lines <= max
    }

    fn log(&self, level: LevelParam, text: &str) {
        let lane = &self.lane;
        match level {
            LevelParam::Trace => tracing::trace!(target: "reductor::guest", %lane, "{text}"),
            LevelParam::Debug => tracing::debug!(target: "reductor::guest", %lane, "{text}"),
            LevelParam::Info => tracing::info!(target: "reductor::guest", %lane, "{text}"),
            LevelParam::Warn => tracing::warn!(target: "reductor::guest", %lane, "{text}"),
            LevelParam::Error => tracing::error!(target: "reductor::guest", %lane, "{text}"),
        }
    }

    fn panicked(&mut self, message: &str, location: &str) {
        let max = self.limits.log_line_bytes_max;
        self.panic = Some(PanicNote { message: printable(message, max), location: printable(location, max) });
    }
}

/// Defines everything that a guest may import.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    type Context<'a> = StoreContextMut<'a, HostState>;
    let mut linker = Linker::new(engine);
    let mut host = linker.instance("reductor:reducer/host@1.0.0")?;
    host.func_wrap("dispatch", |mut store: Context<'_>, (request,): (DispatchParam,)| {
        store.data_mut().dispatch(request).map_err(|failure| wasmtime::Error::new(Refused(failure)))
    })?;
    host.func_wrap("log", |mut store: Context<'_>, (level, message): (LevelParam, WasmStr)| {
        // Lines that are dropped are not even read.
        if store.data_mut().may_log() {
            let text = printable(&message.to_str(&store)?, store.data().limits.log_line_bytes_max);
            store.data().log(level, &text);
        }
        Ok(())
    })?;
    host.func_wrap("panicked", |mut store: Context<'_>, (message, location): (String, String)| {
        store.data_mut().panicked(&message, &location);
        Ok(())
    })?;
    wasi::add_to_linker(&mut linker)?;
    Ok(linker)
}
