//! Bytes that survive.
//!
//! The only code that decides what is written when, and what is still there after a power cut. It does not know what
//! it stores. Everything that touches a disk goes through [`fs::Fs`], so that tests can cut the power at any call.

mod bytes;
mod checksum;
mod window;

pub mod flush;
pub mod fs;
pub mod journal;
pub mod objects;
pub mod os;
pub mod place;
#[cfg(feature = "sealing")]
pub mod seal;
