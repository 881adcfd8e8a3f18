//! What host and compile worker say to each other, over pipes.
//!
//! Numbers are little-endian, lengths and digests precede what they belong to. Nothing is
//! allocated for a length before the bytes are there.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use super::Fingerprint;

/// Starts a request; the digit is the protocol's version.
const REQUEST: [u8; 8] = *b"rdctask1";
const RESPONSE: [u8; 8] = *b"rdctans1";

/// What a worker is told before it gets the component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) fingerprint: Fingerprint,
    pub(super) memory_bytes_max: u64,
    pub(super) cpu_seconds_max: u64,
    pub(super) threads: u64,
    pub(super) component_bytes: u64,
}

impl Task {
    /// What precedes the component.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = REQUEST.to_vec();
        head.extend(self.fingerprint.0);
        for number in [self.memory_bytes_max, self.cpu_seconds_max, self.threads, self.component_bytes] {
            head.extend(number.to_le_bytes());
        }
        head
    }

    /// Reads a task; the component follows it.
    pub(super) fn receive(from: &mut impl Read) -> io::Result<Self> {
        if array(from)? != REQUEST {
            return Err(malformed("it is not a request for a compile worker"));
        }
        Ok(Self {
            fingerprint: Fingerprint(array(from)?),
            memory_bytes_max: number(from)?,
            cpu_seconds_max: number(from)?,
            threads: number(from)?,
            component_bytes: number(from)?,
        })
    }
}

/// What a worker answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// The machine code.
    Artefact(Vec<u8>),
    /// The compiler does not take the component, and says why.
    Refused(String),
    /// There was not enough memory.
    OutOfMemory,
    /// The worker's engine makes other code than the host's.
    OtherBuild,
}

const ARTEFACT: u8 = 0;
const REFUSED: u8 = 1;
const OUT_OF_MEMORY: u8 = 2;
const OTHER_BUILD: u8 = 3;

impl Response {
    pub(super) fn send(&self, to: &mut impl Write) -> io::Result<()> {
        let (kind, payload): (u8, &[u8]) = match self {
            Self::Artefact(artefact) => (ARTEFACT, artefact),
            Self::Refused(problem) => (REFUSED, problem.as_bytes()),
            Self::OutOfMemory => (OUT_OF_MEMORY, &[]),
            Self::OtherBuild => (OTHER_BUILD, &[]),
        };
        to.write_all(&RESPONSE)?;
        to.write_all(&[kind])?;
        to.write_all(&(payload.len() as u64).to_le_bytes())?;
        to.write_all(&Sha256::digest(payload))?;
        to.write_all(payload)?;
        to.flush()
    }

    /// Reads a response, to the end of the stream. `None` if there is nothing at all.
    pub(super) fn receive(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut magic = [0; RESPONSE.len()];
        let read = fill(from, &mut magic)?;
        if read == 0 {
            return Ok(None);
        }
        if magic != RESPONSE {
            return Err(malformed("it does not begin like an answer"));
        }
        let [kind] = array(from)?;
        let (length, digest) = (number(from)?, array::<32>(from)?);
        let mut payload = Vec::new();
        // One byte more than there should be, to see that the stream ends.
        from.take(length.saturating_add(1)).read_to_end(&mut payload)?;
        if payload.len() as u64 != length {
            return Err(malformed("it is not as long as it says"));
        }
        if Sha256::digest(&payload)[..] != digest[..] {
            return Err(malformed("its checksum is wrong"));
        }
        match kind {
            ARTEFACT => Ok(Some(Self::Artefact(payload))),
            REFUSED => Ok(Some(Self::Refused(String::from_utf8_lossy(&payload).into_owned()))),
            OUT_OF_MEMORY => Ok(Some(Self::OutOfMemory)),
            OTHER_BUILD => Ok(Some(Self::OtherBuild)),
            _ => Err(malformed("it is of an unknown kind")),
        }
    }
}

fn malformed(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    match fill(from, &mut bytes)? {
        read if read == N => Ok(bytes),
        _ => Err(malformed("it ends early")),
    }
}

fn number(from: &mut impl Read) -> io::Result<u64> {
    array(from).map(u64::from_le_bytes)
}

/// Reads until `bytes` is full or there is no more; says how much there was.
fn fill(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match from.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
