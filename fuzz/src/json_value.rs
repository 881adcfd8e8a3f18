//! Any value: encode it, and compare with the independent implementation.

use std::collections::HashSet;

use arbitrary::{Arbitrary, Unstructured};
use reductor_json::{EncodeProblem, Form, Limits, check, to_vec, write};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::oracle;

/// The largest integer that the encoder takes.
const INTEGER_MAX: u128 = (1 << 53) - 1;
/// However deep a value is that fits the input.
const NO_LIMIT: Limits = Limits { depth_max: usize::MAX };

/// Makes a value of `data` and encodes it.
///
/// The encoder refuses it if and only if it has something that has no canonical text; else it
/// writes what the independent implementation does.
///
/// # Panics
///
/// If that does not hold.
pub fn json_value(data: &[u8]) {
    let Ok(value) = Value::arbitrary(&mut Unstructured::new(data)) else { return };
    let mut findings = Findings::default();
    findings.look_into(&value);
    let Findings { faults, doubles } = findings;
    let mut buffer = b"before".to_vec();
    let appended = write(&mut buffer, &value);
    match to_vec(&value) {
        Ok(text) => {
            assert_eq!(faults, Faults::default(), "it should be refused");
            let theirs = serde_json::to_value(&value).and_then(|value| oracle::encode(&value));
            assert_eq!(String::from_utf8(text.clone()).ok(), theirs.ok().and_then(|text| String::from_utf8(text).ok()));
            assert_eq!(check(&text, NO_LIMIT), Ok(Form::Canonical));
            assert_eq!(buffer, [b"before", &text[..]].concat());
        }
        Err(error) => {
            assert!(appended.is_err());
            assert_eq!(buffer, b"before", "after an error the buffer is as it was");
            let named = match error.problem() {
                EncodeProblem::IntegerTooLarge(_) => faults.integer,
                EncodeProblem::NotFinite(_) => faults.float,
                EncodeProblem::DuplicateKey => faults.duplicate,
                _ => false,
            };
            assert!(named, "it has no such fault: {error}");
        }
    }
    doubles.into_iter().for_each(spelled_as_ecmascript_does);
}

fn spelled_as_ecmascript_does(value: f64) {
    let text = to_vec(&value).expect("a finite double has a canonical text");
    assert_eq!(String::from_utf8(text).ok(), Some(oracle::spell(value)));
}

/// A value in every shape that serde knows.
#[derive(Arbitrary, Debug, serde::Serialize)]
enum Value {
    Unit,
    Null(()),
    Bool(bool),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    I128(i128),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    U128(u128),
    F32(f32),
    F64(f64),
    /// A number with few digits, which random bits rarely give.
    Decimal(Decimal),
    Char(char),
    Text(String),
    Bytes(Bytes),
    Option(Option<Box<Value>>),
    Sequence(Vec<Value>),
    Tuple(Box<Value>, bool),
    Struct {
        zulu: Box<Value>,
        #[serde(rename = "\u{ff5e}")]
        private: bool,
        #[serde(rename = "😀\"\\\n")]
        odd: u8,
        alpha: Option<i32>,
    },
    Map(Map),
}

#[derive(Arbitrary, Debug)]
struct Decimal {
    digits: i32,
    exponent: i8,
}

impl Decimal {
    fn value(&self) -> f64 {
        f64::from(self.digits) * 10_f64.powi((self.exponent % 32).into())
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.value())
    }
}

#[derive(Arbitrary, Debug)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

/// Members in any order, perhaps with a key twice.
#[derive(Arbitrary, Debug)]
struct Map(Vec<(Key, Value)>);

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[derive(Arbitrary, Debug, serde::Serialize)]
#[serde(untagged)]
enum Key {
    Text(String),
    Char(char),
    Bool(bool),
    Integer(i64),
    Variant(Variant),
}

#[derive(Arbitrary, Debug, serde::Serialize)]
enum Variant {
    Integer,
    #[serde(rename = "é")]
    Accent,
}

impl Key {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Char(char) => char.to_string(),
            Self::Bool(bool) => bool.to_string(),
            Self::Integer(integer) => integer.to_string(),
            Self::Variant(Variant::Integer) => "Integer".to_owned(),
            Self::Variant(Variant::Accent) => "é".to_owned(),
        }
    }
}

/// What there is in a value that has no canonical text, found without encoding it.
#[derive(Debug, Default, PartialEq)]
struct Faults {
    integer: bool,
    float: bool,
    duplicate: bool,
}

#[derive(Debug, Default)]
struct Findings {
    faults: Faults,
    /// The doubles that have a canonical text.
    doubles: Vec<f64>,
}

impl Findings {
    fn look_into(&mut self, value: &Value) {
        match value {
            Value::I64(value) => self.integer(value.unsigned_abs().into()),
            Value::I128(value) => self.integer(value.unsigned_abs()),
            Value::U64(value) => self.integer((*value).into()),
            Value::U128(value) => self.integer(*value),
            Value::F32(value) => self.double((*value).into()),
            Value::F64(value) => self.double(*value),
            Value::Decimal(decimal) => self.double(decimal.value()),
            Value::Option(Some(value)) | Value::Tuple(value, _) | Value::Struct { zulu: value, .. } => {
                self.look_into(value);
            }
            Value::Sequence(values) => values.iter().for_each(|value| self.look_into(value)),
            Value::Map(Map(members)) => {
                let mut keys = HashSet::new();
                for (key, value) in members {
                    self.faults.duplicate |= !keys.insert(key.text());
                    self.look_into(value);
                }
            }
            _ => {}
        }
    }

    fn integer(&mut self, magnitude: u128) {
        self.faults.integer |= magnitude > INTEGER_MAX;
    }

    fn double(&mut self, value: f64) {
        if value.is_finite() {
            self.doubles.push(value);
        } else {
            self.faults.float = true;
        }
    }
}
