//! A child process that is asked one thing, and is gone afterwards whatever it does.
//!
//! One thread feeds it and listens to it, so that nothing is left behind if it does neither.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::protocol::Listener;

/// Set in the environment of a worker, which has no other variables.
pub(super) const WORKER: &str = "REDUCTOR_COMPILE_WORKER";

/// Bytes of standard error that are kept; the rest is read and dropped.
const SAID_BYTES_MAX: usize = 8 << 10;
/// Chunks that are read from a pipe before the others, and the clock, have their turn.
const CHUNKS_MAX: usize = 64;
/// How often a child that has closed its output is asked whether it has ended.
const EXIT_POLL: Duration = Duration::from_millis(1);

/// How it ended.
pub(super) struct Ending {
    /// The beginning of what it wrote to standard error.
    pub(super) said: String,
    /// `None` if it was killed at the deadline.
    pub(super) status: Option<ExitStatus>,
}

pub(super) struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: ChildStderr,
    reaped: bool,
}

impl Child {
    /// Starts a program with an empty environment, in a process group of its own: the
    /// terminal's signals are not for it, and what it starts itself can be killed with it.
    pub(super) fn start(program: &Path, arguments: &[OsString]) -> io::Result<Self> {
        let mut process = Command::new(program)
            .args(arguments)
            .env_clear()
            .env(WORKER, "1")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let piped = "all three were asked for";
        let (stdout, stderr) = (stdout.expect(piped), stderr.expect(piped));
        let child = Self { process, stdin, stdout, stderr, reaped: false };
        rustix::io::ioctl_fionbio(child.stdin.as_ref().expect(piped), true)?;
        rustix::io::ioctl_fionbio(&child.stdout, true)?;
        rustix::io::ioctl_fionbio(&child.stderr, true)?;
        Ok(child)
    }

    /// Sends `head` and `body`, and has `listener` hear what it answers until it ends, goes wrong,
    /// or the deadline comes.
    pub(super) fn converse(
        mut self,
        head: &[u8],
        body: &[u8],
        listener: &mut Listener,
        deadline: Instant,
    ) -> io::Result<Ending> {
        let mut unsent = [head, body];
        let mut said = Vec::new();
        let (mut answering, mut saying) = (true, true);
        // Once it has answered to the end, only its own end is of interest.
        while answering {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                break;
            };
            self.wait_for_pipes(saying, left)?;
            if self.stdin.is_some() && self.feed(&mut unsent)? == Flow::Ended {
                // It sees the end of its input.
                self.stdin = None;
            }
            answering = drain(&mut self.stdout, |chunk| listener.hear(chunk))? == Flow::Open;
            saying = saying && drain(&mut self.stderr, |chunk| keep(&mut said, chunk))? == Flow::Open;
        }
        self.stdin = None;
        let status = self.end(deadline)?;
        drain(&mut self.stderr, |chunk| keep(&mut said, chunk))?;
        Ok(Ending { said: String::from_utf8_lossy(&said).into_owned(), status })
    }

    /// Waits until a pipe has something to do, or for as long as is left.
    fn wait_for_pipes(&self, saying: bool, left: Duration) -> io::Result<()> {
        let mut pipes = vec![PollFd::new(&self.stdout, PollFlags::IN)];
        if saying {
            pipes.push(PollFd::new(&self.stderr, PollFlags::IN));
        }
        if let Some(stdin) = &self.stdin {
            pipes.push(PollFd::new(stdin, PollFlags::OUT));
        }
        let left =
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match rustix::event::poll(&mut pipes, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes as much as the pipe takes.
    fn feed(&mut self, unsent: &mut [&[u8]; 2]) -> io::Result<Flow> {
        let Some(stdin) = &mut self.stdin else { return Ok(Flow::Ended) };
        for part in unsent {
            while !part.is_empty() {
                match stdin.write(part) {
                    Ok(written) => *part = &part[written..],
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Flow::Open),
                    // It does not listen to the end; what it answers says why.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Flow::Ended),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Flow::Ended)
    }

    /// Waits for its end until the deadline, and then ends it. What it started goes with it.
    fn end(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        let leave = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let in_time = loop {
            match self.group().map(|group| rustix::process::waitid(WaitId::Pid(group), leave)) {
                Some(Ok(None)) if Instant::now() < deadline => std::thread::sleep(EXIT_POLL),
                Some(Ok(None)) => break false,
                Some(Err(rustix::io::Errno::INTR)) => {}
                _ => break true,
            }
        };
        let status = self.kill()?;
        Ok(in_time.then_some(status))
    }

    /// Kills what is left of it and of what it started, and reaps it.
    fn kill(&mut self) -> io::Result<ExitStatus> {
        // Until it is reaped its id is nobody else's. There may be nothing left to kill.
        if let Some(group) = self.group() {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.kill();
        let status = self.process.wait()?;
        self.reaped = true;
        Ok(status)
    }

    /// Its id, which is that of its process group too.
    fn group(&self) -> Option<Pid> {
        i32::try_from(self.process.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            // There is nobody to tell, and nothing else to be done.
            let _ = self.kill();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    Ended,
}

/// Takes in what a pipe has, as far as the clock need not be looked at in between.
fn drain(pipe: &mut impl Read, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Flow> {
    let mut chunk = [0; 64 << 10];
    for _ in 0..CHUNKS_MAX {
        match pipe.read(&mut chunk) {
            Ok(0) => return Ok(Flow::Ended),
            Ok(read) => take(&chunk[..read])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Flow::Open)
}

/// Keeps the beginning of what it writes to standard error.
fn keep(said: &mut Vec<u8>, chunk: &[u8]) -> io::Result<()> {
    let room = SAID_BYTES_MAX - said.len();
    said.extend_from_slice(&chunk[..chunk.len().min(room)]);
    Ok(())
}
