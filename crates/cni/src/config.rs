//! The network configuration: host-local's keys, and `ipam.retain` beside them.
//!
//! Everything that is not named here is ignored at any depth, as host-local ignores it. Invariant: a key that is
//! read and holds the wrong thing is refused, never guessed at. Of several equal keys the last wins as a whole.

use crate::addr::{Cidr, parse_address, parse_requested};
use crate::args::Args;
use crate::error::{Error, quote};
use crate::frame::Command;
use crate::json::{Json, Node};
use crate::range::{RangeSet, Spec, build_sets};
use crate::retain::{self, Keys, Policy};
use crate::version::Version;
use std::net::IpAddr;

/// Where host-local keeps its files unless told otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

/// One network, as the caller of the plugin configured it.
#[derive(Debug, Clone, PartialEq)]
pub struct NetConf {
    /// The version in which to answer.
    pub version: Version,
    /// The network's name: safe as the name of a directory.
    pub name: String,
    /// The `ipam` part, joined with what the runtime added elsewhere.
    pub ipam: Ipam,
    /// GC only: the attachments that still exist. `None` for every other command.
    pub valid_attachments: Option<Vec<Attachment>>,
}

/// What to allocate from and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Ipam {
    /// The directory that holds one directory for each network.
    pub data_dir: String,
    /// `runtimeConfig.ipRanges`, then the deprecated single range, then `ranges`; at least one set.
    pub sets: Vec<RangeSet>,
    /// Passed through to the result.
    pub routes: Vec<Route>,
    /// The file to read DNS settings from.
    pub resolv_conf: Option<String>,
    /// Addresses asked for: `IP` of `CNI_ARGS`, `args.cni.ips`, `runtimeConfig.ips`; each once.
    pub requested: Vec<IpAddr>,
    /// Our own keys, `ipam.retain`.
    pub retain: Keys,
    /// The pod's annotations, if the configuration declares the capability and the runtime passes them.
    pub annotations: Vec<(String, String)>,
}

impl Ipam {
    /// The addresses that the pod's annotation asks for, as `policy` names it. Errors have code 999.
    pub fn annotated(&self, policy: &Policy) -> Result<Vec<IpAddr>, Error> {
        let Some(key) = &policy.ip_annotation else { return Ok(Vec::new()) };
        match self.annotations.iter().rfind(|(name, _)| name == key) {
            Some((_, value)) => parse_annotation(key, value),
            None => Ok(Vec::new()),
        }
    }
}

/// A route for the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The destination; host bits are kept as they were written.
    pub dst: Cidr,
    /// The next hop.
    pub gw: Option<IpAddr>,
    /// 0 means none.
    pub mtu: i64,
    /// 0 means none.
    pub advmss: i64,
    /// 0 means none.
    pub priority: i64,
    /// 0 is a value of its own.
    pub table: Option<i64>,
    /// 0 is a value of its own.
    pub scope: Option<i64>,
}

/// A container's interface, as GC lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// `containerID`
    pub container_id: String,
    /// `ifname`
    pub ifname: String,
}

