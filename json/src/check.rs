//! Checks a text: is it JSON, within limits, and canonical?

use std::cmp::Ordering;

use crate::{
    Malformed, Problem, key,
    number::{Literal, Spelling},
    string::{BadEscape, Escapes, clean_run, read_escape},
};

/// How far a text may go.
///
/// ```
/// use reductor_json::{Limits, Problem, check};
///
/// let flat = Limits { depth_max: 1 };
/// assert!(check(b"[1]", flat).is_ok());
/// let error = check(b"[[1]]", flat).expect_err("two levels");
/// assert_eq!(error.problem, Problem::TooDeep { depth_max: 1 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arrays and objects that may stand inside each other. Also bounds what a reader that
    /// recurses needs of its stack.
    pub depth_max: usize,
}

impl Default for Limits {
    /// 127 levels: serde_json, which guests read states with, takes no more.
    fn default() -> Self {
        Self { depth_max: 127 }
    }
}

/// The form of a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The canonical text of its value.
    Canonical,
    /// JSON, but not canonical.
    Loose(Deviation),
}

/// The first place where a text is not canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct Deviation {
    /// Byte offset, from the start of the text.
    pub offset: usize,
    /// What is not canonical there.
    pub kind: DeviationKind,
}

/// What is not canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviationKind {
    /// White space between tokens.
    #[error("white space")]
    Whitespace,
    /// A key that is less than the one before it.
    #[error("key out of order")]
    KeyOrder,
    /// An escape where RFC 8785 has the character itself or a shorter or lowercase escape.
    #[error("escape that is not canonical")]
    Escape,
    /// A number that ECMAScript prints differently.
    #[error("number that is not in its canonical spelling")]
    Number,
}

/// Checks that a text is JSON within the limits, and whether it is canonical.
///
/// JSON is one value as in RFC 8259, in UTF-8 without a byte order mark. Beyond the grammar it
/// must mean one thing only: no duplicate keys, no halves of surrogate pairs, and no numbers
/// that a double cannot hold (see [`Problem`]).
///
/// Takes one pass without recursion. Memory is in proportion to the depth and to the keys of
/// the objects that are open; time to the length, with a sort where keys are out of order.
/// A duplicate key in an object that is out of order is found at the object's end, after any
/// other problem inside it.
///
/// ```
/// use reductor_json::{Deviation, DeviationKind, Form, Limits, Problem, check};
///
/// let limits = Limits::default();
/// assert_eq!(check(br#"{"a":1,"b":[]}"#, limits)?, Form::Canonical);
///
/// let deviation = Deviation { offset: 7, kind: DeviationKind::KeyOrder };
/// assert_eq!(check(br#"{"b":1,"a":[]}"#, limits)?, Form::Loose(deviation));
///
/// let error = check(br#"{"a":1,"a":2}"#, limits).expect_err("refused");
/// assert_eq!(error.to_string(), "duplicate key at byte 7");
/// # Ok::<(), reductor_json::Malformed>(())
/// ```
pub fn check(text: &[u8], limits: Limits) -> Result<Form, Malformed> {
    if let Err(error) = std::str::from_utf8(text) {
        return Err(Problem::NotUtf8.at(error.valid_up_to()));
    }
    if text.starts_with("\u{feff}".as_bytes()) {
        return Err(Problem::ByteOrderMark.at(0));
    }
    let checker =
        Checker { text, at: 0, depth_max: limits.depth_max, containers: Vec::new(), keys: Vec::new(), deviation: None };
    checker.run()
}

struct Checker<'a> {
    text: &'a [u8],
    at: usize,
    depth_max: usize,
    containers: Vec<Container>,
    /// Keys of the open objects, inner objects last.
    keys: Vec<Key>,
    deviation: Option<Deviation>,
}

#[derive(Clone, Copy)]
enum Container {
    Array,
    Object { first_key: usize, sorted: bool },
}

/// The content of a key's string.
#[derive(Clone, Copy)]
struct Key {
    start: usize,
    end: usize,
    escapes: Escapes,
}

