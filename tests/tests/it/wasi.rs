//! WASI as guests find it: the same everywhere, and no way out.

use std::collections::BTreeSet;

use anyhow::Result;
use reductor_core::{JobErrorCode, Reason};
use serde_json::{Value, json};
use wit_component::DecodedWasm;
use wit_parser::{Resolve, WorldId, WorldItem};

use crate::support::{AMBIENT, Host, JobText, Setup, component, guest_log, job, keep_guest_logs};

/// [`crate::support::NOON`], as seconds since 1970.
const NOON_S: u64 = 1_772_366_400;
const HOUR_NS: u64 = 3_600_000_000_000;

/// A job with one action, which is the same at every call.
fn act(document: &str, action: &str, input: Value) -> JobText {
    let id = format!("{action} {input}");
    job(AMBIENT, document).fixed(&id, action, input)
}

fn look(at: &str) -> JobText {
    act("d", "LOOK", json!({"at": at}))
}

/// What the guest was told.
fn seen(host: &Host, job: JobText) -> Result<Vec<String>> {
    host.applied(job)?;
    lines(host, "seen")
}

fn lines(host: &Host, field: &str) -> Result<Vec<String>> {
    Ok(serde_json::from_value(host.state("d")?[field].clone())?)
}

/// The functions that a world imports from WASI, such as `io/poll#poll`.
fn functions(resolve: &Resolve, world: WorldId) -> BTreeSet<String> {
    let interfaces = resolve.worlds[world].imports.iter().filter_map(|(key, item)| match item {
        WorldItem::Interface { id, .. } => Some((resolve.name_world_key(key), *id)),
        _ => None,
    });
    let functions = interfaces.flat_map(|(name, id)| {
        let interface =
            name.strip_prefix("wasi:").and_then(|name| name.split_once('@')).map(|(name, _)| name.to_owned());
        let functions = interface.is_some().then(|| resolve.interfaces[id].functions.keys());
        functions
            .into_iter()
            .flatten()
            .map(move |function| format!("{}#{function}", interface.clone().unwrap_or_default()))
    });
    functions.collect()
}

#[test]
fn a_guest_may_import_every_function_that_is_granted() -> Result<()> {
    let mut granted = Resolve::default();
    let package = granted.push_str("wasi.wit", include_str!("../../../host/sandbox/src/wasi/wasi.wit"))?;
    let world = granted.select_world(&[package], Some("granted"))?;
    let DecodedWasm::Component(ours, ours_world) = wit_component::decode(&component(AMBIENT))? else {
        anyhow::bail!("the guest is a component");
    };
    let expected = functions(&granted, world);
    assert!(expected.len() > 70, "{expected:#?}");
    // That it was let in, the other tests show.
    assert_eq!(functions(&ours, ours_world), expected);
    Ok(())
}

#[test]
fn there_is_no_environment_no_file_no_terminal_and_nothing_to_read() -> Result<()> {
    let host = Host::start()?;
    let environment = ["get-environment: []", "get-arguments: []", "initial-cwd: None"];
    assert_eq!(seen(&host, look("environment"))?, environment);
    assert_eq!(seen(&host, look("files"))?, ["get-directories: 0"]);
    assert_eq!(seen(&host, look("terminals"))?, ["stdin: false", "stdout: false", "stderr: false"]);
    let closed = ["read", "blocking-read", "skip", "blocking-skip", "splice", "blocking-splice"];
    assert_eq!(seen(&host, look("input"))?, closed.map(|function| format!("{function}: Err(\"closed\")")));
    Ok(())
}

