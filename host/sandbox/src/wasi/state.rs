//! What the host keeps of WASI beside each instance.

use chacha20::ChaCha20Rng;
use reductor_core::{ActionId, LaneKey, Reason, Scope, TimestampText};

use super::clock::{self, Moments};
use super::lines::Lines;
use super::{random, refused};
use crate::host::Phase;
use crate::limits::GuestLimits;

/// Handles that a guest may hold at a time. A guest that forgets to drop them meets this
/// bound before the one of all handles together.
const HANDLES_MAX: u32 = 1_024;

/// What of an action the call at hand can come to know through WASI.
struct Origin {
    scope: Scope,
    id: ActionId,
    timestamp: TimestampText,
}

/// The surroundings of one instance. They start anew with every call.
pub(crate) struct Wasi {
    origin: Option<Origin>,
    /// Made when the call asks for the first random byte.
    random: Option<ChaCha20Rng>,
    pub(super) moments: Moments,
    pub(super) stdout: Lines,
    pub(super) stderr: Lines,
    handles: u32,
    random_bytes_max: usize,
}

impl Wasi {
    pub(crate) fn new(limits: &GuestLimits) -> Self {
        Self {
            origin: None,
            random: None,
            moments: Moments::default(),
            stdout: Lines::new(limits.log_line_bytes_max),
            stderr: Lines::new(limits.log_line_bytes_max),
            handles: 0,
            random_bytes_max: random::BYTES_MAX.min(limits.output_bytes_max),
        }
    }

    /// Readies the surroundings for a call.
    pub(crate) fn arm(&mut self, phase: Phase<'_>) {
        self.origin = match phase {
            Phase::Applying(action) => Some(Origin {
                scope: action.scope.clone(),
                id: action.id.clone(),
                timestamp: action.timestamp_utc_ms.clone(),
            }),
            Phase::Other => None,
        };
        self.random = None;
        self.moments.restart();
    }

    /// The time of day, in milliseconds since 1970.
    pub(super) fn wall_ms(&self) -> u64 {
        let origin = self.origin.as_ref();
        origin.map_or(0, |origin| clock::since_1970(origin.timestamp.to_timestamp()))
    }

    /// The generator of the call at hand. All three interfaces of `wasi:random` share it.
    pub(super) fn random(&mut self, lane: &LaneKey) -> &mut ChaCha20Rng {
        let origin = self.origin.as_ref();
        self.random.get_or_insert_with(|| random::generator(lane, origin.map(|origin| (&origin.scope, &origin.id))))
    }

    /// How many random bytes a guest may ask for at once.
    pub(super) fn random_bytes_max(&self) -> usize {
        self.random_bytes_max
    }

    /// Counts a handle that the guest gets.
    pub(super) fn handle_made(&mut self) -> wasmtime::Result<()> {
        if self.handles >= HANDLES_MAX {
            let message = format!("it holds {HANDLES_MAX} WASI handles and wants another; no more are allowed");
            return Err(refused(Reason::TableLimit, message));
        }
        self.handles += 1;
        Ok(())
    }

    /// Counts a handle that the guest gave back.
    pub(super) fn handle_dropped(&mut self) {
        self.handles -= 1;
    }
}
