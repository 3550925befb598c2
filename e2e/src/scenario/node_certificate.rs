//! A node's certificate that ends while the node is cut off: kubelet goes on talking to the hub, and the node comes back
//! by itself.

use std::fs;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use crate::checks::Checks;
use crate::cloud;
use crate::cluster::Cluster;
use crate::hub::Hub;
use crate::kubelet::NODE;
use crate::run_dir::RunDir;
use crate::scenario::{Options, node_hub};
use crate::sys;

/// How long the cluster signs for. The signer dates certificates back by five minutes
/// (`pkg/controller/certificates/authority`), so that this leaves a hundred seconds: less than the link is cut for.
const SIGNED_FOR: Duration = Duration::from_secs(300 + 100);
/// How long what has to happen within a certificate's life may take.
const LIFE: Duration = Duration::from_secs(200);
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let signing = cloud::Options { signing: SIGNED_FOR, ..cloud::Options::default() };
    let mut cluster = Cluster::set_up(dir, options, "node-certificate", signing, checks).await?;
    let mut hub = Hub::new(&cluster.programs);
    let played = play(&mut cluster, &mut hub).await;
    cluster.close(played)
}

async fn play(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    // What is left of such a certificate is the part in which kubelet asks for the next one without end.
    let defaults = cluster.stage.node.etc().join("default");
    fs::create_dir_all(&defaults)?;
    fs::write(defaults.join("kubelet"), "KUBELET_EXTRA_ARGS=--rotate-certificates=false\n")?;
    let direct = cluster.cloud.access().clone();
    cluster.join(&direct).await?;
    node_hub::adopt(cluster, hub).await?;
    renewed_in_time(cluster, hub).await?;
    ended_while_cut(cluster, hub).await?;
    back(cluster, hub).await?;
    taken_away(cluster, hub).await
}

/// While the link is whole the hub renews the certificate as the node, long before it ends.
async fn renewed_in_time(cluster: &mut Cluster<'_>, hub: &Hub) -> Result<()> {
    let step = "online";
    let before = end(&hub.status(&cluster.stage.node)?)?;
    let renewed = sys::until("the hub renews the certificate", LIFE, || {
        let now = end(&hub.status(&cluster.stage.node)?)?;
        if now == before { bail!("still the one that ends {before}") } else { Ok(now) }
    });
    let renewed = renewed.await.map(|after| format!("{before}, then {after}"));
    cluster.stage.check(step, "the hub has the node's certificate renewed", renewed);
    let requests = cluster.cloud.requests()?;
    let by_node = requests.iter().filter(|one| one.verb == "create" && one.uri.starts_with(REQUESTS));
    let by_node: Vec<&str> = by_node.map(|one| one.user.as_str()).collect();
    let node = format!("system:node:{NODE}");
    let asked = if by_node.iter().any(|user| *user == node) {
        Ok(format!("{by_node:?}"))
    } else {
        Err(anyhow!("{by_node:?}"))
    };
    cluster.stage.check(step, "it asked for it as the node itself", asked);
    Ok(())
}

async fn ended_while_cut(cluster: &mut Cluster<'_>, hub: &Hub) -> Result<()> {
    let step = "cut";
    cluster.cut()?;
    hub.judges(&cluster.stage.node, "down").await?;
    let ended = sys::until("the certificate ends", LIFE, || {
        let status = hub.status(&cluster.stage.node)?;
        let (now, end) = (text(&status, "/time")?, end(&status)?);
        if now <= end {
            bail!("it is {now}, it ends {end}")
        } else {
            Ok(format!("it is {now}, it ended {end}"))
        }
    });
    let ended = ended.await;
    cluster.stage.check(step, "the node's certificate ends", ended);
    let answer = as_kubelet(cluster);
    cluster.stage.check(step, "kubelet is still known to the hub: it is answered, not 401", answer);
    Ok(())
}

/// What the hub answers to kubelet's own certificate.
fn as_kubelet(cluster: &Cluster<'_>) -> Result<String> {
    let kubectl = cluster.programs.kubernetes("kubectl");
    let words =
        [&kubectl, "--kubeconfig", "/etc/edgekeep/kubelet.conf", "get", "--raw", "/api/v1/nodes/edge"];
    let node = cluster.stage.node.run(&words)?;
    if !node.contains("\"kind\":\"Node\"") {
        bail!(node);
    }
    Ok("its own node, as last known".into())
}

async fn back(cluster: &mut Cluster<'_>, hub: &Hub) -> Result<()> {
    let step = "healed";
    cluster.heal()?;
    hub.judges(&cluster.stage.node, "up").await?;
    let anew = sys::until("a new certificate", LIFE, || {
        let status = hub.status(&cluster.stage.node)?;
        let refused = status.pointer("/nodeCertificate/refused").and_then(Value::as_bool);
        let (now, end) = (text(&status, "/time")?, end(&status)?);
        if refused == Some(false) && now < end { Ok(end) } else { bail!("{}", status) }
    });
    let anew = anew.await;
    cluster.stage.check(step, "the hub gets the node a new certificate with the bootstrap token", anew);
    let heard = cluster.kubelet_is_heard().await;
    cluster.stage.check(step, "kubelet, which was never restarted, is heard", heard);
    let ready = cluster.node_ready().await.map(|()| "Ready".into());
    cluster.stage.check(step, "the node is ready", ready);
    Ok(())
}

/// Reverted, kubelet finds the valid certificate where its own has long ended.
async fn taken_away(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    let step = "revert";
    hub.run(&cluster.stage.node, &["revert", "kubelet"])?;
    hub.kill(&cluster.stage.node)?;
    cluster.kubelet.kill(&cluster.stage.node)?;
    let bootstrap = cluster.stage.node.etc().join("kubernetes/bootstrap-kubelet.conf");
    // Without a token kubelet has only what the hub left it.
    fs::remove_file(bootstrap)?;
    cluster.kubelet.start(&cluster.stage.node)?;
    let heard = cluster.kubelet_is_heard().await;
    cluster.stage.check(step, "kubelet is heard with the certificate that the hub left it", heard);
    Ok(())
}

fn end(status: &Value) -> Result<String> {
    text(status, "/nodeCertificate/notAfter")
}

fn text(status: &Value, pointer: &str) -> Result<String> {
    let found = status.pointer(pointer).and_then(Value::as_str);
    found.map(str::to_owned).ok_or_else(|| anyhow!("nothing at {pointer} of {status}"))
}
