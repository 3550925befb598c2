//! JSON: read into places instead of trees, and written as the API server writes it.
//!
//! [`Tape`] checks a document and notes where each value begins and ends, 12 bytes a value; [`scan`] walks down a path
//! without noting anything. Neither recurses.

mod number;
pub mod scan;
mod tape;
mod text;

pub use number::push_float;
pub use tape::{Node, NotJson, Tape, check};
pub use text::{compact, push_lossy, push_string, unescape};
