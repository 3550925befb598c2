//! Which streams from the cloud the hub holds open: for what its present clients want, the widest that one of them is
//! granted, each object as few times over the link as that allows. A pure function of what is wanted and what is open.

use std::collections::BTreeSet;

use crate::effect::StreamId;
use crate::mark::Identity;
use crate::scope::Scope;

/// A client's wish to follow a scope that the cloud granted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Demand<'a> {
    pub identity: &'a Identity,
    pub scope: &'a Scope,
}

/// A stream that is open or on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running<'a> {
    pub stream: StreamId,
    pub identity: &'a Identity,
    pub scope: &'a Scope,
    /// Whether it has delivered everything and follows.
    pub live: bool,
}

/// What is to be done about the streams of one resource.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub open: Vec<(Scope, Identity)>,
    pub close: Vec<StreamId>,
}

/// Decides. `refused`: under whose credential which scope is not to be tried now.
pub(crate) fn plan(
    demands: &[Demand<'_>],
    running: &[Running<'_>],
    refused: &BTreeSet<(Identity, Scope)>,
) -> Plan {
    let usable = |demand: &&Demand<'_>| {
        !refused.iter().any(|(identity, scope)| identity == demand.identity && scope == demand.scope)
    };
    let demands: Vec<&Demand<'_>> = demands.iter().filter(usable).collect();
    let wider = |of: &Scope| demands.iter().any(|other| *other.scope != *of && of.is_within(other.scope));
    // Of two scopes that are within each other, however written, the first asked for stands for both.
    let first =
        |of: &Scope| demands.iter().find(|other| of.is_within(other.scope) && other.scope.is_within(of));
    let mut wanted: Vec<&Demand<'_>> = Vec::new();
    for demand in &demands {
        let stands = first(demand.scope).is_some_and(|first| first.scope == demand.scope);
        let widest = !wider(demand.scope) || is_equal_only(&demands, demand.scope);
        if stands && widest && !wanted.iter().any(|other| other.scope == demand.scope) {
            wanted.push(demand);
        }
    }
    let mut plan = Plan::default();
    for stream in running {
        let has_client =
            demands.iter().any(|demand| demand.identity == stream.identity && demand.scope == stream.scope);
        let is_wanted = wanted.iter().any(|demand| demand.scope == stream.scope);
        let replaced = running
            .iter()
            .any(|other| other.live && other.stream != stream.stream && stream.scope.is_within(other.scope));
        let needed = has_client && (is_wanted || !replaced);
        if !needed {
            plan.close.push(stream.stream);
        }
    }
    for demand in wanted {
        let open =
            |stream: &Running<'_>| stream.scope == demand.scope && !plan.close.contains(&stream.stream);
        if !running.iter().any(open) {
            plan.open.push((demand.scope.clone(), demand.identity.clone()));
        }
    }
    plan
}

/// Whether every wider scope is also within this one: the same set, written in another way.
fn is_equal_only(demands: &[&Demand<'_>], of: &Scope) -> bool {
    demands.iter().filter(|other| of.is_within(other.scope)).all(|other| other.scope.is_within(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(namespace: &str, labels: &str) -> Scope {
        Scope { namespace: namespace.into(), labels: labels.parse().unwrap(), ..Scope::default() }
    }

    fn decide(
        demands: &[(&str, &Scope)],
        running: &[(u64, &str, &Scope, bool)],
        refused: &[(&str, &Scope)],
    ) -> Plan {
        let names: Vec<Identity> = demands.iter().map(|(who, _)| Identity::new(who)).collect();
        let demands: Vec<Demand<'_>> =
            demands.iter().zip(&names).map(|((_, scope), identity)| Demand { identity, scope }).collect();
        let owners: Vec<Identity> = running.iter().map(|(_, who, ..)| Identity::new(who)).collect();
        let running: Vec<Running<'_>> = running
            .iter()
            .zip(&owners)
            .map(|((id, _, scope, live), identity)| Running {
                stream: StreamId(*id),
                identity,
                scope,
                live: *live,
            })
            .collect();
        let refused = refused.iter().map(|(who, scope)| (Identity::new(who), (*scope).clone())).collect();
        plan(&demands, &running, &refused)
    }

    fn open(scope: &Scope, who: &str) -> Vec<(Scope, Identity)> {
        vec![(scope.clone(), Identity::new(who))]
    }

    #[test]
    fn only_the_widest_scope_is_read() {
        let (all, some) = (scope("", ""), scope("", "!headless"));
        let plan = decide(&[("proxy", &some), ("dns", &all)], &[], &[]);
        assert_eq!(plan, Plan { open: open(&all, "dns"), close: vec![] });
    }

    #[test]
    fn a_narrow_stream_goes_on_until_the_wider_one_has_everything() {
        let (all, some) = (scope("", ""), scope("a", ""));
        let demands = [("proxy", &some), ("dns", &all)];
        let plan = decide(&demands, &[(1, "proxy", &some, true), (2, "dns", &all, false)], &[]);
        assert_eq!(plan, Plan::default());
        let plan = decide(&demands, &[(1, "proxy", &some, true), (2, "dns", &all, true)], &[]);
        assert_eq!(plan, Plan { open: vec![], close: vec![StreamId(1)] });
    }

    #[test]
    fn when_a_credential_dies_another_clients_takes_its_place_or_the_narrower_scopes_do() {
        let (all, some) = (scope("", ""), scope("a", ""));
        let demands = [("dns", &all), ("flannel", &all), ("proxy", &some)];
        assert_eq!(decide(&demands, &[], &[("dns", &all)]).open, open(&all, "flannel"));
        assert_eq!(decide(&demands, &[], &[("dns", &all), ("flannel", &all)]).open, open(&some, "proxy"));
    }

    #[test]
    fn a_stream_without_its_client_is_closed_or_moved() {
        let all = scope("", "");
        assert_eq!(decide(&[], &[(1, "dns", &all, true)], &[]).close, [StreamId(1)]);
        let plan = decide(&[("flannel", &all)], &[(1, "dns", &all, true)], &[]);
        assert_eq!(plan, Plan { open: open(&all, "flannel"), close: vec![StreamId(1)] });
    }

    #[test]
    fn the_same_set_in_two_spellings_is_read_once() {
        let (one, other) = (scope("", "a=1"), scope("", "a in (1)"));
        let plan = decide(&[("x", &one), ("y", &other)], &[], &[]);
        assert_eq!(plan.open, open(&one, "x"));
    }
}
