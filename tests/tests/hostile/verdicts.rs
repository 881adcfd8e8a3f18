//! Every guest of the table, one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reductor_core::{JobErrorCode, JobResult, Reason};
use reductor_sandbox::{Plugin, printable};
use serde_json::{Value, json};

use crate::process;
use crate::run::{Fuel, Host, Neighbour, Neighbours, Residency, admit, ensure_applied, take_log};
use crate::table::{Row, Verdict, rows};

/// What the process may hold beside the guest's memory while a guest runs: a state of 16 MiB
/// is copied out of the guest and then shared, texts are cut from copies, and the allocator
/// keeps some of what it had.
const ALLOWANCE_BYTES: usize = 64 << 20;
/// Bytes of the log of one run: a hundred lines of 4 KiB for each call that logs.
const LOG_BYTES_MAX: usize = 1 << 20;
/// Bytes of a guest's words that the test repeats.
const LINE_BYTES: usize = 300;
/// Bytes of the longest message of an error.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

#[test]
fn every_guest_gets_its_verdict_and_harms_nobody_else() -> Result<()> {
    let _alone = process::alone();
    let only = std::env::var("REDUCTOR_HOSTILE_GUEST").ok();
    let mut wrong = Vec::new();
    for row in rows()?.iter().filter(|row| only.as_ref().is_none_or(|only| *only == row.name)) {
        let began = Instant::now();
        let told = match judge(row) {
            Ok(told) => told,
            Err(error) => {
                wrong.push(format!("{} ({}): {error:#}", row.name, row.does));
                "WRONG".to_owned()
            }
        };
        let told = printable(&told, LINE_BYTES);
        eprintln!("{:32} {:6.0} ms  {told}", row.name, began.elapsed().as_secs_f64() * 1e3);
    }
    assert!(wrong.is_empty(), "{} guests got another verdict than the table's:\n  {}", wrong.len(), wrong.join("\n  "));
    Ok(())
}

fn judge(row: &Row) -> Result<String> {
    let fuel = if row.timeout_ms.is_some() { Fuel::Plenty } else { Fuel::Scarce };
    let admitted = admit(&row.name, fuel)?;
    if let Some(why) = &row.pending {
        return Ok(format!("pending: {why}; now: {}", admitted.err().unwrap_or_else(|| "let in".to_owned())));
    }
    match (admitted, row.verdict) {
        (Err(error), Verdict::Refused) => refused(row, &error),
        (Err(error), _) => bail!("it was not let in: {error}"),
        (Ok(_), Verdict::Refused) => bail!("it was let in"),
        (Ok(plugin), Verdict::Diverges) => diverges(&plugin, fuel),
        (Ok(plugin), _) => beside_neighbours(row, &plugin, fuel),
    }
}

fn refused(row: &Row, error: &str) -> Result<String> {
    ensure_says(row, error)?;
    ensure_plain("the refusal", error)?;
    Ok(error.to_owned())
}

/// Runs the guest's bad action between good ones of the same document, while neighbours run.
fn beside_neighbours(row: &Row, plugin: &Arc<Plugin>, fuel: Fuel) -> Result<String> {
    let threads = process::threads()?;
    take_log();
    let mut host = Host::start(plugin, fuel, Residency::Resident)?;
    let ran = std::thread::scope(|scope| -> Result<_> {
        let kinds = vec![Neighbour::of_the_guest(), Neighbour::counter("neighbour of another plugin")];
        let neighbours = Neighbours::start(scope, &host, kinds)?;
        let ran = on_one_document(row, &host, fuel);
        Ok((ran, neighbours.stop()?))
    });
    host.stop()?;
    let (told, lived) = ran?;
    let told = told?;
    let log = take_log();
    ensure!(log.len() <= LOG_BYTES_MAX, "the log has {} bytes", log.len());
    log.lines().try_for_each(|line| ensure_plain("the log", line))?;
    if let Some(words) = &row.logs {
        ensure!(log.contains(words), "the log does not say `{words}`: {}", printable(&log, LINE_BYTES));
    }
    let left = process::threads()?;
    ensure!(left == threads, "the process had {threads} threads before, and has {left}");
    Ok(format!("{told}, {} jobs of neighbours", lived.jobs))
}

fn on_one_document(row: &Row, host: &Host, fuel: Fuel) -> Result<String> {
    host.applied("victim", "GOOD", "1").context("its good action before")?;
    let config = match row.timeout_ms {
        Some(timeout) => json!({"config": {"jobTimeout": timeout, "maxRetries": 0}}),
        None => json!({}),
    };
    let (told, grown) = peak_of(|| {
        let (began, result) = (Instant::now(), host.run("victim", "BAD", config)?);
        check_bad(row, &result, fuel, began.elapsed())
    })?;
    let max = fuel.limits().memory_bytes_max + ALLOWANCE_BYTES;
    ensure!(grown <= max, "the process grew by {} MiB", grown >> 20);

    let after = host.run("victim", "GOOD", json!({}))?;
    match row.next {
        None => ensure_applied(&after, &state_after(row)?).context("its good action afterwards")?,
        Some(reason) => check_failure(&after, reason).context("its good action afterwards")?,
    }
    Ok(format!("{told}, +{} MiB", grown >> 20))
}

