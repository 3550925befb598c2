//! Which pod has which address on this node, and why.
//!
//! A **binding** is the durable fact that in a network a pod's interface has addresses. It is *live* while a sandbox
//! has them, *parked* while none has, *gone* once its pod is known not to come back. Three storages hold the truth:
//! - host-local's directory (`<dataDir>/<network>/<ip>`): which addresses are in use now, shared with stock host-local;
//! - the journal in the state directory: all bindings, across reboots and power cuts;
//! - the index in the run directory: a lookup table over the journal, rebuilt whenever it cannot be trusted.
//!
//! Promises kept here: P1 (same pod, same address), P2 (no address twice), P3 (an answered binding is durable). P2
//! outranks P1: where it is not certain that a sandbox is dead, its address stays untouched.
//!
//! Nothing here looks at the clock or the environment but [`machine`], once, for the programs: time, boot id and
//! randomness come in as [`Now`].

mod adopt;
mod binding;
mod books;
mod choose;
mod directory;
mod error;
mod heed;
mod index;
mod occupancy;
mod rebuild;
mod record;
mod store;
mod table;
mod verbs;

pub mod boot;
pub mod inspect;
pub mod machine;

pub use binding::{Binding, Identity, State, Why};
pub use directory::release_by_scan;
pub use error::Error;
pub use heed::{Heeded, Word};
pub use store::{Flush, Now, Places, Store, take_over};
pub use verbs::{Request, Which};
