//! `metav1.Status`: the API server's answer where there is no object.
//!
//! The constructors give code, reason, message and details as the API server's own do
//! (`apimachinery:pkg/api/errors/errors.go`, `apiserver:pkg/endpoints/handlers`). None of them sets a time after which
//! to retry: client-go repeats such an answer by itself, up to ten times inside one call.

use std::fmt;

use crate::gotext::quote;
use crate::json::{Node, Tape};
use crate::media::Encoding;
use crate::{json, proto, transcode};

#[cfg(test)]
mod tests;

/// An answer without an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// `Success` or `Failure`.
    pub success: bool,
    /// The HTTP code.
    pub code: u16,
    /// The reason in one word, for programs: `NotFound`, `Expired`…
    pub reason: String,
    /// What happened, for people.
    pub message: String,
    /// What it happened to, and why in particular.
    pub details: Option<Box<Details>>,
}

/// What an answer is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// Name of the object, or the operation where one timed out.
    pub name: String,
    /// API group of the resource.
    pub group: String,
    /// The resource (`pods`), or the kind where a body was refused.
    pub kind: String,
    /// UID of the object.
    pub uid: String,
    /// One entry for each thing that is wrong.
    pub causes: Vec<Cause>,
    /// Seconds after which to try again; 0 for unsaid.
    pub retry_after_seconds: i32,
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cause {
    /// The kind of error: `FieldValueInvalid`, `ResourceVersionTooLarge`…
    pub reason: String,
    /// What is wrong, for people.
    pub message: String,
    /// The field, as a path from the body's root.
    pub field: String,
}

/// A resource in its group; the core group's name is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupResource<'a> {
    /// API group.
    pub group: &'a str,
    /// Plural name: `pods`.
    pub resource: &'a str,
}

impl fmt::Display for GroupResource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

impl GroupResource<'_> {
    fn details(self, name: &str) -> Box<Details> {
        Box::new(Details {
            name: name.to_owned(),
            group: self.group.to_owned(),
            kind: self.resource.to_owned(),
            ..Details::default()
        })
    }
}

