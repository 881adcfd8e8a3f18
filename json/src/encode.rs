//! Encodes values: a serde `Serializer` that writes canonical JSON in one pass.

use std::fmt::Display;

use serde::{Serialize, Serializer};

use crate::{
    EncodeError, EncodeProblem,
    encode_compound::{Around, ArrayEncoder, ObjectEncoder},
    number::{INTEGER_MAX, write_f64, write_integer},
    order::Order,
    string::write_string,
};

/// The struct by which `serde_json::value::RawValue` hands over its text.
const RAW_VALUE: &str = "$serde_json::private::RawValue";
/// The struct by which `serde_json::Number` does, with its feature `arbitrary_precision`.
const ARBITRARY_PRECISION: &str = "$serde_json::private::Number";

/// Encodes `value` as canonical JSON.
///
/// The shapes are serde_json's: enums are externally tagged, bytes are arrays of numbers, `None`
/// and unit are `null`, and keys that are integers, characters, bools or unit variants become
/// strings. Keys are put in order whatever order they come in; where they come in order, that
/// costs one comparison each. An `f32` is written as the `f64` of the same value, which is what
/// a reader of doubles would make of it: `0.1_f32` is `0.10000000149011612`.
///
/// Refuses integers beyond ±(2^53 − 1), floats that are not finite and duplicate keys, and says
/// where they are.
///
/// ```
/// #[derive(serde::Serialize)]
/// struct Item { title: &'static str, done: bool, price: Option<f64> }
///
/// let items = [Item { title: "bread", done: true, price: Some(2.50) }];
/// let text = reductor_json::to_vec(&items)?;
/// assert_eq!(text, br#"[{"done":true,"price":2.5,"title":"bread"}]"#);
///
/// let error = reductor_json::to_vec(&[0, u64::MAX]).expect_err("too large");
/// assert_eq!(
///     error.to_string(),
///     "[1]: integer 18446744073709551615 is beyond ±(2^53 - 1); use a string",
/// );
/// # Ok::<(), reductor_json::EncodeError>(())
/// ```
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    // Enough for most small values; large ones double their way up.
    let mut out = Vec::with_capacity(128);
    write(&mut out, value)?;
    Ok(out)
}

/// Encodes `value` as [`to_vec`] does, at the end of `out`.
///
/// After an error `out` is as it was. A buffer that is used again saves its allocation.
///
/// ```
/// let mut line = b"state: ".to_vec();
/// reductor_json::write(&mut line, &[1, 2])?;
/// assert_eq!(line, b"state: [1,2]");
/// # Ok::<(), reductor_json::EncodeError>(())
/// ```
pub fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    let base = out.len();
    let mut encoder = Encoder { out, order: Order::default() };
    match value.serialize(&mut encoder) {
        Ok(()) => {
            encoder.order.apply(out, base);
            Ok(())
        }
        Err(error) => {
            out.truncate(base);
            Err(error)
        }
    }
}

/// Writes one value after the other into one buffer.
pub(crate) struct Encoder<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) order: Order,
}

impl Encoder<'_> {
    #[inline]
    fn integer<I: itoa::Integer + Copy + Display>(&mut self, value: I, magnitude: u128) -> Result<(), EncodeError> {
        if magnitude > u128::from(INTEGER_MAX) {
            return Err(EncodeProblem::IntegerTooLarge(value.to_string()).into());
        }
        write_integer(self.out, value);
        Ok(())
    }
}

impl<'e, 'a> Serializer for &'e mut Encoder<'a> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = ArrayEncoder<'e, 'a>;
    type SerializeTuple = ArrayEncoder<'e, 'a>;
    type SerializeTupleStruct = ArrayEncoder<'e, 'a>;
    type SerializeTupleVariant = ArrayEncoder<'e, 'a>;
    type SerializeMap = ObjectEncoder<'e, 'a>;
    type SerializeStruct = ObjectEncoder<'e, 'a>;
    type SerializeStructVariant = ObjectEncoder<'e, 'a>;

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        let text: &[u8] = if value { b"true" } else { b"false" };
        self.out.extend_from_slice(text);
        Ok(())
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result<(), EncodeError> {
        self.serialize_i32(value.into())
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Result<(), EncodeError> {
        self.serialize_i32(value.into())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Result<(), EncodeError> {
        write_integer(self.out, value);
        Ok(())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<(), EncodeError> {
        self.integer(value, value.unsigned_abs().into())
    }

    #[inline]
    fn serialize_i128(self, value: i128) -> Result<(), EncodeError> {
        self.integer(value, value.unsigned_abs())
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), EncodeError> {
        write_integer(self.out, value);
        Ok(())
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<(), EncodeError> {
        self.serialize_u32(value.into())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<(), EncodeError> {
        write_integer(self.out, value);
        Ok(())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), EncodeError> {
        self.integer(value, value.into())
    }

    #[inline]
    fn serialize_u128(self, value: u128) -> Result<(), EncodeError> {
        self.integer(value, value)
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), EncodeError> {
        self.serialize_f64(value.into())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), EncodeError> {
        if !value.is_finite() {
            return Err(EncodeProblem::NotFinite(value).into());
        }
        write_f64(self.out, value);
        Ok(())
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        write_string(self.out, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        self.collect_seq(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let around = Around::Variant(variant);
        around.open(self.out);
        if let Err(error) = value.serialize(&mut *self) {
            return Err(around.locate(error));
        }
        around.close(self.out);
        Ok(())
    }

    #[inline]
    fn serialize_seq(self, _len: Option<usize>) -> Result<ArrayEncoder<'e, 'a>, EncodeError> {
        Ok(ArrayEncoder::begin(self, Around::Nothing))
    }

    #[inline]
    fn serialize_tuple(self, _len: usize) -> Result<ArrayEncoder<'e, 'a>, EncodeError> {
        Ok(ArrayEncoder::begin(self, Around::Nothing))
    }

    #[inline]
    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<ArrayEncoder<'e, 'a>, EncodeError> {
        Ok(ArrayEncoder::begin(self, Around::Nothing))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<ArrayEncoder<'e, 'a>, EncodeError> {
        Ok(ArrayEncoder::begin(self, Around::Variant(variant)))
    }

    #[inline]
    fn serialize_map(self, _len: Option<usize>) -> Result<ObjectEncoder<'e, 'a>, EncodeError> {
        Ok(ObjectEncoder::begin(self, Around::Nothing))
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<ObjectEncoder<'e, 'a>, EncodeError> {
        match name {
            RAW_VALUE => Ok(ObjectEncoder::of_json_text(self)),
            ARBITRARY_PRECISION => Err(EncodeProblem::ArbitraryPrecision.into()),
            _ => Ok(ObjectEncoder::begin(self, Around::Nothing)),
        }
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<ObjectEncoder<'e, 'a>, EncodeError> {
        Ok(ObjectEncoder::begin(self, Around::Variant(variant)))
    }
}
