//! `reductor run` that ends before its input does, or that goes on with jobs of an earlier run.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use reductor_tests::{COUNTER, UNRULY};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Ran, cache_home, reductor, reductor_fed};

/// A run that reads standard input until a test ends it.
struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    /// What has been read of standard error.
    said: String,
}

impl Running {
    /// Begins a run that outlives a write to a file that the system refuses, instead of being ended
    /// by a signal.
    fn begin(arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", r#"trap '' XFSZ; exec "$@""#, "sh", env!("CARGO_BIN_EXE_reductor"), "run"])
            .args(arguments)
            .arg("-")
            .env_remove("REDUCTOR_LOG")
            .env("XDG_CACHE_HOME", cache_home())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().context("standard input is piped")?;
        let stdout = BufReader::new(child.stdout.take().context("standard output is piped")?);
        let stderr = BufReader::new(child.stderr.take().context("standard error is piped")?);
        Ok(Self { child, stdin, stdout, stderr, said: String::new() })
    }

    fn hand_in(&mut self, job: &Value) -> Result<()> {
        Ok(writeln!(self.stdin, "{job}")?)
    }

    /// The next result that is printed.
    fn result(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("no result, but `{line}`"))
    }

    /// Waits for a job whose result comes out of its order, so that all jobs before it are accepted.
    fn wait_until_accepted(&mut self, document: &str) -> Result<()> {
        self.hand_in(&job(
            document,
            "test/unruly",
            &json!({"type": "DISPATCH", "input": {"count": 1, "type": "NOTE", "text": "n"}}),
        ))?;
        let result = self.result()?;
        ensure!(result["metadata"]["causation"]["depth"] == json!(1), "not the dispatched job: {result}");
        Ok(())
    }

    fn pid(&self) -> Result<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("an id of a process")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    /// Waits until it says something on standard error.
    fn wait_until_it_says(&mut self, words: &str) -> Result<()> {
        while !self.said.contains(words) {
            ensure!(self.stderr.read_line(&mut self.said)? > 0, "it never said `{words}`: {}", self.said);
        }
        Ok(())
    }

    /// Waits for its end, while its standard input stays open.
    fn ended(mut self) -> Result<Ran> {
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout)?;
        self.stderr.read_to_string(&mut self.said)?;
        let code = self.child.wait()?.code();
        Ok(Ran { code, stdout, stderr: std::mem::take(&mut self.said) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn job(document: &str, document_type: &str, action: &Value) -> Value {
    json!({"documentId": document, "documentType": document_type, "actions": [action], "config": {"maxRetries": 0}})
}

fn note(document: &str) -> Value {
    job(document, "test/unruly", &json!({"type": "NOTE", "input": {"text": "mine"}}))
}

fn scratch() -> Result<(TempDir, String)> {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let data = scratch.path().join("data").display().to_string();
    Ok((scratch, data))
}

/// Has a job of the counter wait in the directory, and returns its id.
fn leave_a_counter_job(data: &str) -> Result<Value> {
    let bad = job("c", "example/counter", &json!({"type": "INCREMENT", "input": {"by": "many"}})).to_string();
    let ran = reductor_fed(["run", "--plugin", COUNTER, "--data", data, "-"], &bad)?.fails_with(1)?;
    let id = ran.lines()?[0]["job"]["id"].clone();
    reductor(["job", "retry", "--data", data, id.as_str().context("an id")?])?.succeeds()?;
    Ok(id)
}

#[test]
fn a_signal_stops_a_run_which_says_where_to_go_on() -> Result<()> {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (_scratch, data) = scratch()?;
        let waits = leave_a_counter_job(&data)?;
        let mut running = Running::begin(&["--plugin", UNRULY, "--data", &data])?;
        let mut held = note("held");
        held["dependsOn"] = json!([waits]);
        running.hand_in(&held)?;
        running.wait_until_accepted("u")?;
        running.signal(signal)?;
        let ran = running.ended()?.fails_with(code)?;
        let [ended] = &ran.lines()?[..] else { anyhow::bail!("not the one result that there is: {}", ran.stdout) };
        assert_eq!((&ended["job"]["documentId"], &ended["success"]), (&json!("u"), &json!(true)));
        let resume = format!("2 jobs that were accepted wait in {data}; the next run with that directory");
        for words in ["accepted up to line 2 of standard input", &resume] {
            assert!(ran.stderr.contains(words), "no `{words}` in {}", ran.stderr);
        }
        let plugins = ["run", "--plugin", UNRULY, "--plugin", COUNTER, "--data", &data, "-"];
        let rest = reductor_fed(plugins, "")?.fails_with(1)?;
        assert_eq!(rest.lines()?.len(), 2, "{}", rest.stdout);
    }
    Ok(())
}

#[test]
fn a_second_signal_interrupts_what_runs() -> Result<()> {
    let long = ["--fuel", "18446744073709551615", "--job-timeout", "3600000", "--max-concurrency", "2"];
    let mut running = Running::begin(&[&["--plugin", UNRULY], &long[..]].concat())?;
    running.hand_in(&job("spins", "test/unruly", &json!({"type": "SPIN"})))?;
    running.wait_until_accepted("u")?;
    running.signal(Signal::INT)?;
    running.wait_until_it_says("SIGINT: the jobs that run end first")?;
    running.signal(Signal::INT)?;
    let ran = running.ended()?.fails_with(130)?;
    assert_eq!(ran.lines()?.len(), 1, "the job that was interrupted has not ended: {}", ran.stdout);
    let lost = "1 job that had been accepted did not run and is lost, and so are the documents: only --data keeps them";
    assert!(ran.stderr.contains(lost), "{}", ran.stderr);
    Ok(())
}

#[test]
fn a_run_whose_store_fails_ends_while_its_input_is_open() -> Result<()> {
    let (_scratch, data) = scratch()?;
    let mut running = Running::begin(&["--plugin", UNRULY, "--data", &data])?;
    running.hand_in(&note("u"))?;
    ensure!(running.result()?["success"] == json!(true), "the first job failed");
    let nothing = Rlimit { current: Some(1), maximum: Some(1) };
    prlimit(Some(running.pid()?), Resource::Fsize, nothing)?;
    running.hand_in(&note("u"))?;
    let ran = running.ended()?.fails_with(3)?;
    assert_eq!(ran.lines()?[0]["errorCode"], json!(90006), "{}", ran.stdout);
    for words in ["accepted up to line 1 of standard input", "lines 2 to 2", "error: ", "stopped writing"] {
        assert!(ran.stderr.contains(words), "no `{words}` in {}", ran.stderr);
    }
    Ok(())
}

#[test]
fn new_jobs_run_while_a_job_of_an_earlier_run_has_not_ended() -> Result<()> {
    let (_scratch, data) = scratch()?;
    let long = ["--fuel", "18446744073709551615", "--job-timeout", "3600000", "--max-concurrency", "2"];
    let args = [&["--plugin", UNRULY, "--data", &data], &long[..]].concat();
    let mut running = Running::begin(&args)?;
    running.hand_in(&job("spins", "test/unruly", &json!({"type": "SPIN"})))?;
    running.wait_until_accepted("u")?;
    running.signal(Signal::INT)?;
    running.wait_until_it_says("SIGINT: the jobs that run end first")?;
    running.signal(Signal::INT)?;
    running.ended()?.fails_with(130)?;

    let mut running = Running::begin(&args)?;
    running.hand_in(&note("other"))?;
    let result = running.result()?;
    assert_eq!((&result["job"]["documentId"], &result["success"]), (&json!("other"), &json!(true)));
    running.wait_until_it_says("1 unfinished job of earlier runs goes on")
}

#[test]
fn a_nearly_full_disk_accepts_no_line_and_says_what_to_do() -> Result<()> {
    let (_scratch, data) = scratch()?;
    let reserve = ["run", "--plugin", UNRULY, "--data", &data, "--disk-reserve", "1000TiB", "-"];
    let refused = reductor_fed(reserve, &note("u").to_string())?;
    let words =
        ["accepted no line of standard input", "standard input:1 ", "the disk is nearly full", "--disk-reserve"];
    let refused = refused.refuses_with(3, &words)?;
    assert_eq!(refused.stderr.matches("nearly full").count(), 1, "{}", refused.stderr);
    Ok(())
}
