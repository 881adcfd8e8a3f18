//! How the tests call the program.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// What a call of the program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn succeeds(self) -> Result<Self> {
        self.fails_with(0)
    }

    /// That it ended with this exit code.
    pub(crate) fn fails_with(self, code: i32) -> Result<Self> {
        ensure!(self.code == Some(code), "it did not exit with {code}: {self:#?}");
        Ok(self)
    }

    /// Standard output as JSON, one value a line.
    pub(crate) fn lines(&self) -> Result<Vec<Value>> {
        let parse = |line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// That it refused its input: nothing on standard output, one error that says all of `words`.
    pub(crate) fn refuses(self, words: &[&str]) -> Result<Self> {
        self.refuses_with(2, words)
    }

    /// The same for another exit code.
    pub(crate) fn refuses_with(self, code: i32, words: &[&str]) -> Result<Self> {
        let refused = self.fails_with(code)?;
        ensure!(refused.stdout.is_empty(), "it printed: {}", refused.stdout);
        ensure!(refused.stderr.matches("error: ").count() == 1, "not one error: {}", refused.stderr);
        for word in words {
            ensure!(refused.stderr.contains(word), "no `{word}` in: {}", refused.stderr);
        }
        Ok(refused)
    }
}

/// Where the tests' calls keep what they compile, instead of in the home of whoever runs them.
pub(crate) fn cache_home() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// Calls the program.
pub(crate) fn reductor<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<Ran> {
    reductor_fed(arguments, "")
}

/// Calls the program with something on its standard input.
pub(crate) fn reductor_fed<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>, input: &str) -> Result<Ran> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_reductor"))
        .args(arguments)
        .env_remove("REDUCTOR_LOG")
        .env("XDG_CACHE_HOME", cache_home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // It may refuse its arguments before it reads; then the pipe breaks.
    let _ = child.stdin.take().context("standard input is piped")?.write_all(input.as_bytes());
    let output = child.wait_with_output()?;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// Calls the program with a standard output that nobody reads, and returns its exit code and
/// what it wrote to standard error.
pub(crate) fn reductor_unread<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
) -> Result<(Option<i32>, String)> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_reductor"))
        .args(arguments)
        .env("XDG_CACHE_HOME", cache_home())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

/// Writes a file for one test.
pub(crate) fn file(name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content)?;
    Ok(path)
}
