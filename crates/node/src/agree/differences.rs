//! Where bindings and API server differ, for the operator: nothing is done about it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lease::inspect::{Held, Row, Snapshot};

use super::{Node, Pods};

/// Each a sentence without a full stop, in a stable order.
pub type Differences = BTreeSet<String>;

/// Where they differ now. What is said right after a sandbox was made passes by itself as soon as kubelet has told.
pub fn differences(networks: &[&Snapshot], pods: &Pods, node: Option<&Node>) -> Differences {
    let mut found = Differences::new();
    if networks.is_empty() {
        return found;
    }
    let live: Vec<&Row> =
        networks.iter().flat_map(|network| &network.rows).filter(|row| is_live(row)).collect();
    for ((namespace, name), pod) in pods.iter().filter(|(_, pod)| !pod.over) {
        let own = |row: &&&Row| row.binding.pod() == Some((namespace, name));
        let bound: BTreeSet<IpAddr> =
            live.iter().filter(own).flat_map(|row| row.binding.addresses.iter().copied()).collect();
        for address in pod.addresses.iter().filter(|address| !bound.contains(address)) {
            let holder = live.iter().find(|row| row.binding.addresses.contains(address));
            let holds = match holder {
                // Whose a lease of another program is, is not known.
                Some(row) if row.binding.pod().is_none() => continue,
                Some(row) => format!("is bound to {}", row.binding.identity),
                None if !bound.is_empty() => format!("is not bound to it, which has {}", list(&bound)),
                None if networks.iter().any(|network| network.in_range(*address)) => {
                    "is bound to nobody".to_owned()
                }
                // From elsewhere.
                None => continue,
            };
            found.insert(format!(
                "the API server says that pod {namespace}/{name} has {address}, which {holds}"
            ));
        }
    }
    found.extend(node.and_then(|node| outside(networks, node)));
    found
}

fn is_live(row: &Row) -> bool {
    matches!(row.held, Held::Live | Held::Foreign)
}

/// That no network hands out addresses in the range that the cluster has given to the node, in a family in which some network hands
/// out addresses.
fn outside(networks: &[&Snapshot], node: &Node) -> Option<String> {
    let ranges: Vec<(IpAddr, IpAddr)> =
        networks.iter().flat_map(|network| network.ranges().iter().copied()).collect();
    let lost: Vec<String> = node
        .pod_cidrs
        .iter()
        .filter(|cidr| {
            let mut family =
                ranges.iter().filter(|range| range.0.is_ipv4() == cidr.network().is_ipv4()).peekable();
            // Ranges and networks overlap where one has the other's first address.
            family.peek().is_some()
                && !family
                    .any(|(first, last)| cidr.contains(*first) || (*first..=*last).contains(&cidr.network()))
        })
        .map(|cidr| cidr.canonical().to_string())
        .collect();
    let handed_out: Vec<String> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    (!lost.is_empty()).then(|| {
        format!(
            "the cluster has given this node {} for its pods (podCIDR), and addresses are handed out from {}",
            lost.join(", "),
            handed_out.join(", ")
        )
    })
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
