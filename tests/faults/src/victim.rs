//! Starts the process under test, and listens to it.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{PoisonError, RwLock};

use anyhow::{Context as _, Result};

use crate::record::Intent;
use crate::shim::Shim;
use crate::workload::Plan;

/// A program that opens a store and works on it: started, killed, started again.
///
/// What it is told and what it says are those of [`crate::run`]; another program, such as the
/// real one behind a client, can be put in its place.
#[derive(Clone, Debug)]
pub struct Victim {
    program: PathBuf,
}

/// When the store of a process syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncing {
    /// Before it acknowledges.
    Always,
    /// Never: what it acknowledges may be lost.
    Never,
}

/// When a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillAfter {
    /// When it has said so many lines.
    Lines(usize),
    /// When it has come to its end.
    End,
}

impl Victim {
    /// The program at this path.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    /// A process on the store in `dir` that will do as planned.
    pub(crate) fn command(&self, dir: &Path, syncing: Syncing, plan: Plan) -> Command {
        let mut command = Command::new(&self.program);
        let syncing = match syncing {
            Syncing::Always => "always",
            Syncing::Never => "never",
        };
        let Plan { seed, round, clients, jobs, text_bytes_max } = plan;
        command.arg(dir).arg(syncing);
        command.args([seed, round, clients, jobs, text_bytes_max as u64].map(|number| number.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A process that is being started has the files open for a moment that this one has open, and
/// with them the locks of stores. Whoever closes a store and opens it again holds this meanwhile.
pub(crate) static NOBODY_STARTS: RwLock<()> = RwLock::new(());

/// What a process said, and how it ended.
pub(crate) struct Ended {
    pub(crate) said: Vec<u8>,
    pub(crate) complaints: String,
    pub(crate) status: ExitStatus,
}

/// Runs a process until it ends or is killed.
pub(crate) fn run(mut command: Command, again: &[Intent], kill: KillAfter) -> Result<Ended> {
    let starting = NOBODY_STARTS.write().unwrap_or_else(PoisonError::into_inner);
    let mut child = command.spawn().with_context(|| format!("could not start {command:?}"))?;
    drop(starting);
    let listening = listen_to_complaints(&mut child);
    {
        let mut input = child.stdin.take().context("no stdin")?;
        for intent in again {
            writeln!(input, "{}", serde_json::to_string(intent)?)?;
        }
    }
    let mut said = Vec::new();
    let mut output = child.stdout.take().context("no stdout")?;
    if let KillAfter::Lines(lines) = kill {
        listen(&mut output, &mut said, lines)?;
        // If it has ended by itself meanwhile, that is as good.
        let _ = child.kill();
    }
    output.read_to_end(&mut said)?;
    let status = child.wait()?;
    let complaints = listening.join().unwrap_or_default();
    Ok(Ended { said, complaints, status })
}

/// Listens until so many lines were said.
fn listen(output: &mut impl std::io::Read, said: &mut Vec<u8>, lines: usize) -> Result<()> {
    let mut buffer = [0; 4096];
    let mut heard = 0;
    while heard < lines {
        let read = output.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        heard += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
        said.extend_from_slice(&buffer[..read]);
    }
    Ok(())
}

fn listen_to_complaints(child: &mut Child) -> std::thread::JoinHandle<String> {
    let errors = child.stderr.take();
    std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut errors) = errors {
            // What cannot be read is missing in a message, and nowhere else.
            let _ = errors.read_to_string(&mut text);
        }
        text
    })
}

/// Runs a process with its disk watched.
pub(crate) fn run_watched(mut command: Command, shim: &Shim, again: &[Intent]) -> Result<Ended> {
    shim.watch(&mut command)?;
    run(command, again, KillAfter::End)
}
