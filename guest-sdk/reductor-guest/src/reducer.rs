//! What an author writes: the model of a document.

use reductor_json::EncodeError;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Context, Rejection, Snapshot, SnapshotError};

/// The model of a document: its state, its actions, and how one changes the other.
///
/// `Default` is a new document. `Serialize` and `Deserialize` are its state at rest: what
/// they leave out is lost between two jobs.
///
/// Everything here must be pure: the same state and the same action give the same bytes, on
/// every machine. [The crate's page](crate#what-a-reducer-may-not-do) lists what is not.
pub trait Reducer: Default + Serialize + DeserializeOwned + 'static {
    /// The name of the model, such as `acme/invoice`. Documents carry it for life.
    const DOCUMENT_TYPE: &'static str;

    /// Counts up whenever the shape of the state changes; [`upgrade`](Self::upgrade) takes
    /// it from there.
    const VERSION: u32 = 1;

    /// The parts of the state that have a history of their own. One unless
    /// [`scopes!`](crate::scopes) says otherwise.
    const SCOPES: &'static [&'static str] = &["global"];

    /// The actions: an enum as serde writes it by default (externally tagged). A variant's
    /// name is the action's type, its content the action's input.
    type Action: DeserializeOwned + JsonSchema;

    /// Applies one action, or refuses it.
    ///
    /// It may change the scope of the action and no other. After a refusal the document is
    /// loaded again as it was before, so there is nothing to undo.
    fn apply(&mut self, action: Self::Action, ctx: &mut Context<'_>) -> Result<(), Rejection>;

    /// Reads a snapshot that an earlier version of this model wrote: any version whose documents
    /// there may still be. Refuses by default.
    ///
    /// [`Document::from_older_state`](crate::testing::Document::from_older_state) tests it.
    ///
    /// ```
    /// # use reductor_guest::prelude::*;
    /// use reductor_guest::testing::{Document, json};
    ///
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # struct Price { cents: i64 }
    /// # #[derive(Deserialize, JsonSchema)]
    /// # enum PriceAction { Clear }
    /// # impl Reducer for Price {
    /// # const DOCUMENT_TYPE: &'static str = "example/price";
    /// const VERSION: u32 = 2;
    /// # type Action = PriceAction;
    /// # fn apply(&mut self, _: PriceAction, _: &mut Context) -> Result<(), Rejection> { Ok(()) }
    ///
    /// fn upgrade(from_version: u32, snapshot: &Snapshot) -> Result<Self, SnapshotError> {
    ///     #[derive(Deserialize)]
    ///     struct Version1 { euros: i64 }
    ///
    ///     if from_version != 1 {
    ///         return Err(SnapshotError::refused(format!("there was no version {from_version}")));
    ///     }
    ///     let old: Version1 = snapshot.decode("global")?;
    ///     Ok(Self { cents: old.euros * 100 })
    /// }
    /// # }
    ///
    /// let price = Document::<Price>::from_older_state(1, &json!({"euros": 3}))?;
    /// assert_eq!(price.state(), json!({"cents": 300}));
    /// # Ok::<(), SnapshotError>(())
    /// ```
    fn upgrade(from_version: u32, snapshot: &Snapshot<'_>) -> Result<Self, SnapshotError> {
        let _ = snapshot;
        Err(SnapshotError::NoUpgrade { document_type: Self::DOCUMENT_TYPE, from: from_version, to: Self::VERSION })
    }

    /// Writes the state of `scope`, one of [`SCOPES`](Self::SCOPES).
    #[doc(hidden)]
    fn encode_scope(&self, scope: &str, state: &mut Vec<u8>) -> Result<(), EncodeError> {
        let _ = scope;
        const { assert!(Self::SCOPES.len() == 1, "declare several scopes with reductor_guest::scopes!") };
        reductor_json::write(state, self)
    }

    /// Reads the states of all [`SCOPES`](Self::SCOPES).
    #[doc(hidden)]
    fn decode_scopes(snapshot: &Snapshot<'_>) -> Result<Self, SnapshotError> {
        const { assert!(Self::SCOPES.len() == 1, "declare several scopes with reductor_guest::scopes!") };
        snapshot.decode(Self::SCOPES[0])
    }
}

/// Makes each named field of the model a scope, with a history of its own. Stands in the
/// `impl Reducer`.
///
/// Fields that are not named are no part of the state: they are lost between two jobs.
///
/// ```
/// use reductor_guest::prelude::*;
/// use reductor_guest::testing::{Document, json};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Poll {
///     global: Vec<String>,
///     local: Option<u32>,
/// }
///
/// #[derive(Deserialize, JsonSchema)]
/// #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
/// enum PollAction {
///     Propose(String),
///     Choose { index: u32 },
/// }
///
/// impl Reducer for Poll {
///     const DOCUMENT_TYPE: &'static str = "example/poll";
///     type Action = PollAction;
///     reductor_guest::scopes!(global, local);
///
///     fn apply(&mut self, action: PollAction, ctx: &mut Context) -> Result<(), Rejection> {
///         match (action, ctx.scope()) {
///             (PollAction::Propose(option), "global") => self.global.push(option),
///             (PollAction::Choose { index }, "local") => self.local = Some(index),
///             (_, scope) => reject!("WRONG_SCOPE", "{} does not belong to {scope}", ctx.action_type()),
///         }
///         Ok(())
///     }
/// }
///
/// let mut poll = Document::<Poll>::new();
/// poll.apply("PROPOSE", json!("tea"))?;
/// poll.in_scope("local").apply("CHOOSE", json!({"index": 0}))?;
/// assert_eq!(poll.state(), json!(0));
/// # Ok::<(), Rejection>(())
/// ```
///
/// Several scopes that are declared without it do not compile:
///
/// ```compile_fail,E0080
/// # use reductor_guest::prelude::*;
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Poll;
/// # #[derive(Deserialize, JsonSchema)]
/// # enum PollAction { Clear }
/// impl Reducer for Poll {
///     const SCOPES: &'static [&'static str] = &["global", "local"];
///     // …
/// # const DOCUMENT_TYPE: &'static str = "example/poll";
/// # type Action = PollAction;
/// # fn apply(&mut self, _: PollAction, _: &mut Context) -> Result<(), Rejection> { Ok(()) }
/// }
/// # reductor_guest::testing::Document::<Poll>::new();
/// ```
#[macro_export]
macro_rules! scopes {
    ($($scope:ident),+ $(,)?) => {
        const SCOPES: &'static [&'static str] = &[$(::std::stringify!($scope)),+];

        fn encode_scope(
            &self,
            scope: &str,
            state: &mut ::std::vec::Vec<u8>,
        ) -> ::std::result::Result<(), $crate::model::EncodeError> {
            match scope {
                $(::std::stringify!($scope) => $crate::model::encode(state, &self.$scope),)+
                other => ::std::unreachable!("{other} is not in SCOPES"),
            }
        }

        fn decode_scopes(
            snapshot: &$crate::Snapshot<'_>,
        ) -> ::std::result::Result<Self, $crate::SnapshotError> {
            let mut model = <Self as ::std::default::Default>::default();
            $(model.$scope = snapshot.decode(::std::stringify!($scope))?;)+
            ::std::result::Result::Ok(model)
        }
    };
}
