//! Asking the cloud for a certificate of the node, as kubelet does (`certificates.k8s.io/v1`).

use std::time::Duration;

use access::caller::User;
use access::lend::Credential;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Uri};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use crate::body::Body;
use crate::cloud::Cloud;
use crate::error::Error;

const PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// Who signs for kubelets (`api:certificates/v1`).
const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// What a kubelet's certificate is for: all three, since older controllers approve nothing less
/// (`pkg/controller/certificates/approver/sarapprove.go`).
const USAGES: [&str; 3] = ["digital signature", "key encipherment", "client auth"];
/// How often, and how many times, the answer is looked for: 15 minutes, as kubelet waits.
const LOOK: Duration = Duration::from_secs(2);
const LOOKS: u32 = 450;
const MAX_ANSWER: usize = 1 << 20;

/// As whom to ask.
pub enum As {
    /// With the certificate that the node still has.
    Node,
    /// With a bootstrap token.
    Token(String),
}

/// Why there is no certificate.
pub enum Failure {
    /// 401: the credential counts for nothing.
    Refused,
    /// Anything else.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

/// A new certificate for the node `node`, with its key behind it, as PEM.
pub async fn certificate(cloud: &Cloud, node: &str, whom: &As) -> Result<Vec<u8>, Failure> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|e| Error::with("cannot make a key", e))?;
    let request = signing_request(node, &key)?;
    let wanted = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": { "generateName": "csr-" },
        "spec": { "request": STANDARD.encode(request), "signerName": SIGNER, "usages": USAGES },
    });
    let made = ask(cloud, whom, Method::POST, PATH, Some(&wanted)).await?;
    let name = made.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !wire::request::is_path_segment(&name) || name.is_empty() {
        return Err(Error::new(format!("the API server calls the signing request {name:?}")).into());
    }
    tracing::info!("asked the cloud for a certificate of the node: signing request {name}");
    let path = format!("{PATH}/{name}");
    for _ in 0..LOOKS {
        let answer = ask(cloud, whom, Method::GET, &path, None).await?;
        if let Some(mut pem) = signed(&answer, &name)? {
            pem.push(b'\n');
            pem.extend_from_slice(key.serialize_pem().as_bytes());
            return Ok(pem);
        }
        tokio::time::sleep(LOOK).await;
    }
    let text = format!(
        "the signing request {name} was neither approved nor denied: `kubectl certificate approve {name}`, and see whether \
         the cluster approves its nodes' requests by itself"
    );
    Err(Error::new(text).into())
}

fn signing_request(node: &str, key: &KeyPair) -> Result<String, Error> {
    let user = User::node(node);
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for group in &user.groups {
        params.distinguished_name.push(DnType::OrganizationName, group.as_str());
    }
    params.distinguished_name.push(DnType::CommonName, user.name.as_str());
    let request = params.serialize_request(key).map_err(|e| Error::with("cannot sign the request", e))?;
    request.pem().map_err(|e| Error::with("cannot write the request", e))
}

/// The certificate in a signing request's status, if it is there.
fn signed(request: &Value, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let conditions = request.pointer("/status/conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        let text = |key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default();
        if matches!(text("type"), "Denied" | "Failed") {
            let (what, reason, message) = (text("type").to_lowercase(), text("reason"), text("message"));
            return Err(Error::new(format!("the signing request {name} was {what}: {reason}: {message}")));
        }
    }
    let Some(encoded) = request.pointer("/status/certificate").and_then(Value::as_str) else {
        return Ok(None);
    };
    let pem = STANDARD
        .decode(encoded)
        .map_err(|e| Error::with(format!("the certificate of the signing request {name}"), e))?;
    Ok(Some(pem).filter(|pem| !pem.is_empty()))
}

/// One request in JSON.
async fn ask(
    cloud: &Cloud,
    whom: &As,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let mut request =
        Request::new(body.map_or(Body::Empty, |body| Body::from(body.to_string().into_bytes())));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse::<Uri>().map_err(|e| Error::with(format!("the path {path}"), e))?;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static(wire::media::JSON));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(wire::media::JSON));
    let credential = match whom {
        As::Node => Credential::Node,
        As::Token(token) => {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|e| Error::with("the bootstrap token is no token", e))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
            Credential::Own
        }
    };
    let (answer, _held) =
        cloud.send(credential, 0, request).await.map_err(|e| Error::new(format!("{path}: {e}")))?;
    let code = answer.status();
    if code == hyper::StatusCode::UNAUTHORIZED {
        return Err(Failure::Refused);
    }
    let bytes = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let bytes = bytes.map_err(|e| Error::with(format!("{path}: the answer broke off"), e))?.to_bytes();
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if !code.is_success() {
        let message = value.get("message").and_then(Value::as_str).unwrap_or_default();
        return Err(Error::new(format!("the API server answers {code} to {path}: {message}")).into());
    }
    Ok(value)
}
