//! A text that is cheap to edit anywhere and cheap to write out.

use std::fmt;

use ropey::Rope;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text in a rope; a string at rest.
#[derive(Default)]
pub(crate) struct Content(Rope);

impl Content {
    /// Replaces `deleted` code points from `position` on, or returns the length of the text
    /// that they reach beyond.
    pub(crate) fn replace(&mut self, position: u32, deleted: u32, inserted: &str) -> Result<(), usize> {
        let length = self.0.len_chars();
        let position = position as usize;
        let end = position.checked_add(deleted as usize).filter(|end| *end <= length).ok_or(length)?;
        self.0.remove(position..end);
        self.0.insert(position, inserted);
        Ok(())
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(self.0.len_bytes());
        self.0.chunks().for_each(|chunk| text.push_str(chunk));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content(Rope::from_str(text)))
            }
        }

        deserializer.deserialize_str(Text)
    }
}
