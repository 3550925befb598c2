//! A disk that is full: what cannot be stored is refused, nothing is half there, reads go on; and with space it goes on.

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use super::readers::Readers;
use super::workload::NAMESPACE;
use crate::clientgo::ClientGo;
use crate::cluster::{Cluster, READY};
use crate::hub::Hub;
use crate::sys;

/// The hub's state, on a disk of its own and then on a small one.
const STATE: &str = "/var/lib/edgekeep/hub";
const FILLER: &str = "/var/lib/edgekeep/hub/filler";
/// The log has some space of its own in reserve; it is used up after so many writes of this length.
const MOST: usize = 400;
const LENGTH: usize = 8000;
/// The pod whose status is written, in kubelet's name while kubelet is not there.
const POD: &str = "web-0";

/// Plays it.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn look(cluster: &mut Cluster<'_>, hub: &mut Hub, readers: &Readers) -> Result<()> {
    let step = "full disk";
    cluster.kubelet.kill(&cluster.stage.node)?;
    hub.kill(&cluster.stage.node)?;
    let script = format!(
        "cp -a {STATE} /run/state && mount -t tmpfs -o size=32m,mode=0700 tmpfs {STATE} && cp -a /run/state/. {STATE}/"
    );
    cluster.stage.node.run(&["sh", "-ec", &script])?;
    hub.start(&cluster.stage.node).await?;
    hub.judges(&cluster.stage.node, "up").await?;
    let before = sys::until("the pods are shown", READY, || readers.pods(cluster)).await?;
    cluster.cut()?;
    hub.judges(&cluster.stage.node, "down").await?;
    let fill = format!("dd if=/dev/zero of={FILLER} bs=4k 2>/dev/null || true");
    cluster.stage.node.run(&["sh", "-c", &fill])?;

    let kubelet = ClientGo::new(&cluster.programs, "/etc/edgekeep/kubelet.conf");
    let mut last = None;
    let mut refused = None;
    for at in 0..MOST {
        let answer = write(cluster, &kubelet, at)?;
        match answer.get("status").and_then(Value::as_u64) {
            Some(code) => {
                refused = Some((at, code, answer));
                break;
            }
            None => last = Some(at),
        }
    }
    let told = match &refused {
        Some((at, 503, answer)) => Ok(format!("after {at} writes: {}", message(answer))),
        other => Err(anyhow!("{other:?}")),
    };
    cluster.stage.check(step, "what cannot be stored is refused with 503", told);
    let shown = shown(cluster, readers);
    let whole = match (&shown, last) {
        (Ok(shown), Some(last)) if *shown == text(last) => Ok(format!("write {last}")),
        (Ok(shown), None) if !shown.starts_with("write") => Ok("the state of before".to_owned()),
        other => Err(anyhow!("{other:?}")),
    };
    cluster.stage.check(step, "shown is the last that was answered with success, and nothing else", whole);
    let reads = readers.pods(cluster).and_then(|now| now.same_places(&before));
    cluster.stage.check(step, "reads go on", reads);

    cluster.stage.node.run(&["rm", FILLER])?;
    let goes_on = sys::until("writes are taken again", READY, || {
        let answer = write(cluster, &kubelet, MOST + 1)?;
        match answer.get("status") {
            None => Ok(()),
            Some(code) => bail!("{code}: {}", message(&answer)),
        }
    })
    .await;
    let goes_on = goes_on.and_then(|()| match self::shown(cluster, readers)? {
        shown if shown == text(MOST + 1) => Ok("without a restart".to_owned()),
        shown => bail!("{} is shown", shown.get(..20).unwrap_or_default()),
    });
    cluster.stage.check(step, "with space again writes are taken again", goes_on);
    cluster.heal()?;
    cluster.kubelet.start(&cluster.stage.node)?;
    cluster.node_ready().await
}

fn text(at: usize) -> String {
    let begin = format!("write {at} ");
    format!("{begin}{}", "x".repeat(LENGTH))
}

fn write(cluster: &Cluster<'_>, kubelet: &ClientGo, at: usize) -> Result<Value> {
    let place = format!("{POD}/status");
    let words = ["--namespace", NAMESPACE, "--patch-type", "strategic", "patch", "v1/pods", &place];
    kubelet.once(&cluster.stage.node, &words, &json!({"status": {"message": text(at)}}).to_string())
}

fn shown(cluster: &Cluster<'_>, readers: &Readers) -> Result<String> {
    let pod = readers.get(cluster, &["pod", POD])?;
    Ok(pod.pointer("/status/message").and_then(Value::as_str).unwrap_or_default().to_owned())
}

fn message(answer: &Value) -> String {
    answer.get("error").and_then(Value::as_str).unwrap_or_default().to_owned()
}
