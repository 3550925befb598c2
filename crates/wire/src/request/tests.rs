use super::*;

fn request(method: &str, target: &str) -> Request {
    Request::parse(method, target).unwrap()
}

/// Verb, group, version, namespace, resource, name, subresource.
fn seen(method: &str, target: &str) -> [String; 7] {
    let request = request(method, target);
    let verb = request.verb.as_str().to_owned();
    let r = request.resource.unwrap_or_default();
    [verb, r.group, r.version, r.namespace, r.resource, r.name, r.subresource]
}

#[test]
fn paths_are_read_as_the_api_server_reads_them() {
    let cases: [(&str, &str, [&str; 7]); 31] = [
        ("GET", "/api/v1/namespaces", ["list", "", "v1", "", "namespaces", "", ""]),
        ("GET", "/api/v1/namespaces/a", ["get", "", "v1", "a", "namespaces", "a", ""]),
        ("PUT", "/api/v1/namespaces/a/finalize", ["update", "", "v1", "a", "namespaces", "a", "finalize"]),
        ("GET", "/api/v1/namespaces/a/status", ["get", "", "v1", "a", "namespaces", "a", "status"]),
        ("GET", "/api/v1/namespaces/a/pods", ["list", "", "v1", "a", "pods", "", ""]),
        ("GET", "/api/v1/namespaces/a/pods/", ["list", "", "v1", "a", "pods", "", ""]),
        ("POST", "/api/v1/namespaces/a/pods", ["create", "", "v1", "a", "pods", "", ""]),
        ("HEAD", "/api/v1/namespaces/a/pods/b", ["get", "", "v1", "a", "pods", "b", ""]),
        ("PATCH", "/api/v1/namespaces/a/pods/b/status", ["patch", "", "v1", "a", "pods", "b", "status"]),
        ("DELETE", "/api/v1/namespaces/a/pods/b", ["delete", "", "v1", "a", "pods", "b", ""]),
        ("DELETE", "/api/v1/namespaces/a/pods", ["deletecollection", "", "v1", "a", "pods", "", ""]),
        ("GET", "/api/v1/pods?watch=true", ["watch", "", "v1", "", "pods", "", ""]),
        ("GET", "/api/v1/pods?watch", ["watch", "", "v1", "", "pods", "", ""]),
        ("GET", "/api/v1/pods?watch=FALSE", ["list", "", "v1", "", "pods", "", ""]),
        ("GET", "/api/v1/pods?watch=1&limit=x", ["watch", "", "v1", "", "pods", "", ""]),
        ("GET", "/api/v1/nodes/n?watch=true", ["get", "", "v1", "", "nodes", "n", ""]),
        ("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn", ["list", "", "v1", "", "nodes", "n", ""]),
        ("GET", "/api/v1/nodes?fieldSelector=metadata.name!=n", ["list", "", "v1", "", "nodes", "", ""]),
        ("GET", "/api/v1/nodes?fieldSelector=metadata.name=..", ["list", "", "v1", "", "nodes", "", ""]),
        (
            "DELETE",
            "/api/v1/nodes?fieldSelector=metadata.name=n",
            ["deletecollection", "", "v1", "", "nodes", "", ""],
        ),
        ("GET", "/apis/apps/v1/deployments", ["list", "apps", "v1", "", "deployments", "", ""]),
        ("GET", "/apis/a.b/v1/namespaces/c/ds/e/scale", ["get", "a.b", "v1", "c", "ds", "e", "scale"]),
        ("GET", "/api/v1/watch/pods", ["watch", "", "v1", "", "pods", "", ""]),
        ("GET", "/api/v1/watch/namespaces/a/pods/b", ["watch", "", "v1", "a", "pods", "b", ""]),
        ("GET", "/api/v1/proxy/namespaces/a/pods/b/c", ["proxy", "", "v1", "a", "pods", "b", ""]),
        ("OPTIONS", "/api/v1/pods", ["", "", "v1", "", "pods", "", ""]),
        ("GET", "/api/v1/namespaces/a/pods/b/proxy/x/y", ["get", "", "v1", "a", "pods", "b", "proxy"]),
        ("GET", "/api/v1/namespaces/a/pods/b%2Flog", ["get", "", "v1", "a", "pods", "b", "log"]),
        ("GET", "/api/v1/namespaces/a/pods/%62%2562", ["get", "", "v1", "a", "pods", "b%62", ""]),
        ("GET", "/api/v1//pods", ["get", "", "v1", "", "", "pods", ""]),
        ("GET", "//api/v1/pods", ["list", "", "v1", "", "pods", "", ""]),
    ];
    for (method, target, expected) in cases {
        assert_eq!(seen(method, target), expected, "{method} {target}");
    }
    assert_eq!(request("GET", "/api/v1/namespaces/a/pods/b/proxy/x/y").resource.unwrap().rest, "x/y");
}

