//! The programs of a cluster that `e2e/run` has built.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    kubernetes: PathBuf,
    /// The program `edgekeep`.
    edgekeep: PathBuf,
    /// The client made of client-go.
    pub clientgo: PathBuf,
}

impl Programs {
    /// Takes the places from the environment, where `e2e/run` has put them.
    ///
    /// # Errors
    ///
    /// It has not.
    pub fn find() -> Result<Self> {
        let place = |name: &str| {
            env::var_os(name).map(PathBuf::from).with_context(|| format!("{name} is not set; start e2e/run"))
        };
        Ok(Self {
            kubernetes: place("EDGEKEEP_KUBERNETES")?,
            edgekeep: place("EDGEKEEP")?,
            clientgo: place("EDGEKEEP_CLIENTGO")?,
        })
    }

    /// The path of a Kubernetes program, kubectl included.
    pub fn kubernetes(&self, name: &str) -> String {
        self.kubernetes.join(name).to_string_lossy().into_owned()
    }

    /// The path of the product's program.
    pub fn edgekeep(&self) -> String {
        self.edgekeep.to_string_lossy().into_owned()
    }
}
