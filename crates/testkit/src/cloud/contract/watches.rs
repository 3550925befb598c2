//! WATCH: from where it can begin, and what it sends.

use serde_json::{Value, json};

use super::{Case, Outcome, cases, check, fails_somehow, version};

cases![
    a_watch_sends_every_write_after_its_version,
    a_watch_from_0_begins_with_what_is_there,
    an_object_that_leaves_the_selection_is_deleted_and_one_that_enters_added,
    a_watch_above_the_present_is_silent_until_that_has_passed,
    a_watch_from_a_forgotten_version_ends_with_410,
    what_etcd_forgot_a_watch_still_gets,
    a_watch_list_says_when_its_first_state_is_complete,
    a_watch_ends_after_its_timeout,
    a_watch_in_the_path_is_a_watch,
];

type Change = (String, String, u64);

fn is(change: &Change, kind: &str, name: &str) -> bool {
    change.0 == kind && change.1 == name
}

async fn a_watch_sends_every_write_after_its_version(case: &Case<'_>) -> Outcome {
    let made = version(&case.config_map("a", "1").await?);
    let changed = version(&case.change("a", "2").await?);
    case.client.delete(&case.path("configmaps/a"), &Value::Null).await?;
    let other = version(&case.config_map("b", "1").await?);
    let path = case.path(&format!("configmaps?watch=true&resourceVersion={}", made - 1));
    let mut watch = case.client.watch(&path).await?;
    let first = watch.change().await?;
    check!(is(&first, "ADDED", "a") && first.2 == made, "{first:?}");
    let second = watch.change().await?;
    check!(is(&second, "MODIFIED", "a") && second.2 == changed, "{second:?}");
    let third = watch.next().await?.unwrap_or_default();
    check!(third["type"] == "DELETED" && third["object"]["data"]["n"] == "2", "{third}");
    let at = version(&third["object"]);
    check!(changed < at && at < other, "a deletion has a version of its own: {third}");
    check!(third["object"]["kind"] == "ConfigMap" && third["object"]["apiVersion"] == "v1", "{third}");
    let fourth = watch.change().await?;
    check!(is(&fourth, "ADDED", "b"), "{fourth:?}");
    // From the version of a write on, that write is not sent again.
    let path = case.path(&format!("configmaps?watch=true&resourceVersion={at}"));
    let after = case.client.watch(&path).await?.change().await?;
    check!(is(&after, "ADDED", "b"), "{after:?}");
    Ok(())
}

async fn a_watch_from_0_begins_with_what_is_there(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let changed = version(&case.change("a", "2").await?);
    for from in ["", "&resourceVersion=", "&resourceVersion=0"] {
        let path = case.path(&format!("configmaps?watch=true&fieldSelector=metadata.name%3Da{from}"));
        let mut watch = case.client.watch(&path).await?;
        let first = watch.change().await?;
        check!(is(&first, "ADDED", "a") && first.2 == changed, "{from}: {first:?}");
    }
    Ok(())
}

async fn an_object_that_leaves_the_selection_is_deleted_and_one_that_enters_added(
    case: &Case<'_>,
) -> Outcome {
    let labelled = |value: &str| json!({"metadata": {"labels": {"x": value}}});
    let object = json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "data": {"n": "1"}});
    let made = version(&case.make("configmaps", &object).await?);
    let path = case.path(&format!("configmaps?watch=true&labelSelector=x%3D1&resourceVersion={made}"));
    let mut watch = case.client.watch(&path).await?;
    let own = case.path("configmaps/a");
    let left = case.client.patch(&own, super::client::MERGE, &labelled("2")).await?.json;
    case.change("a", "unseen").await?;
    let back = case.client.patch(&own, super::client::MERGE, &labelled("1")).await?.json;
    let first = watch.next().await?.unwrap_or_default();
    check!(first["type"] == "DELETED" && version(&first["object"]) == version(&left), "{first}");
    check!(first["object"]["metadata"]["labels"]["x"] == "1", "it shows its last state inside: {first}");
    let second = watch.next().await?.unwrap_or_default();
    check!(second["type"] == "ADDED" && version(&second["object"]) == version(&back), "{second}");
    Ok(())
}

