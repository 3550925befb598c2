//! The figures as a page, and which of them are as promised.

use anyhow::{Result, anyhow};
use serde_json::Value;

use super::process::Memory;
use super::traffic::Crossed;
use crate::cluster::Cluster;

/// Memory of the hub in KiB with a node of thirty pods, and with everything.
const NODE_LIMIT: u64 = 10 * 1024;
const ALL_LIMIT: u64 = 40 * 1024;
/// How many more lists the hub answers per second of processor time, in hundredths.
const LIST_LIMIT: u64 = 1000;
/// Later than the API server, in microseconds.
const FAN_LIMIT: i64 = 2000;
/// Until the first answer, in microseconds.
const FIRST_LIMIT: u64 = 150_000;
/// Bytes over the link in hundredths of those without the hub.
const BOOT_LIMIT: u64 = 60;
const RESTART_LIMIT: u64 = 20;

/// Lists of one form.
pub struct Lists {
    /// How it was asked for.
    pub name: &'static str,
    /// Bytes of an answer.
    pub bytes: [u64; 2],
    /// Microseconds of processor time an answer, directly and through the hub.
    pub micros: [u64; 2],
}

/// What was measured.
#[derive(Default)]
pub struct Figures {
    /// Memory, with what stood for it.
    pub memory: Vec<(String, Memory)>,
    /// The lists.
    pub lists: Vec<Lists>,
    /// What `load fan` told.
    pub fan: Value,
    /// Events, bytes that the logs grew, bytes that went to the disk.
    pub disk: Option<(u64, u64, u64)>,
    /// What was asked first, and microseconds until the answer.
    pub first: Vec<(&'static str, Vec<u64>)>,
    /// Minutes, then what crossed the link directly and through the hub.
    pub traffic: Option<(u64, Crossed, Crossed)>,
}

fn within(value: u64, limit: u64, unit: &str) -> Result<String> {
    if value <= limit {
        Ok(format!("{value} {unit}"))
    } else {
        Err(anyhow!("{value} {unit}, more than {limit}"))
    }
}

fn median(times: &[u64]) -> u64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// `part` in hundredths of `whole`.
fn percent(part: u64, whole: u64) -> u64 {
    part * 100 / whole.max(1)
}

impl Figures {
    /// Records memory.
    pub fn remember(&mut self, cluster: &mut Cluster<'_>, with: &str, memory: Memory, limit: Option<u64>) {
        let told = format!("{with}: {} KiB resident, {} KiB its own", memory.resident, memory.own);
        match limit {
            Some(limit) => {
                cluster.stage.check("memory", with, within(memory.resident, limit, "KiB"));
            }
            None => cluster.stage.checks.note(&told),
        }
        self.memory.push((with.to_owned(), memory));
    }

    /// With thirty pods.
    pub fn node_limit() -> Option<u64> {
        Some(NODE_LIMIT)
    }

    /// With everything.
    pub fn all_limit() -> Option<u64> {
        Some(ALL_LIMIT)
    }

    fn late(&self, place: usize, key: &str) -> i64 {
        self.fan.pointer(&format!("/targets/{place}/{key}")).and_then(Value::as_i64).unwrap_or_default()
    }

    /// Checks what is promised.
    pub fn judge(&self, cluster: &mut Cluster<'_>) {
        for lists in &self.lists {
            let [direct, through] = lists.micros;
            let ratio = percent(direct, through);
            let told = format!("{}.{:02} × as many answers", ratio / 100, ratio % 100);
            let enough = if ratio >= LIST_LIMIT { Ok(told) } else { Err(anyhow!(told)) };
            let claim = format!("a list in {} costs the hub a tenth", lists.name);
            cluster.stage.check("lists", &claim, enough);
        }
        let later = self.late(1, "p50Micros") - self.late(0, "p50Micros");
        let told = format!("{later:+} µs");
        let soon = if later <= FAN_LIMIT { Ok(told) } else { Err(anyhow!(told)) };
        cluster.stage.check("events", "watchers hear of a change soon", soon);
        for (what, times) in &self.first {
            cluster.stage.check("start", what, within(median(times), FIRST_LIMIT, "µs"));
        }
        if let Some((_, direct, through)) = &self.traffic {
            let share = |part, whole, limit| within(percent(part, whole), limit, "% of it");
            let boot = share(through.boot, direct.boot, BOOT_LIMIT);
            cluster.stage.check("link", "over a boot little crosses", boot);
            let restart = share(through.restart, direct.restart, RESTART_LIMIT);
            cluster.stage.check("link", "over a restart and a cut little crosses", restart);
        }
    }

