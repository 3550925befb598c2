//! `edgekeep adopt kubelet` and `edgekeep revert kubelet`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use durable::os::OsFs;
use hub::config::Config;
use node::doctor::machine::below;
use node::kubelet::machine::{Certificate, Machine, Pem, link, real};
use node::kubelet::plan::{FileChange, Hub, KUBECONFIG};
use node::kubelet::{Report, Standing, standing};
use serde_json::{Value, json};

use super::service::{Restart, hub_answers, settle};
use super::{INCOMPLETE, diff, tell, word};
use crate::args::{AdoptKubelet, Format, KubeletPlace, RevertKubelet};
use crate::{Failure, table};

pub fn adopt(what: &AdoptKubelet) -> Result<ExitCode, Failure> {
    let config = config(&what.kubelet.root)?;
    let hub = seen(&config)?;
    if what.print_kubeconfig {
        table::print(&hub.kubeconfig())?;
        return Ok(ExitCode::SUCCESS);
    }
    let machine = machine(&what.kubelet.root);
    if what.check {
        return check(&machine, &hub, what.kubelet.output);
    }
    let dry = what.kubelet.dry_run;
    let mint = |node: &str| mint(&machine, &config, node);
    let report = node::kubelet::adopt(&machine, &hub, &mint, dry)?;
    let belongs = |kubeconfig: &str| kubeconfig == KUBECONFIG;
    let restart = restart(&what.kubelet, &report, belongs, || hub_answers(config.health));
    finish(&what.kubelet, &report, &restart)
}

pub fn revert(what: &RevertKubelet) -> Result<ExitCode, Failure> {
    // The way back must not depend on a file that somebody may have broken.
    let (config, broken) = match config(&what.kubelet.root) {
        Ok(config) => (config, None),
        Err(why) => (Config::default(), Some(why)),
    };
    let hub = seen(&config).unwrap_or_default();
    let machine = machine(&what.kubelet.root);
    let mut report = node::kubelet::revert(&machine, &hub, what.kubelet.dry_run)?;
    report.notes.extend(broken.map(|why| format!("{why}; going on as if it were not there")));
    let belongs = |kubeconfig: &str| kubeconfig != KUBECONFIG;
    let restart = restart(&what.kubelet, &report, belongs, || Ok(()));
    finish(&what.kubelet, &report, &restart)
}

/// What the hub is told on this node.
pub fn config(root: &Path) -> Result<Config, Failure> {
    Config::load(&OsFs, &below(root, Path::new(hub::config::PATH)), false).map_err(|e| e.to_string())
}

/// The hub as kubelet sees it.
pub fn seen(config: &Config) -> Result<Hub, Failure> {
    let address = config.listen.iter().find(|address| address.ip().is_loopback());
    let address = address.or(config.listen.first()).ok_or("the hub listens nowhere")?;
    let files = hub::pki::Files::in_dir(&config.state_dir.join("pki"));
    Ok(Hub {
        server: format!("https://{address}"),
        authority: files.ca_certificate,
        certificate: files.kubelet_certificate,
        key: files.kubelet_key,
        node: config.state_dir.join("node/current.pem"),
    })
}

