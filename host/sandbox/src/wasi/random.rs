//! `wasi:random`: bytes that follow from the document and the action.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use reductor_core::{ActionId, LaneKey, Reason, Scope, operation_id};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Linker;

use super::{Context, interface, refused};
use crate::host::{HostState, charge};

/// Bytes of one request: making them cannot be interrupted, and this many take about a
/// millisecond.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// Starts the generator of a call: during `apply` from the operation that the action becomes,
/// otherwise from document and branch.
///
/// What comes out is part of documents' histories, and must stay as it is for ever.
pub(super) fn generator(lane: &LaneKey, action: Option<(&Scope, &ActionId)>) -> ChaCha20Rng {
    let mut seed = Sha256::new();
    // With its length before each part, no two lists of parts are the same bytes.
    let mut part = |text: &str| {
        seed.update((text.len() as u64).to_le_bytes());
        seed.update(text);
    };
    match action {
        Some((scope, action)) => {
            part("reductor wasi:random operation");
            part(&operation_id(lane, scope, action).to_string());
        }
        None => {
            part("reductor wasi:random document");
            part(lane.document.as_str());
            part(lane.branch.as_str());
        }
    }
    ChaCha20Rng::from_seed(seed.finalize().into())
}

pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let functions = [
        ("wasi:random/random", "get-random-bytes", "get-random-u64"),
        ("wasi:random/insecure", "get-insecure-random-bytes", "get-insecure-random-u64"),
    ];
    for (name, bytes, number) in functions {
        let mut random = interface(linker, name)?;
        random.func_wrap(bytes, |mut store: Context<'_>, (length,): (u64,)| {
            let bytes = some_bytes(store.data_mut(), length)?;
            charge(&mut store, bytes.len())?;
            Ok((bytes,))
        })?;
        random.func_wrap(number, |mut store: Context<'_>, (): ()| Ok((some_number(store.data_mut()),)))?;
    }
    let mut seed = interface(linker, "wasi:random/insecure-seed")?;
    seed.func_wrap("insecure-seed", |mut store: Context<'_>, (): ()| {
        let state = store.data_mut();
        Ok(((some_number(state), some_number(state)),))
    })
}

fn some_number(state: &mut HostState) -> u64 {
    state.wasi.random(&state.lane).next_u64()
}

fn some_bytes(state: &mut HostState, length: u64) -> wasmtime::Result<Vec<u8>> {
    let max = state.wasi.random_bytes_max();
    let length = usize::try_from(length).ok().filter(|length| *length <= max).ok_or_else(|| {
        let message = format!("it asked for {length} random bytes at once; {max} are allowed");
        refused(Reason::OutputTooLarge, message)
    })?;
    let mut bytes = vec![0; length];
    state.wasi.random(&state.lane).fill_bytes(&mut bytes);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use reductor_core::{Branch, DocumentId};

    use super::*;

    fn lane(document: &str, branch: &str) -> LaneKey {
        LaneKey { document: DocumentId::from(document), branch: Branch::from(branch) }
    }

    #[test]
    fn what_comes_out_for_a_document_and_for_an_operation_never_changes() {
        let lane = lane("d", "main");
        let (scope, action) = (Scope::from("global"), ActionId::from("a"));
        let first = |action| generator(&lane, action).next_u64();
        assert_eq!(
            [first(None), first(Some((&scope, &action)))],
            [2_285_175_995_268_557_048, 10_748_344_768_538_705_223]
        );
    }

    #[test]
    fn names_that_read_the_same_when_joined_have_seeds_of_their_own() {
        let first = |document, branch| generator(&lane(document, branch), None).next_u64();
        assert_ne!(first("ab", "c"), first("a", "bc"));
    }
}
