//! What can be wrong with a value that is encoded and with a text that is read.

use std::fmt;

/// A text that is not JSON, or JSON that cannot have a canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct Malformed {
    /// Byte offset of the problem, from the start of the text.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The text is not UTF-8.
    #[error("invalid UTF-8")]
    NotUtf8,
    /// The text begins with U+FEFF, which JSON does not allow.
    #[error("a byte order mark, which JSON does not allow,")]
    ByteOrderMark,
    /// The text ends before its value does.
    #[error("the text ends too early")]
    UnexpectedEnd,
    /// No value begins like this.
    #[error("expected a value")]
    ExpectedValue,
    /// In an object something other than a key in quotes.
    #[error("expected a key in double quotes")]
    ExpectedKey,
    /// A key without its colon.
    #[error("expected `:`")]
    ExpectedColon,
    /// In an object, after a member.
    #[error("expected `,` or `}}`")]
    ExpectedCommaOrBrace,
    /// In an array, after an element.
    #[error("expected `,` or `]`")]
    ExpectedCommaOrBracket,
    /// Something other than white space after the one value.
    #[error("unexpected data after the value")]
    TrailingData,
    /// A byte below 0x20 in a string.
    #[error("unescaped control character in a string")]
    ControlCharacter,
    /// A backslash that begins no escape of JSON.
    #[error("invalid escape")]
    InvalidEscape,
    /// An escape for half of a surrogate pair, for which there is no UTF-8.
    #[error("escape for half of a surrogate pair")]
    LoneSurrogate,
    /// A number outside the grammar, such as `01`, `1.` or `-`.
    #[error("invalid number")]
    InvalidNumber,
    /// A number too large for a double, such as `1e999`.
    #[error("number too large for a double; use a string")]
    NumberOutOfRange,
    /// An integer whose digits a double does not give back, such as `9007199254740993`.
    #[error("integer that a double cannot hold exactly; use a string")]
    IntegerInexact,
    /// A key that its object already has.
    #[error("duplicate key")]
    DuplicateKey,
    /// More arrays and objects inside each other than allowed.
    #[error("nested deeper than {depth_max} levels")]
    TooDeep {
        /// The limit that was set.
        depth_max: usize,
    },
    /// A text whose canonical form is longer than allowed.
    #[error("canonical form longer than {bytes_max} bytes")]
    TooLong {
        /// The limit that was set.
        bytes_max: usize,
    },
}

impl Problem {
    pub(crate) fn at(self, offset: usize) -> Malformed {
        Malformed { offset, problem: self }
    }
}

/// A value that has no canonical JSON.
///
/// Says where: [`path`](Self::path) leads from the encoded value to the offending one.
///
/// ```
/// use std::collections::BTreeMap;
///
/// let prices = BTreeMap::from([("items", vec![1.5, f64::NAN])]);
/// let error = reductor_json::to_vec(&prices).expect_err("NaN is not JSON");
/// assert_eq!(error.path(), "items[1]");
/// assert_eq!(
///     error.to_string(),
///     "items[1]: NaN is not a JSON number; use null or a string",
/// );
/// ```
// One pointer wide, so that the `Result` of every small step of encoding stays in a register.
pub struct EncodeError(Box<Details>);

struct Details {
    path: String,
    problem: EncodeProblem,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EncodeProblem {
    /// An integer beyond ±(2^53 − 1), which readers in JavaScript would round.
    #[error("integer {0} is beyond ±(2^53 - 1); use a string")]
    IntegerTooLarge(String),
    /// A float that is infinite or not a number.
    #[error("{0} is not a JSON number; use null or a string")]
    NotFinite(f64),
    /// A map whose key is not a string, character, integer, bool or unit variant.
    #[error("a key must be a string, not {0}; convert it, or use an array of pairs")]
    KeyNotString(&'static str),
    /// A map that gives a key twice, or a struct in which two fields have one name.
    #[error("duplicate key")]
    DuplicateKey,
    /// A `serde_json::value::RawValue` with a text that has no canonical form.
    #[error("embedded JSON: {0}")]
    RawValue(Malformed),
    /// A `serde_json::Number` built with `arbitrary_precision`.
    #[error("numbers of arbitrary precision are not supported; use a string")]
    ArbitraryPrecision,
    /// The value's own `Serialize` failed, in its own words.
    #[error("{0}")]
    Refused(String),
}

impl EncodeError {
    /// Where the offending value is, such as `items[3].price`; empty for the value itself.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &EncodeProblem {
        &self.0.problem
    }

    /// The same error as seen from the array that has the value at `index`.
    #[cold]
    pub(crate) fn in_element(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    /// The same error as seen from the object that has the value under `key`.
    #[cold]
    pub(crate) fn in_member(self, key: &str) -> Self {
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '$';
        if key.is_empty() || !key.chars().all(plain) {
            return self.within(&format!("[{key:?}]"));
        }
        self.within(key)
    }

    fn within(mut self, step: &str) -> Self {
        let path = &mut self.0.path;
        if !path.is_empty() && !path.starts_with('[') {
            path.insert(0, '.');
        }
        path.insert_str(0, step);
        self
    }
}

impl From<EncodeProblem> for EncodeError {
    #[cold]
    fn from(problem: EncodeProblem) -> Self {
        Self(Box::new(Details { path: String::new(), problem }))
    }
}

impl serde::ser::Error for EncodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        EncodeProblem::Refused(message.to_string()).into()
    }
}

impl std::error::Error for EncodeError {}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path().is_empty() {
            write!(f, "{}: ", self.path())?;
        }
        self.problem().fmt(f)
    }
}

impl fmt::Debug for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodeError").field("path", &self.path()).field("problem", self.problem()).finish()
    }
}
