//! JSON strings: scanning, escaping, unescaping.
//!
//! Scanning looks at eight bytes at a time in a `u64`, which is fast natively and in WebAssembly
//! alike. "Content" below is what stands between the quotes of a string.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Flags the bytes of `word` that cannot stand in a string as they are: `"`, `\` and < 0x20.
///
/// The lowest flag is exact; a borrow may set flags above it that mean nothing.
#[inline(always)]
fn flags(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGHS
}

#[inline(always)]
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Counts the bytes before the first one that cannot stand in a string as it is.
#[inline(always)]
pub(crate) fn clean_run(bytes: &[u8]) -> usize {
    match bytes.first_chunk::<8>() {
        Some(word) => match flags(u64::from_le_bytes(*word)) {
            0 => long_clean_run(bytes),
            found => found.trailing_zeros() as usize / 8,
        },
        None => short_clean_run(bytes),
    }
}

/// Goes on where the first eight bytes were clean: most of the bytes of long strings pass here.
fn long_clean_run(bytes: &[u8]) -> usize {
    let mut at = 8;
    // Four words at a time and one branch for all of them.
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<32>) {
        let (words, _) = block.as_chunks::<8>();
        let any = words.iter().fold(0, |any, word| any | flags(u64::from_le_bytes(*word)));
        if any != 0 {
            break;
        }
        at += 32;
    }
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        match flags(u64::from_le_bytes(*word)) {
            0 => at += 8,
            found => return at + found.trailing_zeros() as usize / 8,
        }
    }
    at + short_clean_run(&bytes[at..])
}

/// The same for fewer than eight bytes.
#[inline(always)]
fn short_clean_run(bytes: &[u8]) -> usize {
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // The halves overlap, so flags tell whether, not where.
        let word = u64::from(u32::from_le_bytes(*low)) | u64::from(u32::from_le_bytes(*high)) << 32;
        if flags(word) == 0 {
            return bytes.len();
        }
    }
    bytes.iter().position(|&byte| is_special(byte)).unwrap_or(bytes.len())
}

/// Whether a string needed a backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escapes {
    None,
    Some,
}

/// Writes `text` as a canonical JSON string, quotes included.
#[inline]
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) -> Escapes {
    out.push(b'"');
    let escapes = write_content(out, text.as_bytes());
    out.push(b'"');
    escapes
}

#[inline]
fn write_content(out: &mut Vec<u8>, mut rest: &[u8]) -> Escapes {
    let mut escapes = Escapes::None;
    loop {
        let (clean, tail) = rest.split_at(clean_run(rest));
        out.extend_from_slice(clean);
        let Some((&byte, after)) = tail.split_first() else {
            return escapes;
        };
        write_escape(out, byte);
        escapes = Escapes::Some;
        rest = after;
    }
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match short_escape(byte) {
        Some(letter) => out.extend_from_slice(&[b'\\', letter]),
        None => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    }
}

/// The letter that follows the backslash where RFC 8785 has a two-character escape for `byte`.
fn short_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => return None,
    })
}

/// What follows a backslash, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Escape {
    /// The character that is meant.
    pub(crate) char: char,
    /// Bytes of the escape, counted from its backslash.
    pub(crate) len: usize,
}

impl Escape {
    /// Whether RFC 8785 spells the character exactly as `spelled`.
    pub(crate) fn is_canonical(&self, spelled: &[u8]) -> bool {
        match spelled {
            [_, b'/'] => false,
            [_, _] => true,
            _ => {
                self.char < ' '
                    && short_escape(self.char as u8).is_none()
                    && !spelled.iter().any(u8::is_ascii_uppercase)
            }
        }
    }
}

/// Why there is no reading an escape.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadEscape {
    /// The text ends within the escape.
    Cut,
    /// No escape begins like this.
    Unknown,
    /// Half of a surrogate pair.
    LoneSurrogate,
}

/// Reads the escape, surrogate pairs included, that `bytes` begins with.
pub(crate) fn read_escape(bytes: &[u8]) -> Result<Escape, BadEscape> {
    let char = match bytes.get(1) {
        None => return Err(BadEscape::Cut),
        Some(b'u') => return read_unicode_escape(bytes),
        Some(b'b') => '\u{8}',
        Some(b't') => '\t',
        Some(b'n') => '\n',
        Some(b'f') => '\u{c}',
        Some(b'r') => '\r',
        Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
        Some(_) => return Err(BadEscape::Unknown),
    };
    Ok(Escape { char, len: 2 })
}

fn read_unicode_escape(bytes: &[u8]) -> Result<Escape, BadEscape> {
    let first = hex_digits(&bytes[2..])?;
    if let Some(char) = char::from_u32(first) {
        return Ok(Escape { char, len: 6 });
    }
    if !(0xd800..0xdc00).contains(&first) || !bytes[6..].starts_with(b"\\u") {
        return Err(BadEscape::LoneSurrogate);
    }
    let second = hex_digits(&bytes[8..])?;
    if !(0xdc00..0xe000).contains(&second) {
        return Err(BadEscape::LoneSurrogate);
    }
    let char = char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
        .expect("a surrogate pair is a character");
    Ok(Escape { char, len: 12 })
}

fn hex_digits(bytes: &[u8]) -> Result<u32, BadEscape> {
    let mut value = 0;
    for at in 0..4 {
        let byte = *bytes.get(at).ok_or(BadEscape::Cut)?;
        let digit = char::from(byte).to_digit(16).ok_or(BadEscape::Unknown)?;
        value = value * 16 + digit;
    }
    Ok(value)
}

/// The bytes that `content` means, which may have any escapes but no bad ones.
pub(crate) fn unescape(mut content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    loop {
        let (clean, tail) = content.split_at(clean_run(content));
        out.extend_from_slice(clean);
        if tail.is_empty() {
            return out;
        }
        let escape = read_escape(tail).expect("the string was written or checked");
        out.extend_from_slice(escape.char.encode_utf8(&mut [0; 4]).as_bytes());
        content = &tail[escape.len..];
    }
}

/// Writes the canonical content for `content`, which may have any escapes but no bad ones.
pub(crate) fn rewrite_content(out: &mut Vec<u8>, mut content: &[u8]) -> Escapes {
    let mut escapes = Escapes::None;
    loop {
        let (clean, tail) = content.split_at(clean_run(content));
        out.extend_from_slice(clean);
        if tail.is_empty() {
            return escapes;
        }
        let escape = read_escape(tail).expect("the text was checked");
        if write_content(out, escape.char.encode_utf8(&mut [0; 4]).as_bytes()) == Escapes::Some {
            escapes = Escapes::Some;
        }
        content = &tail[escape.len..];
    }
}
