//! Reads that go to the cloud as their caller, and what the view learns from the answers.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT, CONTENT_LENGTH, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use view::{Asked, CloudRv, Key, Object, ResourceId, Scope};
use wire::media::{Accepted, Form};
use wire::{Encoding, List};

use super::cloud::Whole;
use super::rights::Right;
use super::{Reads, Who, path};
use crate::body::Body;
use crate::cloud::Trouble;
use crate::link::State;
use crate::proxy::headers;
use crate::refuse;

/// How long a read whose connection broke waits for the verdict on the link.
const VERDICT: Duration = Duration::from_secs(3);

/// A read, and everything that is known of it.
pub struct Read<'a> {
    /// Whose it is.
    pub who: &'a Who,
    /// Path and query as they came.
    pub target: &'a str,
    /// Headers as they came.
    pub headers: &'a HeaderMap,
    /// The resource.
    pub resource: ResourceId,
    /// What is read of it.
    pub what: What,
    /// How the answer is to stand.
    pub accepted: Accepted,
}

/// What a read is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// One object.
    Object(Key),
    /// A set; whether the whole of it is asked for at once.
    Set(Scope, bool),
}

impl Read<'_> {
    /// What is asked for.
    pub(super) fn scope(&self) -> Scope {
        match &self.what {
            What::Object(key) => Scope::single(key),
            What::Set(scope, _) => scope.clone(),
        }
    }

    /// The right that it needs.
    pub(super) fn right(&self) -> Right {
        Right { who: self.who.identity.clone(), resource: self.resource.clone(), scope: self.scope() }
    }

    fn asked(&self) -> Asked {
        match self.what {
            What::Object(_) => Asked::Single,
            What::Set(..) => Asked::Set,
        }
    }

    /// The headers of the same question to the cloud.
    fn onward(&self) -> HeaderMap {
        let mut headers = headers::onward(self.headers.clone(), self.who.credential, false);
        headers.remove(CONTENT_LENGTH);
        headers
    }

    /// The path by which the hub asks for the same in its own way: everything, at its newest.
    pub(super) fn own_target(&self) -> String {
        match &self.what {
            What::Object(key) => format!("{}/{}", path::set(&self.resource, key.namespace()), key.name()),
            What::Set(scope, _) => path::read(&self.resource, scope, &[]),
        }
    }
}

/// What comes next for a read.
pub enum Step {
    /// It is answered.
    Answer(Response<Body>),
    /// The view is to be asked again; `fresh`: it has just learned the answer.
    Again {
        /// See there.
        fresh: bool,
    },
    /// What is there is newer than the table, and cannot be shown whole in the caller's encoding.
    Newer,
}

