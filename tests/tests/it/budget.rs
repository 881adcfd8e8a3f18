//! What a guest may use, and what is said of one that wants more.

use anyhow::{Context as _, Result};
use reductor_core::{JobErrorCode, Limits, Reason};
use serde_json::{Value, json};

use crate::support::{Host, JobText, Setup, UNRULY, guest_log, job, keep_guest_logs, note, scarce, spin};

#[test]
fn a_guest_that_wants_too_much_is_stopped_with_the_reason() -> Result<()> {
    let cases = [
        ("PANIC", json!({"message": "enough"}), Reason::Trap),
        ("ABORT", Value::Null, Reason::Trap),
        ("RECURSE", json!({"levels": 100_000_000}), Reason::StackOverflow),
        ("GROW", json!({"mib": 100}), Reason::MemoryLimit),
        ("DISPATCH", json!({"count": 65, "type": "NOTE"}), Reason::DispatchLimit),
    ];
    for (action, input, reason) in cases {
        let host = Host::start()?;
        host.applied(note("u", "before"))?;
        let failure = host.failed(job(UNRULY, "u").action(action, input))?;
        assert_eq!(failure.code, JobErrorCode::LibraryError, "{action}: {}", failure.message);
        assert_eq!(failure.metadata.reason, Some(reason), "{action}: {}", failure.message);
        assert_eq!(failure.metadata.deterministic, Some(true), "{action}");
        let named = format!("test/unruly v1 failed ({}) in actions[0] `{action}`", reason.name());
        assert!(failure.message.starts_with(&named), "{}", failure.message);
        host.applied(note("u", "after"))?;
        assert_eq!(host.state("u")?, json!({"notes": ["before", "after"]}), "{action}");
    }
    Ok(())
}

#[test]
fn what_is_within_the_limits_is_let_do() -> Result<()> {
    let host = Host::start()?;
    host.applied(job(UNRULY, "u").action("GROW", json!({"mib": 50})))?;
    host.applied(job(UNRULY, "u").action("GROW", json!({"mib": 50})))?;
    host.applied(job(UNRULY, "u").action("RECURSE", json!({"levels": 5_000})))?;
    Ok(())
}

#[test]
fn a_state_may_be_as_large_as_allowed_and_no_larger() -> Result<()> {
    let host = Setup::new().scarce().start()?;
    let max = scarce().output_bytes_max;
    let state = |bytes: usize| {
        let note = bytes - r#"{"notes":[""]}"#.len();
        job(UNRULY, "u").action("HUGE_STATE", json!({"bytes": note}))
    };
    for bytes in [max + 1, 3 * max] {
        let failure = host.failed(state(bytes))?;
        assert_eq!(failure.metadata.reason, Some(Reason::OutputTooLarge), "{}", failure.message);
        assert_eq!(failure.metadata.deterministic, Some(true));
    }
    host.applied(state(max)).map(drop)
}

#[test]
fn a_document_may_return_more_in_all_its_calls_than_in_one() -> Result<()> {
    let host = Host::start()?;
    host.applied(job(UNRULY, "u").action("HUGE_STATE", json!({"bytes": 5 << 20})))?;
    for number in 0..5 {
        host.applied(note("u", &number.to_string()))?;
    }
    Ok(())
}

#[test]
fn an_endless_loop_is_stopped_at_its_timeout() -> Result<()> {
    let host = Host::start()?;
    host.applied(note("u", "before"))?;
    let failure = host.failed(spin("u").with("config", json!({"jobTimeout": 100, "maxRetries": 0})))?;
    assert_eq!((failure.code, failure.metadata.reason), (JobErrorCode::LibraryError, Some(Reason::Timeout)));
    assert_eq!(failure.metadata.deterministic, Some(false));
    assert!(named(&failure.metadata, "spin"), "{:?}", failure.metadata.backtrace);
    assert_eq!(failure.metadata.fuel_consumed, None, "it is not known how much it had burned in its loop");
    host.applied(note("u", "after"))?;
    assert_eq!(host.state("u")?, json!({"notes": ["before", "after"]}));
    Ok(())
}

