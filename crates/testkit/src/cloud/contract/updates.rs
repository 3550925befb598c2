//! PUT: what it builds on, and which part of a body counts.

use serde_json::{Value, json};

use super::{Case, MODIFIED, Outcome, cases, check, fails, fails_somehow, version};

cases![
    a_put_with_the_present_version_is_done,
    a_put_with_an_older_or_a_future_version_is_409,
    a_put_without_a_version_is_done_where_the_kind_allows_it,
    a_put_that_changes_nothing_keeps_the_version,
    a_put_of_an_absent_object_is_404_where_the_kind_does_not_make_it,
    a_put_with_another_uid_is_409,
    a_put_with_another_name_or_namespace_is_400,
    a_put_with_an_odd_version_is_500,
    the_status_is_written_by_its_subresource_only,
    a_nodes_status_may_bring_labels,
    what_is_the_servers_stays,
];

fn map_of(value: &str, meta: &Value) -> Value {
    let mut object = json!({"metadata": {"name": "a"}, "data": {"n": value}});
    for (key, value) in meta.as_object().into_iter().flatten() {
        object["metadata"][key] = value.clone();
    }
    object
}

async fn a_put_with_the_present_version_is_done(case: &Case<'_>) -> Outcome {
    let made = case.config_map("a", "1").await?;
    let body = map_of("2", &json!({"resourceVersion": made["metadata"]["resourceVersion"]}));
    let reply = case.client.put(&case.path("configmaps/a"), &body).await?;
    check!(reply.code == 200 && reply.json["data"]["n"] == "2", "{}", reply.text());
    check!(version(&reply.json) > version(&made), "{}", reply.text());
    Ok(())
}

async fn a_put_with_an_older_or_a_future_version_is_409(case: &Case<'_>) -> Outcome {
    let made = version(&case.config_map("a", "1").await?);
    case.change("a", "2").await?;
    let message = format!("Operation cannot be fulfilled on configmaps \"a\": {MODIFIED}");
    for at in [1, made, made + 1_000_000] {
        let body = map_of("3", &json!({"resourceVersion": at.to_string()}));
        let reply = case.client.put(&case.path("configmaps/a"), &body).await?;
        fails(&reply, 409, "Conflict", &message, &json!({"name": "a", "kind": "configmaps"}))?;
    }
    Ok(())
}

async fn a_put_without_a_version_is_done_where_the_kind_allows_it(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    for (at, value) in [(json!({}), "2"), (json!({"resourceVersion": "0"}), "3")] {
        let reply = case.client.put(&case.path("configmaps/a"), &map_of(value, &at)).await?;
        check!(reply.code == 200 && reply.json["data"]["n"] == value, "{}", reply.text());
    }
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}});
    case.client.post(&case.leases(""), &lease).await?;
    let reply = case.client.put(&case.leases("/l"), &lease).await?;
    let text = "Invalid value: 0x0: must be specified for an update";
    let message = format!(r#"leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: {text}"#);
    let cause = json!({"reason": "FieldValueInvalid", "message": text, "field": "metadata.resourceVersion"});
    let details = json!({"name": "l", "group": "coordination.k8s.io", "kind": "leases", "causes": [cause]});
    fails(&reply, 422, "Invalid", &message, &details)
}

async fn a_put_that_changes_nothing_keeps_the_version(case: &Case<'_>) -> Outcome {
    let made = case.config_map("a", "1").await?;
    // The second one, for a new manager of a field is a change of its own.
    case.client.put(&case.path("configmaps/a"), &map_of("1", &json!({}))).await?;
    let before = case.client.get(&case.path("configmaps/a")).await?.json;
    let reply = case.client.put(&case.path("configmaps/a"), &map_of("1", &json!({}))).await?;
    check!(reply.code == 200 && version(&reply.json) == version(&before), "{}", reply.text());
    check!(reply.json["metadata"]["uid"] == made["metadata"]["uid"], "{}", reply.text());
    Ok(())
}

