//! `edgekeep doctor`: would this node survive a reboot with the link cut, right now?

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use durable::os::OsFs;
use hub::config::Config;
use lease::machine::Dirs;
use node::adopt::disk::{Disk, Places};
use node::date;
use node::doctor::machine::{Here, Paths, below, look};
use node::doctor::{Area, Boot, Finding, Gravity};
use serde_json::{Value, json};

use crate::adopt::kubelet;
use crate::args::{Doctor, Format};
use crate::{Failure, admin, table, variable};

/// Something would be missing.
const MISSING: u8 = 1;
/// It could not be found out whether something would.
const UNKNOWN: u8 = 2;
/// Wide enough for the longest word of a column.
const WIDTHS: (usize, usize) = (8, 10);

/// All that was found.
struct Report {
    boot: Option<Boot>,
    findings: Vec<Finding>,
}

pub fn run(what: &Doctor) -> Result<ExitCode, Failure> {
    let mut report = Report { boot: None, findings: Vec::new() };
    let config = kubelet::config(&what.root).unwrap_or_else(|why| {
        let to_do = "correct it: the hub does not start with it";
        let finding = Finding::new(Area::Hub, Gravity::Missing, "the hub's configuration", why);
        report.findings.push(finding.to_do(to_do));
        Config::default()
    });
    let socket = what.admin_socket.clone().unwrap_or_else(|| below(&what.root, &config.admin));
    match ask(&socket) {
        Ok(boot) => {
            report.findings.extend(boot.findings.iter().cloned());
            report.boot = Some(boot);
        }
        Err(finding) => report.findings.push(finding),
    }
    match here(what, &config, report.boot.as_ref()) {
        Ok(found) => report.findings.extend(found),
        Err(why) => report.findings.push(Finding::new(Area::Disk, Gravity::Unknown, "this machine", why)),
    }
    table::print(&match what.output {
        Format::Text => report.text(),
        Format::Json => format!("{:#}\n", report.document()),
    })?;
    Ok(report.code().into())
}

/// What the hub says.
fn ask(socket: &Path) -> Result<Boot, Finding> {
    let silent = |why: String| {
        let finding = Finding::new(Area::Hub, Gravity::Missing, "the hub", why);
        finding.to_do("run `systemctl enable --now edgekeep-hub.service`; `journalctl -u edgekeep-hub` says what it lacks")
    };
    let odd = |why: String| {
        let finding = Finding::new(Area::Hub, Gravity::Unknown, "the hub", why);
        finding.to_do(
            "run `systemctl restart edgekeep-hub.service`, so that it is of the version of this program",
        )
    };
    let answer = admin::get(socket, "/boot").map_err(silent)?;
    if answer.code != 200 {
        return Err(odd(format!("it does not say what a boot would find: {}", answer.body.trim())));
    }
    let boot = serde_json::from_str(&answer.body).ok().and_then(|json: Value| Boot::from_json(&json));
    boot.ok_or_else(|| odd("what it says of a boot is not understood".into()))
}

/// What this machine says.
fn here(what: &Doctor, config: &Config, boot: Option<&Boot>) -> Result<Vec<Finding>, Failure> {
    let root = what.root.as_path();
    let set = |name: &str| match name {
        "EDGEKEEP_CONFIG" => variable(name)
            .or_else(|| Some(below(root, Path::new(lease::machine::CONFIG)).display().to_string())),
        name => variable(name),
    };
    let node = lease::machine::node_file(&OsFs, set).map_err(|e| e.msg)?;
    let now = lease::machine::now(&OsFs, variable).map_err(|e| e.to_string())?;
    let here = Here {
        machine: &kubelet::machine(root),
        cni: &Disk::machine(),
        places: &Places::usual(root).instead(&what.conf_dir, &what.bin_dir),
        hub: &kubelet::seen(config)?,
        paths: &Paths {
            config: hub::config::PATH.into(),
            state: config.state_dir.clone(),
            kubeconfig: config.kubeconfig.clone(),
            bindings: Dirs::resolve(set, &node).state,
        },
        boot: &now.boot,
    };
    Ok(look(&here, boot))
}

impl Report {
    fn count(&self, gravity: Gravity) -> usize {
        self.findings.iter().filter(|finding| finding.gravity == gravity).count()
    }