#[test]
fn an_endless_loop_is_stopped_when_its_fuel_is_burned() -> Result<()> {
    let host = Setup::new().scarce().start()?;
    host.applied(note("u", "before"))?;
    let failure = host.failed(spin("u"))?;
    assert_eq!((failure.code, failure.metadata.reason), (JobErrorCode::LibraryError, Some(Reason::FuelExhausted)));
    assert_eq!(failure.metadata.deterministic, Some(true));
    assert!(failure.metadata.fuel_consumed >= Some(20_000_000), "{:?}", failure.metadata.fuel_consumed);
    host.applied(note("u", "after"))?;
    assert_eq!(host.state("u")?, json!({"notes": ["before", "after"]}));
    Ok(())
}

#[test]
fn fuel_is_for_each_action_anew() -> Result<()> {
    let host = Setup::new().scarce().start()?;
    // Each takes more than a tenth of the fuel, all of them more than there is for one.
    let mut many = job(UNRULY, "u");
    for _ in 0..20 {
        many = many.action("GROW", json!({"mib": 4}));
    }
    let result = host.applied(many)?;
    let fuel = result.metadata.as_ref().and_then(|it| it.fuel_consumed).context("results say the fuel")?;
    assert!(fuel > 20_000_000, "{fuel} units of fuel prove nothing");
    Ok(())
}

#[test]
fn a_timeout_is_for_the_whole_job() -> Result<()> {
    let host = Setup::new().scarce().start()?;
    let mut many = job(UNRULY, "u");
    for _ in 0..5_000 {
        many = many.action("GROW", json!({"mib": 4}));
    }
    let failure = host.failed(many.with("config", json!({"jobTimeout": 50, "maxRetries": 0})))?;
    assert_eq!(failure.metadata.reason, Some(Reason::Timeout));
    assert!(failure.metadata.action_index > Some(0), "{:?}", failure.metadata.action_index);
    Ok(())
}

#[test]
fn a_panic_tells_what_it_said_and_where_it_was() -> Result<()> {
    let host = Host::start()?;
    let failure = host.failed(job(UNRULY, "u").action("PANIC", json!({"message": "no more, \u{1b}[31mplease"})))?;
    assert_eq!(failure.metadata.trap.as_deref(), Some("unreachable"));
    let panic = failure.metadata.panic.as_ref().context("the panic was heard")?;
    assert_eq!(panic.message, "it has had enough: no more, \\u{1b}[31mplease");
    assert!(panic.location.contains("unruly/src/lib.rs:"), "{}", panic.location);
    assert!(
        failure.message.contains(&panic.message) && failure.message.contains(&panic.location),
        "{}",
        failure.message
    );
    for function in ["unruly::lose_patience", "<unruly::Unruly as reductor_guest::reducer::Reducer>::apply"] {
        assert!(named(&failure.metadata, function), "no {function} in {:#?}", failure.metadata.backtrace);
    }
    Ok(())
}

#[test]
fn a_trap_without_a_word_has_a_backtrace_too() -> Result<()> {
    let host = Host::start()?;
    let failure = host.failed(job(UNRULY, "u").action("ABORT", Value::Null))?;
    assert_eq!(failure.metadata.trap.as_deref(), Some("unreachable"));
    assert_eq!(failure.metadata.panic, None);
    assert!(named(&failure.metadata, "Unruly"), "{:#?}", failure.metadata.backtrace);
    Ok(())
}

