//! Data directories: `run --data`, and the commands that look into them.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use reductor_tests::{COUNTER, UNRULY};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Ran, cache_home, reductor, reductor_fed};

/// A data directory of one test.
pub(crate) struct Data {
    scratch: TempDir,
}

impl Data {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { scratch: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn dir(&self) -> String {
        self.path("data").display().to_string()
    }

    /// Runs jobs, each a line.
    pub(crate) fn run(&self, plugin: &str, jobs: &[String]) -> Result<Ran> {
        self.run_with(plugin, &[], jobs)
    }

    /// The same with more arguments.
    pub(crate) fn run_with(&self, plugin: &str, arguments: &[&str], jobs: &[String]) -> Result<Ran> {
        let data = self.dir();
        let run = ["run", "--plugin", plugin, "--data", &data, "-"];
        reductor_fed([&run[..], arguments].concat(), &jobs.join("\n"))
    }

    /// Calls a command with the directory.
    pub(crate) fn call(&self, arguments: &[&str]) -> Result<Ran> {
        let data = self.dir();
        reductor([arguments, &["--data", &data]].concat())
    }

    /// A host that runs until its standard input ends or it is killed.
    fn start(&self) -> Result<Running> {
        self.start_with(COUNTER)
    }

    /// The same with this plugin.
    pub(crate) fn start_with(&self, plugin: &str) -> Result<Running> {
        let child = Command::new(env!("CARGO_BIN_EXE_reductor"))
            .args(["run", "--plugin", plugin, "--data", &self.dir(), "-"])
            .env_remove("REDUCTOR_LOG")
            .env("XDG_CACHE_HOME", cache_home())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Running(child))
    }
}

/// A host of its own process.
pub(crate) struct Running(Child);

