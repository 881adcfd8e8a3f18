//! The program as its users call it: arguments in, output and an exit code out.

mod audit;
mod build;
mod data;
mod plugin_check;
mod revision;
mod run;
mod support;

use anyhow::Result;

use crate::support::reductor;

#[test]
fn help_names_every_command() -> Result<()> {
    let help = reductor(["--help"])?.succeeds()?;
    for command in ["build", "plugin", "run", "audit", "doc", "job", "store", "bench", "demo", "completions"] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "no `{command}` in\n{}", help.stdout);
    }
    assert!(help.stdout.contains("Exit codes:"), "{}", help.stdout);
    Ok(())
}

#[test]
fn bad_usage_is_told_with_exit_code_2() -> Result<()> {
    for arguments in [
        &["run", "jobs.ndjson"][..],
        &["plugin"],
        &["fly"],
        &["run", "--max-concurrency", "0"],
        &["audit", "jobs.ndjson"],
    ] {
        let refused = reductor(arguments)?.fails_with(2)?;
        assert_eq!(refused.stdout, "", "{arguments:?}");
        assert!(
            refused.stderr.contains("--help") || refused.stderr.contains("Usage:"),
            "{arguments:?}: {}",
            refused.stderr
        );
    }
    Ok(())
}

#[test]
fn completion_scripts_are_printed() -> Result<()> {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = reductor(["completions", shell])?.succeeds()?.stdout;
        assert!(script.contains("print-state"), "{shell} does not complete `run`: {script}");
    }
    Ok(())
}
