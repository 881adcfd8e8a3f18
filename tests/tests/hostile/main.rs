//! Hostile guests: each gets exactly the verdict of the table, and harms nobody else.
//!
//! The guests and their verdicts are in `guests/hostile`. These tests have a process of their
//! own, because they watch its memory and its threads.

mod accounting;
mod blame;
mod bombs;
mod crowd;
mod guests;
mod offered;
mod places;
mod process;
mod run;
mod shapes;
mod table;
mod verdicts;
