//! Real editing sessions, one job for each transaction.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Host, TEXT, data, done, job};

/// What somebody typed, and what it came to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    start_content: String,
    end_content: String,
    txns: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    patches: Value,
}

fn session(file: &str) -> Result<Session> {
    let mut text = String::new();
    GzDecoder::new(&*data(&format!("editing-traces/{file}"))?).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// Types a session again, and checks what it comes to.
fn replay(file: &str, transactions: usize) -> Result<()> {
    let session = session(file)?;
    ensure!(session.start_content.is_empty() && session.txns.len() == transactions, "{file} is another session");
    let host = Host::start()?;
    let edit =
        |transaction: Transaction| host.submit(job(TEXT, "t").action("EDIT", json!({"patches": transaction.patches})));
    let tickets = session.txns.into_iter().map(edit).collect::<Result<Vec<_>>>()?;
    for (number, ticket) in tickets.into_iter().enumerate() {
        let result = done(ticket)?;
        ensure!(result.success, "transaction {number} failed: {:?}", result.error_message);
    }
    assert!(host.state("t")? == json!({"content": session.end_content}), "the text is not what was written");
    assert_eq!(host.head("t")?.context("it exists")?.revision, transactions as u64 + 1);
    Ok(())
}

#[test]
fn one_person_writing_a_component_comes_to_the_same_text() -> Result<()> {
    replay("sveltecomponent.json.gz", 18_335)
}

#[test]
fn two_people_writing_at_once_come_to_the_same_text() -> Result<()> {
    replay("friendsforever_flat.json.gz", 26_078)
}
