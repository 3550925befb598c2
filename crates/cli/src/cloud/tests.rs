use super::*;

fn asked() -> Manifests {
    Manifests {
        node_label: "edgekeep.io/edge=true".into(),
        default_seconds: 300,
        policy_version: PolicyVersion::V1,
        without_policy: false,
    }
}

/// The documents as `kubectl apply` takes them: what is neither comment nor separator.
fn kinds(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("kind: ")).collect()
}

#[test]
fn a_policy_its_binding_and_the_right_to_renew_are_printed() {
    let text = text(&asked()).unwrap();
    let expected = ["ClusterRoleBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"];
    assert_eq!(kinds(&text), expected);
    assert!(!text.contains('@'), "something was left to fill in");
    assert!(text.contains(r#"nodeSelector[?"edgekeep.io/edge"] == optional.of("true")"#));
    assert!(text.contains("tolerationSeconds.orValue(-1) == 300"));
}

#[test]
fn label_default_and_version_are_the_operators() {
    let other = Manifests {
        node_label: "node-role.kubernetes.io/edge=".into(),
        default_seconds: 60,
        policy_version: PolicyVersion::V1beta1,
        ..asked()
    };
    let text = text(&other).unwrap();
    assert!(text.contains(r#"nodeSelector[?"node-role.kubernetes.io/edge"] == optional.of("")"#), "{text}");
    assert!(text.contains("orValue(-1) == 60"));
    assert_eq!(text.matches("apiVersion: admissionregistration.k8s.io/v1beta1\n").count(), 2);
}

#[test]
fn without_the_policy_only_rights_are_objects_and_the_flags_are_told() {
    let text = text(&Manifests { without_policy: true, ..asked() }).unwrap();
    assert_eq!(kinds(&text), ["ClusterRoleBinding"]);
    for flag in ["default-unreachable-toleration-seconds", "default-not-ready-toleration-seconds"] {
        assert!(text.contains(&format!("#     - name: {flag}\n#       value: \"315360000\"")), "{text}");
    }
}

#[test]
fn what_is_no_label_gets_nowhere_near_the_policy() {
    for label in ["edge", "=true", "a b=c", "k=\"; true", "k=v=w", "k=v\n"] {
        assert!(text(&Manifests { node_label: label.into(), ..asked() }).is_err(), "{label}");
    }
}
