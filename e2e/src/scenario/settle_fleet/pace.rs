//! How fast the hubs asked.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::cloud::requests::Request;

const SECOND: u64 = 1_000_000;
/// So many seconds are told one by one.
const TOLD: u64 = 40;

/// What the hubs asked, in order.
pub struct Pace {
    /// When each request came, in microseconds since the first.
    all: Vec<u64>,
    /// Of these, what settling asked.
    settling: Vec<u64>,
    /// The same for each node.
    each: BTreeMap<String, Vec<u64>>,
    /// How many there were of each kind.
    kinds: BTreeMap<String, usize>,
}

impl Pace {
    /// Of what came over the link, whoever the hub asked for.
    pub fn of(requests: &[Request]) -> Self {
        let mut pace =
            Self { all: Vec::new(), settling: Vec::new(), each: BTreeMap::new(), kinds: BTreeMap::new() };
        let crossed = || requests.iter().filter(|request| request.crossed_the_link());
        let first = crossed().map(|request| request.received).min().unwrap_or_default();
        for request in crossed() {
            let at = request.received - first;
            pace.all.push(at);
            if is_settling(request) {
                pace.settling.push(at);
                pace.each.entry(request.user.clone()).or_default().push(at);
            }
            let path = request.uri.split('?').next().unwrap_or_default();
            let resource = ["pods", "events", "leases", "nodes", "services", "endpointslices"];
            let resource = resource.iter().find(|name| path.contains(&format!("/{name}")));
            *pace.kinds.entry(format!("{} {}", request.verb, resource.unwrap_or(&path))).or_default() += 1;
        }
        pace.all.sort_unstable();
        pace.settling.sort_unstable();
        pace.each.values_mut().for_each(|times| times.sort_unstable());
        pace
    }

    /// Whether settling asked at no moment more than so many things in the second before.
    ///
    /// # Errors
    ///
    /// It did.
    pub fn within(&self, most: usize) -> Result<String> {
        let all = busiest(&self.settling);
        let one = self.each.values().map(|times| busiest(times)).max().unwrap_or_default();
        let told = format!("{all} requests of all hubs, {one} of one of them");
        if all > most {
            bail!("{told}; wanted at most {most}");
        }
        Ok(told)
    }

    /// The same of all that came: watches that are taken up again, probes, and what kubelets ask.
    ///
    /// # Errors
    ///
    /// More came.
    pub fn all_within(&self, most: usize) -> Result<String> {
        let all = busiest(&self.all);
        if all > most {
            bail!("{all} requests; wanted at most {most}");
        }
        Ok(format!("{all} requests"))
    }

    /// What there was in each second, and of what kind.
    pub fn told(&self) -> String {
        let last = self.all.last().copied().unwrap_or_default() / SECOND;
        let seconds = |times: &[u64]| {
            let of = |second: u64| times.iter().filter(|at| **at / SECOND == second).count().to_string();
            (0..=last.min(TOLD)).map(of).collect::<Vec<_>>().join(" ")
        };
        let kinds: Vec<String> = self.kinds.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        format!(
            "{} requests, with what watches and kubelets ask {}, of these {} in the busiest second\n  in each second {}\n  \
             with all {}\n  {}",
            self.settling.len(),
            self.all.len(),
            busiest(&self.all),
            seconds(&self.settling),
            seconds(&self.all),
            kinds.join(", ")
        )
    }
}

/// Whether it is of settling: of the node, and neither a watch that is taken up again nor kubelet's own.
fn is_settling(request: &Request) -> bool {
    let of_watches = request.verb == "watch" || request.uri.contains("limit=");
    let path = request.uri.split('?').next().unwrap_or_default();
    let is_other = path.ends_with("z") || path.contains("/leases");
    request.user.starts_with("system:node:") && !of_watches && !is_other
}

/// The most that came within any second, wherever it begins.
fn busiest(times: &[u64]) -> usize {
    let from = |at: usize| {
        let end = times.get(at).copied().unwrap_or_default() + SECOND;
        times.partition_point(|time| *time < end) - at
    };
    (0..times.len()).map(from).max().unwrap_or_default()
}

/// That the API server told nobody to come later, by its log and by its own figures.
///
/// # Errors
///
/// It did.
pub fn busy(requests: &[Request], figures: &str) -> Result<String> {
    let logged: Vec<&Request> = requests.iter().filter(|request| request.code == Some(429)).collect();
    let first: Vec<String> = logged
        .iter()
        .take(5)
        .map(|request| format!("{} {} by {}", request.verb, request.uri, request.user))
        .collect();
    let counted = figures.lines().filter(|line| {
        line.starts_with("apiserver_request_total{") && line.contains("code=\"429\"")
            || line.starts_with("apiserver_dropped_requests_total{") && !line.ends_with(" 0")
    });
    let counted: Vec<&str> = counted.collect();
    match (logged.len(), counted.as_slice()) {
        (0, []) => Ok(format!("not one of {}", requests.len())),
        (logged, counted) => bail!("{logged} in the log, first {first:?}; {counted:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_second_is_found_wherever_it_begins() {
        assert_eq!(busiest(&[0, 900_000, 1_100_000, 1_899_999, 1_900_000, 3_000_000]), 3);
        assert_eq!(busiest(&[]), 0);
    }
}
