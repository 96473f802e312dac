//! From a view of the store to a [`Table`]. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jaco_state::View;
use jaco_types::{
    Deployment, DeploymentName, DeploymentRevision, Endpoint as NetworkEndpoint, NodeId, PortRoute, ReplicaDesired,
    ReplicaObserved, ReplicaState, Route, ServiceName,
};

use crate::table::{Backend, Endpoint, PortRule, RouteRule, Table, UpstreamProtocol};

#[cfg(test)]
mod tests;

/// Service label by which a service asks to be spoken to in HTTP/2 without TLS: `jaco.io/h2c: "true"`.
pub const H2C_LABEL: &str = "jaco.io/h2c";

type ServiceKey<'a> = (&'a DeploymentName, &'a ServiceName);

/// A container that may get traffic.
struct Candidate<'a> {
    container: String,
    endpoints: &'a [NetworkEndpoint],
}

/// Which nodes' containers can be reached from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those of every node.
    Cluster,
    /// Those of this node only: as long as there is no mesh, the addresses of others lead nowhere.
    Node(NodeId),
}

impl Reach {
    fn includes(self, node: NodeId) -> bool {
        match self {
            Reach::Cluster => true,
            Reach::Node(own) => own == node,
        }
    }
}

/// The table that a view asks for, with the upstreams within reach.
///
/// Upstreams of a service are its replicas that run in their current generation. While a replacement is not running yet, the container
/// it replaces stays in: the one reported as outgoing, or, until the node has noticed the new generation at all, the one it still
/// reports as running. Without that a change would leave a gap between the scheduler's write and the node's answer.
pub fn render(view: &View, reach: Reach) -> Table {
    let candidates = candidates(view, reach);
    let mut table = Table::default();
    let mut positions = BTreeMap::new();
    let mut backend = |table: &mut Table, key: ServiceKey<'_>, port: u16| -> usize {
        *positions.entry((key.0.clone(), key.1.clone(), port)).or_insert_with(|| {
            table.backends.push(Backend {
                deployment: key.0.clone(),
                service: key.1.clone(),
                port,
                protocol: protocol(view, key),
                endpoints: candidates.get(&key).map(|found| endpoints(found, port)).unwrap_or_default(),
            });
            table.backends.len() - 1
        })
    };
    for route in view.list::<Route>() {
        let backend = backend(&mut table, (&route.deployment, &route.service), route.port);
        table.routes.push(RouteRule {
            domain: route.domain.as_str().to_owned(),
            path: route.path.clone(),
            strip_path: route.strip_path,
            backend,
        });
    }
    for port in view.list::<PortRoute>() {
        let backend = backend(&mut table, (&port.deployment, &port.service), port.target);
        table.ports.push(PortRule { protocol: port.protocol, host_port: port.host_port, backend });
    }
    table
}

fn candidates(view: &View, reach: Reach) -> BTreeMap<ServiceKey<'_>, Vec<Candidate<'_>>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for desired in view.list::<ReplicaDesired>() {
        let Some(observed) = view.get::<ReplicaObserved>(desired.id.as_str()) else { continue };
        if let Some(candidate) = candidate(desired, observed).filter(|_| reach.includes(observed.node)) {
            found.entry((&desired.deployment, &desired.service)).or_default().push(candidate);
        }
    }
    found
}

fn candidate<'a>(desired: &ReplicaDesired, observed: &'a ReplicaObserved) -> Option<Candidate<'a>> {
    let own = || Candidate { container: container_of(observed), endpoints: &observed.endpoints };
    let runs = observed.state == ReplicaState::Running && !observed.endpoints.is_empty();
    if observed.generation == desired.generation && runs {
        return Some(own());
    }
    if let Some(outgoing) = &observed.outgoing {
        return Some(Candidate { container: outgoing.container_id.clone(), endpoints: &outgoing.endpoints });
    }
    // Its node has not seen the new generation yet. A replica that moved away is another matter: its old node may be dead.
    (observed.generation < desired.generation && observed.node == desired.node && runs).then(own)
}

fn container_of(observed: &ReplicaObserved) -> String {
    observed.container_id.clone().unwrap_or_else(|| format!("{}@{}", observed.id, observed.generation))
}

/// One endpoint per candidate: its address in the first of its networks, by network key.
fn endpoints(candidates: &[Candidate<'_>], port: u16) -> Vec<Endpoint> {
    candidates
        .iter()
        .filter_map(|candidate| {
            let first = candidate.endpoints.iter().min_by(|a, b| a.network.cmp(&b.network))?;
            Some(Endpoint { address: SocketAddr::new(first.address, port), container: candidate.container.clone() })
        })
        .collect()
}

fn protocol(view: &View, (deployment, service): ServiceKey<'_>) -> UpstreamProtocol {
    let asked = view
        .get::<Deployment>(deployment.as_str())
        .and_then(|found| {
            view.get::<DeploymentRevision>(&DeploymentRevision::key_of(deployment, found.active_revision))
        })
        .and_then(|revision| revision.spec.services.get(service))
        .and_then(|service| service.container.labels.get(H2C_LABEL));
    match asked.map(String::as_str) {
        Some("true") => UpstreamProtocol::H2c,
        Some(_) | None => UpstreamProtocol::Http1,
    }
}
