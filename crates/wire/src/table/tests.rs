use serde_json::{Value, json};

use super::*;

/// 2020-01-10T00:00:00Z.
const NOW: i64 = 1_578_614_400;

fn options(include: Include) -> Options {
    Options { include, version: MetaVersion::V1, headers: true, now: NOW }
}

/// The table of one object, made of it in both encodings; they must agree.
fn table_of(object: &Value) -> Value {
    let json = object.to_string().into_bytes();
    let kind = Kind::of(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let of = |bytes: &[u8], encoding| {
        let object = Object::parse(bytes, encoding).unwrap();
        let made = table(kind, [&object], &ListMeta::default(), options(Include::Nothing)).unwrap();
        serde_json::from_slice::<Value>(&made).unwrap()
    };
    let made = of(&json, Encoding::Json);
    if kind.is_some() {
        let protobuf = transcode::to_protobuf(&json).unwrap().bytes;
        assert_eq!(of(&protobuf, Encoding::Protobuf), made);
    }
    let columns = made["columnDefinitions"].as_array().unwrap();
    assert_eq!(columns.len(), made["rows"][0]["cells"].as_array().unwrap().len(), "a cell for each column");
    made
}

/// The cells of an object, numbers as texts, joined.
fn cells(object: &Value) -> String {
    let table = table_of(object);
    let cells = table["rows"][0]["cells"].as_array().unwrap().iter();
    let texts: Vec<String> =
        cells.map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)).collect();
    texts.join("|")
}

/// An object with this name, ten days minus an hour old.
fn object(api_version: &str, kind: &str, rest: Value) -> Value {
    let mut object = json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": "x", "creationTimestamp": "2020-01-09T22:00:00Z"},
    });
    for (key, value) in rest.as_object().unwrap() {
        if key == "metadata" {
            for (key, value) in value.as_object().unwrap() {
                object["metadata"][key] = value.clone();
            }
        } else {
            object[key] = value.clone();
        }
    }
    object
}

fn pod(rest: Value) -> String {
    cells(&object("v1", "Pod", rest))
}

#[test]
fn a_running_pod_shows_what_is_ready_and_where() {
    let shown = pod(json!({
        "spec": {"nodeName": "n1", "containers": [{"name": "a"}, {"name": "b"}], "readinessGates": [{"conditionType": "g"}, {"conditionType": "h"}]},
        "status": {
            "phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "podIP": "10.0.0.1",
            "conditions": [{"type": "g", "status": "True"}, {"type": "h", "status": "False"}],
            "containerStatuses": [
                {"name": "a", "ready": true, "restartCount": 2, "state": {"running": {}},
                 "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2020-01-09T23:00:00Z"}}},
                {"name": "b", "ready": false, "restartCount": 0, "state": {"running": {}}},
            ],
        },
    }));
    assert_eq!(shown, "x|1/2|Running|2 (60m ago)|120m|10.0.0.1|n1|<none>|1/2");
}