async fn a_watch_above_the_present_is_silent_until_that_has_passed(case: &Case<'_>) -> Outcome {
    let made = version(&case.config_map("a", "0").await?);
    let path = case.path(&format!("configmaps?watch=true&resourceVersion={}", made + 2));
    let mut watch = case.client.watch(&path).await?;
    let mut seen = Vec::new();
    for n in 1..=4 {
        seen.push(version(&case.change("a", &n.to_string()).await?));
    }
    let first = watch.change().await?;
    let passed = seen.iter().find(|at| **at > made + 2).copied();
    check!(is(&first, "MODIFIED", "a"), "{first:?}");
    check!(Some(first.2) == passed, "{first:?} of {seen:?} from {}", made + 2);
    Ok(())
}

async fn a_watch_from_a_forgotten_version_ends_with_410(case: &Case<'_>) -> Outcome {
    let Some(forgotten) = case.server.forgotten else { return Ok(()) };
    let path = format!("/api/v1/configmaps?watch=true&resourceVersion={forgotten}");
    let mut watch = case.client.watch(&path).await?;
    let event = watch.next().await?.unwrap_or_default();
    let status = &event["object"];
    let message = status["message"].as_str().unwrap_or_default();
    let start = format!("too old resource version: {forgotten} (");
    check!(event["type"] == "ERROR" && message.starts_with(&start), "{event}");
    let expected = super::failure(410, "Expired", message, &Value::Null);
    check!(*status == expected, "{event}");
    check!(watch.next().await?.is_none(), "nothing follows");
    Ok(())
}

async fn what_etcd_forgot_a_watch_still_gets(case: &Case<'_>) -> Outcome {
    let made = version(&case.config_map("a", "1").await?);
    let latest = version(&case.change("a", "2").await?);
    case.compact(latest).await?;
    let path = case.path(&format!("configmaps?watch=true&resourceVersion={}", made - 1));
    let mut watch = case.client.watch(&path).await?;
    let (first, second) = (watch.change().await?, watch.change().await?);
    check!(first.2 == made && second.2 == latest, "{first:?} {second:?}");
    Ok(())
}

async fn a_watch_list_says_when_its_first_state_is_complete(case: &Case<'_>) -> Outcome {
    let made = version(&case.config_map("a", "1").await?);
    let query = "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
                 &fieldSelector=metadata.name%3Da";
    let path = case.path(&format!("configmaps?{query}"));
    if case.minor < 32 {
        return fails_somehow(&case.client.get(&path).await?, 422, "Invalid");
    }
    let mut watch = case.client.watch(&path).await?;
    let first = watch.next().await?.unwrap_or_default();
    check!(first["type"] == "ADDED" && version(&first["object"]) == made, "{first}");
    let second = watch.next().await?.unwrap_or_default();
    let annotation = &second["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"];
    check!(second["type"] == "BOOKMARK" && annotation == "true", "{second}");
    check!(second["object"]["kind"] == "ConfigMap" && version(&second["object"]) >= made, "{second}");
    case.change("a", "2").await?;
    let third = watch.change().await?;
    check!(is(&third, "MODIFIED", "a"), "{third:?}");
    let reply = case.client.get(&case.path("configmaps?watch=true&sendInitialEvents=true")).await?;
    fails_somehow(&reply, 422, "Invalid")
}

async fn a_watch_ends_after_its_timeout(case: &Case<'_>) -> Outcome {
    let path = case.path("configmaps?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3Dnone");
    let mut watch = case.client.watch(&path).await?;
    check!(watch.next().await?.is_none(), "nothing was to come");
    Ok(())
}

async fn a_watch_in_the_path_is_a_watch(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    let path = format!("/api/v1/watch/namespaces/{}/configmaps/a", case.namespace);
    let first = case.client.watch(&path).await?.change().await?;
    check!(is(&first, "ADDED", "a"), "{first:?}");
    Ok(())
}
