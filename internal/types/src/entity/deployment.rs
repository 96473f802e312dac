//! Records of what users asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::{DeploymentName, Domain, ServiceName};
use crate::spec::serde_help::is_default;
use crate::spec::{DeploymentSpec, Protocol, RouteTls};
use crate::status::DeploymentStatus;

/// A deployment as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Name.
    pub name: DeploymentName,
    /// The revision that is to run.
    pub active_revision: u64,
    /// The one before it, where there is one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub previous_revision: Option<u64>,
    /// Counts applies and rollbacks, so that a re-apply of the same revision is still seen as a new attempt.
    pub attempt: u64,
    /// Converged or not; written by the scheduler.
    pub status: DeploymentStatus,
    /// Why it is pending: `reason`, and facts beside it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status_details: BTreeMap<String, String>,
}

/// What made a revision the active one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevisionKind {
    /// `apply`.
    Apply,
    /// `rollback` to it.
    Rollback,
}

impl RevisionKind {
    /// The word used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            RevisionKind::Apply => "apply",
            RevisionKind::Rollback => "rollback",
        }
    }
}

/// One applied revision, kept whole. The newest ten of a deployment are kept at least, and every one that a replica still refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRevision {
    /// Deployment.
    pub deployment: DeploymentName,
    /// Number; grows for ever, also across delete and re-create.
    pub revision: u64,
    /// The resolved spec.
    pub spec: Arc<DeploymentSpec>,
    /// `jaco.yaml` as sent.
    pub jaco_yaml: String,
    /// The compose text as sent: one document, final.
    pub compose_yaml: String,
    /// Who applied it.
    pub identity: String,
    /// Cluster time, milliseconds since the Unix epoch.
    pub applied_at_ms: u64,
    /// How it last became active.
    pub kind: RevisionKind,
}

/// The highest revision number ever given for a deployment name; it outlives the deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionCounter {
    /// Deployment.
    pub deployment: DeploymentName,
    /// Highest number given.
    pub highest: u64,
}

/// A route in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Domain.
    pub domain: Domain,
    /// Normalised prefix, empty for the catch-all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub path: String,
    /// Deployment that owns it.
    pub deployment: DeploymentName,
    /// Service that answers.
    pub service: ServiceName,
    /// Its container port.
    pub port: u16,
    /// TLS mode.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: RouteTls,
    /// Whether the prefix is removed before proxying.
    #[serde(default, skip_serializing_if = "is_default")]
    pub strip_path: bool,
}

/// A published port in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRoute {
    /// Protocol.
    pub protocol: Protocol,
    /// Port on every node.
    pub host_port: u16,
    /// Deployment that owns it.
    pub deployment: DeploymentName,
    /// Service that answers.
    pub service: ServiceName,
    /// Its container port.
    pub target: u16,
}
