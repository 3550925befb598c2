//! What tests stand on: storage that loses power, links that are bad, and a source of chance that can be replayed.
//!
//! What has no sockets is deterministic: the same seed gives the same run on every machine, so a failure found by a
//! simulation is repeated by its seed alone. What has sockets stands behind a feature each. Never shipped on a node.

// A test tool: where a simulation's own bookkeeping is broken, ending the test at that line is the useful answer.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[cfg(feature = "cloud")]
pub mod cloud;
pub mod power_cut;
#[cfg(feature = "relay")]
pub mod relay;
pub mod rng;