    fn code(&self) -> u8 {
        match (self.count(Gravity::Missing), self.count(Gravity::Unknown)) {
            (0, 0) => 0,
            (0, _) => UNKNOWN,
            _ => MISSING,
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for area in Area::ALL {
            let mut found: Vec<&Finding> =
                self.findings.iter().filter(|finding| finding.area == area).collect();
            found.sort_by_key(|finding| finding.gravity);
            if found.iter().all(|finding| finding.gravity == Gravity::Note) {
                let (word, text) = self.good(area);
                out += &line(word, area.as_str(), &text);
            }
            found.into_iter().for_each(|finding| out += &paragraph(finding));
        }
        let missing = match self.count(Gravity::Missing) {
            0 => String::new(),
            1 => "1 thing would be missing".to_owned(),
            many => format!("{many} things would be missing"),
        };
        let unknown = match self.count(Gravity::Unknown) {
            0 => String::new(),
            1 => "1 thing could not be found out".to_owned(),
            many => format!("{many} things could not be found out"),
        };
        let end = match self.code() {
            0 => format!("Yes: this node would survive a reboot with the link cut.{}", self.struck()),
            UNKNOWN => format!("Perhaps: {unknown}."),
            _ if unknown.is_empty() => format!("No: after a reboot with the link cut {missing}."),
            _ => format!("No: after a reboot with the link cut {missing}; {unknown}."),
        };
        format!("{out}\n{end}\n")
    }

    /// What is to be said of an area in which nothing is amiss.
    fn good(&self, area: Area) -> (&'static str, String) {
        let text = match (&self.boot, area) {
            (_, Area::Hub) => "it answers, and starts at boot".to_owned(),
            (_, Area::Kubelet) => "it starts at boot with its runtime, and is led to the hub".to_owned(),
            (_, Area::Cni) => "its configuration and plugins are there".to_owned(),
            (_, Area::Disk) => "what must survive is on a disk".to_owned(),
            (Some(boot), Area::Outage) => self.outlasting(boot),
            (None, _) => return ("unknown", "not looked at, for only the hub knows the pods".to_owned()),
            (Some(boot), Area::Objects) => format!("{} questions of kubelet can be answered", boot.questions),
            (Some(boot), Area::Tokens) => {
                let first = boot.tokens.iter().filter_map(|token| token.until).min();
                let first = first
                    .map_or_else(String::new, |first| format!(", the first ends {}", date::shown(first)));
                format!("{} tokens are there{first}", boot.tokens.len())
            }
            (Some(boot), Area::Images) => format!("the images of {} pods are there", boot.pods.len()),
            (Some(boot), Area::Addresses) => {
                let own = boot.pods.iter().filter(|pod| !pod.addresses.is_empty()).count();
                format!("{own} pods come back with the addresses that they have")
            }
        };
        ("ok", text)
    }

    /// The pods that some outage deletes.
    fn doomed(&self) -> BTreeSet<&str> {
        let of_outage = self.findings.iter().filter(|finding| finding.area == Area::Outage);
        of_outage.flat_map(|finding| &finding.pods).map(String::as_str).collect()
    }

    fn outlasting(&self, boot: &Boot) -> String {
        let doomed = self.doomed();
        let outlasting = boot.pods.iter().filter(|pod| !doomed.contains(pod.title().as_str())).count();
        format!("{outlasting} pods outlast an outage of any length")
    }

    /// A boot is not all that an outage brings.
    fn struck(&self) -> String {
        match self.doomed().len() {
            0 => String::new(),
            1 => " One of its pods would not outlast a long outage.".to_owned(),
            many => format!(" Of its pods {many} would not outlast a long outage."),
        }
    }

    fn document(&self) -> Value {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let verdict = match self.code() {
            0 => "survives",
            UNKNOWN => "unknown",
            _ => "misses",
        };
        json!({
            "verdict": verdict,
            "time": seconds,
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
            "hub": self.boot.as_ref().map(Boot::to_json),
        })
    }
}

fn line(word: &str, area: &str, text: &str) -> String {
    let (first, second) = WIDTHS;
    format!("{word:<first$} {area:<second$} {text}").trim_end().to_owned() + "\n"
}

fn paragraph(finding: &Finding) -> String {
    let mut out = line(finding.gravity.as_str(), finding.area.as_str(), &finding.what);
    out += &line("", "", &finding.why);
    if !finding.pods.is_empty() {
        out += &line("", "", &format!("strikes {}", finding.pods.join(", ")));
    }
    if !finding.to_do.is_empty() {
        out += &line("", "", &format!("to do: {}", finding.to_do));
    }
    out
}
