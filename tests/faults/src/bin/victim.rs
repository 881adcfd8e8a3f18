//! The process that is killed, loses its power and has its disk fail.

use std::io::BufRead as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use reductor_faults::{Plan, Run};
use reductor_store::Sync;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, sync, numbers @ ..] = &arguments[..] else {
        bail!("usage: victim DIR always|never SEED ROUND CLIENTS JOBS TEXT_BYTES_MAX; intents to repeat on stdin");
    };
    let numbers: Result<Vec<u64>, _> = numbers.iter().map(|number| number.parse()).collect();
    let [seed, round, clients, jobs, text_bytes_max] = numbers?[..] else { bail!("five numbers follow") };
    let sync = match &**sync {
        "always" => Sync::Always,
        "never" => Sync::Never,
        other => bail!("no sync `{other}`"),
    };
    let intent = |line: std::io::Result<String>| serde_json::from_str(&line?).context("not an intent");
    let again: Result<Vec<_>> = std::io::stdin().lock().lines().map(intent).collect();
    let plan = Plan { seed, round, clients, jobs, text_bytes_max: usize::try_from(text_bytes_max)? };
    reductor_faults::run(&Run { dir: PathBuf::from(dir), sync, plan, again: again? })
}
