//! Runs a program and passes on what it says, line by line, while it runs.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;

use crate::BuildError;

/// How many of the last lines an error repeats: a few of rustc's diagnostics.
const TAIL_LINES_MAX: usize = 40;

/// Where the lines of a build go: to the caller's function, else to standard error.
#[derive(Clone, Default)]
pub(crate) struct Log(Option<Arc<OnLine>>);

type OnLine = dyn Fn(&str) + Send + Sync;

impl Log {
    pub(crate) fn to(on_line: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(on_line)))
    }

    /// Whether the caller has every line already, so that no error need repeat it.
    pub(crate) fn is_callers(&self) -> bool {
        self.0.is_some()
    }

    /// Passes one line on, without its line break.
    pub(crate) fn line(&self, line: &str) {
        match &self.0 {
            Some(on_line) => on_line(line),
            None => eprintln!("{line}"),
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Log(function)" } else { "Log(stderr)" })
    }
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The last lines of its standard error.
    pub(crate) tail: String,
}

/// Runs `command` to its end. Its standard error goes to `log`, each line of its standard
/// output to `on_stdout`.
pub(crate) fn run(command: &mut Command, log: &Log, mut on_stdout: impl FnMut(&str)) -> Result<Ended, BuildError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let not_started = |source| BuildError::NotStarted { program: program.clone(), source };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(not_started)?;
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    // Both pipes are read at once: a program that fills the one unread would never end.
    let tail = thread::scope(|scope| {
        let tail = scope.spawn(|| relay(stderr, log));
        lines(stdout, &mut on_stdout);
        tail.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let status = child.wait().map_err(not_started)?;
    Ok(Ended { status, tail: Vec::from(tail).join("\n") })
}

/// Runs `command` in silence; its standard output if it succeeds.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

fn relay(stderr: Option<impl Read>, log: &Log) -> VecDeque<String> {
    let mut tail = VecDeque::with_capacity(TAIL_LINES_MAX);
    lines(stderr, &mut |line| {
        log.line(line);
        if tail.len() == TAIL_LINES_MAX {
            tail.pop_front();
        }
        tail.push_back(line.to_owned());
    });
    tail
}

/// Hands over each line. A pipe that breaks ends the lines: the exit status tells the rest.
fn lines(pipe: Option<impl Read>, on_line: &mut impl FnMut(&str)) {
    let Some(pipe) = pipe else { return };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        on_line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_outputs_arrive_line_by_line_and_apart() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Log::to({
            let heard = Arc::clone(&heard);
            move |line| heard.lock().expect("no test panics here").push(line.to_owned())
        });
        let mut out = Vec::new();
        let ended = run(&mut sh("echo a; echo x >&2; echo b; exit 3"), &log, |line| out.push(line.to_owned()))
            .expect("sh starts");
        assert_eq!(out, ["a", "b"]);
        assert_eq!(*heard.lock().expect("no test panics here"), ["x"]);
        assert_eq!((ended.status.code(), ended.tail.as_str()), (Some(3), "x"));
    }

    #[test]
    fn the_tail_is_bounded() {
        let ended = run(&mut sh("seq 1 1000 >&2"), &Log::to(|_| {}), |_| {}).expect("sh starts");
        assert_eq!(ended.tail.lines().count(), TAIL_LINES_MAX);
        assert!(ended.tail.ends_with("\n1000"));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error =
            run(&mut Command::new("/no/such/program"), &Log::default(), |_| {}).expect_err("there is no such program");
        assert_eq!(error.to_string(), "could not run /no/such/program");
    }
}
