use super::*;
use crate::cloud::Rule;
use crate::cloud::object::text;

fn pod(name: &str, node: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "nodeName": node, "serviceAccountName": "app",
            "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "env"}}]}],
            "volumes": [{"name": "v", "secret": {"secretName": "mounted"}}],
        },
    })
}

async fn with_pods() -> Cloud {
    let cloud = start(Release::V1_36).await;
    cloud.put("", "nodes", json!({"metadata": {"name": "n1"}}));
    cloud.put("", "pods", pod("mine", "n1"));
    cloud.put("", "pods", pod("theirs", "n2"));
    cloud.put("", "serviceaccounts", json!({"metadata": {"name": "app"}}));
    for name in ["mounted", "other"] {
        cloud.put("", "secrets", json!({"metadata": {"name": name}}));
    }
    cloud.put("", "configmaps", config_map("env", "1"));
    cloud
}

#[tokio::test]
async fn a_node_reads_what_its_pods_need_and_nothing_else() {
    let cloud = with_pods().await;
    let node = client_as(&cloud, &User::node("n1")).await;
    for (path, code) in [
        ("/api/v1/nodes/n1", 200),
        ("/api/v1/nodes/n2", 403),
        ("/api/v1/nodes?fieldSelector=metadata.name%3Dn1", 200),
        ("/api/v1/nodes", 403),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", 200),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", 403),
        ("/api/v1/pods", 403),
        ("/api/v1/namespaces/default/pods/mine", 200),
        ("/api/v1/namespaces/default/pods/theirs", 403),
        ("/api/v1/namespaces/default/pods/gone", 403),
        ("/api/v1/namespaces/default/secrets/mounted", 200),
        ("/api/v1/namespaces/default/secrets/other", 403),
        ("/api/v1/namespaces/default/secrets", 403),
        ("/api/v1/namespaces/default/configmaps/env", 200),
        ("/api/v1/services", 200),
        ("/apis/discovery.k8s.io/v1/endpointslices", 403),
        ("/apis/storage.k8s.io/v1/csinodes/n2", 403),
    ] {
        let reply = node.get(path).await.unwrap();
        assert_eq!(reply.code, code, "{path}: {}", reply.text());
    }
    let reply = node.get("/api/v1/namespaces/default/secrets/other").await.unwrap();
    let why = "no relationship found between node 'n1' and this object";
    assert!(reply.json["message"].as_str().unwrap().ends_with(why), "{}", reply.text());
}

#[tokio::test]
async fn a_node_patches_its_pods_status_strategically() {
    let cloud = with_pods().await;
    let node = client_as(&cloud, &User::node("n1")).await;
    let patch = |value: &str| json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": value}]}});
    let form = contract::client::STRATEGIC;
    let path = "/api/v1/namespaces/default/pods/mine/status";
    let first = json!({"status": {"conditions": [{"type": "Initialized", "status": "True"}]}});
    node.patch(path, form, &first).await.unwrap();
    let reply = node.patch(path, form, &patch("True")).await.unwrap();
    assert_eq!(reply.code, 200, "{}", reply.text());
    assert_eq!(reply.json["status"]["conditions"].as_array().unwrap().len(), 2, "{}", reply.text());
    let theirs = node.patch(&path.replace("mine", "theirs"), form, &patch("True")).await.unwrap();
    assert_eq!(theirs.code, 403, "{}", theirs.text());
}

