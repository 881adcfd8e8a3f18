//! Any bytes: admit them as a component.

use crate::surroundings::{behaves_the_same_twice, surroundings};

/// Offers `data` to a sandbox.
///
/// It is refused in words that any terminal can show, or it runs like any other component. The
/// other component in the sandbox does not notice.
///
/// # Panics
///
/// If that does not hold.
pub fn admission(data: &[u8]) {
    let surroundings = surroundings();
    match surroundings.sandbox.admit(data) {
        Ok(plugin) => drop(behaves_the_same_twice(&plugin)),
        Err(error) => {
            let is_plain = |char: char| char == '\n' || !char.is_control();
            assert!(error.to_string().chars().all(is_plain), "{error:?}");
        }
    }
    surroundings.neighbour_is_well();
}
