//! Who asks, and what they may do.

mod node;

use wire::request::Request;
use wire::status::forbidden_text;
use wire::{Resource, Status};

use super::store::Store;

/// A caller who has been recognised.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct User {
    /// The name: a certificate's CN, a service account's `system:serviceaccount:…`.
    pub name: String,
    /// The groups: a certificate's O among them.
    pub groups: Vec<String>,
    /// The uid, where there is one.
    pub uid: String,
}

impl User {
    /// A user with these groups, and that of everybody who is somebody.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        groups.push("system:authenticated".into());
        Self { name: name.to_owned(), groups, uid: String::new() }
    }

    /// The identity of the node's kubelet.
    pub fn node(node: &str) -> Self {
        Self::new(&format!("system:node:{node}"), &["system:nodes"])
    }

    /// Somebody who may do everything.
    pub fn admin() -> Self {
        Self::new("admin", &["system:masters"])
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let of_namespace = format!("system:serviceaccounts:{namespace}");
        let user = Self::new(
            &format!("system:serviceaccount:{namespace}:{name}"),
            &["system:serviceaccounts", &of_namespace],
        );
        Self { uid: uid.to_owned(), ..user }
    }

    /// Somebody who showed no credential.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            uid: String::new(),
        }
    }

    /// The node whose kubelet this is.
    pub fn as_node(&self) -> Option<&str> {
        self.name.strip_prefix("system:node:").filter(|_| self.is_in("system:nodes"))
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// Something that somebody may do. What is left empty is not limited.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    user: String,
    group: String,
    verbs: Vec<String>,
    api_group: String,
    resources: Vec<String>,
    namespace: String,
    names: Vec<String>,
}

impl Rule {
    /// For one user.
    pub fn user(name: &str) -> Self {
        Self { user: name.to_owned(), ..Self::default() }
    }

    /// For all of a group.
    pub fn group(name: &str) -> Self {
        Self { group: name.to_owned(), ..Self::default() }
    }

    /// These verbs.
    #[must_use]
    pub fn can(self, verbs: &[&str]) -> Self {
        Self { verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(), ..self }
    }

    /// On these resources of an API group; subresources after a slash.
    #[must_use]
    pub fn on(self, api_group: &str, resources: &[&str]) -> Self {
        let resources = resources.iter().map(|one| (*one).to_owned()).collect();
        Self { api_group: api_group.to_owned(), resources, ..self }
    }

    /// Only in this namespace.
    #[must_use]
    pub fn within(self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self }
    }

    /// Only objects of these names. As in RBAC, a list or watch is then allowed only with the name in the path or in
    /// the field selector.
    #[must_use]
    pub fn named(self, names: &[&str]) -> Self {
        Self { names: names.iter().map(|name| (*name).to_owned()).collect(), ..self }
    }

    fn allows(&self, user: &User, asked: &Asked<'_>) -> bool {
        let whom = if self.user.is_empty() { user.is_in(&self.group) } else { self.user == user.name };
        let any =
            |list: &[String], one: &str| list.is_empty() || list.iter().any(|own| own == one || own == "*");
        whom && any(&self.verbs, asked.verb)
            && (self.resources.is_empty() || self.api_group == asked.of.group)
            && any(&self.resources, &asked.resource())
            && (self.namespace.is_empty() || self.namespace == asked.of.namespace)
            && any(&self.names, &asked.of.name)
    }
}

/// What is asked for, as authorisation sees it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The verb.
    pub verb: &'a str,
    /// The resource.
    pub of: &'a Resource,
    /// The request, for its selectors; a review has none.
    pub request: Option<&'a Request>,
}

impl Asked<'_> {
    fn resource(&self) -> String {
        match self.of.subresource.as_str() {
            "" => self.of.resource.clone(),
            sub => format!("{}/{sub}", self.of.resource),
        }
    }
}

/// Whether a user may; `Err` is why not beyond "no rule says so".
pub fn allowed(rules: &[Rule], store: &Store, user: &User, asked: &Asked<'_>) -> Result<(), String> {
    let review = asked.verb == "create"
        && asked.of.group == "authorization.k8s.io"
        && asked.of.resource.starts_with("selfsubject");
    if user.is_in("system:masters")
        || review && user.is_in("system:authenticated")
        || rules.iter().any(|rule| rule.allows(user, asked))
    {
        return Ok(());
    }
    match user.as_node() {
        Some(node) => node::allowed(store, node, asked),
        None => Err(String::new()),
    }
}

/// Judges a whole request.
///
/// # Errors
/// 403 in the API server's words.
pub fn authorise(rules: &[Rule], store: &Store, user: &User, request: &Request) -> Result<(), Status> {
    let verb = request.verb.as_str();
    let Some(of) = &request.resource else { return path_allowed(user, verb, &request.path) };
    let asked = Asked { verb, of, request: Some(request) };
    allowed(rules, store, user, &asked).map_err(|why| {
        let mut text = forbidden_text(&user.name, verb, &of.group, &asked.resource(), &of.namespace);
        if !why.is_empty() {
            text = format!("{text}: {why}");
        }
        Status::forbidden(of.group_resource(), &of.name, &text)
    })
}

/// What a cluster's default roles let people read that is no resource: `system:public-info-viewer`,
/// `system:discovery`, `system:service-account-issuer-discovery`.
fn path_allowed(user: &User, verb: &str, path: &str) -> Result<(), Status> {
    let under = |roots: &[&str]| {
        roots
            .iter()
            .any(|root| path == *root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/')))
    };
    let public = matches!(path, "/healthz" | "/livez" | "/readyz" | "/version" | "/version/");
    let discovery = under(&["/api", "/apis", "/openapi", "/version", "/healthz", "/livez", "/readyz"]);
    let issuer = under(&["/openid", "/.well-known/openid-configuration"]);
    let may = user.is_in("system:masters")
        || verb == "get"
            && (public
                || discovery && user.is_in("system:authenticated")
                || issuer && user.is_in("system:serviceaccounts"));
    if may {
        return Ok(());
    }
    let text = format!("User \"{}\" cannot {verb} path \"{path}\"", user.name);
    let nothing = Resource::default();
    Err(Status::forbidden(nothing.group_resource(), "", &text))
}

/// Whether somebody may act as somebody else; the headers that ask for it stand in the request.
///
/// # Errors
/// 403 in the API server's words.
pub fn may_impersonate(rules: &[Rule], store: &Store, user: &User, whom: &str) -> Result<(), Status> {
    let of = Resource { resource: "users".into(), name: whom.to_owned(), ..Resource::default() };
    let verb = "impersonate";
    allowed(rules, store, user, &Asked { verb, of: &of, request: None }).map_err(|_| {
        let text = forbidden_text(&user.name, verb, "", "users", "");
        Status::forbidden(of.group_resource(), whom, &text)
    })
}
