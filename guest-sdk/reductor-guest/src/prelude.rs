//! Everything a model usually needs: `use reductor_guest::prelude::*`.

pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};

pub use crate::{
    Context, Dispatch, Level, Reducer, Rejection, Signer, Snapshot, SnapshotError, ensure, reject, rejection,
};
