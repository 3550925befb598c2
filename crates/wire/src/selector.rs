//! Label and field selectors: which objects a list or watch is about.
//!
//! Grammar, order and error texts are those of `apimachinery:pkg/labels` and `pkg/fields`.

mod field;
mod key;
mod label;
mod lexer;
mod supported;

#[cfg(test)]
mod tests;

pub use field::{FieldSelector, FieldTerm};
pub use label::{LabelSelector, Operator, Requirement};
