//! What a request is about: method, path and query, read as the API server reads them.
//!
//! The rules are those of `apiserver:pkg/endpoints/request/requestinfo.go`, so that what is judged here is what the API
//! server would act on. The path is percent-decoded once, as a whole, and only then cut at its slashes: `pods%2Flog`
//! is the subresource `log` there and here.

mod options;
mod query;

#[cfg(test)]
mod tests;

pub use options::{GetOptions, ListOptions, VersionMatch};
pub use query::{Query, percent_decode};

use crate::selector::FieldSelector;
use crate::status::Status;

/// What is done to a resource, or the lower-case HTTP method of a request that is about none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verb {
    /// One object is read.
    Get,
    /// All objects of a set are read.
    List,
    /// Changes of a set, or of one object, are followed.
    Watch,
    /// An object or subresource is made.
    Create,
    /// An object is replaced.
    Update,
    /// An object is changed.
    Patch,
    /// One object is deleted.
    Delete,
    /// All objects of a set are deleted.
    DeleteCollection,
    /// The old prefix `proxy`.
    Proxy,
    /// A method of HTTP in lower case, where the request is about no resource; empty for an odd method on a resource.
    Other(String),
}

impl Verb {
    /// The verb as RBAC writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Proxy => "proxy",
            Verb::Other(method) => method,
        }
    }

    /// Whether objects are only read.
    pub fn is_read(&self) -> bool {
        matches!(self, Verb::Get | Verb::List | Verb::Watch)
    }
}

/// The resource that a request is about. Every text is empty where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version of the group.
    pub version: String,
    /// Namespace; empty for all of them and for what has none.
    pub namespace: String,
    /// Plural name: `pods`.
    pub resource: String,
    /// Name of the object, from the path or from `fieldSelector=metadata.name=…`.
    pub name: String,
    /// Subresource: `status`, `log`…
    pub subresource: String,
    /// What stands in the path after the subresource, decoded, without a leading slash.
    pub rest: String,
}

impl Resource {
    /// Group and resource, for [`Status`].
    pub fn group_resource(&self) -> crate::status::GroupResource<'_> {
        crate::status::GroupResource { group: &self.group, resource: &self.resource }
    }

    /// `v1` or `group/version`, as `apiVersion` says it.
    pub fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }
}

/// A request, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The path, decoded.
    pub path: String,
    /// What is done.
    pub verb: Verb,
    /// What it is done to; `None` for requests that are about no resource (`/version`, `/apis/apps`, `/healthz`).
    pub resource: Option<Resource>,
    /// Whether the verb stood in the path (`/api/v1/watch/…`): such a request knows no selectors in authorisation.
    pub verb_in_path: bool,
    /// The query.
    pub query: Query,
}

impl Request {
    /// Reads a request line: the method, and the target as it stands there (path, and query after a question mark).
    ///
    /// 400 for a path with a broken escape; 500, as the API server has it, for `/api/v1/watch` with nothing after it.
    pub fn parse(method: &str, target: &str) -> Result<Request, Status> {
        let (raw_path, raw_query) = target.split_once('?').unwrap_or((target, ""));
        let path = percent_decode(raw_path)
            .ok_or_else(|| Status::bad_request("the path of the request has a broken percent escape"))?;
        let verb = Verb::Other(method.to_lowercase());
        let query = Query::parse(raw_query);
        let mut request = Request { path, verb, resource: None, verb_in_path: false, query };
        if let Some((resource, verb, verb_in_path)) = resource(method, &request.path)? {
            (request.resource, request.verb, request.verb_in_path) = (Some(resource), verb, verb_in_path);
            request.refine();
        }
        Ok(request)
    }

    /// Tells list and watch from get, and deletecollection from delete; a name may come from the field selector.
    fn refine(&mut self) {
        let Some(resource) = self.resource.as_mut().filter(|resource| resource.name.is_empty()) else {
            return;
        };
        match self.verb {
            Verb::Get => {
                let (watch, selector) = list_or_watch(&self.query);
                self.verb = if watch { Verb::Watch } else { Verb::List };
                let name = selector.as_ref().and_then(|selector| selector.exact("metadata.name"));
                if let Some(name) = name.filter(|name| is_path_segment(name)) {
                    name.clone_into(&mut resource.name);
                }
            }
            Verb::Delete => self.verb = Verb::DeleteCollection,
            _ => {}
        }
    }
}

/// Whether a watch is asked for, and the field selector; of options that cannot be read only the former is known.
fn list_or_watch(query: &Query) -> (bool, Option<FieldSelector>) {
    match ListOptions::decode(query) {
        Ok(options) => (options.watch, Some(options.field_selector)),
        Err(_) => (
            query.first("watch").is_some_and(|value| !["false", "0"].contains(&&*value.to_lowercase())),
            None,
        ),
    }
}

/// Whether a name can stand in a path (`apimachinery:pkg/api/validate/content/path.go`).
pub fn is_path_segment(name: &str) -> bool {
    !(name == "." || name == ".." || name.contains(['/', '%']))
}

type Found = (Resource, Verb, bool);

/// The resource in a decoded path, the verb, and whether the verb stood in the path.
fn resource(method: &str, path: &str) -> Result<Option<Found>, Status> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Ok(None),
    };
    let (verb, rest) = match rest {
        [prefix @ ("proxy" | "watch")] => {
            let message =
                format!("unable to determine kind and namespace from url, {prefix} with nothing after it");
            return Err(Status::internal_error(&message));
        }
        ["proxy", rest @ ..] => (Some(Verb::Proxy), rest),
        ["watch", rest @ ..] => (Some(Verb::Watch), rest),
        rest => (None, rest),
    };
    let verb_in_path = verb.is_some();
    let verb = verb.unwrap_or_else(|| verb_of(method));
    let (namespace, rest) = match rest {
        // A namespace's own subresources; any third part but these is a resource inside it.
        ["namespaces", namespace, inner, ..] if !matches!(*inner, "status" | "finalize") => {
            (*namespace, rest.get(2..).unwrap_or_default())
        }
        ["namespaces", namespace, ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let part = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
    let with_subresource = verb != Verb::Proxy;
    let after = if with_subresource { 3 } else { 2 };
    let resource = Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        resource: part(0),
        name: part(1),
        subresource: if with_subresource { part(2) } else { String::new() },
        rest: rest.get(after..).unwrap_or_default().join("/"),
    };
    Ok(Some((resource, verb, verb_in_path)))
}

/// Methods are compared as they stand: HTTP's are in capitals.
fn verb_of(method: &str) -> Verb {
    match method {
        "GET" | "HEAD" => Verb::Get,
        "POST" => Verb::Create,
        "PUT" => Verb::Update,
        "PATCH" => Verb::Patch,
        "DELETE" => Verb::Delete,
        _ => Verb::Other(String::new()),
    }
}
