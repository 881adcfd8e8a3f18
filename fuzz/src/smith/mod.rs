//! Valid components with random code in them: admit and run them.

mod generate;
pub(crate) mod shell;

use arbitrary::Unstructured;
use reductor_core::Reducer as _;
use reductor_sandbox::AdmissionError;

use crate::surroundings::{behaves_the_same_twice, surroundings};
use generate::{Features, Generated, Random};

/// Makes a component of `data`, admits it, and lets it apply some actions.
///
/// Whatever it does ends within the limits in one of the known ways, twice in the same way, and
/// is not blamed on anyone else. The other component in the sandbox does not notice.
///
/// # Panics
///
/// If that does not hold.
pub fn smith(data: &[u8]) {
    let Some(generated) = Generated::new(&mut Unstructured::new(data)) else { return };
    let surroundings = surroundings();
    match surroundings.sandbox.admit(&generated.component) {
        Ok(plugin) => {
            assert!(!plugin.manifest().scopes.is_empty());
            behaves_the_same_twice(&plugin);
        }
        Err(error) => assert!(may_be_refused(&generated, &error), "{error}"),
    }
    surroundings.neighbour_is_well();
}

/// Whether the refusal is about something that random code can get wrong: what is around it is
/// a valid component of our world.
fn may_be_refused(generated: &Generated, error: &AdmissionError) -> bool {
    match error {
        // wasm features that the sandbox does not offer.
        AdmissionError::NotCompiled(_) | AdmissionError::Invalid { .. } => generated.features != Features::Offered,
        // Random code is what runs: in the shell, only when instantiated.
        AdmissionError::Canary { .. } | AdmissionError::OverLimit(_) => true,
        AdmissionError::Manifest { .. } => generated.random == Random::Guest,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::surroundings::Outcome;

    /// A target that never gets as far as running the code shows nothing.
    #[test]
    fn random_bodies_come_to_many_ends() {
        let mut ends = BTreeSet::new();
        let mut admitted = 0;
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(3_000).collect();
            let Some(generated) = Generated::new(&mut Unstructured::new(&bytes)) else { continue };
            let Ok(plugin) = surroundings().sandbox.admit(&generated.component) else { continue };
            admitted += 1;
            ends.extend(behaves_the_same_twice(&plugin).outcomes.iter().map(|outcome| match outcome {
                Outcome::State(_) => "state",
                Outcome::Rejected { .. } => "rejected",
                Outcome::Failed(failure) => failure.reason.name(),
            }));
        }
        assert!(admitted >= 50, "{admitted}");
        for end in ["state", "rejected", "trap", "invalid-output", "fuel-exhausted"] {
            assert!(ends.contains(end), "no {end} in {ends:?}");
        }
    }
}
