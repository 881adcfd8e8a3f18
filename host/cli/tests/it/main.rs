//! The program as its users call it: arguments in, output and an exit code out.

mod audit;
mod build;
mod data;
mod plugin_check;
mod revision;
mod run;
mod stop;
mod support;

use anyhow::Result;

use crate::support::reductor;

#[test]
fn help_names_every_command() -> Result<()> {
    let help = reductor(["--help"])?.succeeds()?;
    for command in ["build", "plugin", "run", "audit", "doc", "job", "store", "bench", "demo", "completions"] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "no `{command}` in\n{}", help.stdout);
    }
    for code in ["0 ", "1 ", "2 ", "3 ", "4 ", "130, 143 ", "141 "] {
        assert!(help.stdout.contains(&format!("\n  {code}")), "no exit code {code}in\n{}", help.stdout);
    }
    Ok(())
}

#[test]
fn options_of_a_run_are_grouped() -> Result<()> {
    let help = reductor(["run", "--help"])?.succeeds()?.stdout;
    let (arguments, options) = help.split_once("\nOptions:\n").unwrap_or_default();
    assert!(arguments.contains("Arguments:\n  <JOBS.ndjson>"), "{help}");
    for heading in ["\nLimits of a guest:\n      --fuel", "\nData directory:\n      --data"] {
        assert!(options.contains(heading), "no `{heading}` in\n{help}");
    }
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

/// Calls the program with a terminal for its standard error, and an environment.
fn on_a_terminal(variables: &[(&str, &str)], arguments: &str) -> Result<String> {
    let call = format!("{} {arguments} 2>&1 >/dev/null", env!("CARGO_BIN_EXE_reductor"));
    let output = std::process::Command::new("script")
        .args(["-qec", &call, "/dev/null"])
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .env("XDG_CACHE_HOME", support::cache_home())
        .envs(variables.iter().copied())
        .stdin(std::process::Stdio::null())
        .output()?;
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn log_lines_have_colours_only_where_they_are_wanted() -> Result<()> {
    let note = r#"{"documentId": "u", "documentType": "test/unruly", "actions": [{"type": "LOG", "input": {"lines": 1, "bytes": 3}}]}"#;
    let jobs = support::file("colours.ndjson", note)?;
    let call = format!("run --quiet --plugin {} {}", reductor_tests::UNRULY, jobs.display());
    let log = ("REDUCTOR_LOG", "reductor::guest=info");
    // What ends a colour; progress bars have other sequences.
    let reset = "\u{1b}[0m";
    let coloured = on_a_terminal(&[log], &call)?;
    assert!(coloured.contains(reset) && coloured.contains("INFO"), "{coloured:?}");
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = on_a_terminal(&[log, plain], &call)?;
        assert!(!plain.contains(reset) && plain.contains("INFO"), "{plain:?}");
    }
    assert!(on_a_terminal(&[log, ("NO_COLOR", "")], &call)?.contains(reset), "an empty NO_COLOR counts for nothing");
    Ok(())
}

#[test]
fn a_log_filter_that_means_nothing_is_named() -> Result<()> {
    for (filter, word) in [("blah", "`blah`"), ("reductor=foo", "`foo`"), ("info,reductor::guest=verbose", "`verbose`")]
    {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_reductor"))
            .args(["completions", "bash"])
            .env("REDUCTOR_LOG", filter)
            .output()?;
        let stderr = String::from_utf8(output.stderr)?;
        assert!(stderr.contains("warning: REDUCTOR_LOG: ") && stderr.contains(word), "{filter}: {stderr}");
    }
    for filter in ["info", "WARN", "reductor::guest=debug,warn", "off", "3", ""] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_reductor"))
            .args(["completions", "bash"])
            .env("REDUCTOR_LOG", filter)
            .output()?;
        assert_eq!(String::from_utf8(output.stderr)?, "", "{filter}");
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
