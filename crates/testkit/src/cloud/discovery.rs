//! What the cloud says of itself: discovery, version, health, signing keys.

use serde_json::{Value, json};
use wire::Status;

use super::kinds::Kind;
use super::special::ISSUER;
use super::world::{Answer, World};

/// The answer to a path that is about no resource.
///
/// # Errors
/// 404.
pub fn answer(world: &World, path: &str) -> Result<Answer, Status> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let value = match parts.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => {
            return Ok(Answer::Text("text/plain; charset=utf-8", "ok".into()));
        }
        ["version"] => {
            let text = serde_json::to_string_pretty(&version(world)).unwrap_or_default();
            return Ok(Answer::Text("application/json", text));
        }
        ["openid", "v1", "jwks"] => {
            return Ok(Answer::Text("application/jwk-set+json", world.authority.key_set().to_string()));
        }
        [".well-known", "openid-configuration"] => json!({
            "issuer": ISSUER,
            "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => {
            let groups: Vec<Value> =
                groups(world).iter().filter(|name| !name.is_empty()).map(|name| group(world, name)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["api", "v1"] => resources(world, "", "v1")?,
        ["apis", name] if groups(world).contains(name) => {
            let mut value = group(world, name);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            value
        }
        ["apis", name, version] => resources(world, name, version)?,
        _ => return Err(Status::no_such_path()),
    };
    Ok(Answer::Plain(200, value))
}

fn version(world: &World) -> Value {
    json!({
        "major": "1",
        "minor": world.release.minor().to_string(),
        "gitVersion": format!("v1.{}.2+miniature", world.release.minor()),
        "gitCommit": "",
        "gitTreeState": "clean",
        "platform": "linux/amd64",
    })
}

/// Groups that have no stored kinds: name and version.
const REVIEWS: [(&str, &str, &str, &str); 3] = [
    ("authentication.k8s.io", "v1", "tokenreviews", "TokenReview"),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview"),
];

fn groups(world: &World) -> Vec<&str> {
    let mut names: Vec<&str> = world.kinds.iter().map(|kind| kind.group.as_str()).collect();
    names.extend(REVIEWS.iter().map(|review| review.0));
    names.sort_unstable();
    names.dedup();
    names
}

fn group(world: &World, name: &str) -> Value {
    let mut versions: Vec<&str> =
        world.kinds.iter().filter(|kind| kind.group == name).map(|kind| kind.version.as_str()).collect();
    versions.extend(REVIEWS.iter().filter(|review| review.0 == name).map(|review| review.1));
    versions.sort_unstable();
    versions.dedup();
    let entry = |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let all: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": name, "versions": all, "preferredVersion": all[0]})
}

fn resources(world: &World, group: &str, version: &str) -> Result<Value, Status> {
    const VERBS: [&str; 8] =
        ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let mut all = Vec::new();
    for kind in world.kinds.iter().filter(|kind| kind.group == group && kind.version == version) {
        all.push(entry(kind, &kind.resource, &kind.kind, &VERBS));
        if kind.status {
            all.push(entry(
                kind,
                &format!("{}/status", kind.resource),
                &kind.kind,
                &["get", "patch", "update"],
            ));
        }
        for (sub, sub_kind) in subresources(kind) {
            all.push(entry(kind, &format!("{}/{sub}", kind.resource), sub_kind, &["create"]));
        }
    }
    for (_, _, resource, kind) in REVIEWS.iter().filter(|review| (review.0, review.1) == (group, version)) {
        all.push(json!({"name": resource, "singularName": "", "namespaced": false, "kind": kind, "verbs": ["create"]}));
    }
    if all.is_empty() {
        return Err(Status::no_such_path());
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": all,
    }))
}

fn entry(kind: &Kind, name: &str, shown: &str, verbs: &[&str]) -> Value {
    json!({"name": name, "singularName": "", "namespaced": kind.namespaced, "kind": shown, "verbs": verbs})
}

fn subresources(kind: &Kind) -> &'static [(&'static str, &'static str)] {
    match kind.resource.as_str() {
        "pods" => {
            &[("binding", "Binding"), ("eviction", "Eviction"), ("log", "Pod"), ("exec", "PodExecOptions")]
        }
        "serviceaccounts" => &[("token", "TokenRequest")],
        _ => &[],
    }
}
