//! The objects that are written to, and what may be put into them.

use anyhow::Result;
use patch::Served;
use serde_json::{Value, json};
use wire::Resource;
use wire::schema::Kind;

use crate::api::Api;

/// The namespace of all that has one.
const NAMESPACE: &str = "patchdiff";
/// The node, and the name of all other objects.
pub const NODE: &str = "patchdiff-node";
const NAME: &str = "subject";

/// What is written to.
pub struct Subject {
    /// Path of the collection.
    pub collection: String,
    /// The resource, with the subresource.
    pub resource: Resource,
    /// What serves it.
    pub served: Served,
    /// An object with a value in every member that patches play with; patches take their values from here.
    pub sample: Value,
    /// The node as whose kubelet it is written to.
    pub node: Option<&'static str>,
}

impl Subject {
    /// Path of the object itself.
    pub fn object_path(&self) -> String {
        format!("{}/{}", self.collection, self.resource.name)
    }

    /// Path of what is written to.
    pub fn path(&self) -> String {
        match self.resource.subresource.as_str() {
            "" => self.object_path(),
            subresource => format!("{}/{subresource}", self.object_path()),
        }
    }

    /// What it is called in a report.
    pub fn title(&self) -> String {
        let Resource { resource, subresource, .. } = &self.resource;
        let slash = if subresource.is_empty() { "" } else { "/" };
        let by = if self.node.is_some() { " by its kubelet" } else { "" };
        format!("{resource}{slash}{subresource}{by}")
    }
}

/// Creates the objects and says what is to be written to.
///
/// # Errors
///
/// The API server does not take them.
pub fn prepare(api: &mut Api) -> Result<Vec<Subject>> {
    api.create("/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}}))?;
    api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition())?;
    let grant = |name: &str, value: Value| {
        let mut object = value;
        if let Some(members) = object.as_object_mut() {
            members.insert("metadata".to_owned(), json!({ "name": name }));
        }
        object
    };
    let group = "rbac.authorization.k8s.io";
    let rules = json!({"rules": [{"apiGroups": [""], "resources": ["pods", "pods/status", "nodes", "nodes/status"], "verbs": ["*"]}]});
    api.create(&format!("/apis/{group}/v1/clusterroles"), &grant(NAMESPACE, rules))?;
    let binding = json!({"roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": NAMESPACE},
        "subjects": [{"apiGroup": group, "kind": "Group", "name": "system:nodes"}]});
    api.create(&format!("/apis/{group}/v1/clusterrolebindings"), &grant(NAMESPACE, binding))?;

    let subjects = all();
    for subject in &subjects {
        // A new definition is served, and a new namespace has its service account, a moment later.
        let created = (0..50).find_map(|_| match api.create(&subject.collection, &base(subject)) {
            Ok(()) => Some(Ok(())),
            Err(error) if ["404", "403"].iter().any(|code| error.to_string().contains(code)) => {
                std::thread::sleep(std::time::Duration::from_millis(200));
                None
            }
            Err(error) => Some(Err(error)),
        });
        created.unwrap_or(Ok(()))?;
    }
    Ok(subjects)
}

/// All that is written to.
pub fn all() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for (path, node) in
        [("pods/status", None), ("pods/status", Some(NODE)), ("pods", None), ("pods", Some(NODE))]
    {
        subjects.push(subject("", "v1", "Pod", path, pod_sample(), node));
    }
    for (path, node) in [("nodes/status", None), ("nodes/status", Some(NODE)), ("nodes", None)] {
        subjects.push(subject("", "v1", "Node", path, node_sample(), node));
    }
    subjects.push(subject("", "v1", "Service", "services", service_sample(), None));
    subjects.push(subject("", "v1", "Service", "services/status", service_sample(), None));
    subjects.push(subject("apps", "v1", "Deployment", "deployments", deployment_sample(), None));
    subjects.push(subject("apps", "v1", "Deployment", "deployments/status", deployment_sample(), None));
    subjects.push(subject("", "v1", "ConfigMap", "configmaps", config_map_sample(), None));
    subjects.push(subject("patchdiff.example.com", "v1", "Widget", "widgets", widget_sample(), None));
    subjects.push(subject("patchdiff.example.com", "v1", "Widget", "widgets/status", widget_sample(), None));
    subjects
}