    /// The page.
    pub fn page(&self) -> String {
        let mut out = String::from(
            "# The view beside the API server\n\nOne run on a real node and a real API server of Kubernetes 1.20.2 on one \
             machine of two cores. Ratios and differences are what counts; the times are this machine's. Objects: services \
             of 1.5 KB, EndpointSlices of 1.2 KB with three endpoints, pods of 7 KB.\n",
        );
        self.lists_into(&mut out);
        self.rest_into(&mut out);
        out += "\n## Memory of the hub\n\nResident, mapped pages of its program counted (`VmRSS`), and what of it is no \
                file's (`RssAnon`).\n\n| with | resident, KiB | its own, KiB |\n|---|---|---|\n";
        for (with, memory) in &self.memory {
            out += &format!("| {with} | {} | {} |\n", memory.resident, memory.own);
        }
        out +=
            "\nRepeat with `EDGEKEEP_FIGURES=docs/benchmarks-view.md sudo -E e2e/run node-view-figures`.\n";
        out
    }

    fn lists_into(&self, out: &mut String) {
        *out += "\n## A list of 500 pods at resourceVersion 0\n\nProcessor time of the answering process alone.\n\n\
                 | asked for as | bytes, direct and hub | direct, µs | hub, µs | answers per processor second, hub : direct |\n\
                 |---|---|---|---|---|\n";
        for Lists { name, bytes: [plain, own], micros: [direct, through] } in &self.lists {
            let ratio = percent(*direct, *through);
            *out += &format!(
                "| {name} | {plain}, {own} | {direct} | {through} | {}.{:02} |\n",
                ratio / 100,
                ratio % 100
            );
        }
    }

    fn rest_into(&self, out: &mut String) {
        if !self.fan.is_null() {
            *out += "\n## A change told to 20 watchers, each on a connection of its own\n\nFrom the answer to the write until \
                     the last of them has the event; before it if negative. In turns of 25 changes.\n\n\
                     | | direct, µs | hub, µs | difference |\n|---|---|---|---|\n";
            for (name, key) in [("median", "p50Micros"), ("90 %", "p90Micros"), ("99 %", "p99Micros")] {
                let (direct, through) = (self.late(0, key), self.late(1, key));
                *out += &format!("| {name} | {direct} | {through} | {:+} |\n", through - direct);
            }
        }
        if let Some((events, grown, written)) = self.disk {
            *out += &format!(
                "\n## Disk\n\n| {events} changes of EndpointSlices | bytes an event |\n|---|---|\n| the logs grew by | {} |\n\
                 | written (`write_bytes`) | {} |\n",
                grown / events.max(1),
                written / events.max(1)
            );
        }
        if !self.first.is_empty() {
            *out += "\n## From exec to the first answer\n\nCut off, with everything in the log; the pages of the program and \
                     of the hub's files are dropped from the page cache before.\n\n| asked | median, µs | all |\n|---|---|---|\n";
            for (what, times) in &self.first {
                *out += &format!("| {what} | {} | {times:?} |\n", median(times));
            }
        }
        if let Some((minutes, direct, through)) = &self.traffic {
            *out += &format!(
                "\n## Over the link\n\nkubelet, kube-proxy, and informers as CoreDNS and flannel have them; IP bytes both ways. \
                 Every minute 100 of 10 000 slices change.\n\n| | direct | hub | hub : direct |\n|---|---|---|---|\n\
                 | boot and {minutes} minutes | {} | {} | {} % |\n| restart of all clients, a cut of 60 s | {} | {} | {} % |\n",
                direct.boot,
                through.boot,
                percent(through.boot, direct.boot),
                direct.restart,
                through.restart,
                percent(through.restart, direct.restart)
            );
        }
    }
}