impl Status {
    /// A failure with this code, reason and message, without details.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Status {
        Status { success: false, code, reason: reason.to_owned(), message: message.into(), details: None }
    }

    /// 200 for a DELETE that left nothing to show.
    pub fn deleted(of: GroupResource<'_>, name: &str, uid: &str) -> Status {
        let details = Box::new(Details { uid: uid.to_owned(), ..*of.details(name) });
        Status { success: true, code: 0, details: Some(details), ..Status::default() }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Status {
        Status::failure(400, "BadRequest", message)
    }

    /// 401: nobody, or somebody who cannot prove it.
    pub fn unauthorized() -> Status {
        Status::failure(401, "Unauthorized", "Unauthorized")
    }

    /// 403: `why` follows "is forbidden"; see also [`forbidden_text`].
    pub fn forbidden(of: GroupResource<'_>, name: &str, why: &str) -> Status {
        let message = match (of.resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{of} is forbidden: {why}"),
            _ => format!("{of} {} is forbidden: {why}", quote(name)),
        };
        Status { details: Some(of.details(name)), ..Status::failure(403, "Forbidden", message) }
    }

    /// 404: there is no such object, and that is known.
    pub fn not_found(of: GroupResource<'_>, name: &str) -> Status {
        let message = format!("{of} {} not found", quote(name));
        Status { details: Some(of.details(name)), ..Status::failure(404, "NotFound", message) }
    }

    /// 404: nothing is served under this path.
    pub fn no_such_path() -> Status {
        let details = Some(Box::default());
        Status {
            details,
            ..Status::failure(404, "NotFound", "the server could not find the requested resource")
        }
    }

    /// 405: the resource does not know this verb.
    pub fn method_not_allowed(of: GroupResource<'_>, verb: &str) -> Status {
        let message = format!("{verb} is not supported on resources of kind {}", quote(&of.to_string()));
        Status { details: Some(of.details("")), ..Status::failure(405, "MethodNotAllowed", message) }
    }

    /// 406: none of the forms that the caller accepts; `offered` are those there are.
    pub fn not_acceptable(offered: &[&str]) -> Status {
        let message = format!("only the following media types are accepted: {}", offered.join(", "));
        Status::failure(406, "NotAcceptable", message)
    }

    /// 409: an object of this name exists.
    pub fn already_exists(of: GroupResource<'_>, name: &str) -> Status {
        let message = format!("{of} {} already exists", quote(name));
        Status { details: Some(of.details(name)), ..Status::failure(409, "AlreadyExists", message) }
    }

    /// 409: the object is not in the state that the request builds on.
    pub fn conflict(of: GroupResource<'_>, name: &str, why: &str) -> Status {
        let message = format!("Operation cannot be fulfilled on {of} {}: {why}", quote(name));
        Status { details: Some(of.details(name)), ..Status::failure(409, "Conflict", message) }
    }

    /// 409 for a body whose resourceVersion is not the present one.
    pub fn stale(of: GroupResource<'_>, name: &str) -> Status {
        const WHY: &str =
            "the object has been modified; please apply your changes to the latest version and try again";
        Status::conflict(of, name, WHY)
    }

    /// 410: a resourceVersion or continue token from which nothing can be continued.
    pub fn expired(message: impl Into<String>) -> Status {
        Status::failure(410, "Expired", message)
    }

    /// 413: a body above the limit.
    pub fn too_large(message: &str) -> Status {
        let message = format!("Request entity too large: {message}");
        Status::failure(413, "RequestEntityTooLarge", message)
    }

    /// 415: a body in none of the forms that are `accepted`.
    pub fn unsupported_media_type(accepted: &[&str]) -> Status {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Status::failure(415, "UnsupportedMediaType", message)
    }

    /// 422: a body or its options break rules; each cause names a field. `name` is the object's.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Status {
        let of = GroupResource { group, resource: kind };
        let mut texts: Vec<String> = Vec::new();
        for cause in &causes {
            let text = format!("{}: {}", cause.field, cause.message);
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let quoted = quote(name);
        let message = match texts.as_slice() {
            [] => format!("{of} {quoted} is invalid"),
            [one] => format!("{of} {quoted} is invalid: {one}"),
            more => format!("{of} {quoted} is invalid: [{}]", more.join(", ")),
        };
        let details = Box::new(Details { causes, ..*of.details(name) });
        Status { details: Some(details), ..Status::failure(422, "Invalid", message) }
    }

    /// 429: too many at once.
    pub fn too_many_requests(message: impl Into<String>) -> Status {
        Status::failure(429, "TooManyRequests", message)
    }

    /// 431: more header than is read.
    pub fn header_too_large() -> Status {
        Status::failure(431, "", "the request's header fields are too large")
    }

    /// 500: our own fault.
    pub fn internal_error(message: &str) -> Status {
        let causes = vec![Cause { message: message.to_owned(), ..Cause::default() }];
        let details = Some(Box::new(Details { causes, ..Details::default() }));
        let text = format!("Internal error occurred: {message}");
        Status { details, ..Status::failure(500, "InternalError", text) }
    }

    /// 503: it cannot be known or done now.
    pub fn unavailable(message: impl Into<String>) -> Status {
        Status::failure(503, "ServiceUnavailable", message)
    }

    /// 504: it was begun, and its outcome is not known or not reached in time.
    pub fn timeout(message: &str) -> Status {
        let details = Some(Box::default());
        Status { details, ..Status::failure(504, "Timeout", format!("Timeout: {message}")) }
    }

    /// 504 for a resourceVersion that has not been reached; client-go lists anew when it sees the cause.
    pub fn resource_version_too_large(asked: u64, current: u64) -> Status {
        let cause = Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        };
        let details = Box::new(Details { causes: vec![cause], retry_after_seconds: 1, ..Details::default() });
        let text = format!("Too large resource version: {asked}, current: {current}");
        Status { details: Some(details), ..Status::timeout(&text) }
    }

    /// The body of the answer, as the API server writes it in this encoding.
    pub fn encode(&self, encoding: Encoding) -> Vec<u8> {
        match encoding {
            Encoding::Json => self.to_json(),
            Encoding::Protobuf => self.to_protobuf(),
        }
    }

    /// Reads a Status that some server sent; `None` if it is none.
    pub fn decode(bytes: &[u8], encoding: Encoding) -> Option<Status> {
        let made = (encoding == Encoding::Protobuf).then(|| transcode::to_json(bytes).ok());
        let json = match &made {
            Some(made) => &made.as_ref()?.bytes,
            None => bytes,
        };
        let tape = Tape::parse(json).ok()?;
        let root = tape.root();
        if text(root, "kind") != "Status" {
            return None;
        }
        let details = root.member("details").filter(|details| !details.is_null()).map(|details| {
            let causes = details.member("causes").into_iter().flat_map(Node::elements).map(|cause| Cause {
                reason: text(cause, "reason"),
                message: text(cause, "message"),
                field: text(cause, "field"),
            });
            Box::new(Details {
                name: text(details, "name"),
                group: text(details, "group"),
                kind: text(details, "kind"),
                uid: text(details, "uid"),
                causes: causes.collect(),
                retry_after_seconds: number(details, "retryAfterSeconds").unwrap_or(0),
            })
        });
        Some(Status {
            success: text(root, "status") == "Success",
            code: number(root, "code").unwrap_or(0),
            reason: text(root, "reason"),
            message: text(root, "message"),
            details,
        })
    }

    fn word(&self) -> &'static str {
        if self.success { "Success" } else { "Failure" }
    }

    fn to_json(&self) -> Vec<u8> {
        let mut out = br#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"#.to_vec();
        json::push_string(&mut out, self.word());
        push_member(&mut out, "message", &self.message);
        push_member(&mut out, "reason", &self.reason);
        if let Some(details) = &self.details {
            out.extend_from_slice(br#","details":"#);
            details.push_json(&mut out);
        }
        if self.code != 0 {
            out.extend_from_slice(format!(",\"code\":{}", self.code).as_bytes());
        }
        out.extend_from_slice(b"}\n");
        out
    }

    fn to_protobuf(&self) -> Vec<u8> {
        let mut message = Vec::new();
        proto::push_message(&mut message, 1, |out| {
            for list_meta_text in [1, 2, 3] {
                proto::push_string(out, list_meta_text, "");
            }
        });
        proto::push_string(&mut message, 2, self.word());
        proto::push_string(&mut message, 3, &self.message);
        proto::push_string(&mut message, 4, &self.reason);
        if let Some(details) = &self.details {
            proto::push_message(&mut message, 5, |out| details.push_protobuf(out));
        }
        proto::push_varint_field(&mut message, 6, u64::from(self.code));
        proto::envelope("v1", "Status", &message)
    }
}