fn subject(
    group: &str,
    version: &str,
    kind: &str,
    path: &str,
    sample: Value,
    node: Option<&'static str>,
) -> Subject {
    let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
    let (namespace, name) = if resource == "nodes" { ("", NODE) } else { (NAMESPACE, NAME) };
    let prefix =
        if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    let space = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
    let served = Kind::find(group, version, kind).map_or(Served::Custom { status: true }, Served::BuiltIn);
    Subject {
        collection: format!("{prefix}{space}/{resource}"),
        resource: Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: namespace.to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            rest: String::new(),
        },
        served,
        sample: with_metadata(sample, namespace, name),
        node,
    }
}

/// The object as it is created: the part of the sample that must be there.
fn base(subject: &Subject) -> Value {
    let mut object = subject.sample.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
        let name = &subject.resource.name;
        members.insert("metadata".to_owned(), json!({"name": name, "labels": {"app": "a"}}));
        if subject.resource.resource == "pods" {
            members.insert(
                "spec".to_owned(),
                json!({"nodeName": NODE, "containers": [{"name": "c", "image": "i"}]}),
            );
        }
    }
    object
}

fn with_metadata(mut sample: Value, namespace: &str, name: &str) -> Value {
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid});
    let mut metadata = json!({
        "name": name,
        "uid": "00000000-0000-0000-0000-000000000000",
        "resourceVersion": "1",
        "generation": 99,
        "labels": {"app": "a", "team": "t", "example.com/x": "y"},
        "annotations": {"note": "n", "example.com/note": "<&>"},
        "finalizers": ["example.com/a", "example.com/b", "example.com/c"],
        "ownerReferences": [owner("o1"), owner("o2")],
        "creationTimestamp": "2020-01-02T03:04:05Z",
        "deletionTimestamp": "2030-01-02T03:04:05Z",
        "deletionGracePeriodSeconds": 30,
        "selfLink": "/self",
        "managedFields": []
    });
    if let Some(members) = metadata.as_object_mut().filter(|_| !namespace.is_empty()) {
        members.insert("namespace".to_owned(), namespace.into());
    }
    if let Some(members) = sample.as_object_mut() {
        members.insert("metadata".to_owned(), metadata);
    }
    sample
}

fn pod_sample() -> Value {
    let at = "2026-01-02T03:04:05Z";
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": "R", "message": "m",
        "lastProbeTime": null, "lastTransitionTime": at})
    };
    let container = |name: &str| {
        json!({"name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 1,
        "started": true, "containerID": "containerd://1", "lastState": {}, "state": {"running": {"startedAt": at}}})
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "spec": {
            "nodeName": NODE,
            "activeDeadlineSeconds": 3600,
            "containers": [{"name": "c", "image": "i2"}],
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}]
        },
        "status": {
            "phase": "Running", "message": "m", "reason": "r", "hostIP": "10.0.0.7", "podIP": "10.1.0.5",
            "podIPs": [{"ip": "10.1.0.5"}, {"ip": "fd00::5"}, {"ip": "10.1.0.6"}],
            "startTime": at, "qosClass": "BestEffort", "nominatedNodeName": "n",
            "conditions": [condition("Ready", "True"), condition("PodScheduled", "True"),
                condition("Initialized", "False"), condition("ContainersReady", "Unknown"), condition("example.com/x", "True")],
            "containerStatuses": [container("c"), container("d")],
            "initContainerStatuses": [container("i")]
        }
    })
}