impl Checker<'_> {
    fn run(mut self) -> Result<Form, Malformed> {
        'value: loop {
            match self.token()? {
                b'"' => {
                    self.string()?;
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b'{' => {
                    self.open(Container::Object { first_key: self.keys.len(), sorted: true })?;
                    if self.token()? != b'}' {
                        self.key()?;
                        continue 'value;
                    }
                }
                b'[' => {
                    self.open(Container::Array)?;
                    if self.token()? != b']' {
                        continue 'value;
                    }
                }
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                _ => return Err(Problem::ExpectedValue.at(self.at)),
            }
            // After a value, or before the end of a container that is empty.
            loop {
                let Some(&container) = self.containers.last() else {
                    return self.finish();
                };
                match (self.token()?, container) {
                    (b',', Container::Array) => {
                        self.at += 1;
                        continue 'value;
                    }
                    (b',', Container::Object { .. }) => {
                        self.at += 1;
                        self.key()?;
                        continue 'value;
                    }
                    (b']', Container::Array) => {}
                    (b'}', Container::Object { first_key, sorted }) => {
                        if !sorted {
                            self.refuse_duplicates(first_key)?;
                        }
                        self.keys.truncate(first_key);
                    }
                    (_, Container::Array) => {
                        return Err(Problem::ExpectedCommaOrBracket.at(self.at));
                    }
                    (_, Container::Object { .. }) => {
                        return Err(Problem::ExpectedCommaOrBrace.at(self.at));
                    }
                }
                self.at += 1;
                self.containers.pop();
            }
        }
    }

    fn finish(mut self) -> Result<Form, Malformed> {
        self.skip_whitespace();
        if self.at < self.text.len() {
            return Err(Problem::TrailingData.at(self.at));
        }
        Ok(self.deviation.map_or(Form::Canonical, Form::Loose))
    }

    /// The first byte of the next token, which stays where it is.
    #[inline(always)]
    fn token(&mut self) -> Result<u8, Malformed> {
        match self.text.get(self.at) {
            Some(&byte) if byte > b' ' => Ok(byte),
            _ => self.token_after_whitespace(),
        }
    }

    fn token_after_whitespace(&mut self) -> Result<u8, Malformed> {
        self.skip_whitespace();
        match self.text.get(self.at) {
            Some(&byte) => Ok(byte),
            None => Err(Problem::UnexpectedEnd.at(self.at)),
        }
    }

    fn skip_whitespace(&mut self) {
        let start = self.at;
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
        if self.at > start {
            self.deviate(start, DeviationKind::Whitespace);
        }
    }

    #[cold]
    fn deviate(&mut self, offset: usize, kind: DeviationKind) {
        self.deviation.get_or_insert(Deviation { offset, kind });
    }

    #[inline]
    fn open(&mut self, container: Container) -> Result<(), Malformed> {
        if self.containers.len() >= self.depth_max {
            let depth_max = self.depth_max;
            return Err(Problem::TooDeep { depth_max }.at(self.at));
        }
        self.containers.push(container);
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn literal(&mut self, name: &[u8]) -> Result<(), Malformed> {
        if !self.text[self.at..].starts_with(name) {
            return Err(self.bad_literal(name));
        }
        self.at += name.len();
        Ok(())
    }

    #[cold]
    fn bad_literal(&self, name: &[u8]) -> Malformed {
        if name.starts_with(&self.text[self.at..]) {
            return Problem::UnexpectedEnd.at(self.text.len());
        }
        Problem::ExpectedValue.at(self.at)
    }

    #[inline]
    fn number(&mut self) -> Result<(), Malformed> {
        let literal = Literal::read(&self.text[self.at..]).map_err(|at| self.bad_number(at))?;
        match literal.spelling() {
            Ok(Spelling::Canonical) => {}
            Ok(Spelling::Loose(_)) => self.deviate(self.at, DeviationKind::Number),
            Err(problem) => return Err(problem.at(self.at)),
        }
        self.at += literal.text().len();
        Ok(())
    }

    #[cold]
    fn bad_number(&self, at: usize) -> Malformed {
        let offset = self.at + at;
        if offset == self.text.len() {
            return Problem::UnexpectedEnd.at(offset);
        }
        Problem::InvalidNumber.at(offset)
    }

    /// Passes the string that begins here, and returns the end of its content.
    #[inline(always)]
    fn string(&mut self) -> Result<(usize, Escapes), Malformed> {
        let start = self.at + 1;
        let end = start + clean_run(&self.text[start..]);
        if self.text.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok((end, Escapes::None));
        }
        self.rest_of_string(end)
    }

    fn rest_of_string(&mut self, mut at: usize) -> Result<(usize, Escapes), Malformed> {
        loop {
            match self.text.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok((at, Escapes::Some));
                }
                Some(b'\\') => at += self.escape(at)?,
                Some(_) => return Err(Problem::ControlCharacter.at(at)),
                None => return Err(Problem::UnexpectedEnd.at(at)),
            }
            at += clean_run(&self.text[at..]);
        }
    }

    #[inline]
    fn escape(&mut self, at: usize) -> Result<usize, Malformed> {
        match read_escape(&self.text[at..]) {
            Ok(escape) => {
                if !escape.is_canonical(&self.text[at..at + escape.len]) {
                    self.deviate(at, DeviationKind::Escape);
                }
                Ok(escape.len)
            }
            Err(BadEscape::Cut) => Err(Problem::UnexpectedEnd.at(self.text.len())),
            Err(BadEscape::Unknown) => Err(Problem::InvalidEscape.at(at)),
            Err(BadEscape::LoneSurrogate) => Err(Problem::LoneSurrogate.at(at)),
        }
    }

    /// Passes a key and its colon.
    #[inline]
    fn key(&mut self) -> Result<(), Malformed> {
        if self.token()? != b'"' {
            return Err(Problem::ExpectedKey.at(self.at));
        }
        let start = self.at + 1;
        let (end, escapes) = self.string()?;
        self.note_key(Key { start, end, escapes })?;
        if self.token()? != b':' {
            return Err(Problem::ExpectedColon.at(self.at));
        }
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn note_key(&mut self, key: Key) -> Result<(), Malformed> {
        if let Some(Container::Object { first_key, sorted }) = self.containers.last_mut()
            && *sorted
            && let [.., previous] = &self.keys[*first_key..]
        {
            match previous.compare(&key, self.text) {
                Ordering::Less => {}
                Ordering::Equal => return Err(Problem::DuplicateKey.at(key.start - 1)),
                Ordering::Greater => {
                    *sorted = false;
                    self.deviate(key.start - 1, DeviationKind::KeyOrder);
                }
            }
        }
        self.keys.push(key);
        Ok(())
    }

    /// Refuses an object whose keys did not come in order if two of them are equal.
    #[cold]
    fn refuse_duplicates(&mut self, first_key: usize) -> Result<(), Malformed> {
        let (keys, text) = (&mut self.keys[first_key..], self.text);
        // Within equal keys by offset, so that the offset told is that of a repetition.
        keys.sort_unstable_by(|a, b| a.compare(b, text).then(a.start.cmp(&b.start)));
        let repeated =
            keys.array_windows().filter(|[a, b]| a.compare(b, text) == Ordering::Equal).map(|[_, b]| b.start - 1).min();
        match repeated {
            Some(offset) => Err(Problem::DuplicateKey.at(offset)),
            None => Ok(()),
        }
    }
}

impl Key {
    #[inline]
    fn compare(&self, other: &Self, text: &[u8]) -> Ordering {
        let escapes = match (self.escapes, other.escapes) {
            (Escapes::None, Escapes::None) => Escapes::None,
            _ => Escapes::Some,
        };
        let (a, b) = (&text[self.start..self.end], &text[other.start..other.end]);
        key::compare(a, b, escapes)
    }
}
