//! Would this node survive a reboot with the link cut, right now? What a cold boot would miss, by name.
//!
//! Two halves. What kubelet will ask the API server for ([`question`], [`pod`], [`volume`]) and whether the hub can answer
//! it ([`examine()`]): pure, and run in the hub, which alone knows. What must stand on this machine ([`machine`]): read
//! where it stands. A thing that cannot be found out is said to be unknown, never taken for good: that nothing is found must mean
//! that every pod starts.

pub mod addresses;
pub mod ask;
pub mod boot;
pub mod disk;
pub mod examine;
pub mod finding;
pub mod image;
pub mod machine;
pub mod mounts;
pub mod network;
pub mod outage;
pub mod pod;
pub mod question;
pub mod start;
pub mod token;
pub mod units;
pub mod volume;

#[cfg(test)]
mod tests;

pub use ask::Ask;
pub use boot::Boot;
pub use examine::{Answer, examine};
pub use finding::{Area, Finding, Gravity};
