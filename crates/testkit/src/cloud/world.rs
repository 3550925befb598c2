//! All that the cloud is, behind one lock, and how it answers a request that was authenticated.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use wire::media::Body;
use wire::request::Request;
use wire::{Encoding, ListOptions, Resource, Status, Verb};

use super::auth::{self, Rule, User};
use super::kinds::Kind;
use super::pki::Authority;
use super::read::{self, List};
use super::store::{Key, Store};
use super::watch::Watch;
use super::write::{self, Deleted, Through, delete_options};
use super::{Release, discovery, encoding, special};
use crate::rng::Rng;

/// A token that was given out.
#[derive(Debug, Clone)]
pub struct Token {
    /// Whose it is.
    pub user: User,
    /// Until when, in seconds since 1970; `None` for ever.
    pub until: Option<i64>,
    /// The pod to which it is bound: the token ends with it.
    pub bound: Option<(Key, String)>,
}

/// The cloud.
pub struct World {
    /// Objects and history.
    pub store: Store,
    /// What is served.
    pub kinds: Vec<Kind>,
    /// As which release it behaves.
    pub release: Release,
    /// Seconds since 1970.
    pub now: i64,
    /// Who may do what.
    pub rules: Vec<Rule>,
    /// Tokens that count.
    pub tokens: HashMap<String, Token>,
    /// The cluster's authority.
    pub authority: Authority,
    /// Whether certificate requests are approved and signed as soon as they are made.
    pub approves: bool,
    rng: Rng,
}

/// An answer that is no error.
pub enum Answer {
    /// An object of this kind, with the HTTP code.
    Object(u16, Kind, Arc<Value>),
    /// A list.
    List(Kind, List),
    /// A success without an object.
    Status(Status),
    /// A stream.
    Watch(Kind, Box<Watch>),
    /// An object of a kind that is not stored: a review, discovery.
    Plain(u16, Value),
    /// Bytes of this type.
    Text(&'static str, String),
}

/// A body with the headers that say what it is.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// `Content-Type`, empty for none.
    pub content_type: &'a str,
    /// The bytes.
    pub body: &'a [u8],
}

