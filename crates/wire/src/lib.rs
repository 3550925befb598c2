//! Kubernetes on the wire: what node components say to an API server, and the answers in the forms that it gives.
//!
//! Bytes in, values or bytes out. Nothing here does I/O or reads a clock. Invariant: no input whatsoever panics, hangs
//! or takes memory out of proportion to itself; what is refused is refused with the API server's own code, reason and
//! words.
//!
//! One request runs so: [`Request::parse`] says what it is about, [`ListOptions::of`] what a list or watch asks for,
//! [`media::negotiate`] in which form the answer must stand, and [`Status`] is the answer where there is no other.

pub mod gotext;
pub mod json;
pub mod list;
pub mod media;
pub mod object;
pub mod partial;
pub mod proto;
pub mod request;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
pub mod transcode;
pub mod versions;
pub mod watch;

pub use list::{List, ListMeta, ListWriter};
pub use media::Encoding;
pub use object::{Header, Object};
pub use request::{ListOptions, Request, Resource, Verb};
pub use selector::{FieldSelector, LabelSelector};
pub use status::Status;
