use super::*;

fn walk(kind: Kind, path: &[&str]) -> Field {
    let (last, parents) = path.split_last().unwrap();
    let message =
        parents.iter().fold(kind.message(), |message, name| message.field(name).unwrap().message().unwrap());
    message.field(last).unwrap()
}

fn core(kind: &str) -> Kind {
    Kind::find("", "v1", kind).unwrap()
}

/// Shape, whether merged, whether keys are retained, merge key.
fn merge(kind: Kind, path: &[&str]) -> (Shape, bool, bool, Option<&'static str>) {
    let field = walk(kind, path);
    (field.shape(), field.merges(), field.retains_keys(), field.merge_key())
}

#[test]
fn merge_keys_are_the_api_servers() {
    let (pod, node) = (core("Pod"), core("Node"));
    let list = Shape::List;
    assert_eq!(merge(pod, &["metadata", "ownerReferences"]), (list, true, false, Some("uid")));
    assert_eq!(merge(pod, &["metadata", "finalizers"]), (list, true, false, None));
    assert_eq!(merge(pod, &["metadata", "labels"]), (Shape::Map, false, false, None));
    assert_eq!(merge(pod, &["metadata", "managedFields"]), (list, false, false, None));
    assert_eq!(merge(pod, &["status", "conditions"]), (list, true, false, Some("type")));
    assert_eq!(merge(pod, &["status", "podIPs"]), (list, true, false, Some("ip")));
    assert_eq!(merge(pod, &["status", "containerStatuses"]), (list, false, false, None));
    assert_eq!(merge(pod, &["spec", "volumes"]), (list, true, true, Some("name")));
    assert_eq!(merge(pod, &["spec", "containers", "ports"]), (list, true, false, Some("containerPort")));
    assert_eq!(merge(pod, &["spec", "tolerations"]), (list, false, false, None));
    assert_eq!(merge(node, &["status", "addresses"]), (list, true, false, Some("type")));
    assert_eq!(merge(node, &["status", "volumesInUse"]), (list, false, false, None));
    assert_eq!(merge(node, &["spec", "podCIDRs"]), (list, true, false, None));
    let strategy = walk(Kind::find("apps", "v1", "Deployment").unwrap(), &["spec", "strategy"]);
    assert_eq!(
        (strategy.shape(), strategy.retains_keys(), strategy.merge_key()),
        (Shape::Message, true, None)
    );
}

#[test]
fn fields_of_inlined_messages_are_fields_of_their_parent() {
    let volumes = ["spec", "volumes", "secret"];
    assert_eq!(walk(core("Pod"), &volumes).shape(), Shape::Message);
    assert_eq!(
        walk(core("Pod"), &["spec", "containers", "livenessProbe", "httpGet", "port"]).shape(),
        Shape::Value
    );
    assert_eq!(walk(core("PersistentVolume"), &["spec", "csi", "driver"]).name(), "driver");
    let container = walk(core("Pod"), &["spec", "ephemeralContainers"]).message().unwrap();
    assert_eq!(container.field("env").unwrap().merge_key(), Some("name"));
}

#[test]
fn names_that_are_none_are_not_found() {
    let pod = core("Pod").message();
    for name in ["", "Spec", "nothing", "kind", "replicas"] {
        assert!(pod.field(name).is_none(), "{name}");
    }
    assert!(Kind::find("", "v1", "pod").is_none());
    assert!(Kind::find("apps", "v2", "Deployment").is_none());
    assert_eq!(Kind::of("apps/v1", "Deployment"), Kind::find("apps", "v1", "Deployment"));
}

#[test]
fn every_kind_is_found_by_its_name_and_kinds_with_a_list_by_their_resource() {
    for kind in Kind::all() {
        assert_eq!(Kind::find(kind.group(), kind.version(), kind.name()), Some(kind));
    }
    let cases = [
        ("", "v1", "pods", "Pod"),
        ("", "v1", "endpoints", "Endpoints"),
        ("", "v1", "componentstatuses", "ComponentStatus"),
        ("networking.k8s.io", "v1", "ingresses", "Ingress"),
        ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
        ("networking.k8s.io", "v1", "ipaddresses", "IPAddress"),
        ("storage.k8s.io", "v1", "csistoragecapacities", "CSIStorageCapacity"),
        ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
        ("coordination.k8s.io", "v1", "leases", "Lease"),
    ];
    for (group, version, resource, kind) in cases {
        let found = Kind::of_resource(group, version, resource).unwrap();
        assert_eq!(found.name(), kind);
        assert_eq!(found.list().unwrap().name(), format!("{kind}List"));
    }
    assert_eq!(Kind::of_resource("", "v1", "Pods"), None);
    assert_eq!(Kind::of_resource("", "v1", "podes"), None);
    assert_eq!(Kind::of_resource("example.com", "v1", "pods"), None);
}

#[test]
fn values_with_a_form_of_their_own_have_no_known_fields() {
    let resources = walk(core("Pod"), &["spec", "containers", "resources", "limits"]);
    assert_eq!((resources.shape(), resources.message()), (Shape::Map, None));
    assert_eq!(walk(core("Pod"), &["metadata", "creationTimestamp"]).shape(), Shape::Value);
    let review = Kind::find("authentication.k8s.io", "v1", "TokenReview").unwrap();
    assert_eq!(walk(review, &["status", "user", "extra"]).shape(), Shape::Map);
}

#[test]
fn fields_ordered_by_number_are_all_fields() {
    for message in (0..u16::try_from(MESSAGES.len()).unwrap()).map(Message) {
        let numbers: Vec<u8> = message.by_number().map(|(_, row)| row.number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert_eq!(numbers.len(), message.fields().len());
        for (place, row) in message.by_number() {
            assert_eq!(message.numbered(row.number.into()).unwrap().0, place);
        }
    }
}

#[test]
fn p10_the_whole_table_is_small() {
    let rows = size_of_val(&FIELDS) + size_of_val(&MESSAGES) + size_of_val(&rows::KINDS);
    let names = rows::names_size();
    assert!(rows + names < 80_000, "{rows} bytes of rows, {names} of names");
}