impl Running {
    /// Ends it as nothing else would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Hands in a job and waits for its result.
    pub(crate) fn run(&mut self, job: &str) -> Result<Value> {
        writeln!(self.0.stdin.as_mut().context("standard input is piped")?, "{job}")?;
        let mut line = String::new();
        // One byte at a time: what comes later belongs to the next job.
        BufReader::with_capacity(1, self.0.stdout.as_mut().context("standard output is piped")?)
            .read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn increment(document: &str, by: u32) -> String {
    let action = json!({ "type": "INCREMENT", "input": { "by": by } });
    json!({ "documentId": document, "documentType": "example/counter", "actions": [action] }).to_string()
}

/// A job that fails for good.
const REFUSED: &str = r#"{"documentId": "u", "documentType": "test/unruly", "actions": [{"type": "REFUSE"}], "config": {"maxRetries": 0}}"#;

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

#[test]
fn documents_outlive_a_run() -> Result<()> {
    let data = Data::new()?;
    data.run(COUNTER, &[increment("c1", 2)])?.succeeds()?;
    let known = r#"{"documentId": "c1", "actions": [{"type": "INCREMENT", "input": {"by": 40}}]}"#;
    data.run(COUNTER, &[known.to_owned()])?.succeeds()?;
    let shown = data.call(&["doc", "show", "c1", "--plugin", COUNTER, "--json"])?.succeeds()?;
    let state = &shown.lines()?[0];
    assert_eq!((&state["revision"], &state["state"]["global"]), (&json!(3), &json!({"value": 42})));
    let dir = data.dir();
    let ran = reductor_fed(["run", "--plugin", COUNTER, "--data", &dir, "--print-state", "c1", "-"], "")?.succeeds()?;
    assert_eq!(ran.lines()?[0], *state);
    Ok(())
}

#[test]
fn what_a_killed_run_accepted_is_there_and_goes_on_once() -> Result<()> {
    let data = Data::new()?;
    let mut running = data.start()?;
    for _ in 0..20 {
        ensure!(running.run(&increment("c1", 1))?["success"] == json!(true), "a job failed");
    }
    running.0.kill()?;
    running.0.wait()?;
    data.run(COUNTER, &[increment("c1", 1)])?.succeeds()?;
    let shown = data.call(&["doc", "show", "c1", "--plugin", COUNTER, "--json"])?.succeeds()?;
    assert_eq!(shown.lines()?[0]["state"]["global"], json!({"value": 21}));
    data.call(&["store", "verify", "--plugin", COUNTER])?.succeeds()?;
    Ok(())
}

/// How often the program is killed, and how many results it may have printed by then.
const KILLS: u64 = 25;
const RESULTS_BEFORE_A_KILL_MAX: u64 = 200;
const STREAMED_DOCUMENTS: usize = 4;

impl Data {
    /// Streams jobs into a host and kills it once it has printed so many results. Returns the ids of
    /// the actions whose jobs were said to be done.
    fn stream_and_kill(&self, round: u64, results: u64) -> Result<Vec<String>> {
        let mut running = self.start()?;
        let mut stdin = running.0.stdin.take().context("standard input is piped")?;
        let stdout = BufReader::new(running.0.stdout.take().context("standard output is piped")?);
        let writer = std::thread::spawn(move || {
            for number in 0..10_000 {
                let action = json!({ "id": format!("{round}-{number}"), "type": "INCREMENT", "input": { "by": 1 } });
                let document = format!("stream-{}", number % STREAMED_DOCUMENTS);
                let job = json!({ "documentId": document, "documentType": "example/counter", "actions": [action] });
                // The host is gone when it is killed.
                if writeln!(stdin, "{job}").is_err() {
                    break;
                }
            }
        });
        let mut done = Vec::new();
        for (count, line) in (1..).zip(stdout.lines()) {
            // The last line may have been cut short: then nobody was told anything by it.
            let Ok(result) = serde_json::from_str::<Value>(&line?) else { break };
            ensure!(result["success"] == json!(true), "a job failed: {result}");
            let actions = result["job"]["actions"].as_array().context("a job has actions")?;
            done.extend(actions.iter().filter_map(|action| action["id"].as_str().map(str::to_owned)));
            if count == results {
                running.0.kill()?;
            }
        }
        running.0.wait()?;
        writer.join().expect("it only writes");
        Ok(done)
    }

    /// The actions of a document as its log has them, in order.
    fn actions(&self, document: &str) -> Result<Vec<String>> {
        let log = self.call(&["doc", "log", document, "--json", "--limit", "1000000"])?.succeeds()?.lines()?;
        let increments = log.iter().filter(|line| line["action"]["type"] == "INCREMENT");
        Ok(increments.filter_map(|line| line["action"]["id"].as_str().map(str::to_owned)).collect())
    }
}

#[test]
fn a_host_that_is_killed_again_and_again_loses_nothing_and_does_nothing_twice() -> Result<()> {
    let data = Data::new()?;
    let (mut acknowledged, mut seed) = (HashSet::new(), 0x9E37_79B9_u64);
    for round in 0..KILLS {
        // Numerical Recipes' generator: any would do, and this one needs no crate.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        acknowledged.extend(data.stream_and_kill(round, 1 + (seed >> 33) % RESULTS_BEFORE_A_KILL_MAX)?);
    }
    // What was accepted and not done is done by the next run.
    data.run(COUNTER, &[])?.succeeds()?;
    let pending = data.call(&["job", "list", "--status", "pending", "--json"])?.succeeds()?;
    ensure!(pending.stdout.is_empty(), "jobs are left: {}", pending.stdout);
    let mut applied = HashSet::new();
    for document in (0..STREAMED_DOCUMENTS).map(|number| format!("stream-{number}")) {
        let actions = data.actions(&document)?;
        let count = actions.len();
        let known = applied.len();
        applied.extend(actions);
        ensure!(applied.len() == known + count, "an action of {document} was applied twice");
        let shown = data.call(&["doc", "show", &document, "--plugin", COUNTER, "--json"])?.succeeds()?;
        assert_eq!(shown.lines()?[0]["state"]["global"], json!({ "value": count }), "{document}");
    }
    let lost: Vec<_> = acknowledged.difference(&applied).collect();
    ensure!(lost.is_empty(), "{} of {} acknowledged actions are lost: {lost:?}", lost.len(), acknowledged.len());
    ensure!(acknowledged.len() > 100, "only {} acknowledgements", acknowledged.len());
    data.call(&["store", "verify", "--plugin", COUNTER])?.succeeds()?;
    Ok(())
}

#[test]
fn a_second_process_is_told_who_has_the_directory() -> Result<()> {
    let data = Data::new()?;
    let mut running = data.start()?;
    running.run(&increment("c1", 1))?;
    data.run(COUNTER, &[])?.refuses_with(3, &["in use", &running.0.id().to_string()])?;
    data.call(&["doc", "log", "c1"])?.refuses_with(3, &["a running host uses this", "reductor store backup"])?;
    Ok(())
}

#[test]
fn a_log_is_a_table_or_json() -> Result<()> {
    let data = Data::new()?;
    data.run(COUNTER, &[increment("c1", 2), increment("c1", 3)])?.succeeds()?;
    let table = data.call(&["doc", "log", "c1"])?.succeeds()?.stdout;
    for word in ["sequence", "CREATE_DOCUMENT", "INCREMENT", r#"{"by":3}"#] {
        assert!(table.contains(word), "no `{word}` in\n{table}");
    }
    let lines = data.call(&["doc", "log", "c1", "--json", "--from", "1", "--limit", "1"])?.succeeds()?.lines()?;
    let [line] = &lines[..] else { anyhow::bail!("not one operation: {lines:?}") };
    assert_eq!((&line["sequence"], &line["action"]["input"]["by"]), (&json!(1), &json!(2)));
    assert_eq!(line["plugin"]["documentType"], "example/counter");
    data.call(&["doc", "log", "c1", "--from", "3"])?.refuses(&["no operation 3"])?;
    Ok(())
}

#[test]
fn a_history_is_what_changed() -> Result<()> {
    let data = Data::new()?;
    data.run(COUNTER, &[increment("c1", 2), increment("c1", 3)])?.succeeds()?;
    let last = data.call(&["doc", "history", "c1", "--plugin", COUNTER])?.succeeds()?.stdout;
    assert!(last.contains("~ global.value: 2 -> 5"), "{last}");
    let whole = data.call(&["doc", "history", "c1", "--plugin", COUNTER, "--from", "1", "--json"])?.succeeds()?;
    let changes = &whole.lines()?[0]["changes"];
    assert_eq!(*changes, json!([{ "path": "global.value", "before": 0, "after": 5 }]));
    data.call(&["doc", "history", "c1", "--plugin", COUNTER, "--from", "3", "--to", "2"])?.refuses(&["later than"])?;
    Ok(())
}

#[test]
fn documents_revisions_and_plugins_that_are_not_there_are_named() -> Result<()> {
    let data = Data::new()?;
    data.call(&["doc", "show", "c1"])?.refuses(&["does not exist"])?;
    assert!(!data.path("data").exists(), "looking at a directory made one");
    data.run(COUNTER, &[increment("c1", 2)])?.succeeds()?;
    data.call(&["doc", "show", "c2"])?.refuses(&["no document `c2`"])?;
    data.call(&["doc", "show", "c1", "--branch", "draft"])?.refuses(&["no branch `draft`", "`main`"])?;
    data.call(&["doc", "show", "c1", "--revision", "9"])?.refuses(&["stands at revision 2", "no revision 9"])?;
    data.call(&["doc", "show", "c1", "--revision", "1"])?.refuses(&["`example/counter`", "--plugin FILE"])?;
    let elsewhere = text(data.scratch.path()).to_owned();
    reductor(["doc", "show", "c1", "--data", &elsewhere])?.refuses(&["not a data directory"])?;
    Ok(())
}

#[test]
fn a_failed_job_is_listed_shown_retried_and_discarded() -> Result<()> {
    let data = Data::new()?;
    data.run(UNRULY, &[REFUSED.to_owned()])?.fails_with(1)?;
    let listed = data.call(&["job", "list", "--status", "failed", "--json"])?.succeeds()?.lines()?;
    let [job] = &listed[..] else { anyhow::bail!("not one failed job: {listed:?}") };
    let id = job["job"]["id"].as_str().context("an id")?.to_owned();
    let table = data.call(&["job", "list"])?.succeeds()?.stdout;
    assert!(table.contains(&id) && table.contains("failed"), "{table}");
    let shown = data.call(&["job", "show", &id])?.succeeds()?.stdout;
    assert!(shown.contains("REFUSE") && shown.contains("failed attempts"), "{shown}");

    data.call(&["job", "retry", &id])?.succeeds()?;
    let waiting = data.call(&["job", "show", &id, "--json"])?.succeeds()?.stdout;
    assert!(waiting.contains("\"PENDING\""), "{waiting}");
    let again = data.run(UNRULY, &[])?.fails_with(1)?;
    assert_eq!(again.lines()?[0]["job"]["id"], json!(id), "the run did not begin with the retried job");
    assert!(again.stderr.contains("1 unfinished job"), "{}", again.stderr);

    let note = r#"{"documentId": "u", "documentType": "test/unruly", "actions": [{"type": "NOTE", "input": {"text": "mine"}}]}"#;
    data.run(UNRULY, &[note.to_owned()])?.succeeds()?;
    data.call(&["job", "retry", &id])?.refuses(&["its place is taken"])?;
    data.call(&["job", "discard", &id])?.succeeds()?;
    data.call(&["job", "show", &id])?.refuses(&["no job"])?;
    data.call(&["job", "discard", &id])?.refuses(&[&id])?;
    Ok(())
}

#[test]
fn jobs_without_a_plugin_wait_with_a_warning() -> Result<()> {
    let data = Data::new()?;
    let ran = data.run(UNRULY, &[REFUSED.to_owned()])?.fails_with(1)?;
    let id = ran.lines()?[0]["job"]["id"].as_str().context("an id")?.to_owned();
    data.call(&["job", "retry", &id])?.succeeds()?;
    let other = data.run(COUNTER, &[increment("c1", 1)])?.succeeds()?;
    assert!(other.stderr.contains("warning: 1 unfinished job") && other.stderr.contains("`test/unruly`"));
    assert_eq!(other.lines()?.len(), 1);
    let listed = data.call(&["job", "list", "--status", "pending", "--json"])?.succeeds()?.lines()?;
    assert_eq!(listed.len(), 1, "the job is not there any more");
    Ok(())
}

#[test]
fn a_backup_of_a_running_host_restores_to_an_equal_store() -> Result<()> {
    let data = Data::new()?;
    let (file, restored) = (data.path("copy.backup"), data.path("restored"));
    let mut running = data.start()?;
    for number in 0..100 {
        running.run(&increment(&format!("c{}", number % 7), 1))?;
    }
    data.call(&["store", "backup", text(&file)])?.succeeds()?;
    data.call(&["store", "backup", text(&file)])?.refuses(&["exists", "--force"])?;
    running.run(&increment("c0", 1))?;
    data.call(&["store", "backup", "--force", text(&file)])?.succeeds()?;
    drop(running);

    reductor(["store", "restore", text(&file), "--data", text(&restored)])?.succeeds()?;
    reductor(["store", "verify", "--plugin", COUNTER, "--data", text(&restored)])?.succeeds()?;
    for number in 0..7 {
        let document = format!("c{number}");
        let log = ["doc", "log", &document, "--json"];
        let copied = reductor([&log[..], &["--data", text(&restored)]].concat())?.succeeds()?.stdout;
        assert_eq!(copied, data.call(&log)?.succeeds()?.stdout);
    }
    let jobs = ["job", "list", "--json", "--limit", "1000"];
    let copied = reductor([&jobs[..], &["--data", text(&restored)]].concat())?.succeeds()?.stdout;
    assert_eq!(copied, data.call(&jobs)?.succeeds()?.stdout);
    reductor(["store", "restore", text(&file), "--data", text(&restored)])?.refuses(&["not an empty directory"])?;
    Ok(())
}

#[test]
fn the_socket_is_its_owners_and_goes_with_the_host() -> Result<()> {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    let data = Data::new()?;
    let socket = data.path("data").join("control.sock");
    let mut running = data.start()?;
    running.run(&increment("c1", 1))?;
    let metadata = socket.symlink_metadata()?;
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    running.0.kill()?;
    running.0.wait()?;
    assert!(socket.exists(), "a killed process removes nothing");
    data.run(COUNTER, &[increment("c1", 1)])?.succeeds()?;
    assert!(!socket.exists(), "an orderly end leaves no socket");
    data.call(&["store", "backup", text(&data.path("after.backup"))])?.succeeds()?;
    Ok(())
}

#[test]
fn a_damaged_backup_makes_no_store() -> Result<()> {
    let data = Data::new()?;
    data.run(COUNTER, &[increment("c1", 2)])?.succeeds()?;
    let (file, restored) = (data.path("copy.backup"), data.path("restored"));
    data.call(&["store", "backup", text(&file)])?.succeeds()?;
    let whole = std::fs::read(&file)?;
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    for bad in [&whole[..whole.len() - 1], &changed[..], &b"hello"[..]] {
        std::fs::write(&file, bad)?;
        let code = if bad == b"hello" { 2 } else { 4 };
        let restore = ["store", "restore", text(&file), "--data", text(&restored)];
        reductor(restore)?.refuses_with(code, &["copy.backup"])?;
        assert!(!restored.exists(), "something is left of a restore that failed");
    }
    Ok(())
}

#[test]
fn stats_count_what_there_is() -> Result<()> {
    let data = Data::new()?;
    data.run(COUNTER, &[increment("c1", 2), increment("c2", 2)])?.succeeds()?;
    let stats = data.call(&["store", "stats", "--json"])?.succeeds()?.lines()?;
    assert_eq!((&stats[0]["branches"], &stats[0]["operations"]), (&json!(2), &json!(4)));
    assert_eq!(stats[0]["jobs"], json!({ "pending": 0, "completed": 2, "failed": 0 }));
    let table = data.call(&["store", "stats"])?.succeeds()?.stdout;
    assert!(table.contains("operations"), "{table}");
    Ok(())
}

#[test]
fn documents_are_listed_page_by_page() -> Result<()> {
    let data = Data::new()?;
    let draft =
        r#"{"documentId": "c2", "branch": "draft", "documentType": "example/counter", "actions": [{"type": "RESET"}]}"#;
    let jobs = [increment("c3", 1), increment("c1", 2), increment("c2", 2), increment("c1", 3), draft.to_owned()];
    data.run(COUNTER, &jobs)?.succeeds()?;
    let listed = |more: &[&str]| -> Result<Vec<String>> {
        let lines = data.call(&[&["doc", "list", "--json"], more].concat())?.succeeds()?.lines()?;
        let row =
            |line: &Value| format!("{} {} {}", line["documentId"], line["branch"], line["revision"]).replace('"', "");
        assert!(lines.iter().all(|line| line["documentType"] == "example/counter"), "{lines:?}");
        Ok(lines.iter().map(row).collect())
    };
    assert_eq!(listed(&[])?, ["c1 main 3", "c2 draft 2", "c2 main 2", "c3 main 2"]);
    assert_eq!(listed(&["--limit", "2"])?, ["c1 main 3", "c2 draft 2", "c2 main 2"], "a document is not cut in two");
    assert_eq!(listed(&["--after", "c2"])?, ["c3 main 2"]);
    assert_eq!(listed(&["--after", "c3"])?, [""; 0]);
    let table = data.call(&["doc", "list", "--limit", "1"])?.succeeds()?;
    assert!(table.stdout.contains("document") && table.stdout.contains("example/counter"), "{}", table.stdout);
    assert!(table.stderr.contains("--after c1"), "{}", table.stderr);
    Ok(())
}

#[test]
fn a_failed_job_has_one_status_everywhere() -> Result<()> {
    let data = Data::new()?;
    data.run(UNRULY, &[REFUSED.to_owned()])?.fails_with(1)?;
    for status in ["failed", "FAILED"] {
        let listed = data.call(&["job", "list", "--status", status, "--json"])?.succeeds()?.lines()?;
        let [job] = &listed[..] else { anyhow::bail!("not one failed job: {listed:?}") };
        for found in [&job["status"], &job["job"]["status"], &job["result"]["job"]["status"]] {
            assert_eq!(found, &json!("FAILED"), "{job}");
        }
    }
    Ok(())
}

#[test]
fn changes_of_jobs_are_told_as_json() -> Result<()> {
    let data = Data::new()?;
    let ran = data.run(UNRULY, &[REFUSED.to_owned()])?.fails_with(1)?;
    let id = ran.lines()?[0]["job"]["id"].as_str().context("an id")?.to_owned();
    let change = |what: &str| -> Result<Value> {
        let changed = data.call(&["job", what, "--json", &id])?.succeeds()?;
        assert_eq!(changed.stderr, "");
        Ok(changed.lines()?.remove(0))
    };
    assert_eq!(change("retry")?, json!({"jobId": id, "status": "PENDING"}));
    data.call(&["job", "retry", &id])?.refuses(&["is pending: only jobs that failed"])?;
    assert_eq!(change("cancel")?, json!({"jobId": id, "status": "FAILED"}));
    assert_eq!(change("discard")?, json!({"jobId": id, "status": null}));
    Ok(())
}

#[test]
fn a_job_that_waits_for_a_plugin_can_be_cancelled_and_discarded() -> Result<()> {
    let data = Data::new()?;
    let ran = data.run(UNRULY, &[REFUSED.to_owned()])?.fails_with(1)?;
    let id = ran.lines()?[0]["job"]["id"].as_str().context("an id")?.to_owned();
    data.call(&["job", "cancel", &id])?.refuses(&["has ended"])?;
    data.call(&["job", "retry", &id])?.succeeds()?;
    data.call(&["job", "cancel", &id])?.succeeds()?;
    let shown = data.call(&["job", "show", "--json", &id])?.succeeds()?.stdout;
    let shown: Value = serde_json::from_str(&shown)?;
    assert_eq!((&shown["status"], &shown["result"]["metadata"]["reason"]), (&json!("FAILED"), &json!("cancelled")));
    data.call(&["job", "discard", &id])?.succeeds()?;
    let quiet = data.run(UNRULY, &[])?.succeeds()?;
    assert_eq!(quiet.stdout, "", "a job that was cancelled ran");
    Ok(())
}

#[test]
fn backups_and_restores_are_told_as_json() -> Result<()> {
    let data = Data::new()?;
    data.run(COUNTER, &[increment("c1", 2)])?.succeeds()?;
    let (file, restored) = (data.path("copy.backup"), data.path("restored"));
    let made = data.call(&["store", "backup", "--json", text(&file)])?.succeeds()?.lines()?;
    assert_eq!(made[0], json!({"file": text(&file), "bytes": std::fs::metadata(&file)?.len()}));
    let restore = reductor(["store", "restore", "--json", text(&file), "--data", text(&restored)])?.succeeds()?;
    assert_eq!(restore.lines()?[0], json!({"branches": 1, "operations": 2, "jobs": 1}));
    Ok(())
}

#[test]
fn a_directory_that_is_no_store_is_told_from_one_that_was_not_restored() -> Result<()> {
    let data = Data::new()?;
    std::fs::create_dir(data.path("data"))?;
    let looks: [&[&str]; 3] = [&["doc", "log", "c1"], &["job", "list"], &["store", "stats"]];
    for look in looks {
        data.call(look)?.refuses(&["not a data directory", "`reductor run --data` makes one"])?;
    }
    std::fs::write(data.path("data").join("restoring"), "")?;
    for look in looks {
        data.call(look)?.refuses_with(4, &["was not restored completely", "restore it again"])?;
    }
    Ok(())
}

#[test]
fn a_store_that_is_too_damaged_to_be_opened_is_a_finding() -> Result<()> {
    let data = Data::new()?;
    data.run(COUNTER, &[increment("c1", 2)])?.succeeds()?;
    std::fs::write(data.path("data").join("version"), "not a version\n")?;
    let found = data.call(&["store", "verify", "--json"])?.fails_with(4)?;
    let report = &found.lines()?[0];
    assert_eq!(report["problemCount"], json!(1), "{report}");
    assert!(report["problems"][0]["problem"].as_str().is_some_and(|problem| problem.contains("damaged")), "{report}");
    let text = data.call(&["store", "verify"])?.fails_with(4)?.stdout;
    assert!(text.contains("1 problem\n"), "{text}");
    data.call(&["doc", "log", "c1"])?.refuses_with(4, &["damaged"])?;
    Ok(())
}

#[test]
fn a_file_whose_lines_have_keys_applies_nothing_twice_although_its_results_are_gone() -> Result<()> {
    let data = Data::new()?;
    let keyed = |number: u32| {
        let mut job: Value = serde_json::from_str(&increment("c1", 1)).expect("a job");
        job["idempotencyKey"] = json!(format!("line {number}"));
        job.to_string()
    };
    let lines: Vec<_> = (0..20).map(keyed).collect();
    let none_kept = ["--keep-completed", "0"];
    data.run_with(COUNTER, &none_kept, &lines)?.succeeds()?;
    // Results are forgotten while a run begins: a line may still come before that.
    let counted = |ran: &Ran| ran.stderr.contains("of standard input had completed before, by the idempotencyKey");
    let run_again = || data.run_with(COUNTER, &none_kept, &lines)?.succeeds();
    let mut again = run_again()?;
    for _ in 0..20 {
        if counted(&again) {
            break;
        }
        again = run_again()?;
    }
    assert!(counted(&again), "{}", again.stderr);
    let shown = data.call(&["doc", "show", "c1", "--plugin", COUNTER, "--json"])?.succeeds()?;
    assert_eq!(shown.lines()?[0]["revision"], json!(21), "the creation and one operation a line: {}", shown.stdout);
    Ok(())
}
