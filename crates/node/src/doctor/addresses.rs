//! Whether each pod would come back with its addresses: whether a binding holds them for it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use durable::fs::Fs;
use lease::inspect::{Held, Row, networks, snapshot};

use super::boot::Started;
use super::finding::{Area, Finding, Gravity};

/// How long to wait for a call of the plugin that is under way.
const WAIT: Duration = Duration::from_secs(10);

/// What is to be said of the addresses of these pods, by the bindings in the directory `state` under this boot id.
pub fn findings<F: Fs>(fs: &F, state: &Path, boot: &str, pods: &[Started]) -> Vec<Finding> {
    let unknown = |what: String, why: String| {
        Finding::new(Area::Addresses, Gravity::Unknown, what, why).to_do("run this as root")
    };
    let names = match networks(fs, state) {
        Ok(names) => names,
        Err(e) => return vec![unknown(format!("the bindings in {}", state.display()), e.to_string())],
    };
    let (mut rows, mut found) = (Vec::new(), Vec::new());
    for name in names {
        match snapshot(fs, state, &name, boot, WAIT) {
            Ok(snapshot) => rows.extend(snapshot.rows),
            Err(e) => found.push(unknown(format!("the bindings of network {name}"), e.to_string())),
        }
    }
    if found.is_empty() {
        found.extend(pods.iter().filter_map(|pod| judge(pod, &rows)));
    }
    found
}

/// What is to be said where the CNI does not take these pods' addresses from us.
pub fn not_ours(pods: &[Started]) -> Option<Finding> {
    let mut own = pods.iter().filter(|pod| !pod.addresses.is_empty()).peekable();
    own.peek()?;
    let why = "the CNI does not take them from edgekeep-ipam: whether they stay is not known";
    let finding = Finding::new(Area::Addresses, Gravity::Unknown, "the addresses of pods", why);
    Some(finding.of(own.map(Started::title)).to_do("see what is said of the CNI"))
}

/// What is to be said of the addresses of one pod.
fn judge(pod: &Started, rows: &[Row]) -> Option<Finding> {
    let is_its =
        |row: &&Row| row.binding.pod() == Some((&pod.namespace, &pod.name)) && row.held != Held::Gone;
    let held: BTreeSet<IpAddr> =
        rows.iter().filter(is_its).flat_map(|row| row.binding.addresses.iter().copied()).collect();
    let lost: Vec<String> =
        pod.addresses.iter().filter(|address| !held.contains(address)).map(ToString::to_string).collect();
    if lost.is_empty() {
        return None;
    }
    let why = match held.is_empty() {
        true => "no binding holds it for the pod: it comes back with another address".to_owned(),
        false => format!(
            "what is held for the pod is {}: it comes back with another address",
            held.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
    };
    let finding =
        Finding::new(Area::Addresses, Gravity::Missing, format!("address {}", lost.join(", ")), why);
    let to_do = "delete the pod, so that it is made anew with an address from edgekeep-ipam; `edgekeep leases` shows \
                 what is held";
    Some(finding.of([pod.title()]).to_do(to_do))
}
