//! Which API server's rules hold: a few changed between Kubernetes 1.20 and 1.36.

/// The newest minor release whose fields the table of `wire` holds.
const TABLE: u16 = 36;

/// A minor release of Kubernetes 1, that of the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release(u16);

impl Default for Release {
    /// The release of the field table.
    fn default() -> Release {
        Release(TABLE)
    }
}

impl Release {
    /// The release with this minor number.
    pub fn minor(minor: u16) -> Release {
        Release(minor)
    }

    /// Reads `gitVersion` as `/version` says it (`v1.20.2`, `v1.31.4+k3s1`); `None` if it is not Kubernetes 1.
    pub fn parse(git_version: &str) -> Option<Release> {
        let rest = git_version.strip_prefix("v1.")?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok().map(Release)
    }

    /// Whether the cloud may know fields that the table does not.
    pub(crate) fn is_newer_than_table(self) -> bool {
        self.0 > TABLE
    }

    /// Whether values that a strategic merge patch adds are cleaned of directives and nulls first
    /// (`removeDirectives`, `discardNullValuesFromPatch` in `strategicpatch/patch.go`). Older ones take them as they
    /// stand; what is left of them then is a field nobody knows.
    pub(crate) fn cleans_added_values(self) -> bool {
        self.0 >= 27
    }

    /// Whether a merge patch keeps nulls inside of arrays (`json-patch` 4.13), as RFC 7386 has it.
    pub(crate) fn keeps_nulls_in_arrays(self) -> bool {
        self.0 >= 30
    }

    /// Whether the body of a patch is decoded strictly first, so that what is no object at all is a 400
    /// (field validation).
    pub(crate) fn validates_fields(self) -> bool {
        self.0 >= 25
    }

    /// Whether a status keeps the QoS class and the observed generations that a write leaves out.
    pub(crate) fn keeps_status_of_pods(self) -> bool {
        self.0 >= 29
    }

    /// Whether a namespace in the body that is not the request's is found before the name is looked at
    /// (`EnsureObjectNamespaceMatchesRequestNamespace`).
    pub(crate) fn checks_namespace_first(self) -> bool {
        self.0 >= 24
    }

    /// Whether a kubelet may not change who owns its node (CVE-2025-5187; since 1.31.12, 1.32.8 and 1.33.4).
    pub(crate) fn guards_owners_of_nodes(self) -> bool {
        self.0 >= 31
    }

    /// Whether services are stored as everything else is. Before, they were judged once more by themselves, and only then was
    /// the resourceVersion looked at (`pkg/registry/core/service/storage/rest.go`).
    pub(crate) fn stores_services_as_all(self) -> bool {
        self.0 >= 23
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_from_what_servers_say() {
        for (text, minor) in [("v1.20.2", 20), ("v1.31.4+k3s1", 31), ("v1.36.0-rc.1", 36), ("v1.9", 9)] {
            assert_eq!(Release::parse(text), Some(Release::minor(minor)), "{text}");
        }
        for text in ["", "1.20", "v2.0.0", "v1.", "v1.x"] {
            assert_eq!(Release::parse(text), None, "{text}");
        }
    }
}
