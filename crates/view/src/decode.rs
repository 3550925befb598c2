//! Reading what the view must know out of an object's bytes.

use wire::Encoding;

use crate::object::{Header, Object};
use crate::resource::{Key, ResourceId};
use crate::version::{CloudRv, Shown};

/// The fields that selectors of a resource know, other than name and namespace (`pkg/registry/*/*/strategy.go`,
/// `ToSelectableFields`), and what stands for one that is absent.
fn selectable(resource: &ResourceId) -> &'static [(&'static str, &'static str)] {
    match (resource.group(), resource.resource()) {
        ("", "pods") => &[
            ("spec.nodeName", ""),
            ("spec.restartPolicy", ""),
            ("spec.schedulerName", ""),
            ("spec.serviceAccountName", ""),
            ("spec.hostNetwork", "false"),
            ("status.phase", ""),
            ("status.podIP", ""),
            ("status.nominatedNodeName", ""),
        ],
        ("", "services") => &[("spec.clusterIP", ""), ("spec.type", "")],
        ("", "nodes") => &[("spec.unschedulable", "false")],
        ("", "namespaces") => &[("status.phase", "")],
        ("", "secrets") => &[("type", "")],
        ("", "events") => &[
            ("involvedObject.kind", ""),
            ("involvedObject.namespace", ""),
            ("involvedObject.name", ""),
            ("involvedObject.uid", ""),
            ("involvedObject.apiVersion", ""),
            ("involvedObject.resourceVersion", ""),
            ("involvedObject.fieldPath", ""),
            ("reason", ""),
            ("reportingComponent", ""),
            ("type", ""),
        ],
        ("resource.k8s.io", "resourceslices") => &[("spec.nodeName", ""), ("spec.driver", "")],
        ("certificates.k8s.io", "podcertificaterequests") => &[("spec.nodeName", "")],
        ("certificates.k8s.io", "certificatesigningrequests") => &[("spec.signerName", "")],
        ("batch", "jobs") => &[("status.successful", "0")],
        _ => &[],
    }
}

/// Whether the view can judge this field of a resource.
pub(crate) fn is_selectable(resource: &ResourceId, field: &str) -> bool {
    matches!(field, "metadata.name" | "metadata.namespace")
        || selectable(resource).iter().any(|(own, _)| *own == field)
}

/// Bytes that are no object which the view can keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// An object of a resource, as the cloud sent it.
///
/// # Errors
/// When the bytes are no object, or one without name, UID or a version that a server writes.
pub fn read(resource: &ResourceId, bytes: Vec<u8>, encoding: Encoding) -> Result<Object, Unreadable> {
    let header = header(resource, &bytes, encoding)?;
    Ok(Object::new(header, encoding, bytes))
}

pub(crate) fn header(resource: &ResourceId, bytes: &[u8], encoding: Encoding) -> Result<Header, Unreadable> {
    let failed = |what: &str| Unreadable(format!("an object of {resource} cannot be read: {what}"));
    let object = wire::object::Object::parse(bytes, encoding).map_err(|error| failed(&error.to_string()))?;
    let header = object.header();
    if header.name.is_empty() || header.uid.is_empty() {
        return Err(failed("it has no name or no uid"));
    }
    let rv = CloudRv::parse(&header.resource_version).ok_or_else(|| failed("its resourceVersion is none"))?;
    let mut fields = Vec::new();
    for (path, absent) in selectable(resource) {
        let parts: Vec<&str> = path.split('.').collect();
        let value = object.text(&parts).unwrap_or_else(|| (*absent).into());
        if !value.is_empty() {
            fields.push((*path, value));
        }
    }
    let labels = header.labels.iter().map(|(key, value)| (&**key, &**value));
    let fields = fields.iter().map(|(path, value)| (*path, value.as_ref()));
    let key = Key::new(&header.namespace, &header.name);
    Ok(Header::new(key, &header.uid, rv, header.deleting, labels, fields))
}

/// The object with this resourceVersion in its bytes. Bytes that cannot be changed stay as they are: they came from the
/// cloud and were read before.
pub(crate) fn numbered(object: Object, shown: Shown) -> Object {
    let Some(bytes) = object.bytes() else { return object };
    match wire::object::with_resource_version(bytes, object.encoding, &shown.to_string()) {
        Ok(bytes) => Object { body: crate::object::Body::Held(bytes.into()), ..object },
        Err(_) => object,
    }
}