impl World {
    pub(super) fn new(release: Release, now: i64, seed: u64, authority: Authority) -> Self {
        let mut world = Self {
            // No real cluster begins at 0: its own objects come first.
            store: Store::new(100),
            kinds: super::kinds::standard(),
            release,
            now,
            rules: Vec::new(),
            tokens: HashMap::new(),
            authority,
            approves: true,
            rng: Rng::new(seed),
        };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let namespace =
                json!({"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}});
            world.put("", "namespaces", namespace);
        }
        world
    }

    pub(super) fn namespace_key(name: &str) -> Key {
        Key {
            group: String::new(),
            resource: "namespaces".into(),
            namespace: String::new(),
            name: name.to_owned(),
        }
    }

    /// The key of an object.
    pub fn key(&self, kind: &Kind, namespace: &str, name: &str) -> Key {
        Key {
            group: kind.group.clone(),
            resource: kind.resource.clone(),
            namespace: if kind.namespaced { namespace.to_owned() } else { String::new() },
            name: name.to_owned(),
        }
    }

    /// A uid, drawn.
    pub(super) fn uid(&mut self) -> String {
        let (a, b) = (self.rng.next_u64(), self.rng.next_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xfff,
            0x8000 | b >> 48 & 0x3fff,
            b & 0xffff_ffff_ffff
        )
    }

    /// The five letters that are put behind a `generateName`.
    pub(super) fn suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..5).map(|_| char::from(*self.rng.pick(LETTERS))).collect()
    }

    /// The served kind of this name, in whatever version comes first.
    ///
    /// # Panics
    /// When it is not served: the test is wrong.
    pub fn kind(&self, group: &str, resource: &str) -> Kind {
        let found = self.kinds.iter().find(|kind| kind.group == group && kind.resource == resource);
        found.unwrap_or_else(|| panic!("{resource} of group {group:?} is not served")).clone()
    }

    /// Writes an object as controllers do: status and all, without any check. Makes what is missing of its metadata.
    pub fn put(&mut self, group: &str, resource: &str, mut object: Value) -> Arc<Value> {
        let kind = self.kind(group, resource);
        let (uid, now) = (self.uid(), super::object::timestamp(self.now));
        let map = super::object::map(&mut object);
        map.insert("kind".into(), kind.kind.as_str().into());
        map.insert("apiVersion".into(), kind.api_version().into());
        let meta = super::object::meta(&mut object);
        meta.entry("uid").or_insert(uid.into());
        meta.entry("creationTimestamp").or_insert(now.into());
        if kind.namespaced {
            meta.entry("namespace").or_insert("default".into());
        }
        let namespace = super::object::text(&object, "metadata.namespace");
        let name = super::object::text(&object, "metadata.name");
        let key = self.key(&kind, &namespace, &name);
        // What is no object of its kind stays as the test wrote it.
        let object = encoding::normal(&object).unwrap_or(object);
        self.store.put(key, &object)
    }

    /// Answers a request.
    ///
    /// # Errors
    /// The `Status` that is the answer instead.
    pub fn answer(&mut self, user: &User, request: &Request, sent: Sent<'_>) -> Result<Answer, Status> {
        auth::authorise(&self.rules, &self.store, user, request)?;
        let Some(of) = &request.resource else { return discovery::answer(self, &request.path) };
        if let Some(answer) = special::answer(self, user, request, of, sent)? {
            return Ok(answer);
        }
        let kind = self.served(of)?;
        self.check_verb(request, of, &kind)?;
        let namespace = of.namespace.as_str();
        let key = self.key(&kind, namespace, &of.name);
        let through = Through { kind: &kind, of, node: user.as_node() };
        match &request.verb {
            Verb::Get => Ok(Answer::Object(200, kind, read::get(&self.store, &key, request)?)),
            Verb::List => {
                let options = ListOptions::of(request)?;
                if let Some(expired) = read::expired_page(&self.store, &options) {
                    return Ok(Answer::Plain(410, expired));
                }
                let list = read::list(&self.store, &kind, namespace, &options, self.release)?;
                Ok(Answer::List(kind, list))
            }
            Verb::Watch => {
                if self.release == Release::V1_20 {
                    read::refuse_match(request)?;
                }
                let options = ListOptions::of(request)?;
                let watch = read::watch(&self.store, &kind, namespace, request, &options, self.release)?;
                Ok(Answer::Watch(kind, Box::new(watch)))
            }
            Verb::Create => {
                let object = object_in(sent)?;
                let mut made = write::create(self, &kind, namespace, object)?;
                if kind.resource == "certificatesigningrequests" {
                    made = special::on_request(self, &kind, user, &made);
                }
                Ok(Answer::Object(201, kind, made))
            }
            Verb::Update => {
                let object = object_in(sent)?;
                let (object, made) = write::update(self, through, &key, object)?;
                Ok(Answer::Object(if made { 201 } else { 200 }, kind, object))
            }
            Verb::Patch => {
                let how = wire::media::patch(sent.content_type, write::served(&kind))?;
                let object = write::patch(self, through, &key, how, sent.body)?;
                Ok(Answer::Object(200, kind, object))
            }
            Verb::Delete => {
                let given = options_in(sent)?;
                let options = delete_options(&given, &request.query);
                let dry = request.query.first("dryRun").is_some() || given.get("dryRun").is_some();
                let delete = if dry { write::try_delete } else { write::delete };
                Ok(match delete(self, through, &key, &options)? {
                    Deleted::Object(object) => Answer::Object(200, kind, object),
                    Deleted::Status(status) => Answer::Status(status),
                })
            }
            Verb::DeleteCollection => self.delete_collection(through, request, sent),
            Verb::Proxy | Verb::Other(_) => Err(not_allowed()),
        }
    }

    /// The kind that a path means.
    fn served(&self, of: &Resource) -> Result<Kind, Status> {
        let found = self.kinds.iter().find(|kind| {
            kind.group == of.group && kind.version == of.version && kind.resource == of.resource
        });
        let kind = found.ok_or_else(Status::no_such_path)?;
        let known = match of.subresource.as_str() {
            "" => true,
            "status" => kind.status,
            _ => false,
        };
        if known { Ok(kind.clone()) } else { Err(Status::no_such_path()) }
    }

    fn check_verb(&self, request: &Request, of: &Resource, kind: &Kind) -> Result<(), Status> {
        let named = !of.name.is_empty();
        let fits = match request.verb {
            Verb::Create => !named && (!kind.namespaced || !of.namespace.is_empty()),
            Verb::Update | Verb::Patch => named,
            Verb::DeleteCollection => !kind.namespaced || !of.namespace.is_empty(),
            Verb::Proxy | Verb::Other(_) => false,
            _ => true,
        };
        if fits { Ok(()) } else { Err(not_allowed()) }
    }

    fn delete_collection(
        &mut self,
        through: Through<'_>,
        request: &Request,
        sent: Sent<'_>,
    ) -> Result<Answer, Status> {
        let options = ListOptions::of(request)?;
        let body = delete_options(&options_in(sent)?, &request.query);
        let list = read::list(&self.store, through.kind, &through.of.namespace, &options, self.release)?;
        for item in &list.items {
            let text = |path| super::object::text(item, path);
            let of = Resource { name: text("metadata.name"), ..through.of.clone() };
            let key = self.key(through.kind, &text("metadata.namespace"), &of.name);
            write::delete(self, Through { of: &of, ..through }, &key, &body)?;
        }
        Ok(Answer::List(through.kind.clone(), list))
    }
}

/// 405, in the words of the server's router.
fn not_allowed() -> Status {
    let details = Some(Box::default());
    let text = "the server does not allow this method on the requested resource";
    Status { details, ..Status::failure(405, "MethodNotAllowed", text) }
}

/// The object in a body.
///
/// # Errors
/// 415 for an unknown type, 400 for bytes that do not fit it.
pub fn object_in(sent: Sent<'_>) -> Result<Value, Status> {
    match wire::media::body(sent.content_type)? {
        Body::Object(Encoding::Json) => serde_json::from_slice(sent.body).map_err(|e| {
            Status::bad_request(format!(
                "the object provided is unrecognized: couldn't get version/kind; json parse error: {e}"
            ))
        }),
        Body::Object(Encoding::Protobuf) => encoding::from_protobuf(sent.body),
        Body::Yaml => Err(Status::unsupported_media_type(&[wire::media::JSON, wire::media::PROTOBUF])),
    }
}

/// The options in the body of a DELETE, which may be empty.
fn options_in(sent: Sent<'_>) -> Result<Value, Status> {
    if sent.body.is_empty() {
        return Ok(Value::Null);
    }
    object_in(sent).map_err(|status| match status.code {
        400 => Status::failure(500, "", status.message),
        _ => status,
    })
}
