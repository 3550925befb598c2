//! `edgekeep leases export`: the bindings in the layout of OpenYurt's host-local, for going (back) to it.

use std::fs;

use crate::args::Export;
use crate::{Failure, table};

/// An empty file `<address>_<namespace>_<pod>` per pod and address, in a directory per network.
pub fn run(export: &Export) -> Result<(), Failure> {
    let (views, _) = super::views(&export.select, &export.places)?;
    let mut text = String::new();
    for view in views {
        let dir = export.to.join(&view.network);
        if fs::canonicalize(&dir)
            .is_ok_and(|dir| fs::canonicalize(&view.directory).is_ok_and(|used| used == dir))
        {
            return Err(format!(
                "{} is in use by edgekeep-ipam, which would take the files over again at once: export to another \
                 directory, put OpenYurt's host-local in place, then copy them",
                dir.display()
            ));
        }
        fs::create_dir_all(&dir).map_err(|e| format!("cannot create directory {}: {e}", dir.display()))?;
        let mut count = 0;
        for row in &view.rows {
            let Some((namespace, name)) = row.binding.pod() else { continue };
            for address in &row.binding.addresses {
                let path = dir.join(format!("{address}_{namespace}_{name}"));
                fs::write(&path, "").map_err(|e| format!("cannot write {}: {e}", path.display()))?;
                count += 1;
            }
        }
        text += &format!("{}: {count} reservations in {}\n", view.network, dir.display());
    }
    table::print(&text)
}
