//! Deployments: in `status`, `get deployments` and `get deployment`.

use std::collections::BTreeMap;

use jaco_proto::v1;
use jaco_types::{DeploymentStatus, UserError};
use serde::Serialize;

use super::{deployment_status, pairs, upper};
use crate::printer::View;
use crate::table::{Table, or_dash};

/// A deployment in `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub name: String,
    pub applied_revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_revision: Option<u64>,
    pub status: DeploymentStatus,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub status_details: BTreeMap<String, String>,
}

impl TryFrom<v1::Deployment> for Summary {
    type Error = UserError;

    fn try_from(wire: v1::Deployment) -> Result<Self, UserError> {
        Ok(Summary {
            status: deployment_status(wire.status)?,
            name: wire.name,
            applied_revision: wire.applied_revision,
            previous_revision: wire.previous_revision,
            status_details: wire.status_details,
        })
    }
}

impl Summary {
    /// The reason, else all facts as `k=v`.
    pub fn details(&self) -> String {
        self.status_details.get("reason").cloned().unwrap_or_else(|| pairs(&self.status_details))
    }
}

/// A row of `get deployments`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub name: String,
    pub applied_revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_revision: Option<u64>,
    pub status: DeploymentStatus,
    pub services: Vec<String>,
}

/// `get deployments`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct List(pub Vec<Row>);

impl TryFrom<v1::GetDeploymentsResponse> for List {
    type Error = UserError;

    fn try_from(wire: v1::GetDeploymentsResponse) -> Result<Self, UserError> {
        let row = |wire: v1::Deployment| -> Result<Row, UserError> {
            Ok(Row {
                status: deployment_status(wire.status)?,
                name: wire.name,
                applied_revision: wire.applied_revision,
                previous_revision: wire.previous_revision,
                services: wire.services,
            })
        };
        Ok(List(wire.deployments.into_iter().map(row).collect::<Result<_, _>>()?))
    }
}

impl View for List {
    fn table(&self) -> String {
        let mut table = Table::new(&["DEPLOYMENT", "REVISION", "PREVIOUS", "STATUS", "SERVICES"]);
        for row in &self.0 {
            table.row([
                row.name.clone(),
                row.applied_revision.to_string(),
                or_dash(row.previous_revision),
                upper(row.status.as_str()),
                row.services.join(","),
            ]);
        }
        table.render()
    }

    fn quiet(&self) -> String {
        self.0.iter().map(|row| format!("{}\n", row.name)).collect()
    }
}

/// A service of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    pub name: String,
    pub image: String,
    pub replicas: u32,
    pub placement: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
}

/// `get deployment <name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detail {
    pub name: String,
    /// The revision shown, which `--revision` may have chosen.
    pub revision: u64,
    pub applied_revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_revision: Option<u64>,
    pub status: DeploymentStatus,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub status_details: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme_email: Option<String>,
    pub services: Vec<Service>,
    pub jaco_yaml: String,
    pub compose_yaml: String,
}

impl TryFrom<v1::GetDeploymentResponse> for Detail {
    type Error = UserError;

    fn try_from(wire: v1::GetDeploymentResponse) -> Result<Self, UserError> {
        let deployment = wire
            .deployment
            .ok_or_else(|| UserError::internal("the daemon's answer is not whole", "no deployment in GetDeployment"))?;
        let summary = Summary::try_from(deployment)?;
        let service = |service: v1::Service| Service {
            name: service.name,
            image: service.image,
            replicas: service.replicas,
            placement: service.placement,
            hosts: service.hosts,
            networks: service.networks,
        };
        Ok(Detail {
            name: summary.name,
            revision: wire.revision,
            applied_revision: summary.applied_revision,
            previous_revision: summary.previous_revision,
            status: summary.status,
            status_details: summary.status_details,
            acme_email: wire.acme_email,
            services: wire.services.into_iter().map(service).collect(),
            jaco_yaml: wire.jaco_yaml,
            compose_yaml: wire.compose_yaml,
        })
    }
}

impl View for Detail {
    fn table(&self) -> String {
        let mut text = format!(
            "Deployment:  {}\nRevision:    {}{}\nPrevious:    {}\nStatus:      {}\n",
            self.name,
            self.revision,
            if self.revision == self.applied_revision {
                " (active)".to_owned()
            } else {
                format!(" (active: {})", self.applied_revision)
            },
            or_dash(self.previous_revision),
            upper(self.status.as_str()),
        );
        if !self.status_details.is_empty() {
            text += &format!("Details:     {}\n", pairs(&self.status_details));
        }
        if let Some(email) = &self.acme_email {
            text += &format!("ACME email:  {email}\n");
        }
        let mut table = Table::new(&["SERVICE", "REPLICAS", "PLACEMENT", "HOSTS", "NETWORKS", "IMAGE"]);
        for service in &self.services {
            table.row([
                service.name.clone(),
                service.replicas.to_string(),
                service.placement.clone(),
                list(&service.hosts),
                list(&service.networks),
                service.image.clone(),
            ]);
        }
        text += &format!("\nServices:\n{}", table.render());
        for (heading, manifest) in [("jaco.yaml", &self.jaco_yaml), ("compose.yaml", &self.compose_yaml)] {
            text += &format!("\n{heading}:\n{}\n", manifest.trim_end());
        }
        text
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.revision)
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}
