//! `test/ambient`: a document model that calls every function of WASI that it is given, and
//! writes down what it was told.
//!
//! Its state is `{"born":[],"seen":[]}`, a line for each answer: those of the document's first
//! load, and those of the last action.

use reductor_guest::prelude::*;

#[cfg(target_arch = "wasm32")]
mod wasi;

/// What there is around the model.
#[derive(Serialize, Deserialize)]
pub struct Ambient {
    born: Vec<String>,
    seen: Vec<String>,
}

impl Default for Ambient {
    fn default() -> Self {
        let look = |at: &str| seen(AmbientAction::Look { at: at.to_owned() });
        Self { born: [look("clocks"), look("random")].concat(), seen: Vec::new() }
    }
}

/// Where to look, and how to misbehave.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AmbientAction {
    /// Calls the functions of one area: `environment`, `files`, `clocks`, `random`, `poll`,
    /// `input`, `output` or `terminals`.
    Look {
        /// Which.
        at: String,
    },
    /// Waits for spans of time, all at once, in nanoseconds.
    Wait {
        /// How long.
        spans: Vec<u64>,
        /// Polls them, or else asks each by itself.
        poll: bool,
    },
    /// Writes to a stream, a piece at a time.
    Print {
        /// `stdout` or `stderr`.
        to: String,
        /// What.
        pieces: Vec<String>,
        /// How many times over.
        times: u32,
    },
    /// Prints an unfinished line, then panics.
    PrintAndPanic,
    /// Hands over many bytes in one write.
    WriteAtOnce {
        /// How many.
        bytes: u32,
    },
    /// Asks for random bytes.
    RandomBytes {
        /// How many.
        count: u64,
    },
    /// Leaves: with this code, or through the older function that takes a result.
    Exit {
        /// With which.
        code: Option<u8>,
        /// What the older function gets.
        success: bool,
    },
    /// Takes handles and keeps them.
    Hoard {
        /// Of `stdin`, `stdout`, `stream` (its pollable) or `moment`.
        what: String,
        /// How many.
        count: u32,
    },
    /// Takes handles and gives each back.
    Churn {
        /// How many.
        count: u32,
    },
    /// Polls one pollable so many times in one list.
    PollAtOnce {
        /// How many.
        count: u32,
    },
}

impl Reducer for Ambient {
    const DOCUMENT_TYPE: &'static str = "test/ambient";
    type Action = AmbientAction;

    fn apply(&mut self, action: AmbientAction, _: &mut Context) -> Result<(), Rejection> {
        self.seen = seen(action);
        Ok(())
    }
}

#[cfg(target_arch = "wasm32")]
use wasi::seen;

/// Outside of WebAssembly there is no WASI.
#[cfg(not(target_arch = "wasm32"))]
fn seen(_: AmbientAction) -> Vec<String> {
    Vec::new()
}

reductor_guest::export!(Ambient);
