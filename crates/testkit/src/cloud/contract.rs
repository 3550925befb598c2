//! What kube-apiserver does, as a suite that runs against a real one and against the miniature, so that the miniature is
//! honest.
//!
//! Each case is a sentence and a function; it makes what it needs in a namespace of its own. Where releases differ the
//! case asks the server which it is. What no release at hand can confirm is listed in `docs/verification.md`.
//!
//! A server needs an administrator's client certificate (`system:masters`) and nothing else: no controllers run, no
//! service account has tokens.

pub mod client;

mod access;
mod deletes;
mod negotiation;
mod patches;
mod reads;
mod updates;
mod watches;
mod writes;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use serde_json::{Value, json};

pub use client::{Client, Reply, Target};

/// How the past is made to be forgotten: what a server forgets by itself takes minutes.
#[derive(Debug, Clone, Copy)]
pub enum Past<'a> {
    /// Nothing can be forgotten: cases that need it are left out.
    Kept,
    /// By etcd's JSON gateway at this address, without TLS.
    Etcd(SocketAddr),
    /// In the miniature.
    Miniature(&'a super::Cloud),
}

/// A server under test.
#[derive(Debug, Clone)]
pub struct Server<'a> {
    /// Where and as whom it is asked.
    pub target: Target,
    /// How etcd's past is forgotten.
    pub past: Past<'a>,
    /// A resourceVersion from before the server was started, if there is one: its watch cache has forgotten it.
    pub forgotten: Option<u64>,
}

/// One case at work.
pub(crate) struct Case<'a> {
    server: &'a Server<'a>,
    client: Client,
    namespace: String,
    /// The server's minor version.
    minor: u32,
}

/// What a case says when it ends: nothing, or what was not as it should be.
pub(crate) type Outcome = Result<(), String>;
pub(crate) type Check = for<'a> fn(&'a Case<'a>) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A group of cases: each a name, and what it does.
pub(crate) type Cases = &'static [(&'static str, Check)];

/// Makes a [`Cases`] of async functions, named as they are.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const CASES: super::Cases = &[$((stringify!($name), |case| Box::pin($name(case)))),*];
    };
}
pub(crate) use cases;

/// Ends a case that does not find what it should.
macro_rules! check {
    ($condition:expr, $($say:tt)+) => {
        if !$condition {
            return Err(format!($($say)+));
        }
    };
}
pub(crate) use check;

const GROUPS: [(&str, Cases); 8] = [
    ("reads", reads::CASES),
    ("watches", watches::CASES),
    ("writes", writes::CASES),
    ("updates", updates::CASES),
    ("patches", patches::CASES),
    ("deletes", deletes::CASES),
    ("access", access::CASES),
    ("negotiation", negotiation::CASES),
];

/// Longer than anything takes; a case that hangs is a case that failed.
const LIMIT: Duration = Duration::from_secs(60);

/// How one case went.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// Group and name.
    pub case: String,
    /// What was wrong, if anything.
    pub fault: Option<String>,
}

/// Runs the cases whose name contains `only` (empty for all), one after the other.
///
/// # Errors
/// When the server cannot be asked at all.
pub async fn run(server: &Server<'_>, only: &str) -> Result<Vec<Judgement>, String> {
    let client = Client::connect(&server.target).await?;
    let version = client.get("/version").await?.json;
    let minor = version["minor"].as_str().unwrap_or_default().trim_end_matches('+');
    let minor = minor.parse().map_err(|_| format!("the server says no version: {version}"))?;
    let mut judgements = Vec::new();
    for (group, cases) in GROUPS {
        for (name, check) in cases {
            let case = format!("{group}::{name}");
            if !case.contains(only) {
                continue;
            }
            let at_work = Case { server, client: client.clone(), namespace: String::new(), minor };
            let ran = tokio::time::timeout(LIMIT, at_work.run(*check)).await;
            let fault = ran.unwrap_or_else(|_| Err(format!("still not done after {LIMIT:?}"))).err();
            judgements.push(Judgement { case, fault });
        }
    }
    Ok(judgements)
}

impl Case<'_> {
    async fn run(mut self, check: Check) -> Outcome {
        let namespace = json!({"metadata": {"generateName": "contract-"}});
        let made = self.client.post("/api/v1/namespaces", &namespace).await?;
        let name = made.json["metadata"]["name"].as_str();
        self.namespace = name.ok_or_else(|| format!("no namespace to work in: {}", made.text()))?.to_owned();
        let account = json!({"metadata": {"name": "default"}, "automountServiceAccountToken": false});
        self.client.post(&self.path("serviceaccounts"), &account).await?;
        check(&self).await
    }

    /// The path of something of the core group in the case's namespace.
    fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.namespace)
    }

    /// The path of a lease.
    fn leases(&self, rest: &str) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases{rest}", self.namespace)
    }

    /// Makes a config map with one entry, `n` being `value`.
    async fn config_map(&self, name: &str, value: &str) -> Result<Value, String> {
        let object = json!({"metadata": {"name": name}, "data": {"n": value}});
        self.make("configmaps", &object).await
    }

    /// Changes that entry.
    async fn change(&self, name: &str, value: &str) -> Result<Value, String> {
        let patch = json!({"data": {"n": value}});
        let reply =
            self.client.patch(&self.path(&format!("configmaps/{name}")), client::MERGE, &patch).await?;
        check!(reply.code == 200, "{name} cannot be changed: {}", reply.text());
        Ok(reply.json)
    }

    async fn make(&self, resource: &str, object: &Value) -> Result<Value, String> {
        let reply = self.client.post(&self.path(resource), object).await?;
        check!(reply.code == 201, "{resource} cannot be made: {}", reply.text());
        Ok(reply.json)
    }

    /// A pod on a node that nobody runs.
    async fn pod(&self, name: &str, extra: &Value) -> Result<Value, String> {
        let spec = json!({
            "nodeName": "contract",
            "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "none"}],
        });
        let mut pod = json!({"metadata": {"name": name}, "spec": spec});
        for (pointer, value) in extra.as_object().into_iter().flatten() {
            let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
            if let Some(parent) = pod.pointer_mut(parent) {
                parent[key] = value.clone();
            }
        }
        self.make("pods", &pod).await
    }

    /// Has etcd forget what was before this moment; false where that cannot be done.
    async fn compact(&self, revision: u64) -> Result<bool, String> {
        match self.server.past {
            Past::Kept => return Ok(false),
            Past::Etcd(address) => client::compact(address, revision).await?,
            Past::Miniature(cloud) => cloud.world(|world| world.store.compact(revision)),
        }
        Ok(true)
    }
}

/// The resourceVersion of an object or list, as a number.
fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// A failure with every field that the API server fills.
fn failure(code: u16, reason: &str, message: &str, details: &Value) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
    });
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    if !details.is_null() {
        status["details"] = details.clone();
    }
    status
}

/// Whether the reply is exactly this failure, body and code.
fn fails(reply: &Reply, code: u16, reason: &str, message: &str, details: &Value) -> Outcome {
    check!(reply.code == code, "{code} was expected: {}", reply.text());
    let expected = failure(code, reason, message, details);
    check!(reply.json == expected, "expected {expected}, not {}", reply.json);
    Ok(())
}

/// Whether the reply is a failure with this code and reason, whatever its message.
fn fails_somehow(reply: &Reply, code: u16, reason: &str) -> Outcome {
    let is = reply.code == code && reply.json["kind"] == "Status" && reply.json["reason"] == reason;
    check!(is, "{code} {reason} was expected: {}", reply.text());
    Ok(())
}

/// The words of a 409 for a resourceVersion that is not the present one.
const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";
