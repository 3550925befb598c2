//! GET and LIST: what is there, what was there, what will be there.

use serde_json::{Value, json};

use super::{Case, Outcome, cases, check, fails, fails_somehow, version};

cases![
    an_absent_object_is_404,
    an_unknown_resource_is_404,
    a_list_names_its_kind_once_and_its_moment,
    a_read_at_a_version_below_the_present_shows_the_present,
    a_read_above_the_present_times_out_and_says_why,
    a_list_of_an_exact_moment_shows_that_moment,
    a_list_of_an_exact_moment_to_come_fails,
    a_limited_list_at_a_version_is_of_that_moment,
    pages_are_of_one_moment,
    a_moment_that_etcd_forgot_is_410,
    a_version_that_is_no_number_is_refused,
    options_that_contradict_each_other_are_422,
    selectors_choose,
    selectors_that_cannot_be_read_are_400,
];

async fn an_absent_object_is_404(case: &Case<'_>) -> Outcome {
    let reply = case.client.get(&case.path("configmaps/none")).await?;
    let details = json!({"name": "none", "kind": "configmaps"});
    fails(&reply, 404, "NotFound", r#"configmaps "none" not found"#, &details)?;
    let reply = case.client.get(&case.leases("/none")).await?;
    let details = json!({"name": "none", "group": "coordination.k8s.io", "kind": "leases"});
    fails(&reply, 404, "NotFound", r#"leases.coordination.k8s.io "none" not found"#, &details)
}

async fn an_unknown_resource_is_404(case: &Case<'_>) -> Outcome {
    let reply = case.client.get(&case.path("nothings")).await?;
    fails(&reply, 404, "NotFound", "the server could not find the requested resource", &json!({}))
}

async fn a_list_names_its_kind_once_and_its_moment(case: &Case<'_>) -> Outcome {
    let made = case.config_map("a", "1").await?;
    let list = case.client.get(&case.path("configmaps?fieldSelector=metadata.name%3Da")).await?.json;
    check!(list["kind"] == "ConfigMapList" && list["apiVersion"] == "v1", "{list}");
    check!(version(&list) >= version(&made), "the list is older than what is in it: {list}");
    let item = &list["items"][0];
    check!(item["metadata"]["uid"] == made["metadata"]["uid"], "{list}");
    check!(item.get("kind").is_none() && item.get("apiVersion").is_none(), "{item}");
    Ok(())
}

async fn a_read_at_a_version_below_the_present_shows_the_present(case: &Case<'_>) -> Outcome {
    let made = case.config_map("a", "1").await?;
    let changed = case.change("a", "2").await?;
    for at in [version(&changed).to_string(), version(&made).to_string(), "1".into()] {
        let got = case.client.get(&case.path(&format!("configmaps/a?resourceVersion={at}"))).await?;
        check!(got.json["data"]["n"] == "2", "GET at {at}: {}", got.text());
        let list = case.client.get(&case.path(&format!("configmaps?resourceVersion={at}"))).await?;
        check!(list.code == 200 && version(&list.json) >= version(&changed), "LIST at {at}: {}", list.text());
    }
    let any = case.client.get(&case.path("configmaps?resourceVersion=0&limit=1")).await?.json;
    check!(any["metadata"].get("continue").is_none(), "a list at 0 knows no pages: {any}");
    Ok(())
}

async fn a_read_above_the_present_times_out_and_says_why(case: &Case<'_>) -> Outcome {
    let ahead = version(&case.config_map("a", "1").await?) + 1_000_000;
    for path in ["configmaps/a?", "configmaps?", "configmaps?resourceVersionMatch=NotOlderThan&"] {
        let reply = case.client.get(&case.path(&format!("{path}resourceVersion={ahead}"))).await?;
        fails_somehow(&reply, 504, "Timeout")?;
        let message = reply.json["message"].as_str().unwrap_or_default();
        let start = format!("Timeout: Too large resource version: {ahead}, current: ");
        check!(message.starts_with(&start), "{path}: {message}");
        let cause = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        check!(reply.json["details"]["causes"] == cause, "{path}: {}", reply.text());
        check!(reply.json["details"]["retryAfterSeconds"] == 1, "{path}: {}", reply.text());
        check!(reply.header("retry-after") == "1", "{path}: {:?}", reply.headers);
    }
    Ok(())
}

async fn a_list_of_an_exact_moment_shows_that_moment(case: &Case<'_>) -> Outcome {
    let made = version(&case.config_map("a", "1").await?);
    let changed = version(&case.change("a", "2").await?);
    for (at, value) in [(made - 1, Value::Null), (made, "1".into()), (changed, "2".into())] {
        let path = case.path(&format!("configmaps?resourceVersion={at}&resourceVersionMatch=Exact"));
        let list = case.client.get(&path).await?.json;
        check!(version(&list) == at, "at {at}: {list}");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let found = items.iter().find(|item| item["metadata"]["name"] == "a").cloned().unwrap_or_default();
        check!(found["data"]["n"] == value, "at {at}: {list}");
    }
    Ok(())
}

async fn a_list_of_an_exact_moment_to_come_fails(case: &Case<'_>) -> Outcome {
    let ahead = version(&case.config_map("a", "1").await?) + 1_000_000;
    let path = case.path(&format!("configmaps?resourceVersion={ahead}&resourceVersionMatch=Exact"));
    let reply = case.client.get(&path).await?;
    if case.minor <= 20 {
        let text = "etcdserver: mvcc: required revision is a future revision";
        return fails(&reply, 500, "", text, &Value::Null);
    }
    fails_somehow(&reply, 504, "Timeout")
}

async fn a_limited_list_at_a_version_is_of_that_moment(case: &Case<'_>) -> Outcome {
    let made = version(&case.config_map("a", "1").await?);
    case.change("a", "2").await?;
    let list = case.client.get(&case.path(&format!("configmaps?resourceVersion={made}&limit=500"))).await?;
    check!(version(&list.json) == made, "{}", list.text());
    let at_least = format!("configmaps?resourceVersion={made}&limit=500&resourceVersionMatch=NotOlderThan");
    let list = case.client.get(&case.path(&at_least)).await?;
    check!(version(&list.json) > made, "{}", list.text());
    Ok(())
}

async fn pages_are_of_one_moment(case: &Case<'_>) -> Outcome {
    for name in ["a", "b", "c"] {
        case.config_map(name, "1").await?;
    }
    let all = case.client.get(&case.path("configmaps")).await?.json;
    let count = all["items"].as_array().map_or(0, Vec::len);
    let first = case.client.get(&case.path("configmaps?limit=1")).await?.json;
    let at = version(&first);
    check!(first["metadata"]["remainingItemCount"] == count - 1, "{first}");
    case.change("c", "2").await?;
    let (mut page, mut names) = (first, Vec::new());
    loop {
        names.extend(page["items"][0]["metadata"]["name"].as_str().map(str::to_owned));
        check!(version(&page) == at, "a page is of another moment than {at}: {page}");
        if page["items"][0]["metadata"]["name"] == "c" {
            check!(page["items"][0]["data"]["n"] == "1", "a page shows a later change: {page}");
        }
        let Some(token) = page["metadata"]["continue"].as_str() else { break };
        page = case.client.get(&case.path(&format!("configmaps?limit=1&continue={token}"))).await?.json;
    }
    let sorted = names.is_sorted();
    check!(names.len() == count && sorted, "{count} names in order were expected: {names:?}");
    let selected = case.client.get(&case.path("configmaps?limit=1&fieldSelector=metadata.name!%3Da")).await?;
    check!(selected.json["metadata"].get("remainingItemCount").is_none(), "{}", selected.text());

    let token = selected.json["metadata"]["continue"].as_str().unwrap_or_default();
    let with_version = format!("configmaps?limit=1&resourceVersion=5&continue={token}");
    let reply = case.client.get(&case.path(&with_version)).await?;
    let text = "specifying resource version is not allowed when using continue";
    fails(&reply, 400, "BadRequest", text, &Value::Null)?;
    let reply = case.client.get(&case.path("configmaps?limit=1&continue=abc")).await?;
    fails_somehow(&reply, 400, "BadRequest")
}

async fn a_moment_that_etcd_forgot_is_410(case: &Case<'_>) -> Outcome {
    let made = version(&case.config_map("a", "1").await?);
    case.config_map("b", "1").await?;
    let page = case.client.get(&case.path("configmaps?limit=1")).await?.json;
    let token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    let from = version(&page);
    let latest = version(&case.change("a", "2").await?);
    if !case.compact(latest).await? {
        return Ok(());
    }
    let text = "The resourceVersion for the provided list is too old.";
    for query in ["resourceVersionMatch=Exact", "limit=500"] {
        let path = case.path(&format!("configmaps?resourceVersion={made}&{query}"));
        fails(&case.client.get(&path).await?, 410, "Expired", text, &Value::Null)?;
    }
    let reply = case.client.get(&case.path(&format!("configmaps?limit=1&continue={token}"))).await?;
    fails_somehow(&reply, 410, "Expired")?;
    let go_on = reply.json["metadata"]["continue"].as_str().unwrap_or_default();
    check!(!go_on.is_empty(), "it does not say how to go on: {}", reply.text());
    let rest = case.client.get(&case.path(&format!("configmaps?limit=1&continue={go_on}"))).await?;
    check!(rest.code == 200 && version(&rest.json) > from, "no way to go on: {}", rest.text());
    // What etcd forgot the watch cache may still know: lists that need not be exact are not touched.
    let path = case.path(&format!("configmaps?resourceVersion={made}"));
    check!(case.client.get(&path).await?.code == 200, "a list at least as new as {made} needs no past");
    Ok(())
}

async fn a_version_that_is_no_number_is_refused(case: &Case<'_>) -> Outcome {
    case.config_map("a", "1").await?;
    for odd in ["abc", "-1"] {
        let why = format!(
            r#"resourceVersion: Invalid value: "{odd}": strconv.ParseUint: parsing "{odd}": invalid syntax"#
        );
        let reply = case.client.get(&case.path(&format!("configmaps?limit=1&resourceVersion={odd}"))).await?;
        let text = format!("invalid resource version: {why}");
        fails(&reply, 400, "BadRequest", &text, &Value::Null)?;
        let reply = case.client.get(&case.path(&format!("configmaps/a?resourceVersion={odd}"))).await?;
        fails(&reply, 500, "", &why, &Value::Null)?;
        let path = case.path(&format!("configmaps?watch=true&resourceVersion={odd}"));
        fails(&case.client.get(&path).await?, 500, "", &why, &Value::Null)?;
    }
    Ok(())
}

async fn options_that_contradict_each_other_are_422(case: &Case<'_>) -> Outcome {
    for (query, reason, text) in [
        (
            "resourceVersionMatch=Exact",
            "FieldValueForbidden",
            "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            "FieldValueForbidden",
            r#"Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0""#,
        ),
    ] {
        let reply = case.client.get(&case.path(&format!("configmaps?{query}"))).await?;
        let message = format!(r#"ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: {text}"#);
        let cause = json!({"reason": reason, "message": text, "field": "resourceVersionMatch"});
        let details = json!({"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]});
        fails(&reply, 422, "Invalid", &message, &details)?;
    }
    let reply = case.client.get(&case.path("configmaps?resourceVersionMatch=Odd&resourceVersion=5")).await?;
    fails_somehow(&reply, 422, "Invalid")
}

async fn selectors_choose(case: &Case<'_>) -> Outcome {
    for (name, labels) in [("a", json!({"x": "1", "y": "1"})), ("b", json!({"x": "2"})), ("c", json!({}))] {
        case.make("configmaps", &json!({"metadata": {"name": name, "labels": labels}})).await?;
    }
    case.pod("here", &json!({})).await?;
    case.pod("there", &json!({"/spec/nodeName": "elsewhere"})).await?;
    let mine = "fieldSelector=metadata.name!%3Dkube-root-ca.crt";
    for (path, expected) in [
        (format!("configmaps?{mine}&labelSelector=x%3D1"), "a"),
        (format!("configmaps?{mine}&labelSelector=x"), "ab"),
        (format!("configmaps?{mine}&labelSelector=!x"), "c"),
        (format!("configmaps?{mine}&labelSelector=x!%3D1"), "bc"),
        (format!("configmaps?{mine}&labelSelector=x%20in%20(1,2),!y"), "b"),
        (format!("configmaps?{mine}&labelSelector=x%20notin%20(2)"), "ac"),
        ("configmaps?fieldSelector=metadata.name%3Db".to_owned(), "b"),
        ("configmaps?fieldSelector=metadata.name%3Db,metadata.namespace%3Dother".to_owned(), ""),
        ("pods?fieldSelector=spec.nodeName%3Dcontract".to_owned(), "here"),
        ("pods?fieldSelector=spec.nodeName!%3Dcontract".to_owned(), "there"),
        ("pods?fieldSelector=status.phase%3DPending,spec.restartPolicy%3DAlways".to_owned(), "herethere"),
        ("pods?fieldSelector=status.phase%3DRunning".to_owned(), ""),
    ] {
        let list = case.client.get(&case.path(&path)).await?;
        let items = list.json["items"].as_array().cloned().unwrap_or_default();
        let names: String = items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect();
        check!(list.code == 200 && names == expected, "{path}: {names:?}, not {expected:?}: {}", list.text());
    }
    Ok(())
}

async fn selectors_that_cannot_be_read_are_400(case: &Case<'_>) -> Outcome {
    for (query, text) in [
        ("fieldSelector=spec.foo%3Dx", "field label not supported: spec.foo"),
        ("fieldSelector=xxx", "invalid selector: 'xxx'; can't understand 'xxx'"),
        ("labelSelector=%3D%3D", "found '==', expected: !, identifier, or 'end of string'"),
    ] {
        for watch in ["", "&watch=true"] {
            let reply = case.client.get(&case.path(&format!("pods?{query}{watch}"))).await?;
            fails_somehow(&reply, 400, "BadRequest")?;
            let message = reply.json["message"].as_str().unwrap_or_default();
            check!(message.ends_with(text), "{query}{watch}: {message}");
        }
    }
    Ok(())
}
