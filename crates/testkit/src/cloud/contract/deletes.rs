//! DELETE: preconditions, time to end, finalizers.

use serde_json::{Value, json};

use super::client::MERGE;
use super::{Case, Outcome, cases, check, fails, fails_somehow, version};

cases![
    a_deletion_is_answered_with_what_it_deleted,
    an_absent_object_cannot_be_deleted,
    a_deletion_with_another_uid_or_version_is_409,
    a_pod_gets_time_to_end,
    a_pod_without_time_is_marked_and_gone,
    a_pod_that_runs_nowhere_is_gone_at_once,
    finalizers_keep_an_object,
    finalizers_keep_a_pod_that_had_its_time,
    a_collection_is_deleted_by_selector,
];

fn options(extra: &Value) -> Value {
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    for (key, value) in extra.as_object().into_iter().flatten() {
        options[key] = value.clone();
    }
    options
}

async fn gone(case: &Case<'_>, path: &str) -> Outcome {
    let reply = case.client.get(&case.path(path)).await?;
    check!(reply.code == 404, "{path} is still there: {}", reply.text());
    Ok(())
}

async fn a_deletion_is_answered_with_what_it_deleted(case: &Case<'_>) -> Outcome {
    let made = case.config_map("a", "1").await?;
    let reply = case.client.delete(&case.path("configmaps/a"), &Value::Null).await?;
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]},
    });
    check!(reply.code == 200 && reply.json == expected, "{}", reply.text());
    gone(case, "configmaps/a").await
}

