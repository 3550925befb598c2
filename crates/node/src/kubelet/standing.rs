//! Whether kubelet is pointed at the hub, as a check that anybody may make at any time.

use std::path::Path;

use durable::fs::Fs;

use crate::manifest::Manifest;

use super::BACKUP;
use super::certificates::elsewhere;
use super::machine::{Machine, Setup, Start};
use super::plan::{DROP_IN, DROP_IN_NAME, Hub, KUBECONFIG, obstacles, original, present};

/// Where kubelet stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is not adopted.
    NotAdopted,
    /// The next start of kubelet leads it to the hub.
    AtHub,
    /// It was adopted, and somebody changed something since.
    Adrift(Vec<String>),
}

/// Looks where kubelet stands. Errors name a file that cannot be read.
pub fn standing<F: Fs>(machine: &Machine<'_, F>, hub: &Hub) -> Result<Standing, String> {
    let conf = machine.read(Path::new(KUBECONFIG))?;
    let noted = !Manifest::load(machine.fs, &machine.at(Path::new(BACKUP)))?.entries.is_empty();
    let start = machine.start()?;
    let Start::Unit(setup) = &start else {
        return Ok(match noted {
            true => Standing::Adrift(vec![
                "no unit starts a kubelet here any more; run `edgekeep revert kubelet`".into(),
            ]),
            false => Standing::NotAdopted,
        });
    };
    let flags = present(setup);
    let wrong = flags.as_ref().map(obstacles).unwrap_or_default();
    let at_hub =
        flags.is_some_and(|flags| flags.value("kubeconfig").is_some_and(|flag| flag.value == KUBECONFIG));
    if !noted && !at_hub {
        return Ok(Standing::NotAdopted);
    }
    let mut adrift: Vec<String> =
        wrong.into_iter().map(|obstacle| format!("{}; {AGAIN}", obstacle.text)).collect();
    let dropped = setup.unit.drop_ins.get(DROP_IN_NAME);
    if noted && dropped.is_none() {
        adrift.push(format!("{DROP_IN} is gone; {AGAIN}"));
    }
    adrift.extend(conf_wrong(machine, hub, conf.is_some()));
    adrift.extend(joined(machine, hub, setup)?);
    Ok(if adrift.is_empty() { Standing::AtHub } else { Standing::Adrift(adrift) })
}

const AGAIN: &str = "run `edgekeep adopt kubelet` again";

/// What is wrong with the kubeconfig that leads to the hub.
fn conf_wrong<F: Fs>(machine: &Machine<'_, F>, hub: &Hub, there: bool) -> Option<String> {
    if !there {
        return Some(format!("{KUBECONFIG} is gone; {AGAIN}"));
    }
    let path = Path::new(KUBECONFIG);
    let wanted = crate::kubeconfig::Access::parse(&hub.kubeconfig(), Path::new("/")).ok()?;
    let access = match machine.kubeconfig(path) {
        Ok(Some((_, access))) => access,
        Ok(None) => return Some(format!("{KUBECONFIG} is gone; {AGAIN}")),
        Err(why) => return Some(format!("{why}; {AGAIN}")),
    };
    if access.server != wanted.server {
        return Some(format!(
            "{KUBECONFIG} leads to {}, the hub is at {}; {AGAIN}",
            access.server, wanted.server
        ));
    }
    if access != wanted {
        return Some(format!("{KUBECONFIG} was changed by hand; {AGAIN}"));
    }
    let missing =
        [&hub.authority, &hub.certificate, &hub.key].into_iter().find(|path| !machine.is_there(path))?;
    Some(format!("{} is gone, without which kubelet cannot come to the hub; {AGAIN}", missing.display()))
}

/// What kubeadm did since: it knows nothing of the hub.
fn joined<F: Fs>(machine: &Machine<'_, F>, hub: &Hub, setup: &Setup) -> Result<Option<String>, String> {
    let without = setup.flags(DROP_IN_NAME, None);
    let Some(original) = without.as_ref().and_then(original) else { return Ok(None) };
    if original.kubeconfig == Path::new(KUBECONFIG) {
        return Ok(None);
    }
    let Ok(found) = machine.kubeconfig(&original.kubeconfig) else { return Ok(None) };
    let Some((_, access)) = found else {
        let conf = original.kubeconfig.display();
        let bootstrap = without.and_then(|flags| flags.value("bootstrap-kubeconfig")).map(|flag| flag.value);
        // `kubeadm join` begins only where there is no kubeconfig, and takes the bootstrap one away when it is done.
        let joining = bootstrap.filter(|path| machine.is_there(Path::new(path)));
        return Ok(Some(match joining {
            Some(path) => format!(
                "{conf} is gone and {path} is there: `kubeadm join` is under way or was broken off, and waits for a kubelet \
                 that uses it. Run `edgekeep revert kubelet --restart`, join, then adopt again"
            ),
            None => format!(
                "{conf} is gone, as after `kubeadm reset`: run `edgekeep revert kubelet`, join, then adopt again"
            ),
        }));
    };
    let Some(bytes) = machine.read(&hub.node)? else { return Ok(None) };
    let pem = super::machine::Pem { certificate: bytes.clone(), key: bytes };
    let Ok(hubs) = machine.judge(&access, &pem) else { return Ok(None) };
    let own = machine.certificate(&access);
    if own.is_ok_and(|own| own.user != hubs.user || elsewhere(&hubs, &own)) {
        return Ok(Some(format!(
            "{} is of another cluster or node than the hub's certificate, as after another `kubeadm join`: stop the hub, move \
             {} away, start the hub, and run `edgekeep adopt kubelet --restart`",
            original.kubeconfig.display(),
            hub.node.display()
        )));
    }
    Ok(None)
}
