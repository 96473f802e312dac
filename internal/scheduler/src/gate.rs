//! What a service has to wait for before a replica of it starts, and in which order services are planned.

use std::collections::{BTreeMap, BTreeSet};

use jaco_types::{DependencyCondition, DeploymentSpec, NetworkMode, ReplicaState, ServiceName, ServiceSpec};

use crate::service::{PlannedReplica, ServicePlan};

/// Services whose container this one shares something with: it runs on the same node as they do.
pub(crate) fn companions(service: &ServiceSpec) -> BTreeSet<ServiceName> {
    let container = &service.container;
    let mut names = BTreeSet::new();
    match &container.network_mode {
        NetworkMode::Service(name) => {
            names.insert(name.clone());
        }
        NetworkMode::Networks | NetworkMode::None | NetworkMode::Host => {}
    }
    for namespace in [&container.ipc, &container.pid].into_iter().flatten() {
        names.extend(namespace.strip_prefix("service:").and_then(|name| ServiceName::new(name).ok()));
    }
    names.extend(container.volumes_from.iter().map(|volumes| volumes.service.clone()));
    names
}

/// The services so that each comes after those it depends on; otherwise in the order of their names. Services in a cycle, which the
/// manifest refuses, come in the order of their names too.
pub(crate) fn planning_order(spec: &DeploymentSpec) -> Vec<&ServiceName> {
    let needs: BTreeMap<&ServiceName, BTreeSet<ServiceName>> = spec
        .services
        .iter()
        .map(|(name, service)| (name, service.depends_on.keys().cloned().chain(companions(service)).collect()))
        .collect();
    let mut order = Vec::with_capacity(needs.len());
    let mut done: BTreeSet<&ServiceName> = BTreeSet::new();
    let is_done = |done: &BTreeSet<&ServiceName>, need: &ServiceName| done.contains(need) || !needs.contains_key(need);
    while order.len() < needs.len() {
        let mut ready: Vec<&ServiceName> = Vec::new();
        for (name, needed) in needs.iter().filter(|(name, _)| !done.contains(*name)) {
            if needed.iter().all(|need| is_done(&done, need)) {
                ready.push(name);
            }
        }
        if ready.is_empty() {
            ready.extend(needs.keys().filter(|name| !done.contains(*name)).take(1));
        }
        done.extend(ready.iter().copied());
        order.extend(ready);
    }
    order
}

/// The dependencies of a service that are not there yet, in the order of their names.
///
/// A dependency is met by one replica of the current revision, on any node that is not lost, in the state asked for. One that wants no replica at all
/// never blocks: waiting for it could not end.
pub(crate) fn unmet(
    spec: &DeploymentSpec,
    service: &ServiceSpec,
    planned: &BTreeMap<&ServiceName, ServicePlan<'_>>,
) -> Vec<ServiceName> {
    let mut names = Vec::new();
    for (name, dependency) in service.depends_on.iter().filter(|(_, dependency)| dependency.required) {
        let Some(target) = spec.services.get(name) else { continue };
        let wants_none = target.replicas == 0 && target.placement != jaco_types::Placement::Global;
        let met = planned.get(name).is_some_and(|plan| {
            let is_there = |replica: &&PlannedReplica<'_>| replica.is_current && !replica.node_lost;
            plan.replicas.iter().filter(is_there).any(|replica| reached(replica.state, dependency.condition))
        });
        if !wants_none && !met {
            names.push(name.clone());
        }
    }
    names
}

fn reached(state: Option<ReplicaState>, condition: DependencyCondition) -> bool {
    match condition {
        DependencyCondition::Healthy => state == Some(ReplicaState::Running),
        DependencyCondition::Started => matches!(state, Some(ReplicaState::Running | ReplicaState::Degraded)),
    }
}
