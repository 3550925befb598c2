//! `edgekeep hub`: reads the configuration and becomes the hub.

use std::path::Path;

use durable::os::OsFs;
use hub::config::{Config, PATH};

use crate::args::Hub;
use crate::{Failure, table};

pub fn run(what: &Hub) -> Result<(), Failure> {
    let (path, named) = match &what.config {
        Some(path) => (path.as_path(), true),
        None => (Path::new(PATH), false),
    };
    let config = Config::load(&OsFs, path, named).map_err(|e| e.to_string())?;
    if what.print_config {
        return table::print(&config.to_yaml());
    }
    hub::run::run(config).map_err(|e| e.to_string())
}
