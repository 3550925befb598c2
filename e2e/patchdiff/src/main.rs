//! Sends generated patches and updates to a real kube-apiserver and compares what it makes of each with what the crate
//! `patch` does. Started by `e2e/run patch-differential`.
//!
//! The API server's answers to a patch with several faults depend on the order in which it walks through a map, which
//! it draws anew each time: where only the refusals differ, it is asked again.

mod api;
mod compare;
mod deletes;
mod make;
mod subject;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use patch::{Form, Release, Served, Write};
use serde_json::{Value, json};
use testkit::rng::Rng;

use api::{Api, Request};
use compare::{Verdict, judge};
use make::Maker;
use subject::Subject;

const USAGE: &str = "usage: edgekeep-patchdiff --socket PATH [--seed NUMBER] [--writes NUMBER] [--patient]

  --socket PATH     where `kubectl proxy --unix-socket` listens
  --seed NUMBER     draws the same patches again, the objects being the same
  --writes NUMBER   how many (2000)
  --patient         goes on after a difference and reports all of them";

/// How often the API server is asked again for a refusal in other words.
const AGAIN: u32 = 12;

struct Options {
    socket: PathBuf,
    seed: u64,
    writes: u64,
    patient: bool,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error:#}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("edgekeep-patchdiff: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options { socket: PathBuf::new(), seed: fresh_seed(), writes: 2000, patient: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--patient" {
            options.patient = true;
            continue;
        }
        let value = words.next().ok_or_else(|| anyhow!("{word} needs a value"))?;
        match word.as_str() {
            "--socket" => options.socket = value.into(),
            "--seed" => options.seed = value.parse().with_context(|| format!("{value} is not a number"))?,
            "--writes" => {
                options.writes = value.parse().with_context(|| format!("{value} is not a number"))?
            }
            _ => bail!("{word} is not understood"),
        }
    }
    if options.socket.as_os_str().is_empty() {
        bail!("--socket is needed");
    }
    Ok(options)
}

fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.subsec_nanos().into())
}

/// Whether both agreed on every write.
fn run(options: &Options) -> Result<bool> {
    let mut api = Api::connect(&options.socket)?;
    let version = api.get("/version")?;
    let version = version.get("gitVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    let release = Release::parse(&version).ok_or_else(|| anyhow!("{version:?} is no Kubernetes"))?;
    println!("patch-differential: {version}, seed {}, {} writes", options.seed, options.writes);
    let subjects = subject::prepare(&mut api)?;
    let mut rng = Rng::new(options.seed);
    let mut counts: BTreeMap<(String, Verdict), u64> = BTreeMap::new();
    let mut differences = 0;
    for number in 0..options.writes {
        let subject = subjects.get(rng.index(subjects.len())).ok_or_else(|| anyhow!("no subjects"))?;
        let (verdict, report) = one(&mut api, subject, release, &mut rng)
            .with_context(|| format!("write {number} to {}", subject.title()))?;
        *counts.entry((subject.title(), verdict)).or_default() += 1;
        if verdict == Verdict::Differs {
            differences += 1;
            println!("--- write {number}, {}\n{report}", subject.title());
            if !options.patient {
                break;
            }
        }
    }
    differences += deletes::run(&mut api, release, &mut counts)?;
    for ((title, verdict), count) in &counts {
        println!("{title:<28} {verdict:?}: {count}");
    }
    println!("patch-differential: {differences} differences");
    Ok(differences == 0)
}

/// One write, to both.
fn one(api: &mut Api, subject: &Subject, release: Release, rng: &mut Rng) -> Result<(Verdict, String)> {
    let current = api.get(&subject.object_path())?;
    let write = Write { resource: &subject.resource, served: subject.served, release, node: subject.node };
    let message = match subject.served {
        Served::BuiltIn(kind) => Some(kind.message()),
        Served::Custom { .. } => None,
    };
    let mut maker = Maker { rng, faults: 2 };
    let forms = [
        (Form::Strategic, "strategic-merge-patch"),
        (Form::Merge, "merge-patch"),
        (Form::Json, "json-patch"),
    ];
    let (method, content_type, body, ours) = match maker.rng.below(8) {
        0 => {
            let body = replacement(&mut maker, &current, &subject.sample);
            let ours = patch::update(&current, &write, body.clone());
            ("PUT", "application/json".to_owned(), body.to_string().into_bytes(), ours)
        }
        drawn => {
            let (form, name) = match drawn {
                1..5 if message.is_some() => forms[0],
                5 | 6 => forms[1],
                _ => forms[2],
            };
            let body = maker.body(form, &current, &subject.sample, message);
            let ours = patch::patch(&current, &write, form, &body);
            ("PATCH", format!("application/{name}+json"), body, ours)
        }
    };
    let path = subject.path();
    let request =
        Request { method, path: &path, content_type: &content_type, node: subject.node, body: &body };
    let (mut verdict, mut report) = judge(&ours, &api.send(&request)?, &write);
    if ours.is_err() {
        for _ in 0..AGAIN {
            if verdict != Verdict::Differs {
                break;
            }
            (verdict, report) = judge(&ours, &api.send(&request)?, &write);
        }
    }
    let body = String::from_utf8_lossy(&body);
    Ok((verdict, format!("{report}\n{method} {content_type}: {body}\ncurrent: {current}")))
}

/// The body of a PUT: the present object with a part changed.
fn replacement(maker: &mut Maker<'_>, current: &Value, sample: &Value) -> Value {
    let body = maker.body(Form::Merge, current, sample, None);
    let mut object = current.as_object().cloned().unwrap_or_default();
    if let Ok(Value::Object(change)) = serde_json::from_slice(&body) {
        patch::merge::apply(&mut object, change, Release::default());
    }
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata.filter(|_| maker.rng.chance(30)) {
        metadata.insert("resourceVersion".to_owned(), json!(""));
    }
    object.into()
}
