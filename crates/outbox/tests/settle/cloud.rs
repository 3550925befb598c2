//! A cloud of a few objects, which judges writes as the API server does (crate `patch`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outbox::settle::{Place, Request};
use patch::{DeleteOptions, Deletion, Form, Outcome, Release, Served, Write};
use serde_json::Value;
use view::{Key, ResourceId};
use wire::schema::Kind;
use wire::{Resource, Status};

pub const NODE: &str = "edge";

pub fn place(group: &str, resource: &str, namespace: &str, name: &str) -> Place {
    (ResourceId::new(group, "v1", resource, namespace), Key::new(namespace, name))
}

pub fn pod_at(name: &str) -> Place {
    place("", "pods", "shop", name)
}

pub fn node_at() -> Place {
    place("", "nodes", "", NODE)
}

pub fn text<'o>(object: &'o Value, path: &str) -> &'o str {
    // As a JSON pointer, without the copies that are made of one.
    let found = path.split('/').skip(1).try_fold(object, |object, name| object.get(name));
    found.and_then(Value::as_str).unwrap_or_default()
}

/// What the cloud answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub code: u16,
    pub message: String,
    pub object: Option<Arc<Value>>,
}

/// What was at a place, and what is there now.
pub type Change = (Option<Arc<Value>>, Option<Arc<Value>>);

#[derive(Debug, Clone, Default)]
pub struct Cloud {
    pub rv: u64,
    /// Shared with whoever has seen them: a run looks at each far more often than it changes one.
    pub objects: BTreeMap<Place, Arc<Value>>,
    /// What changed, oldest first: what was, and what is.
    pub journal: Vec<Change>,
    /// Namespaces that are not there.
    pub lost_namespaces: BTreeSet<String>,
    /// Resources of which the node may write nothing.
    pub forbidden: BTreeSet<String>,
}

impl Cloud {
    /// Stores an object in a new version.
    pub fn store(&mut self, place: &Place, mut object: Value) -> Arc<Value> {
        self.rv += 1;
        object["metadata"]["resourceVersion"] = self.rv.to_string().into();
        let object = Arc::new(object);
        let before = self.objects.insert(place.clone(), object.clone());
        self.journal.push((before, Some(object.clone())));
        object
    }

    pub fn edit(&mut self, place: &Place, change: impl FnOnce(&mut Value)) {
        if let Some(object) = self.objects.get(place) {
            let mut object = Value::clone(object);
            change(&mut object);
            self.store(place, object);
        }
    }

    pub fn get(&self, place: &Place) -> Option<&Arc<Value>> {
        self.objects.get(place)
    }

    pub fn remove(&mut self, place: &Place) {
        self.rv += 1;
        let before = self.objects.remove(place);
        self.journal.push((before, None));
    }

    /// The pods of the node.
    pub fn pods(&self) -> impl Iterator<Item = (&Place, &Arc<Value>)> {
        self.objects.iter().filter(|((resource, _), object)| {
            resource.resource() == "pods" && text(object, "/spec/nodeName") == NODE
        })
    }

    /// Takes a request of the node, at this second since 1970.
    pub fn take(&mut self, request: &Request, now: i64) -> Reply {
        let Resource { group, version, namespace, resource, name, .. } = &parse(&request.path);
        let named = text(&request.body, "/metadata/name");
        let name = if name.is_empty() { named } else { name };
        let place = (ResourceId::new(group, version, resource, namespace), Key::new(namespace, name));
        match self.judge(request, &place, now) {
            Ok(object) => Reply { code: 200, message: String::new(), object },
            Err(status) => Reply { code: status.code, message: status.message, object: None },
        }
    }

    fn judge(&mut self, request: &Request, place: &Place, now: i64) -> Result<Option<Arc<Value>>, Status> {
        let resource = parse(&request.path);
        let of = resource.group_resource();
        if self.forbidden.contains(&resource.resource) {
            return Err(Status::forbidden(of, &resource.name, "it is forbidden"));
        }
        if self.lost_namespaces.contains(&resource.namespace) {
            return Err(Status::not_found(of, &resource.namespace));
        }
        if request.method == "POST" {
            if self.objects.contains_key(place) {
                return Err(Status::failure(409, "AlreadyExists", "already exists"));
            }
            return Ok(Some(self.store(place, request.body.clone())));
        }
        let Some(present) = self.objects.get(place).cloned() else {
            return Err(Status::not_found(of, &resource.name));
        };
        let kind = Kind::of_resource(&resource.group, &resource.version, &resource.resource).unwrap();
        let served = Served::BuiltIn(kind);
        let write = Write { resource: &resource, served, release: Release::default(), node: Some(NODE) };
        if request.method == "DELETE" {
            match patch::delete(&present, &write, &DeleteOptions::of(&request.body), now)? {
                Deletion::Removed(last) => {
                    self.remove(place);
                    return Ok(Some(Arc::new(last)));
                }
                Deletion::Marked(object) => return Ok(Some(self.store(place, object))),
                Deletion::Pending(object) => return Ok(Some(Arc::new(object))),
            }
        }
        assert_eq!(request.method, "PATCH");
        let form = match request.content_type {
            "application/merge-patch+json" => Form::Merge,
            "application/strategic-merge-patch+json" => Form::Strategic,
            other => panic!("{other}"),
        };
        match patch::patch(&present, &write, form, request.body.to_string().as_bytes())? {
            Outcome::Stored(object) if object == *present => Ok(Some(present)),
            Outcome::Stored(object) => Ok(Some(self.store(place, object))),
            Outcome::Removed(object) => {
                self.remove(place);
                Ok(Some(Arc::new(object)))
            }
        }
    }
}

/// What a path is about.
pub fn parse(path: &str) -> Resource {
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", rest @ ..] => ("", rest),
        ["apis", group, rest @ ..] => (*group, rest),
        other => panic!("no path of the API: {other:?}"),
    };
    let (version, rest) = rest.split_first().unwrap();
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let part = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
    Resource {
        group: group.to_owned(),
        version: (*version).to_owned(),
        namespace: namespace.to_owned(),
        resource: part(0),
        name: part(1),
        subresource: part(2),
        rest: String::new(),
    }
}
