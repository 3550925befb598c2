//! Outages that last longer than the cloud waits: with the API server as it comes the pod is deleted, with the flags that
//! `edgekeep cloud manifests --without-policy` prints it is the same pod at the same address. What the hub says of both, what
//! the bindings are told, and a Node that is deleted in the cloud.
//!
//! Of Kubernetes' times only the small ones are played: the cloud waits 16 seconds and a pod tolerates five.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use crate::checks::Checks;
use crate::cloud;
use crate::cluster::{Cluster, READY};
use crate::fields::text_at;
use crate::hub::Hub;
use crate::kubelet::NODE;
use crate::pods::{NAMESPACE, PORT};
use crate::run_dir::RunDir;
use crate::scenario::{Options, node_hub};
use crate::{image, sys};

/// What pods tolerate where nobody says otherwise.
const TOLERATED: u64 = 5;
/// How long the cloud waits for a node's word; kubelet gives one every ten seconds.
const GRACE: &str = "16s";
/// Longer than any of it takes, on a machine that others use too.
const PATIENCE: Duration = Duration::from_secs(90);
/// Longer than the cloud, and than the pods would tolerate.
const OUTLASTED: Duration = Duration::from_secs(3 * TOLERATED);
/// The hub says that a pod is deleted when it has missed it for a minute, and looks every ten seconds.
const MISSED: Duration = Duration::from_secs(120);

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let cloud = cloud::Options {
        controller_manager: vec![
            format!("--node-monitor-grace-period={GRACE}"),
            "--node-monitor-period=1s".into(),
        ],
        api_server: tolerated(TOLERATED),
        ..cloud::Options::default()
    };
    let mut cluster = Cluster::set_up(dir, options, "node-eviction", cloud, checks).await?;
    let mut hub = Hub::new(&cluster.programs);
    let played = play(&mut cluster, &mut hub).await;
    cluster.close(played)
}

/// The two flags, as `edgekeep cloud manifests --without-policy` names them.
fn tolerated(seconds: u64) -> Vec<String> {
    ["unreachable", "not-ready"]
        .map(|taint| format!("--default-{taint}-toleration-seconds={seconds}"))
        .to_vec()
}

async fn play(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    other_node(cluster)?;
    let direct = cluster.cloud.access().clone();
    cluster.join(&direct).await?;
    hub.start(&cluster.stage.node).await?;
    node_hub::behind(cluster, hub)?;
    cluster.kubelet_is_heard().await?;
    without(cluster, hub).await?;
    with(cluster, hub).await?;
    node_deleted(cluster, hub).await
}

/// Another node, which is heard of all the time: a cloud that hears of no node at all takes itself for the one that is cut off, and
/// deletes nothing.
fn other_node(cluster: &Cluster<'_>) -> Result<()> {
    cluster.cloud.apply(&[
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "other"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}
        }),
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"namespace": "kube-node-lease", "name": "other"},
            "spec": {"holderIdentity": "other", "leaseDurationSeconds": 40}
        }),
    ])?;
    let kubectl = cluster.programs.kubernetes("kubectl");
    let renew = format!(
        r#"while :; do
            {kubectl} --kubeconfig=/etc/kubernetes/admin.conf --namespace=kube-node-lease patch lease other --type=merge \
                --patch="{{\"spec\":{{\"renewTime\":\"$(date -u +%Y-%m-%dT%H:%M:%S.000000Z)\"}}}}"
            sleep 3
        done"#
    );
    cluster.cloud.machine.start("other-node", &["sh", "-c", &renew]).map(drop)
}

