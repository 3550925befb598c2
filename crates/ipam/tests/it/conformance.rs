//! The cases of `e2e/conformance/cases.json`, run against the program under test and against stock host-local.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};
use testkit::rng::Rng;

use crate::node::{Node, OURS, Output, files, stock};

fn cases() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/conformance/cases.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The text with the node's directory in the place of `${DIR}`.
fn placed(text: &str, node: &Node) -> String {
    text.replace("${DIR}", node.dir.to_str().unwrap())
}

fn write_all(dir: &Path, content: &Value) {
    fs::create_dir_all(dir).unwrap();
    for (name, text) in content.as_object().into_iter().flatten() {
        fs::write(dir.join(name), text.as_str().unwrap()).unwrap();
    }
}

/// What is wrong with the outcome of a call, if anything.
fn judge(call: &Value, said: &Output, node: &Node) -> Result<(), String> {
    let text = |key: &str| call[key].as_str().map(|text| placed(text, node));
    let found = match said.stdout.as_str() {
        "" => Value::Null,
        document => serde_json::from_str(document).map_err(|e| format!("not one JSON document: {e}"))?,
    };
    if let Some(code) = call["code"].as_i64() {
        let msg = found["msg"].as_str().unwrap_or_default();
        let msg_fits = text("msg").is_none_or(|want| want == msg)
            && text("msgStarts").is_none_or(|want| msg.starts_with(&want));
        let details_fit = text("details").is_none_or(|want| found["details"] == want);
        if said.exit != Some(1) || found["code"] != code || !msg_fits || !details_fit {
            return Err("another refusal was expected".to_owned());
        }
    } else {
        let want = call.get("result").cloned().unwrap_or(Value::Null);
        if said.exit != Some(0) || without_empty_dns(found) != without_empty_dns(want) {
            return Err("another result was expected".to_owned());
        }
    }
    if let Some(want) = call.get("after") {
        let mut after: Map<String, Value> =
            files(&node.leases()).into_iter().map(|(name, text)| (name, text.into())).collect();
        after.remove("lock");
        if Value::Object(after.clone()) != *want {
            return Err(format!("another directory was expected, not {}", Value::Object(after)));
        }
    }
    Ok(())
}

fn without_empty_dns(mut result: Value) -> Value {
    let new = result["cniVersion"].as_str().is_some_and(|version| version.starts_with('1'));
    if let Some(members) =
        result.as_object_mut().filter(|members| new && members.get("dns").is_some_and(is_empty))
    {
        members.remove("dns");
    }
    result
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

/// Runs a case; the error says which call went how.
fn run(program: &Path, defaults: &Value, case: &Value) -> Result<(), String> {
    let mut node = Node::new();
    node.program = program.to_owned();
    write_all(&node.dir, &case["files"]);
    if case.get("before").is_some() {
        write_all(&node.leases(), &case["before"]);
    }
    for (n, call) in case["calls"].as_array().unwrap().iter().enumerate() {
        let stdin = match call.get("stdin").unwrap_or(&case["stdin"]) {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let mut made = node.call("", &Value::Null).stdin(placed(&stdin, &node));
        for (key, value) in [defaults, &call["env"]].into_iter().filter_map(Value::as_object).flatten() {
            made = made.env(key, value.as_str().unwrap());
        }
        let said = made.run();
        judge(call, &said, &node).map_err(|why| format!("call {}: {why}: {said:?}", n + 1))?;
    }
    Ok(())
}

fn run_all(program: &Path, reference: bool) {
    let document = cases();
    let (mut run_count, mut failed) = (0, Vec::new());
    for case in document["cases"].as_array().unwrap() {
        let skipped = case.get("since").or(case.get("departs")).filter(|_| reference);
        if let Some(why) = skipped {
            eprintln!("SKIPPED on the reference: {}: {why}", case["name"]);
            continue;
        }
        run_count += 1;
        if let Err(why) = run(program, &document["env"], case) {
            failed.push(format!("{}: {why}", case["name"]));
        }
    }
    assert!(run_count >= 60, "only {run_count} cases were run");
    assert!(failed.is_empty(), "{} of {run_count} cases failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn edgekeep_ipam_keeps_the_contract() {
    run_all(Path::new(OURS), false);
}

#[test]
fn the_contract_is_what_stock_host_local_does() {
    if let Some(stock) = stock() {
        run_all(&stock, true);
    }
}

#[test]
fn every_case_has_a_name_of_its_own_and_expects_something() {
    let document = cases();
    let mut names = BTreeSet::new();
    for case in document["cases"].as_array().unwrap() {
        assert!(names.insert(case["name"].as_str().unwrap()), "{}", case["name"]);
        let known = ["name", "since", "departs", "files", "before", "stdin", "calls"];
        assert!(case.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{case}");
        let known = ["env", "stdin", "result", "code", "msg", "msgStarts", "details", "after"];
        for call in case["calls"].as_array().unwrap() {
            assert!(call.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{call}");
            assert!(call["env"]["CNI_COMMAND"].is_string(), "{call}");
            assert_eq!(
                call.get("code").is_some(),
                call.get("msg").or(call.get("msgStarts")).is_some(),
                "{call}"
            );
        }
    }
}

/// One step of a random sequence: what to call, for which container, asking for which address.
type Step = (&'static str, u64, Option<u64>);

fn steps(seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    (0..100)
        .map(|_| {
            let command = *rng.pick(&["ADD", "ADD", "ADD", "DEL", "DEL", "CHECK"]);
            let asked = rng.chance(15).then(|| rng.below(14) + 1);
            (command, rng.below(18), asked.filter(|_| command == "ADD"))
        })
        .collect()
}

/// Exit status, document and directory after each step.
fn replay(program: &Path, steps: &[Step]) -> Vec<(Option<i32>, Value, BTreeMap<String, String>)> {
    let mut node = Node::new();
    node.program = program.to_owned();
    let mut network = node.dual();
    network["cniVersion"] = "0.4.0".into();
    network["ipam"]["retain"] = serde_json::json!({ "hold": "0s", "repeatAdd": "error" });
    let mut up = BTreeSet::new();
    let mut outcomes = Vec::new();
    for (command, container, asked) in steps {
        let mut call = node.call(command, &network).env("CNI_CONTAINERID", &format!("c{container}"));
        // Stock lets a container that asks gather addresses; we do not follow it there.
        if let Some(asked) = asked.filter(|_| !up.contains(container)) {
            call = call.env("CNI_ARGS", &format!("IP=10.1.0.{asked}"));
        }
        let said = call.run();
        match (*command, said.exit) {
            ("ADD", Some(0)) => drop(up.insert(*container)),
            ("DEL", _) => drop(up.remove(container)),
            _ => {}
        }
        let mut document = if said.stdout.is_empty() { Value::Null } else { said.document() };
        if let Some(error) = document.as_object_mut().filter(|error| error.contains_key("code")) {
            error.remove("cniVersion");
        }
        outcomes.push((said.exit, document, files(&node.leases())));
    }
    outcomes
}

#[test]
fn without_holding_any_sequence_of_calls_ends_as_with_stock_host_local() {
    let Some(stock) = stock() else { return };
    for seed in 0..3 {
        let steps = steps(seed);
        let (ours, theirs) = (replay(Path::new(OURS), &steps), replay(&stock, &steps));
        for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours, theirs, "seed {seed}, step {n}: {:?}", steps[n]);
        }
    }
}
