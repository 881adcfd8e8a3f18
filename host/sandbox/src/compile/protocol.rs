//! What host and compile worker say to each other, over pipes.
//!
//! The host sends a task and the component. The worker says that it is ready before it reads a
//! byte of the component, so that what goes wrong afterwards is known to be the component's
//! doing. Then it answers: with facts and machine code, or with a refusal.
//!
//! Numbers are little-endian, lengths and digests precede what they belong to. Nothing is
//! allocated for a length before it was checked and the bytes are there.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use super::Fingerprint;
use super::artefact::{ARTEFACT_BYTES_MAX, Artefact};
use super::wire::{self, FACTS_BYTES_MAX, MAXIMA_BYTES};
use crate::admit::Maxima;

/// Starts a request; the digit is the protocol's version.
const REQUEST: [u8; 8] = *b"rdctask2";
const RESPONSE: [u8; 8] = *b"rdctans2";

/// What a worker is told before it gets the component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) fingerprint: Fingerprint,
    pub(super) maxima: Maxima,
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
        head.extend(wire::maxima(&self.maxima));
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
            maxima: wire::read_maxima(&array::<MAXIMA_BYTES>(from)?)?,
            memory_bytes_max: number(from)?,
            cpu_seconds_max: number(from)?,
            threads: number(from)?,
            component_bytes: number(from)?,
        })
    }
}

/// The messages of a worker. The first is `OtherBuild` or `Ready`; one of the others follows `Ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Its engine generates different code than the host's.
    OtherBuild,
    /// It has set itself up and is about to read the component.
    Ready,
    /// Facts and machine code.
    Made,
    /// A refusal.
    Refused,
    /// There was not enough memory.
    OutOfMemory,
}

impl Kind {
    const ALL: [Self; 5] = [Self::OtherBuild, Self::Ready, Self::Made, Self::Refused, Self::OutOfMemory];
}

/// What a worker answers once it is ready.
pub(super) enum Response<'a> {
    /// Facts and machine code.
    Made { facts: &'a [u8], artefact: &'a [u8] },
    /// A refusal.
    Refused(&'a [u8]),
    /// There was not enough memory.
    OutOfMemory,
}

/// Says that the worker is another build, so that its code does not run in this host.
pub(super) fn send_other_build(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&RESPONSE)?;
    to.write_all(&[Kind::OtherBuild as u8])?;
    to.flush()
}

/// Says that the worker turns to the component.
pub(super) fn send_ready(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&RESPONSE)?;
    to.write_all(&[Kind::Ready as u8])?;
    to.flush()
}

impl Response<'_> {
    pub(super) fn send(&self, to: &mut impl Write) -> io::Result<()> {
        let (kind, words, code): (_, &[u8], &[u8]) = match self {
            Self::Made { facts, artefact } => (Kind::Made, facts, artefact),
            Self::Refused(refusal) => (Kind::Refused, refusal, &[]),
            Self::OutOfMemory => (Kind::OutOfMemory, &[], &[]),
        };
        let digest = Sha256::new().chain_update(words).chain_update(code).finalize();
        to.write_all(&[kind as u8])?;
        to.write_all(&(words.len() as u64).to_le_bytes())?;
        to.write_all(&(code.len() as u64).to_le_bytes())?;
        to.write_all(&digest)?;
        to.write_all(words)?;
        to.write_all(code)?;
        to.flush()
    }
}

/// Kind, two lengths and a digest.
const HEAD_BYTES: usize = 1 + 8 + 8 + 32;

/// What was heard of a worker.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing at all.
    Nothing,
    /// That its engine makes other code.
    OtherBuild,
    /// That it is ready, and then no whole answer.
    Ready,
    /// Facts and machine code.
    Made { facts: Vec<u8>, artefact: Artefact },
    /// A refusal.
    Refused(Vec<u8>),
    /// That there was not enough memory.
    OutOfMemory,
}

