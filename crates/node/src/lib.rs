//! What stands on this machine.

pub mod adopt;
pub mod kernel;
pub mod kubeconfig;
pub mod yaml;