/// How far memory rose above where it was, while `run` ran.
fn peak_of<T>(run: impl FnOnce() -> Result<T>) -> Result<(T, usize)> {
    process::forget_peak()?;
    let before = process::resident_bytes()?;
    let ran = run()?;
    Ok((ran, process::peak_bytes()?.saturating_sub(before)))
}

fn check_bad(row: &Row, result: &JobResult, fuel: Fuel, took: Duration) -> Result<String> {
    let Some(reason) = row.reason else {
        ensure_applied(result, row.state.as_deref().unwrap_or("2"))?;
        return Ok("applied".to_owned());
    };
    check_failure(result, reason)?;
    let metadata = result.metadata.as_ref().context("it has no metadata")?;
    ensure!(metadata.trap == row.trap, "its trap is {:?}", metadata.trap);
    let message = result.error_message.as_deref().unwrap_or_default();
    ensure_says(row, message)?;
    if let Some(function) = &row.frame {
        let frame = metadata.backtrace.iter().flatten().next().context("it has no backtrace")?;
        ensure!(frame.function == *function, "its backtrace begins in `{}`", frame.function);
    }
    if reason == Reason::FuelExhausted {
        let burned = metadata.fuel_consumed;
        ensure!(burned >= Some(fuel.limits().fuel_per_call), "it burned {burned:?} only");
    }
    let over = row.timeout_ms.map(|timeout| format!(" after {:+.1} ms", took.as_secs_f64() * 1e3 - timeout as f64));
    Ok(format!("{}{}: {message}", reason.name(), over.unwrap_or_default()))
}

/// Checks a failure that is the guest's: its reason, and that what it says is fit to be shown.
fn check_failure(result: &JobResult, reason: Reason) -> Result<()> {
    ensure!(!result.success, "it was applied");
    ensure!(result.operations.is_empty(), "it failed and has operations");
    let message = result.error_message.as_deref().context("it has no message")?;
    let metadata = result.metadata.as_ref().context("it has no metadata")?;
    ensure!(
        (result.error_code, metadata.reason) == (Some(JobErrorCode::LibraryError), Some(reason)),
        "it failed of {:?} ({:?}): {message}",
        result.error_code,
        metadata.reason
    );
    ensure!(metadata.deterministic == Some(reason.deterministic()), "deterministic: {:?}", metadata.deterministic);
    let stopped = reason == Reason::Timeout;
    ensure!(metadata.fuel_consumed.is_none() == stopped, "it burned {:?}", metadata.fuel_consumed);
    ensure!(stopped || metadata.fuel_consumed > Some(0), "it burned no fuel");
    ensure_plain("the message", message)?;
    ensure_plain("the rejection's code", metadata.rejection_code.as_deref().unwrap_or_default())?;
    if let Some(panic) = &metadata.panic {
        ensure_plain("the panic's message", &panic.message)?;
        ensure_plain("the panic's place", &panic.location)?;
    }
    for frame in metadata.backtrace.iter().flatten() {
        ensure_plain("a function's name", &frame.function)?;
        ensure_plain("a file's name", frame.file.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

/// The same jobs on an instance that stays and on instances that come and go.
fn diverges(plugin: &Arc<Plugin>, fuel: Fuel) -> Result<String> {
    let history = |residency| -> Result<Vec<String>> {
        let mut host = Host::start(plugin, fuel, residency)?;
        let mut hashes = Vec::new();
        for turn in 0..3 {
            // A job whose hash does not fit makes the host load the document again.
            let unfit = json!({"resultingHash": "no hash"});
            let jobs = [("GOOD", json!({})), ("BAD", json!({})), ("GOOD", unfit), ("BAD", json!({}))];
            for (action, fields) in jobs {
                let wanted = fields == json!({});
                let result = host.run("victim", action, fields)?;
                ensure!(result.success == wanted, "turn {turn}: {action}: {:?}", result.error_message);
                hashes.extend(result.operations.last().map(|operation| operation.hash.to_string()));
            }
        }
        host.stop()?;
        Ok(hashes)
    };
    let (resident, fresh) = (history(Residency::Resident)?, history(Residency::Fresh)?);
    ensure!(resident != fresh, "all its instances agree");
    Ok("diverges".to_owned())
}

/// The state that a good action makes after the bad one.
fn state_after(row: &Row) -> Result<String> {
    let before = match (row.verdict, &row.state) {
        (Verdict::Applied, None) => 2,
        (Verdict::Applied, Some(state)) => match serde_json::from_str(state)? {
            Value::Number(number) => number.as_u64().context("no count is that large")?,
            _ => 2,
        },
        _ => 1,
    };
    Ok((before + 1).to_string())
}

fn ensure_says(row: &Row, message: &str) -> Result<()> {
    let words = row.says.as_deref().unwrap_or_default();
    ensure!(message.contains(words), "it does not say `{words}`: {message}");
    Ok(())
}

/// Fails if a text could do something to a terminal or a log, or flood it.
fn ensure_plain(what: &str, text: &str) -> Result<()> {
    ensure!(text.len() <= MESSAGE_BYTES_MAX, "{what} has {} bytes", text.len());
    // Our own refusals may list several differences, a line each.
    let shown = printable(&text.replace("\n  - ", " "), usize::MAX);
    ensure!(shown == text.replace("\n  - ", " "), "{what} is not plain text: {text:?}");
    Ok(())
}
