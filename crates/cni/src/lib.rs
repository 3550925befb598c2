//! The compatibility promise: what a CNI runtime and a host-local configuration mean, and how a plugin answers.
//!
//! Bytes in, values out. Nothing here reads a file, the environment or a clock; the program around it does and
//! passes in what it read. Invariant: no input whatsoever panics, and every refusal is an [`Error`] whose code and
//! text follow the CNI specification and stock host-local.
//!
//! One call runs so: [`Env::from_vars`], [`Env::request`], then, if it says so, read stdin, [`Call::parse`], do
//! the work, and answer with [`result_json`] or [`Error::to_json`].

mod addr;
pub mod args;
pub mod config;
pub mod env;
pub mod error;
pub mod frame;
pub mod json;
pub mod range;
pub mod resolv;
pub mod result;
pub mod retain;
pub mod version;

pub use args::Args;
pub use config::{Attachment, Ipam, NetConf, Route};
pub use env::Env;
pub use error::Error;
pub use frame::{Call, Command, Request};
pub use json::Json;
pub use range::{Cidr, Range, RangeSet};
pub use resolv::Dns;
pub use result::{Address, result_json};
pub use version::Version;
