//! What the store wants of this node. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jaco_state::View;
use jaco_types::{
    DeploymentRevision, NodeId, Placement, ReplicaDesired, ReplicaId, ReplicaIndex, ReplicaObserved, Subnet, label,
    network_name,
};

use crate::container::joined_networks;
use crate::engine::{Container, Network};
use crate::plan::Wanted;

/// The replicas that are to run here, and those whose spec is not there: they are left alone.
pub(super) fn wanted(view: &View, node: NodeId) -> (BTreeMap<ReplicaId, Wanted<'_>>, BTreeSet<ReplicaId>) {
    let (mut wanted, mut blocked) = (BTreeMap::new(), BTreeSet::new());
    for desired in view.list::<ReplicaDesired>().filter(|desired| desired.node == node) {
        let revision = DeploymentRevision::key_of(&desired.deployment, desired.revision);
        let found = view.get::<DeploymentRevision>(&revision);
        let service = found.and_then(|revision| revision.spec.services.get(&desired.service));
        match (found, service) {
            (Some(revision), Some(service)) => {
                let raft_index = view.version::<ReplicaDesired>(desired.id.as_str()).unwrap_or_default();
                let deployment = revision.spec.as_ref();
                wanted.insert(desired.id.clone(), Wanted { desired, raft_index, deployment, service });
            }
            (Some(_) | None, _) => {
                blocked.insert(desired.id.clone());
            }
        }
    }
    (wanted, blocked)
}

/// This node's committed observations.
pub(super) fn committed(view: &View, node: NodeId) -> BTreeMap<ReplicaId, &ReplicaObserved> {
    view.list::<ReplicaObserved>()
        .filter(|observed| observed.node == node)
        .map(|observed| (observed.id.clone(), observed))
        .collect()
}

/// Engine names of the networks that replicas here need.
pub(super) fn needed_networks(view: &View, node: NodeId) -> BTreeSet<String> {
    let (wanted, _) = wanted(view, node);
    wanted
        .values()
        .flat_map(|wanted| {
            let keys = joined_networks(&wanted.service.container).into_keys();
            keys.map(|key| network_name(&wanted.desired.deployment, &key)).collect::<Vec<_>>()
        })
        .collect()
}

/// This node's subnets by the engine name of their network, with their versions.
pub(super) fn subnets(view: &View, node: NodeId) -> BTreeMap<String, (Subnet, u64)> {
    view.list::<Subnet>()
        .filter(|subnet| subnet.node == node)
        .map(|subnet| {
            let key = Subnet::key_of(&subnet.deployment, &subnet.network, node);
            let version = view.version::<Subnet>(&key).unwrap_or_default();
            (network_name(&subnet.deployment, &subnet.network), (subnet.clone(), version))
        })
        .collect()
}

/// Our networks whose range is not the recorded one.
pub(super) fn wrong_networks(
    found: &BTreeMap<String, Network>,
    recorded: &BTreeMap<String, (Subnet, u64)>,
) -> BTreeSet<String> {
    found
        .values()
        .filter(|network| {
            recorded.get(&network.name).is_none_or(|(subnet, _)| subnet.cidr.to_string() != network.subnet)
        })
        .map(|network| network.name.clone())
        .collect()
}

/// Networks and records that nobody needs: not wanted, and with none of our containers in them.
pub(super) fn unneeded(
    needed: &BTreeSet<String>,
    found: &BTreeMap<String, Network>,
    recorded: &BTreeMap<String, (Subnet, u64)>,
    containers: &BTreeMap<String, Container>,
) -> BTreeSet<String> {
    let used: BTreeSet<&String> = containers.values().flat_map(|container| container.networks.keys()).collect();
    found
        .keys()
        .chain(recorded.keys())
        .filter(|name| !needed.contains(*name) && !used.contains(name))
        .cloned()
        .collect()
}

/// The container that stands for a service on this node: up, not outgoing, and of the replica that the scheduler pairs with this one:
/// number `i` goes with number `i mod count` of the other service. For a global one there is one on the node.
pub(super) fn peer<'a>(
    containers: &'a BTreeMap<String, Container>,
    wanted: &Wanted<'_>,
    service: &jaco_types::ServiceName,
) -> Option<&'a Container> {
    let count = wanted.deployment.services.get(service).filter(|spec| spec.placement != Placement::Global);
    let number = match wanted.desired.index {
        ReplicaIndex::Index(number) => count.and_then(|spec| number.checked_rem(spec.replicas)),
        ReplicaIndex::Host(_) => None,
    };
    let number = number.map(|number| number.to_string());
    containers
        .values()
        .filter(|container| number.as_deref().is_none_or(|number| container.label(label::REPLICA_INDEX) == number))
        .filter(|container| {
            container.is_up()
                && !container.name.ends_with(crate::plan::OLD_SUFFIX)
                && container.label(label::DEPLOYMENT) == wanted.desired.deployment.as_str()
                && container.label(label::SERVICE) == service.as_str()
        })
        .min_by(|a, b| a.name.cmp(&b.name))
}

/// Whether a network is needed by this view: asked again right before it is removed.
pub(super) fn is_needed(view: &View, node: NodeId, name: &str) -> bool {
    let (_, blocked) = wanted(view, node);
    !blocked.is_empty() || needed_networks(view, node).contains(name)
}
