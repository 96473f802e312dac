//! Replicas: what is desired beside what is observed.

use std::collections::{BTreeMap, BTreeSet};

use jaco_proto::v1;
use jaco_state::View;
use jaco_types::{
    DependencyCondition, Deployment, DeploymentName, DeploymentRevision, ErrorCode, Node, ReplicaDesired, ReplicaId,
    ReplicaObserved, ReplicaState, ServiceName, ServiceSpec, StateChange,
};

/// What a node knows of a replica and never commits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoftReplica {
    /// When the engine last reported its health, milliseconds since the Unix epoch.
    pub last_health_at_ms: Option<u64>,
    /// When a start or pull was last tried, milliseconds since the Unix epoch.
    pub last_attempt_at_ms: Option<u64>,
    /// A pull under way: (bytes done, bytes in all, layers done, layers in all).
    pub pull: Option<(u64, u64, u32, u32)>,
}

/// Which replicas are asked for; `None` means any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReplicaFilter<'a> {
    pub(crate) deployment: Option<&'a str>,
    pub(crate) service: Option<&'a str>,
    pub(crate) id: Option<&'a str>,
}

impl ReplicaFilter<'_> {
    fn accepts(&self, id: &ReplicaId, deployment: &DeploymentName, service: &ServiceName) -> bool {
        self.id.is_none_or(|wanted| wanted == id.as_str())
            && self.deployment.is_none_or(|wanted| wanted == deployment.as_str())
            && self.service.is_none_or(|wanted| wanted == service.as_str())
    }
}

/// Every replica that is desired or still there, by id.
pub(crate) fn replicas(
    view: &View,
    filter: ReplicaFilter<'_>,
    soft: &dyn Fn(&ReplicaId) -> SoftReplica,
) -> Vec<v1::Replica> {
    let mut list = Vec::new();
    let mut desired_ids = BTreeSet::new();
    for desired in view.list::<ReplicaDesired>() {
        if filter.accepts(&desired.id, &desired.deployment, &desired.service) {
            desired_ids.insert(&desired.id);
            list.push(desired_replica(view, desired, soft(&desired.id)));
        }
    }
    for observed in view.list::<ReplicaObserved>() {
        let wanted = view.get::<ReplicaDesired>(observed.id.as_str()).is_some();
        if !wanted && filter.accepts(&observed.id, &observed.deployment, &observed.service) {
            list.push(leaving_replica(view, observed, soft(&observed.id)));
        }
    }
    list.sort_by(|a, b| a.id.cmp(&b.id));
    list
}

/// The spec a replica is to run.
fn spec_of<'a>(view: &'a View, desired: &ReplicaDesired) -> Option<&'a ServiceSpec> {
    view.get::<DeploymentRevision>(&DeploymentRevision::key_of(&desired.deployment, desired.revision))?
        .spec
        .services
        .get(&desired.service)
}

/// Whether the observation describes the container that is desired now.
fn is_current(desired: &ReplicaDesired, observed: &ReplicaObserved) -> bool {
    observed.generation == desired.generation && observed.node == desired.node
}

fn desired_replica(view: &View, desired: &ReplicaDesired, soft: SoftReplica) -> v1::Replica {
    let observed = view.get::<ReplicaObserved>(desired.id.as_str());
    let spec = spec_of(view, desired);
    let active_hash = view
        .get::<Deployment>(desired.deployment.as_str())
        .and_then(|d| view.get::<DeploymentRevision>(&DeploymentRevision::key_of(&d.name, d.active_revision)))
        .and_then(|revision| revision.spec.services.get(&desired.service))
        .map(ServiceSpec::hash);
    let current = observed.filter(|observed| is_current(desired, observed));
    let mut replica = v1::Replica {
        id: desired.id.to_string(),
        deployment: desired.deployment.to_string(),
        service: desired.service.to_string(),
        index: desired.index.to_string(),
        host: desired.hostname.to_string(),
        image: spec.map(|spec| spec.container.image.clone()).unwrap_or_default(),
        revision: desired.revision,
        spec_current: current.is_some() && active_hash.as_ref() == Some(&desired.spec_hash),
        depends_on: spec.map(|spec| depends_on(view, desired, spec)).unwrap_or_default(),
        attempt: desired.attempt,
        ..v1::Replica::default()
    };
    match (current, observed) {
        (Some(observed), _) => fill_observed(&mut replica, observed.state, observed),
        // The container of the generation before is still what runs.
        (None, Some(observed)) => fill_observed(&mut replica, ReplicaState::Updating, observed),
        (None, None) => replica.state = v1::ReplicaState::Pending.into(),
    }
    if !desired.waiting_on.is_empty() && current.is_none_or(|observed| observed.container_id.is_none()) {
        fill_waiting(&mut replica, &desired.waiting_on);
    }
    fill_soft(&mut replica, soft);
    replica
}

