//! The report: one table for each kind of call, held to the limits that the project set itself.

use std::time::Duration;

use super::counts::{Bound, Count, SWARM};
use super::stats::Samples;
use super::{Measured, Stage, Times};
use crate::table::{self, Style};

/// Ours against host-local: at 250 leases, and at 10 000.
const RATIO_LIMITS: [(u32, f64); 2] = [(250, 0.5), (10_000, 0.03)];
/// What a call may cost at 60 000 leases, as a multiple of what it costs at none.
const GROWTH_LIMIT: f64 = 1.3;
const GROWTH_FROM: u32 = 0;
const GROWTH_TO: u32 = 60_000;

/// One kind of call and its counterpart of host-local.
struct Kind {
    title: &'static str,
    ours: fn(&Times) -> &Samples,
    stock: fn(&Times) -> &Samples,
}

const CHEAP: [Kind; 4] = [
    Kind { title: "DEL", ours: |t| &t.del, stock: |t| &t.stock_del },
    Kind {
        title: "DEL once more, of an id that is unknown by now",
        ours: |t| &t.del_again,
        stock: |t| &t.stock_del_again,
    },
    Kind { title: "ADD that brings a pod home", ours: |t| &t.home, stock: |t| &t.stock_add },
    Kind {
        title: "ADD that reuses the oldest gone address of a full pool",
        ours: |t| &t.reuse,
        stock: |t| &t.stock_add,
    },
];

const BIRTH: Kind =
    Kind { title: "ADD that makes a binding, durably", ours: |t| &t.birth, stock: |t| &t.stock_add };

/// Renders everything as Markdown.
pub fn render(measured: &Measured) -> String {
    let mut text = introduction(measured);
    for kind in &CHEAP {
        text.push_str(&section(kind, &measured.stages, ratio_verdict));
    }
    let budget = birth_budget(&measured.stages);
    text.push_str(&section(&BIRTH, &measured.stages, |stage, ours, _| match budget {
        Some(budget) if stage.leases == 250 => {
            (format!("{} (flush + 0.5 x host-local)", millis(Some(budget))), verdict(ours <= budget))
        }
        _ => Default::default(),
    }));
    text.push_str(&floor(&measured.stages));
    text.push_str(&swarm(measured));
    text.push_str(&counts(measured));
    text
}

fn introduction(measured: &Measured) -> String {
    format!(
        "# Benchmarks\n\n\
         `edgekeep-ipam` (static build) beside Debian's `/usr/lib/cni/host-local` (containernetworking-plugins \
         {stock}), written by\n\n\
         ```\n{command}\n```\n\n\
         Machine: {machine}.\n\n\
         Each time is a whole call of the plugin, from before its process is made until it has ended. {rounds} rounds; \
         every round visits all lease counts\nand calls both plugins in turn. host-local, which reads every lease in \
         every call, is called in fewer rounds from 10 000 leases on (column \"its n\").\nBoth start from identical \
         directories. For an ADD of whatever kind the counterpart is host-local's plain ADD into a pool with room.\n\
         Times are judged but fail nothing; sizes and counts fail the command.\n",
        command = measured.setting.command,
        stock = measured.setting.stock_version,
        machine = measured.setting.machine,
        rounds = measured.setting.rounds,
    )
}

/// A table of one kind of call; `judge` gives limit and verdict of a row from the medians, ours and host-local's.
fn section(
    kind: &Kind,
    stages: &[Stage],
    judge: impl Fn(&Stage, Duration, Duration) -> (String, String),
) -> String {
    let heading = ["leases", "ours", "p99", "host-local", "its p99", "its n", "ratio", "limit", ""];
    let mut rows: Vec<Vec<String>> = Vec::new();
    for stage in stages {
        let (ours, stock) = ((kind.ours)(&stage.times), (kind.stock)(&stage.times));
        let medians = ours.median().zip(stock.median());
        let (limit, verdict) = medians.map(|(ours, stock)| judge(stage, ours, stock)).unwrap_or_default();
        rows.push(vec![
            stage.leases.to_string(),
            millis(ours.median()),
            millis(ours.p99()),
            millis(stock.median()),
            millis(stock.p99()),
            stock.len().to_string(),
            medians.map_or(String::new(), |(ours, stock)| format!("{:.3}", ratio(ours, stock))),
            limit,
            verdict,
        ]);
    }
    let growth = growth(stages, kind.ours);
    format!("\n## {}\n\n{}{growth}", kind.title, table::render(Style::Markdown, &heading, &rows))
}

