//! Prints the throughput of encoding, checking and canonicalising two typical states.
//!
//! Medians over rounds, in megabytes of canonical text a second. `serde_json` encodes the same
//! state for comparison; `canonicalize` is given what it wrote, `pretty` the same indented:
//! `cargo run --release -p reductor-json --example throughput`.

use std::{hint::black_box, time::Instant};

use reductor_json::{Limits, canonicalize, check, to_vec};
use serde::Serialize;

/// A text document of about 20 kB: one long string.
#[derive(Serialize)]
struct Text {
    text: String,
}

/// A list of about 50 kB: many short tokens. The fields are declared in canonical order.
#[derive(Serialize)]
struct Sorted {
    items: Vec<SortedItem>,
}

#[derive(Serialize)]
struct SortedItem {
    done: bool,
    id: u32,
    price: f64,
    tags: [&'static str; 2],
    title: String,
}

/// The same list as most people would declare it.
#[derive(Serialize)]
struct Unsorted {
    items: Vec<UnsortedItem>,
}

#[derive(Serialize)]
struct UnsortedItem {
    id: u32,
    title: String,
    done: bool,
    price: f64,
    tags: [&'static str; 2],
}

fn main() {
    let line = "All work and no play makes a reducer a dull function, says the plugin host.";
    report("text", &Text { text: [line; 270].join("\n") });
    report("text, no escapes", &Text { text: [line; 270].join(" ") });
    report("text, not ASCII", &Text { text: ["Größe naïve café — 数"; 800].join(" ") });
    let ids = 0..600;
    let items = ids.clone().map(|id| SortedItem {
        done: id % 3 == 0,
        id: id * 7,
        price: f64::from(id) + 0.25,
        tags: ["home", "shop"],
        title: format!("item number {id}"),
    });
    report("tokens, in order", &Sorted { items: items.collect() });
    let items = ids.map(|id| UnsortedItem {
        id: id * 7,
        title: format!("item number {id}"),
        done: id % 3 == 0,
        price: f64::from(id) + 0.25,
        tags: ["home", "shop"],
    });
    report("tokens, not in order", &Unsorted { items: items.collect() });
    let doubles: Vec<f64> = (1..2500).map(|n| f64::from(n).sqrt()).collect();
    report("doubles of 17 digits", &doubles);
}

fn report<T: Serialize>(name: &str, state: &T) {
    let text = to_vec(state).expect("the state has canonical JSON");
    let pretty = serde_json::to_vec_pretty(state).expect("the state has JSON");
    let compact = serde_json::to_vec(state).expect("the state has JSON");
    let limits = Limits::default();
    let rates = [
        ("serde_json", rate(text.len(), || serde_json::to_vec(state).map(|out| out.len()))),
        ("to_vec", rate(text.len(), || to_vec(state).map(|out| out.len()))),
        ("check", rate(text.len(), || check(&text, limits))),
        ("canonicalize", rate(text.len(), || canonicalize(&compact, limits))),
        ("pretty", rate(text.len(), || canonicalize(&pretty, limits))),
    ];
    print!("{name:<20} {:>6} B", text.len());
    for (what, rate) in rates {
        print!("  {what} {rate:>6.0} MB/s");
    }
    println!();
}

/// The median rate of `work`, which handles `bytes` each time.
fn rate<R>(bytes: usize, work: impl Fn() -> R) -> f64 {
    const ROUNDS: usize = 301;
    const CALLS: usize = 10;
    let mut seconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                black_box(work());
            }
            start.elapsed().as_secs_f64() / CALLS as f64
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    bytes as f64 / seconds[ROUNDS / 2] / 1e6
}
