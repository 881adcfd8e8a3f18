//! `test/unruly`: a document model that fails in every way a test needs.
//!
//! Its state is `{"notes":[]}`. Only `NOTE` is a good citizen.

mod impure;

use std::hint::black_box;

use reductor_guest::prelude::*;

/// A list of notes.
#[derive(Default, Serialize, Deserialize)]
pub struct Unruly {
    notes: Vec<String>,
    /// Not part of the state's JSON.
    #[serde(skip)]
    visits: u32,
}

/// Ways to behave.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnrulyAction {
    /// Adds a note.
    Note {
        /// What it says.
        text: String,
    },
    /// Changes the state, then refuses.
    Refuse,
    /// Panics.
    Panic {
        /// The last words.
        message: String,
    },
    /// Changes the state, then panics.
    PanicAfterChange,
    /// Traps without a word.
    Abort,
    /// Never ends.
    Spin,
    /// Calls itself, level by level.
    Recurse {
        /// How deep.
        levels: u32,
    },
    /// Takes memory and writes to all of it.
    Grow {
        /// How much.
        mib: u32,
    },
    /// Adds a note of a given length.
    HugeState {
        /// How long.
        bytes: u32,
    },
    /// Dispatches actions to its own document.
    Dispatch {
        /// How many.
        count: u32,
        /// Of which type.
        r#type: String,
        /// Their input is `{"text": …}` with this text and their number, or else `null`.
        text: Option<String>,
    },
    /// Dispatches a note of a given length to its own document.
    DispatchHuge {
        /// How long.
        bytes: u32,
    },
    /// Dispatches itself.
    DispatchForever,
    /// Dispatches a note to another document.
    DispatchElsewhere {
        /// Which.
        document: String,
    },
    /// Writes log lines.
    Log {
        /// How many.
        lines: u32,
        /// How long each.
        bytes: u32,
    },
    /// Adds a note of how often an instance has done so.
    CountInAGlobal,
    /// The same, with a count that the document keeps beside its state.
    CountInAField,
    /// The same in a dispatched note.
    CountInADispatch,
    /// The same in a refusal.
    CountInARefusal,
    /// Panics, but not at its first call in an instance.
    PanicLater,
    /// Adds a note of what a hash map holds, in its order.
    HashMapOrder,
    /// Adds a note of where something was allocated.
    Address,
}

#[derive(Serialize)]
struct NoteInput {
    text: String,
}

impl Reducer for Unruly {
    const DOCUMENT_TYPE: &'static str = "test/unruly";
    type Action = UnrulyAction;

    fn apply(&mut self, action: UnrulyAction, ctx: &mut Context) -> Result<(), Rejection> {
        match action {
            UnrulyAction::Note { text } => self.notes.push(text),
            UnrulyAction::Refuse => {
                self.notes.push("half done".to_owned());
                reject!("NO", "it does not want to");
            }
            UnrulyAction::Panic { message } => lose_patience(&message),
            UnrulyAction::PanicAfterChange => {
                self.notes.push("half done".to_owned());
                lose_patience("with a note half done");
            }
            UnrulyAction::Abort => std::process::abort(),
            UnrulyAction::Spin => spin(),
            UnrulyAction::Recurse { levels } => self.notes.push(format!("returned {}", recurse(levels))),
            UnrulyAction::Grow { mib } => {
                let memory = black_box(vec![1_u8; (mib as usize) << 20]);
                self.notes.push(format!("held {} bytes", memory.len()));
            }
            UnrulyAction::HugeState { bytes } => self.notes.push("x".repeat(bytes as usize)),
            UnrulyAction::Dispatch { count, r#type, text } => {
                for number in 0..count {
                    let input = text.as_ref().map(|text| NoteInput { text: format!("{text} {number}") });
                    ctx.dispatch(Dispatch::to_self(r#type.as_str(), &input));
                }
                self.notes.push(format!("dispatched {count}"));
            }
            UnrulyAction::DispatchHuge { bytes } => {
                ctx.dispatch(Dispatch::to_self("NOTE", &NoteInput { text: "x".repeat(bytes as usize) }));
            }
            UnrulyAction::DispatchForever => {
                ctx.dispatch(Dispatch::to_self("DISPATCH_FOREVER", &()));
                self.notes.push("and again".to_owned());
            }
            UnrulyAction::DispatchElsewhere { document } => {
                let input = NoteInput { text: "from a stranger".to_owned() };
                ctx.dispatch(Dispatch::to_document(document, "NOTE", &input));
            }
            UnrulyAction::Log { lines, bytes } => {
                let line = "y".repeat(bytes as usize);
                (0..lines).for_each(|number| ctx.info(format!("{number} {line}")));
            }
            UnrulyAction::CountInAGlobal => self.notes.push(format!("count {}", impure::count())),
            UnrulyAction::CountInAField => {
                self.visits += 1;
                self.notes.push(format!("visit {}", self.visits));
            }
            UnrulyAction::CountInADispatch => {
                self.notes.push("counted".to_owned());
                ctx.dispatch(Dispatch::to_self("NOTE", &NoteInput { text: format!("count {}", impure::count()) }));
            }
            UnrulyAction::CountInARefusal => reject!("NO", "refusal {}", impure::count()),
            UnrulyAction::PanicLater if impure::count() > 1 => lose_patience("with being called again"),
            UnrulyAction::PanicLater => self.notes.push("calm".to_owned()),
            UnrulyAction::HashMapOrder => self.notes.push(impure::hash_map_order()),
            UnrulyAction::Address => self.notes.push(impure::address()),
        }
        Ok(())
    }
}

/// Panics; a function of its own, so that backtraces can be seen to name it.
#[inline(never)]
fn lose_patience(message: &str) -> ! {
    panic!("it has had enough: {message}");
}

#[inline(never)]
fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Uses the stack of the machine and hardly any of the stack in linear memory.
#[inline(never)]
fn recurse(levels: u32) -> u32 {
    match levels {
        0 => 1,
        levels => recurse(levels - 1).wrapping_mul(31) ^ levels,
    }
}

reductor_guest::export!(Unruly);
