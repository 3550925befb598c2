//! P9: what the hub says of its pods, its bindings and its Node.

use hub::agreement::NodeObject;
use serde_json::{Value, json};

use crate::bench::{Bench, NODE, until};
use crate::process::plain;
use crate::reads::{self, OWN_NODE, OWN_PODS, bench, cut, list, watch};

/// What the operator's commands are told.
async fn told(bench: &Bench) -> Value {
    let stream = tokio::net::UnixStream::connect(&bench.config.admin).await.unwrap();
    let (code, text) = plain(stream, "/status", None).await;
    assert_eq!(code, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// How the Node object stands at a look.
fn node(bench: &Bench) -> NodeObject {
    bench.daemon.look_again();
    bench.daemon.standing().agreement.node.clone()
}

#[tokio::test]
async fn p9_pods_that_an_outage_deletes_are_named_with_and_without_the_cloud() {
    let bench = bench().await;
    bench.daemon.look_again();
    let status = told(&bench).await;
    assert_eq!(status["pods"], json!({ "known": null, "outage": [] }), "nobody has read them");
    assert_eq!(status["nodeObject"]["state"], "unknown");

    let mut pod = reads::pod("one");
    pod["spec"]["tolerations"] =
        json!([{ "key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 300 }]);
    bench.cloud.put("", "pods", pod);
    let mut kubelet = bench.as_kubelet().await;
    list(&mut kubelet, OWN_NODE).await;
    list(&mut kubelet, OWN_PODS).await;
    let outage = json!({ "known": 2, "outage": [
        { "afterSeconds": 0, "pods": ["default/two"] },
        { "afterSeconds": 300, "pods": ["default/one"] },
    ] });
    bench.daemon.look_again();
    assert_eq!(told(&bench).await["pods"], outage);
    drop(kubelet);
    cut(&bench).await;
    let bench = reads::restart(bench).await;
    bench.daemon.look_again();
    let status = told(&bench).await;
    assert_eq!((&status["pods"], &status["nodeObject"]["state"]), (&outage, &json!("present")));
}

#[tokio::test]
async fn a_node_that_is_deleted_in_the_cloud_and_made_anew_is_told() {
    let bench = bench().await;
    let (mut kubelet, mut other) = (bench.as_kubelet().await, bench.as_kubelet().await);
    let nodes = list(&mut kubelet, OWN_NODE).await;
    list(&mut kubelet, OWN_PODS).await;
    let _watch = watch(&mut other, OWN_NODE, &nodes).await;
    let NodeObject::Present(first) = node(&bench) else { panic!("{:?}", node(&bench)) };
    bench.cloud.remove("", "nodes", "", NODE);
    until("the hub hears that the node is deleted", || node(&bench) == NodeObject::Deleted).await;
    assert_eq!(told(&bench).await["nodeObject"]["state"], "deleted");
    bench.cloud.put("", "nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}));
    let anew =
        || matches!(node(&bench), NodeObject::MadeAnew { before, now } if before == first && now != first);
    until("the hub hears that the node was made anew", anew).await;
    drop((kubelet, other));
    // Whoever starts anew takes the node that is there for the right one.
    let bench = reads::restart(bench).await;
    assert!(matches!(node(&bench), NodeObject::Present(uid) if uid != first));
}
