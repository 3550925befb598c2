//! Morning: workloads come up.

use std::fs;

use anyhow::{Result, bail};

use super::objects::{self, NAMESPACE};
use super::{Day, STEP};
use crate::kubelet::NODE;
use crate::sys;

pub(super) async fn start(day: &mut Day<'_, '_>) -> Result<()> {
    day.provide_programs()?;
    day.note_output(&["create", "namespace", NAMESPACE])?;
    // Pods need their account, which a controller makes.
    sys::until("the namespace has its account", STEP, || day.get(&["serviceaccount", "default"])).await?;
    let said = day.apply(objects::foundations(), &[])?;
    day.diary.note_text("apply foundations", &said);
    sys::until("the authority is in the namespace", STEP, || day.get(&["configmap", "kube-root-ca.crt"]))
        .await?;
    let said = day.apply(objects::workloads(), &["--server-side"])?;
    day.diary.note_text("apply workloads", &said);
    // In one step, as kubelet reads at once what it finds; it leaves names with a dot alone.
    let manifests = day.cluster.stage.node.etc().join("kubernetes/manifests");
    fs::write(manifests.join(".new"), objects::static_pod()?.to_string())?;
    fs::rename(manifests.join(".new"), manifests.join("static.json"))?;

    let ready = "--for=condition=Ready";
    day.note_output(&["wait", ready, "--timeout=60s", "pod/web", "pod/echo"])?;
    day.kubectl(&["rollout", "status", "--timeout=60s", "statefulset/db"])?;
    day.kubectl(&["rollout", "status", "--timeout=60s", "deployment/app"])?;
    day.note_output(&["wait", "--for=condition=Complete", "--timeout=60s", "job/once"])?;
    look(day).await
}

async fn look(day: &mut Day<'_, '_>) -> Result<()> {
    let mirror = format!("static-{NODE}");
    for (pod, phase) in [(mirror.as_str(), "Running"), ("counter", "Succeeded"), ("in-cluster", "Succeeded")]
    {
        sys::until(&format!("pod {pod} is {phase}"), STEP, || has_phase(day, pod, phase)).await?;
    }
    sys::until("the deployment tells that it is whole", STEP, || {
        match day.field(&["deployment", "app"], "/status/readyReplicas")?.as_str() {
            "2" => Ok(()),
            other => bail!("{other} of 2 are ready"),
        }
    })
    .await?;
    day.note_output(&["get", "pods", "--output=wide", "web", "db-0", "db-1", &mirror])?;
    for object in
        [["pod", "web"], ["pod", "db-0"], ["pod", "counter"], ["statefulset", "db"], ["deployment", "app"]]
    {
        day.note_object("up", &object)?;
    }
    day.note_object("up", &["pod", &mirror])?;
    day.note_output(&["get", "pods", "--selector=app in (web,db)", "--field-selector=status.phase=Running"])?;
    reasons(day, "web")
}

/// The reasons of what was normal; how often, and what was not there in time at first, is another thing every day.
fn reasons(day: &mut Day<'_, '_>, pod: &str) -> Result<()> {
    let selector = format!("--field-selector=involvedObject.name={pod},type=Normal");
    let said = day.kubectl(&["get", "events", &selector, "--output=custom-columns=REASON:.reason"])?;
    let mut reasons: Vec<&str> = said.lines().collect();
    reasons.sort_unstable();
    reasons.dedup();
    day.diary.note_text(&format!("events of {pod}"), &reasons.join("\n"));
    Ok(())
}

pub(super) fn has_phase(day: &Day<'_, '_>, pod: &str, phase: &str) -> Result<()> {
    let found = day.field(&["pod", pod], "/status/phase")?;
    if found != phase {
        bail!("pod {pod} is {found}");
    }
    Ok(())
}
