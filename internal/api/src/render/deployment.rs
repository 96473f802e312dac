//! Deployments and their revisions.

use jaco_proto::v1;
use jaco_state::View;
use jaco_types::{Deployment, DeploymentRevision, NetworkMode, Placement, ServiceSpec};

/// A deployment's own line.
pub(crate) fn deployment(view: &View, record: &Deployment) -> v1::Deployment {
    let revision = view.get::<DeploymentRevision>(&DeploymentRevision::key_of(&record.name, record.active_revision));
    v1::Deployment {
        name: record.name.to_string(),
        applied_revision: record.active_revision,
        previous_revision: record.previous_revision,
        status: v1::DeploymentStatus::from(record.status).into(),
        status_details: record.status_details.clone(),
        services: revision.map(|r| r.spec.services.keys().map(ToString::to_string).collect()).unwrap_or_default(),
        attempt: record.attempt,
    }
}

/// The services of one revision, in name order.
pub(crate) fn services(revision: &DeploymentRevision) -> Vec<v1::Service> {
    revision.spec.services.iter().map(|(name, spec)| service(name.as_str(), spec)).collect()
}

fn service(name: &str, spec: &ServiceSpec) -> v1::Service {
    let hosts = match &spec.placement {
        Placement::Hosts(hosts) => hosts.iter().map(ToString::to_string).collect(),
        Placement::Spread | Placement::Pack | Placement::Global => Vec::new(),
    };
    let networks = match spec.container.network_mode {
        NetworkMode::Networks => spec.container.networks.keys().map(ToString::to_string).collect(),
        NetworkMode::None | NetworkMode::Host | NetworkMode::Service(_) => Vec::new(),
    };
    v1::Service {
        name: name.to_owned(),
        replicas: spec.replicas,
        placement: spec.placement.as_str().to_owned(),
        hosts,
        networks,
        image: spec.container.image.clone(),
    }
}

/// The stored revisions of a deployment, newest first.
pub(crate) fn history(view: &View, record: &Deployment) -> Vec<v1::Revision> {
    let prefix = format!("{}/", record.name);
    let mut revisions: Vec<v1::Revision> = view
        .list_prefix::<DeploymentRevision>(&prefix)
        .map(|revision| {
            let active = revision.revision == record.active_revision;
            v1::Revision {
                revision: revision.revision,
                applied_at_ms: revision.applied_at_ms,
                identity: revision.identity.clone(),
                kind: revision.kind.as_str().to_owned(),
                active,
                result: if active { record.status.as_str() } else { "superseded" }.to_owned(),
            }
        })
        .collect();
    revisions.sort_by_key(|revision| std::cmp::Reverse(revision.revision));
    revisions
}
