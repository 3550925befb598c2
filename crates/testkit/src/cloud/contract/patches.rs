//! PATCH: the forms, the preconditions in them, and what it leaves alone.

use serde_json::{Value, json};

use super::client::{JSON_PATCH, MERGE};
use super::{Case, MODIFIED, Outcome, cases, check, fails, fails_somehow, version};

cases![
    a_merge_patch_sets_and_takes_away,
    a_patch_that_changes_nothing_keeps_the_version,
    a_patch_with_another_uid_is_422,
    a_patch_with_another_version_is_409,
    a_patch_with_the_present_version_is_done,
    a_patch_of_another_name_is_400,
    a_patch_of_an_absent_object_is_404,
    a_patch_of_an_unknown_form_is_415,
    a_patch_that_cannot_be_read_is_refused,
    a_json_patch_is_done_in_order_or_not_at_all,
    a_status_patch_leaves_the_rest,
];

async fn a_merge_patch_sets_and_takes_away(case: &Case<'_>) -> Outcome {
    let made = case.config_map("a", "1").await?;
    let patch = json!({"data": {"n": null, "m": "2"}, "metadata": {"labels": {"x": "y"}}});
    let reply = case.client.patch(&case.path("configmaps/a"), MERGE, &patch).await?;
    check!(reply.code == 200 && reply.json["data"] == json!({"m": "2"}), "{}", reply.text());
    check!(reply.json["metadata"]["labels"] == json!({"x": "y"}), "{}", reply.text());
    check!(version(&reply.json) > version(&made), "{}", reply.text());
    Ok(())
}

async fn a_patch_that_changes_nothing_keeps_the_version(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let before = case.change("a", "2").await?;
    let after = case.change("a", "2").await?;
    check!(version(&after) == version(&before), "{after}");
    Ok(())
}

async fn a_patch_with_another_uid_is_422(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let patch = json!({"metadata": {"uid": "other"}, "data": {"n": "2"}});
    let reply = case.client.patch(&case.path("configmaps/a"), MERGE, &patch).await?;
    fails_somehow(&reply, 422, "Invalid")?;
    let text = r#"Invalid value: "other": field is immutable"#;
    let cause = json!({"reason": "FieldValueInvalid", "message": text, "field": "metadata.uid"});
    let message = format!(r#"ConfigMap "a" is invalid: metadata.uid: {text}"#);
    check!(reply.json["message"] == message.as_str(), "{}", reply.text());
    check!(reply.json["details"]["causes"][0] == cause, "{}", reply.text());
    Ok(())
}

async fn a_patch_with_another_version_is_409(case: &Case<'_>) -> Outcome {
    let made = version(&case.config_map("a", "1").await?);
    let message = format!("Operation cannot be fulfilled on configmaps \"a\": {MODIFIED}");
    for at in [1, made + 1_000_000] {
        let patch = json!({"metadata": {"resourceVersion": at.to_string()}, "data": {"n": "2"}});
        let reply = case.client.patch(&case.path("configmaps/a"), MERGE, &patch).await?;
        fails(&reply, 409, "Conflict", &message, &json!({"name": "a", "kind": "configmaps"}))?;
    }
    Ok(())
}

async fn a_patch_with_the_present_version_is_done(case: &Case<'_>) -> Outcome {
    let made = case.config_map("a", "1").await?;
    let meta = json!({
        "resourceVersion": made["metadata"]["resourceVersion"], "uid": made["metadata"]["uid"],
    });
    let patch = json!({"metadata": meta, "data": {"n": "2"}});
    let reply = case.client.patch(&case.path("configmaps/a"), MERGE, &patch).await?;
    check!(reply.code == 200 && reply.json["data"]["n"] == "2", "{}", reply.text());
    Ok(())
}

async fn a_patch_of_another_name_is_400(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let patch = json!({"metadata": {"name": "b"}});
    let reply = case.client.patch(&case.path("configmaps/a"), MERGE, &patch).await?;
    let text = "the name of the object (b) does not match the name on the URL (a)";
    fails(&reply, 400, "BadRequest", text, &Value::Null)
}

async fn a_patch_of_an_absent_object_is_404(case: &Case<'_>) -> Outcome {
    let reply = case.client.patch(&case.path("configmaps/a"), MERGE, &json!({"data": {}})).await?;
    let details = json!({"name": "a", "kind": "configmaps"});
    fails(&reply, 404, "NotFound", r#"configmaps "a" not found"#, &details)
}

async fn a_patch_of_an_unknown_form_is_415(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let reply = case.client.patch(&case.path("configmaps/a"), "application/json", &json!({})).await?;
    fails_somehow(&reply, 415, "UnsupportedMediaType")
}

async fn a_patch_that_cannot_be_read_is_refused(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let path = case.path("configmaps/a");
    let reply = case.client.send("PATCH", &path, &[("content-type", MERGE)], "[").await?;
    check!(reply.code >= 400 && reply.json["kind"] == "Status", "{}", reply.text());
    let reply = case.client.patch(&path, JSON_PATCH, &json!({"data": {}})).await?;
    fails_somehow(&reply, 400, "BadRequest")
}

async fn a_json_patch_is_done_in_order_or_not_at_all(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let path = case.path("configmaps/a");
    let test = |value: &str| json!({"op": "test", "path": "/data/n", "value": value});
    let add = json!({"op": "add", "path": "/data/m", "value": "2"});
    let replace = json!({"op": "replace", "path": "/data/n", "value": "3"});
    let reply = case.client.patch(&path, JSON_PATCH, &json!([test("1"), add, replace, test("3")])).await?;
    check!(reply.json["data"] == json!({"n": "3", "m": "2"}), "{}", reply.text());
    let remove = json!({"op": "remove", "path": "/data/m"});
    let missing = json!({"op": "remove", "path": "/data/none"});
    for last in [test("other"), missing] {
        let reply = case.client.patch(&path, JSON_PATCH, &json!([remove, last])).await?;
        fails_somehow(&reply, 422, "Invalid")?;
        let text = "the server rejected our request due to an error in our request";
        check!(reply.json["message"] == text, "{}", reply.text());
    }
    let got = case.client.get(&path).await?.json;
    check!(got["data"]["m"] == "2", "half a patch was done: {got}");
    Ok(())
}

async fn a_status_patch_leaves_the_rest(case: &Case<'_>) -> Outcome {
    let pod = case.pod("p", &json!({})).await?;
    let patch = json!({"status": {"phase": "Failed"}, "spec": {"nodeName": "elsewhere"}});
    let main =
        case.client.patch(&case.path("pods/p"), MERGE, &json!({"status": {"phase": "Failed"}})).await?;
    check!(main.json["status"]["phase"] == "Pending", "{}", main.text());
    let status = case.client.patch(&case.path("pods/p/status"), MERGE, &patch).await?.json;
    check!(status["status"]["phase"] == "Failed", "{status}");
    check!(status["spec"] == pod["spec"], "{status}");
    let spec = json!({"spec": {"restartPolicy": "Never"}});
    let reply = case.client.patch(&case.path("pods/p"), MERGE, &spec).await?;
    fails_somehow(&reply, 422, "Invalid")
}
