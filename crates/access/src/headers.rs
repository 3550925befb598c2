//! Headers that say who somebody is, and what becomes of them on the way to the cloud.

/// What becomes of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is taken off: nobody who comes through the hub is the cluster's front proxy
    /// (`k8s.io/apiserver/pkg/authentication/request/headerrequest`).
    Strip,
    /// It asks the API server to act as somebody else. It is the asker's own credential that may do so or not: it goes
    /// along with that, and never with one that the hub lends.
    Impersonation,
    /// It is the asker's own credential.
    Credential,
    /// It says nothing about who asks.
    Pass,
}

/// What becomes of the header `name`, in any case of letters.
#[must_use]
pub fn fate(name: &str) -> Fate {
    let starts =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if starts("x-remote-") {
        Fate::Strip
    } else if starts("impersonate-") {
        Fate::Impersonation
    } else if name.eq_ignore_ascii_case("authorization") {
        Fate::Credential
    } else {
        Fate::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_no_spelling_of_a_front_proxy_header_gets_through() {
        for name in ["X-Remote-User", "x-remote-group", "X-REMOTE-UID", "X-Remote-Extra-Scopes", "x-remote-"]
        {
            assert_eq!(fate(name), Fate::Strip, "{name}");
        }
        for name in ["Impersonate-User", "impersonate-uid", "IMPERSONATE-Extra-a", "Impersonate-Group"] {
            assert_eq!(fate(name), Fate::Impersonation, "{name}");
        }
        assert_eq!(fate("AUTHORIZATION"), Fate::Credential);
        for name in ["x-remote", "accept", "", "é"] {
            assert_eq!(fate(name), Fate::Pass, "{name}");
        }
    }
}
