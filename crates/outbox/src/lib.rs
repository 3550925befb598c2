//! The outbox: what the node said while its cloud was away, and has still to tell it.
//!
//! Values in, values out: nothing here does I/O, reads a clock or rolls dice. The hub hands in what a client wrote and what
//! the view shows; it is told what to store, what to show and what to answer.
//!
//! | question | look in |
//! |---|---|
//! | what waits, and what is known of it? | `entry.rs` |
//! | whose is this member, and what does the node make of the cloud's object? | `owned.rs` |

mod entry;
pub mod owned;

pub use entry::{Base, Entry, Id, What, Writer};
