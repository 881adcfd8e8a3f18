//! Encodes keys of maps: what serde_json makes a string of, and nothing else.

use serde::{Serialize, Serializer, ser::Impossible};

use crate::{
    EncodeError, EncodeProblem,
    number::write_integer,
    string::{Escapes, write_string},
};

/// Writes one key as a JSON string.
pub(crate) struct KeyEncoder<'a> {
    pub(crate) out: &'a mut Vec<u8>,
}

impl KeyEncoder<'_> {
    /// Integers in keys are digits in a string, so no double limits them.
    fn integer<I: itoa::Integer>(self, value: I) -> Result<Escapes, EncodeError> {
        self.out.push(b'"');
        write_integer(self.out, value);
        self.out.push(b'"');
        Ok(Escapes::None)
    }
}

fn refuse<T>(kind: &'static str) -> Result<T, EncodeError> {
    Err(EncodeProblem::KeyNotString(kind).into())
}

type Never = Impossible<Escapes, EncodeError>;

impl Serializer for KeyEncoder<'_> {
    type Ok = Escapes;
    type Error = EncodeError;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    #[inline]
    fn serialize_str(self, value: &str) -> Result<Escapes, EncodeError> {
        Ok(write_string(self.out, value))
    }

    fn serialize_char(self, value: char) -> Result<Escapes, EncodeError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_bool(self, value: bool) -> Result<Escapes, EncodeError> {
        self.serialize_str(if value { "true" } else { "false" })
    }

    fn serialize_i8(self, value: i8) -> Result<Escapes, EncodeError> {
        self.integer(value)
    }

    fn serialize_i16(self, value: i16) -> Result<Escapes, EncodeError> {
        self.integer(value)
    }

    fn serialize_i32(self, value: i32) -> Result<Escapes, EncodeError> {
        self.integer(value)
    }

    fn serialize_i64(self, value: i64) -> Result<Escapes, EncodeError> {
        self.integer(value)
    }

    fn serialize_i128(self, value: i128) -> Result<Escapes, EncodeError> {
        self.integer(value)
    }

    fn serialize_u8(self, value: u8) -> Result<Escapes, EncodeError> {
        self.integer(value)
    }

    fn serialize_u16(self, value: u16) -> Result<Escapes, EncodeError> {
        self.integer(value)
    }

    fn serialize_u32(self, value: u32) -> Result<Escapes, EncodeError> {
        self.integer(value)
    }

    fn serialize_u64(self, value: u64) -> Result<Escapes, EncodeError> {
        self.integer(value)
    }

    fn serialize_u128(self, value: u128) -> Result<Escapes, EncodeError> {
        self.integer(value)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Escapes, EncodeError> {
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Escapes, EncodeError> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Escapes, EncodeError> {
        value.serialize(self)
    }

    fn serialize_f32(self, _value: f32) -> Result<Escapes, EncodeError> {
        refuse("a float")
    }

    fn serialize_f64(self, _value: f64) -> Result<Escapes, EncodeError> {
        refuse("a float")
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result<Escapes, EncodeError> {
        refuse("bytes")
    }

    fn serialize_none(self) -> Result<Escapes, EncodeError> {
        refuse("None")
    }

    fn serialize_unit(self) -> Result<Escapes, EncodeError> {
        refuse("unit")
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Escapes, EncodeError> {
        refuse("unit")
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<Escapes, EncodeError> {
        refuse("an enum with data")
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Never, EncodeError> {
        refuse("a sequence")
    }

    fn serialize_tuple(self, _len: usize) -> Result<Never, EncodeError> {
        refuse("a tuple")
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Never, EncodeError> {
        refuse("a tuple")
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Never, EncodeError> {
        refuse("an enum with data")
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Never, EncodeError> {
        refuse("a map")
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Never, EncodeError> {
        refuse("a struct")
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Never, EncodeError> {
        refuse("an enum with data")
    }
}
