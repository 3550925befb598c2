//! STATUS: could one more pod be given addresses? Called every few seconds by newer runtimes: it decides as ADD
//! would, without giving anything away.

use cni::{Call, Error};

use crate::failure;
use crate::machine::Machine;

pub(crate) fn run(call: &Call, machine: &Machine) -> Result<String, Error> {
    match machine.with_store(|store| store.status(&call.conf.ipam.sets)) {
        Ok(_) => Ok(String::new()),
        Err(error @ lease::Error::Exhausted { .. }) => Err(Error::not_available(error.to_string())),
        Err(error) => Err(failure::of(&error)),
    }
}
