//! The list of promises names tests that exist.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

const LIST: &str = include_str!("../../PROMISES.md");

#[test]
fn every_promise_names_a_test_that_exists() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the tests have a folder above them")?;
    let rows = LIST.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    let mut count = 0;
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, file, test] = cells[..] else { anyhow::bail!("not three cells: {row}") };
        let source = std::fs::read_to_string(root.join(file)).with_context(|| file.to_owned())?;
        let is_test = source.contains(&format!("fn {test}(")) || source.contains(&format!("fn {test}<"));
        ensure!(is_test, "{file} has no test `{test}`");
        count += 1;
    }
    ensure!(count > 50, "only {count} promises were read");
    Ok(())
}
