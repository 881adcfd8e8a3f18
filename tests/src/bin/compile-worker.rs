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
        // The layout is that of `sandbox/src/compile/protocol.rs`.
        Some("wrong-checksum") => answer(0, 4, &[0; 32], b"code")?,
        Some("cut") => answer(0, 1_000_000, &[0; 32], b"code")?,
        Some("too-long") => answer(0, 3, &[0; 32], b"code")?,
        Some("endless-length") => answer(0, u64::MAX, &[0; 32], b"code")?,
        // Of nothing, which has a well-known digest.
        Some("unknown-kind") => answer(9, 0, &EMPTY, b"")?,
        Some("no-artefact") => answer(0, 0, &EMPTY, b"")?,
        Some(other) => panic!("no worker misbehaves like {other}"),
    }
    Ok(())
}

/// SHA-256 of no bytes.
const EMPTY: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

fn answer(kind: u8, length: u64, digest: &[u8; 32], payload: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(b"rdctans1")?;
    stdout.write_all(&[kind])?;
    stdout.write_all(&length.to_le_bytes())?;
    stdout.write_all(digest)?;
    stdout.write_all(payload)?;
    stdout.flush()
}