/// The node below this root, as kubelet's adoption sees it.
pub fn machine(root: &Path) -> Machine<'static, OsFs> {
    let disk = node::adopt::disk::Disk::machine();
    Machine {
        fs: &OsFs,
        root: root.to_path_buf(),
        real,
        modes: (disk.mode, disk.chmod),
        link: &link,
        judge: &judge,
        now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a certificate says. Who signed it can be said only of one that counts now.
fn judge(pem: &Pem, authority: Option<&[u8]>) -> Result<Certificate, String> {
    let chain = hub::certificate::chain(&pem.certificate).map_err(|e| e.to_string())?;
    hub::tls::identity(&pem.certificate, &pem.key).map_err(|e| e.to_string())?;
    let first = chain.first().ok_or("no certificate in it")?;
    let facts = hub::certificate::facts(first).map_err(|e| e.to_string())?;
    let now = SystemTime::now();
    let counts = facts.not_before <= now && now < facts.not_after;
    let trust = authority.filter(|_| counts).and_then(|authority| hub::tls::Verifier::new(authority).ok());
    Ok(Certificate {
        user: facts.user.name,
        not_before: seconds(facts.not_before),
        not_after: seconds(facts.not_after),
        signed: trust.map(|trust| trust.accepts(&chain)),
    })
}

/// Makes sure that the hub's authority and kubelet's certificate for this node are there.
fn mint(machine: &Machine<'_, OsFs>, config: &Config, node: &str) -> Result<(), String> {
    let dir = machine.at(&config.state_dir.join("pki"));
    let authority = hub::pki::Authority::open_or_make(&OsFs, &dir).map_err(|e| e.to_string())?;
    authority.kubelet(&OsFs, &dir, node).map(drop).map_err(|e| e.to_string())
}

/// Only this machine's kubelet is told of anything, and only once its unit is as it should be.
fn restart(
    place: &KubeletPlace,
    report: &Report,
    belongs: impl Fn(&str) -> bool,
    ready: impl FnOnce() -> Result<(), String>,
) -> Restart {
    if place.dry_run || place.root != Path::new("/") || !report.complete() {
        return Restart::NotNeeded;
    }
    settle(place.restart, belongs, ready)
}

fn finish(place: &KubeletPlace, report: &Report, restart: &Restart) -> Result<ExitCode, Failure> {
    let complete = report.complete() && !matches!(restart, Restart::Failed(_));
    let dry = place.dry_run;
    tell(place.output, || text(report, restart, dry), || document(report, restart, dry, complete), complete)
}

fn text(report: &Report, restart: &Restart, dry: bool) -> String {
    let mut out = String::new();
    for file in &report.files {
        out += &format!("{}\n  {:<7} {}\n", file.path.display(), word(file.verdict), file.text);
        out += &diff(&node::kubelet::diff(file));
    }
    if let Some(why) = &report.cannot {
        out += &format!("cannot  {why}\n");
    }
    for todo in &report.by_hand {
        out += &format!("to do   {todo}\n");
    }
    for note in &report.notes {
        out += &format!("\nnote: {note}\n");
    }
    let kubelet = match restart {
        Restart::NotNeeded => None,
        Restart::Needed => Some(
            "to do   `systemctl restart kubelet`, or this again with --restart: until then kubelet goes on as it is. No pod is \
             restarted by it"
                .to_owned(),
        ),
        Restart::Done => Some("kubelet was restarted.".to_owned()),
        Restart::Failed(why) => Some(format!("cannot  {why}")),
    };
    let end = match (report.complete(), report.changes(), dry) {
        (false, ..) => "Nothing was changed.",
        (true, false, _) => "Nothing to change.",
        (true, true, true) => "Nothing was changed: this was a dry run.",
        (true, true, false) => "Done.",
    };
    format!("{out}\n{end}\n{}", kubelet.map(|line| line + "\n").unwrap_or_default())
}

fn document(report: &Report, restart: &Restart, dry: bool, complete: bool) -> Value {
    let file = |file: &FileChange| {
        json!({
            "path": file.path.display().to_string(),
            "verdict": word(file.verdict),
            "text": file.text,
            "diff": node::kubelet::diff(file),
        })
    };
    let (restart, why) = match restart {
        Restart::NotNeeded => ("notNeeded", None),
        Restart::Needed => ("needed", None),
        Restart::Done => ("done", None),
        Restart::Failed(why) => ("failed", Some(why)),
    };
    json!({
        "dryRun": dry,
        "complete": complete,
        "changes": report.changes(),
        "files": report.files.iter().map(file).collect::<Vec<_>>(),
        "cannot": report.cannot,
        "toDo": report.by_hand,
        "notes": report.notes,
        "restart": restart,
        "restartFailed": why,
        "backup": report.backup.display().to_string(),
    })
}

/// Where kubelet stands; exit code 3 where it is not pointed at the hub.
fn check(machine: &Machine<'_, OsFs>, hub: &Hub, format: Format) -> Result<ExitCode, Failure> {
    let (word, reasons) = match standing(machine, hub)? {
        Standing::AtHub => ("atHub", Vec::new()),
        Standing::NotAdopted => ("notAdopted", Vec::new()),
        Standing::Adrift(reasons) => ("adrift", reasons),
    };
    let text = match word {
        "atHub" => format!("kubelet is pointed at the hub, {}.\n", hub.server),
        "notAdopted" => "kubelet is not adopted: it talks to the API server directly.\n".to_owned(),
        _ => {
            let lines = reasons.iter().map(|reason| format!("  - {reason}\n"));
            format!(
                "kubelet was adopted and is not pointed at the hub any more as it should be:\n{}",
                lines.collect::<String>()
            )
        }
    };
    let at_hub = word == "atHub";
    let code = tell(format, || text, || json!({ "standing": word, "reasons": reasons }), at_hub)?;
    debug_assert!(at_hub || code == INCOMPLETE.into());
    Ok(code)
}
