//! The contract with guests, which does not change under components that exist.

use anyhow::Result;
use wit_component::{OutputToString, WitPrinter};
use wit_parser::Resolve;

use crate::support::data;

/// The contract without its comments, which may get better.
fn contract() -> Result<String> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("reducer.wit", include_str!("../../../wit/reducer.wit"))?;
    let mut printer = WitPrinter::new(OutputToString::default());
    printer.emit_docs(false);
    printer.print(&resolve, package, &[])?;
    Ok(printer.output.to_string())
}

#[test]
fn version_1_0_0_of_the_contract_is_frozen() -> Result<()> {
    let frozen = String::from_utf8(data("reducer-1.0.0.wit")?)?;
    let found = contract()?;
    assert!(
        found == frozen,
        "wit/reducer.wit is no longer what tests/data/reducer-1.0.0.wit says. Components that exist were built for \
         reductor:reducer@1.0.0 and must run for ever: leave it as it is, and put what is new into a package of a \
         new version beside it, with a golden file of its own. It is now:\n{found}"
    );
    Ok(())
}
