//! `example/todo-list`: things to do, in the order in which they were added.
//!
//! Shows refusals and the action's timestamp, the only clock of a reducer. Its state is
//!
//! ```json
//! {"items":[{"addedAt":"2026-01-31T09:30:00.000Z","completedAt":null,"id":"t1","text":"buy milk"}]}
//! ```

use reductor_guest::prelude::*;

/// A list of things to do.
#[derive(Default, Serialize, Deserialize)]
pub struct TodoList {
    items: Vec<Item>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    // In the order of their names, as canonical JSON has them: encoding need not sort then.
    added_at: String,
    completed_at: Option<String>,
    id: String,
    text: String,
}

/// What can be done to a list.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TodoAction {
    /// Adds an item at the end.
    Add {
        /// Chosen by the author of the action; no two items share one.
        id: String,
        /// What to do. Not blank.
        text: String,
    },
    /// Marks an item as done.
    Complete {
        /// The item.
        id: String,
    },
    /// Changes the text of an item.
    Rename {
        /// The item.
        id: String,
        /// What to do instead. Not blank.
        text: String,
    },
    /// Takes an item off the list, done or not.
    Remove {
        /// The item.
        id: String,
    },
    /// Takes everything off the list that is done.
    ClearCompleted,
}

impl Reducer for TodoList {
    const DOCUMENT_TYPE: &'static str = "example/todo-list";
    type Action = TodoAction;

    fn apply(&mut self, action: TodoAction, ctx: &mut Context) -> Result<(), Rejection> {
        match action {
            TodoAction::Add { id, text } => self.add(id, text, ctx.timestamp())?,
            TodoAction::Complete { id } => self.complete(&id, ctx.timestamp())?,
            TodoAction::Rename { id, text } => {
                check_text(&text)?;
                self.find(&id)?.text = text;
            }
            TodoAction::Remove { id } => {
                self.find(&id)?;
                self.items.retain(|item| item.id != id);
            }
            TodoAction::ClearCompleted => self.items.retain(|item| item.completed_at.is_none()),
        }
        Ok(())
    }
}

impl TodoList {
    fn add(&mut self, id: String, text: String, now: &str) -> Result<(), Rejection> {
        check_text(&text)?;
        ensure!(!id.is_empty(), "EMPTY_ID", "an item needs an id");
        let exists = self.items.iter().any(|item| item.id == id);
        ensure!(!exists, "TODO_EXISTS", "there is already an item {id:?}");
        self.items.push(Item { id, text, added_at: now.to_owned(), completed_at: None });
        Ok(())
    }

    fn complete(&mut self, id: &str, now: &str) -> Result<(), Rejection> {
        let item = self.find(id)?;
        if let Some(before) = &item.completed_at {
            reject!("TODO_COMPLETED", "the item {id:?} was completed at {before}");
        }
        item.completed_at = Some(now.to_owned());
        Ok(())
    }

    fn find(&mut self, id: &str) -> Result<&mut Item, Rejection> {
        let found = self.items.iter_mut().find(|item| item.id == id);
        found.ok_or_else(|| rejection!("TODO_NOT_FOUND", "there is no item {id:?}"))
    }
}

fn check_text(text: &str) -> Result<(), Rejection> {
    ensure!(!text.trim().is_empty(), "EMPTY_TEXT", "an item needs a text");
    Ok(())
}

reductor_guest::export!(TodoList);

#[cfg(test)]
mod tests;
