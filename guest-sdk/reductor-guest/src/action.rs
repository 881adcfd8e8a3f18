//! Decodes an action straight from its type and the bytes of its input.

use std::cell::Cell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use crate::Rejection;
use crate::locate;
use crate::model::ActionRef;
use crate::nearest::nearest;
use crate::wording::shorten;

/// Decodes `action` into an externally tagged enum, or says why it does not fit.
pub(crate) fn decode<A: DeserializeOwned>(action: &ActionRef<'_>) -> Result<A, Rejection> {
    let variants = Cell::new(None);
    A::deserialize(Tagged { tag: action.action_type, input: action.input, variants: &variants })
        .map_err(|failure| failure.into_rejection(action))
}

/// The variants of an enum as serde knows them; `None` if it is no externally tagged enum.
pub(crate) fn variants_of<A: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let variants = Cell::new(None);
    // The outcome does not matter: serde hands over the names before it looks at the tag.
    let _ = A::deserialize(Tagged { tag: "", input: b"null", variants: &variants });
    variants.get()
}

/// Why an action could not be decoded.
#[derive(Debug)]
enum Failure {
    UnknownType { known: &'static [&'static str] },
    Input(serde_json::Error),
}

impl Failure {
    fn into_rejection(self, action: &ActionRef<'_>) -> Rejection {
        match self {
            // Without the action's type, which the host puts before every rejection.
            Self::Input(error) => {
                Rejection::new(Rejection::INVALID_INPUT, locate::describe(&error, action.input, "input"))
            }
            Self::UnknownType { known } => {
                let hint = match nearest(action.action_type, known) {
                    Some(nearest) => format!(", did you mean {nearest}?"),
                    None => ";".to_owned(),
                };
                let (name, known) = (shorten(action.action_type), known.join(", "));
                Rejection::new(
                    Rejection::UNKNOWN_ACTION,
                    format!("unknown action {name:?}{hint} this model knows {known}"),
                )
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType { .. } => f.write_str("unknown action"),
            Self::Input(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Input(de::Error::custom(message))
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownType { known }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Input(error)
    }
}

/// An enum whose tag and content lie apart: `action.type` and `action.input`.
struct Tagged<'a> {
    tag: &'a str,
    input: &'a [u8],
    /// Where to leave the names of all variants.
    variants: &'a Cell<Option<&'static [&'static str]>>,
}

impl<'de> Deserializer<'de> for Tagged<'de> {
    type Error = Failure;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.variants.set(Some(variants));
        visitor.visit_enum(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Failure> {
        Err(de::Error::custom("the actions of this model are not an externally tagged enum"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Tagged<'de> {
    type Error = Failure;
    type Variant = Input<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Input<'de>), Failure> {
        let tag: StrDeserializer<'_, Failure> = self.tag.into_deserializer();
        let input = if self.input.is_empty() { b"null" } else { self.input };
        Ok((seed.deserialize(tag)?, Input(input)))
    }
}

/// The content of a variant: a JSON text.
struct Input<'de>(&'de [u8]);

impl<'de> Input<'de> {
    fn decode<T>(
        self,
        decode: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::SliceRead<'de>>) -> serde_json::Result<T>,
    ) -> Result<T, Failure> {
        let mut input = serde_json::Deserializer::from_slice(self.0);
        let value = decode(&mut input)?;
        input.end()?;
        Ok(value)
    }
}

impl<'de> VariantAccess<'de> for Input<'de> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        let input = self.0.trim_ascii();
        let nothing = match input {
            [b'{', inner @ .., b'}'] => inner.trim_ascii().is_empty(),
            _ => input == b"null",
        };
        if nothing { Ok(()) } else { Err(de::Error::custom("this action takes no input: expected null or {}")) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        self.decode(|input| seed.deserialize(input))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.decode(|input| input.deserialize_seq(visitor))
    }

    /// As a map: `deserialize_struct` would take an array of the fields as well, which the
    /// schema of the action does not allow.
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Failure> {
        self.decode(|input| input.deserialize_map(Members { fields, visitor }))
    }
}

/// The visitor of a struct variant, which lists its fields where it meets no object; serde's
/// would give the name of its Rust type.
struct Members<V> {
    fields: &'static [&'static str],
    visitor: V,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Members<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")?;
        for (index, field) in self.fields.iter().enumerate() {
            write!(f, "{}`{field}`", if index == 0 { " of " } else { ", " })?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    enum Action {
        Reset,
        Add(i64),
        Move(i64, i64),
        Rename { name: String, note: Option<String> },
    }

    fn decoded(action_type: &str, input: &str) -> Result<Action, String> {
        let action = ActionRef { action_type, input: input.as_bytes(), ..ActionRef::EXAMPLE };
        decode(&action).map_err(|rejection| rejection.to_string())
    }

    #[track_caller]
    fn refused(action_type: &str, input: &str, expected: &str) {
        assert_eq!(decoded(action_type, input), Err(expected.to_owned()));
    }

    #[test]
    fn every_kind_of_variant_is_decoded_from_the_input() {
        assert_eq!(decoded("ADD", " 7 "), Ok(Action::Add(7)));
        assert_eq!(decoded("MOVE", "[1,2]"), Ok(Action::Move(1, 2)));
        assert_eq!(decoded("RENAME", r#"{"name":"\u00e4"}"#), Ok(Action::Rename { name: "ä".to_owned(), note: None }));
    }

    #[test]
    fn a_unit_variant_takes_null_an_empty_object_or_nothing() {
        for input in ["null", "{}", "", " { } "] {
            assert_eq!(decoded("RESET", input), Ok(Action::Reset), "{input:?}");
        }
        for input in ["0", "[]", r#"{"a":1}"#, "nul", "{", "}"] {
            refused("RESET", input, "INVALID_INPUT: input: this action takes no input: expected null or {}");
        }
    }

    #[test]
    fn an_unknown_type_is_answered_with_the_known_ones() {
        let known = "this model knows RESET, ADD, MOVE, RENAME";
        refused(
            "RENAMED",
            "null",
            &format!("UNKNOWN_ACTION: unknown action \"RENAMED\", did you mean RENAME? {known}"),
        );
        refused("rename", "null", &format!("UNKNOWN_ACTION: unknown action \"rename\", did you mean RENAME? {known}"));
        refused("PUBLISH", "null", &format!("UNKNOWN_ACTION: unknown action \"PUBLISH\"; {known}"));
    }

    #[test]
    fn an_input_that_does_not_fit_is_located() {
        refused("ADD", r#""7""#, "INVALID_INPUT: input: expected an integer, found \"7\"");
        refused("ADD", "7 8", "INVALID_INPUT: input: trailing characters");
        refused("ADD", "", "INVALID_INPUT: input: expected an integer, found null");
        refused("MOVE", "null", "INVALID_INPUT: input: expected an array, found null");
        refused("MOVE", "[1]", "INVALID_INPUT: input: expected an array of length 2, found a length of 1");
        refused("MOVE", "[1,null]", "INVALID_INPUT: input[1]: expected an integer, found null");
        refused("MOVE", "[1,2,3]", "INVALID_INPUT: input[2]: trailing characters");
        refused("RENAME", "{}", "INVALID_INPUT: input: missing field `name`");
        for (input, found) in [("null", "null"), (r#"["a",null]"#, "an array"), (r#""a""#, r#""a""#)] {
            refused(
                "RENAME",
                input,
                &format!("INVALID_INPUT: input: expected an object of `name`, `note`, found {found}"),
            );
        }
    }

    #[test]
    fn an_enum_of_another_shape_has_no_variants() {
        #[derive(Deserialize)]
        #[serde(tag = "type")]
        enum Internal {
            #[expect(dead_code, reason = "never constructed")]
            Add { by: i64 },
        }
        assert!(variants_of::<Internal>().is_none());
        assert_eq!(variants_of::<Action>(), Some(["RESET", "ADD", "MOVE", "RENAME"].as_slice()));
    }
}
