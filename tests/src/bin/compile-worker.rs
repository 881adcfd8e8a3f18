//! The compile worker of the tests: a good one, or one that misbehaves as its argument says.

use std::io::{self, Read as _, Write as _};
use std::process::{Command, exit};
use std::time::Duration;

/// How long those that hang do so: far beyond what a test waits.
const LONG: Duration = Duration::from_secs(600);

fn main() -> io::Result<()> {
    let how = std::env::args().nth(1);
    let mut stdout = io::stdout();
    match how.as_deref() {
        None => drop(reductor_sandbox::compile_worker_main()),
        Some("abort") => std::process::abort(),
        Some("exit") => exit(7),
        Some("hang") => std::thread::sleep(LONG),
        Some("hang-with-a-child") => {
            Command::new("/bin/sleep").arg("600").spawn()?.wait()?;
        }
        Some("leave-a-child") => drop(Command::new("/bin/sleep").arg("5").spawn()?),
        Some("silent") => drop(io::stdin().read_to_end(&mut Vec::new())?),
        Some("chatty") => stdout.write_all(b"starting up...\nready\n")?,
        Some("flood") => {
            io::stderr().write_all("\u{1b}[31m\u{7}oh no\n".repeat(1_000_000).as_bytes())?;
            exit(3)
        }
        Some("environment") => {
            std::env::vars().for_each(|(name, value)| eprintln!("{name}={value}"));
            exit(4)
        }
        Some("ready-abort") => {
            ready()?;
            std::process::abort()
        }
        Some("ready-exit") => {
            ready()?;
            exit(7)
        }
        Some("ready-cut") => {
            answer(MADE, 0, 1_000_000, &[0; 32], b"code")?;
            exit(7)
        }
        Some("ready-hang") => {
            ready()?;
            std::thread::sleep(LONG);
        }
        // Says that it has begun by opening a pipe, and ends when the other side closes it.
        Some("until-told") => drop(std::fs::read(std::env::args_os().nth(2).expect("the pipe is named"))?),
        // The layout is that of `sandbox/src/compile/protocol.rs`.
        Some("not-ready") => {
            stdout.write_all(b"rdctans2")?;
            stdout.write_all(&[MADE])?;
        }
        Some("wrong-checksum") => answer(REFUSED, 4, 0, &[0; 32], b"code")?,
        Some("cut") => answer(MADE, 0, 1_000_000, &[0; 32], b"code")?,
        Some("too-long") => answer(MADE, 0, 0, &EMPTY, b"code")?,
        Some("endless-facts") => answer(MADE, u64::MAX, 0, &[0; 32], b"")?,
        Some("endless-length") => answer(MADE, 0, u64::MAX, &[0; 32], b"code")?,
        // Of nothing, which has a well-known digest.
        Some("unknown-kind") => answer(9, 0, 0, &EMPTY, b"")?,
        Some("no-facts") => answer(MADE, 0, 0, &EMPTY, b"")?,
        Some("no-reason") => answer(REFUSED, 0, 0, &EMPTY, b"")?,
        Some(other) => panic!("no worker misbehaves like {other}"),
    }
    Ok(())
}

/// SHA-256 of no bytes.
const EMPTY: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// Kinds of answers.
const MADE: u8 = 2;
const REFUSED: u8 = 3;

fn ready() -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(b"rdctans2\x01")?;
    stdout.flush()
}

fn answer(kind: u8, words: u64, code: u64, digest: &[u8; 32], payload: &[u8]) -> io::Result<()> {
    ready()?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&[kind])?;
    stdout.write_all(&words.to_le_bytes())?;
    stdout.write_all(&code.to_le_bytes())?;
    stdout.write_all(digest)?;
    stdout.write_all(payload)?;
    stdout.flush()
}