#[test]
fn what_is_about_no_resource_keeps_its_method_and_path() {
    let paths = [
        "/",
        "",
        "/version",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/healthz/etcd/x",
        "/API/v1/pods",
    ];
    for path in paths {
        let request = request("GET", path);
        assert_eq!((request.verb.as_str(), request.path.as_str()), ("get", path));
        assert_eq!(request.resource, None, "{path}");
    }
}

#[test]
fn p8_a_request_that_cannot_be_read_is_refused_not_guessed() {
    for broken in ["/api/v1/pods/%", "/api/v1/pods/%2", "/api/v1/pods/%zz"] {
        assert_eq!(Request::parse("GET", broken).unwrap_err().code, 400);
    }
    for nothing in ["/api/v1/watch", "/api/v1/watch/", "/api/v1/proxy", "/apis/a/v1/watch"] {
        assert_eq!(Request::parse("GET", nothing).unwrap_err().code, 500);
    }
}

#[test]
fn a_query_is_decoded_once_and_broken_pairs_are_left_out() {
    let query = Query::parse("a=1&a=2&b=%2541&c=x+y&d=%zz&e;f=1&&g&%68=i=j");
    assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(query.first("b"), Some("%41"));
    assert_eq!(query.first("c"), Some("x y"));
    assert_eq!((query.first("d"), query.first("e;f")), (None, None));
    assert_eq!((query.first("g"), query.first("h")), (Some(""), Some("i=j")));
}

#[test]
fn a_query_can_be_sent_on_with_a_resource_version_replaced() {
    let query = Query::parse("fieldSelector=spec.nodeName%3Dn1&resourceVersion=7&timeout=10s&x=a+b%26");
    let changed = query.rewritten(|name, value| match name {
        "resourceVersion" => Some("90".to_owned()),
        "timeout" => None,
        _ => Some(value.to_owned()),
    });
    assert_eq!(changed, "fieldSelector=spec.nodeName%3Dn1&resourceVersion=90&x=a%20b%26");
}

fn options(query: &str) -> Result<ListOptions, Status> {
    ListOptions::of(&request("GET", &format!("/api/v1/pods?{query}")))
}

#[test]
fn list_options_of_kubelet_and_reflectors_are_read() {
    let kubelet = options(
        "allowWatchBookmarks=true&fieldSelector=spec.nodeName%3Dn1&resourceVersionMatch=NotOlderThan\
         &sendInitialEvents=true&timeoutSeconds=437&watch=true",
    )
    .unwrap();
    assert!(kubelet.is_watch_list());
    assert_eq!(kubelet.timeout_seconds, Some(437));
    assert_eq!(kubelet.field_selector.exact("spec.nodeName"), Some("n1"));
    assert_eq!(kubelet.version_match, Some(VersionMatch::NotOlderThan));

    let list = options("limit=500&resourceVersion=0&labelSelector=!a,b+in+(c)&continue=x").unwrap();
    assert_eq!((list.limit, list.resource_version.as_str()), (500, "0"));
    assert_eq!(list.label_selector.to_string(), "!a,b in (c)");
    assert_eq!(list.continue_token, "x");
    assert!(!list.watch && !list.is_watch_list());
}

