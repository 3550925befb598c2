//! Evening: pods come back at their addresses or go for good, and what informers saw all day is looked at.

use std::fs;

use anyhow::{Result, bail};
use serde_json::json;

use super::objects::NAMESPACE;
use super::{Day, STEP};
use crate::kubelet::NODE;
use crate::sys;

pub(super) async fn play(day: &mut Day<'_, '_>) -> Result<()> {
    delete_two(day).await?;
    delete_static(day).await?;
    // The namespace's controller would look again after ever longer pauses while a pod is still ending.
    day.kubectl(&["delete", "deployment,statefulset,job", "--all", "--cascade=foreground"])?;
    day.kubectl(&["delete", "pod", "--all"])?;
    day.hour("what was deleted is gone");
    day.note_output(&["delete", "namespace", NAMESPACE])?;
    all_seen(day).await
}

/// A pod of a stateful set and one of nobody: the one comes back under its name and at its address, the other's service
/// is left without endpoints.
async fn delete_two(day: &mut Day<'_, '_>) -> Result<()> {
    let place = |day: &Day<'_, '_>| -> Result<(String, String)> {
        Ok((day.field(&["pod", "db-0"], "/metadata/uid")?, day.field(&["pod", "db-0"], "/status/podIP")?))
    };
    let (uid, address) = place(day)?;
    day.note_output(&["delete", "pod", "db-0", "web"])?;
    let (_, again) = sys::until("db-0 is back", STEP, || match place(day)? {
        (same, _) if same == uid => bail!("the old one is still there"),
        new => Ok(new),
    })
    .await?;
    day.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "pod/db-0"])?;
    if again != address {
        bail!("db-0 was at {address} and came back at {again}");
    }
    sys::until("the service has no endpoint left", STEP, || {
        let endpoints = day.get(&["endpoints", "web"])?;
        match endpoints.get("subsets") {
            None => Ok(()),
            Some(left) => bail!("{left}"),
        }
    })
    .await
}

async fn delete_static(day: &mut Day<'_, '_>) -> Result<()> {
    fs::remove_file(day.cluster.stage.node.etc().join("kubernetes/manifests/static.json"))?;
    let mirror = format!("static-{NODE}");
    sys::until("the static pod is gone", STEP, || {
        match day.kubectl(&["get", "pod", "--ignore-not-found", "--output=name", &mirror])? {
            gone if gone.is_empty() => Ok(()),
            left => bail!("{left}"),
        }
    })
    .await
}

/// All informers have seen the same, without a gap and without a relist.
async fn all_seen(day: &mut Day<'_, '_>) -> Result<()> {
    let node = &day.cluster.stage.node;
    for (what, informer) in std::mem::take(&mut day.informers) {
        sys::until(&format!("{what} has seen the end"), STEP, || {
            match informer.shows(node)?.keys().find(|key| key.starts_with(&format!("{NAMESPACE}/"))) {
                None => Ok(()),
                Some(left) => bail!("it still shows {left}"),
            }
        })
        .await?;
        let stories = informer.stories(node).into_iter();
        // Names that controllers make up are different on every day.
        let ours = stories.filter(|(key, _)| {
            ["web", "db-0", "db-1", "counter", "page"]
                .iter()
                .any(|name| *key == format!("{NAMESPACE}/{name}"))
        });
        let stories: serde_json::Map<_, _> = ours.map(|(key, story)| (key, json!(story))).collect();
        day.diary
            .note(&format!("informer of {what}"), json!({"lists": informer.lists(node), "stories": stories}));
        informer.end(node)?;
    }
    Ok(())
}
