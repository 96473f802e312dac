//! What a plan needs to know beside the view: soft facts that live in the leader's memory and are never committed.

use std::collections::BTreeMap;
use std::time::Duration;

use jaco_state::View;
use jaco_types::{DeploymentRevision, NodeId, Placement, ReplicaDesired, ServiceSpec};

/// Facts of one planning pass. The default knows nothing: no node has a limit, and no exclusive replica leaves a silent node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the nodes have to give away. A node that is not here has no limit.
    pub capacity: BTreeMap<NodeId, Capacity>,
    /// The leases of exclusive replicas; `None` while nothing is known of them.
    pub leases: Option<Leases>,
}

/// What a node can reserve for replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Billionths of a core.
    pub nano_cpus: u64,
    /// Bytes.
    pub memory: u64,
}

/// What the leader knows of the leases it gave, on its own boot-time clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leases {
    /// The time of this pass.
    pub now: Duration,
    /// When this leader was elected. The one before may have answered anybody until then.
    pub elected: Duration,
    /// When this leader last answered a heartbeat, by node. It must hold every node answered in this term, members or not.
    pub answered: BTreeMap<NodeId, Duration>,
    /// The cluster's values.
    pub terms: LeaseTerms,
}

/// The cluster values of fencing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// L: how long a node may run exclusive containers after it sent a heartbeat that was answered.
    pub lease: Duration,
    /// The longest G: a container has its own stop grace to end in after that, but not more than this.
    pub grace: Duration,
}

impl Default for LeaseTerms {
    /// 6 s, so that an election and the reconnects after it end no lease; 30 s, what the replacement of a service may be kept waiting for
    /// its grace. With an engine's own grace of 10 s that makes W 17.2 s.
    fn default() -> Self {
        LeaseTerms { lease: Duration::from_secs(6), grace: Duration::from_secs(30) }
    }
}

impl LeaseTerms {
    /// W: after the last answer, the time until nothing runs any more on a node of what was to be stopped within `stop_within`, the
    /// longest G where that is longer or not known: (L + G) × 1.01 + 1 s, the hundredth for clocks that run at different speeds.
    pub fn wait(&self, stop_within: Option<Duration>) -> Duration {
        let grace = stop_within.map_or(self.grace, |own| own.min(self.grace));
        let sum = self.lease.saturating_add(grace);
        sum.saturating_add(sum / 100).saturating_add(Duration::from_nanos(100)).saturating_add(Duration::from_secs(1))
    }
}

/// What a replica takes of its node's capacity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Need {
    nano_cpus: u64,
    memory: u64,
}

impl Need {
    /// The declared reservations; where one is missing, a packed service takes its limit, so that a node is full when its limits are.
    pub(crate) fn of(service: &ServiceSpec) -> Self {
        let declared = &service.container.resources;
        let limits = match service.placement {
            Placement::Pack => (declared.nano_cpus, declared.memory),
            Placement::Spread | Placement::Hosts(_) | Placement::Global => (None, None),
        };
        Need {
            nano_cpus: declared.reserved_nano_cpus.or(limits.0).unwrap_or(0),
            memory: declared.memory_reservation.or(limits.1).unwrap_or(0),
        }
    }

    /// What a replica takes of its node by the spec it is to run; nothing when that is not there.
    pub(crate) fn of_replica(view: &View, replica: &ReplicaDesired) -> Self {
        let key = DeploymentRevision::key_of(&replica.deployment, replica.revision);
        let revision = view.get::<DeploymentRevision>(&key);
        let service = revision.and_then(|revision| revision.spec.services.get(&replica.service));
        service.map(Need::of).unwrap_or_default()
    }
}

/// What is on a node: all desired replicas of all deployments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) replicas: usize,
    nano_cpus: u64,
    memory: u64,
}

impl Load {
    pub(crate) fn add(&mut self, need: Need) {
        self.replicas += 1;
        self.nano_cpus = self.nano_cpus.saturating_add(need.nano_cpus);
        self.memory = self.memory.saturating_add(need.memory);
    }

    pub(crate) fn remove(&mut self, need: Need) {
        self.replicas = self.replicas.saturating_sub(1);
        self.nano_cpus = self.nano_cpus.saturating_sub(need.nano_cpus);
        self.memory = self.memory.saturating_sub(need.memory);
    }

    /// Whether one replica more fits; one that declares nothing always does.
    pub(crate) fn fits(&self, need: Need, capacity: Option<&Capacity>) -> bool {
        let Some(capacity) = capacity else { return true };
        let fits = |used: u64, needed: u64, all: u64| needed == 0 || used.saturating_add(needed) <= all;
        fits(self.nano_cpus, need.nano_cpus, capacity.nano_cpus) && fits(self.memory, need.memory, capacity.memory)
    }
}