#[test]
fn a_watch_from_nowhere_begins_with_the_present_state() {
    for from_now in ["watch=1", "watch=1&resourceVersion=0"] {
        let options = options(from_now).unwrap();
        assert_eq!(options.send_initial_events, Some(true));
        assert!(!options.is_watch_list(), "without bookmarks nothing says when the state is complete");
    }
    assert_eq!(options("watch=1&resourceVersion=5").unwrap().send_initial_events, None);
    assert_eq!(
        options("watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan")
            .unwrap()
            .send_initial_events,
        Some(false)
    );
}

#[test]
fn options_that_cannot_be_read_are_400_in_the_api_servers_words() {
    let cases = [
        ("limit=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("limit=", "strconv.ParseInt: parsing \"\": invalid syntax"),
        ("timeoutSeconds=9e9&limit=x", "strconv.ParseInt: parsing \"9e9\": invalid syntax"),
        (
            "labelSelector=a+b",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
        ),
        ("fieldSelector=a", "invalid selector: 'a'; can't understand 'a'"),
        ("shardSelector=x", "shardSelector is not supported"),
    ];
    for (query, message) in cases {
        let status = options(query).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (400, message), "{query}");
    }
}

#[test]
fn options_that_contradict_each_other_are_422_and_name_the_field() {
    let prefix = r#"ListOptions.meta.k8s.io "" is invalid: "#;
    let cases = [
        (
            "resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersionMatch=NotOlderThan&resourceVersion=1&continue=c",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
        ),
        (
            "resourceVersionMatch=x&resourceVersion=1",
            "resourceVersionMatch: Unsupported value: \"x\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
        ),
        ("sendInitialEvents=true", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
        (
            "watch=1&sendInitialEvents=true",
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "watch=1&resourceVersionMatch=NotOlderThan",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (
            "watch=1&resourceVersionMatch=x",
            "[resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided, resourceVersionMatch: Unsupported value: \"x\": supported values: \"NotOlderThan\"]",
        ),
        (
            "watch=1&resourceVersionMatch=Exact&sendInitialEvents=1",
            "[resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]",
        ),
    ];
    for (query, message) in cases {
        let status = options(query).unwrap_err();
        assert_eq!((status.code, status.message), (422, format!("{prefix}{message}")), "{query}");
    }
}

#[test]
fn a_name_in_the_path_of_a_watch_is_a_selector_of_that_name() {
    let of = |target| ListOptions::of(&request("GET", target));
    let by_path = of("/api/v1/watch/namespaces/a/pods/b").unwrap();
    assert!(by_path.watch);
    assert_eq!(by_path.field_selector.to_string(), "metadata.name=b");
    let both = of("/api/v1/pods?watch=1&fieldSelector=metadata.name%3Db,spec.nodeName%3Dn").unwrap();
    assert_eq!(both.field_selector.to_string(), "metadata.name=b,spec.nodeName=n");
    let other = of("/api/v1/watch/pods/b?fieldSelector=metadata.name=c").unwrap_err();
    assert_eq!(other.message, "fieldSelector metadata.name doesn't match requested name");
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

proptest::proptest! {
    #[test]
    fn no_request_line_panics(method in "[A-Z]{0,7}", target in ".{0,200}") {
        if let Ok(request) = Request::parse(&method, &target) {
            let _ = ListOptions::of(&request);
        }
    }

    #[test]
    fn no_path_under_api_panics(target in "/apis?/[a-z%/0-9]{0,20}/(watch|proxy|namespaces)?/[a-z%/0-9.]{0,40}(\\?[a-zA-Z=&%!,().]{0,60})?") {
        if let Ok(request) = Request::parse("GET", &target) {
            let _ = ListOptions::of(&request);
        }
    }

    #[test]
    fn a_rewritten_query_reads_back_as_it_was(pairs in proptest::collection::vec((".{1,8}", ".{0,8}"), 0..6)) {
        let raw: Vec<String> = pairs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
        let query = Query::parse(&raw.join("&"));
        proptest::prop_assert_eq!(query.pairs(), pairs);
        let again = Query::parse(&query.rewritten(|_, value| Some(value.to_owned())));
        proptest::prop_assert_eq!(again, query);
    }
}
