//! Routes and published ports: the resolved set of a spec replaces the one in force.

use std::collections::BTreeMap;

use jaco_state::{Transaction, View};
use jaco_types::{DeploymentName, DeploymentSpec, PortRoute, Route, Stored};

/// Writes the routes and ports of `spec`, and removes those of the deployment that it does not have. Without a spec all go.
pub(super) fn replace(
    transaction: &mut Transaction,
    view: &View,
    deployment: &DeploymentName,
    spec: Option<&DeploymentSpec>,
) {
    let routes = view.list::<Route>().filter(|route| route.deployment == *deployment);
    replace_records(transaction, routes, spec.map(routes_of).unwrap_or_default());
    let ports = view.list::<PortRoute>().filter(|port| port.deployment == *deployment);
    replace_records(transaction, ports, spec.map(ports_of).unwrap_or_default());
}

fn routes_of(spec: &DeploymentSpec) -> Vec<Route> {
    let route = |route: &jaco_types::RouteSpec| Route {
        domain: route.domain.clone(),
        path: route.path.clone(),
        deployment: spec.name.clone(),
        service: route.service.clone(),
        port: route.port,
        tls: route.tls,
        strip_path: route.strip_path,
    };
    spec.routes.iter().map(route).collect()
}

fn ports_of(spec: &DeploymentSpec) -> Vec<PortRoute> {
    let services = spec.services.iter();
    services
        .flat_map(|(name, service)| {
            service.ports.iter().map(|port| PortRoute {
                protocol: port.protocol,
                host_port: port.host_port,
                deployment: spec.name.clone(),
                service: name.clone(),
                target: port.target,
            })
        })
        .collect()
}

fn replace_records<'a, T: Stored + Clone + PartialEq + 'a>(
    transaction: &mut Transaction,
    before: impl Iterator<Item = &'a T>,
    after: Vec<T>,
) {
    let mut after: BTreeMap<String, T> = after.into_iter().map(|record| (record.key(), record)).collect();
    for record in before {
        let key = record.key();
        match after.remove(&key) {
            Some(wanted) if wanted == *record => {}
            Some(wanted) => {
                transaction.put(wanted);
            }
            None => {
                transaction.delete::<T>(key);
            }
        }
    }
    for record in after.into_values() {
        transaction.put(record);
    }
}
