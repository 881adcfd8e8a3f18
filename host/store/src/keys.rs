//! The keys of records: numbers that sort, names that sort as the names do.

use reductor_core::{ActionId, Branch, DocumentId, LaneKey, Scope};
use xxhash_rust::xxh3::Xxh3;

/// The engine takes keys up to 64 KiB.
pub(crate) const LANE_KEY_BYTES_MAX: usize = 60_000;

/// The key of an operation, or of a snapshot.
pub(crate) fn in_lane(lane: u32, number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&lane.to_be_bytes());
    key[4..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Lane and number out of such a key.
pub(crate) fn split(key: &[u8]) -> Option<(u32, u64)> {
    let key: &[u8; 12] = key.try_into().ok()?;
    let (lane, number) = (key.first_chunk::<4>()?, key.last_chunk::<8>()?);
    Some((u32::from_be_bytes(*lane), u64::from_be_bytes(*number)))
}

/// A number out of a key that is nothing else.
pub(crate) fn number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// The key of an action: its lane, and 96 bits of a hash of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ActionKey(pub(crate) [u8; 16]);

impl ActionKey {
    pub(crate) fn new(lane: u32, scope: &Scope, action: &ActionId) -> Self {
        let mut hasher = Xxh3::with_seed(u64::from(lane));
        hasher.update(&(scope.as_str().len() as u64).to_le_bytes());
        hasher.update(scope.as_str().as_bytes());
        hasher.update(action.as_str().as_bytes());
        let hash = hasher.digest128().to_be_bytes();
        let mut key = [0; 16];
        key[..4].copy_from_slice(&lane.to_be_bytes());
        key[4..].copy_from_slice(&hash[..12]);
        Self(key)
    }

    /// Where to look next if the key is another action's.
    pub(crate) fn next(self) -> Self {
        let mut key = self.0;
        for byte in key[4..].iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        Self(key)
    }
}

/// The key of a lane's record. Keys sort as lanes do.
pub(crate) fn lane(lane: &LaneKey) -> Vec<u8> {
    let (document, branch) = (lane.document.as_str(), lane.branch.as_str());
    let mut key = Vec::with_capacity(document.len() + branch.len() + 3);
    key.push(b'k');
    for byte in document.bytes() {
        key.push(byte);
        if byte == 0 {
            key.push(0xff);
        }
    }
    key.extend_from_slice(&[0, 0]);
    key.extend_from_slice(branch.as_bytes());
    key
}

/// The lane of such a key.
pub(crate) fn parse_lane(key: &[u8]) -> Option<LaneKey> {
    let key = key.strip_prefix(b"k")?;
    let mut document = Vec::new();
    let mut at = 0;
    loop {
        match (*key.get(at)?, key.get(at + 1)) {
            (0, Some(0)) => break,
            (0, _) => {
                document.push(0);
                at += 2;
            }
            (byte, _) => {
                document.push(byte);
                at += 1;
            }
        }
    }
    let branch = std::str::from_utf8(&key[at + 2..]).ok()?;
    Some(LaneKey { document: DocumentId::from(String::from_utf8(document).ok()?), branch: Branch::from(branch) })
}

/// The key of a lane's name.
pub(crate) fn lane_number(number: u32) -> [u8; 5] {
    tagged(b'n', number)
}

/// A number with a letter before it.
pub(crate) fn tagged(tag: u8, number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [tag, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_lanes_sort_as_lanes_do_and_name_them() {
        let names = ["", "a", "a\0", "a\0b", "a\u{1}", "ab", "b", "\0", "\0\0", "ä"];
        let mut lanes: Vec<LaneKey> = Vec::new();
        for document in names {
            for branch in names {
                lanes.push(LaneKey { document: DocumentId::from(document), branch: Branch::from(branch) });
            }
        }
        lanes.sort();
        assert!(lanes.is_sorted_by_key(lane));
        for named in &lanes {
            assert_eq!(parse_lane(&lane(named)).as_ref(), Some(named));
        }
    }
}
