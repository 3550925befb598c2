//! The real program `edgekeep-ipam`, driven as a container runtime drives it: environment, stdin, exit status, files.
//!
//! No root and no network. Every test has a node of its own ([`node::Node`]) below cargo's directory for test files.
//! Tests of a promise of the design begin with its number (`p1_…`). What needs a program that is not on this machine
//! (strace, stock host-local) says on stderr that it was skipped.

// Helpers live outside of #[test] functions, where the lint configuration does not see that this is a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod adoption;
mod bad_input;
mod collect;
mod concurrency;
mod conformance;
mod damage;
mod flushes;
mod frame;
mod never_shared;
mod node;
mod policy;
mod requested;
mod results;
mod reuse;
mod same_address;