impl Details {
    fn push_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (name, value) in
            [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)]
        {
            push_member(out, name, value);
        }
        for (at, cause) in self.causes.iter().enumerate() {
            if at == 0 {
                push_separator(out);
                out.extend_from_slice(b"\"causes\":[");
            } else {
                out.push(b',');
            }
            out.push(b'{');
            for (name, value) in
                [("reason", &cause.reason), ("message", &cause.message), ("field", &cause.field)]
            {
                push_member(out, name, value);
            }
            out.push(b'}');
        }
        if !self.causes.is_empty() {
            out.push(b']');
        }
        if self.retry_after_seconds != 0 {
            push_separator(out);
            out.extend_from_slice(format!("\"retryAfterSeconds\":{}", self.retry_after_seconds).as_bytes());
        }
        out.push(b'}');
    }

    fn push_protobuf(&self, out: &mut Vec<u8>) {
        proto::push_string(out, 1, &self.name);
        proto::push_string(out, 2, &self.group);
        proto::push_string(out, 3, &self.kind);
        for cause in &self.causes {
            proto::push_message(out, 4, |out| {
                proto::push_string(out, 1, &cause.reason);
                proto::push_string(out, 2, &cause.message);
                proto::push_string(out, 3, &cause.field);
            });
        }
        proto::push_varint_field(out, 5, i64::from(self.retry_after_seconds).cast_unsigned());
        proto::push_string(out, 6, &self.uid);
    }
}

fn text(object: Node<'_, '_>, name: &str) -> String {
    object.member(name).and_then(Node::text).unwrap_or_default().into_owned()
}

fn number<T: std::str::FromStr>(object: Node<'_, '_>, name: &str) -> Option<T> {
    std::str::from_utf8(object.member(name)?.raw()).ok()?.parse().ok()
}

/// Appends `"name":"value"`, unless the value is empty.
fn push_member(out: &mut Vec<u8>, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    push_separator(out);
    json::push_string(out, name);
    out.push(b':');
    json::push_string(out, value);
}

fn push_separator(out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b'{' | b'[')) {
        out.push(b',');
    }
}

/// Who may not do what, in the words of the API server's authorizer; for [`Status::forbidden`].
///
/// `resource` carries the subresource after a slash where there is one; `namespace` is empty for the cluster scope.
pub fn forbidden_text(user: &str, verb: &str, group: &str, resource: &str, namespace: &str) -> String {
    let scope = match namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {}", quote(namespace)),
    };
    let text = format!(
        "User {} cannot {verb} resource {} in API group {} {scope}",
        quote(user),
        quote(resource),
        quote(group)
    );
    // Nothing that a browser could take for markup.
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
