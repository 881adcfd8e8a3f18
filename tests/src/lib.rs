//! End-to-end tests of Reductor, with real components: the tests are in `tests/`, the guests
//! that misbehave in `guests/`, recorded input in `data/`.
//!
//! Here are the paths of the components that the build script makes of the guests, for the
//! tests of other crates too.

/// `example/counter`.
pub const COUNTER: &str = env!("GUEST_COUNTER");
/// `example/text`.
pub const TEXT: &str = env!("GUEST_TEXT");
/// `example/todo-list`.
pub const TODO_LIST: &str = env!("GUEST_TODO_LIST");
/// `example/todo-list` in JavaScript; or why it could not be built.
pub const TODO_LIST_JS: Result<&str, &str> =
    match (option_env!("GUEST_TODO_LIST_JS"), option_env!("GUEST_TODO_LIST_JS_PROBLEM")) {
        (Some(path), _) => Ok(path),
        (None, Some(problem)) => Err(problem),
        (None, None) => Err("the build script did not say"),
    };
/// `test/ambient`, which calls every function of WASI that there is.
pub const AMBIENT: &str = env!("GUEST_AMBIENT");
/// `test/stock`, version 1: its state is `{"count":0}`.
pub const STOCK: &str = env!("GUEST_STOCK");
/// The same version with a field more, which has a default: `{"count":0,"owner":""}`.
pub const STOCK_WITH_OWNER: &str = env!("GUEST_STOCK_WITH_OWNER");
/// Its version 2, which upgrades version 1: `{"units":0}`.
pub const STOCK_VERSION_2: &str = env!("GUEST_STOCK_VERSION_2");
/// `test/unruly`, which fails in every way that a test needs.
pub const UNRULY: &str = env!("GUEST_UNRULY");
/// [`UNRULY`] with line tables.
pub const UNRULY_WITH_LINES: &str = env!("GUEST_UNRULY_WITH_LINES");