/// A pod is deleted by an outage that is longer than it tolerates, and that was foretold.
async fn without(cluster: &mut Cluster<'_>, hub: &Hub) -> Result<()> {
    let step = "without";
    let before = start(cluster, "short").await?;
    let foretold = sys::until("status names the pod", PATIENCE, || {
        let status = hub.status(&cluster.stage.node)?;
        let struck = status.pointer("/pods/outage").cloned().unwrap_or_default();
        if struck != json!([{ "afterSeconds": TOLERATED, "pods": ["default/short"] }]) {
            bail!("{struck}");
        }
        Ok(format!("{struck}"))
    });
    let foretold = foretold.await;
    cluster.stage.check(step, "status names the pod, and after how many seconds", foretold);
    let doctor = doctor(cluster);
    cluster.stage.check(step, "doctor does too", doctor);
    cluster.cut()?;
    let deleted = sys::until("the cloud deletes the pod", PATIENCE, || {
        let pod = cluster.cloud.get(&["pod", "short"])?;
        text_at(&pod, "/metadata/deletionTimestamp").map(str::to_owned)
    });
    let deleted = deleted.await;
    cluster.stage.check(step, "the cloud deletes the pod", deleted);
    let runs = answers(cluster, &before.address);
    cluster.stage.check(step, "it runs on meanwhile", runs);
    cluster.heal()?;
    hub.judges(&cluster.stage.node, "up").await?;
    let gone = sys::until("the pod is gone", PATIENCE, || match cluster.cloud.get(&["pod", "short"]) {
        Ok(_) => bail!("it is still there"),
        Err(_) => Ok("gone from the cloud".to_owned()),
    });
    let gone = gone.await;
    cluster.stage.check(step, "healed, kubelet ends it and it is gone", gone);
    cluster.node_ready().await?;
    let told = sys::until("the binding is gone", MISSED, || {
        let rows = hub.run(&cluster.stage.node, &["leases", "--output", "json", "--pod", "default/short"])?;
        let rows: Value = serde_json::from_str(&rows)?;
        let state = rows.pointer("/networks/0/leases/0/state").cloned();
        if state == Some("gone".into()) { Ok("gone, reusable first".to_owned()) } else { bail!("{rows}") }
    });
    let told = told.await;
    cluster.stage.check(step, "the hub tells the binding that its pod is deleted", told);
    Ok(())
}

/// With the flags a pod outlasts the same outage.
async fn with(cluster: &mut Cluster<'_>, hub: &Hub) -> Result<()> {
    let step = "with";
    let printed = hub.run(&cluster.stage.node, &["cloud", "manifests", "--without-policy"])?;
    let seconds = 315_360_000;
    let flags = tolerated(seconds);
    let named = if printed.contains("default-unreachable-toleration-seconds")
        && printed.contains(&seconds.to_string())
    {
        Ok("as used below".to_owned())
    } else {
        Err(anyhow!(printed))
    };
    cluster.stage.check(step, "the flags are printed", named);
    cluster.cloud.kill_api_server()?;
    cluster.cloud.api_server_flags = flags;
    cluster.cloud.start_api_server().await?;
    hub.judges(&cluster.stage.node, "up").await?;
    cluster.node_ready().await?;
    let before = start(cluster, "long").await?;
    cluster.cut()?;
    let tainted = sys::until("the cloud taints the node", PATIENCE, || {
        let node = cluster.cloud.get(&["node", NODE])?;
        let taints = node.pointer("/spec/taints").cloned().unwrap_or_default().to_string();
        if taints.contains("node.kubernetes.io/unreachable") && taints.contains("NoExecute") {
            Ok("unreachable:NoExecute".to_owned())
        } else {
            bail!("{taints}")
        }
    });
    let tainted = tainted.await;
    cluster.stage.check(step, "the cloud takes the node for unreachable", tainted);
    tokio::time::sleep(OUTLASTED).await;
    cluster.heal()?;
    hub.judges(&cluster.stage.node, "up").await?;
    cluster.node_ready().await?;
    let after = look(cluster, "long")?;
    let same =
        if after == before { Ok(format!("{after:?}")) } else { Err(anyhow!("{before:?}, then {after:?}")) };
    cluster.stage.check(step, "it is the same pod at the same address", same);
    let runs = answers(cluster, &before.address);
    cluster.stage.check(step, "it answers", runs);
    let agree = sys::until("status says that they agree", PATIENCE, || {
        let status = hub.status(&cluster.stage.node)?;
        let (differences, networks) =
            (status.pointer("/bindings/differences"), status.pointer("/bindings/networks"));
        if differences == Some(&json!([])) && networks == Some(&json!(1)) {
            Ok("no difference".to_owned())
        } else {
            bail!("{status}")
        }
    });
    let agree = agree.await;
    cluster.stage.check(step, "bindings and API server agree", agree);
    Ok(())
}

