//! The link between a node and its cloud, and everything that can happen to it.
//!
//! A pair of network devices, one in each machine's namespace. What befalls the link stays so over a reboot of the
//! node, until [`Wan::heal`].

use std::net::Ipv4Addr;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::machine::Machine;
use crate::sys;

/// The cloud's address on the link.
pub const CLOUD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The node's address on the link.
pub const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The port of the cloud's API server.
pub const API_PORT: u16 = 6443;
/// The port in the cloud at which a relay takes what is meant for the API server.
pub const RELAY_PORT: u16 = 6444;
/// The pods' addresses: the cloud knows its way to them.
pub const PODS: &str = "10.244.0.0/16";
const DEVICE: &str = "wan0";

/// Counts on the cloud's side, before anything of a verb is applied to what arrives and after it to what leaves, so
/// that a packet thrown away by the cloud's black hole was still sent by the node. IP packets; ARP is not counted.
const COUNTERS: &str = "table inet wan {
  counter to_cloud { }
  counter from_cloud { }
  chain arriving { type filter hook prerouting priority -310; iifname wan0 counter name to_cloud; }
  chain leaving { type filter hook postrouting priority 310; oifname wan0 counter name from_cloud; }
}";

/// What has befallen the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    Cut,
    BlackHole,
    Refusing,
    Relayed,
}

/// What has crossed the link since the cloud was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of IP packets that reached the cloud's end.
    pub to_cloud: u64,
    /// Bytes of IP packets that left it.
    pub from_cloud: u64,
}

/// The link.
pub struct Wan {
    state: State,
}

impl Wan {
    /// A whole link into `cloud`, not yet plugged into a node.
    ///
    /// # Errors
    ///
    /// nft is not installed, or refuses.
    pub fn new(cloud: &Machine) -> Result<Self> {
        nft(cloud, COUNTERS)?;
        Ok(Self { state: State::Whole })
    }

    /// Plugs the link into a node that has just been booted.
    ///
    /// # Errors
    ///
    /// A device or an address could not be made.
    pub fn plug(&self, node: &Machine, cloud: &Machine) -> Result<()> {
        // The cloud's end went with the node's, some time after the node's namespace lost its name.
        let _ = ip(cloud, &["link", "delete", DEVICE]);
        // From outside: neither machine knows a name of the other's namespace.
        let peer = ["type", "veth", "peer", "name", DEVICE, "netns", cloud.name()];
        sys::run(&[["ip", "-netns", node.name(), "link", "add", DEVICE].as_slice(), &peer].concat())?;
        ip(cloud, &["address", "add", &format!("{CLOUD}/30"), "dev", DEVICE])?;
        ip(cloud, &["link", "set", DEVICE, "up"])?;
        ip(cloud, &["route", "add", PODS, "via", &NODE.to_string()])?;
        ip(node, &["address", "add", &format!("{NODE}/30"), "dev", DEVICE])?;
        // kubelet 1.20 looks for a cloud provider's metadata when it starts, for seconds if nobody answers.
        ip(node, &["route", "add", "unreachable", "169.254.169.254"])?;
        if self.state == State::Cut { Ok(()) } else { raise(node) }
    }

    /// Cuts the link at the node's end: the node has no route to the cloud any more.
    ///
    /// # Errors
    ///
    /// The device could not be set.
    pub fn cut(&mut self, node: &Machine, cloud: &Machine) -> Result<()> {
        self.heal(node, cloud)?;
        self.state = State::Cut;
        ip(node, &["link", "set", DEVICE, "down"])
    }

    /// The cloud's end swallows everything, both ways, and says nothing.
    ///
    /// # Errors
    ///
    /// nft refuses.
    pub fn black_hole(&mut self, node: &Machine, cloud: &Machine) -> Result<()> {
        self.befall(
            State::BlackHole,
            node,
            cloud,
            "chain in { type filter hook input priority 0; iifname wan0 drop; }
             chain out { type filter hook output priority 0; oifname wan0 drop; }",
        )
    }

