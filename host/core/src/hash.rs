//! Hashes: of states, and of the names of operations.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::ids::{ActionId, LaneKey, OperationId, Scope, StateHash};

/// Hashes the canonical JSON (RFC 8785) of a state: SHA-256, in base64.
pub fn state_hash(canonical: &[u8]) -> StateHash {
    let mut text = [0; 44];
    let written =
        STANDARD.encode_slice(Sha256::digest(canonical), &mut text).expect("32 bytes are 44 characters of base64");
    StateHash::from(std::str::from_utf8(&text[..written]).expect("base64 is ASCII"))
}

/// Names the operation that an action becomes in a stream.
///
/// Document ids, scopes and branches have no `:`, so that two different streams or actions never have
/// one name. Action ids may: what follows the third `:` is theirs.
///
/// Other reactors derive ids in the same way, so that histories can be exchanged.
pub fn operation_id(lane: &LaneKey, scope: &Scope, action: &ActionId) -> OperationId {
    let mut sha1 = Sha1::new();
    for part in [lane.document.as_str(), ":", scope.as_str(), ":", lane.branch.as_str(), ":", action.as_str()] {
        sha1.update(part.as_bytes());
    }
    OperationId::from_digest(&sha1.finalize())
}

/// Names the action that an operation's reducer dispatched as its `ordinal`-th, from 0.
pub fn dispatched_action_id(operation: OperationId, ordinal: usize) -> ActionId {
    let digest = Sha1::digest(format!("{operation}:dispatch:{ordinal}"));
    ActionId::from(OperationId::from_digest(&digest).to_string())
}

/// Hashes what `scopes` hold together: the one state, or the object `{scope: state, …}`.
///
/// Every state is canonical JSON already, so the object is put together from their bytes.
pub fn scopes_hash<'a>(mut scopes: Vec<(&'a Scope, &'a [u8])>) -> StateHash {
    if let [(_, state)] = scopes[..] {
        return state_hash(state);
    }
    scopes.sort_by(|a, b| a.0.as_str().encode_utf16().cmp(b.0.as_str().encode_utf16()));
    let mut object = vec![b'{'];
    for (at, (scope, state)) in scopes.iter().enumerate() {
        if at > 0 {
            object.push(b',');
        }
        reductor_json::write(&mut object, scope.as_str()).expect("every string has a canonical form");
        object.push(b':');
        object.extend_from_slice(state);
    }
    object.push(b'}');
    state_hash(&object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_hash_is_sha256_in_base64() {
        // printf '{}' | openssl dgst -sha256 -binary | base64
        assert_eq!(state_hash(b"{}").as_str(), "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=");
    }

    #[test]
    fn several_scopes_hash_as_one_canonical_object() {
        let (a, b) = (Scope::from("global"), Scope::from("auth"));
        assert_eq!(scopes_hash(vec![(&a, b"1"), (&b, b"[]")]), state_hash(br#"{"auth":[],"global":1}"#));
    }
}
