//! `edgekeep cloud`: what a cluster needs so that its edge nodes can be cut off.

use std::process::ExitCode;

use crate::args::{Manifests, PolicyVersion};
use crate::{Failure, table};

const HEAD: &str = "# What edgekeep needs in the cluster, for `kubectl apply -f -`. Why: docs/eviction.md.\n";
const RIGHTS: &str = include_str!("cloud/rights.yaml");
const POLICY: &str = include_str!("cloud/policy.yaml");
const FLAGS: &str = include_str!("cloud/flags.yaml");
/// Ten years, in seconds: as good as no limit, and far from the largest time that the controller can count.
const FOREVER: &str = "315360000";

pub fn manifests(what: &Manifests) -> Result<ExitCode, Failure> {
    table::print(&text(what)?)?;
    Ok(ExitCode::SUCCESS)
}

fn text(what: &Manifests) -> Result<String, Failure> {
    if what.without_policy {
        return Ok([HEAD, RIGHTS, &FLAGS.replace("@FOREVER@", FOREVER)].concat());
    }
    let wrong = || format!("--node-label {}: a label as KEY=VALUE is needed", what.node_label);
    let (key, value) = what.node_label.split_once('=').ok_or_else(wrong)?;
    if key.is_empty() || ![key, value].into_iter().all(is_of_a_label) {
        return Err(wrong());
    }
    let version = match what.policy_version {
        PolicyVersion::V1 => "v1",
        PolicyVersion::V1beta1 => "v1beta1",
    };
    let policy = POLICY
        .replace("@KEY@", key)
        .replace("@VALUE@", value)
        .replace("@SECONDS@", &what.default_seconds.to_string())
        .replace("@VERSION@", version);
    Ok([HEAD, RIGHTS, &policy].concat())
}

/// What keys and values of labels are made of (`apimachinery:pkg/util/validation`): nothing that means more in YAML or CEL.
fn is_of_a_label(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
}

#[cfg(test)]
mod tests;
