//! JSON texts that pass through the host untouched.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A JSON text, kept byte for byte as it came, cheap to clone.
///
/// Inputs of actions are signed and hashed by others, so the host must not respell them.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Arc<str>);

impl Json {
    /// The text `null`.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// Takes `text`, if it is JSON.
    ///
    /// # Errors
    ///
    /// What makes it not JSON, with line and column.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(|raw| Self(raw.get().into()))
    }

    /// Spells `value` as JSON.
    pub fn from_value(value: &serde_json::Value) -> Self {
        Self(value.to_string().into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared bytes of the text, without copying them.
    pub fn shared_bytes(&self) -> Arc<[u8]> {
        Arc::from(self.0.clone())
    }

    /// Whether both texts mean the same value, however they are spelled.
    pub fn same_value(&self, other: &Self) -> bool {
        let limits = reductor_json::Limits::default();
        let canonical = |json: &Self| reductor_json::canonicalize(json.0.as_bytes(), limits).ok();
        self == other || canonical(self).is_some_and(|text| canonical(other) == Some(text))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).expect("a Json holds nothing but JSON").serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Box::<str>::from(raw).into()))
    }
}
