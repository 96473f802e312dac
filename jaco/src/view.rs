//! What the commands print: pure conversions of the daemon's answers into the documented output.

pub mod audit;
pub mod backup;
pub mod change;
pub mod cluster;
pub mod context;
pub mod debug;
pub mod deployment;
pub mod history;
pub mod init;
pub mod log;
pub mod member;
pub mod node;
pub mod remark;
pub mod replica;
pub mod route;
pub mod status;
pub mod token;

use jaco_proto::{Unknown, v1};
use jaco_types::{DeploymentStatus, ErrorCode, NodeState, ReplicaState, UserError};

/// A value that this version of the client does not know.
fn newer_daemon(unknown: &Unknown) -> UserError {
    UserError::new(
        ErrorCode::VersionIncompatible,
        format!(
            "the daemon answered with something newer than this client: {unknown}; use the client of the daemon's version"
        ),
    )
}

/// A number outside the wire's enumeration.
fn out_of_range(what: &'static str, value: i32) -> UserError {
    newer_daemon(&Unknown { what, value })
}

/// The state of a replica on the wire.
pub fn replica_state(value: i32) -> Result<ReplicaState, UserError> {
    let wire = v1::ReplicaState::try_from(value).map_err(|_| out_of_range("replica state", value))?;
    ReplicaState::try_from(wire).map_err(|unknown| newer_daemon(&unknown))
}

/// The status of a deployment on the wire.
pub fn deployment_status(value: i32) -> Result<DeploymentStatus, UserError> {
    let wire = v1::DeploymentStatus::try_from(value).map_err(|_| out_of_range("deployment status", value))?;
    DeploymentStatus::try_from(wire).map_err(|unknown| newer_daemon(&unknown))
}

/// The state of a node on the wire.
pub fn node_state(value: i32) -> Result<NodeState, UserError> {
    let wire = v1::NodeState::try_from(value).map_err(|_| out_of_range("node state", value))?;
    NodeState::try_from(wire).map_err(|unknown| newer_daemon(&unknown))
}

/// Upper case, as tables show enumerations.
fn upper(word: &str) -> String {
    word.to_ascii_uppercase()
}

/// `k=v` pairs in the map's order.
fn pairs(details: &std::collections::BTreeMap<String, String>) -> String {
    details.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub mod fixtures;
#[cfg(test)]
mod tests;
