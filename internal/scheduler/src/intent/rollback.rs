//! `jaco rollback`.

use jaco_state::{Transaction, View};
use jaco_types::{Deployment, DeploymentName, DeploymentRevision, ErrorCode, RevisionKind, UserError};

use super::{audit_privileged, begun, claims, find_deployment, resolved};

/// A rollback that can be proposed. The caller may set its request id and reply.
#[derive(Debug, Clone)]
pub struct RolledBack {
    /// Every write of the rollback.
    pub transaction: Transaction,
    /// The revision that is active again.
    pub revision: u64,
    /// The one that was left.
    pub previous_revision: u64,
}

/// Makes a stored revision the active one again, with its routes, ports and names: `to`, or the one active before.
///
/// Errors: `deployment_not_found`, `no_previous_revision`, `revision_not_found`; and a conflict as for an apply, when something of
/// that revision has been taken by another deployment since.
pub fn rollback(view: &View, name: &DeploymentName, to: Option<u64>, identity: &str) -> Result<RolledBack, UserError> {
    let deployment = find_deployment(view, name)?;
    let target = to.or(deployment.previous_revision).ok_or_else(|| {
        UserError::new(
            ErrorCode::NoPreviousRevision,
            format!("deployment {name:?} has no revision before {}; nothing was changed", deployment.active_revision),
        )
        .with("deployment", name)
    })?;
    let key = DeploymentRevision::key_of(name, target);
    let revision = view.get::<DeploymentRevision>(&key).ok_or_else(|| {
        UserError::new(
            ErrorCode::RevisionNotFound,
            format!("deployment {name:?} has no stored revision {target}; `jaco history {name}` lists those there are"),
        )
        .with("deployment", name)
        .with("revision", target)
    })?;

    let left = deployment.active_revision;
    // Going back to the active revision is a new attempt of it, and leaves none behind.
    let previous = if target == left { deployment.previous_revision } else { Some(left) };
    let mut transaction = Transaction::new(identity);
    transaction.check_unchanged::<Deployment>(name.as_str(), view.version::<Deployment>(name.as_str()));
    transaction.check_unchanged::<DeploymentRevision>(key.as_str(), view.version::<DeploymentRevision>(&key));
    claims::check_container_names(view, &revision.spec)?;
    claims::exchange(&mut transaction, view, name, &claims::wanted(&revision.spec))?;
    resolved::replace(&mut transaction, view, name, Some(&revision.spec));
    transaction.put(DeploymentRevision { kind: RevisionKind::Rollback, ..revision.clone() });
    transaction.put(begun(name.clone(), target, previous, deployment.attempt + 1));
    transaction.audit("rollback", [("deployment", name.to_string()), ("revision", target.to_string())]);
    audit_privileged(&mut transaction, &revision.spec, identity);
    Ok(RolledBack { transaction, revision: target, previous_revision: left })
}