#[test]
fn the_wall_clock_stands_at_the_timestamp_of_the_action() -> Result<()> {
    let host = Host::start()?;
    let datetime =
        |seconds: u64, nanoseconds: u32| format!("wall: Datetime {{ seconds: {seconds}, nanoseconds: {nanoseconds} }}");
    assert_eq!(seen(&host, look("clocks"))?[0], datetime(NOON_S, 0));
    for (timestamp, seconds, nanoseconds) in [
        ("2026-03-01T12:00:00.123456Z", NOON_S, 123_000_000),
        ("1970-01-01T00:00:01Z", 1, 0),
        ("1969-12-31T23:59:59Z", 0, 0),
    ] {
        let action = json!({"type": "LOOK", "input": {"at": "clocks"}, "timestampUtcMs": timestamp});
        assert_eq!(seen(&host, job(AMBIENT, "d").draft(action))?[0], datetime(seconds, nanoseconds), "{timestamp}");
    }
    Ok(())
}

#[test]
fn the_monotonic_clock_counts_readings_and_starts_anew_with_every_call() -> Result<()> {
    let host = Host::start()?;
    let expected = [
        &format!("wall: Datetime {{ seconds: {NOON_S}, nanoseconds: 0 }}"),
        "wall resolution: Datetime { seconds: 0, nanoseconds: 1000000 }",
        "monotonic: 86400000001000",
        "monotonic again: 86400000002000",
        "monotonic resolution: 1000",
    ];
    assert_eq!(seen(&host, look("clocks"))?, expected);
    host.applied(act("d", "WAIT", json!({"spans": [HOUR_NS], "poll": true})))?;
    assert_eq!(seen(&host, job(AMBIENT, "d").fixed("again", "LOOK", json!({"at": "clocks"})))?, expected);
    Ok(())
}

#[test]
fn nothing_ever_sleeps_and_a_wait_moves_the_clock() -> Result<()> {
    let host = Host::start()?;
    let expected = [
        "poll: [1, 2]",
        "an hour passed: true",
        "poll later: [0, 1, 2]",
        "ready: (true, true, true)",
        "for ever: true",
    ];
    assert_eq!(seen(&host, look("poll"))?, expected);
    // The first to be due is the first to come, and two that are due together come together.
    let spans = json!([3 * HOUR_NS, HOUR_NS, 2 * HOUR_NS, HOUR_NS]);
    let polled = seen(&host, act("d", "WAIT", json!({"spans": spans, "poll": true})))?;
    let came = [HOUR_NS, HOUR_NS, 2 * HOUR_NS, 3 * HOUR_NS];
    assert_eq!(polled, [format!("came: {came:?}"), "took ms: 10800000".to_owned()]);
    let asked = seen(&host, act("d", "WAIT", json!({"spans": [HOUR_NS, 1], "poll": false})))?;
    assert_eq!(asked, [format!("came: {:?}", [HOUR_NS, 1]), "took ms: 3600000".to_owned()]);
    Ok(())
}

#[test]
fn random_bytes_follow_from_the_operation_and_never_change() -> Result<()> {
    let host = Host::start()?;
    let expected: [&str; 5] = [
        "get-random-bytes: [130, 149, 12, 63, 35]",
        "get-random-u64: 4286862677655318424",
        "get-insecure-random-bytes: [151, 60, 45]",
        "get-insecure-random-u64: 10917333159064403033",
        "insecure-seed: (8848103010061592498, 9644887005709329096)",
    ];
    assert_eq!(seen(&host, look("random"))?, expected);
    // Another action on the same document, and the same action on another document.
    assert_ne!(seen(&host, job(AMBIENT, "d").fixed("other", "LOOK", json!({"at": "random"})))?, expected);
    host.applied(act("other", "LOOK", json!({"at": "random"})))?;
    assert_ne!(host.state("other")?["seen"], json!(expected));
    Ok(())
}

#[test]
fn a_new_document_is_born_in_1970_with_random_bytes_of_its_own() -> Result<()> {
    let host = Host::start()?;
    host.applied(look("files"))?;
    let born = lines(&host, "born")?;
    assert_eq!(born[0], "wall: Datetime { seconds: 0, nanoseconds: 0 }");
    host.applied(act("other", "LOOK", json!({"at": "files"})))?;
    let other: Vec<String> = serde_json::from_value(host.state("other")?["born"].clone())?;
    assert_eq!(born[..5], other[..5], "the clocks");
    assert_ne!(born[5], other[5], "the random bytes");
    Ok(())
}

