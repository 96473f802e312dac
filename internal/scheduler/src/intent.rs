//! What users ask for, as transactions: apply, rollback, delete, and the first transaction of a cluster.
//!
//! Each function reads one view and either refuses with a [`jaco_types::UserError`] or returns every write of the operation in one
//! transaction. A refusal for a reason of state is only true when the view was linearizable. Everything a decision relied on is among the checks,
//! so of two simultaneous operations that exclude each other one is refused at apply; it is then to be computed anew from a view
//! that has reached the refusal's index, which gives the refusal its name.

mod access;
mod apply;
mod claims;
mod delete;
mod init;
mod membership;
mod resolved;
mod rollback;

pub use access::{Founding, NewToken, found, issue_token, revoke_token};
pub use apply::{Applied, ApplyRequest, apply};
pub use delete::{Deleted, delete};
pub use init::init;
pub use membership::{
    Admission, Joining, MAX_JOIN_TOKEN_LIFE, admit, bury, find_node, issue_join_token, join, operate, uncordon,
};
pub use rollback::{RolledBack, rollback};

use jaco_state::{Transaction, View};
use jaco_types::{Deployment, DeploymentName, DeploymentSpec, DeploymentStatus, ErrorCode, UserError};

use crate::status;

/// The deployment of this name, or `deployment_not_found`.
fn find_deployment<'a>(view: &'a View, name: &DeploymentName) -> Result<&'a Deployment, UserError> {
    view.get::<Deployment>(name.as_str()).ok_or_else(|| {
        UserError::new(
            ErrorCode::DeploymentNotFound,
            format!("there is no deployment {name:?}; `jaco status` lists those there are"),
        )
        .with("deployment", name)
    })
}

/// One event for each service that may do more than others. Whether it may was judged before.
fn audit_privileged(transaction: &mut Transaction, spec: &DeploymentSpec, identity: &str) {
    for (name, service) in &spec.services {
        let container = &service.container;
        let used = [("privileged", container.privileged), ("security_opt", !container.security_opt.is_empty())];
        let fields: Vec<&str> = used.into_iter().filter(|(_, used)| *used).map(|(field, _)| field).collect();
        if fields.is_empty() {
            continue;
        }
        transaction.audit(
            "privileged_workload_admitted",
            [
                ("deployment", spec.name.to_string()),
                ("service", name.to_string()),
                ("identity", identity.to_owned()),
                ("fields", fields.join(",")),
            ],
        );
    }
}

/// A deployment that has just been given a revision: pending, until the scheduler has looked at it.
fn begun(name: DeploymentName, revision: u64, previous: Option<u64>, attempt: u64) -> Deployment {
    let (_, status_details) = status::pending(status::WAITING);
    Deployment {
        name,
        active_revision: revision,
        previous_revision: previous,
        attempt,
        status: DeploymentStatus::Pending,
        status_details,
    }
}
