//! The words of JACO as Rust types: names, ids, specs, entities, states and error codes.
//!
//! Everything else in the workspace speaks in these types. Constructors refuse bad values; there is no async code and no I/O here.

mod audit;
mod entity;
mod error;
mod name;
mod naming;
mod role;
mod spec;
mod status;

pub use audit::{AUDIT_TYPES, audit_type};
pub use entity::*;
pub use error::{ErrorCode, UserError};
pub use name::{
    DeploymentName, Domain, Hostname, InvalidName, NetworkName, NodeId, OperatorName, ReplicaId, ServiceName,
    VolumeName,
};
pub use naming::{bridge_name, label, network_name, volume_name};
pub use role::Role;
pub use spec::*;
pub use status::{DeploymentStatus, NodeState, ReplicaState, RolloutState};
