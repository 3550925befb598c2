//! What tests stand on: storage that loses power, and a source of chance that can be replayed.
//!
//! Everything here is deterministic: the same seed gives the same run on every machine, so a failure found by a
//! simulation is repeated by its seed alone. Never shipped on a node.

// A test tool: where a simulation's own bookkeeping is broken, ending the test at that line is the useful answer.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod power_cut;
pub mod rng;