#[test]
fn the_word_for_a_pod_is_the_one_that_kubectl_shows() {
    let word = |rest: Value| pod(rest).split('|').nth(2).unwrap().to_owned();
    let status = |state: Value, phase: &str| {
        json!({"spec": {"containers": [{"name": "a"}]}, "status": {"phase": phase, "containerStatuses": [
            {"name": "a", "ready": false, "restartCount": 0, "state": state}]}})
    };
    let init = |state: Value| {
        json!({"spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]},
            "status": {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": state}]}})
    };
    let cases = [
        (json!({"status": {"phase": "Pending"}}), "Pending"),
        (json!({"status": {"phase": "Failed", "reason": "Evicted"}}), "Evicted"),
        (
            json!({"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}}),
            "SchedulingGated",
        ),
        (status(json!({"waiting": {"reason": "CrashLoopBackOff"}}), "Running"), "CrashLoopBackOff"),
        (status(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}), "Succeeded"), "Completed"),
        (status(json!({"terminated": {"exitCode": 3}}), "Failed"), "ExitCode:3"),
        (status(json!({"terminated": {"exitCode": 137, "signal": 9}}), "Failed"), "Signal:9"),
        (init(json!({"waiting": {"reason": "ErrImagePull"}})), "Init:ErrImagePull"),
        (init(json!({"waiting": {"reason": "PodInitializing"}})), "Init:0/2"),
        (init(json!({"terminated": {"exitCode": 2}})), "Init:ExitCode:2"),
        (init(json!({"terminated": {"exitCode": 0}})), "Pending"),
        (
            json!({"metadata": {"deletionTimestamp": "2020-01-09T23:00:00Z"}, "status": {"phase": "Running"}}),
            "Terminating",
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2020-01-09T23:00:00Z"}, "status": {"phase": "Running", "reason": "NodeLost"}}),
            "Unknown",
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2020-01-09T23:00:00Z"}, "status": {"phase": "Succeeded"}}),
            "Succeeded",
        ),
    ];
    for (rest, expected) in cases {
        assert_eq!(word(rest.clone()), expected, "{rest}");
    }
}

#[test]
fn a_container_that_runs_beside_a_completed_one_decides() {
    let two = |ready: &str, exit: i32| {
        pod(json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}, "status": {"phase": "Running",
        "conditions": [{"type": "Ready", "status": ready}],
        "containerStatuses": [
            {"name": "a", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
            {"name": "b", "ready": exit == 0, "restartCount": 0, "state": if exit == 0 { json!({"running": {}}) } else { json!({"terminated": {"exitCode": exit, "reason": "Error"}}) }},
        ]}}))
    };
    assert!(two("True", 0).starts_with("x|1/2|Running|"));
    assert!(two("False", 0).starts_with("x|1/2|NotReady|"));
    assert!(two("False", 1).starts_with("x|0/2|Error|"));
}

#[test]
fn a_sidecar_counts_as_a_container() {
    let shown = pod(json!({
        "spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]},
        "status": {"phase": "Running",
            "initContainerStatuses": [{"name": "s", "ready": true, "started": true, "restartCount": 3, "state": {"running": {}}}],
            "containerStatuses": [{"name": "a", "ready": true, "restartCount": 1, "state": {"running": {}}}]},
    }));
    assert!(shown.starts_with("x|2/2|Running|4|"), "{shown}");
}

#[test]
fn a_pod_that_has_ended_has_a_condition_in_its_row() {
    let table = table_of(&object("v1", "Pod", json!({"status": {"phase": "Failed"}})));
    assert_eq!(table["rows"][0]["conditions"][0]["reason"], "Failed");
    let table = table_of(&object("v1", "Pod", json!({"status": {"phase": "Running"}})));
    assert_eq!(table["rows"][0].get("conditions"), None);
}

#[test]
fn other_kinds_show_their_own_columns() {
    let cases = [
        (
            "v1",
            "Node",
            json!({"metadata": {"labels": {"node-role.kubernetes.io/b": "", "node-role.kubernetes.io/a": "", "kubernetes.io/role": "c"}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "Unknown"}], "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
                "nodeInfo": {"kubeletVersion": "v1.36.2", "kernelVersion": "6.1", "architecture": "arm64"}}}),
            "x|NotReady,SchedulingDisabled|a,b,c|120m|v1.36.2|192.0.2.1|<none>|<unknown>|6.1 (arm64)|<unknown>",
        ),
        ("v1", "Node", json!({}), "x|Unknown|<none>|120m||<none>|<none>|<unknown>|<unknown>|<unknown>"),
        (
            "v1",
            "Service",
            json!({"spec": {"type": "NodePort", "clusterIPs": ["10.1.0.1"], "clusterIP": "10.1.0.1", "selector": {"b": "c", "a": "d"},
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
            "x|NodePort|10.1.0.1|<none>|80:30080/TCP,53/UDP|120m|a=d,b=c",
        ),
        (
            "v1",
            "Service",
            json!({"spec": {"type": "LoadBalancer", "externalIPs": ["192.0.2.9"]}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}, {"hostname": "a.example"}]}}}),
            "x|LoadBalancer|<none>|192.0.2.8,a.example,192.0.2.9|<none>|120m|<none>",
        ),
        (
            "v1",
            "Service",
            json!({"spec": {"type": "LoadBalancer"}}),
            "x|LoadBalancer|<none>|<pending>|<none>|120m|<none>",
        ),
        (
            "v1",
            "Endpoints",
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}, {"ip": "10.0.0.3"}, {"ip": "10.0.0.4"}], "ports": [{"port": 80}]}]}),
            "x|10.0.0.1:80,[fd00::1]:80,10.0.0.3:80 + 1 more...|120m",
        ),
        ("v1", "Endpoints", json!({}), "x|<none>|120m"),
        (
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"addressType": "IPv4", "ports": [{"port": 80}, {"name": "n"}, {}], "endpoints": [{"addresses": ["10.0.0.1", "10.0.0.2"]}]}),
            "x|IPv4|80,n,*|10.0.0.1,10.0.0.2|120m",
        ),
        ("v1", "ConfigMap", json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AA=="}}), "x|3|120m"),
        ("v1", "Secret", json!({"type": "Opaque", "data": {"a": "AA=="}}), "x|Opaque|1|120m"),
        ("v1", "Namespace", json!({"status": {"phase": "Active"}}), "x|Active|120m"),
        ("v1", "ServiceAccount", json!({}), "x|120m"),
        ("coordination.k8s.io/v1", "Lease", json!({"spec": {"holderIdentity": "h"}}), "x|h|120m"),
    ];
    for (api_version, kind, rest, expected) in cases {
        assert_eq!(cells(&object(api_version, kind, rest)), expected);
    }
}

