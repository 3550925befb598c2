//! The object log under chance and at its edges: what was said is there, what is lost is named.
//!
//! `SIM_RUNS=100000 cargo test -p durable --test objects` runs more; a failure prints its seed, and `SIM_SEED=<seed>`
//! repeats that run alone.

// A test: where something is not there that must be, to end at that line is the answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod broken;
mod damage;
mod every_call;
mod model;
mod sabotage;
mod simulation;
mod waiting;
mod world;

use testkit::rng::seeds;
