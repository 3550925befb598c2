//! The daemon that node components talk to instead of the cloud.
//!
//! It executes: it listens, speaks TLS, holds connections to the cloud and answers. What is decided about callers is
//! decided in `access`, what is said on the wire in `wire`.

pub mod agreement;
pub mod body;
pub mod certificate;
pub mod clients;
pub mod cloud;
pub mod config;
pub mod daemon;
pub mod error;
pub mod files;
pub mod health;
pub mod link;
pub mod listen;
pub mod metrics;
pub mod node_certificate;
pub mod pki;
pub mod proxy;
pub mod reads;
pub mod refuse;
pub mod run;
pub mod service_manager;
pub mod sockets;
pub mod standing;
pub mod store;
pub mod tls;
pub mod waiting;