#[test]
fn fresh_instances_resident_ones_and_other_hosts_see_the_same() -> Result<()> {
    let history = |host: &Host| -> Result<Vec<_>> {
        for round in 0..3 {
            for at in ["clocks", "random", "poll", "output"] {
                host.applied(job(AMBIENT, "d").fixed(&format!("{at} {round}"), "LOOK", json!({"at": at})))?;
            }
            // What was handed out and kept must not shift what comes after.
            host.applied(act("d", "HOARD", json!({"what": "moment", "count": 10 + round})))?;
        }
        Ok(host.operations("d")?.into_iter().map(|it| (it.operation.id, it.operation.hash)).collect())
    };
    let resident = history(&Host::start()?)?;
    assert_eq!(history(&Setup::new().no_residents().start()?)?, resident);
    assert_eq!(history(&Host::start()?)?, resident);
    Ok(())
}

#[test]
fn what_a_guest_prints_goes_to_its_log_line_by_line() -> Result<()> {
    keep_guest_logs();
    let host = Host::start()?;
    let print = |to, pieces: Value| act("printer", "PRINT", json!({"to": to, "pieces": pieces, "times": 1}));
    host.applied(print("stdout", json!(["one\ntw", "o\n\u{1b}[31mred\n"])))?;
    host.applied(print("stderr", json!(["not finished"])))?;
    let log = guest_log("printer");
    let expected = [("INFO", "one"), ("INFO", "two"), ("INFO", "\\u{1b}[31mred"), ("WARN", "not finished")];
    assert_eq!(log.len(), expected.len(), "{log:#?}");
    for (line, (level, text)) in log.iter().zip(expected) {
        assert!(line.contains(level) && line.contains(text), "{line}: {level} {text}");
    }
    Ok(())
}

#[test]
fn every_way_to_write_writes() -> Result<()> {
    keep_guest_logs();
    let host = Host::start()?;
    host.applied(act("writer", "LOOK", json!({"at": "output"})))?;
    let seen: Vec<String> = serde_json::from_value(host.state("writer")?["seen"].clone())?;
    let functions = ["check-write", "write", "write-zeroes", "blocking-write-and-flush", "flush", "subscribe"];
    assert_eq!(seen, functions.map(|function| format!("{function}: true")));
    let log = guest_log("writer");
    assert_eq!(log.len(), 3, "{log:#?}");
    for (line, text) in log.iter().zip([": \\u{0}\\u{0}\\u{0} one ", ": three ", ": two "]) {
        assert!(line.contains(text), "{line}: {text}");
    }
    Ok(())
}

#[test]
fn printed_lines_are_limited_as_logged_ones() -> Result<()> {
    keep_guest_logs();
    let host = Host::start()?;
    host.applied(act("print-many", "PRINT", json!({"to": "stdout", "pieces": ["line\n"], "times": 10_000})))?;
    let log = guest_log("print-many");
    assert_eq!(log.len(), 101);
    assert!(log[100].contains("more than 100 log lines"), "{}", log[100]);

    host.applied(act("print-long", "PRINT", json!({"to": "stdout", "pieces": ["long "], "times": 100_000})))?;
    let log = guest_log("print-long");
    assert_eq!(log.len(), 1);
    assert!(log[0].len() < 5_000 && log[0].contains("(cut)"), "{} bytes", log[0].len());
    Ok(())
}

