//! The names of things: one type per kind of id, cheap to clone.
//!
//! Every id is a string on the wire. In memory it is a shared one, so that a job, its
//! operations and its events can all carry it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The shared text itself, for whoever keeps it.
            pub fn shared(&self) -> Arc<str> {
                self.0.clone()
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<Arc<str>> for $name {
            fn from(text: Arc<str>) -> Self {
                Self(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// Names a document.
    DocumentId
}
id! {
    /// Names a line of history of a document; `main` unless said otherwise.
    Branch
}
id! {
    /// Names a part of a document's state that has a stream of operations of its own.
    Scope
}
id! {
    /// Names a document model, such as `example/counter`.
    DocumentType
}
id! {
    /// Names an action; unique within its stream (document, scope, branch).
    ActionId
}
id! {
    /// Names what an action does, such as `INCREMENT`.
    ActionType
}
id! {
    /// Names a job. The queue makes them: UUIDs of version 7, so that they sort by time.
    JobId
}
id! {
    /// Names a submission in its client's words, so that submitting it again makes no second job.
    IdempotencyKey
}
id! {
    /// The hash of a state, as text: SHA-256 in base64.
    StateHash
}

impl Branch {
    /// The branch of a submission that names none.
    pub const MAIN: &'static str = "main";
}

impl Scope {
    /// The scope of an action that names none.
    pub const GLOBAL: &'static str = "global";
    /// The host's own scope: how the document was created. Reducers never see it.
    pub const DOCUMENT: &'static str = "document";
}

impl JobId {
    /// Makes an id that no other job has.
    pub fn generate() -> Self {
        let mut text = uuid::Uuid::encode_buffer();
        Self::from(&*uuid::Uuid::now_v7().hyphenated().encode_lower(&mut text))
    }
}

impl ActionId {
    /// Makes an id for an action that came without one.
    pub fn generate() -> Self {
        Self(JobId::generate().0)
    }
}

/// Names a lane: one branch of one document. Its jobs run one at a time, in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey {
    /// The document.
    pub document: DocumentId,
    /// Its branch.
    pub branch: Branch,
}

impl fmt::Display for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.document, self.branch)
    }
}

/// Names an operation: the first 128 bits of the SHA-1 of `documentId:scope:branch:actionId`,
/// 32 hexadecimal digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationId([u8; 16]);

impl OperationId {
    /// The id of these bits, as a store kept them.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bits.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Takes the first 16 bytes of a digest.
    pub(crate) fn from_digest(digest: &[u8]) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(bytes)
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationId({self})")
    }
}

impl Serialize for OperationId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OperationId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        // `from_str_radix` takes a sign, too.
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(serde::de::Error::custom("an operation id has 32 hexadecimal digits"));
        }
        u128::from_str_radix(&text, 16).map(|number| Self(number.to_be_bytes())).map_err(serde::de::Error::custom)
    }
}
