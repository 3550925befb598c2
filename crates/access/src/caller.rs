//! Who calls, as the API server's authenticators would say it.

use std::fmt;

/// The prefix of a node's user name, and the group that all nodes are in
/// (`k8s.io/apiserver/pkg/authentication/user`, `plugin/pkg/auth/nodeidentifier`).
const NODE_PREFIX: &str = "system:node:";
const NODES: &str = "system:nodes";

/// A user as a client certificate names it: the common name and the organisations of its subject
/// (`k8s.io/apiserver/pkg/authentication/request/x509`, `CommonNameUserConversion`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct User {
    /// The common name.
    pub name: String,
    /// The organisations, in the order of the certificate.
    pub groups: Vec<String>,
}

impl User {
    /// The user that the node `node` is.
    #[must_use]
    pub fn node(node: &str) -> Self {
        Self { name: format!("{NODE_PREFIX}{node}"), groups: vec![NODES.to_owned()] }
    }

    /// Whether this is the node `node`, by name and group.
    #[must_use]
    pub fn is_node(&self, node: &str) -> bool {
        self.name.strip_prefix(NODE_PREFIX) == Some(node) && self.groups.iter().any(|group| group == NODES)
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Who signed a client certificate whose chain was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The hub's own authority: it signs for kubelet and for this node's operator, and for nobody else.
    Hub,
    /// The cluster's authority.
    Cluster,
}

/// What a connection and a request brought to tell who calls.
#[derive(Debug, Clone, Copy)]
pub struct Brought<'a> {
    /// The user of the client certificate, and who signed it; `Err` when there was one that does not count.
    pub certificate: Option<Result<(&'a User, Signer), &'a str>>,
    /// The value of the header `Authorization`.
    pub authorization: Option<&'a [u8]>,
}

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// kubelet of this node: with the certificate that the hub minted for it, or with the node's own.
    Kubelet,
    /// This node's operator, with a certificate of the hub's.
    Operator(User),
    /// Somebody with a certificate of the cluster's.
    Certified(User),
    /// Somebody with a credential in the request's header, which only the API server can judge.
    Bearer,
    /// Somebody who brought nothing.
    Anonymous,
}

/// A caller who is nobody: the API server answers 401.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unauthenticated {
    /// What was wrong with what they brought.
    pub why: String,
}

/// The bearer token in a header `Authorization`, read as an API server reads it: what stands between the first space and the
/// second. Of two spaces in a row it reads no token at all, and takes the caller for anonymous; any other scheme proves
/// nothing to it either (`k8s.io/apiserver/pkg/authentication/request/bearertoken`).
#[must_use]
pub fn bearer_token(authorization: &[u8]) -> Option<&[u8]> {
    let mut parts = authorization.trim_ascii().splitn(3, |byte| *byte == b' ');
    let (scheme, token) = (parts.next()?, parts.next()?);
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

/// Who calls the hub of the node `node`. As on the API server a certificate comes before a header, and a certificate that
/// does not count spoils a request only when nothing else came with it.
///
/// # Errors
///
/// A certificate that does not count, alone.
pub fn caller(node: &str, brought: &Brought<'_>) -> Result<Caller, Unauthenticated> {
    match brought.certificate {
        Some(Ok((user, _))) if user.is_node(node) => Ok(Caller::Kubelet),
        Some(Ok((user, Signer::Hub))) => Ok(Caller::Operator(user.clone())),
        Some(Ok((user, Signer::Cluster))) => Ok(Caller::Certified(user.clone())),
        _ if brought.authorization.and_then(bearer_token).is_some() => Ok(Caller::Bearer),
        Some(Err(why)) => Err(Unauthenticated { why: why.to_owned() }),
        None => Ok(Caller::Anonymous),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_a_token_is_what_the_api_server_takes_for_it() {
        for header in ["Bearer t", "bearer t", "BEARER t ", "Bearer t more"] {
            assert_eq!(bearer_token(header.as_bytes()), Some(&b"t"[..]), "{header:?}");
        }
        // The API server takes each of these for anonymous, and answers what everybody may read.
        for header in ["Bearer  t", "Bearer", "Bearer ", "Bearer\tt", "Basic t", "", "Bearer  "] {
            assert_eq!(bearer_token(header.as_bytes()), None, "{header:?}");
        }
    }

    fn by(
        user: &User,
        signer: Signer,
        authorization: Option<&'static [u8]>,
    ) -> Result<Caller, Unauthenticated> {
        caller("edge-1", &Brought { certificate: Some(Ok((user, signer))), authorization })
    }

    #[test]
    fn p8_kubelet_is_who_proves_to_be_this_node() {
        let node = User::node("edge-1");
        assert_eq!(by(&node, Signer::Hub, None), Ok(Caller::Kubelet));
        assert_eq!(by(&node, Signer::Cluster, None), Ok(Caller::Kubelet));
        assert_eq!(by(&node, Signer::Cluster, Some(b"Bearer x")), Ok(Caller::Kubelet), "x509 comes first");
    }

    #[test]
    fn p8_another_node_or_a_name_without_the_group_is_not_kubelet() {
        for user in [
            User::node("edge-10"),
            User::node("edge-"),
            User { name: "system:node:edge-1".into(), groups: vec!["system:masters".into()] },
            User { name: "system:node:edge-1".into(), groups: vec![] },
            User { name: "edge-1".into(), groups: vec!["system:nodes".into()] },
        ] {
            assert_eq!(by(&user, Signer::Cluster, None), Ok(Caller::Certified(user.clone())), "{user:?}");
            assert_eq!(by(&user, Signer::Hub, None), Ok(Caller::Operator(user.clone())), "{user:?}");
        }
    }

    #[test]
    fn p8_a_bad_certificate_does_not_hide_a_token_and_alone_is_refused() {
        let bad = |authorization| Brought { certificate: Some(Err("expired")), authorization };
        assert_eq!(caller("edge-1", &bad(Some(b"Bearer t"))), Ok(Caller::Bearer));
        assert_eq!(
            caller("edge-1", &bad(Some(b"Basic eDp5"))),
            Err(Unauthenticated { why: "expired".into() })
        );
        for nothing in [&b"Basic eDp5"[..], b"Bearer", b"Bearer ", b"", b"Token t"] {
            let brought = Brought { certificate: None, authorization: Some(nothing) };
            assert_eq!(caller("edge-1", &brought), Ok(Caller::Anonymous), "{nothing:?}");
        }
        assert_eq!(caller("edge-1", &bad(None)), Err(Unauthenticated { why: "expired".into() }));
        assert_eq!(
            caller("edge-1", &Brought { certificate: None, authorization: None }),
            Ok(Caller::Anonymous)
        );
    }
}