#[test]
fn workloads_show_how_much_of_them_stands() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}], "nodeSelector": {"d": "e"}}});
    let selector = json!({"matchLabels": {"app": "w"}, "matchExpressions": [{"key": "t", "operator": "NotIn", "values": ["y", "x"]}]});
    let spec = json!({"replicas": 3, "template": template, "selector": selector});
    let status = json!({"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2});
    let cases = [
        ("Deployment", status.clone(), "x|2/3|1|2|120m|a,b|i,j|app=w,t notin (x,y)"),
        ("StatefulSet", status.clone(), "x|2/3|120m|a,b|i,j"),
        ("ReplicaSet", status, "x|3|3|2|120m|a,b|i,j|app=w,t notin (x,y)"),
        (
            "DaemonSet",
            json!({"desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3, "updatedNumberScheduled": 2, "numberAvailable": 1}),
            "x|5|4|3|2|1|d=e|120m|a,b|i,j|app=w,t notin (x,y)",
        ),
    ];
    for (kind, status, expected) in cases {
        let mut spec = spec.clone();
        if kind == "DaemonSet" {
            spec.as_object_mut().unwrap().remove("replicas");
        }
        assert_eq!(cells(&object("apps/v1", kind, json!({"spec": spec, "status": status}))), expected);
    }
    let job = |rest| cells(&object("batch/v1", "Job", rest));
    let done = json!({"spec": {"completions": 2, "template": {"spec": {"containers": []}}}, "status": {"succeeded": 2, "startTime": "2020-01-09T23:00:00Z", "completionTime": "2020-01-09T23:01:30Z", "conditions": [{"type": "Complete", "status": "True"}]}});
    assert_eq!(job(done), "x|Complete|2/2|90s|120m|||<none>");
    let runs = json!({"spec": {"parallelism": 4, "template": {"spec": {"containers": []}}}, "status": {"startTime": "2020-01-09T23:00:00Z"}});
    assert_eq!(job(runs), "x|Running|0/1 of 4|60m|120m|||<none>");
}

#[test]
fn events_of_both_groups_look_alike() {
    let core = cells(&object(
        "v1",
        "Event",
        json!({"involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "f"}, "reason": "R", "message": " M\n", "type": "Normal",
        "source": {"component": "kubelet", "host": "n"}, "firstTimestamp": "2020-01-09T22:00:00Z", "lastTimestamp": "2020-01-09T23:59:00Z", "count": 4}),
    ));
    assert_eq!(core, "60s|Normal|R|pod/p|f|kubelet, n|M|120m|4|x");
    let newer = cells(&object(
        "events.k8s.io/v1",
        "Event",
        json!({"regarding": {"kind": "Pod", "name": "p"}, "reason": "R", "note": "M", "type": "Warning",
        "reportingController": "c", "reportingInstance": "c-1", "eventTime": "2020-01-09T22:00:00.000000Z", "series": {"count": 7, "lastObservedTime": "2020-01-09T23:59:00.000000Z"}}),
    ));
    assert_eq!(newer, "60s|Warning|R|pod/p||c, c-1|M|120m|7|x");
    assert!(cells(&object("v1", "Event", json!({"involvedObject": {}}))).starts_with("<unknown>|"));
}

#[test]
fn custom_resources_show_name_and_age() {
    assert_eq!(cells(&object("example.com/v1", "Widget", json!({"spec": {}}))), "x|120m");
}

#[test]
fn a_row_carries_what_was_asked_for() {
    let config = object("v1", "ConfigMap", json!({"data": {"k": "v"}})).to_string();
    let config = Object::parse(config.as_bytes(), Encoding::Json).unwrap();
    let meta = ListMeta { resource_version: "8".to_owned(), ..ListMeta::default() };
    let made = |options| {
        let bytes = table(config.known_kind(), [&config], &meta, options).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    let whole = made(options(Include::Object));
    assert_eq!(whole["metadata"]["resourceVersion"], "8");
    assert_eq!(whole["rows"][0]["object"]["data"]["k"], "v");
    let part = made(options(Include::Metadata));
    assert_eq!(part["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(part["rows"][0]["object"]["metadata"]["name"], "x");
    assert_eq!(made(options(Include::Nothing))["rows"][0]["object"], Value::Null);
    let bare = made(Options { headers: false, version: MetaVersion::V1beta1, ..options(Include::Nothing) });
    assert_eq!(
        (&bare["columnDefinitions"], &bare["apiVersion"]),
        (&Value::Null, &json!("meta.k8s.io/v1beta1"))
    );
}

#[test]
fn an_empty_table_still_names_its_columns() {
    let bytes =
        table(Kind::find("", "v1", "Pod"), [], &ListMeta::default(), options(Include::Metadata)).unwrap();
    let table: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(table["rows"], json!([]));
    assert_eq!(
        table["columnDefinitions"][0],
        json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0})
    );
    assert_eq!(table["columnDefinitions"].as_array().unwrap().len(), 9);
}

#[test]
fn include_object_knows_four_words() {
    let of = |query: &str| Include::of(&Query::parse(query));
    assert_eq!(of("").unwrap(), Include::Metadata);
    assert_eq!(of("includeObject=Object").unwrap(), Include::Object);
    assert_eq!(of("includeObject=None").unwrap(), Include::Nothing);
    assert_eq!(of("includeObject=object").unwrap_err().code, 400);
}
