//! `wasi:clocks`: a wall clock that stands still, and a monotonic one that counts readings.

use std::collections::HashMap;

use reductor_core::Timestamp;
use wasmtime::component::{ComponentType, Linker, Lower, Resource};

use super::io::{self, Pollable};
use super::{Context, interface};
use crate::host::HostState;

/// Where the monotonic clock starts: a day, so that a guest may subtract a span from it.
const START_NS: u64 = 24 * 60 * 60 * 1_000_000_000;
/// How far a reading moves it.
const STEP_NS: u64 = 1_000;
/// Of timestamps, and so of the wall clock.
const WALL_RESOLUTION_MS: u64 = 1;

/// The monotonic clock, and the moments that pollables wait for.
#[derive(Debug)]
pub(super) struct Moments {
    now_ns: u64,
    /// By the number that their pollable has, from 1.
    waiting: HashMap<u32, u64>,
    last: u32,
}

impl Default for Moments {
    fn default() -> Self {
        Self { now_ns: START_NS, waiting: HashMap::new(), last: io::READY }
    }
}

impl Moments {
    pub(super) fn restart(&mut self) {
        self.now_ns = START_NS;
    }

    fn read(&mut self) -> u64 {
        self.now_ns = self.now_ns.saturating_add(STEP_NS);
        self.now_ns
    }

    /// Numbers a moment. As many as there are handles are kept, so a free number is near.
    fn wait_for(&mut self, when_ns: u64) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != io::READY && !self.waiting.contains_key(&self.last) {
                self.waiting.insert(self.last, when_ns);
                return self.last;
            }
        }
    }

    /// When a pollable is ready; the others than those of this clock always are.
    fn when(&self, pollable: u32) -> u64 {
        self.waiting.get(&pollable).copied().unwrap_or(0)
    }

    /// Moves the clock on until one of `pollables` is ready.
    pub(super) fn advance_to_first(&mut self, pollables: impl Iterator<Item = u32>) {
        let first = pollables.map(|pollable| self.when(pollable)).min();
        self.now_ns = self.now_ns.max(first.unwrap_or(0));
    }

    pub(super) fn is_ready(&self, pollable: u32) -> bool {
        self.when(pollable) <= self.now_ns
    }

    pub(super) fn forget(&mut self, pollable: u32) {
        self.waiting.remove(&pollable);
        if self.waiting.is_empty() {
            // A guest that had many at one time need not keep the room for them.
            self.waiting.shrink_to_fit();
        }
    }
}

/// Milliseconds since 1970; 0 before.
pub(super) fn since_1970(moment: Timestamp) -> u64 {
    u64::try_from(moment.ms).unwrap_or(0)
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

impl Datetime {
    fn from_ms(ms: u64) -> Self {
        let nanoseconds = u32::try_from(ms % 1_000).expect("it is below 1,000") * 1_000_000;
        Self { seconds: ms / 1_000, nanoseconds }
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut wall = interface(linker, "wasi:clocks/wall-clock")?;
    wall.func_wrap("now", |store: Context<'_>, (): ()| Ok((Datetime::from_ms(store.data().wasi.wall_ms()),)))?;
    wall.func_wrap("resolution", |_: Context<'_>, (): ()| Ok((Datetime::from_ms(WALL_RESOLUTION_MS),)))?;

    let mut monotonic = interface(linker, "wasi:clocks/monotonic-clock")?;
    monotonic.func_wrap("now", |mut store: Context<'_>, (): ()| Ok((store.data_mut().wasi.moments.read(),)))?;
    monotonic.func_wrap("resolution", |_: Context<'_>, (): ()| Ok((STEP_NS,)))?;
    monotonic.func_wrap("subscribe-instant", |mut store: Context<'_>, (when_ns,): (u64,)| {
        subscribe(store.data_mut(), when_ns)
    })?;
    monotonic.func_wrap("subscribe-duration", |mut store: Context<'_>, (duration_ns,): (u64,)| {
        let when_ns = store.data().wasi.moments.now_ns.saturating_add(duration_ns);
        subscribe(store.data_mut(), when_ns)
    })
}

fn subscribe(state: &mut HostState, when_ns: u64) -> wasmtime::Result<(Resource<Pollable>,)> {
    state.wasi.handle_made()?;
    Ok((Resource::new_own(state.wasi.moments.wait_for(when_ns)),))
}
