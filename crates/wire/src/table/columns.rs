//! The columns of each kind.

use crate::schema::Kind;

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub name: &'static str,
    /// `string` or `integer`.
    pub kind: &'static str,
    /// `name` for the column that names the object.
    pub format: &'static str,
    /// 0 is always shown, 1 only by `-o wide`.
    pub priority: u8,
}

const NAME: Column = Column { format: "name", ..text("Name") };
const AGE: Column = text("Age");

const fn text(name: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 0 }
}

const fn wide(name: &'static str) -> Column {
    Column { priority: 1, ..text(name) }
}

const fn number(name: &'static str) -> Column {
    Column { kind: "integer", ..text(name) }
}

/// Columns by group and kind; all others have name and age.
const COLUMNS: [(&str, &str, &[Column]); 16] = [
    (
        "",
        "Pod",
        &[
            NAME,
            text("Ready"),
            text("Status"),
            text("Restarts"),
            AGE,
            wide("IP"),
            wide("Node"),
            wide("Nominated Node"),
            wide("Readiness Gates"),
        ],
    ),
    (
        "",
        "Node",
        &[
            NAME,
            text("Status"),
            text("Roles"),
            AGE,
            text("Version"),
            wide("Internal-IP"),
            wide("External-IP"),
            wide("OS-Image"),
            wide("Kernel-Version"),
            wide("Container-Runtime"),
        ],
    ),
    (
        "",
        "Service",
        &[
            NAME,
            text("Type"),
            text("Cluster-IP"),
            text("External-IP"),
            text("Port(s)"),
            AGE,
            wide("Selector"),
        ],
    ),
    ("", "Endpoints", &[NAME, text("Endpoints"), AGE]),
    ("", "Event", EVENT),
    ("events.k8s.io", "Event", EVENT),
    ("", "ConfigMap", &[NAME, text("Data"), AGE]),
    ("", "Secret", &[NAME, text("Type"), text("Data"), AGE]),
    ("", "Namespace", &[NAME, text("Status"), AGE]),
    (
        "apps",
        "Deployment",
        &[
            NAME,
            text("Ready"),
            text("Up-to-date"),
            text("Available"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
    ),
    (
        "apps",
        "DaemonSet",
        &[
            NAME,
            number("Desired"),
            number("Current"),
            number("Ready"),
            number("Up-to-date"),
            number("Available"),
            text("Node Selector"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
    ),
    ("apps", "StatefulSet", &[NAME, text("Ready"), AGE, wide("Containers"), wide("Images")]),
    (
        "apps",
        "ReplicaSet",
        &[
            NAME,
            number("Desired"),
            number("Current"),
            number("Ready"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
    ),
    (
        "batch",
        "Job",
        &[
            NAME,
            text("Status"),
            text("Completions"),
            text("Duration"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
    ),
    (
        "discovery.k8s.io",
        "EndpointSlice",
        &[NAME, text("AddressType"), text("Ports"), text("Endpoints"), AGE],
    ),
    ("coordination.k8s.io", "Lease", &[NAME, text("Holder"), AGE]),
];

const EVENT: &[Column] = &[
    text("Last Seen"),
    text("Type"),
    text("Reason"),
    text("Object"),
    wide("Subobject"),
    wide("Source"),
    text("Message"),
    wide("First Seen"),
    wide("Count"),
    Column { priority: 1, ..NAME },
];

/// The columns of a kind; `None` for a custom one.
pub(super) fn columns(kind: Option<Kind>) -> &'static [Column] {
    let own = kind.and_then(|kind| {
        COLUMNS.iter().find(|(group, name, _)| (*group, *name) == (kind.group(), kind.name()))
    });
    own.map_or(&[NAME, AGE], |(.., columns)| columns)
}
