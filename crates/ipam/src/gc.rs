//! GC: what belongs to none of the attachments that the runtime names is parked.

use cni::{Call, Error};

use crate::failure;
use crate::machine::{Machine, note};

pub(crate) fn run(call: &Call, machine: &Machine) -> Result<String, Error> {
    // The frame has made sure that there is a list; none at all would park everything.
    let attachments = call.conf.valid_attachments.iter().flatten();
    let valid: Vec<(String, String)> =
        attachments.map(|one| (one.container_id.clone(), one.ifname.clone())).collect();
    let collected = machine.with_store(|store| store.collect(&valid));
    let (count, _flush) = collected.map_err(|e| failure::of(&e))?;
    if count > 0 {
        note(&format!("{count} leases of sandboxes that the runtime no longer names were parked"));
    }
    Ok(String::new())
}