/// A replica that is no longer desired and whose container is on its way out.
fn leaving_replica(view: &View, observed: &ReplicaObserved, soft: SoftReplica) -> v1::Replica {
    let host = view.get::<Node>(&observed.node.to_string()).map(|node| node.hostname.to_string()).unwrap_or_default();
    let mut replica = v1::Replica {
        id: observed.id.to_string(),
        deployment: observed.deployment.to_string(),
        service: observed.service.to_string(),
        host,
        attempt: observed.attempt,
        ..v1::Replica::default()
    };
    fill_observed(&mut replica, ReplicaState::Stopped, observed);
    fill_soft(&mut replica, soft);
    replica
}

fn fill_observed(replica: &mut v1::Replica, state: ReplicaState, observed: &ReplicaObserved) {
    replica.state = v1::ReplicaState::from(state).into();
    replica.container_id = observed.container_id.clone();
    replica.restart_count = observed.restart_count;
    replica.code = observed.code.map(|code| code.as_str().to_owned());
    replica.message = observed.message.clone();
    replica.details = observed.details.clone();
    replica.started_at_ms = observed.started_at_ms;
    if !observed.image.is_empty() {
        replica.image = observed.image.clone();
    }
    replica.state_history = observed.history.iter().map(state_change).collect();
}

fn fill_waiting(replica: &mut v1::Replica, waiting_on: &[ServiceName]) {
    let names: Vec<&str> = waiting_on.iter().map(ServiceName::as_str).collect();
    replica.state = v1::ReplicaState::Pending.into();
    replica.code = Some(ErrorCode::DependsOnUnmet.as_str().to_owned());
    replica.message = Some(format!("waits for {}", names.join(", ")));
    replica.details = BTreeMap::from([("waiting_on".to_owned(), names.join(","))]);
}

fn fill_soft(replica: &mut v1::Replica, soft: SoftReplica) {
    replica.last_health_at_ms = soft.last_health_at_ms;
    replica.last_attempt_at_ms = soft.last_attempt_at_ms;
    replica.pull = soft.pull.map(|(bytes_done, bytes_total, layers_done, layers_total)| v1::PullProgress {
        bytes_done,
        bytes_total,
        layers_done,
        layers_total,
    });
}

fn state_change(change: &StateChange) -> v1::StateChange {
    v1::StateChange {
        state: v1::ReplicaState::from(change.state).into(),
        code: change.code.map(|code| code.as_str().to_owned()),
        at_ms: change.at_ms,
    }
}

fn depends_on(view: &View, desired: &ReplicaDesired, spec: &ServiceSpec) -> Vec<v1::DependsOn> {
    spec.depends_on
        .iter()
        .map(|(service, dependency)| {
            let best = best_state(view, &desired.deployment, service);
            let satisfied = match (dependency.condition, best) {
                (DependencyCondition::Started, Some(ReplicaState::Running | ReplicaState::Degraded))
                | (DependencyCondition::Healthy, Some(ReplicaState::Running)) => true,
                (DependencyCondition::Started | DependencyCondition::Healthy, _) => !dependency.required,
            };
            v1::DependsOn {
                service: service.to_string(),
                condition: dependency.condition.as_str().to_owned(),
                state: best.map(|state| v1::ReplicaState::from(state).into()),
                satisfied,
            }
        })
        .collect()
}

/// The state nearest to `running` among a service's current observations.
fn best_state(view: &View, deployment: &DeploymentName, service: &ServiceName) -> Option<ReplicaState> {
    view.list::<ReplicaDesired>()
        .filter(|desired| desired.deployment == *deployment && desired.service == *service)
        .filter_map(|desired| {
            let observed = view.get::<ReplicaObserved>(desired.id.as_str())?;
            Some(if is_current(desired, observed) { observed.state } else { ReplicaState::Updating })
        })
        .min_by_key(|state| match state {
            ReplicaState::Running => 0,
            ReplicaState::Degraded => 1,
            ReplicaState::Updating => 2,
            ReplicaState::Pulling => 3,
            ReplicaState::Pending => 4,
            ReplicaState::Failed => 5,
            ReplicaState::Stopped => 6,
        })
}
