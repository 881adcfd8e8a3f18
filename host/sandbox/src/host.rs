//! What a guest may call: the interface `host`, and the part of WASI in [`wasi`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reductor_core::{Action, Call, GuestFailure, LaneKey, Outbox, PanicNote, Reason};
use wasmtime::component::{Linker, WasmStr};
use wasmtime::{Engine, StoreContextMut, Trap, UpdateDeadline};

use crate::abi::{DispatchParam, LevelParam};
use crate::limiter::Limiter;
use crate::limits::GuestLimits;
use crate::log::{Bound, Line, LineCount, LineRate};
use crate::text::printable;
use crate::wasi::{self, Wasi};

/// Units of fuel that a call of the host costs, and each byte that the host reads or makes in it.
///
/// No tick interrupts the host's own work, so fuel has to bound it. A guest takes about 0.15 ns
/// for a unit; the host takes some 60 ns for a call, and 0.6 ns for a byte that it checks,
/// copies and frees. So whatever a guest spends its fuel on, it has about the same time.
const FUEL_PER_HOST_CALL: u64 = 400;
const FUEL_PER_HOST_BYTE: u64 = 4;

/// What the host keeps beside each instance.
pub(crate) struct HostState {
    pub(crate) limiter: Limiter,
    limits: GuestLimits,
    pub(crate) lane: LaneKey,
    deadline: Instant,
    timeout: Option<Duration>,
    interrupt: Arc<AtomicBool>,
    may_dispatch: bool,
    /// What the call at hand dispatched so far.
    pub(crate) outbox: Outbox,
    pub(crate) log_lines: LineCount,
    log_rate: Arc<LineRate>,
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
    #[error("it ran longer than its timeout{}", of(*.timeout))]
    TimedOut { timeout: Option<Duration> },
    #[error("the host is stopping")]
    Interrupted,
}

/// The length of a timeout, as the end of a sentence, where it is known.
fn of(timeout: Option<Duration>) -> String {
    timeout.map_or_else(String::new, |timeout| format!(" of {} ms", timeout.as_millis()))
}

/// A host function refused what the guest asked; the call traps with the failure.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct Refused(pub(crate) Box<GuestFailure>);

impl HostState {
    pub(crate) fn new(limits: &GuestLimits, log_rate: Arc<LineRate>, call: &Call<'_>) -> Self {
        Self {
            limiter: Limiter::new(limits),
            limits: *limits,
            lane: call.lane.clone(),
            deadline: call.deadline,
            timeout: call.timeout,
            interrupt: call.interrupt.clone(),
            may_dispatch: false,
            outbox: Outbox::new(call.limits),
            log_lines: LineCount::default(),
            log_rate,
            panic: None,
            wasi: Wasi::new(limits),
        }
    }

    /// Readies the state for a call into the guest.
    pub(crate) fn arm(&mut self, call: &Call<'_>, phase: Phase<'_>) {
        (self.deadline, self.timeout) = (call.deadline, call.timeout);
        self.limiter.allow(call.allowance.factor());
        if !Arc::ptr_eq(&self.interrupt, call.interrupt) {
            self.interrupt = call.interrupt.clone();
        }
        self.may_dispatch = matches!(phase, Phase::Applying(_));
        self.wasi.arm(phase);
        self.outbox = Outbox::new(call.limits);
        self.log_lines = LineCount::new(self.limits.log_lines_max, call.limits.log_lines_per_job_max, call.log_lines);
        self.panic = None;
    }

