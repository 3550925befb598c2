//! The rules of bindings one by one (design §5, host-local.md §8), on a disk in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod adoption;
mod bench;
mod choice;
mod heed;
mod policy;
mod promises;
