//! The outbox: what the node said while its cloud was away, and has still to tell it.
//!
//! Values in, values out: nothing here does I/O, reads a clock or rolls dice. The hub hands in what a client wrote and what
//! the view shows; it is told what to store, what to show and what to answer.
//!
//! | question | look in |
//! |---|---|
//! | which writes are taken, and whose? | `allow.rs` |
//! | what does a write make of an object? | `stage.rs`, and crate `patch` |
//! | what waits, and what is known of it? | `entry.rs` |
//! | whose is this member, and what does the node make of the cloud's object? | `owned.rs` |
//! | when is the cloud told, what becomes of an entry? | `settle.rs` |
//! | what was sent, merged, dropped, and why? | `report.rs` |
//! | what is stored, what is given up first? | `outbox.rs`, `record.rs` |
//! | when are two events the same? | `events.rs` |

mod allow;
mod entry;
pub mod events;
mod outbox;
pub mod owned;
mod record;
pub mod report;
pub mod settle;
mod stage;

pub use allow::{Allowed, allowed};
pub use entry::{Base, Entry, Id, Named, What, Writer};
pub use outbox::{Content, Limits, Outbox, Put, Refused, Stamp, Standing, Token};
pub use stage::{Asked, Staged, stage};