impl Reads {
    /// Asks the cloud as the caller, and reports what it says.
    pub(super) async fn forward(self: &Arc<Self>, read: &Read<'_>) -> Step {
        let overlaid = read.resource.is_overlaid();
        let mut headers = read.onward();
        let own = overlaid.then(|| read.own_target());
        if overlaid {
            let accept = match read.accepted.encoding {
                Encoding::Protobuf if !self.is_newer(&read.resource) => {
                    "application/vnd.kubernetes.protobuf,application/json"
                }
                _ => "application/json",
            };
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        let whole = match self.ask_whole(read.who, own.as_deref().unwrap_or(read.target), headers).await {
            Ok(whole) => whole,
            Err(trouble) => return self.in_vain(read, &trouble).await,
        };
        let whole_objects = overlaid || read.accepted.form == Form::Object;
        let learned = self.learn(read, &whole, whole_objects);
        if overlaid && learned { Step::Again { fresh: true } } else { Step::Answer(self.as_it_came(whole)) }
    }

    /// Whether the view knows the answer now.
    pub(super) fn learn(self: &Arc<Self>, read: &Read<'_>, whole: &Whole, whole_objects: bool) -> bool {
        let (who, resource) = (&read.who.identity, &read.resource);
        if whole.status == StatusCode::OK {
            self.rights.granted(read.right(), self.now());
        }
        match whole.status {
            StatusCode::OK if whole_objects => {}
            StatusCode::NOT_FOUND => {
                if let (What::Object(key), true) = (&read.what, names_it(read, whole)) {
                    self.with(|view| view.took_absence(who, resource, key));
                }
                return false;
            }
            StatusCode::FORBIDDEN => {
                self.with(|view| view.refused(who, resource, &read.scope(), read.asked()));
                return false;
            }
            _ => return false,
        }
        let Some((body, encoding)) = whole.object() else { return false };
        match &read.what {
            What::Object(key) if self.is_known(read, key, &body, encoding) => true,
            What::Object(_) => match view::read(resource, body.to_vec(), encoding) {
                Ok(object) => {
                    self.learn_kind_of(resource, &body, encoding);
                    self.with(|view| view.took_object(who, resource, object));
                    true
                }
                Err(e) => {
                    tracing::debug!("{e}");
                    false
                }
            },
            What::Set(scope, all) => match set(resource, &body, encoding) {
                Some((objects, rv, kind)) => {
                    self.learn_kind(resource, &kind);
                    self.with(|view| match *all || resource.is_overlaid() {
                        true => view.took_list(who, resource, scope, objects, rv),
                        false => view.granted(who, resource, scope),
                    });
                    true
                }
                None => false,
            },
        }
    }

    /// Whether the view has just this of an object, and knows that the caller may read it: so it mostly is, and nothing
    /// needs to be taken over.
    fn is_known(&self, read: &Read<'_>, key: &Key, bytes: &[u8], encoding: Encoding) -> bool {
        let Ok(object) = wire::Object::parse(bytes, encoding) else { return false };
        let (uid, rv) = object.version();
        let Some(rv) = CloudRv::parse(&rv) else { return false };
        self.lock().has_read(&read.who.identity, &read.resource, key, (&uid, rv, encoding))
    }

    /// Remembers how objects of a custom resource are called.
    pub(super) fn learn_kind(&self, resource: &ResourceId, kind: &str) {
        if let Some((key, value)) = self.kinds.learn(resource, kind) {
            self.store.write_own(key, Some(value));
        }
    }

    fn learn_kind_of(&self, resource: &ResourceId, bytes: &[u8], encoding: Encoding) {
        // What comes in protobuf is built in.
        if encoding == Encoding::Json
            && let Ok(object) = wire::Object::parse(bytes, encoding)
        {
            self.learn_kind(resource, object.kind());
        }
    }

    /// Finds out whether the cloud grants a caller a set, by asking for `of` it.
    pub(super) async fn verify(
        self: &Arc<Self>,
        read: &Read<'_>,
        of: &Scope,
        parameters: &[(&str, &str)],
    ) -> Step {
        let (who, resource, scope) = (&read.who.identity, &read.resource, read.scope());
        let target = path::read(resource, of, parameters);
        let mut headers = read.onward();
        headers.extend(self.own_headers(resource));
        let whole = match self.ask_whole(read.who, &target, headers).await {
            Ok(whole) => whole,
            Err(trouble) => return self.in_vain(read, &trouble).await,
        };
        match whole.status {
            StatusCode::OK => {
                let object = whole.object();
                let list = object.as_ref().and_then(|(body, encoding)| List::parse(body, *encoding).ok());
                if let Some(list) = list {
                    self.learn_kind(resource, list.kind.strip_suffix("List").unwrap_or_default());
                }
                self.rights.granted(read.right(), self.now());
                self.with(|view| view.granted(who, resource, &scope));
                Step::Again { fresh: false }
            }
            StatusCode::FORBIDDEN => {
                self.with(|view| view.refused(who, resource, &scope, Asked::Set));
                Step::Answer(self.as_it_came(whole))
            }
            _ => Step::Answer(self.as_it_came(whole)),
        }
    }

    /// A read that got no answer: the view's, once the cloud is taken for gone.
    async fn in_vain(self: &Arc<Self>, read: &Read<'_>, trouble: &Trouble) -> Step {
        let mut verdict = self.cloud.judge().verdict();
        let gone = verdict.wait_for(|verdict| verdict.state != State::Up);
        let broke = matches!(trouble, Trouble::Gone(_) | Trouble::NotSent(_) | Trouble::Lost(_));
        if broke && tokio::time::timeout(VERDICT, gone).await.is_ok() {
            self.tell_link();
            return Step::Again { fresh: false };
        }
        tracing::debug!("{trouble}");
        Step::Answer(refuse::answer(&refuse::trouble(trouble), read.headers))
    }
}

/// Whether a 404 says that this object is not there, and not that nobody knows such a path.
fn names_it(read: &Read<'_>, whole: &Whole) -> bool {
    let status = whole.object().and_then(|(body, encoding)| wire::Status::decode(&body, encoding));
    let name = match &read.what {
        What::Object(key) => key.name(),
        What::Set(..) => return false,
    };
    status.and_then(|status| status.details).is_some_and(|details| details.name == name)
}

/// The objects of a whole list, its version and the kind of its objects.
fn set(resource: &ResourceId, bytes: &[u8], encoding: Encoding) -> Option<(Vec<Object>, CloudRv, String)> {
    let list = List::parse(bytes, encoding).ok().filter(|list| list.meta.continue_token.is_empty())?;
    let rv = CloudRv::parse(&list.meta.resource_version)?;
    let mut objects = Vec::with_capacity(list.items.len());
    for item in &list.items {
        match view::read(resource, item.to_bytes(), encoding) {
            Ok(object) => objects.push(object),
            Err(e) => {
                tracing::debug!("{e}");
                return None;
            }
        }
    }
    let kind = list
        .items
        .first()
        .map_or_else(|| list.kind.strip_suffix("List").unwrap_or_default(), |item| item.kind());
    Some((objects, rv, kind.to_owned()))
}
