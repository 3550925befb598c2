//! Whether systemd starts a unit at boot, by its files alone: those that are there after a reboot.

use std::path::{Path, PathBuf};

use durable::fs::Fs;

use crate::kubelet::machine::Machine;

/// Where units are that outlive a reboot, the first directory going before the next (systemd.unit(5)).
const DIRS: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Settings by which a unit starts others.
const PULLS: [&str; 4] = ["Wants=", "Requires=", "BindsTo=", "Upholds="];

/// What systemd does with a unit at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtBoot {
    /// It starts it.
    Starts,
    /// Nothing asks for it.
    Disabled,
    /// It is kept from starting it, by this file.
    Masked(PathBuf),
    /// There is no such unit.
    Absent,
}

/// What systemd does with a unit at boot. `others` are units that may ask for it by their settings. Errors name what
/// cannot be read.
pub fn at_boot<F: Fs>(machine: &Machine<'_, F>, unit: &str, others: &[&str]) -> Result<AtBoot, String> {
    let Some(main) = main(machine, unit)? else { return Ok(AtBoot::Absent) };
    if main.1.is_empty() {
        return Ok(AtBoot::Masked(main.0));
    }
    for dir in DIRS.map(Path::new) {
        for name in machine.names(dir)? {
            let wants = name.ends_with(".wants") || name.ends_with(".requires");
            if wants && machine.names(&dir.join(&name))?.iter().any(|wanted| wanted == unit) {
                return Ok(AtBoot::Starts);
            }
        }
    }
    for other in others {
        if asks(machine, other, unit)? && at_boot(machine, other, &[])? == AtBoot::Starts {
            return Ok(AtBoot::Starts);
        }
    }
    Ok(AtBoot::Disabled)
}

/// The unit's file and what is in it: nothing, if it is a link to /dev/null.
fn main<F: Fs>(machine: &Machine<'_, F>, unit: &str) -> Result<Option<(PathBuf, String)>, String> {
    for dir in DIRS.map(Path::new) {
        if let Some(file) = machine.unit_file(dir.join(unit))? {
            return Ok(Some((file.path, file.text)));
        }
    }
    Ok(None)
}

/// Whether the settings of a unit ask for another.
fn asks<F: Fs>(machine: &Machine<'_, F>, unit: &str, wanted: &str) -> Result<bool, String> {
    let mut texts: Vec<String> = main(machine, unit)?.into_iter().map(|(_, text)| text).collect();
    for dir in DIRS.map(|dir| Path::new(dir).join(format!("{unit}.d"))) {
        for name in machine.names(&dir)?.iter().filter(|name| name.ends_with(".conf")) {
            texts.extend(machine.unit_file(dir.join(name))?.map(|file| file.text));
        }
    }
    let names = |line: &str| {
        let value = PULLS.iter().find_map(|setting| line.trim().strip_prefix(setting));
        value.is_some_and(|value| value.split_whitespace().any(|name| name == wanted))
    };
    Ok(texts.iter().flat_map(|text| text.lines()).any(names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::tests::on;
    use testkit::power_cut::PowerCutFs;

    fn state(files: &[(&str, &str)], others: &[&str]) -> AtBoot {
        let fs = PowerCutFs::new();
        for (path, text) in files {
            fs.write(path, text).unwrap();
        }
        on(&fs, 0, |machine| at_boot(machine, "a.service", others)).unwrap()
    }

    const A: (&str, &str) = ("/usr/lib/systemd/system/a.service", "[Service]\n");

    #[test]
    fn a_unit_starts_at_boot_where_something_asks_for_it() {
        let wants = "/etc/systemd/system/multi-user.target.wants/a.service";
        assert_eq!(state(&[A, (wants, "")], &[]), AtBoot::Starts);
        assert_eq!(state(&[A], &[]), AtBoot::Disabled);
        assert_eq!(state(&[], &[]), AtBoot::Absent);
        assert_eq!(state(&[(wants, "")], &[]), AtBoot::Absent);
        assert_eq!(
            state(&[("/run/systemd/system/a.service", "[Service]\n")], &[]),
            AtBoot::Absent,
            "a unit in /run is gone after a reboot"
        );
        let masked = "/etc/systemd/system/a.service";
        assert_eq!(state(&[A, (wants, ""), (masked, "")], &[]), AtBoot::Masked(masked.into()));
    }

    #[test]
    fn a_unit_that_starts_brings_those_that_it_asks_for() {
        let b = ("/etc/systemd/system/b.service", "[Service]\n");
        let ask = ("/etc/systemd/system/b.service.d/9.conf", "[Unit]\nWants=x.socket a.service\n");
        let enabled = ("/etc/systemd/system/x.target.requires/b.service", "");
        assert_eq!(state(&[A, b, ask, enabled], &["b.service"]), AtBoot::Starts);
        assert_eq!(state(&[A, b, ask, enabled], &[]), AtBoot::Disabled);
        assert_eq!(state(&[A, b, ask], &["b.service"]), AtBoot::Disabled);
        assert_eq!(state(&[A, b, enabled], &["b.service"]), AtBoot::Disabled);
        let in_memory = ("/run/systemd/system/b.service.d/9.conf", "[Unit]\nWants=a.service\n");
        assert_eq!(state(&[A, b, in_memory, enabled], &["b.service"]), AtBoot::Disabled);
    }
}