    /// Asked at every tick while the guest runs.
    pub(crate) fn at_tick(&self) -> wasmtime::Result<UpdateDeadline> {
        if self.interrupt.load(Ordering::Relaxed) {
            return Err(wasmtime::Error::new(Ended::Interrupted));
        }
        if Instant::now() >= self.deadline {
            return Err(wasmtime::Error::new(Ended::TimedOut { timeout: self.timeout }));
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

    /// Whether the call may write one more line.
    fn may_log(&mut self) -> bool {
        let line = self.log_lines.take_in_call();
        self.is_written(line)
    }

    /// Writes a line that the call may write, if its job and its plugin may.
    fn log(&mut self, level: LevelParam, text: &str) {
        // The lines of an audit's second instance go nowhere, nor do those below the log's level:
        // they leave the plugin's share of the log to those that are seen.
        let rate = is_heard(level).then_some(&*self.log_rate);
        let line = self.log_lines.take_in_job(rate);
        if !self.is_written(line) {
            return;
        }
        let lane = &self.lane;
        match level {
            LevelParam::Trace => tracing::trace!(target: "reductor::guest", %lane, "{text}"),
            LevelParam::Debug => tracing::debug!(target: "reductor::guest", %lane, "{text}"),
            LevelParam::Info => tracing::info!(target: "reductor::guest", %lane, "{text}"),
            LevelParam::Warn => tracing::warn!(target: "reductor::guest", %lane, "{text}"),
            LevelParam::Error => tracing::error!(target: "reductor::guest", %lane, "{text}"),
        }
    }

    /// Whether a line is written. Of those that are not, the log hears of the first.
    fn is_written(&self, line: Line) -> bool {
        if let Line::FirstDropped(bound) = line {
            let (max, within) = match bound {
                Bound::Call { lines_max } => (lines_max, "in one call"),
                Bound::Job { lines_max } => (lines_max, "in one job"),
                Bound::Second { lines_max } => (lines_max, "of this plugin in one second"),
            };
            let lane = &self.lane;
            tracing::warn!(target: "reductor::guest", %lane, "more than {max} log lines {within}; the rest is dropped");
        }
        line == Line::Written
    }

    fn panicked(&mut self, message: &str, location: &str) {
        let max = self.limits.log_line_bytes_max;
        self.panic = Some(PanicNote { message: printable(message, max), location: printable(location, max) });
    }
}

/// Whether a line of this level goes anywhere.
fn is_heard(level: LevelParam) -> bool {
    match level {
        LevelParam::Trace => tracing::enabled!(target: "reductor::guest", tracing::Level::TRACE),
        LevelParam::Debug => tracing::enabled!(target: "reductor::guest", tracing::Level::DEBUG),
        LevelParam::Info => tracing::enabled!(target: "reductor::guest", tracing::Level::INFO),
        LevelParam::Warn => tracing::enabled!(target: "reductor::guest", tracing::Level::WARN),
        LevelParam::Error => tracing::enabled!(target: "reductor::guest", tracing::Level::ERROR),
    }
}

/// Charges a guest for a call of the host that reads or makes so many bytes, and ends the guest's
/// own call if its fuel does not cover it.
pub(crate) fn charge(store: &mut StoreContextMut<'_, HostState>, bytes: usize) -> wasmtime::Result<()> {
    let cost = FUEL_PER_HOST_BYTE.saturating_mul(bytes as u64).saturating_add(FUEL_PER_HOST_CALL);
    let left = store.get_fuel()?.checked_sub(cost);
    store.set_fuel(left.unwrap_or(0))?;
    left.map(drop).ok_or_else(|| Trap::OutOfFuel.into())
}

/// Defines everything that a guest may import.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    type Context<'a> = StoreContextMut<'a, HostState>;
    let mut linker = Linker::new(engine);
    let mut host = linker.instance("reductor:reducer/host@1.0.0")?;
    host.func_wrap("dispatch", |mut store: Context<'_>, (request,): (DispatchParam,)| {
        charge(&mut store, request.bytes())?;
        store.data_mut().dispatch(request).map_err(|failure| wasmtime::Error::new(Refused(failure)))
    })?;
    host.func_wrap("log", |mut store: Context<'_>, (level, message): (LevelParam, WasmStr)| {
        // What the guest burns depends on the call alone, and on no other call that logs.
        if !store.data_mut().may_log() {
            return charge(&mut store, 0);
        }
        let text = message.to_str(&store)?;
        let (bytes, text) = (text.len(), printable(&text, store.data().limits.log_line_bytes_max));
        charge(&mut store, bytes)?;
        store.data_mut().log(level, &text);
        Ok(())
    })?;
    host.func_wrap("panicked", |mut store: Context<'_>, (message, location): (String, String)| {
        charge(&mut store, message.len() + location.len())?;
        store.data_mut().panicked(&message, &location);
        Ok(())
    })?;
    wasi::add_to_linker(&mut linker)?;
    Ok(linker)
}
