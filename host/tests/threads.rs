//! Alone in its process, because it looks at all of the process's threads.

use std::time::{Duration, Instant};

use anyhow::Result;
use reductor_host::{Host, Submission};
use reductor_tests::{COUNTER, UNRULY};

/// Longer than anything takes that ends at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Names of this process's threads that are a host's.
fn threads() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task")? {
        // One that ends meanwhile has no name any more.
        let name = std::fs::read_to_string(thread?.path().join("comm")).unwrap_or_default();
        if name.starts_with("reductor") {
            names.push(name.trim().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[test]
fn dropping_a_host_ends_its_threads_even_in_an_endless_loop() -> Result<()> {
    assert_eq!(threads()?, [""; 0]);
    let host = Host::builder().plugin_file(COUNTER).plugin_file(UNRULY).start()?;
    assert!(threads()?.len() >= 2, "workers and the epoch's ticker: {:?}", threads()?);
    let spin =
        Submission::from_json(r#"{"documentId": "u", "documentType": "test/unruly", "actions": [{"type": "SPIN"}]}"#)?;
    let mut events = host.manager().events().subscribe();
    let ticket = host.manager().enqueue(spin)?;
    while !matches!(events.recv_blocking(),
        Some(reductor_host::Received::Event(event)) if matches!(*event, reductor_host::Event::JobStarted(_)))
    {}
    drop(host);
    // The kernel may list a thread for a moment after it was joined.
    let began = Instant::now();
    while !threads()?.is_empty() {
        assert!(began.elapsed() < PATIENCE, "left behind: {:?}", threads()?);
        std::thread::yield_now();
    }
    assert!(!ticket.wait_blocking().success);
    Ok(())
}
