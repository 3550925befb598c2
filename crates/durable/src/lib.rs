//! Bytes that survive.
//!
//! The only code that decides what is written when, and what is still there after a power cut. It does not know what
//! it stores. Everything that touches a disk goes through [`fs::Fs`], so that tests can cut the power at any call.

mod checksum;

pub mod flush;
pub mod fs;
pub mod journal;
pub mod os;
pub mod place;
