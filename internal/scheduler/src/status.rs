//! Whether a deployment has converged, and if not, why.

use std::collections::BTreeMap;

use jaco_types::{DeploymentStatus, ErrorCode, ReplicaState, ServiceName};

use crate::service::{Obstacle, PlannedReplica, ServicePlan};

/// The status of a deployment with the facts that belong to it.
pub(crate) type Judgement = (DeploymentStatus, BTreeMap<String, String>);

/// The reason of a deployment that is on its way.
pub(crate) const WAITING: &str = "waiting";

/// Active when every desired replica of the active revision runs; else pending, with the gravest reason: no node, then a failure, then
/// a replica that says why it is not up yet, then plain waiting. Of several alike the first by service and index.
pub(crate) fn judge(services: &BTreeMap<&ServiceName, ServicePlan<'_>>) -> Judgement {
    let reason = services
        .iter()
        .find_map(|(name, plan)| plan.obstacle.as_ref().map(|obstacle| obstacle_details(name, obstacle)))
        .or_else(|| first_replica(services, failure))
        .or_else(|| first_replica(services, |replica| replica.code.filter(|_| !runs(replica)).map(ErrorCode::as_str)))
        .or_else(|| services.iter().find_map(|(name, plan)| waiting(name, plan)));
    match reason {
        None => (DeploymentStatus::Active, BTreeMap::new()),
        Some(details) => (DeploymentStatus::Pending, details),
    }
}

/// A pending status of this reason.
pub(crate) fn pending(reason: &str) -> Judgement {
    (DeploymentStatus::Pending, details([("reason", reason)]))
}

fn details<'t>(facts: impl IntoIterator<Item = (&'t str, &'t str)>) -> BTreeMap<String, String> {
    facts.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn runs(replica: &PlannedReplica<'_>) -> bool {
    replica.is_current && replica.is_settled && !replica.node_lost && replica.state == Some(ReplicaState::Running)
}

fn obstacle_details(service: &ServiceName, obstacle: &Obstacle) -> BTreeMap<String, String> {
    match obstacle {
        Obstacle::Shortage(shortage) => details([
            ("reason", ErrorCode::CannotSatisfyHostPlacement.as_str()),
            ("service", service.as_str()),
            ("requested", &shortage.requested),
            ("eligible", &shortage.eligible),
            ("missing", &shortage.missing),
        ]),
        Obstacle::NameTaken(id) => details([
            ("reason", ErrorCode::NameConflict.as_str()),
            ("service", service.as_str()),
            ("replica", id.as_str()),
        ]),
    }
}

/// The first replica for which `problem` has a word, as the reason.
fn first_replica(
    services: &BTreeMap<&ServiceName, ServicePlan<'_>>,
    problem: impl Fn(&PlannedReplica<'_>) -> Option<&'static str>,
) -> Option<BTreeMap<String, String>> {
    services.iter().find_map(|(name, plan)| {
        plan.replicas.iter().find_map(|replica| {
            let facts =
                [("reason", problem(replica)?), ("service", name.as_str()), ("replica", replica.record.id.as_str())];
            Some(details(facts))
        })
    })
}

fn failure(replica: &PlannedReplica<'_>) -> Option<&'static str> {
    if replica.node_lost {
        return Some(ErrorCode::NodeDown.as_str());
    }
    match replica.state.filter(|_| replica.is_fresh)? {
        state @ (ReplicaState::Failed | ReplicaState::Degraded) => {
            Some(replica.code.map_or(state.as_str(), ErrorCode::as_str))
        }
        ReplicaState::Pending
        | ReplicaState::Pulling
        | ReplicaState::Running
        | ReplicaState::Updating
        | ReplicaState::Stopped => None,
    }
}

fn waiting(service: &ServiceName, plan: &ServicePlan<'_>) -> Option<BTreeMap<String, String>> {
    let late = plan.replicas.iter().find(|replica| !runs(replica));
    if late.is_none() && plan.held_for.is_empty() && !plan.leftovers {
        return None;
    }
    let mut facts = details([("reason", WAITING), ("service", service.as_str())]);
    let waiting_on =
        late.map(|replica| &replica.record.waiting_on).filter(|names| !names.is_empty()).unwrap_or(&plan.held_for);
    if !waiting_on.is_empty() {
        let names: Vec<&str> = waiting_on.iter().map(ServiceName::as_str).collect();
        facts.insert("waiting_on".to_owned(), names.join(","));
    }
    Some(facts)
}
