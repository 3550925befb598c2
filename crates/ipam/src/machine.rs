//! The machine as one call sees it: the moment, the policy, the places of the network.

use std::path::Path;

use cni::retain::{NodeFile, Policy};
use cni::{Call, Command, Error};
use durable::journal;
use durable::os::OsFs;
use durable::place::is_volatile;
use lease::machine::{Dirs, node_file, now};
use lease::{Flush, Now, Places, Store};

use crate::failure;

/// Everything a command needs besides the call itself.
pub(crate) struct Machine {
    pub fs: OsFs,
    pub now: Now,
    pub places: Places,
    pub policy: Policy,
}

/// A variable of the environment; bytes that are not UTF-8 are replaced.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

impl Machine {
    pub fn read(call: &Call) -> Result<Machine, Error> {
        let node = match node_file(&OsFs, variable) {
            // A sandbox must be allowed to go, whatever was typed into that file.
            Err(error) if call.command == Command::Del => {
                note(&error.msg);
                NodeFile::default()
            }
            other => other?,
        };
        let dirs = Dirs::resolve(variable, &node);
        Ok(Machine {
            fs: OsFs,
            now: now(&OsFs, variable).map_err(|e| failure::of(&e))?,
            places: dirs.places(Path::new(&call.conf.ipam.data_dir), &call.conf.name),
            policy: Policy::resolve(&call.conf.ipam.retain, &node.keys),
        })
    }

    /// Opens the network's bindings.
    pub fn open(&self) -> Result<Store<'_, OsFs>, lease::Error> {
        let store = Store::open(&self.fs, &self.places, &self.now, &self.policy)?;
        if store.is_fresh() && is_volatile(&self.places.state) {
            note(&format!(
                "{} is in memory: pods lose their addresses at the next reboot; set stateDir in {} to a directory on a disk",
                self.places.state.display(),
                lease::machine::CONFIG
            ));
        }
        Ok(store)
    }

    /// Runs a command on the network's bindings and leaves them whole. What it was given to say is true once the
    /// flush that comes with it has been run.
    pub fn with_store<T>(
        &self,
        command: impl Fn(&mut Store<'_, OsFs>) -> Result<T, lease::Error>,
    ) -> Result<(T, Option<Flush<'_, OsFs>>), lease::Error> {
        match self.try_with_store(&command) {
            // The index led to a record that the disk has damaged since, and was thrown away for it: this time the
            // whole journal is read, and what is left of it used.
            Err(lease::Error::Journal(journal::Error::Unreadable { .. })) => self.try_with_store(&command),
            other => other,
        }
    }

    fn try_with_store<T>(
        &self,
        command: impl Fn(&mut Store<'_, OsFs>) -> Result<T, lease::Error>,
    ) -> Result<(T, Option<Flush<'_, OsFs>>), lease::Error> {
        let mut store = self.open()?;
        let result = command(&mut store);
        let (flush, notes) = store.finish();
        notes.iter().for_each(|text| note(text));
        result.map(|value| (value, flush))
    }
}

/// Says something to the operator: runtimes pass stderr on to their log.
pub(crate) fn note(text: &str) {
    eprintln!("edgekeep-ipam: {text}");
}
