//! Write document models in Rust.
//!
//! A *document model* is a plugin of Reductor: a
//! sandboxed WebAssembly component. Its heart is a *reducer*, a pure function from the state
//! of a document and an *action* to a new state. The host keeps the log, the hashes and the
//! queue; you write the function. This page takes you from an empty folder to a model that
//! runs.
//!
//! # The crate
//!
//! `cargo new --lib stock`. Its `Cargo.toml` needs one more section,
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"] # the component; the library for tests and native use
//! ```
//!
//! and under the `[dependencies]` that cargo has written already:
//!
//! ```toml
//! reductor-guest = { path = "…/guest-sdk/reductor-guest" }
//! schemars = "1"
//! serde = { version = "1", features = ["derive"] }
//! ```
//!
//! `serde` and `schemars` are there for their derives, which name them.
//!
//! # The model
//!
//! A type for the state, an enum for the actions, and [`Reducer`] between them. This is a
//! whole `src/lib.rs`:
//!
//! ```
//! //! What is on the shelves.
//!
//! use std::collections::BTreeMap;
//!
//! use reductor_guest::prelude::*;
//!
//! /// The state. `Default` is a new document, the JSON is what the host stores and hashes.
//! #[derive(Default, Serialize, Deserialize)]
//! #[serde(rename_all = "camelCase")]
//! pub struct Stock {
//!     items: BTreeMap<String, u32>,
//!     changed_at: Option<String>,
//! }
//!
//! /// The actions. A variant's name is the action's `type`, its content the `input`; the
//! /// comments become descriptions in the model's JSON Schemas.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase", deny_unknown_fields)]
//! pub enum StockAction {
//!     /// Puts items on the shelf.
//!     Receive { item: String, count: u32 },
//!     /// Takes items from the shelf.
//!     Ship { item: String, count: u32 },
//!     /// Throws everything away.
//!     Clear,
//! }
//!
//! impl Reducer for Stock {
//!     const DOCUMENT_TYPE: &'static str = "example/stock";
//!     type Action = StockAction;
//!
//!     fn apply(&mut self, action: StockAction, ctx: &mut Context) -> Result<(), Rejection> {
//!         match action {
//!             StockAction::Receive { item, count } => {
//!                 let stored = self.items.entry(item).or_default();
//!                 *stored = stored.checked_add(count).ok_or_else(|| {
//!                     rejection!("SHELF_FULL", "{count} more do not fit beside {stored}")
//!                 })?;
//!             }
//!             StockAction::Ship { item, count } => {
//!                 let stored = self.items.entry(item.clone()).or_default();
//!                 ensure!(*stored >= count, "OUT_OF_STOCK", "{count} of {item} are not there, only {stored}");
//!                 *stored -= count;
//!                 if *stored == 0 {
//!                     ctx.warn(format!("{item} has run out"));
//!                 }
//!             }
//!             StockAction::Clear => self.items.clear(),
//!         }
//!         self.changed_at = Some(ctx.timestamp().to_owned());
//!         Ok(())
//!     }
//! }
//!
//! reductor_guest::export!(Stock);
//!
//! #[cfg(test)]
//! mod tests {
//!     use super::*;
//!     use reductor_guest::testing::{Document, json};
//!
//!     #[test]
//!     fn ships_no_more_than_there_is() -> Result<(), Rejection> {
//!         let mut stock = Document::<Stock>::new();
//!         stock.apply("RECEIVE", json!({"item": "apple", "count": 3}))?;
//!         let state = stock.apply("SHIP", json!({"item": "apple", "count": 2}))?;
//!         assert_eq!(state["items"], json!({"apple": 1}));
//!
//!         let rejection = stock.apply("SHIP", json!({"item": "apple", "count": 2})).unwrap_err();
//!         assert_eq!(rejection.code, "OUT_OF_STOCK");
//!         assert_eq!(stock.state()["items"], json!({"apple": 1}));
//!         Ok(())
//!     }
//! }
//! #
//! # let mut stock = reductor_guest::testing::Document::<Stock>::new();
//! # stock.apply("RECEIVE", reductor_guest::testing::json!({"item": "apple", "count": 3})).unwrap();
//! # stock.apply("SHIP", reductor_guest::testing::json!({"item": "apple", "count": 3})).unwrap();
//! # assert_eq!(stock.logs()[0].1, "apple has run out");
//! # assert_eq!(stock.apply("SHIP", reductor_guest::testing::json!({"item": "apple", "count": 1})).unwrap_err().code, "OUT_OF_STOCK");
//! # let mut refused = |action: &str, input| stock.apply(action, input).unwrap_err().to_string();
//! # assert_eq!(refused("RECIEVE", reductor_guest::testing::json!({})), r#"UNKNOWN_ACTION: unknown action "RECIEVE", did you mean RECEIVE? this model knows RECEIVE, SHIP, CLEAR"#);
//! # assert_eq!(refused("SHIP", reductor_guest::testing::json!({"item": "apple", "count": "2"})), r#"INVALID_INPUT: input.count: expected an integer from 0 to 4294967295, found "2""#);
//! # assert_eq!(refused("SHIP", reductor_guest::testing::json!(null)), "INVALID_INPUT: input: expected an object of `item`, `count`, found null");
//! # assert_eq!(refused("SHIP", reductor_guest::testing::json!({"item": "apple", "count": 2, "coutn": 3})), "INVALID_INPUT: input: unknown field `coutn`, expected `item` or `count`");
//! # assert_eq!(reductor_guest::model::manifest::<Stock>().actions.len(), 3);
//! ```
//!
//! In `#[serde(…)]` of the actions, `rename_all` names their types and `rename_all_fields` the
//! fields of their inputs: a `unit_price` would be `unitPrice`. `deny_unknown_fields` refuses
//! an input with a member that the action does not have; without it a misspelt optional field
//! is passed over.
//!
//! # Test, build, run
//!
//! ```text
//! cargo test                               # natively, through the code of the component: see `testing`
//! reductor build . --out stock.wasm        # makes the component; `--install-toolchain` if it asks for one
//! reductor plugin check stock.wasm         # loads the component and shows what it says of itself
//! reductor run --plugin stock.wasm --print-state s1 jobs.ndjson
//! ```
//!
//! The last one runs a file of jobs, one a line. A job is a list of actions on one document:
//!
//! ```json
//! {"documentId":"s1","documentType":"example/stock","actions":[{"type":"RECEIVE","input":{"item":"apple","count":3}}]}
//! ```
//!
//! An action may say when its author made it, as an ISO 8601 string in UTC; else it is made
//! when the host accepts it:
//!
//! ```json
//! {"type":"SHIP","input":{"item":"apple","count":1},"timestampUtcMs":"2026-03-01T12:00:00.000Z"}
//! ```
//!
//! Each line of output is the result of a job: the operations it made, or why it failed.
//!
//! # Saying no
//!
//! A reducer refuses an action with a [`Rejection`]: a code for programs, a sentence for
//! people. [`reject!`] and [`ensure!`] return one, [`rejection!`] makes one for
//! `ok_or_else`. The job fails, the document stays as it was; whatever `apply` had begun to
//! change is thrown away. What does not fit the enum is refused before `apply` is called:
//!
//! ```text
//! UNKNOWN_ACTION: unknown action "RECIEVE", did you mean RECEIVE? this model knows RECEIVE, SHIP, CLEAR
//! INVALID_INPUT: input.count: expected an integer from 0 to 4294967295, found "2"
//! INVALID_INPUT: input: expected an object of `item`, `count`, found null
//! ```
//!
//! A panic is a bug of the model. It fails the job too, and the host shows its message, its
//! line and a backtrace. The backtrace has the names of functions; `reductor build
//! --line-tables` makes a larger component, whose backtraces have files and lines too. A
//! state that has no canonical JSON (an infinite number, an integer beyond ±(2^53 − 1)) ends
//! in a panic that names the field.
//!
//! # What a reducer may ask
//!
//! [`Context`] knows the action (its id, type, scope, timestamp and signer), takes log lines,
//! and takes actions for this or another document with [`Dispatch`], which run as jobs of
//! their own once this one is committed. They carry the timestamp of the action that caused
//! them. For another document it takes an operator's grant from model to model: `reductor run
//! --grant example/order=example/stock`.
//!
//! Whoever may submit jobs may submit every type of action, also one that you mean to
//! dispatch and nobody to send; nothing marks the dispatched one. Let such an action check
//! what it relies on against the state and the [`Context`], or make it harmless.
//! [`Context::signer`] says who signed an action as the client named them: the host does not
//! verify signatures yet, so anyone can claim to be anyone.
//!
//! # What a reducer may not do
//!
//! The same state and the same action must give the same bytes, here and on every other
//! machine. [`testing::Document`] checks it with every action.
//!
//! - **Time.** [`Context::timestamp`] is the only clock; there is nothing behind
//!   `SystemTime::now()` in the sandbox.
//! - **Chance.** There is none. The client that makes the action puts ids and dice rolls into its
//!   input. Crates that ask for random bytes or the time (`getrandom`, `rand`, `uuid` with `v4`,
//!   `chrono` with its default features) do not build for this target or have nothing to ask; turn
//!   those features off. `cargo tree -i wasm-bindgen --target wasm32-unknown-unknown` shows which
//!   dependency expects a browser.
//! - **Output.** `println!`, `eprintln!` and `dbg!` go nowhere in a component. [`Context::info`] and
//!   its siblings write to the host's log; `REDUCTOR_LOG=reductor::guest=info`
//!   shows them.
//! - **Order.** Iterate over `BTreeMap` and `BTreeSet`, not `HashMap` and `HashSet`.
//! - **Memory.** Statics and thread-locals outlive a document in tests and not in the host.
//!   Fields that serde skips are gone after the next load.
//! - **Numbers.** JSON numbers are doubles: keep integers beyond ±(2^53 − 1) in strings. In
//!   WebAssembly `usize` has 32 bits: use `u32` or `u64` in states and actions.
//! - **Overflow.** `5u32 - 9` panics in the component as it does in `cargo test`: `reductor
//!   build` turns `overflow-checks` on, unless the `[profile.release]` of your workspace says
//!   otherwise, and then it wraps in silence. `checked_sub` and a rejection are better than
//!   either.
//!
//! # Models in other languages
//!
//! A model is a component of the world in `wit/reducer.wit`, whatever it was written in. A
//! standard library may import WASI 0.2 (any patch of it); this is what it gets:
//!
//! | import | what it does here |
//! |---|---|
//! | `wasi:clocks/wall-clock` | stands at the action's timestamp during `apply`, at 1970 otherwise |
//! | `wasi:clocks/monotonic-clock` | starts anew with every call, moves on by 1 µs with every reading; whoever waits finds it moved to the end of the wait |
//! | `wasi:random/*` | the same bytes for the same operation (outside of `apply` for the same document), up to 1 MiB at once |
//! | `wasi:cli/stdout`, `stderr` | lines in the log, as `info` and `warn`, within the limits of `log` |
//! | `wasi:cli/stdin`, `environment`, `terminal-*` | closed, empty, none |
//! | `wasi:cli/exit` | the call fails with reason `exit`, whatever the status |
//! | `wasi:io/*` | the streams above; nothing sleeps; at most 1,024 handles at a time |
//! | `wasi:filesystem/*` | not one directory is open |
//! | `wasi:http`, `wasi:sockets`, anything else | refused when the plugin is loaded, with what would remove the import |
//!
//! Random bytes are the same wherever an operation is executed, but not secret: whoever knows
//! the operation's id can compute them. A value that is drawn once and kept outside of the
//! state makes a reducer impure all the same: hash maps with random seeds do that.
//!
//! In JavaScript: `componentize({ witPath: 'reducer.wit', worldName: 'reducer', sourcePath,
//! disableFeatures: ['http', 'fetch-event'] })` with `@bytecodealliance/componentize-js`; throw
//! `{ code, message }` to refuse an action. `JSON.stringify` writes canonical JSON if every
//! object's members are in the order of their names; then the manifest may say `canonical:
//! true`. `tests/guests/todo-list-js` is a whole model. In Python: `componentize-py … --stub-wasi`.
//!
//! # Limits
//!
//! A host bounds what a model may use. These are the defaults of one call into a component; an
//! operator may set others, and `metadata.reason` of a failed job names the one that was met.
//!
//! | what | default | reason |
//! |---|---|---|
//! | fuel, about one unit an instruction | 10,000,000,000 | `fuel-exhausted` |
//! | time of all actions of a job | 30 s | `timeout` |
//! | linear memory | 64 MiB; encoding a state needs room for it several times | `memory-limit` |
//! | stack | 1 MiB | `stack-overflow`; in the component's own stack a trap that is out of bounds |
//! | a state, as canonical JSON | 16 MiB; all of a document 64 MiB | `output-too-large` |
//! | an action's input | 1 MiB | refused when it is submitted |
//! | dispatches of an action | 64 | `dispatch-limit` |
//! | log lines | 100 in a call, 1,000 in a job, 4 KiB each | dropped, and the log says so |
//!
//! # How to be fast
//!
//! After each action the host asks for the whole state of its scope as canonical JSON, whose
//! members are sorted by name. Declare the fields of what is there many times in that order,
//! as their JSON names sort: encoding is then about 1.5 times as fast. Give a large text a
//! rope and a large map a `BTreeMap`.
//!
//! # When the model grows
//!
//! A new action, or a new field with `#[serde(default)]`, needs nothing. Any other change of
//! the state's shape needs a higher [`Reducer::VERSION`] and a [`Reducer::upgrade`] that
//! reads the old one; [`from_older_state`](testing::Document::from_older_state) tests it.
//! An action that computes something else from now on needs neither: the past stays as it was.
//!
//! A document moves to the new component at its next job, from the state in which the old one left
//! it, and `upgrade` is called if `VERSION` differs. Keep in `upgrade` what reads every version
//! that documents may still be of: one that nobody touches stays as it is for years. A component
//! of a lower version than a document's state is refused (`older-version`).
//!
//! The operations of the past are applied again only by the component that made them, so keep
//! every component that ever ran. A host that was stopped in an orderly way needs it no more, since
//! it has written the state of every document down; after a crash, give the old component with
//! `--replay-plugin` or its jobs fail with `revision-missing`.
//!
//! Beware of `#[serde(default)]` on a field that was renamed: it reads old states without
//! complaint, finds nothing under the new name, and the data is gone with the next action.
//! To rename a field, raise `VERSION` and write an `upgrade`.
//!
//! [`scopes!`] gives parts of the state a history of their own. A higher version may add scopes; one
//! that documents have does not go away.

#![expect(clippy::test_attr_in_doctest, reason = "the tutorial shows where tests go; hidden lines run the same")]

mod action;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;
mod context;
mod dispatch;
mod export;
mod locate;
mod manifest;
pub mod model;
mod nearest;
pub mod prelude;
mod reducer;
mod rejection;
mod schema;
mod snapshot;
pub mod testing;
mod timestamp;
mod wording;

pub use context::{Context, Level, Signer};
pub use dispatch::Dispatch;
pub use reducer::Reducer;
pub use rejection::Rejection;
pub use snapshot::{Snapshot, SnapshotError};
