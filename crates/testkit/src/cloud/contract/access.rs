//! 401 and 403: who is not let in, and in which words.

use serde_json::{Value, json};

use super::{Case, Client, Outcome, Target, cases, check, fails};

cases![
    a_wrong_token_is_401,
    nobody_may_read_nothing_but_what_is_public,
    somebody_without_rights_is_403_by_name,
    what_is_no_resource_is_403_by_path,
    who_may_not_impersonate_is_403,
    a_review_of_oneself_says_what_is_allowed,
];

/// Asks as somebody who may nothing: an administrator may say so.
const NOBODY: (&str, &str) = ("impersonate-user", "nobody");

async fn a_wrong_token_is_401(case: &Case<'_>) -> Outcome {
    let client = Client::connect(&Target { credential: None, ..case.server.target.clone() }).await?;
    let headers = [("authorization", "Bearer wrong")];
    let reply = client.send("GET", &case.path("pods"), &headers, "").await?;
    fails(&reply, 401, "Unauthorized", "Unauthorized", &Value::Null)?;
    let reply = client.send("GET", "/version", &headers, "").await?;
    fails(&reply, 401, "Unauthorized", "Unauthorized", &Value::Null)
}

async fn nobody_may_read_nothing_but_what_is_public(case: &Case<'_>) -> Outcome {
    let client = Client::connect(&Target { credential: None, ..case.server.target.clone() }).await?;
    for path in ["/version", "/healthz", "/livez", "/readyz"] {
        check!(client.get(path).await?.code == 200, "{path} is public");
    }
    let reply = client.get(&case.path("pods")).await?;
    let message = format!(
        "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the namespace \
         \"{}\"",
        case.namespace
    );
    fails(&reply, 403, "Forbidden", &message, &json!({"kind": "pods"}))
}

async fn somebody_without_rights_is_403_by_name(case: &Case<'_>) -> Outcome {
    let within = format!("in the namespace \"{}\"", case.namespace);
    let lease = json!({"name": "l", "group": "coordination.k8s.io", "kind": "leases"});
    let cases = [
        ("GET", case.path("pods"), "pods", "list", "pods", "", within.as_str(), json!({"kind": "pods"})),
        (
            "GET",
            case.path("pods/a"),
            "pods \"a\"",
            "get",
            "pods",
            "",
            &within,
            json!({"name": "a", "kind": "pods"}),
        ),
        (
            "GET",
            case.path("pods/a/status"),
            "pods \"a\"",
            "get",
            "pods/status",
            "",
            &within,
            json!({"name": "a", "kind": "pods"}),
        ),
        ("POST", case.path("pods"), "pods", "create", "pods", "", &within, json!({"kind": "pods"})),
        (
            "GET",
            case.path("pods?watch=true&fieldSelector=metadata.name%3Da"),
            "pods \"a\"",
            "watch",
            "pods",
            "",
            &within,
            json!({"name": "a", "kind": "pods"}),
        ),
        (
            "DELETE",
            case.path("pods"),
            "pods",
            "deletecollection",
            "pods",
            "",
            &within,
            json!({"kind": "pods"}),
        ),
        (
            "GET",
            "/api/v1/nodes".into(),
            "nodes",
            "list",
            "nodes",
            "",
            "at the cluster scope",
            json!({"kind": "nodes"}),
        ),
        (
            "GET",
            case.leases("/l"),
            "leases.coordination.k8s.io \"l\"",
            "get",
            "leases",
            "coordination.k8s.io",
            &within,
            lease,
        ),
    ];
    for (method, path, what, verb, resource, group, scope, details) in cases {
        let reply = case.client.send(method, &path, &[NOBODY], "").await?;
        let message = format!(
            "{what} is forbidden: User \"nobody\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}"
        );
        fails(&reply, 403, "Forbidden", &message, &details)?;
    }
    Ok(())
}

async fn what_is_no_resource_is_403_by_path(case: &Case<'_>) -> Outcome {
    let reply = case.client.send("GET", "/metrics", &[NOBODY], "").await?;
    let message = "forbidden: User \"nobody\" cannot get path \"/metrics\"";
    fails(&reply, 403, "Forbidden", message, &json!({}))
}

async fn who_may_not_impersonate_is_403(case: &Case<'_>) -> Outcome {
    let client = Client::connect(&Target { credential: None, ..case.server.target.clone() }).await?;
    let reply = client.send("GET", &case.path("pods"), &[NOBODY], "").await?;
    let message = "users \"nobody\" is forbidden: User \"system:anonymous\" cannot impersonate resource \"users\" in API \
                   group \"\" at the cluster scope";
    fails(&reply, 403, "Forbidden", message, &json!({"name": "nobody", "kind": "users"}))
}

async fn a_review_of_oneself_says_what_is_allowed(case: &Case<'_>) -> Outcome {
    let attributes = json!({"verb": "get", "resource": "pods", "namespace": case.namespace});
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let own = case.client.post(path, &review).await?;
    check!(own.code == 201 && own.json["status"]["allowed"] == true, "{}", own.text());
    let somebody = ("impersonate-group", "system:authenticated");
    let headers = [NOBODY, somebody, ("content-type", "application/json")];
    let theirs = case.client.send("POST", path, &headers, review.to_string()).await?;
    check!(theirs.code == 201 && theirs.json["status"]["allowed"] == false, "{}", theirs.text());
    check!(theirs.json["kind"] == "SelfSubjectAccessReview", "{}", theirs.text());
    Ok(())
}
