//! Any bytes: admit them as a component.

use reductor_sandbox::Blame;

use crate::surroundings::{behaves_the_same_twice, surroundings};

/// Bytes of the longest refusal: fifty differences of three names each.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Offers `data` to a sandbox.
///
/// It is refused as its own fault, in few words that any terminal can show, or it runs like any
/// other component. The other component in the sandbox does not notice.
///
/// # Panics
///
/// If that does not hold.
pub fn admission(data: &[u8]) {
    let surroundings = surroundings();
    match surroundings.sandbox.admit(data) {
        Ok(plugin) => drop(behaves_the_same_twice(&plugin)),
        Err(error) => {
            let (is_plain, message) = (|char: char| char == '\n' || !char.is_control(), error.to_string());
            assert!(message.chars().all(is_plain) && message.len() <= MESSAGE_BYTES_MAX, "{error:?}");
            assert_eq!(error.blame(), Blame::Component, "{error:?}");
        }
    }
    surroundings.neighbour_is_well();
}
