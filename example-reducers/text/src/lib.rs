//! `example/text`: a plain text that is edited in patches.
//!
//! The action `EDIT` carries `patches`, a list of `[position, deleted, inserted]`: at
//! `position`, take out `deleted` code points and put in the text `inserted`. Patches are
//! applied in order; each counts from what its predecessors left. The state is
//! `{"content":"…"}`.

mod content;

use reductor_guest::prelude::*;

use content::Content;

/// A text.
#[derive(Default, Serialize, Deserialize)]
pub struct Text {
    content: Content,
}

/// What can be done to a text.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TextAction {
    /// Applies patches in order, all or none.
    Edit {
        /// What to change where.
        patches: Vec<Patch>,
    },
}

/// A change at one place: `[position, deleted, inserted]`.
#[derive(Deserialize, JsonSchema)]
pub struct Patch(
    /// Where, in code points from the start.
    u32,
    /// How many code points to take out there.
    u32,
    /// What to put in.
    String,
);

impl Reducer for Text {
    const DOCUMENT_TYPE: &'static str = "example/text";
    type Action = TextAction;

    fn apply(&mut self, action: TextAction, _: &mut Context) -> Result<(), Rejection> {
        let TextAction::Edit { patches } = action;
        for (index, Patch(position, deleted, inserted)) in patches.iter().enumerate() {
            if let Err(length) = self.content.replace(*position, *deleted, inserted) {
                reject!(
                    "OUT_OF_RANGE",
                    "patch {index} takes {deleted} from position {position}, but the text has {length} code points"
                );
            }
        }
        Ok(())
    }
}

reductor_guest::export!(Text);

#[cfg(test)]
mod tests {
    use super::*;
    use reductor_guest::testing::{Document, Value, json};

    fn edited(before: &str, patches: Value) -> Result<Value, Rejection> {
        let mut text = Document::<Text>::from_state(&json!({"content": before})).expect("a text");
        let outcome = text.apply("EDIT", json!({"patches": patches}));
        if outcome.is_err() {
            assert_eq!(text.state(), json!({"content": before}));
        }
        outcome.map(|state| state["content"].clone())
    }

    #[test]
    fn a_new_text_is_empty() {
        assert_eq!(Document::<Text>::new().state(), json!({"content": ""}));
    }

    #[test]
    fn patches_insert_delete_and_replace() {
        let cases = [
            ("", json!([[0, 0, "ab"]]), "ab"),
            ("ad", json!([[1, 0, "bc"]]), "abcd"),
            ("abcd", json!([[1, 2, ""]]), "ad"),
            ("abcd", json!([[0, 4, "e"]]), "e"),
            ("abcd", json!([[4, 0, "\n\"e\""]]), "abcd\n\"e\""),
            ("ab", json!([]), "ab"),
        ];
        for (before, patches, after) in cases {
            assert_eq!(edited(before, patches), Ok(json!(after)), "{before}");
        }
    }

    #[test]
    fn every_patch_counts_from_what_its_predecessors_left() {
        assert_eq!(edited("abc", json!([[0, 1, ""], [0, 1, "B"], [2, 0, "D"]])), Ok(json!("BcD")));
    }

    #[test]
    fn positions_count_code_points() {
        assert_eq!(edited("ä👍🏽z", json!([[3, 1, "Z"], [1, 2, ""]])), Ok(json!("äZ")));
    }

    #[test]
    fn refuses_patches_beyond_the_end_and_changes_nothing() {
        let cases = [
            (json!([[4, 0, "x"]]), "patch 0 takes 0 from position 4, but the text has 3 code points"),
            (json!([[0, 2, ""], [1, 1, ""]]), "patch 1 takes 1 from position 1, but the text has 1 code points"),
            (json!([[1, u32::MAX, ""]]), "patch 0 takes 4294967295 from position 1, but the text has 3 code points"),
        ];
        for (patches, message) in cases {
            let rejection = edited("abc", patches).expect_err(message);
            assert_eq!(rejection, Rejection::new("OUT_OF_RANGE", message));
        }
    }
}