fn ratio_verdict(stage: &Stage, ours: Duration, stock: Duration) -> (String, String) {
    RATIO_LIMITS
        .iter()
        .find(|(leases, _)| *leases == stage.leases)
        .map(|(_, limit)| (format!("{limit}"), verdict(ratio(ours, stock) <= *limit)))
        .unwrap_or_default()
}

/// What a call that makes a binding may take: a flush of this disk, and half a call of host-local at 250 leases.
fn birth_budget(stages: &[Stage]) -> Option<Duration> {
    let at_250 = at(stages, 250)?;
    Some(at_250.times.flush.median()?.saturating_add(at_250.times.stock_add.median()? / 2))
}

fn growth(stages: &[Stage], samples: fn(&Times) -> &Samples) -> String {
    let median = |leases| samples(&at(stages, leases)?.times).median();
    let (Some(from), Some(to)) = (median(GROWTH_FROM), median(GROWTH_TO)) else { return String::new() };
    let grown = ratio(to, from);
    let verdict = verdict(grown <= GROWTH_LIMIT);
    format!(
        "\nGrowth from {GROWTH_FROM} to {GROWTH_TO} leases: {grown:.2} x, limit {GROWTH_LIMIT} x: {verdict}.\n"
    )
}

/// What bounds the numbers from below, and the call that pays for all that follow.
fn floor(stages: &[Stage]) -> String {
    let heading = ["leases", "flush of this disk", "p99", "VERSION, ours", "first call ever, ours"];
    let row = |stage: &Stage| {
        vec![
            stage.leases.to_string(),
            millis(stage.times.flush.median()),
            millis(stage.times.flush.p99()),
            millis(stage.times.version.median()),
            millis(Some(stage.ours.first_call)),
        ]
    };
    let rows: Vec<Vec<String>> = stages.iter().map(row).collect();
    format!(
        "\n## For comparison\n\n\
         A flush is one fdatasync after an append of 128 bytes, measured between the calls above. VERSION is a \
         process that does nothing.\nThe first call ever takes over what host-local left.\n\n{}",
        table::render(Style::Markdown, &heading, &rows)
    )
}

fn swarm(measured: &Measured) -> String {
    let heading = ["", "median", "longest", "n", "ratio", "limit", ""];
    let row = |name: &str, samples: &Samples| {
        vec![name.to_owned(), millis(samples.median()), millis(samples.p99()), samples.len().to_string()]
    };
    let mut ours = row("ours", &measured.swarm);
    if let Some((median, stock)) = measured.swarm.median().zip(measured.stock_swarm.median()) {
        let ratio = ratio(median, stock);
        ours.extend([format!("{ratio:.3}"), "0.5".to_owned(), verdict(ratio <= 0.5)]);
    }
    let rows = [ours, row("host-local", &measured.stock_swarm)];
    let table = table::render(Style::Markdown, &heading, &rows);
    format!("\n## {SWARM} ADDs at once at 250 leases, wall time\n\n{table}")
}

fn counts(measured: &Measured) -> String {
    let row = |count: &Count| {
        let limit = match count.bound {
            Bound::Exactly(wanted) => format!("exactly {wanted}"),
            Bound::AtMost(limit) => limit.to_string(),
            Bound::Between(least, most) => format!("{least} to {most}"),
            Bound::Any => return vec![count.what.clone(), count.found.to_string(), count.unit.to_owned()],
        };
        let verdict = verdict(count.holds());
        vec![count.what.clone(), count.found.to_string(), count.unit.to_owned(), limit, verdict]
    };
    let rows: Vec<Vec<String>> = measured.counts.iter().map(row).collect();
    let table = table::render(Style::Markdown, &["", "found", "unit", "limit", ""], &rows);
    let gaps: String = measured.gaps.iter().map(|gap| format!("\n{gap}\n")).collect();
    format!("\n## Sizes and counts\n\n{table}{gaps}")
}

fn at(stages: &[Stage], leases: u32) -> Option<&Stage> {
    stages.iter().find(|stage| stage.leases == leases)
}

fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64()
}

fn verdict(holds: bool) -> String {
    if holds { "pass" } else { "FAIL" }.to_owned()
}

fn millis(time: Option<Duration>) -> String {
    time.map_or_else(String::new, |time| format!("{:.2} ms", time.as_secs_f64() * 1e3))
}
