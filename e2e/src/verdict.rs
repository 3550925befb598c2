//! Verdicts on pods: who came home, who has which addresses, and how several failures are told in one line.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Result, bail};

use crate::pods::Pod;

/// Addresses by pod name.
pub type Homes = BTreeMap<String, Vec<IpAddr>>;

/// Where each pod is now.
pub fn homes(pods: &[Pod]) -> Homes {
    pods.iter().map(|pod| (pod.name.clone(), pod.all_addresses())).collect()
}

/// Whether each pod has one address of each family.
///
/// # Errors
///
/// One has not.
pub fn dual_stack(pods: &[Pod]) -> Result<String> {
    let has =
        |pod: &Pod, v4: bool| pod.addresses.iter().filter(|address| address.is_ipv4() == v4).count() == 1;
    let lacking: Vec<String> = pods
        .iter()
        .filter(|pod| !has(pod, true) || !has(pod, false))
        .map(|pod| format!("{} has {:?}", pod.name, pod.addresses))
        .collect();
    none_of(&lacking, format!("{} pods", pods.len()))
}

/// Whether each pod has the addresses that it had at first; a loss is told with both.
///
/// # Errors
///
/// A pod is elsewhere.
pub fn at_home(homes: &Homes, pods: &[Pod]) -> Result<String> {
    let away: Vec<String> = pods
        .iter()
        .filter(|pod| homes.get(&pod.name) != Some(&pod.all_addresses()))
        .map(|pod| {
            let home = homes.get(&pod.name).map(Vec::as_slice).unwrap_or_default();
            format!("{} has {:?}, was at {home:?}", pod.name, pod.all_addresses())
        })
        .collect();
    let kept = format!("{} of {} pods kept theirs", pods.len() - away.len(), pods.len());
    none_of(&away, kept.clone()).map_err(|error| error.context(kept))
}

/// Success with `detail` if there is no failure; else an error that counts them and tells the first three.
///
/// # Errors
///
/// There is a failure.
pub fn none_of(failures: &[String], detail: String) -> Result<String> {
    if failures.is_empty() {
        return Ok(detail);
    }
    let first: Vec<&str> = failures.iter().take(3).map(String::as_str).collect();
    let more = if failures.len() > first.len() { "; …" } else { "" };
    bail!("{} wrong: {}{more}", failures.len(), first.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, addresses: [&str; 2]) -> Pod {
        let mut pod = Pod::new(name.to_owned(), None).unwrap();
        pod.addresses = addresses.map(|address| address.parse().unwrap()).to_vec();
        pod
    }

    #[test]
    fn a_pod_that_came_back_elsewhere_in_one_family_is_away_from_home() {
        let before = [pod("a", ["10.0.0.2", "fd00::2"]), pod("b", ["10.0.0.3", "fd00::3"])];
        let after = [pod("b", ["10.0.0.3", "fd00::3"]), pod("a", ["10.0.0.2", "fd00::4"])];
        let error = at_home(&homes(&before), &after).unwrap_err();
        let told = format!("{error:#}");
        assert!(told.starts_with("1 of 2 pods kept theirs: 1 wrong: a has"), "{told}");
        assert!(at_home(&homes(&before), &before).is_ok());
    }

    #[test]
    fn a_pod_with_two_addresses_of_one_family_is_not_dual_stack() {
        assert!(dual_stack(&[pod("a", ["10.0.0.2", "fd00::2"])]).is_ok());
        assert!(dual_stack(&[pod("a", ["10.0.0.2", "10.0.0.3"])]).is_err());
    }
}
