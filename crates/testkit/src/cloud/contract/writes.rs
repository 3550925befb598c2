//! POST: what may be made.

use serde_json::{Value, json};

use super::{Case, Outcome, cases, check, fails, fails_somehow};

cases![
    what_is_made_gets_its_metadata,
    a_name_that_is_taken_is_409,
    a_body_with_a_version_is_refused,
    a_body_without_a_name_is_422,
    a_generated_name_gets_five_letters,
    a_namespace_that_is_not_there_is_404,
    a_namespace_other_than_the_paths_is_400,
    a_body_of_another_kind_is_400,
    a_body_without_kind_is_taken,
    a_body_that_is_no_json_is_400,
    a_body_of_an_unknown_type_is_415,
    a_path_with_a_name_takes_no_post,
    a_token_is_made_for_an_account_and_a_pod,
];

async fn what_is_made_gets_its_metadata(case: &Case<'_>) -> Outcome {
    let own = json!({"name": "a", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z"});
    let made = case.make("configmaps", &json!({"metadata": own, "data": {"k": "v"}})).await?;
    let meta = &made["metadata"];
    check!(made["kind"] == "ConfigMap" && made["apiVersion"] == "v1", "{made}");
    check!(meta["namespace"] == case.namespace.as_str() && meta["name"] == "a", "{made}");
    check!(meta["uid"].as_str().is_some_and(|uid| uid.len() == 36), "{made}");
    let time = meta["creationTimestamp"].as_str().unwrap_or_default();
    check!(time.len() == 20 && !time.starts_with("2001"), "{made}");
    let pod = case.pod("p", &json!({"/status": {"phase": "Running"}})).await?;
    check!(pod["status"]["phase"] == "Pending", "a status cannot be made: {pod}");
    Ok(())
}

async fn a_name_that_is_taken_is_409(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let reply = case.client.post(&case.path("configmaps"), &json!({"metadata": {"name": "a"}})).await?;
    let details = json!({"name": "a", "kind": "configmaps"});
    fails(&reply, 409, "AlreadyExists", r#"configmaps "a" already exists"#, &details)
}

async fn a_body_with_a_version_is_refused(case: &Case<'_>) -> Outcome {
    let object = json!({"metadata": {"name": "a", "resourceVersion": "5"}});
    let reply = case.client.post(&case.path("configmaps"), &object).await?;
    let text = "resourceVersion should not be set on objects to be created";
    fails(&reply, 500, "", text, &Value::Null)
}

async fn a_body_without_a_name_is_422(case: &Case<'_>) -> Outcome {
    let reply = case.client.post(&case.path("configmaps"), &json!({"metadata": {}})).await?;
    let text = "Required value: name or generateName is required";
    let message = format!(r#"ConfigMap "" is invalid: metadata.name: {text}"#);
    let cause = json!({"reason": "FieldValueRequired", "message": text, "field": "metadata.name"});
    fails(&reply, 422, "Invalid", &message, &json!({"kind": "ConfigMap", "causes": [cause]}))
}

async fn a_generated_name_gets_five_letters(case: &Case<'_>) -> Outcome {
    let made = case.make("configmaps", &json!({"metadata": {"generateName": "g-"}})).await?;
    let name = made["metadata"]["name"].as_str().unwrap_or_default();
    check!(name.starts_with("g-") && name.len() == 7, "{made}");
    Ok(())
}

async fn a_namespace_that_is_not_there_is_404(case: &Case<'_>) -> Outcome {
    let object = json!({"metadata": {"name": "a"}});
    let reply = case.client.post("/api/v1/namespaces/nowhere/configmaps", &object).await?;
    let details = json!({"name": "nowhere", "kind": "namespaces"});
    fails(&reply, 404, "NotFound", r#"namespaces "nowhere" not found"#, &details)
}

async fn a_namespace_other_than_the_paths_is_400(case: &Case<'_>) -> Outcome {
    let object = json!({"metadata": {"name": "a", "namespace": "other"}});
    fails_somehow(&case.client.post(&case.path("configmaps"), &object).await?, 400, "BadRequest")
}

async fn a_body_of_another_kind_is_400(case: &Case<'_>) -> Outcome {
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    let reply = case.client.post(&case.path("configmaps"), &object).await?;
    fails_somehow(&reply, 400, "BadRequest")?;
    let start = r#"Secret in version "v1" cannot be handled as a ConfigMap: "#;
    let message = reply.json["message"].as_str().unwrap_or_default();
    check!(message.starts_with(start), "{message}");
    Ok(())
}

async fn a_body_without_kind_is_taken(case: &Case<'_>) -> Outcome {
    let made = case.make("configmaps", &json!({"metadata": {"name": "a"}})).await?;
    check!(made["kind"] == "ConfigMap", "{made}");
    Ok(())
}

async fn a_body_that_is_no_json_is_400(case: &Case<'_>) -> Outcome {
    let json = [("content-type", "application/json")];
    let reply = case.client.send("POST", &case.path("configmaps"), &json, "{").await?;
    fails_somehow(&reply, 400, "BadRequest")
}

async fn a_body_of_an_unknown_type_is_415(case: &Case<'_>) -> Outcome {
    let text = "the body of the request was in an unknown format - accepted media types include: application/json, \
                application/yaml, application/vnd.kubernetes.protobuf";
    for form in ["text/plain", "application/cbor"] {
        let reply =
            case.client.send("POST", &case.path("configmaps"), &[("content-type", form)], "{}").await?;
        fails(&reply, 415, "UnsupportedMediaType", text, &Value::Null)?;
    }
    Ok(())
}

async fn a_path_with_a_name_takes_no_post(case: &Case<'_>) -> Outcome {
    let text = "the server does not allow this method on the requested resource";
    let reply = case.client.post(&case.path("configmaps/a"), &json!({"metadata": {"name": "a"}})).await?;
    fails(&reply, 405, "MethodNotAllowed", text, &json!({}))?;
    let reply = case.client.put(&case.path("configmaps"), &json!({"metadata": {"name": "a"}})).await?;
    fails(&reply, 405, "MethodNotAllowed", text, &json!({}))
}

async fn a_token_is_made_for_an_account_and_a_pod(case: &Case<'_>) -> Outcome {
    let pod = case.pod("p", &json!({})).await?;
    let request = |name: &str, uid: &Value| {
        let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid});
        json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": ["https://kubernetes.default.svc"], "expirationSeconds": 3607, "boundObjectRef": bound},
        })
    };
    let path = case.path("serviceaccounts/default/token");
    let uid = &pod["metadata"]["uid"];
    let reply = case.client.post(&path, &request("p", uid)).await?;
    check!(reply.code == 201 && reply.json["kind"] == "TokenRequest", "{}", reply.text());
    let token = reply.json["status"]["token"].as_str().unwrap_or_default();
    check!(token.split('.').count() == 3, "{}", reply.text());
    check!(reply.json["status"]["expirationTimestamp"].is_string(), "{}", reply.text());

    let reply = case.client.post(&path, &request("p", &"other".into())).await?;
    let message = "Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (other) does not match \
                   the UID in record. The object might have been deleted and then recreated";
    fails(&reply, 409, "Conflict", message, &json!({"name": "p", "kind": "Pod"}))?;
    let reply = case.client.post(&path, &request("none", uid)).await?;
    let details = json!({"name": "none", "kind": "pods"});
    fails(&reply, 404, "NotFound", r#"pods "none" not found"#, &details)?;
    let path = case.path("serviceaccounts/none/token");
    let reply = case.client.post(&path, &request("p", uid)).await?;
    let details = json!({"name": "none", "kind": "serviceaccounts"});
    fails(&reply, 404, "NotFound", r#"serviceaccounts "none" not found"#, &details)
}
