//! Resources that are not stored, or whose making does something: tokens, reviews, certificate requests, bindings,
//! evictions, logs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wire::request::Request;
use wire::status::GroupResource;
use wire::{Resource, Status, Verb};

use super::auth::{Asked, User, allowed};
use super::kinds::Kind;
use super::object::{map, member, meta, text, timestamp};
use super::store::Key;
use super::world::{Answer, Sent, Token, World, object_in};
use super::write::{self, Deleted, Through, delete_options};

/// Who signs the tokens.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// The answer, if the request is about one of these.
///
/// # Errors
/// As the API server refuses it.
pub fn answer(
    world: &mut World,
    user: &User,
    request: &Request,
    of: &Resource,
    sent: Sent<'_>,
) -> Result<Option<Answer>, Status> {
    let create = request.verb == Verb::Create;
    let answer = match (of.group.as_str(), of.resource.as_str(), of.subresource.as_str()) {
        ("", "serviceaccounts", "token") if create => token(world, of, object_in(sent)?)?,
        ("", "pods", "binding") if create => bind(world, of, &object_in(sent)?)?,
        ("", "pods", "eviction") if create => evict(world, of, &object_in(sent)?)?,
        ("", "pods", "log") => Answer::Text("text/plain", log(world, of)?),
        ("authentication.k8s.io", "tokenreviews", "") if create => token_review(world, object_in(sent)?),
        ("authorization.k8s.io", "subjectaccessreviews", "") if create => {
            let review = object_in(sent)?;
            let groups =
                review.pointer("/spec/groups").and_then(Value::as_array).cloned().unwrap_or_default();
            let groups: Vec<&str> = groups.iter().filter_map(Value::as_str).collect();
            let whom = User::new(&text(&review, "spec.user"), &groups);
            access_review(world, &whom, review)
        }
        ("authorization.k8s.io", "selfsubjectaccessreviews", "") if create => {
            access_review(world, user, object_in(sent)?)
        }
        ("certificates.k8s.io", "certificatesigningrequests", "approval") => {
            approve(world, of, &object_in(sent)?)?
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

fn existing(world: &World, resource: &str, namespace: &str, name: &str) -> Result<(Key, Value), Status> {
    let key = world.key(&world.kind("", resource), namespace, name);
    let found = world.store.get(&key).map(|object| Value::clone(&object));
    let object = found.ok_or_else(|| Status::not_found(GroupResource { group: "", resource }, name))?;
    Ok((key, object))
}

/// A token for a service account, bound to a pod where one is named.
fn token(world: &mut World, of: &Resource, mut request: Value) -> Result<Answer, Status> {
    let (_, account) = existing(world, "serviceaccounts", &of.namespace, &of.name)?;
    let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(3600);
    let audiences = match request.pointer("/spec/audiences").and_then(Value::as_array) {
        Some(audiences) if !audiences.is_empty() => audiences.clone(),
        _ => vec![ISSUER.into()],
    };
    let uid = text(&account, "metadata.uid");
    let mut about = json!({
        "namespace": of.namespace,
        "serviceaccount": {"name": of.name, "uid": uid},
    });
    let bound = match request.pointer("/spec/boundObjectRef").filter(|bound| !bound.is_null()) {
        Some(bound) => {
            let (name, asked) = (text(bound, "name"), text(bound, "uid"));
            let (key, pod) = existing(world, "pods", &of.namespace, &name)?;
            let own = text(&pod, "metadata.uid");
            if !asked.is_empty() && asked != own {
                let why = format!(
                    "the UID in the bound object reference ({asked}) does not match the UID in record. The object might have \
                     been deleted and then recreated"
                );
                return Err(Status::conflict(GroupResource { group: "", resource: "Pod" }, &name, &why));
            }
            about["pod"] = json!({"name": name, "uid": own});
            Some((key, own))
        }
        None => None,
    };
    let until = world.now + seconds;
    let claims = json!({
        "aud": audiences, "exp": until, "iat": world.now, "nbf": world.now, "iss": ISSUER, "kubernetes.io": about,
        "sub": format!("system:serviceaccount:{}:{}", of.namespace, of.name),
        // What makes two tokens of one second differ (RFC 7519, section 4.1.7).
        "jti": world.uid(),
    });
    let made = world.authority.token(&claims);
    let user = User::service_account(&of.namespace, &of.name, &uid);
    world.tokens.insert(made.clone(), Token { user, until: Some(until), bound });
    let spec = member(&mut request, "spec");
    spec.insert("audiences".into(), audiences.into());
    spec.insert("expirationSeconds".into(), seconds.into());
    spec.entry("boundObjectRef").or_insert(Value::Null);
    map(&mut request)
        .insert("status".into(), json!({"token": made, "expirationTimestamp": timestamp(until)}));
    Ok(plain("authentication.k8s.io/v1", "TokenRequest", request))
}

fn plain(api_version: &str, kind: &str, mut object: Value) -> Answer {
    map(&mut object).insert("kind".into(), kind.into());
    map(&mut object).insert("apiVersion".into(), api_version.into());
    meta(&mut object).insert("creationTimestamp".into(), Value::Null);
    Answer::Plain(201, object)
}

fn token_review(world: &World, mut review: Value) -> Answer {
    let status = match world.holder(&text(&review, "spec.token")) {
        Some(user) => json!({
            "authenticated": true,
            "user": {"username": user.name, "uid": user.uid, "groups": user.groups},
            "audiences": [ISSUER],
        }),
        None => json!({"user": {}, "error": "invalid bearer token"}),
    };
    map(&mut review).insert("status".into(), status);
    plain("authentication.k8s.io/v1", "TokenReview", review)
}

impl World {
    /// Whose token this is, if it counts now.
    pub fn holder(&self, token: &str) -> Option<User> {
        let token = self.tokens.get(token)?;
        let alive = token.bound.as_ref().is_none_or(|(key, uid)| {
            self.store.get(key).is_some_and(|pod| text(&pod, "metadata.uid") == *uid)
        });
        let valid = token.until.is_none_or(|until| self.now < until);
        (alive && valid).then(|| token.user.clone())
    }
}

fn access_review(world: &World, user: &User, mut review: Value) -> Answer {
    let attribute = |name: &str| text(&review, &format!("spec.resourceAttributes.{name}"));
    let of = Resource {
        group: attribute("group"),
        version: attribute("version"),
        namespace: attribute("namespace"),
        resource: attribute("resource"),
        name: attribute("name"),
        subresource: attribute("subresource"),
        rest: String::new(),
    };
    let verb = attribute("verb");
    let asked = Asked { verb: &verb, of: &of, request: None };
    let may = allowed(&world.rules, &world.store, user, &asked).is_ok();
    let kind = if review.pointer("/spec/user").is_some() || review.pointer("/spec/groups").is_some() {
        "SubjectAccessReview"
    } else {
        "SelfSubjectAccessReview"
    };
    map(&mut review).insert("status".into(), json!({"allowed": may}));
    plain("authorization.k8s.io/v1", kind, review)
}

/// A certificate request that was made: who made it is the server's word, and it is signed at once if the cloud approves.
pub fn on_request(
    world: &mut World,
    kind: &Kind,
    user: &User,
    made: &std::sync::Arc<Value>,
) -> std::sync::Arc<Value> {
    let mut request = Value::clone(made);
    let spec = member(&mut request, "spec");
    spec.insert("username".into(), user.name.as_str().into());
    spec.insert("groups".into(), user.groups.clone().into());
    if world.approves {
        let condition = json!({"type": "Approved", "status": "True", "reason": "AutoApproved"});
        member(&mut request, "status").insert("conditions".into(), json!([condition]));
        sign(world, &mut request);
    }
    let key = world.key(kind, "", &text(&request, "metadata.name"));
    world.store.put(key, &request)
}

/// Signs an approved request, or says in its conditions why that failed.
fn sign(world: &World, request: &mut Value) {
    let pem = STANDARD.decode(text(request, "spec.request")).unwrap_or_default();
    let server = text(request, "spec.signerName") == "kubernetes.io/kubelet-serving";
    let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    let validity = (world.now - 300, world.now + seconds.unwrap_or(365 * 86_400));
    let signed = world.authority.sign_request(&pem, server, validity);
    let status = member(request, "status");
    match signed {
        Ok(certificate) => drop(status.insert("certificate".into(), STANDARD.encode(certificate).into())),
        Err(why) => {
            let failed = json!({"type": "Failed", "status": "True", "reason": "SignerError", "message": why});
            if let Some(conditions) = status.entry("conditions").or_insert_with(|| json!([])).as_array_mut() {
                conditions.push(failed);
            }
        }
    }
}

/// Takes the conditions of the body; where they approve, the request is signed as kube-controller-manager does.
fn approve(world: &mut World, of: &Resource, body: &Value) -> Result<Answer, Status> {
    let kind = world.kind(&of.group, &of.resource);
    let key = world.key(&kind, "", &of.name);
    let old = world.store.get(&key).ok_or_else(|| Status::not_found(of.group_resource(), &of.name))?;
    let mut request = Value::clone(&old);
    let conditions = body.pointer("/status/conditions").cloned().unwrap_or_else(|| json!([]));
    let approved = conditions.as_array().is_some_and(|all| all.iter().any(|one| one["type"] == "Approved"));
    member(&mut request, "status").insert("conditions".into(), conditions);
    if approved {
        sign(world, &mut request);
    }
    Ok(Answer::Object(200, kind, world.store.put(key, &request)))
}

/// Puts a pod on a node, as the scheduler does.
fn bind(world: &mut World, of: &Resource, body: &Value) -> Result<Answer, Status> {
    let (key, mut pod) = existing(world, "pods", &of.namespace, &of.name)?;
    let node = text(&pod, "spec.nodeName");
    if !node.is_empty() {
        let why = format!("pod {} is already assigned to node \"{node}\"", of.name);
        return Err(Status::conflict(GroupResource { group: "", resource: "pods/binding" }, &of.name, &why));
    }
    member(&mut pod, "spec").insert("nodeName".into(), text(body, "target.name").into());
    world.store.put(key, &pod);
    Ok(Answer::Status(success(201)))
}

fn success(code: u16) -> Status {
    Status { success: true, code, ..Status::default() }
}

fn evict(world: &mut World, of: &Resource, body: &Value) -> Result<Answer, Status> {
    let (key, _) = existing(world, "pods", &of.namespace, &of.name)?;
    let kind = world.kind("", "pods");
    let none = wire::request::Query::default();
    let options = delete_options(body.get("deleteOptions").unwrap_or(&Value::Null), &none);
    let through = Through { kind: &kind, of, node: None };
    match write::delete(world, through, &key, &options)? {
        Deleted::Object(_) | Deleted::Status(_) => Ok(Answer::Status(success(201))),
    }
}

fn log(world: &World, of: &Resource) -> Result<String, Status> {
    let (_, pod) = existing(world, "pods", &of.namespace, &of.name)?;
    Ok(format!("log of {} {}\n", of.name, text(&pod, "metadata.uid")))
}
