//! As whom the hub asks the cloud for a caller.

use crate::caller::{Caller, User};

/// The credential with which a request goes to the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Credential {
    /// The node's certificate.
    Node,
    /// The certificate of a kubeconfig that the operator handed to the hub; which one.
    Handed(usize),
    /// Whatever the request itself carries: the connection carries none, since the API server takes a connection's
    /// certificate before a request's token.
    Own,
}

/// Why a caller cannot be passed on: 403, with this text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(
    /// What the caller may do about it.
    pub String,
);

/// As whom the hub asks for `caller`. `handed` are the users of the kubeconfigs that the operator handed over,
/// `None` where one was taken back; `impersonates`, whether the request asks to act as somebody else.
///
/// # Errors
///
/// Nobody's credential may be used for this caller.
pub fn credential(
    caller: &Caller,
    handed: &[Option<User>],
    impersonates: bool,
) -> Result<Credential, Refusal> {
    let lent = match caller {
        Caller::Bearer | Caller::Anonymous => return Ok(Credential::Own),
        Caller::Kubelet => Credential::Node,
        Caller::Certified(user) => match handed.iter().position(|one| one.as_ref() == Some(user)) {
            Some(which) => Credential::Handed(which),
            None => {
                return Err(Refusal(format!(
                    "the hub of this node cannot pass on the client certificate of \"{user}\", whose key it does not have: \
                     use a token, talk to the API server directly, or hand the hub this kubeconfig (handedOver in hub.yaml)"
                )));
            }
        },
        Caller::Operator(user) => {
            return Err(Refusal(format!(
                "\"{user}\" is known on this node only: what it reads is answered by the hub, and nothing is sent to the \
                 cloud for it"
            )));
        }
    };
    if impersonates {
        let user = match caller {
            Caller::Certified(user) => user.name.as_str(),
            _ => "the node",
        };
        return Err(Refusal(format!("{user} cannot impersonate anybody through the hub of this node")));
    }
    Ok(lent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> User {
        User { name: name.into(), groups: vec!["ops".into()] }
    }

    #[test]
    fn p8_the_nodes_certificate_is_for_kubelet_alone() {
        let handed = [Some(user("proxy"))];
        assert_eq!(credential(&Caller::Kubelet, &handed, false), Ok(Credential::Node));
        for caller in [Caller::Bearer, Caller::Anonymous] {
            assert_eq!(credential(&caller, &handed, false), Ok(Credential::Own));
        }
        assert!(credential(&Caller::Operator(user("local")), &handed, false).is_err());
        assert!(credential(&Caller::Certified(user("admin")), &handed, false).is_err());
    }

    #[test]
    fn p8_a_handed_over_certificate_is_for_its_very_user() {
        let handed = [None, Some(user("flannel")), Some(user("proxy"))];
        let certified = |name: &str, groups: &[&str]| {
            Caller::Certified(User {
                name: name.into(),
                groups: groups.iter().map(|&group| group.into()).collect(),
            })
        };
        assert_eq!(credential(&certified("flannel", &["ops"]), &handed, false), Ok(Credential::Handed(1)));
        assert!(
            credential(&certified("flannel", &[]), &handed, false).is_err(),
            "other groups, other rights"
        );
        assert!(credential(&certified("flannel", &["ops", "system:masters"]), &handed, false).is_err());
    }

    #[test]
    fn p8_nobody_impersonates_with_a_lent_credential() {
        let handed = [Some(user("proxy"))];
        assert!(credential(&Caller::Kubelet, &handed, true).is_err());
        assert!(credential(&Caller::Certified(user("proxy")), &handed, true).is_err());
        assert_eq!(
            credential(&Caller::Bearer, &handed, true),
            Ok(Credential::Own),
            "the API server judges it"
        );
    }
}
