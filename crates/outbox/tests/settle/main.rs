//! Settling, case by case: every row of the table of cases in the reference that concerns it, and the rules beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
mod cloud;
mod rules;
mod world;
