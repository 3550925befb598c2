//! CHECK: does the container still hold a lease? Addresses are not compared, as in host-local.

use cni::{Env, Error};

use crate::failure;
use crate::machine::Machine;

pub(crate) fn run(env: &Env, machine: &Machine) -> Result<String, Error> {
    let checked = machine.with_store(|store| store.check(&env.container_id, &env.ifname));
    checked.map(|_| String::new()).map_err(|e| match e {
        lease::Error::NotFound => Error::internal(format!(
            "host-local: Failed to find address added by container {}",
            env.container_id
        )),
        other => failure::of(&other),
    })
}