#[tokio::test]
async fn a_rule_allows_what_it_says_and_no_more() {
    let cloud = with_pods().await;
    let reader = User::new("reader", &["readers"]);
    cloud.allow(Rule::user("reader").can(&["get", "list"]).on("", &["configmaps"]).within("default"));
    cloud.allow(Rule::group("readers").can(&["get"]).on("", &["secrets"]).named(&["other"]));
    let client = client_as(&cloud, &reader).await;
    for (path, code) in [
        (MAPS, 200),
        ("/api/v1/configmaps", 403),
        ("/api/v1/namespaces/kube-system/configmaps", 403),
        ("/api/v1/namespaces/default/configmaps?watch=true", 403),
        ("/api/v1/namespaces/default/secrets/other", 200),
        ("/api/v1/namespaces/default/secrets/mounted", 403),
        ("/api/v1/namespaces/default/secrets", 403),
        ("/api", 200),
        ("/metrics", 403),
    ] {
        assert_eq!(client.get(path).await.unwrap().code, code, "{path}");
    }
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_with_its_pod() {
    let cloud = with_pods().await;
    let node = client_as(&cloud, &User::node("n1")).await;
    let uid = text(&cloud.get("", "pods", "default", "mine").unwrap(), "metadata.uid");
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": "mine", "uid": uid});
    let request = json!({"spec": {"expirationSeconds": 600, "boundObjectRef": bound}});
    let path = "/api/v1/namespaces/default/serviceaccounts/app/token";
    let made = node.post(path, &request).await.unwrap();
    assert_eq!(made.code, 201, "{}", made.text());
    let token = format!("Bearer {}", made.json["status"]["token"].as_str().unwrap());
    cloud.allow(Rule::user("system:serviceaccount:default:app").can(&["get"]).on("", &["configmaps"]));
    let pod = Client::connect(&target(&cloud, None)).await.unwrap();
    let headers = [("authorization", token.as_str())];
    let ask = || pod.send("GET", "/api/v1/namespaces/default/configmaps/env", &headers, "");
    assert_eq!(ask().await.unwrap().code, 200);
    cloud.world(|world| world.now += 600);
    assert_eq!(ask().await.unwrap().code, 401);
    cloud.world(|world| world.now -= 600);
    cloud.remove("", "pods", "default", "mine");
    assert_eq!(ask().await.unwrap().code, 401);
}

#[tokio::test]
async fn a_certificate_counts_before_a_token_and_only_in_its_time() {
    let cloud = with_pods().await;
    let token = format!("Bearer {}", cloud.token(&User::admin()));
    let headers = [("authorization", token.as_str())];
    let node = client_as(&cloud, &User::node("n1")).await;
    let reply = node.send("GET", "/api/v1/pods", &headers, "").await.unwrap();
    assert_eq!(reply.code, 403, "a token on the node's connection is executed as the node");
    let now = cloud.world(|world| world.now);
    let expired = cloud.credential_between(&User::admin(), 0, now - 1);
    let late = Client::connect(&target(&cloud, Some(expired))).await.unwrap();
    assert_eq!(late.get("/api/v1/pods").await.unwrap().code, 401);
    assert_eq!(late.send("GET", "/api/v1/pods", &headers, "").await.unwrap().code, 200);
    let stranger = Cloud::start(Options::default()).await.unwrap();
    let foreign = Some(stranger.credential(&User::admin()));
    let foreign = Client::connect(&target(&cloud, foreign)).await.unwrap();
    assert_eq!(foreign.get("/api/v1/pods").await.unwrap().code, 401);
}

#[tokio::test]
async fn a_certificate_request_is_signed_for_whom_it_names() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let cloud = with_pods().await;
    let node = client_as(&cloud, &User::node("n1")).await;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:n1");
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let spec = json!({
        "request": STANDARD.encode(pem), "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
        "usages": ["client auth"], "username": "somebody else",
    });
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let made =
        node.post(path, &json!({"metadata": {"generateName": "csr-"}, "spec": spec})).await.unwrap().json;
    assert_eq!(made["spec"]["username"], "system:node:n1");
    let certificate = STANDARD.decode(made["status"]["certificate"].as_str().unwrap()).unwrap();
    let signed =
        Credential { certificate: String::from_utf8(certificate).unwrap(), key: key.serialize_pem() };
    let renewed = Client::connect(&target(&cloud, Some(signed))).await.unwrap();
    assert_eq!(renewed.get("/api/v1/nodes/n1").await.unwrap().code, 200);

    cloud.world(|world| world.approves = false);
    let spec = json!({"request": "bm9uZQ==", "signerName": "kubernetes.io/kubelet-serving", "usages": []});
    let made = node.post(path, &json!({"metadata": {"name": "waits"}, "spec": spec})).await.unwrap().json;
    assert!(made["status"].get("certificate").is_none(), "{made}");
}

#[tokio::test]
async fn every_request_is_kept_with_whom_it_came_from() {
    let cloud = with_pods().await;
    let node = client_as(&cloud, &User::node("n1")).await;
    node.send("GET", "/api/v1/services?limit=1", &[("x-own", "yes")], "").await.unwrap();
    let nobody = Client::connect(&target(&cloud, None)).await.unwrap();
    nobody.send("POST", MAPS, &[("authorization", "Bearer wrong")], "body").await.unwrap();
    let [first, second]: [_; 2] = cloud.requests().try_into().unwrap();
    assert_eq!((first.target.as_str(), first.path()), ("/api/v1/services?limit=1", "/api/v1/services"));
    assert_eq!(first.certificate.as_deref(), Some("system:node:n1"));
    assert_eq!((first.user.as_str(), first.code), ("system:node:n1", 200));
    assert_eq!((first.header("x-own"), first.http.as_str()), (Some("yes"), "HTTP/2.0"));
    assert_eq!((second.certificate, second.token.as_deref()), (None, Some("wrong")));
    assert_eq!((second.body.as_ref(), second.code, second.method.as_str()), (&b"body"[..], 401, "POST"));
    assert_ne!(first.connection, second.connection);
    cloud.forget_requests();
    assert!(cloud.requests().is_empty());
}
