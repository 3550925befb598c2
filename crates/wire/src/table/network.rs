//! Services and where they lead.

use std::collections::BTreeSet;

use super::Cell;
use super::cells::{age, at, count, list, name, number, text, text_or, texts};
use super::workload::format_map;
use crate::json::Node;

/// How many entries of a list are shown before they are only counted.
const SHOWN: usize = 3;

pub(super) fn service(object: Node<'_, '_>, now: i64) -> Vec<Cell> {
    let cluster_ip = texts(object, &["spec", "clusterIPs"]).into_iter().next();
    let ports: Vec<String> = list(object, &["spec", "ports"])
        .map(|port| {
            let (number, node_port) = (count(port, &["port"]), count(port, &["nodePort"]));
            let protocol = text(port, &["protocol"]);
            if node_port > 0 {
                format!("{number}:{node_port}/{protocol}")
            } else {
                format!("{number}/{protocol}")
            }
        })
        .collect();
    vec![
        name(object),
        text(object, &["spec", "type"]).into(),
        cluster_ip.unwrap_or_else(|| text_or(object, &["spec", "clusterIP"], "<none>")).into(),
        external_ip(object).into(),
        or(ports.join(","), "<none>").into(),
        age(object, now),
        format_map(at(object, &["spec", "selector"])).into(),
    ]
}

fn external_ip(object: Node<'_, '_>) -> String {
    let external = texts(object, &["spec", "externalIPs"]);
    match text(object, &["spec", "type"]).as_str() {
        "ClusterIP" | "NodePort" => or(external.join(","), "<none>"),
        "LoadBalancer" => {
            let ingress = list(object, &["status", "loadBalancer", "ingress"]);
            let balanced: BTreeSet<String> = ingress
                .map(|ingress| or(text(ingress, &["ip"]), &text(ingress, &["hostname"])))
                .filter(|address| !address.is_empty())
                .collect();
            let all: Vec<String> = balanced.into_iter().chain(external).collect();
            or(all.join(","), "<pending>")
        }
        "ExternalName" => text(object, &["spec", "externalName"]),
        _ => "<unknown>".to_owned(),
    }
}

pub(super) fn endpoints(object: Node<'_, '_>, now: i64) -> Vec<Cell> {
    let mut shown = Vec::new();
    for subset in list(object, &["subsets"]) {
        let addresses = || list(subset, &["addresses"]).map(|address| text(address, &["ip"]));
        let ports: Vec<i64> = list(subset, &["ports"]).map(|port| count(port, &["port"])).collect();
        if ports.is_empty() {
            // A headless service may have no ports.
            shown.extend(addresses());
        }
        for port in ports {
            shown.extend(addresses().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{port}"),
                false => format!("{ip}:{port}"),
            }));
        }
    }
    let none = if list(object, &["subsets"]).next().is_none() { "<none>" } else { "" };
    vec![name(object), shorten(&shown, none).into(), age(object, now)]
}

pub(super) fn endpoint_slice(object: Node<'_, '_>, now: i64) -> Vec<Cell> {
    let ports: Vec<String> = list(object, &["ports"])
        .map(|port| match number(port, &["port"]) {
            Some(number) => number.to_string(),
            None if at(port, &["name"]).is_some() => text(port, &["name"]),
            None => "*".to_owned(),
        })
        .collect();
    let addresses: Vec<String> =
        list(object, &["endpoints"]).flat_map(|endpoint| texts(endpoint, &["addresses"])).collect();
    vec![
        name(object),
        text(object, &["addressType"]).into(),
        shorten(&ports, "<unset>").into(),
        shorten(&addresses, "<unset>").into(),
        age(object, now),
    ]
}

/// The first entries, and how many there are more.
fn shorten(entries: &[String], none: &str) -> String {
    let shown = entries.get(..SHOWN.min(entries.len())).unwrap_or_default().join(",");
    match entries.len().saturating_sub(SHOWN) {
        0 => or(shown, none),
        more => format!("{shown} + {more} more..."),
    }
}

fn or(text: String, absent: &str) -> String {
    if text.is_empty() { absent.to_owned() } else { text }
}