#[test]
fn a_backtrace_is_bounded_however_deep_the_guest_was() -> Result<()> {
    let host = Host::start()?;
    let failure = host.failed(job(UNRULY, "u").action("RECURSE", json!({"levels": 100_000_000})))?;
    let frames = failure.metadata.backtrace.context("there is a backtrace")?;
    assert!((1..=32).contains(&frames.len()), "{}", frames.len());
    assert!(frames.iter().all(|frame| frame.function.contains("unruly::recurse")), "{frames:#?}");
    Ok(())
}

#[test]
fn log_lines_beyond_the_limits_are_cut_and_dropped_and_the_log_says_so() -> Result<()> {
    keep_guest_logs();
    let host = Host::start()?;
    host.applied(job(UNRULY, "log-many").action("LOG", json!({"lines": 1_000_000, "bytes": 1})))?;
    let lines = guest_log("log-many");
    assert_eq!(lines.len(), 101);
    assert!(lines[0].contains(" 0 y ") && lines[99].contains(" 99 y "), "{} … {}", lines[0], lines[99]);
    assert!(lines[100].contains("more than 100 log lines"), "{}", lines[100]);

    host.applied(job(UNRULY, "log-long").action("LOG", json!({"lines": 1, "bytes": 1_000_000})))?;
    let lines = guest_log("log-long");
    assert_eq!(lines.len(), 1);
    assert!(lines[0].len() < 5_000 && lines[0].contains("(cut)"), "{} bytes", lines[0].len());
    Ok(())
}

#[test]
fn every_action_has_log_lines_of_its_own() -> Result<()> {
    keep_guest_logs();
    let host = Host::start()?;
    let log = || json!({"lines": 100, "bytes": 1});
    host.applied(job(UNRULY, "log-twice").action("LOG", log()).action("LOG", log()))?;
    assert_eq!(guest_log("log-twice").len(), 200);
    Ok(())
}

#[test]
fn a_job_has_only_so_many_log_lines_in_all_its_actions_and_the_log_says_so_once() -> Result<()> {
    keep_guest_logs();
    let limits = Limits { log_lines_per_job_max: 50, ..Limits::default() };
    let host = Setup::new().limits(limits).start()?;
    let ten_actions = |document| {
        let log = |job: JobText, _| job.action("LOG", json!({"lines": 10, "bytes": 1}));
        (0..10).fold(job(UNRULY, document), log)
    };
    host.applied(ten_actions("log-all"))?;
    let lines = guest_log("log-all");
    assert_eq!(lines.len(), 51, "{lines:#?}");
    assert!(lines[50].contains("more than 50 log lines in one job"), "{}", lines[50]);
    // The next job may write as many again.
    host.applied(ten_actions("log-all"))?;
    assert_eq!(guest_log("log-all").len(), 102);
    Ok(())
}

#[test]
fn a_plugin_has_only_so_many_log_lines_in_a_second_and_the_log_says_so() -> Result<()> {
    keep_guest_logs();
    let host = Setup::new().quiet()?.start()?;
    host.applied(job(UNRULY, "log-fast").action("LOG", json!({"lines": 100, "bytes": 1})))?;
    let lines = guest_log("log-fast");
    let told = lines.iter().filter(|line| line.contains("more than 5 log lines of this plugin in one second")).count();
    assert!(told > 0 && lines.len() < 100, "{lines:#?}");
    Ok(())
}

#[test]
fn a_limit_that_was_met_is_named_with_its_number() -> Result<()> {
    let host = Setup::new().scarce().start()?;
    let config = json!({"jobTimeout": 1, "maxRetries": 0});
    let failure = host.failed(spin("u"))?;
    assert!(failure.message.contains("20000000 units are allowed in one call"), "{}", failure.message);
    let failure = Host::start()?.failed(spin("u").with("config", config))?;
    assert!(failure.message.contains("longer than its timeout of 1 ms"), "{}", failure.message);
    Ok(())
}

/// Whether a backtrace names a function.
fn named(metadata: &reductor_core::JobMetadata, function: &str) -> bool {
    metadata.backtrace.iter().flatten().any(|frame| frame.function.contains(function))
}
