//! Afternoon: objects are changed in every way that clients have, and refused where they must be.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Day, STEP};
use crate::fields::set;
use crate::sys;

pub(super) async fn play(day: &mut Day<'_, '_>) -> Result<()> {
    kubectl(day)?;
    client_go(day)?;
    scale(day).await?;
    restart(day).await?;
    day.informers_agree().await
}

fn kubectl(day: &mut Day<'_, '_>) -> Result<()> {
    day.note_output(&["label", "pod", "web", "tier=front"])?;
    day.note_output(&["annotate", "pod", "web", "note=changed"])?;
    let merge = r#"{"metadata":{"annotations":{"note":null,"merged":"yes"}}}"#;
    day.note_output(&["patch", "pod", "web", "--type=merge", "--patch", merge])?;
    let json = r#"[{"op":"test","path":"/metadata/labels/tier","value":"front"},{"op":"remove","path":"/metadata/labels/tier"}]"#;
    day.note_output(&["patch", "pod", "web", "--type=json", "--patch", json])?;
    let strategic = r#"{"spec":{"activeDeadlineSeconds":86400}}"#;
    day.note_output(&["patch", "pod", "web", "--type=strategic", "--patch", strategic])?;
    day.note_object("changed", &["pod", "web"])?;
    day.note_end(&["patch", "pod", "web", "--patch", r#"{"spec":{"nodeName":"elsewhere"}}"#])?;

    let mut page = day.get(&["configmap", "page"])?;
    set(&mut page, "/data/second", json!("a line"))?;
    let said = day.feed(&["replace", "--filename=-"], &page.to_string())?;
    day.diary.note_text("replace a config map", &said);
    // The same again carries a version that is past now.
    let mut command = day.command(&["replace", "--filename=-"])?;
    let refused = sys::output_of(&mut command, &page.to_string()).err().map(|error| format!("{error:#}"));
    let conflict = refused.is_some_and(|words| words.contains("the object has been modified"));
    day.diary.note("replace an old version", conflict.into());
    day.note_object("changed", &["configmap", "page"])
}

/// The same verbs with today's client-go, in both encodings.
fn client_go(day: &mut Day<'_, '_>) -> Result<()> {
    for encoding in ["protobuf", "json"] {
        let flags = ["--namespace", super::NAMESPACE, "--encoding", encoding];
        let asked = |day: &mut Day<'_, '_>, words: &[&str], body: &str| -> Result<Value> {
            let said =
                day.clientgo.once(&day.cluster.stage.node, &[flags.as_slice(), words].concat(), body)?;
            day.diary.note(&format!("client-go in {encoding}: {}", words.join(" ")), said.clone());
            Ok(said)
        };
        asked(day, &["get", "v1/pods", "web"], "")?;
        let said = asked(day, &["get", "v1/configmaps", "page"], "")?;
        let mut page = said.get("object").cloned().unwrap_or_default();
        set(&mut page, "/data/by", json!(encoding))?;
        asked(day, &["put", "v1/configmaps", "page"], &page.to_string())?;
        set(&mut page, "/data/by", json!("a late one"))?;
        asked(day, &["put", "v1/configmaps", "page"], &page.to_string())?;
        asked(day, &["--field-selector=metadata.name=page", "list", "v1/configmaps"], "")?;
        let patch = format!(r#"{{"metadata":{{"annotations":{{"patched":"{encoding}"}}}}}}"#);
        for kind in ["strategic", "merge"] {
            asked(day, &["--patch-type", kind, "patch", "v1/configmaps", "page"], &patch)?;
        }
        let patch = r#"[{"op":"remove","path":"/metadata/annotations/patched"}]"#;
        asked(day, &["--patch-type", "json", "patch", "v1/configmaps", "page"], patch)?;
        asked(day, &["get", "v1/pods", "no-such-pod"], "")?;
        let wrong = ["--uid", "00000000-0000-0000-0000-000000000000", "delete", "v1/configmaps", "page"];
        let said = asked(day, &wrong, "")?;
        if said.get("status").and_then(Value::as_u64) != Some(409) {
            bail!("a delete of another uid was answered with {said}");
        }
    }
    Ok(())
}

async fn scale(day: &mut Day<'_, '_>) -> Result<()> {
    day.note_output(&["scale", "deployment/app", "--replicas=3"])?;
    day.kubectl(&["rollout", "status", "--timeout=60s", "deployment/app"])?;
    day.note_output(&["set", "env", "deployment/app", "COLOUR=blue"])?;
    day.kubectl(&["rollout", "status", "--timeout=60s", "deployment/app"])?;
    day.note_output(&["scale", "deployment/app", "--replicas=1"])?;
    sys::until("the deployment has shrunk", STEP, || {
        match day.field(&["deployment", "app"], "/status/replicas")?.as_str() {
            "1" => Ok(()),
            other => bail!("{other} replicas"),
        }
    })
    .await
}

/// kubelet and kube-proxy start anew under running pods, which stay as they are.
async fn restart(day: &mut Day<'_, '_>) -> Result<()> {
    let before = statuses(day)?;
    day.cluster.restart_node_programs()?;
    day.cluster.kubelet_is_heard().await?;
    day.diary.note("pods after a restart of kubelet are the same", (statuses(day)? == before).into());
    Ok(())
}

/// Which containers run where.
fn statuses(day: &Day<'_, '_>) -> Result<String> {
    let columns =
        "--output=custom-columns=A:.metadata.name,B:.status.podIP,C:.status.containerStatuses[0].containerID";
    day.kubectl(&["get", "pods", "web", "db-0", "db-1", columns])
}
