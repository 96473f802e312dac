//! `status`.

use jaco_proto::v1;
use jaco_types::UserError;
use serde::Serialize;

use super::remark::{Remark, remarks};
use super::{deployment, replica, route, upper};
use crate::printer::View;
use crate::table::{Table, or_dash};

/// A rolling change under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Rollout {}

/// The whole of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    pub deployments: Vec<deployment::Summary>,
    pub replicas: Vec<replica::Summary>,
    pub routes: Vec<route::Route>,
    /// Always empty: this version's daemon has no rolling plans yet.
    pub rollouts: Vec<Rollout>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
}

impl TryFrom<v1::StatusResponse> for Status {
    type Error = UserError;

    fn try_from(wire: v1::StatusResponse) -> Result<Self, UserError> {
        Ok(Status {
            deployments: wire.deployments.into_iter().map(TryFrom::try_from).collect::<Result<_, _>>()?,
            replicas: wire.replicas.into_iter().map(TryFrom::try_from).collect::<Result<_, _>>()?,
            routes: wire.routes.into_iter().map(From::from).collect(),
            rollouts: Vec::new(),
            remarks: remarks(wire.remarks)?,
        })
    }
}

impl View for Status {
    fn table(&self) -> String {
        let mut deployments = Table::new(&["DEPLOYMENT", "REVISION", "PREVIOUS", "STATUS", "DETAILS"]);
        for row in &self.deployments {
            deployments.row([
                row.name.clone(),
                row.applied_revision.to_string(),
                or_dash(row.previous_revision),
                upper(row.status.as_str()),
                row.details(),
            ]);
        }
        let mut replicas = Table::new(&["REPLICA_ID", "STATE", "HOST", "CONTAINER_ID", "LAST_HEALTH_AT", "REASON"]);
        for row in &self.replicas {
            replicas.row(replica::status_row(row));
        }
        let mut routes = Table::new(&["DOMAIN", "PATH", "DEPLOYMENT", "SERVICE", "PORT", "TLS"]);
        for row in &self.routes {
            routes.row(route::status_row(row));
        }
        format!(
            "Deployments:\n{}\nReplicas:\n{}\nRoutes:\n{}",
            deployments.render(),
            replicas.render(),
            routes.render()
        )
    }

    fn quiet(&self) -> String {
        self.deployments.iter().map(|row| format!("{} {}\n", row.name, row.status)).collect()
    }
}