    /// The cloud's end answers everything that is meant for the API server with a reset, as a host does on which
    /// nothing listens; connections that stand get it with their next packet.
    ///
    /// # Errors
    ///
    /// nft refuses.
    pub fn refuse(&mut self, node: &Machine, cloud: &Machine) -> Result<()> {
        let rules = format!(
            "chain in {{ type filter hook input priority 0;
               iifname wan0 tcp dport {API_PORT} reject with tcp reset; }}
             chain out {{ type filter hook output priority 0;
               oifname wan0 tcp sport {API_PORT} tcp flags & rst == 0 drop; }}"
        );
        self.befall(State::Refusing, node, cloud, &rules)
    }

    /// Leads everything that is meant for the API server to [`RELAY_PORT`] in the cloud; connections that stand are
    /// reset. A relay must listen there.
    ///
    /// # Errors
    ///
    /// nft refuses.
    pub fn relay(&mut self, node: &Machine, cloud: &Machine) -> Result<()> {
        let rules = format!(
            "chain to_relay {{ type nat hook prerouting priority dstnat;
               iifname wan0 tcp dport {API_PORT} redirect to :{RELAY_PORT}; }}
             chain in {{ type filter hook input priority 0;
               iifname wan0 tcp dport {API_PORT} reject with tcp reset; }}"
        );
        self.befall(State::Relayed, node, cloud, &rules)
    }

    /// Makes the link whole again.
    ///
    /// # Errors
    ///
    /// nft or ip refuses.
    pub fn heal(&mut self, node: &Machine, cloud: &Machine) -> Result<()> {
        if self.state == State::Cut && node.is_on() {
            raise(node)?;
        }
        self.state = State::Whole;
        nft(cloud, "table inet trouble { }; delete table inet trouble")
    }

    fn befall(&mut self, state: State, node: &Machine, cloud: &Machine, rules: &str) -> Result<()> {
        self.heal(node, cloud)?;
        self.state = state;
        nft(cloud, &format!("table inet trouble {{\n{rules}\n}}"))
    }

    /// What has crossed the link so far.
    ///
    /// # Errors
    ///
    /// nft refuses.
    pub fn traffic(&self, cloud: &Machine) -> Result<Traffic> {
        let told = cloud.run(&["nft", "--json", "list", "counters", "table", "inet", "wan"])?;
        let told: Value = serde_json::from_str(&told).context("nft's answer is not JSON")?;
        let bytes = |name: &str| {
            let entries = told.get("nftables").and_then(Value::as_array).into_iter().flatten();
            let mut counters = entries.filter_map(|entry| entry.get("counter"));
            let found = counters.find(|one| one.get("name").and_then(Value::as_str) == Some(name));
            let bytes = found.and_then(|one| one.get("bytes")).and_then(Value::as_u64);
            bytes.ok_or_else(|| anyhow!("nft has no counter {name}: {told}"))
        };
        Ok(Traffic { to_cloud: bytes("to_cloud")?, from_cloud: bytes("from_cloud")? })
    }

    /// That nothing at all has reached the cloud since `before`.
    ///
    /// # Errors
    ///
    /// Something has.
    pub fn silent_since(&self, before: Traffic, cloud: &Machine) -> Result<String> {
        let now = self.traffic(cloud)?;
        if now.to_cloud != before.to_cloud {
            bail!("{} bytes reached the cloud", now.to_cloud - before.to_cloud);
        }
        Ok(format!("still {} bytes", now.to_cloud))
    }
}

fn raise(node: &Machine) -> Result<()> {
    ip(node, &["link", "set", DEVICE, "up"])?;
    ip(node, &["route", "replace", "default", "via", &CLOUD.to_string()])
}

fn ip(machine: &Machine, words: &[&str]) -> Result<()> {
    machine.run(&[&["ip"], words].concat()).map(drop)
}

fn nft(machine: &Machine, rules: &str) -> Result<()> {
    sys::output_of(&mut machine.command(&["nft", "--file", "-"])?, rules).map(drop)
}