/// Takes in what a worker says, piece by piece, and keeps no more of it than it may say.
#[derive(Debug)]
pub(super) struct Listener {
    /// What was said and not understood yet: never more than the part that is awaited.
    pending: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    Beginning,
    Ready,
    Words(Head),
    Code { head: Head, facts: Vec<u8>, artefact: Artefact, hasher: Sha256 },
    Heard(Heard),
}

#[derive(Clone, Copy, Debug)]
struct Head {
    kind: Kind,
    words_bytes: usize,
    code_bytes: u64,
    digest: [u8; 32],
}

impl Listener {
    pub(super) fn new() -> Self {
        Self { pending: Vec::new(), state: State::Beginning }
    }

    /// Whether the worker has said that it turns to the component.
    pub(super) fn is_ready(&self) -> bool {
        !matches!(self.state, State::Beginning | State::Heard(Heard::OtherBuild | Heard::Nothing))
    }

    /// Takes in what came next.
    pub(super) fn hear(&mut self, mut said: &[u8]) -> io::Result<()> {
        loop {
            if let State::Code { artefact, hasher, head, .. } = &mut self.state {
                let left = head.code_bytes - artefact.bytes();
                let (code, rest) = said.split_at(said.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                hasher.update(code);
                artefact.push(code)?;
                said = rest;
                if artefact.bytes() < head.code_bytes {
                    return Ok(());
                }
                self.heard_code()?;
                continue;
            }
            let awaited = match &self.state {
                State::Beginning => RESPONSE.len() + 1,
                State::Ready => HEAD_BYTES,
                State::Words(head) => head.words_bytes,
                State::Heard(_) if said.is_empty() => return Ok(()),
                State::Code { .. } | State::Heard(_) => return Err(malformed("it is not as long as it says")),
            };
            let (part, rest) = said.split_at(said.len().min(awaited - self.pending.len()));
            self.pending.extend_from_slice(part);
            said = rest;
            // What is wrong at its beginning need not be heard to its end.
            if matches!(self.state, State::Beginning) && !starts_like(&self.pending, &RESPONSE) {
                return Err(malformed("it does not begin like an answer"));
            }
            if self.pending.len() < awaited {
                return Ok(());
            }
            let part = std::mem::take(&mut self.pending);
            self.understand(part)?;
        }
    }

    fn understand(&mut self, part: Vec<u8>) -> io::Result<()> {
        self.state = match self.state {
            State::Beginning => match kind(part[RESPONSE.len()])? {
                Kind::Ready => State::Ready,
                Kind::OtherBuild => State::Heard(Heard::OtherBuild),
                _ => return Err(malformed("it answers before it is ready")),
            },
            State::Ready => State::Words(head(&part)?),
            State::Words(head) if head.kind == Kind::Made => {
                let hasher = Sha256::new().chain_update(&part);
                State::Code { head, facts: part, artefact: Artefact::new()?, hasher }
            }
            State::Words(head) => {
                verify(&head, Sha256::new().chain_update(&part))?;
                State::Heard(if head.kind == Kind::Refused { Heard::Refused(part) } else { Heard::OutOfMemory })
            }
            State::Code { .. } | State::Heard(_) => unreachable!("nothing is awaited there"),
        };
        Ok(())
    }

    fn heard_code(&mut self) -> io::Result<()> {
        let State::Code { head, facts, artefact, hasher } =
            std::mem::replace(&mut self.state, State::Heard(Heard::Ready))
        else {
            unreachable!("the code was just heard")
        };
        verify(&head, hasher)?;
        self.state = State::Heard(Heard::Made { facts, artefact });
        Ok(())
    }

    /// What was heard when it says no more. An error if it stopped in the middle.
    pub(super) fn end(self) -> io::Result<Heard> {
        match self.state {
            State::Beginning if self.pending.is_empty() => Ok(Heard::Nothing),
            State::Ready if self.pending.is_empty() => Ok(Heard::Ready),
            State::Heard(heard) => Ok(heard),
            _ => Err(malformed("it is not as long as it says")),
        }
    }
}

fn starts_like(heard: &[u8], magic: &[u8]) -> bool {
    heard.iter().zip(magic).all(|(heard, expected)| heard == expected)
}

fn kind(byte: u8) -> io::Result<Kind> {
    Kind::ALL.into_iter().find(|kind| *kind as u8 == byte).ok_or_else(|| malformed("it is of an unknown kind"))
}

fn head(mut part: &[u8]) -> io::Result<Head> {
    let [byte] = array(&mut part)?;
    let kind = kind(byte)?;
    let (words_bytes, code_bytes, digest) = (number(&mut part)?, number(&mut part)?, array(&mut part)?);
    let code_bytes_max = match kind {
        Kind::Made => ARTEFACT_BYTES_MAX,
        Kind::Refused | Kind::OutOfMemory => 0,
        Kind::OtherBuild | Kind::Ready => return Err(malformed("it is ready twice")),
    };
    if words_bytes > FACTS_BYTES_MAX || code_bytes > code_bytes_max {
        return Err(malformed("it is longer than an answer may be"));
    }
    let words_bytes = usize::try_from(words_bytes).map_err(|_| malformed("it is longer than an answer may be"))?;
    Ok(Head { kind, words_bytes, code_bytes, digest })
}

fn verify(head: &Head, hasher: Sha256) -> io::Result<()> {
    if hasher.finalize()[..] == head.digest[..] { Ok(()) } else { Err(malformed("its checksum is wrong")) }
}

pub(super) fn malformed(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    match from.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(malformed("it ends early")),
        Err(error) => Err(error),
    }
}