#[test]
fn the_last_words_of_a_guest_that_trapped_are_in_its_log() -> Result<()> {
    keep_guest_logs();
    let host = Host::start()?;
    let failure =
        host.failed(act("last-words", "PRINT_AND_PANIC", Value::Null).with("config", json!({"maxRetries": 0})))?;
    assert_eq!(failure.metadata.reason, Some(Reason::Trap));
    let log = guest_log("last-words");
    assert!(log.len() == 1 && log[0].contains("last words"), "{log:#?}");
    Ok(())
}

#[test]
fn to_exit_is_a_failure_whatever_the_status() -> Result<()> {
    let host = Host::start()?;
    host.applied(look("files"))?;
    let cases = [
        (json!({"code": null, "success": true}), 0),
        (json!({"code": null, "success": false}), 1),
        (json!({"code": 0, "success": true}), 0),
        (json!({"code": 42, "success": true}), 42),
    ];
    for (input, status) in cases {
        let failure = host.failed(act("d", "EXIT", input))?;
        assert_eq!((failure.code, failure.metadata.reason), (JobErrorCode::LibraryError, Some(Reason::Exit)));
        assert_eq!(failure.metadata.deterministic, Some(true));
        let words = format!("it called `exit` with status {status}");
        assert!(failure.message.contains(&words), "{}", failure.message);
    }
    host.applied(job(AMBIENT, "d").fixed("after", "LOOK", json!({"at": "files"}))).map(drop)
}

#[test]
fn a_guest_that_asks_wasi_for_too_much_is_stopped_with_the_reason() -> Result<()> {
    let hoard = |what| ("HOARD", json!({"what": what, "count": 100_000}), Reason::TableLimit, "1024 WASI handles");
    let cases = [
        hoard("stdin"),
        hoard("stdout"),
        hoard("stream"),
        hoard("moment"),
        ("RANDOM_BYTES", json!({"count": u64::MAX}), Reason::OutputTooLarge, "18446744073709551615 random bytes"),
        ("RANDOM_BYTES", json!({"count": (1 << 20) + 1}), Reason::OutputTooLarge, "1048576 are allowed"),
        ("WRITE_AT_ONCE", json!({"bytes": 4_097}), Reason::AbiMismatch, "4097 bytes to a stream at once"),
        ("WRITE_AT_ONCE", json!({"bytes": 50 << 20}), Reason::OutputTooLarge, "handed over more bytes"),
        ("POLL_AT_ONCE", json!({"count": 0}), Reason::AbiMismatch, "polled an empty list"),
        ("POLL_AT_ONCE", json!({"count": 1_000_000}), Reason::TableLimit, "as many handles as it may"),
    ];
    let host = Host::start()?;
    host.applied(look("files"))?;
    for (action, input, reason, words) in cases {
        let case = format!("{action} {input}");
        let failure = host.failed(act("d", action, input))?;
        assert_eq!(failure.metadata.reason, Some(reason), "{case}: {}", failure.message);
        assert_eq!(failure.metadata.deterministic, Some(true), "{case}");
        assert!(failure.message.contains(words), "{case}: {}", failure.message);
    }
    host.applied(job(AMBIENT, "d").fixed("after", "LOOK", json!({"at": "files"}))).map(drop)
}

#[test]
fn what_a_guest_gives_back_it_may_have_again() -> Result<()> {
    let host = Host::start()?;
    assert_eq!(seen(&host, act("d", "CHURN", json!({"count": 20_000})))?, ["given back: 20000"]);
    assert_eq!(seen(&host, act("d", "HOARD", json!({"what": "moment", "count": 500})))?, ["held: 500"]);
    assert_eq!(seen(&host, act("d", "POLL_AT_ONCE", json!({"count": 1_000})))?, ["ready: 1000"]);
    assert_eq!(seen(&host, act("d", "WRITE_AT_ONCE", json!({"bytes": 4_096})))?, ["write: Ok(())"]);
    assert_eq!(seen(&host, act("d", "RANDOM_BYTES", json!({"count": 1 << 20})))?, ["get-random-bytes: 1048576"]);
    Ok(())
}
