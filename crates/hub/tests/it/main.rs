//! A whole hub in this process, before a miniature cloud: who is who, what passes and how, what befalls the link.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agreement;
mod bench;
mod boot;
mod identities;
mod kubelet_1_36;
mod limits;
mod link;
mod node_certificate;
mod outbox_admin;
mod process;
mod reads;
mod reads_hostile;
mod settling;
mod staging;
mod streams;
