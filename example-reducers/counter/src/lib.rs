//! `example/counter`: a number that goes up and down.
//!
//! The smallest useful model. Its state is `{"value":0}`.

use reductor_guest::prelude::*;

/// The largest integer that every reader of JSON knows exactly: 2^53 − 1.
const VALUE_MAX: i64 = (1 << 53) - 1;

/// A number.
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    value: i64,
}

/// What can be done to a counter.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CounterAction {
    /// Adds to the value.
    Increment {
        /// How much.
        by: i64,
    },
    /// Takes from the value.
    Decrement {
        /// How much.
        by: i64,
    },
    /// Starts again at zero.
    Reset,
}

impl Reducer for Counter {
    const DOCUMENT_TYPE: &'static str = "example/counter";
    type Action = CounterAction;

    fn apply(&mut self, action: CounterAction, _: &mut Context) -> Result<(), Rejection> {
        let value = match action {
            CounterAction::Increment { by } => self.value.checked_add(by),
            CounterAction::Decrement { by } => self.value.checked_sub(by),
            CounterAction::Reset => Some(0),
        };
        match value {
            Some(value) if (-VALUE_MAX..=VALUE_MAX).contains(&value) => self.value = value,
            _ => reject!("OUT_OF_RANGE", "the value would leave ±{VALUE_MAX}; it is {}", self.value),
        }
        Ok(())
    }
}

reductor_guest::export!(Counter);

#[cfg(test)]
mod tests {
    use super::*;
    use reductor_guest::testing::{Document, json};

    #[test]
    fn counts() -> Result<(), Rejection> {
        let mut counter = Document::<Counter>::new();
        assert_eq!(counter.state(), json!({"value": 0}));
        assert_eq!(counter.apply("INCREMENT", json!({"by": 5}))?, json!({"value": 5}));
        assert_eq!(counter.apply("DECREMENT", json!({"by": 7}))?, json!({"value": -2}));
        assert_eq!(counter.apply("RESET", json!(null))?, json!({"value": 0}));
        Ok(())
    }

    #[test]
    fn refuses_to_leave_the_range_of_exact_integers() -> Result<(), Rejection> {
        let mut counter = Document::<Counter>::new();
        let highest = counter.apply("INCREMENT", json!({"by": VALUE_MAX}))?;
        for (action, by) in [("INCREMENT", 1), ("INCREMENT", i64::MAX), ("DECREMENT", i64::MIN)] {
            let rejection = counter.apply(action, json!({"by": by})).expect_err(action);
            assert_eq!(rejection.code, "OUT_OF_RANGE");
            assert_eq!(counter.state(), highest);
        }
        counter.apply("DECREMENT", json!({"by": VALUE_MAX}))?;
        counter.apply("DECREMENT", json!({"by": VALUE_MAX}))?;
        assert!(counter.apply("DECREMENT", json!({"by": 1})).is_err());
        Ok(())
    }

    #[test]
    fn refuses_what_is_no_action_of_a_counter() {
        let mut counter = Document::<Counter>::new();
        let unknown = counter.apply("INCREMENTS", json!({"by": 1})).expect_err("unknown");
        assert_eq!(unknown.code, Rejection::UNKNOWN_ACTION);
        let invalid = counter.apply("INCREMENT", json!({"by": "1"})).expect_err("a string");
        assert_eq!(invalid.code, Rejection::INVALID_INPUT);
    }
}
