//! `edgekeep outbox` and `edgekeep settle`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;

/// Asking what waits for the cloud, or acting on it.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Outbox {
    /// What to do with it.
    #[command(subcommand)]
    pub action: Option<OutboxAction>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    #[command(flatten)]
    #[allow(missing_docs)] // a text here would become that of the command
    pub hub: AtHub,
}

/// What can be done with what waits.
#[derive(Subcommand)]
pub enum OutboxAction {
    /// Print what is to be told of an object, in JSON: the object as this node last had it.
    #[command(
        after_help = "Exit codes: 0 done; 1 failed, nothing of it waits, or the hub does not answer; 2 called wrongly."
    )]
    Show(OutboxShow),
    /// Never tell the cloud what waits of an object. The reason goes into the hub's log and into the settle report.
    ///
    /// On this node the object is shown as the cloud last had it from then on, to kubelet too, which repairs what is not so
    /// and may say the same again. What was said of a pod that has ended is known to nobody else: without it the pod is
    /// there as if it still ran.
    #[command(
        after_help = "Exit codes: 0 dropped; 1 failed, nothing or more than one thing of it waits, or the hub does not \
                            answer; 2 called wrongly."
    )]
    Drop(OutboxDrop),
}

/// Looking at the content of what waits.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct OutboxShow {
    #[command(flatten)]
    pub which: WhichEntry,
    #[command(flatten)]
    pub hub: AtHub,
}

/// Dropping something that waits.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct OutboxDrop {
    #[command(flatten)]
    pub which: WhichEntry,
    /// Why: one line, for those who read the report.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
    /// Change nothing; show what would be dropped.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub hub: AtHub,
}

/// What waits of one object.
#[derive(Args)]
pub struct WhichEntry {
    /// The object, as `edgekeep outbox` names it: pods/shop/web-0, nodes/edge-1.
    #[arg(value_name = "RESOURCE/[NAMESPACE/]NAME")]
    pub object: String,
    /// Only what this one wrote: kubelet, or a daemon as `edgekeep outbox` names it.
    #[arg(long = "as", value_name = "WRITER")]
    pub writer: Option<String>,
    /// Only of the object with this UID.
    #[arg(long)]
    pub uid: Option<String>,
}

/// Where the hub is asked.
#[derive(Args)]
pub struct AtHub {
    /// The hub's admin socket [default: that of /etc/edgekeep/hub.yaml]
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
}

/// Asking what was settled, and what would be.
#[derive(Args)]
#[allow(missing_docs)] // flattened: a text would become that of the command
pub struct Settle {
    /// Send nothing; show what would become of everything that waits, against the cloud as it is now.
    #[arg(long)]
    pub plan: bool,
    /// Show all settlings that are remembered, not only the last one.
    #[arg(long, conflicts_with = "plan")]
    pub all: bool,
    /// The hub's admin socket [default: that of /etc/edgekeep/hub.yaml]
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}