async fn an_absent_object_cannot_be_deleted(case: &Case<'_>) -> Outcome {
    let reply = case.client.delete(&case.path("configmaps/a"), &Value::Null).await?;
    let details = json!({"name": "a", "kind": "configmaps"});
    fails(&reply, 404, "NotFound", r#"configmaps "a" not found"#, &details)
}

async fn a_deletion_with_another_uid_or_version_is_409(case: &Case<'_>) -> Outcome {
    let made = case.config_map("a", "1").await?;
    let (uid, at) = (made["metadata"]["uid"].as_str().unwrap_or_default(), version(&made));
    let path = case.path("configmaps/a");
    let details = json!({"name": "a", "kind": "ConfigMap"});
    let body = options(&json!({"preconditions": {"uid": "other"}}));
    let message = format!(
        "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (other) does not match the UID in \
         record ({uid}). The object might have been deleted and then recreated"
    );
    fails(&case.client.delete(&path, &body).await?, 409, "Conflict", &message, &details)?;
    let body = options(&json!({"preconditions": {"resourceVersion": "1"}}));
    let message = format!(
        "Operation cannot be fulfilled on ConfigMap \"a\": the ResourceVersion in the precondition (1) does not match the \
         ResourceVersion in record ({at}). The object might have been modified"
    );
    fails(&case.client.delete(&path, &body).await?, 409, "Conflict", &message, &details)?;
    let body = options(&json!({"preconditions": {"uid": uid, "resourceVersion": at.to_string()}}));
    check!(case.client.delete(&path, &body).await?.code == 200, "the right preconditions hold");
    gone(case, "configmaps/a").await
}

async fn a_pod_gets_time_to_end(case: &Case<'_>) -> Outcome {
    let pod = case.pod("p", &json!({})).await?;
    let path = case.path("pods/p");
    let first = case.client.delete(&path, &Value::Null).await?;
    let meta = &first.json["metadata"];
    check!(first.code == 200 && meta["deletionGracePeriodSeconds"] == 30, "{}", first.text());
    check!(meta["deletionTimestamp"].is_string(), "{}", first.text());
    check!(version(&first.json) > version(&pod), "{}", first.text());
    let again = case.client.delete(&path, &Value::Null).await?;
    check!(again.code == 200 && again.json == first.json, "a second one changes nothing: {}", again.text());
    let shorter = case.client.delete(&path, &options(&json!({"gracePeriodSeconds": 5}))).await?;
    check!(shorter.json["metadata"]["deletionGracePeriodSeconds"] == 5, "{}", shorter.text());
    let body = options(&json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}}));
    fails_somehow(&case.client.delete(&path, &body).await?, 409, "Conflict")?;
    let body = options(&json!({"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}));
    let last = case.client.delete(&path, &body).await?;
    check!(last.code == 200 && last.json["kind"] == "Pod", "{}", last.text());
    gone(case, "pods/p").await
}

async fn a_pod_without_time_is_marked_and_gone(case: &Case<'_>) -> Outcome {
    let pod = version(&case.pod("p", &json!({})).await?);
    let watch = case.path(&format!("pods?watch=true&resourceVersion={pod}"));
    let mut watch = case.client.watch(&watch).await?;
    case.client.delete(&case.path("pods/p"), &options(&json!({"gracePeriodSeconds": 0}))).await?;
    let first = watch.next().await?.unwrap_or_default();
    let meta = &first["object"]["metadata"];
    check!(first["type"] == "MODIFIED" && meta["deletionGracePeriodSeconds"] == 0, "{first}");
    let second = watch.next().await?.unwrap_or_default();
    check!(second["type"] == "DELETED", "{second}");
    check!(version(&second["object"]) > version(&first["object"]), "{second}");
    Ok(())
}

async fn a_pod_that_runs_nowhere_is_gone_at_once(case: &Case<'_>) -> Outcome {
    case.pod("unplaced", &json!({"/spec/nodeName": ""})).await?;
    case.pod("done", &json!({})).await?;
    let status = json!({"status": {"phase": "Succeeded"}});
    case.client.patch(&case.path("pods/done/status"), MERGE, &status).await?;
    for name in ["unplaced", "done"] {
        let path = format!("pods/{name}");
        let reply = case.client.delete(&case.path(&path), &Value::Null).await?;
        check!(reply.json["metadata"]["deletionGracePeriodSeconds"] == 0, "{}", reply.text());
        gone(case, &path).await?;
    }
    Ok(())
}

async fn finalizers_keep_an_object(case: &Case<'_>) -> Outcome {
    case.make("configmaps", &json!({"metadata": {"name": "a", "finalizers": ["example.com/x"]}})).await?;
    let path = case.path("configmaps/a");
    let reply = case.client.delete(&path, &Value::Null).await?;
    check!(reply.json["metadata"]["deletionTimestamp"].is_string(), "{}", reply.text());
    let changed = case.change("a", "2").await?;
    check!(changed["data"]["n"] == "2", "it can still be changed: {changed}");

    let more = json!({"metadata": {"finalizers": ["example.com/x", "example.com/y"]}});
    let reply = case.client.patch(&path, MERGE, &more).await?;
    fails_somehow(&reply, 422, "Invalid")?;
    let text = "no new finalizers can be added if the object is being deleted, found new finalizers \
                []string{\"example.com/y\"}";
    let message = reply.json["message"].as_str().unwrap_or_default();
    check!(message.ends_with(text), "{message}");

    let none = json!({"metadata": {"finalizers": null}});
    let reply = case.client.patch(&path, MERGE, &none).await?;
    check!(reply.code == 200 && version(&reply.json) == version(&changed), "{}", reply.text());
    gone(case, "configmaps/a").await
}

async fn finalizers_keep_a_pod_that_had_its_time(case: &Case<'_>) -> Outcome {
    case.pod("p", &json!({"/metadata/finalizers": ["example.com/x"]})).await?;
    let path = case.path("pods/p");
    let reply = case.client.delete(&path, &options(&json!({"gracePeriodSeconds": 0}))).await?;
    check!(reply.json["metadata"]["deletionGracePeriodSeconds"] == 0, "{}", reply.text());
    check!(case.client.get(&path).await?.code == 200, "its finalizer keeps it");
    case.client.patch(&path, MERGE, &json!({"metadata": {"finalizers": null}})).await?;
    gone(case, "pods/p").await
}

async fn a_collection_is_deleted_by_selector(case: &Case<'_>) -> Outcome {
    for (name, label) in [("a", "1"), ("b", "1"), ("c", "2")] {
        case.make("configmaps", &json!({"metadata": {"name": name, "labels": {"x": label}}})).await?;
    }
    let reply = case.client.delete(&case.path("configmaps?labelSelector=x%3D1"), &Value::Null).await?;
    check!(reply.code == 200, "{}", reply.text());
    gone(case, "configmaps/a").await?;
    gone(case, "configmaps/b").await?;
    check!(case.client.get(&case.path("configmaps/c")).await?.code == 200, "the third was not meant");
    Ok(())
}
