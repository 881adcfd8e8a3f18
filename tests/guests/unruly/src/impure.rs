//! What a reducer must not look at: things that outlive a call and are in no snapshot.

use std::cell::Cell;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often it was called in this instance.
pub(crate) fn count() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}

/// Ten words in the order of a hash map, which std seeds anew for each.
pub(crate) fn hash_map_order() -> String {
    let words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    let map: HashMap<&str, usize> = words.into_iter().zip(1..).collect();
    map.into_keys().collect::<Vec<_>>().join(" ")
}

/// The address of an allocation, of which the instance keeps one more each time.
pub(crate) fn address() -> String {
    thread_local! {
        #[expect(clippy::vec_box, reason = "each allocation of its own is what moves the next one")]
        static KEPT: Cell<Vec<Box<[u8; 64]>>> = const { Cell::new(Vec::new()) };
    }
    let mut kept = KEPT.take();
    kept.push(black_box(Box::new([1; 64])));
    let address = kept.last().map(|last| last.as_ptr().addr()).unwrap_or_default();
    KEPT.set(kept);
    format!("{address:#x}")
}