impl NetConf {
    /// Reads the document that [`crate::Call::parse`] has looked into already. Host-local's refusals have code 999,
    /// those of `retain` and of the attachments code 7.
    pub(crate) fn parse(
        top: &Node,
        name: String,
        version: Version,
        command: Command,
        args: &str,
    ) -> Result<(NetConf, Args), Error> {
        let mut asked = Vec::new();
        let mut ranges = Vec::new();
        let mut annotations = Vec::new();
        read_args(top, &mut asked)?;
        read_runtime(top, &mut asked, &mut ranges, &mut annotations)?;
        let Some(ipam) = top.get("ipam")? else {
            return Err(Error::internal("IPAM config missing 'ipam' key"));
        };
        ipam.string_at("type")?;
        let data_dir = match ipam.string_at("dataDir")? {
            "" => DEFAULT_DATA_DIR,
            dir => dir,
        };
        let resolv_conf = Some(ipam.string_at("resolvConf")?).filter(|path| !path.is_empty());
        let routes = read_routes(&ipam)?;
        let deprecated = read_spec(&ipam)?;
        if deprecated.subnet.is_some() {
            ranges.push(vec![deprecated]);
        }
        read_ranges(&ipam, "ranges", &mut ranges)?;
        let retain = match retain::from_ipam(&ipam) {
            // A sandbox must be allowed to go, whatever was typed into the policy; ADD says what is wrong with it.
            Err(_) if command == Command::Del => Keys::default(),
            other => other?,
        };
        let args = match command {
            Command::Add | Command::Check => Args::strict(args)?,
            Command::Del | Command::Gc | Command::Status => Args::lenient(args),
        };
        let ipam = Ipam {
            data_dir: data_dir.to_owned(),
            sets: build_sets(&ranges, version)?,
            routes,
            resolv_conf: resolv_conf.map(str::to_owned),
            requested: each_once(args.ip.into_iter().chain(asked)),
            retain,
            annotations,
        };
        let valid_attachments = match command {
            Command::Gc => Some(read_attachments(top)?),
            _ => None,
        };
        Ok((NetConf { version, name, ipam, valid_attachments }, args))
    }
}

fn each_once(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut once = Vec::new();
    for address in addresses {
        if !once.contains(&address) {
            once.push(address);
        }
    }
    once
}

fn read_args(top: &Node, asked: &mut Vec<IpAddr>) -> Result<(), Error> {
    let Some(args) = top.get("args")? else { return Ok(()) };
    let Some(cni) = args.get("cni")? else { return Ok(()) };
    read_requested(&cni, asked)
}

/// What the runtime adds for the capabilities `ips`, `ipRanges` and `io.kubernetes.cri.pod-annotations`.
fn read_runtime(
    top: &Node,
    asked: &mut Vec<IpAddr>,
    ranges: &mut Vec<Vec<Spec>>,
    annotations: &mut Vec<(String, String)>,
) -> Result<(), Error> {
    let Some(runtime) = top.get("runtimeConfig")? else { return Ok(()) };
    read_requested(&runtime, asked)?;
    read_ranges(&runtime, "ipRanges", ranges)?;
    let Some(given) = runtime.get("io.kubernetes.cri.pod-annotations")? else { return Ok(()) };
    for member in given.members()? {
        annotations.push((member.key().to_owned(), member.str()?.to_owned()));
    }
    Ok(())
}

/// Reads `ips`. Where Go crashes on null, this refuses it.
fn read_requested(parent: &Node, asked: &mut Vec<IpAddr>) -> Result<(), Error> {
    let Some(ips) = parent.get("ips")? else { return Ok(()) };
    for item in ips.items()? {
        if item.is_null() {
            let place = item.path();
            return Err(Error::internal(format!(
                "{place} is null; write an IP address or leave the entry out"
            )));
        }
        let text = item.str()?;
        if text.is_empty() {
            return Err(Error::internal("cannot understand ip: IP <nil> not v4 nor v6"));
        }
        let invalid = || Error::internal(format!("invalid IP address {text}"));
        asked.push(parse_requested(text).ok_or_else(invalid)?);
    }
    Ok(())
}

/// Reads a list of range sets. A null set is an empty one and a null range one without a subnet, as in Go.
fn read_ranges(parent: &Node, key: &str, sets: &mut Vec<Vec<Spec>>) -> Result<(), Error> {
    let Some(list) = parent.get(key)? else { return Ok(()) };
    for set in list.items()? {
        let mut specs = Vec::new();
        if !set.is_null() {
            for range in set.items()? {
                specs.push(if range.is_null() { Spec::default() } else { read_spec(&range)? });
            }
        }
        sets.push(specs);
    }
    Ok(())
}

fn read_spec(node: &Node) -> Result<Spec, Error> {
    Ok(Spec {
        subnet: read_cidr(node, "subnet")?,
        start: read_address(node, "rangeStart")?,
        end: read_address(node, "rangeEnd")?,
        gateway: read_address(node, "gateway")?,
    })
}

