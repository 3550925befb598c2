//! In which form answers stand.

use serde_json::{Value, json};
use wire::status::GroupResource;
use wire::{Encoding, Status};

use super::{Case, Outcome, cases, check, fails_somehow};

cases![
    what_cannot_be_had_is_406,
    the_version_comes_in_json_or_not_at_all,
    json_is_what_one_gets_who_asks_for_nothing,
    a_list_of_forms_is_gone_through_in_order,
    an_error_stands_in_the_form_that_was_asked_for,
    metadata_alone_can_be_had,
    a_table_can_be_had,
    discovery_names_what_is_served,
];

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

async fn what_cannot_be_had_is_406(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let accept = [("accept", "text/html")];
    let reply = case.client.send("GET", &case.path("configmaps/a"), &accept, "").await?;
    fails_somehow(&reply, 406, "NotAcceptable")
}

async fn the_version_comes_in_json_or_not_at_all(case: &Case<'_>) -> Outcome {
    for (accept, code) in [(PROTOBUF.to_owned(), 406), (format!("{PROTOBUF},application/json"), 200)] {
        let reply = case.client.send("GET", "/version", &[("accept", &accept)], "").await?;
        check!(reply.code == code, "{accept}: {} {}", reply.code, reply.text());
    }
    Ok(())
}

async fn json_is_what_one_gets_who_asks_for_nothing(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let path = case.path("configmaps/a");
    for accept in ["", "*/*", "application/json", "text/html, application/json;q=0.1"] {
        let headers = [("accept", accept)];
        let headers = if accept.is_empty() { &[][..] } else { &headers };
        let reply = case.client.send("GET", &path, headers, "").await?;
        let form = reply.header("content-type");
        check!(reply.code == 200 && form == "application/json", "{accept}: {form} {}", reply.text());
        check!(reply.header("cache-control") == "no-cache, private", "{:?}", reply.headers);
    }
    Ok(())
}

async fn a_list_of_forms_is_gone_through_in_order(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let accept = [("accept", "application/vnd.unknown, application/json, */*")];
    let reply = case.client.send("GET", &case.path("configmaps/a"), &accept, "").await?;
    check!(reply.code == 200 && reply.json["kind"] == "ConfigMap", "{}", reply.text());
    Ok(())
}

async fn an_error_stands_in_the_form_that_was_asked_for(case: &Case<'_>) -> Outcome {
    let path = case.path("configmaps/none");
    for accept in [PROTOBUF.to_owned(), format!("{PROTOBUF},application/json")] {
        let reply = case.client.send("GET", &path, &[("accept", &accept)], "").await?;
        check!(reply.code == 404 && reply.header("content-type") == PROTOBUF, "{}", reply.text());
        let of = GroupResource { group: "", resource: "configmaps" };
        let expected = Status::not_found(of, "none").encode(Encoding::Protobuf);
        check!(reply.body == expected, "{:?}\nis not\n{expected:?}", reply.body);
    }
    Ok(())
}

async fn metadata_alone_can_be_had(case: &Case<'_>) -> Outcome {
    let made = case.config_map("a", "1").await?;
    let accept = [("accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")];
    let reply = case.client.send("GET", &case.path("configmaps/a"), &accept, "").await?;
    check!(reply.json["kind"] == "PartialObjectMetadata", "{}", reply.text());
    check!(reply.json["apiVersion"] == "meta.k8s.io/v1", "{}", reply.text());
    check!(reply.json["metadata"]["uid"] == made["metadata"]["uid"], "{}", reply.text());
    check!(reply.json.get("data").is_none(), "{}", reply.text());
    let accept = [("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")];
    let reply = case.client.send("GET", &case.path("configmaps"), &accept, "").await?;
    check!(reply.json["kind"] == "PartialObjectMetadataList", "{}", reply.text());
    let items = reply.json["items"].as_array().cloned().unwrap_or_default();
    let names: Vec<&Value> = items.iter().map(|item| &item["metadata"]["name"]).collect();
    check!(names.contains(&&json!("a")), "{}", reply.text());
    Ok(())
}

async fn a_table_can_be_had(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let accept = [("accept", "application/json;as=Table;g=meta.k8s.io;v=v1")];
    let path = case.path("configmaps?fieldSelector=metadata.name%3Da");
    let reply = case.client.send("GET", &path, &accept, "").await?;
    check!(reply.json["kind"] == "Table", "{}", reply.text());
    check!(reply.json["columnDefinitions"][0]["name"] == "Name", "{}", reply.text());
    let row = &reply.json["rows"][0];
    check!(row["cells"][0] == "a" && row["object"]["kind"] == "PartialObjectMetadata", "{}", reply.text());
    Ok(())
}

async fn discovery_names_what_is_served(case: &Case<'_>) -> Outcome {
    for (path, resource, kind) in [
        ("/api/v1", "pods", "Pod"),
        ("/api/v1", "pods/status", "Pod"),
        ("/api/v1", "serviceaccounts/token", "TokenRequest"),
        ("/apis/coordination.k8s.io/v1", "leases", "Lease"),
        ("/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ] {
        let list = case.client.get(path).await?.json;
        check!(list["kind"] == "APIResourceList", "{path}: {list}");
        let all = list["resources"].as_array().cloned().unwrap_or_default();
        let found = all.iter().any(|one| one["name"] == resource && one["kind"] == kind);
        check!(found, "{path} does not name {resource}");
    }
    let groups = case.client.get("/apis").await?.json;
    check!(groups["kind"] == "APIGroupList", "{groups}");
    let leases = case.client.get("/apis/coordination.k8s.io").await?.json;
    check!(leases["preferredVersion"]["version"] == "v1", "{leases}");
    let reply = case.client.get("/apis/coordination.k8s.io/v9").await?;
    check!(reply.code == 404, "{}", reply.text());
    Ok(())
}
