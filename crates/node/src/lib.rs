//! What stands on this machine.

pub mod adopt;
pub mod agree;
pub mod change;
pub mod date;
pub mod doctor;
pub mod kernel;
pub mod kubeconfig;
pub mod kubelet;
pub mod manifest;
pub mod yaml;
