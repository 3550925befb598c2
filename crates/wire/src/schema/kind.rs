//! Which kinds there are, and under which resource names they are served.

use super::Message;
use super::rows::{KINDS, KindRow, name};

/// Options of requests, which every group has as kinds of its own.
const OPTIONS: [&str; 6] =
    ["CreateOptions", "DeleteOptions", "GetOptions", "ListOptions", "PatchOptions", "UpdateOptions"];

/// A built-in kind of a group and version.
#[derive(Clone, Copy)]
pub struct Kind {
    row: &'static KindRow,
}

impl Kind {
    /// The kind of this name; `None` if it is not built in, or newer than the table.
    pub fn find(group: &str, version: &str, kind: &str) -> Option<Kind> {
        let place = KINDS.partition_point(|row| {
            (name(row.group), name(row.version), name(row.kind)) < (group, version, kind)
        });
        let found = KINDS.get(place).map(|row| Kind { row })?;
        ((found.group(), found.version(), found.name()) == (group, version, kind)).then_some(found)
    }

    /// The kind that `apiVersion` and `kind` name. Options of requests are known in every group: a DeleteOptions may
    /// come as one of `storage.k8s.io/v1`.
    pub fn of(api_version: &str, kind: &str) -> Option<Kind> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Kind::find(group, version, kind)
            .or_else(|| OPTIONS.contains(&kind).then(|| Kind::find("", "v1", kind)).flatten())
    }

    /// The kind of the objects that a resource holds: `pods` holds Pods.
    pub fn of_resource(group: &str, version: &str, resource: &str) -> Option<Kind> {
        // It begins as its kind does, so that only some of the ordered kinds come into question.
        let begin = |row: &KindRow| (name(row.group), name(row.version), name(row.kind).bytes().next());
        let wanted = (group, version, resource.bytes().next().map(|byte| byte.to_ascii_uppercase()));
        let place = KINDS.partition_point(|row| begin(row) < wanted);
        let likely = KINDS.iter().skip(place).take_while(|row| begin(row) == wanted);
        likely.map(|row| Kind { row }).find(|kind| is_plural(kind.name(), resource))
    }

    /// All kinds, ordered by group, version and name.
    pub fn all() -> impl Iterator<Item = Kind> {
        KINDS.iter().map(|row| Kind { row })
    }

    /// The message of its objects.
    pub fn message(self) -> Message {
        self.row.message()
    }

    /// API group; empty for the core group.
    pub fn group(self) -> &'static str {
        name(self.row.group)
    }

    /// Version of the group.
    pub fn version(self) -> &'static str {
        name(self.row.version)
    }

    /// The kind's name: `Pod`.
    pub fn name(self) -> &'static str {
        name(self.row.kind)
    }

    /// The list of such objects, if there is one.
    pub fn list(self) -> Option<Kind> {
        Kind::find(self.group(), self.version(), &format!("{}List", self.name()))
    }

    /// `v1` or `group/version`.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} {}", self.group(), self.version(), self.name())
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Kind) -> bool {
        std::ptr::eq(self.row, other.row)
    }
}

impl Eq for Kind {}

/// Whether the resource's name is what the API makes of the kind's: lower case, in the plural
/// (`apimachinery:pkg/api/meta/restmapper.go`).
fn is_plural(kind: &str, resource: &str) -> bool {
    let stem = |suffix: &str, ending: &str| {
        resource.strip_suffix(suffix).is_some_and(|stem| {
            kind.len() == stem.len() + ending.len()
                && kind.get(..stem.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(stem))
                && kind.ends_with(ending)
                && stem.bytes().all(|byte| !byte.is_ascii_uppercase())
        })
    };
    if kind == "Endpoints" {
        resource == "endpoints"
    } else if kind.ends_with('s') {
        stem("es", "")
    } else if kind.ends_with('y') {
        stem("ies", "y")
    } else {
        stem("s", "")
    }
}