/// A prefix that is null or empty is a wrong one, not an absent one.
fn read_cidr(parent: &Node, key: &str) -> Result<Option<Cidr>, Error> {
    let Some(node) = parent.find(key)? else { return Ok(None) };
    let text = if node.is_null() { "" } else { node.str()? };
    let invalid = || Error::internal(format!("invalid CIDR address: {text}"));
    Cidr::parse(text).map(Some).ok_or_else(invalid)
}

/// An address that is null or empty is an absent one.
fn read_address(parent: &Node, key: &str) -> Result<Option<IpAddr>, Error> {
    let text = parent.string_at(key)?;
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || Error::internal(format!("invalid IP address: {text}"));
    parse_address(text).map(Some).ok_or_else(invalid)
}

fn read_routes(ipam: &Node) -> Result<Vec<Route>, Error> {
    let mut routes = Vec::new();
    let Some(list) = ipam.get("routes")? else { return Ok(routes) };
    for item in list.items()? {
        let dst = if item.is_null() { None } else { read_cidr(&item, "dst")? };
        let Some(dst) = dst else {
            let place = item.path();
            return Err(Error::internal(format!("{place} has no dst; give it one, such as 0.0.0.0/0")));
        };
        let number = |key| item.get(key)?.map(|node| node.int()).transpose();
        routes.push(Route {
            dst: dst.canonical(),
            gw: read_address(&item, "gw")?,
            mtu: number("mtu")?.unwrap_or(0),
            advmss: number("advmss")?.unwrap_or(0),
            priority: number("priority")?.unwrap_or(0),
            table: number("table")?,
            scope: number("scope")?,
        });
    }
    Ok(routes)
}

/// Reads the list that GC must come with. To take a missing list for an empty one would declare every address of
/// the network unused, so that is refused.
fn read_attachments(top: &Node) -> Result<Vec<Attachment>, Error> {
    const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];
    let [key, twin] = KEYS;
    let found = match top.get(key)? {
        Some(list) => Some(list),
        None => top.get(twin)?,
    };
    let Some(list) = found else {
        // A Go runtime without any attachment sends its empty list as null; a key that is not there is no list.
        let says_null =
            top.members()?.any(|member| KEYS.contains(&member.key()) && *member.json == Json::Null);
        let missing = format!("GC needs {key}; without that list nothing can be told to be unused");
        return if says_null { Ok(Vec::new()) } else { Err(Error::config(missing)) };
    };
    let wrong =
        |place: String| Error::config(format!("{place}: want {{\"containerID\": \"…\", \"ifname\": \"…\"}}"));
    if !matches!(list.json, Json::List(_)) {
        return Err(Error::config(format!("{} is not a list", list.path())));
    }
    let mut attachments = Vec::new();
    for item in list.items()? {
        let text = |key| item.string_at(key).map_err(|_| wrong(item.path()));
        let attachment =
            Attachment { container_id: text("containerID")?.to_owned(), ifname: text("ifname")?.to_owned() };
        if attachment.container_id.is_empty() || attachment.ifname.is_empty() {
            return Err(wrong(item.path()));
        }
        attachments.push(attachment);
    }
    Ok(attachments)
}

/// Reads the value of an annotation that asks for fixed addresses: separated by commas, each possibly with a prefix
/// length, which has no meaning. A blank value asks for nothing. Errors have code 999 and name the annotation.
pub fn parse_annotation(key: &str, value: &str) -> Result<Vec<IpAddr>, Error> {
    if value.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut addresses = Vec::new();
    for text in value.split(',').map(str::trim) {
        let address = parse_requested(text).ok_or_else(|| {
            Error::internal(format!(
                "annotation {key}: {} is not an IP address; want addresses separated by commas",
                quote(text)
            ))
        })?;
        addresses.push(address);
    }
    Ok(each_once(addresses.into_iter()))
}

#[cfg(test)]
mod tests;
