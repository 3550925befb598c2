//! The node forgets where an address was before.
//!
//! A pod that comes home has its old address on a new interface with a new MAC. Bridge plugins since 1.0 leave it to the
//! kernel's `arp_notify` to announce that, which does not reach the node (containernetworking/plugins#756), so the node
//! would go on sending to the dead MAC for up to a minute, and kubelet would restart the pod for its failing probes. With
//! host-local's round robin that is rare; here it is the usual case. So the entry is taken out of the node's neighbour
//! table when the address is handed out.

use std::net::IpAddr;

use cni::Json;
use rustix::net::netdevice::name_to_index;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};

/// `RTM_DELNEIGH`, `NLM_F_REQUEST`, `NDA_DST` of linux/rtnetlink.h, netlink.h and neighbour.h.
const RTM_DELNEIGH: u16 = 29;
const NLM_F_REQUEST: u16 = 1;
const NDA_DST: u16 = 1;
/// The bridge plugin's default.
const BRIDGE: &str = "cni0";

/// Takes the addresses out of the neighbour table of the bridge that the configuration names. Whatever fails here, the
/// entry ages out by itself.
pub(crate) fn forget(stdin: &[u8], addresses: &[IpAddr]) {
    let Some(bridge) = bridge(stdin) else { return };
    // Protocol 0 is NETLINK_ROUTE.
    let Ok(socket) = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None) else {
        return;
    };
    // Not from /sys, which may show another network namespace than the one that the runtime runs in.
    let Ok(index) = name_to_index(&socket, &bridge) else { return };
    for address in addresses {
        // The kernel has done it when the call returns; that there was no such entry is no news.
        let _ = sendto(&socket, &message(index, *address), SendFlags::empty(), &SocketAddrNetlink::new(0, 0));
    }
}

/// The bridge of a configuration of the bridge plugin; others make an interface that no neighbour table knows yet.
fn bridge(stdin: &[u8]) -> Option<String> {
    let Ok(Json::Object(members)) = Json::parse(stdin) else { return None };
    let text = |wanted: &str| {
        members.iter().rev().find(|(key, _)| key == wanted).and_then(|(_, value)| match value {
            Json::Str(text) => Some(text.clone()),
            _ => None,
        })
    };
    (text("type")? == "bridge").then(|| text("bridge").unwrap_or_else(|| BRIDGE.to_owned()))
}

/// An `nlmsghdr`, an `ndmsg`, and the address as an attribute.
#[allow(clippy::host_endian_bytes)] // netlink speaks the machine's own byte order; nothing of this reaches a file
fn message(index: u32, address: IpAddr) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (AddressFamily::INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AddressFamily::INET6, v6.octets().to_vec()),
    };
    let family = u8::try_from(family.as_raw()).unwrap_or(0);
    let mut body = vec![family, 0, 0, 0];
    body.extend_from_slice(&index.to_ne_bytes());
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(&u16::try_from(4 + octets.len()).unwrap_or(0).to_ne_bytes());
    body.extend_from_slice(&NDA_DST.to_ne_bytes());
    body.extend_from_slice(&octets);
    let mut message = u32::try_from(16 + body.len()).unwrap_or(0).to_ne_bytes().to_vec();
    message.extend_from_slice(&RTM_DELNEIGH.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bridge_configuration_names_a_bridge() {
        assert_eq!(bridge(br#"{"type":"bridge","bridge":"br7"}"#).as_deref(), Some("br7"));
        assert_eq!(bridge(br#"{"type":"bridge"}"#).as_deref(), Some("cni0"));
        assert_eq!(bridge(br#"{"type":"ptp"}"#), None);
        assert_eq!(bridge(b"garbage"), None);
    }

    #[test]
    fn a_message_has_the_length_that_it_says() {
        for (address, len) in [("10.0.0.1", 36), ("fd00::1", 48)] {
            let message = message(3, address.parse().unwrap());
            assert_eq!(message.len(), len);
            assert_eq!(message.first().copied(), u8::try_from(len).ok());
        }
    }
}