async fn a_put_of_an_absent_object_is_404_where_the_kind_does_not_make_it(case: &Case<'_>) -> Outcome {
    for at in [json!({}), json!({"resourceVersion": "5"})] {
        let reply = case.client.put(&case.path("configmaps/a"), &map_of("1", &at)).await?;
        let details = json!({"name": "a", "kind": "configmaps"});
        fails(&reply, 404, "NotFound", r#"configmaps "a" not found"#, &details)?;
    }
    let lease = json!({"metadata": {"name": "new"}, "spec": {"holderIdentity": "me"}});
    let reply = case.client.put(&case.leases("/new"), &lease).await?;
    check!(reply.code == 201, "a lease is made by PUT: {}", reply.text());
    Ok(())
}

async fn a_put_with_another_uid_is_409(case: &Case<'_>) -> Outcome {
    let made = case.config_map("a", "1").await?;
    let reply = case.client.put(&case.path("configmaps/a"), &map_of("2", &json!({"uid": "other"}))).await?;
    fails_somehow(&reply, 409, "Conflict")?;
    let uid = made["metadata"]["uid"].as_str().unwrap_or_default();
    let end = format!("Precondition failed: UID in precondition: other, UID in object meta: {uid}");
    let message = reply.json["message"].as_str().unwrap_or_default();
    check!(message.ends_with(&end), "{message}");
    check!(reply.json["details"] == json!({"name": "a", "kind": "configmaps"}), "{}", reply.text());
    Ok(())
}

async fn a_put_with_another_name_or_namespace_is_400(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let reply = case.client.put(&case.path("configmaps/a"), &json!({"metadata": {"name": "b"}})).await?;
    let text = "the name of the object (b) does not match the name on the URL (a)";
    fails(&reply, 400, "BadRequest", text, &Value::Null)?;
    let reply =
        case.client.put(&case.path("configmaps/a"), &map_of("1", &json!({"namespace": "no"}))).await?;
    fails_somehow(&reply, 400, "BadRequest")?;
    let message = reply.json["message"].as_str().unwrap_or_default();
    check!(message.starts_with("the namespace of the "), "{message}");
    Ok(())
}

async fn a_put_with_an_odd_version_is_500(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let body = map_of("2", &json!({"resourceVersion": "abc"}));
    let reply = case.client.put(&case.path("configmaps/a"), &body).await?;
    check!(reply.code >= 400 && reply.json["kind"] == "Status", "{}", reply.text());
    Ok(())
}

async fn the_status_is_written_by_its_subresource_only(case: &Case<'_>) -> Outcome {
    let pod = case.pod("p", &json!({})).await?;
    let mut body = pod.clone();
    body["status"]["phase"] = "Running".into();
    body["metadata"]["labels"] = json!({"by": "main"});
    let main = case.client.put(&case.path("pods/p"), &body).await?.json;
    check!(main["status"]["phase"] == "Pending", "the object's own PUT leaves the status: {main}");
    check!(main["metadata"]["labels"]["by"] == "main", "{main}");
    let mut body = main.clone();
    body["status"]["phase"] = "Running".into();
    body["metadata"]["annotations"] = json!({"by": "status"});
    body["spec"]["nodeName"] = "elsewhere".into();
    let status = case.client.put(&case.path("pods/p/status"), &body).await?.json;
    check!(status["status"]["phase"] == "Running", "{status}");
    check!(status["status"]["qosClass"] == "BestEffort", "{status}");
    check!(status["spec"] == main["spec"], "a status PUT leaves the spec: {status}");
    check!(status["metadata"]["annotations"]["by"] == "status", "a pod's annotations ride on it: {status}");
    let got = case.client.get(&case.path("pods/p/status")).await?.json;
    check!(got == status, "{got}");
    Ok(())
}

async fn a_nodes_status_may_bring_labels(case: &Case<'_>) -> Outcome {
    let name = format!("n-{}", case.namespace);
    let node = json!({"metadata": {"name": name}, "spec": {"podCIDR": "10.9.0.0/24"}});
    case.client.post("/api/v1/nodes", &node).await?;
    let patch = json!({
        "metadata": {"labels": {"by": "status"}}, "spec": {"unschedulable": true}, "status": {"nodeInfo": {"bootID": "b"}},
    });
    let path = format!("/api/v1/nodes/{name}");
    let reply = case.client.patch(&format!("{path}/status"), super::client::MERGE, &patch).await?;
    check!(reply.json["metadata"]["labels"]["by"] == "status", "{}", reply.text());
    check!(reply.json["status"]["nodeInfo"]["bootID"] == "b", "{}", reply.text());
    check!(reply.json["spec"].get("unschedulable").is_none(), "{}", reply.text());
    case.client.delete(&path, &Value::Null).await?;
    Ok(())
}

async fn what_is_the_servers_stays(case: &Case<'_>) -> Outcome {
    let made = case.config_map("a", "1").await?;
    let body = map_of("2", &json!({"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9}));
    let reply = case.client.put(&case.path("configmaps/a"), &body).await?;
    let (old, new) = (&made["metadata"], &reply.json["metadata"]);
    check!(reply.code == 200, "{}", reply.text());
    check!(new["creationTimestamp"] == old["creationTimestamp"], "{new}");
    check!(new["uid"] == old["uid"], "{new}");
    Ok(())
}
