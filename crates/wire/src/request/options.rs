//! The options of reads (`apimachinery:pkg/apis/meta/v1` ListOptions, `…/meta/internalversion/validation`).

use super::{Query, Request};
use crate::gotext::{parse_int64, quote};
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::{Cause, Status};

/// How `resourceVersion` is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionMatch {
    /// Exactly the state of that moment.
    Exact,
    /// At least as new.
    NotOlderThan,
}

/// What a list or a watch asks for, with the API server's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListOptions {
    /// Objects with these labels.
    pub label_selector: LabelSelector,
    /// Objects with these fields; the name in the path is one of them.
    pub field_selector: FieldSelector,
    /// Whether changes are to be followed.
    pub watch: bool,
    /// Whether the watch may send bookmarks.
    pub allow_watch_bookmarks: bool,
    /// `""`, `"0"`, or a resourceVersion as some server wrote it.
    pub resource_version: String,
    /// How that is meant.
    pub version_match: Option<VersionMatch>,
    /// Seconds after which the server is to end the call; the sign is not checked, as there.
    pub timeout_seconds: Option<i64>,
    /// At most so many objects; 0 for all.
    pub limit: i64,
    /// Where an earlier list broke off.
    pub continue_token: String,
    /// Whether a watch begins with the present state. Set by itself for a watch from `""` or `"0"`.
    pub send_initial_events: Option<bool>,
}

impl ListOptions {
    /// The options of a request whose verb is list or watch. 400 for what cannot be read, 422 for what contradicts
    /// itself, 400 for a `shardSelector`, which no server takes unless an alpha feature is on.
    pub fn of(request: &Request) -> Result<ListOptions, Status> {
        if request.query.first("shardSelector").is_some_and(|selector| !selector.is_empty()) {
            return Err(Status::bad_request("shardSelector is not supported"));
        }
        let mut options = ListOptions::decode(&request.query)?;
        options.watch |= request.verb == super::Verb::Watch;
        let version_match = request.query.first("resourceVersionMatch").unwrap_or_default();
        let version_match = options.set_defaults(version_match);
        options.validate(version_match)?;
        let name = request.resource.as_ref().map_or("", |resource| resource.name.as_str());
        if !name.is_empty() {
            options.take_name(name)?;
        }
        Ok(options)
    }

    /// Reads the query without judging it.
    pub(super) fn decode(query: &Query) -> Result<ListOptions, Status> {
        let text = |name| query.first(name).unwrap_or_default();
        let number = |name| query.first(name).map(parse_int64).transpose().map_err(Status::bad_request);
        Ok(ListOptions {
            timeout_seconds: number("timeoutSeconds")?,
            limit: number("limit")?.unwrap_or(0),
            label_selector: text("labelSelector").parse().map_err(Status::bad_request)?,
            field_selector: text("fieldSelector").parse().map_err(Status::bad_request)?,
            watch: query.first("watch").is_some_and(is_true),
            allow_watch_bookmarks: query.first("allowWatchBookmarks").is_some_and(is_true),
            resource_version: text("resourceVersion").to_owned(),
            version_match: version_match(text("resourceVersionMatch")),
            continue_token: text("continue").to_owned(),
            send_initial_events: query.first("sendInitialEvents").map(is_true),
        })
    }

    /// Whether this watch begins with the present state and says when that is complete.
    pub fn is_watch_list(&self) -> bool {
        self.watch && self.send_initial_events == Some(true) && self.allow_watch_bookmarks
    }

    /// Sets what a watch from nowhere has by default; the result is `resourceVersionMatch` after that, as text.
    fn set_defaults<'a>(&mut self, version_match: &'a str) -> &'a str {
        let from_now = matches!(self.resource_version.as_str(), "" | "0");
        if self.watch && from_now && self.send_initial_events.is_none() && version_match.is_empty() {
            self.send_initial_events = Some(true);
            self.version_match = Some(VersionMatch::NotOlderThan);
            return "NotOlderThan";
        }
        version_match
    }

    fn validate(&self, version_match: &str) -> Result<(), Status> {
        let causes =
            if self.watch { self.watch_faults(version_match) } else { self.list_faults(version_match) };
        if causes.is_empty() {
            Ok(())
        } else {
            Err(Status::invalid("meta.k8s.io", "ListOptions", "", causes))
        }
    }

    fn list_faults(&self, version_match: &str) -> Vec<Cause> {
        const FIELD: &str = "resourceVersionMatch";
        let mut causes = Vec::new();
        if !version_match.is_empty() {
            if self.resource_version.is_empty() {
                causes.push(forbidden(
                    FIELD,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            if !self.continue_token.is_empty() {
                causes.push(forbidden(FIELD, "resourceVersionMatch is forbidden when continue is provided"));
            }
            if self.version_match.is_none() {
                causes.push(unsupported(FIELD, version_match, r#""Exact", "NotOlderThan", """#));
            }
            if self.version_match == Some(VersionMatch::Exact) && self.resource_version == "0" {
                let text = r#"resourceVersionMatch "exact" is forbidden for resourceVersion "0""#;
                causes.push(forbidden(FIELD, text));
            }
        }
        if self.send_initial_events.is_some() {
            causes.push(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        causes
    }

    fn watch_faults(&self, version_match: &str) -> Vec<Cause> {
        const FIELD: &str = "resourceVersionMatch";
        let mut causes = Vec::new();
        let not_older = self.version_match == Some(VersionMatch::NotOlderThan);
        if self.send_initial_events.is_some() && !not_older {
            let text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(forbidden(FIELD, text));
        }
        if !version_match.is_empty() {
            if self.send_initial_events.is_none() {
                let text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                causes.push(forbidden(FIELD, text));
            }
            if !not_older {
                causes.push(unsupported(FIELD, version_match, r#""NotOlderThan""#));
            }
            if !self.continue_token.is_empty() {
                causes.push(forbidden(FIELD, "resourceVersionMatch is forbidden when continue is provided"));
            }
        }
        causes
    }

    /// A name in the path is the same as a selector of it.
    fn take_name(&mut self, name: &str) -> Result<(), Status> {
        if self.field_selector.is_empty() {
            self.field_selector = FieldSelector::name(name);
        } else if self.field_selector.exact("metadata.name") != Some(name) {
            return Err(Status::bad_request("fieldSelector metadata.name doesn't match requested name"));
        }
        Ok(())
    }
}

/// What a GET of one object asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GetOptions {
    /// `""`, `"0"`, or a resourceVersion that the answer must not be older than.
    pub resource_version: String,
}

impl GetOptions {
    /// The options of a request whose verb is get.
    pub fn of(request: &Request) -> GetOptions {
        GetOptions { resource_version: request.query.first("resourceVersion").unwrap_or_default().to_owned() }
    }
}

/// Any value but `0` and `false` is true, the empty one too.
fn is_true(value: &str) -> bool {
    !(value == "0" || value.eq_ignore_ascii_case("false"))
}

fn version_match(text: &str) -> Option<VersionMatch> {
    match text {
        "Exact" => Some(VersionMatch::Exact),
        "NotOlderThan" => Some(VersionMatch::NotOlderThan),
        _ => None,
    }
}

fn forbidden(field: &str, detail: &str) -> Cause {
    Cause {
        reason: "FieldValueForbidden".to_owned(),
        message: format!("Forbidden: {detail}"),
        field: field.to_owned(),
    }
}

fn unsupported(field: &str, value: &str, supported: &str) -> Cause {
    Cause {
        reason: "FieldValueNotSupported".to_owned(),
        message: format!("Unsupported value: {}: supported values: {supported}", quote(value)),
        field: field.to_owned(),
    }
}
