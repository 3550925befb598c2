//! Patches, updates and deletes as the API server applies them. Values in, values or a [`wire::Status`] out: no I/O.
//!
//! [`patch()`], [`update`] and [`delete()`] take the present object and a request, and give what the API server would have
//! stored, or its answer in its own words. [`diff()`] is the way back: what to send so that one object becomes another.
//!
//! ```
//! use patch::{Form, Outcome, Release, Served, Write, patch};
//! use serde_json::json;
//! use wire::{Resource, schema::Kind};
//!
//! let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "uid": "u",
//!     "resourceVersion": "7"}, "spec": {"containers": null, "nodeName": "edge"}, "status": {"phase": "Pending"}});
//! let resource = Resource { version: "v1".into(), namespace: "shop".into(), resource: "pods".into(),
//!     name: "web".into(), subresource: "status".into(), ..Resource::default() };
//! let served = Served::BuiltIn(Kind::find("", "v1", "Pod").unwrap());
//! let write = Write { resource: &resource, served, release: Release::default(), node: Some("edge") };
//!
//! let body = br#"{"metadata":{"uid":"u"},"status":{"phase":"Running"}}"#;
//! let Ok(Outcome::Stored(after)) = patch(&pod, &write, Form::Strategic, body) else { panic!() };
//! assert_eq!(after["status"]["phase"], "Running");
//! ```
//!
//! | question | look in |
//! |---|---|
//! | how are lists merged and ordered? | `strategic/list.rs`, `strategic/order.rs` |
//! | which members can no write change? | `metadata.rs` |
//! | what can `pods/status` and `nodes/status` change? | `strategy.rs`, for kubelets also `node_restriction.rs` |
//! | what changes by reading alone? | `normal.rs`, `convert.rs` |
//! | what differs between releases of Kubernetes? | `release.rs` |
//!
//! **Not done here**: whether values are valid in themselves (names, label syntax, ranges, which container state may
//! follow which), what of a spec may change, admission but NodeRestriction's rules for pods and nodes, defaults but that
//! of a node's allocatable resources, schemas of custom resources. What passes here for
//! that reason and is refused by the cloud is dropped when staged writes are settled. `managedFields` stay as they are;
//! setting a new `resourceVersion` is the caller's.

mod convert;
mod decode;
mod delete;
mod diff;
pub mod json_patch;
pub mod merge;
mod metadata;
mod node_restriction;
mod normal;
mod object_type;
mod release;
pub mod strategic;
mod strategy;
mod text;
mod time;
mod update;
mod write;

pub use delete::{DeleteOptions, Deletion, delete};
pub use diff::diff;
pub use release::Release;
pub use update::update;
pub use write::{Form, Outcome, Served, Write, patch};
