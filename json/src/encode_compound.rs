//! Encodes what is inside arrays and objects.

use std::ops::Range;

use serde::{
    Serialize,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
        SerializeTupleVariant,
    },
};

use crate::{
    EncodeError, EncodeProblem, Limits, canonical,
    encode::Encoder,
    encode_key::KeyEncoder,
    order::{DuplicateKey, Object},
    string::{Escapes, unescape, write_string},
};

/// What stands around an array or an object.
#[derive(Clone, Copy)]
pub(crate) enum Around {
    Nothing,
    /// The object with one member by which an enum tells its variant.
    Variant(&'static str),
}

impl Around {
    #[inline]
    pub(crate) fn open(self, out: &mut Vec<u8>) {
        if let Self::Variant(variant) = self {
            out.push(b'{');
            write_string(out, variant);
            out.push(b':');
        }
    }

    #[inline]
    pub(crate) fn close(self, out: &mut Vec<u8>) {
        if let Self::Variant(_) = self {
            out.push(b'}');
        }
    }

    /// The error as seen from outside.
    #[cold]
    pub(crate) fn locate(self, error: EncodeError) -> EncodeError {
        match self {
            Self::Nothing => error,
            Self::Variant(variant) => error.in_member(variant),
        }
    }
}

/// Encodes the elements of an array.
pub(crate) struct ArrayEncoder<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    len: usize,
    around: Around,
}

impl<'e, 'a> ArrayEncoder<'e, 'a> {
    #[inline]
    pub(crate) fn begin(encoder: &'e mut Encoder<'a>, around: Around) -> Self {
        around.open(encoder.out);
        encoder.out.push(b'[');
        Self { encoder, len: 0, around }
    }

    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        if self.len > 0 {
            self.encoder.out.push(b',');
        }
        if let Err(error) = value.serialize(&mut *self.encoder) {
            return Err(self.around.locate(error.in_element(self.len)));
        }
        self.len += 1;
        Ok(())
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        self.encoder.out.push(b']');
        self.around.close(self.encoder.out);
        Ok(())
    }
}

/// Encodes the members of an object.
pub(crate) struct ObjectEncoder<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    object: Object,
    content: Content,
    around: Around,
}

/// What the one who calls takes for an object.
enum Content {
    Members,
    /// The pretended struct of a `RawValue`: its only field is a JSON text.
    JsonText,
}

impl<'e, 'a> ObjectEncoder<'e, 'a> {
    #[inline]
    pub(crate) fn begin(encoder: &'e mut Encoder<'a>, around: Around) -> Self {
        around.open(encoder.out);
        let object = encoder.order.open(encoder.out.len());
        encoder.out.push(b'{');
        Self { encoder, object, content: Content::Members, around }
    }

    pub(crate) fn of_json_text(encoder: &'e mut Encoder<'a>) -> Self {
        let object = encoder.order.open(encoder.out.len());
        Self { encoder, object, content: Content::JsonText, around: Around::Nothing }
    }

    /// Writes what goes in front of a key, and returns where the key begins.
    #[inline]
    fn before_key(&mut self) -> usize {
        if !self.object.is_empty() {
            self.encoder.out.push(b',');
        }
        self.encoder.out.len()
    }

    #[inline]
    fn after_key(&mut self, start: usize, escapes: Escapes) -> Result<(), EncodeError> {
        let Encoder { out, order } = &mut *self.encoder;
        let noted = order.member(&mut self.object, out, start, escapes);
        out.push(b':');
        noted.map_err(|duplicate| self.around.locate(duplicate_key(out, duplicate)))
    }

    #[inline]
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        match value.serialize(&mut *self.encoder) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.in_last_member(error)),
        }
    }

    #[cold]
    fn in_last_member(&self, error: EncodeError) -> EncodeError {
        let key = key_text(self.encoder.out, self.object.last_key());
        self.around.locate(error.in_member(&key))
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), EncodeError> {
        if let Content::JsonText = self.content {
            return self.json_text(value);
        }
        let start = self.before_key();
        let escapes = write_string(self.encoder.out, key);
        self.after_key(start, escapes)?;
        self.value(value)
    }

    /// Writes a JSON text, given as a string, in its canonical form.
    fn json_text<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        // A string is all that a `RawValue` hands over; encoding it and taking it back spares a
        // second serializer that could do nothing but receive one.
        let start = self.encoder.out.len();
        value.serialize(&mut *self.encoder)?;
        let out = &mut *self.encoder.out;
        let text = unescape(&out[start + 1..out.len() - 1]);
        let text = canonical(&text, Limits::default()).map_err(EncodeProblem::RawValue)?;
        out.truncate(start);
        out.extend_from_slice(&text);
        Ok(())
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        let Encoder { out, order } = &mut *self.encoder;
        if let Err(duplicate) = order.close(self.object, out) {
            return Err(self.around.locate(duplicate_key(out, duplicate)));
        }
        out.push(b'}');
        self.around.close(out);
        Ok(())
    }
}

#[cold]
fn duplicate_key(out: &[u8], DuplicateKey { key }: DuplicateKey) -> EncodeError {
    EncodeError::from(EncodeProblem::DuplicateKey).in_member(&key_text(out, key))
}

fn key_text(out: &[u8], key: Range<usize>) -> String {
    String::from_utf8_lossy(&unescape(&out[key.start + 1..key.end - 1])).into_owned()
}

impl SerializeSeq for ArrayEncoder<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.element(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl SerializeTuple for ArrayEncoder<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.element(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl SerializeTupleStruct for ArrayEncoder<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.element(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl SerializeTupleVariant for ArrayEncoder<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.element(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl SerializeMap for ObjectEncoder<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        let start = self.before_key();
        let escapes = key.serialize(KeyEncoder { out: self.encoder.out })?;
        self.after_key(start, escapes)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.value(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl SerializeStruct for ObjectEncoder<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), EncodeError> {
        self.field(key, value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        match self.content {
            Content::Members => self.finish(),
            Content::JsonText => Ok(()),
        }
    }
}

impl SerializeStructVariant for ObjectEncoder<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), EncodeError> {
        self.field(key, value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}
