//! DEL: the sandbox is dead; its addresses are held for its pod. Never fails for what is not there.

use cni::{Call, Env, Error};
use lease::Identity;

use crate::add::{identity, is_own_netns};
use crate::failure;
use crate::machine::{Machine, note};

pub(crate) fn run(env: &Env, call: &Call, machine: &Machine) -> Result<String, Error> {
    let identity = Some(identity(env, call)).filter(|identity| matches!(identity, Identity::Pod { .. }));
    let done = machine.with_store(|store| store.del(&env.container_id, &env.ifname, identity.as_ref()));
    match done {
        // No flush: what a power cut undoes here, the next boot shows by itself (no sandbox lives through it).
        Ok(((), _flush)) => {}
        Err(
            error @ (lease::Error::Io { .. }
            | lease::Error::Journal(_)
            | lease::Error::NotDurable(_)
            | lease::Error::Interfered(_)),
        ) => {
            // Our own state is out of reach, yet the sandbox must be allowed to go: do what stock host-local does.
            note(&format!("releasing {} in host-local's directory alone: {error}", env.container_id));
            let wait = machine.policy.lock_timeout / 4;
            let places = &machine.places;
            lease::release_by_scan(&machine.fs, &places.data, &env.container_id, &env.ifname, wait)
                .map_err(|e| failure::of(&e))?;
        }
        Err(error) => return Err(failure::of(&error)),
    }
    if is_own_netns(env, machine) { Err(Error::same_netns()) } else { Ok(String::new()) }
}
