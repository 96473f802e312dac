//! What is known of one service while its keys are read.

use std::collections::{BTreeMap, BTreeSet};

use jaco_types::{ContainerSpec, Dependency, NetworkName, PullPolicy, ServiceName, VolumeName};

use super::limits::Limits;
use super::ports::Port;
use crate::reading::report::Spot;

/// A service as its own block describes it, before anything is checked against other services or jaco.yaml.
pub(crate) struct Draft {
    /// The container; resources are filled in from [`Draft::limits`] at the end.
    pub(crate) container: ContainerSpec,
    /// Where the service's name stands.
    pub(crate) spot: Spot,
    /// `deploy.replicas` or `scale`.
    pub(crate) replicas: Option<u32>,
    /// `deploy.mode: global`.
    pub(crate) global: bool,
    /// When the image is pulled.
    pub(crate) pull_policy: PullPolicy,
    /// What it waits for, and where that is written.
    pub(crate) depends_on: BTreeMap<ServiceName, (Dependency, Spot)>,
    /// Variables of the environment that a value of an environment file is part of.
    pub(crate) hidden: BTreeSet<String>,
    /// `ports`.
    pub(crate) ports: Vec<Port>,
    /// Named volumes it mounts.
    pub(crate) volumes: Vec<(VolumeName, Spot)>,
    /// Networks it names.
    pub(crate) networks: Vec<(NetworkName, Spot)>,
    /// Where `network_mode` is set to anything.
    pub(crate) network_mode: Option<Spot>,
    /// Where `container_name` stands.
    pub(crate) container_name: Option<Spot>,
    /// Where `scale` stands.
    pub(super) scale: Option<(u32, Spot)>,
    /// Both spellings of resource limits.
    pub(super) limits: Limits,
    /// Where `build` stands.
    pub(super) build: Option<Spot>,
    /// Whether `image` was written, valid or not.
    pub(super) has_image: bool,
}

impl Draft {
    /// A service of which nothing but its place is known.
    pub(super) fn new(spot: Spot) -> Draft {
        Draft {
            container: ContainerSpec::default(),
            spot,
            replicas: None,
            global: false,
            pull_policy: PullPolicy::default(),
            depends_on: BTreeMap::new(),
            hidden: BTreeSet::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            networks: Vec::new(),
            network_mode: None,
            container_name: None,
            scale: None,
            limits: Limits::default(),
            build: None,
            has_image: false,
        }
    }
}
