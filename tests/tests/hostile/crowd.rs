//! Several hostile models at once, beside documents that go on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reductor_core::{Reason, Ticket};
use reductor_sandbox::Plugin;
use serde_json::json;

use crate::run::{Fuel, Host, Neighbour, Neighbours, Residency, admit_bytes, done, take_log};
use crate::{guests, process};

/// What one attempt may take: the operator's timeout.
const TIMEOUT: Duration = Duration::from_millis(200);
/// Documents of each hostile model. If each of them had its turn before a neighbour's, and held
/// one of the two workers until its timeout, the neighbour would wait for five seconds.
const DOCUMENTS: usize = 10;
/// The longest that a neighbour's job may take: each of the five models that run into their
/// timeout does so on both workers before it is suspected, and the machine has other work.
const NEIGHBOUR_MAX: Duration = Duration::from_millis(3_000);
/// Bytes of the log that all of them may write in a test of some seconds.
const LOG_BYTES_MAX: usize = 4 << 20;

/// The guest, the name that its model has here, and why its jobs fail.
const CROWD: [(&str, &str, &[Reason]); 6] = [
    ("endless-loop", "hostile/loops", &[Reason::Timeout]),
    ("endless-loop", "hostile/turns", &[Reason::Timeout]),
    ("memory-fill-for-ever", "hostile/fills", &[Reason::Timeout]),
    ("log-for-ever", "hostile/flood", &[Reason::Timeout]),
    ("panic-for-ever", "hostile/panic", &[Reason::Timeout, Reason::FuelExhausted]),
    ("memory-one-step", "hostile/grows", &[Reason::MemoryLimit]),
];

fn crowd() -> Result<Vec<Arc<Plugin>>> {
    let admit = |(guest, document_type, _): &(&str, &str, &[Reason])| {
        let component = guests::component_of(guest, document_type)?;
        admit_bytes(&component, Fuel::Plenty)?.map_err(anyhow::Error::msg).with_context(|| guest.to_string())
    };
    CROWD.iter().map(admit).collect()
}

/// A bad job on every document of every hostile model.
fn attack(host: &Host) -> Result<Vec<(usize, Ticket)>> {
    let config = json!({"config": {"maxRetries": 0}});
    let mut tickets = Vec::new();
    for number in 0..DOCUMENTS {
        for (kind, (_, document_type, _)) in CROWD.iter().enumerate() {
            let document = format!("{document_type} {number}");
            let bad = json!([{"type": "BAD", "input": null}]);
            tickets.push((kind, host.submit(document_type, &document, bad, config.clone())?));
        }
    }
    Ok(tickets)
}

#[test]
fn documents_go_on_beside_a_crowd_of_hostile_models() -> Result<()> {
    let _alone = process::alone();
    take_log();
    let mut host = Host::start_with(&crowd()?, Fuel::Plenty, Residency::Resident, Some(TIMEOUT))?;
    let lived = std::thread::scope(|scope| -> Result<_> {
        let kinds = vec![Neighbour::counter("one neighbour"), Neighbour::counter("another neighbour")];
        let neighbours = Neighbours::start(scope, &host, kinds)?;
        let failed = attack(&host).and_then(|tickets| tickets.into_iter().try_for_each(check));
        let lived = neighbours.stop()?;
        failed.map(|()| lived)
    })?;
    host.stop()?;
    ensure!(lived.longest <= NEIGHBOUR_MAX, "a neighbour's job took {:?}", lived.longest);
    let log = take_log();
    ensure!(log.len() <= LOG_BYTES_MAX, "the log has {} bytes", log.len());
    eprintln!("{} jobs of neighbours, the longest of {:?}; {} bytes of log", lived.jobs, lived.longest, log.len());
    Ok(())
}

/// Waits for a hostile job, which must fail for the reason of its kind.
fn check((kind, ticket): (usize, Ticket)) -> Result<()> {
    let (guest, _, reasons) = CROWD[kind];
    let result = done(ticket)?;
    let reason = result.metadata.as_ref().and_then(|metadata| metadata.reason);
    let message = result.error_message.as_deref().unwrap_or_default();
    ensure!(reason.is_some_and(|reason| reasons.contains(&reason)), "{guest}: {reason:?}: {message}");
    Ok(())
}
