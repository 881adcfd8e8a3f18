//! Rewrites any JSON text to its canonical form.
//!
//! [`check`] goes first and refuses what has no canonical form, so the rewriting itself fails
//! only at a bound on the length, and looks at nothing twice.

use std::borrow::Cow;

use crate::{
    Form, Limits, Malformed, Problem, check,
    number::{Literal, Spelling, write_f64},
    order::{Object, Order},
    string::{Escapes, clean_run, read_escape, rewrite_content},
};

/// Returns the canonical form of a JSON text.
///
/// Refuses what [`check`] refuses. Needs no stack for deeply nested texts and time in proportion
/// to the length of the text, whatever order its keys are in (sorting them apart).
///
/// ```
/// use reductor_json::{Limits, canonicalize};
///
/// let text = canonicalize(br#" {"b": [1.50, "\/"], "a": -0} "#, Limits::default())?;
/// assert_eq!(text, br#"{"a":0,"b":[1.5,"/"]}"#);
/// # Ok::<(), reductor_json::Malformed>(())
/// ```
pub fn canonicalize(text: &[u8], limits: Limits) -> Result<Vec<u8>, Malformed> {
    canonical(text, limits).map(Cow::into_owned)
}

/// Returns the canonical form of a JSON text: the text itself where it already is canonical.
///
/// ```
/// use std::borrow::Cow;
/// use reductor_json::{Limits, canonical};
///
/// assert!(matches!(canonical(b"[1]", Limits::default())?, Cow::Borrowed(_)));
/// assert!(matches!(canonical(b"[1.0]", Limits::default())?, Cow::Owned(_)));
/// # Ok::<(), reductor_json::Malformed>(())
/// ```
pub fn canonical(text: &[u8], limits: Limits) -> Result<Cow<'_, [u8]>, Malformed> {
    canonical_within(text, limits, usize::MAX)
}

/// Returns the canonical form of a JSON text if it has at most `bytes_max` bytes.
///
/// A canonical form may be longer than the text it comes from: `1e20` becomes
/// `100000000000000000000`. Here it is given up where it passes the bound, so the memory that it
/// takes follows from the bound and the length of the text.
///
/// # Errors
///
/// [`Malformed`], as for [`canonical`]; with [`Problem::TooLong`] where the bound is passed.
///
/// ```
/// use reductor_json::{Limits, Problem, canonical_within};
///
/// let limits = Limits::default();
/// assert_eq!(canonical_within(b"[1e4]", limits, 7)?, &b"[10000]"[..]);
/// let error = canonical_within(b"[1e4]", limits, 6).expect_err("it has seven bytes");
/// assert_eq!(error.problem, Problem::TooLong { bytes_max: 6 });
/// # Ok::<(), reductor_json::Malformed>(())
/// ```
pub fn canonical_within(text: &[u8], limits: Limits, bytes_max: usize) -> Result<Cow<'_, [u8]>, Malformed> {
    match check(text, limits)? {
        Form::Canonical if text.len() > bytes_max => Err(Problem::TooLong { bytes_max }.at(bytes_max)),
        Form::Canonical => Ok(Cow::Borrowed(text)),
        Form::Loose(_) => Rewriter::new(text, bytes_max).run().map(Cow::Owned),
    }
}

/// Goes through a text that was checked, token by token.
struct Rewriter<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    bytes_max: usize,
    order: Order,
    /// The open containers; `None` is an array.
    containers: Vec<Option<Object>>,
    /// Whether the next string is a key.
    expects_key: bool,
}

impl<'a> Rewriter<'a> {
    fn new(text: &'a [u8], bytes_max: usize) -> Self {
        Self {
            text,
            at: 0,
            out: Vec::with_capacity(text.len().min(bytes_max)),
            bytes_max,
            order: Order::default(),
            containers: Vec::new(),
            expects_key: false,
        }
    }

    fn run(mut self) -> Result<Vec<u8>, Malformed> {
        while let Some(&byte) = self.text.get(self.at) {
            let begins_at = self.at;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'"' => self.string(),
                b'-' | b'0'..=b'9' => self.number(),
                b'{' => {
                    self.containers.push(Some(self.order.open(self.out.len())));
                    self.expects_key = true;
                    self.copy(1);
                }
                b'[' => {
                    self.containers.push(None);
                    self.copy(1);
                }
                b'}' | b']' => {
                    let container = self.containers.pop().expect("brackets match");
                    if let Some(object) = container {
                        self.order.close(object, &mut self.out).expect("the keys were checked");
                    }
                    self.copy(1);
                }
                b',' => {
                    self.expects_key = matches!(self.containers.last(), Some(Some(_)));
                    self.copy(1);
                }
                b':' => self.copy(1),
                b'f' => self.copy(5),
                _ => self.copy(4),
            }
            // Putting members in order later moves bytes, and changes no length.
            if self.out.len() > self.bytes_max {
                return Err(Problem::TooLong { bytes_max: self.bytes_max }.at(begins_at));
            }
        }
        self.order.apply(&mut self.out, 0);
        Ok(self.out)
    }

    /// Copies bytes that are the same in canonical form.
    #[inline]
    fn copy(&mut self, len: usize) {
        let end = self.at + len;
        self.out.extend_from_slice(&self.text[self.at..end]);
        self.at = end;
    }

    fn number(&mut self) {
        let literal = Literal::read(&self.text[self.at..]).expect("the numbers were checked");
        match literal.spelling().expect("the numbers were checked") {
            Spelling::Canonical => self.copy(literal.text().len()),
            Spelling::Loose(value) => {
                write_f64(&mut self.out, value);
                self.at += literal.text().len();
            }
        }
    }

    #[inline]
    fn string(&mut self) {
        let start = self.out.len();
        let run = clean_run(&self.text[self.at + 1..]);
        let escapes = match self.text[self.at + 1 + run] {
            b'"' => {
                self.copy(run + 2);
                Escapes::None
            }
            _ => self.string_with_escapes(),
        };
        if std::mem::take(&mut self.expects_key) {
            let object = self.containers.last_mut().and_then(Option::as_mut);
            let object = object.expect("a key has an object");
            self.order.member(object, &self.out, start, escapes).expect("the keys were checked");
        }
    }

    fn string_with_escapes(&mut self) -> Escapes {
        let content = &self.text[self.at + 1..];
        let mut len = clean_run(content);
        while content[len] == b'\\' {
            let escape = read_escape(&content[len..]).expect("the strings were checked");
            len += escape.len;
            len += clean_run(&content[len..]);
        }
        self.out.push(b'"');
        let escapes = rewrite_content(&mut self.out, &content[..len]);
        self.out.push(b'"');
        self.at += len + 2;
        escapes
    }
}
