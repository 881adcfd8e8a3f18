//! `test/stock`: how much there is of something, in three revisions.
//!
//! The state of the first is `{"count":0}`. The feature `owner` adds a field that has a default,
//! and the feature `version-2` changes the shape to `{"units":0}`, with an upgrade.

use reductor_guest::prelude::*;

/// How much there is.
#[derive(Default, Serialize, Deserialize)]
pub struct Stock {
    #[cfg_attr(feature = "version-2", serde(rename = "units"))]
    count: i64,
    /// Whose it is.
    #[cfg(feature = "owner")]
    #[serde(default)]
    owner: String,
}

/// What can happen to a stock.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StockAction {
    /// Something comes in.
    Receive {
        /// How much.
        by: i64,
    },
}

impl Reducer for Stock {
    const DOCUMENT_TYPE: &'static str = "test/stock";
    const VERSION: u32 = if cfg!(feature = "version-2") { 2 } else { 1 };
    type Action = StockAction;

    fn apply(&mut self, action: StockAction, _: &mut Context) -> Result<(), Rejection> {
        let StockAction::Receive { by } = action;
        self.count += by;
        Ok(())
    }

    #[cfg(feature = "version-2")]
    fn upgrade(from_version: u32, snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        #[derive(Deserialize)]
        struct Version1 {
            count: i64,
        }

        if from_version != 1 {
            return Err(SnapshotError::refused(format!("there was no version {from_version}")));
        }
        let Version1 { count } = snapshot.decode("global")?;
        Ok(Self {
            count,
            #[cfg(feature = "owner")]
            owner: String::new(),
        })
    }
}

reductor_guest::export!(Stock);
