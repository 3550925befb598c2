//! Who calls the hub, and as whom the hub asks the cloud for them: design §6.1, promise P8.
//!
//! Values in, verdicts out. No I/O: certificates arrive here as the subject of a chain that was verified, tokens as bytes.

pub mod caller;
pub mod headers;
pub mod lend;
