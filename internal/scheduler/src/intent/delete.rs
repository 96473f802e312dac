//! `jaco delete`.

use jaco_state::{Transaction, View};
use jaco_types::{Deployment, DeploymentName, DeploymentRevision, ReplicaDesired, UserError};

use super::{claims, find_deployment, resolved};

/// Most desired replicas removed together with their deployment; the scheduler removes the rest, which then belong to nothing.
const REPLICAS_AT_ONCE: usize = 1_000;

/// A delete that can be proposed. The caller may set its request id and reply.
#[derive(Debug, Clone)]
pub struct Deleted {
    /// Every write of the delete.
    pub transaction: Transaction,
    /// The revision that was active.
    pub revision: u64,
}

/// Removes a deployment with its revisions, replicas, routes, ports and claims. The revision counter stays: numbers only grow, also
/// across delete and re-create. Volumes are never touched.
///
/// Errors: `deployment_not_found`.
pub fn delete(view: &View, name: &DeploymentName, identity: &str) -> Result<Deleted, UserError> {
    let deployment = find_deployment(view, name)?;
    let mut transaction = Transaction::new(identity);
    transaction.check_unchanged::<Deployment>(name.as_str(), view.version::<Deployment>(name.as_str()));
    claims::exchange(&mut transaction, view, name, &claims::Wanted::new())?;
    resolved::replace(&mut transaction, view, name, None);
    let prefix = format!("{name}/");
    for revision in view.list_prefix::<DeploymentRevision>(&prefix) {
        transaction.delete::<DeploymentRevision>(DeploymentRevision::key_of(name, revision.revision));
    }
    let replicas = view.list::<ReplicaDesired>().filter(|replica| replica.deployment == *name);
    for replica in replicas.take(REPLICAS_AT_ONCE) {
        transaction.delete::<ReplicaDesired>(replica.id.as_str());
    }
    transaction.delete::<Deployment>(name.as_str());
    let revision = deployment.active_revision;
    transaction.audit("delete", [("deployment", name.to_string()), ("revision", revision.to_string())]);
    Ok(Deleted { transaction, revision })
}
