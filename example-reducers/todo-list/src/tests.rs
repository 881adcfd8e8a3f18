//! What a list does and what it refuses.

use super::*;
use reductor_guest::testing::{Document, Value, json};

const MORNING: &str = "2026-01-31T09:30:00.000Z";
const EVENING: &str = "2026-01-31T21:00:00.000Z";

/// A list with the items `t1` and `t2`, added in the morning.
fn two_items() -> Document<TodoList> {
    let mut list = Document::new();
    list.with_timestamp(MORNING);
    for (id, text) in [("t1", "buy milk"), ("t2", "call Ada")] {
        list.apply("ADD", json!({"id": id, "text": text})).expect("adding an item");
    }
    list
}

#[track_caller]
fn refused(action: &str, input: Value, code: &str) {
    let mut list = two_items();
    list.apply("COMPLETE", json!({"id": "t2"})).expect("t2 is open");
    let before = list.state();
    assert_eq!(list.apply(action, input).expect_err(action).code, code);
    assert_eq!(list.state(), before);
}

#[test]
fn items_stay_in_the_order_in_which_they_were_added() {
    let expected = json!({"items": [
        {"id": "t1", "text": "buy milk", "addedAt": MORNING, "completedAt": null},
        {"id": "t2", "text": "call Ada", "addedAt": MORNING, "completedAt": null},
    ]});
    assert_eq!(two_items().state(), expected);
}

#[test]
fn completing_takes_the_time_of_the_action() -> Result<(), Rejection> {
    let mut list = two_items();
    let state = list.with_timestamp(EVENING).apply("COMPLETE", json!({"id": "t2"}))?;
    assert_eq!(state["items"][0]["completedAt"], json!(null));
    assert_eq!(state["items"][1]["completedAt"], EVENING);
    Ok(())
}

#[test]
fn renaming_changes_the_text_alone() -> Result<(), Rejection> {
    let mut list = two_items();
    let state = list.with_timestamp(EVENING).apply("RENAME", json!({"id": "t1", "text": "buy oats"}))?;
    let expected = json!({"id": "t1", "text": "buy oats", "addedAt": MORNING, "completedAt": null});
    assert_eq!(state["items"][0], expected);
    Ok(())
}

#[test]
fn items_can_be_removed_one_by_one_or_when_they_are_done() -> Result<(), Rejection> {
    let mut list = two_items();
    list.apply("COMPLETE", json!({"id": "t1"}))?;
    let state = list.apply("CLEAR_COMPLETED", json!({}))?;
    assert_eq!(state["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(state["items"][0]["id"], "t2");
    assert_eq!(list.apply("REMOVE", json!({"id": "t2"}))?, json!({"items": []}));
    Ok(())
}

#[test]
fn refuses_a_second_item_with_the_same_id() {
    refused("ADD", json!({"id": "t1", "text": "again"}), "TODO_EXISTS");
}

#[test]
fn refuses_items_without_an_id_or_a_text() {
    refused("ADD", json!({"id": "", "text": "something"}), "EMPTY_ID");
    refused("ADD", json!({"id": "t3", "text": " \n"}), "EMPTY_TEXT");
    refused("RENAME", json!({"id": "t1", "text": ""}), "EMPTY_TEXT");
}

#[test]
fn refuses_to_change_what_is_not_there() {
    refused("COMPLETE", json!({"id": "t9"}), "TODO_NOT_FOUND");
    refused("RENAME", json!({"id": "t9", "text": "x"}), "TODO_NOT_FOUND");
    refused("REMOVE", json!({"id": "t9"}), "TODO_NOT_FOUND");
}

#[test]
fn refuses_to_complete_an_item_twice() {
    refused("COMPLETE", json!({"id": "t2"}), "TODO_COMPLETED");
}