fn number(from: &mut impl Read) -> io::Result<u64> {
    array(from).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(response: &Response<'_>) -> Vec<u8> {
        let mut said = Vec::new();
        send_ready(&mut said).and_then(|()| response.send(&mut said)).expect("memory can be written to");
        said
    }

    fn heard(said: &[u8], piece: usize) -> io::Result<Heard> {
        let mut listener = Listener::new();
        said.chunks(piece).try_for_each(|piece| listener.hear(piece))?;
        listener.end()
    }

    #[test]
    fn an_answer_is_understood_however_it_is_cut_into_pieces() -> io::Result<()> {
        let answer = said(&Response::Made { facts: b"facts", artefact: b"machine code" });
        for piece in 1..=answer.len() {
            let Heard::Made { facts, artefact } = heard(&answer, piece)? else { panic!("{piece}") };
            assert_eq!((&facts[..], artefact.bytes()), (&b"facts"[..], 12));
        }
        let Heard::Refused(words) = heard(&said(&Response::Refused(b"no")), 3)? else { panic!("it was refused") };
        assert_eq!(words, b"no");
        assert!(matches!(heard(&said(&Response::OutOfMemory), 64)?, Heard::OutOfMemory));
        Ok(())
    }

    #[test]
    fn an_answer_that_is_cut_damaged_or_too_long_is_an_error() {
        let answer = said(&Response::Made { facts: b"facts", artefact: b"machine code" });
        for length in RESPONSE.len() + 2..answer.len() {
            assert!(heard(&answer[..length], 7).is_err(), "{length}");
        }
        for place in 0..answer.len() {
            let mut damaged = answer.clone();
            damaged[place] ^= 0x40;
            assert!(heard(&damaged, 7).is_err(), "byte {place}");
        }
        assert!(heard(&[&answer[..], &[0]].concat(), 7).is_err());
    }

    #[test]
    fn a_length_is_checked_before_anything_is_allocated_for_it() {
        for lengths in [[u64::MAX, 0], [0, u64::MAX], [FACTS_BYTES_MAX + 1, 0], [0, ARTEFACT_BYTES_MAX + 1]] {
            let mut answer = said(&Response::Made { facts: b"", artefact: b"" });
            let at = RESPONSE.len() + 2;
            answer[at..at + 16].copy_from_slice(&lengths.map(u64::to_le_bytes).concat());
            let error = heard(&answer, 64).expect_err("it is too long");
            assert!(error.to_string().contains("longer than an answer may be"), "{error}");
        }
    }
}
