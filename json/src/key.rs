//! The order of keys: by UTF-16 code units, told from the escaped content of JSON strings.

use std::cmp::Ordering;

use crate::string::{Escapes, read_escape};

/// Compares two keys, each given as the well-formed content of a JSON string.
///
/// `escapes` is `None` only where neither has a backslash.
#[inline]
pub(crate) fn compare(a: &[u8], b: &[u8], escapes: Escapes) -> Ordering {
    match escapes {
        Escapes::None => compare_bytes(a, b),
        Escapes::Some => compare_unescaped(a, b),
    }
}

#[inline]
fn compare_bytes(a: &[u8], b: &[u8]) -> Ordering {
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((&a, &b)) => rank(a).cmp(&rank(b)),
        None => a.len().cmp(&b.len()),
    }
}

#[cold]
fn compare_unescaped(a: &[u8], b: &[u8]) -> Ordering {
    Unescaped::new(a).map(rank).cmp(Unescaped::new(b).map(rank))
}

/// Ranks UTF-8 bytes so that texts compare as their UTF-16 would.
///
/// Beyond U+FFFF (lead bytes from 0xf0) UTF-16 has surrogates, which are less than U+E000 to
/// U+FFFF (lead bytes 0xee and 0xef) and greater than the rest. Where two texts first differ
/// in a byte that is not a lead byte, both encodings order them alike.
#[inline]
fn rank(byte: u8) -> u8 {
    match byte {
        0..0xee => byte,
        0xee..0xf0 => byte + 0x10,
        0xf0.. => byte - 2,
    }
}

/// The bytes a string means, from its content.
struct Unescaped<'a> {
    content: &'a [u8],
    /// The character of the last escape, as UTF-8 in the low bytes, next byte lowest.
    pending: u32,
    pending_len: u8,
}

impl<'a> Unescaped<'a> {
    fn new(content: &'a [u8]) -> Self {
        Self { content, pending: 0, pending_len: 0 }
    }
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.pending_len == 0 {
            let (&byte, rest) = self.content.split_first()?;
            if byte != b'\\' {
                self.content = rest;
                return Some(byte);
            }
            let escape = read_escape(self.content).expect("keys are compared once they are read");
            self.content = &self.content[escape.len..];
            let mut utf8 = [0; 4];
            self.pending_len = escape.char.encode_utf8(&mut utf8).len() as u8;
            self.pending = u32::from_le_bytes(utf8);
        }
        let byte = self.pending as u8;
        self.pending >>= 8;
        self.pending_len -= 1;
        Some(byte)
    }
}