fn node_sample() -> Value {
    let at = "2026-01-02T03:04:05Z";
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "R", "message": "m",
        "lastHeartbeatTime": at, "lastTransitionTime": at})
    };
    let address = |kind: &str, address: &str| json!({"type": kind, "address": address});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "spec": {"unschedulable": true, "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
        "status": {
            "capacity": {"cpu": "4", "memory": "8Gi", "example.com/dongle": "2"},
            "allocatable": {"cpu": "3900m", "memory": "7Gi", "pods": "110"},
            "conditions": [condition("Ready"), condition("MemoryPressure"), condition("DiskPressure"), condition("example.com/x")],
            "addresses": [address("InternalIP", "10.0.0.7"), address("Hostname", "n"), address("InternalIP", "fd00::7"),
                address("ExternalIP", "192.0.2.1")],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {"machineID": "m", "systemUUID": "s", "bootID": "b", "kernelVersion": "6", "osImage": "o",
                "containerRuntimeVersion": "c", "kubeletVersion": "v1.20.2", "kubeProxyVersion": "v1.20.2",
                "operatingSystem": "linux", "architecture": "amd64"},
            "images": [{"names": ["a:1", "a:2"], "sizeBytes": 123}, {"names": ["b:1"], "sizeBytes": 9_007_199_254_740_993_i64}],
            "volumesInUse": ["v1", "v2"],
            "volumesAttached": [{"name": "v1", "devicePath": "/dev/x"}]
        }
    })
}

fn service_sample() -> Value {
    let port = |name: &str, port: u16, protocol: &str| json!({"name": name, "port": port, "protocol": protocol, "targetPort": port});
    json!({
        "apiVersion": "v1", "kind": "Service",
        "spec": {
            "ports": [port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("web", 80, "TCP")],
            "selector": {"app": "a", "tier": "t"},
            "externalIPs": ["192.0.2.9", "192.0.2.8"],
            "sessionAffinity": "None"
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.3"}, {"hostname": "h.example.com"}]}}
    })
}

fn deployment_sample() -> Value {
    let at = "2026-01-02T03:04:05Z";
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "spec": {
            "replicas": 3, "minReadySeconds": 5, "paused": true, "revisionHistoryLimit": 3, "progressDeadlineSeconds": 700,
            "selector": {"matchLabels": {"app": "a"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "a", "v": "2"}, "annotations": {"x": "y"}},
                "spec": {
                    "hostNetwork": false,
                    "nodeSelector": {"zone": "z", "disk": "ssd"},
                    "imagePullSecrets": [{"name": "p1"}, {"name": "p2"}],
                    "tolerations": [{"key": "k", "operator": "Exists"}],
                    "containers": [
                        {"name": "c", "image": "i", "args": ["x", "y"], "command": ["run"],
                            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}],
                            "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 443, "protocol": "TCP"}],
                            "volumeMounts": [{"name": "e", "mountPath": "/e"}, {"name": "h", "mountPath": "/h"}],
                            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
                        {"name": "d", "image": "j", "env": [{"name": "A", "value": "9"}]}
                    ],
                    "volumes": [{"name": "e", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/h", "type": ""}}]
                }
            }
        },
        "status": {
            "replicas": 2, "readyReplicas": 1, "observedGeneration": 1, "availableReplicas": 1, "updatedReplicas": 2,
            "conditions": [
                {"type": "Available", "status": "True", "lastUpdateTime": at, "lastTransitionTime": at},
                {"type": "Progressing", "status": "True", "lastUpdateTime": at, "lastTransitionTime": at}
            ]
        }
    })
}

fn config_map_sample() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "data": {"a": "1", "b": "two\nlines", "c": "<&>\u{2028}ü"},
        "binaryData": {"x": "AAEC", "y": "/w=="}
    })
}

fn widget_sample() -> Value {
    json!({
        "apiVersion": "patchdiff.example.com/v1", "kind": "Widget",
        "spec": {
            "size": 3, "ratio": 0.1, "big": 9_007_199_254_740_993_i64, "on": true, "name": "n",
            "list": [1, 2, {"deep": [true, "x"]}], "map": {"a": {"b": 1}, "c": {"d": "e"}}
        },
        "status": {"seen": 1, "list": ["x"], "map": {"k": {"v": 1}}}
    })
}

fn definition() -> Value {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "metadata": {"name": "widgets.patchdiff.example.com"},
        "spec": {
            "group": "patchdiff.example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": any}}]
        }
    })
}