/// Somebody deletes the Node; the runbook brings it back.
async fn node_deleted(cluster: &mut Cluster<'_>, hub: &mut Hub) -> Result<()> {
    let step = "node deleted";
    cluster.cloud.kubectl(&["delete", "node", NODE, "--wait=false"])?;
    let said = node_is(cluster, hub, "deleted").await;
    cluster.stage.check(step, "status says that the cloud has deleted the node", said);
    cluster.kubelet.kill(&cluster.stage.node)?;
    cluster.kubelet.start(&cluster.stage.node)?;
    let said = node_is(cluster, hub, "madeAnew").await;
    cluster.stage.check(step, "kubelet restarted, status says that it was made anew", said);
    hub.kill(&cluster.stage.node)?;
    hub.start(&cluster.stage.node).await?;
    let said = node_is(cluster, hub, "present").await;
    cluster.stage.check(step, "the hub restarted, all is said to be well", said);
    let ready = cluster.node_ready().await.map(|()| "Ready".into());
    cluster.stage.check(step, "the node is ready", ready);
    Ok(())
}

async fn node_is(cluster: &Cluster<'_>, hub: &Hub, wanted: &str) -> Result<String> {
    sys::until(&format!("the node is {wanted}"), PATIENCE, || {
        let status = hub.status(&cluster.stage.node)?;
        let node = status.pointer("/nodeObject").cloned().unwrap_or_default();
        if text_at(&node, "/state")? == wanted { Ok(node.to_string()) } else { bail!("{node}") }
    })
    .await
}

/// A pod as the cloud knows it.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    uid: String,
    address: String,
    restarts: String,
}

/// Starts a pod that says nothing of outages, and waits until it runs.
async fn start(cluster: &Cluster<'_>, name: &str) -> Result<Known> {
    let account = ["serviceaccount", "default"];
    sys::until("the namespace has its account", READY, || cluster.cloud.get(&account)).await?;
    let container = json!({
        "name": "main", "image": image::BUSYBOX, "imagePullPolicy": "Never",
        "args": ["httpd", "-f", "-p", PORT.to_string()]
    });
    cluster.cloud.apply(&[json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {"nodeName": NODE, "terminationGracePeriodSeconds": 1, "containers": [container]}
    })])?;
    sys::until("the pod runs", READY, || look(cluster, name)).await
}

fn look(cluster: &Cluster<'_>, name: &str) -> Result<Known> {
    let pod = cluster.cloud.get(&["pod", name])?;
    if text_at(&pod, "/metadata/deletionTimestamp").is_ok() {
        bail!("it is being deleted");
    }
    let restarts = pod.pointer("/status/containerStatuses/0/restartCount").map(Value::to_string);
    Ok(Known {
        uid: text_at(&pod, "/metadata/uid")?.to_owned(),
        address: text_at(&pod, "/status/podIP")?.to_owned(),
        restarts: restarts.ok_or_else(|| anyhow!("no container yet"))?,
    })
}

/// That the pod answers on the node: a file that is not there is an answer too.
fn answers(cluster: &Cluster<'_>, address: &str) -> Result<String> {
    let ask = format!("busybox wget -O- http://{address}:{PORT}/none 2>&1 || true");
    let told = cluster.stage.node.run(&["sh", "-c", &ask])?;
    if told.contains("404") { Ok(format!("at {address}")) } else { Err(anyhow!(told)) }
}

/// That doctor names the pod in a note.
fn doctor(cluster: &Cluster<'_>) -> Result<String> {
    let script = format!("{} doctor --output json || true", cluster.programs.edgekeep());
    let told = cluster.stage.node.run(&["sh", "-c", &script])?;
    let report: Value = serde_json::from_str(&told)?;
    let findings = report.get("findings").and_then(Value::as_array).into_iter().flatten();
    let mut of_outage = findings.filter(|one| one.get("area") == Some(&"outage".into()));
    let found = of_outage.find(|one| one.get("pods") == Some(&json!(["default/short"])));
    let found = found.ok_or_else(|| anyhow!("not named in {report}"))?;
    if found.get("gravity") != Some(&"note".into()) {
        bail!("{found}");
    }
    Ok(text_at(found, "/what")?.to_owned())
}
