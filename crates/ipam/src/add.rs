//! ADD: one address per range set, the same as before if the pod was here before.

use std::net::IpAddr;
use std::path::Path;

use cni::{Address, Call, Dns, Env, Error, result_json};
use durable::fs::Fs;
use lease::{Identity, Request};

use crate::machine::Machine;
use crate::{failure, neighbour};

/// The longest container id and path that are taken, in bytes: bounds what one call can make us store.
const MAX_TEXT: usize = 1024;
/// The largest resolv.conf that is read, in bytes.
const MAX_RESOLV_CONF: usize = 1024 * 1024;

pub(crate) fn run(env: &Env, call: &Call, machine: &Machine, stdin: &[u8]) -> Result<String, Error> {
    for (name, value) in [("CNI_CONTAINERID", &env.container_id), ("CNI_NETNS", &env.netns)] {
        if value.len() > MAX_TEXT {
            return Err(Error::environment(format!("{name} is longer than {MAX_TEXT} bytes")));
        }
    }
    // Stock plugins find this out after they have answered; then the lease stays and two documents go out.
    check_netns(env, machine)?;
    let dns = resolv_conf(call, machine)?;
    let sets = &call.conf.ipam.sets;
    let request = Request {
        identity: identity(env, call),
        container: env.container_id.clone(),
        ifname: env.ifname.clone(),
        netns: env.netns.clone(),
        requested: requested(call, machine)?,
    };
    let (addresses, flush) =
        machine.with_store(|store| store.add(&request, sets)).map_err(|e| failure::of(&e))?;
    if let Some(flush) = flush {
        flush.run().map_err(|e| failure::of(&e))?;
    }
    neighbour::forget(stdin, &addresses);
    let addresses: Vec<Address> = addresses
        .iter()
        .zip(sets)
        .filter_map(|(address, set)| {
            let range = set.get(*address)?;
            Some(Address { address: *address, prefix: range.subnet.prefix, gateway: range.gateway })
        })
        .collect();
    Ok(result_json(call.conf.version, &addresses, &call.conf.ipam.routes, dns.as_ref()))
}

/// The pod, or the container where the runtime names no pod.
pub(crate) fn identity(env: &Env, call: &Call) -> Identity {
    match (&call.args.namespace, &call.args.pod) {
        (Some(namespace), Some(name)) => Identity::Pod {
            namespace: namespace.clone(),
            name: name.clone(),
            uid: call.args.uid.clone().unwrap_or_default(),
        },
        _ => Identity::Container(env.container_id.clone()),
    }
}

/// What configuration and runtime ask for; the pod's annotation speaks for the range sets that those say nothing of.
/// One annotation serves all the pod's networks, so what lies in none of this one's ranges is not for us.
fn requested(call: &Call, machine: &Machine) -> Result<Vec<IpAddr>, Error> {
    let mut requested = call.conf.ipam.requested.clone();
    for address in call.conf.ipam.annotated(&machine.policy)? {
        let set = call.conf.ipam.sets.iter().find(|set| set.get(address).is_some());
        if set.is_some_and(|set| !requested.iter().any(|other| set.get(*other).is_some())) {
            requested.push(address);
        }
    }
    Ok(requested)
}

fn check_netns(env: &Env, machine: &Machine) -> Result<(), Error> {
    if is_own_netns(env, machine) { Err(Error::same_netns()) } else { Ok(()) }
}

/// Whether the sandbox's network namespace is the plugin's own, where that is not allowed. One that cannot be opened
/// is no error: host-local never looks at it.
pub(crate) fn is_own_netns(env: &Env, machine: &Machine) -> bool {
    if env.netns_override || env.netns.is_empty() {
        return false;
    }
    let of = |path: &str| machine.fs.metadata(Path::new(path)).ok().map(|meta| (meta.dev, meta.ino));
    of(&env.netns).is_some_and(|theirs| of("/proc/self/ns/net") == Some(theirs))
}

fn resolv_conf(call: &Call, machine: &Machine) -> Result<Option<Dns>, Error> {
    let Some(path) = &call.conf.ipam.resolv_conf else { return Ok(None) };
    let bytes = durable::fs::read(&machine.fs, Path::new(path), MAX_RESOLV_CONF)
        .map_err(|e| Error::internal(format!("open {path}: {e}")))?;
    cni::resolv::parse(path, &bytes).map(Some)
}
