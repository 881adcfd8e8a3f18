//! A reducer's refusal of an action, and the macros that make one.

use std::borrow::Cow;

/// The refusal of an action: an answer, not a fault.
///
/// The job fails, the document stays as it was, and nobody tries again. There are no
/// conversions from other errors: the code is a promise to programs that only the author
/// of the model can make. [`rejection!`](crate::rejection) fits into `map_err` and
/// `ok_or_else`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Rejection {
    /// For programs: short, stable, such as `TODO_NOT_FOUND`.
    pub code: Cow<'static, str>,
    /// For people: one sentence that says what was wrong.
    pub message: String,
}

impl Rejection {
    /// The code of a refusal by the SDK: the model has no action of this type.
    pub const UNKNOWN_ACTION: &'static str = "UNKNOWN_ACTION";
    /// The code of a refusal by the SDK: the model has no scope of this name.
    pub const UNKNOWN_SCOPE: &'static str = "UNKNOWN_SCOPE";
    /// The code of a refusal by the SDK: the input does not fit the action.
    pub const INVALID_INPUT: &'static str = "INVALID_INPUT";
    /// The code of a refusal by [`Context::timestamp_ms`](crate::Context::timestamp_ms).
    pub const INVALID_TIMESTAMP: &'static str = "INVALID_TIMESTAMP";

    /// Makes a rejection from its code and its message.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// Makes a [`Rejection`] from a code and a formatted message.
///
/// ```
/// # use reductor_guest::prelude::*;
/// # fn text(found: Option<&str>, id: u32) -> Result<&str, Rejection> {
/// found.ok_or_else(|| rejection!("NOTE_NOT_FOUND", "there is no note {id}"))
/// # }
/// # assert_eq!(text(None, 7).unwrap_err().message, "there is no note 7");
/// ```
#[macro_export]
macro_rules! rejection {
    ($code:expr, $($message:tt)+) => {
        $crate::Rejection::new($code, ::std::format!($($message)+))
    };
}

/// Refuses the action: returns a [`Rejection`] from the function it stands in.
///
/// ```
/// # use reductor_guest::prelude::*;
/// # fn withdraw(balance: i64, amount: i64) -> Result<i64, Rejection> {
/// if amount > balance {
///     reject!("INSUFFICIENT_FUNDS", "{amount} is more than the balance of {balance}");
/// }
/// # Ok(balance - amount)
/// # }
/// # assert_eq!(withdraw(1, 2).unwrap_err().code, "INSUFFICIENT_FUNDS");
/// ```
#[macro_export]
macro_rules! reject {
    ($code:expr, $($message:tt)+) => {
        return ::std::result::Result::Err($crate::rejection!($code, $($message)+))
    };
}

/// Refuses the action unless a condition holds.
///
/// ```
/// # use reductor_guest::prelude::*;
/// # fn check(amount: i64) -> Result<(), Rejection> {
/// ensure!(amount > 0, "AMOUNT_NOT_POSITIVE", "the amount must be positive, not {amount}");
/// # Ok(())
/// # }
/// # assert!(check(0).is_err());
/// ```
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $code:expr, $($message:tt)+) => {
        if !$condition {
            $crate::reject!($code, $($message)+);
        }
    };
}
