//! Routes and what answers on them.

use std::cmp::Reverse;

use jaco_proto::v1;
use jaco_state::View;
use jaco_types::{ErrorCode, ReplicaDesired, ReplicaObserved, ReplicaState, Route, RouteTls, UserError};

/// The routes of a domain or of all, in match order within each domain: longest path first, the catch-all last.
pub(crate) fn routes(view: &View, domain: Option<&str>) -> Vec<v1::Route> {
    let mut list: Vec<&Route> =
        view.list::<Route>().filter(|route| domain.is_none_or(|domain| route.domain.as_str() == domain)).collect();
    list.sort_by_key(|route| (route.domain.clone(), Reverse(route.path.len()), route.path.clone()));
    list.into_iter().map(|route| one(view, route)).collect()
}

fn one(view: &View, route: &Route) -> v1::Route {
    let replicas = view
        .list::<ReplicaDesired>()
        .filter(|desired| desired.deployment == route.deployment && desired.service == route.service);
    let (mut ready, mut total) = (0, 0);
    for desired in replicas {
        total += 1;
        let up = view.get::<ReplicaObserved>(desired.id.as_str()).is_some_and(|observed| {
            observed.generation == desired.generation
                && observed.node == desired.node
                && observed.state == ReplicaState::Running
        });
        ready += u32::from(up);
    }
    v1::Route {
        domain: route.domain.to_string(),
        path: if route.path.is_empty() { "/".to_owned() } else { route.path.clone() },
        deployment: route.deployment.to_string(),
        service: route.service.to_string(),
        port: u32::from(route.port),
        tls: route.tls.as_str().to_owned(),
        strip_path: route.strip_path,
        ready_replicas: ready,
        total_replicas: total,
    }
}

/// What to tell about routes that ask for TLS while the ingress serves plain HTTP only.
pub(crate) fn plain_http_remark<'a>(routes: impl Iterator<Item = (&'a str, RouteTls)>) -> Option<v1::Remark> {
    let mut domains: Vec<&str> = routes.filter(|(_, tls)| *tls == RouteTls::Auto).map(|(domain, _)| domain).collect();
    domains.sort_unstable();
    domains.dedup();
    if domains.is_empty() {
        return None;
    }
    let error = UserError::new(
        ErrorCode::NotSupportedYet,
        format!(
            "{} served in plain HTTP for now, as there are no certificates yet; write `tls: off` on the route to say that this is meant",
            match domains.as_slice() {
                [one] => format!("{one} is"),
                more => format!("{} are", more.join(", ")),
            }
        ),
    );
    Some(jaco_proto::remark_to_wire(v1::remark::Severity::Note, error.with("domains", domains.join(","))))
}
