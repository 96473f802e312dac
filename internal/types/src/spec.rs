//! What a deployment asks for, after its manifests were read, merged and checked.
//!
//! The daemon stores this form with each revision; nobody downstream reads YAML again. Every struct leaves out fields that
//! have their default when it is serialised, so a field added later changes neither stored bytes nor any [`SpecHash`].

mod container;
mod deployment;
mod hash;
mod network;
pub(crate) mod serde_help;

pub use container::{
    ContainerSpec, DeviceMapping, DeviceRequest, HealthTest, Healthcheck, Logging, Mount, NetworkAttachment,
    NetworkMode, Resources, TmpfsMount, Ulimit, VolumesFrom,
};
pub use deployment::{
    Dependency, DependencyCondition, DeploymentSpec, Placement, Protocol, PublishedPort, PullPolicy, Reschedule,
    RestartMode, RouteSpec, RouteTls, ServiceSpec,
};
pub use hash::SpecHash;
pub use network::{NetworkSpec, VolumeSpec};
