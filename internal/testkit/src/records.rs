//! Records for tests.
//!
//! The names given here come from the tests themselves, so a wrong one is a mistake in a test and ends it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use jaco_state::Transaction;
use jaco_types::{
    Claim, ClaimKind, ClusterMeta, ContainerSpec, Deployment, DeploymentName, DeploymentRevision, DeploymentSpec,
    DeploymentStatus, Domain, Hostname, NetworkAttachment, NetworkName, NetworkSpec, Node, NodeId, NodeSchedulability,
    NodeState, NodeStatus, Placement, PullPolicy, ReplaceOrder, ReplicaDesired, ReplicaId, ReplicaIndex,
    ReplicaObserved, ReplicaState, Reschedule, RestartMode, RevisionCounter, RevisionKind, Route, RouteTls,
    ServiceName, ServiceSpec,
};

/// Id of the cluster of [`cluster_meta`].
pub const CLUSTER_ID: &str = "5f0c1c9e-2f4d-4c53-9d0a-3f6a3c5b8e11";
/// Its incarnation.
pub const INCARNATION: u64 = 0x1ace;

/// A deployment name.
pub fn deployment_name(text: &str) -> DeploymentName {
    DeploymentName::new(text).unwrap()
}

/// A service name.
pub fn service_name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

/// A host name.
pub fn hostname(text: &str) -> Hostname {
    Hostname::new(text).unwrap()
}

/// The record of an initialised cluster.
pub fn cluster_meta() -> ClusterMeta {
    ClusterMeta {
        cluster_id: CLUSTER_ID.to_owned(),
        name: "test".to_owned(),
        incarnation: INCARNATION,
        feature_level: 1,
        created_at_ms: 1_000,
        ipam_pool: "10.244.0.0/16".parse().unwrap(),
        mesh_cidr: "10.245.0.0/16".parse().unwrap(),
        node_down_after_ms: 10_000,
    }
}

/// The records of a member that takes replicas.
#[derive(Debug, Clone)]
pub struct ReadyNode {
    /// The member.
    pub node: Node,
    /// Its status: ready.
    pub status: NodeStatus,
    /// Whether it takes replicas: yes.
    pub schedulability: NodeSchedulability,
}

impl ReadyNode {
    /// Puts its records.
    pub fn put_into(&self, transaction: &mut Transaction) {
        transaction.put(self.node.clone()).put(self.status.clone()).put(self.schedulability.clone());
    }
}

/// A ready member with this id and name; its address ends with the last byte of the id.
pub fn ready_node(id: u64, name: &str) -> ReadyNode {
    let id = NodeId(id);
    let address = format!("192.0.2.{}", id.0 & 0xff);
    ReadyNode {
        node: Node {
            id,
            hostname: hostname(name),
            grpc_address: format!("{address}:7000"),
            address,
            version: "0.0.1".to_owned(),
            joined_at_ms: 1_000,
            cluster_address: String::new(),
            public_keys: Vec::new(),
            seal_key: String::new(),
            labels: BTreeMap::new(),
        },
        status: NodeStatus { id, state: NodeState::Ready, details: BTreeMap::new() },
        schedulability: NodeSchedulability { id, schedulable: true },
    }
}

/// A service of `replicas` containers of this image, in the network `default`.
pub fn service(image: &str, replicas: u32) -> ServiceSpec {
    let networks = BTreeMap::from([(NetworkName::new("default").unwrap(), NetworkAttachment::default())]);
    ServiceSpec {
        replicas,
        placement: Placement::Spread,
        exclusive: false,
        reschedule: Reschedule::Auto,
        restart: RestartMode::Always,
        pull_policy: PullPolicy::Missing,
        depends_on: BTreeMap::new(),
        ports: Vec::new(),
        hidden_environment: Vec::new(),
        container: ContainerSpec { image: image.to_owned(), networks, ..ContainerSpec::default() },
    }
}

/// A deployment of these services with the network `default`, without routes.
pub fn deployment_spec(name: &str, services: impl IntoIterator<Item = (&'static str, ServiceSpec)>) -> DeploymentSpec {
    DeploymentSpec {
        name: deployment_name(name),
        services: services.into_iter().map(|(service, spec)| (service_name(service), spec)).collect(),
        networks: BTreeMap::from([(NetworkName::new("default").unwrap(), NetworkSpec::default())]),
        volumes: BTreeMap::new(),
        routes: Vec::new(),
        acme_email: None,
    }
}

/// A revision of a spec, applied on the socket.
pub fn revision_of(spec: DeploymentSpec, revision: u64) -> DeploymentRevision {
    DeploymentRevision {
        deployment: spec.name.clone(),
        revision,
        spec: Arc::new(spec),
        jaco_yaml: String::new(),
        compose_yaml: String::new(),
        identity: "local".to_owned(),
        applied_at_ms: 1_000,
        kind: RevisionKind::Apply,
    }
}

/// The records that a first apply leaves.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// The deployment: revision 1 active, pending.
    pub deployment: Deployment,
    /// Revision 1.
    pub revision: DeploymentRevision,
    /// The counter at 1.
    pub counter: RevisionCounter,
}

impl Deployed {
    /// Puts its records.
    pub fn put_into(&self, transaction: &mut Transaction) {
        transaction.put(self.deployment.clone()).put(self.revision.clone()).put(self.counter.clone());
    }
}

/// A spec as first applied.
pub fn deployed(spec: DeploymentSpec) -> Deployed {
    let name = spec.name.clone();
    Deployed {
        deployment: Deployment {
            name: name.clone(),
            active_revision: 1,
            previous_revision: None,
            attempt: 1,
            status: DeploymentStatus::Pending,
            status_details: BTreeMap::new(),
        },
        revision: revision_of(spec, 1),
        counter: RevisionCounter { deployment: name, highest: 1 },
    }
}

/// Replica `index` of a service of this revision on this node, generation 1. The service must be in the spec.
pub fn replica_desired(revision: &DeploymentRevision, service: &str, index: u32, node: &Node) -> ReplicaDesired {
    let service = service_name(service);
    let spec = revision.spec.services.get(&service).unwrap();
    ReplicaDesired {
        id: ReplicaId::indexed(&revision.deployment, &service, index).unwrap(),
        deployment: revision.deployment.clone(),
        service,
        index: ReplicaIndex::Index(index),
        node: node.id,
        hostname: node.hostname.clone(),
        revision: revision.revision,
        spec_hash: spec.hash(),
        generation: 1,
        attempt: 1,
        order: if spec.is_stateful() { ReplaceOrder::StopFirst } else { ReplaceOrder::StartFirst },
        waiting_on: Vec::new(),
    }
}

/// What the replica's node reports when it is in this state; no endpoints, no container.
pub fn replica_observed(desired: &ReplicaDesired, state: ReplicaState) -> ReplicaObserved {
    ReplicaObserved {
        id: desired.id.clone(),
        deployment: desired.deployment.clone(),
        service: desired.service.clone(),
        node: desired.node,
        generation: desired.generation,
        attempt: desired.attempt,
        state,
        code: None,
        message: None,
        details: BTreeMap::new(),
        container_id: None,
        image: String::new(),
        endpoints: Vec::new(),
        outgoing: None,
        started_at_ms: None,
        restart_count: 0,
        failures: 0,
        history: Vec::new(),
    }
}

/// The catch-all route of a domain, plain HTTP.
pub fn route(domain: &str, deployment: &str, service: &str, port: u16) -> Route {
    Route {
        domain: Domain::new(domain).unwrap(),
        path: String::new(),
        deployment: deployment_name(deployment),
        service: service_name(service),
        port,
        tls: RouteTls::Off,
        strip_path: false,
    }
}

/// A claim of a deployment.
pub fn claim(kind: ClaimKind, key: &str, owner: &str) -> Claim {
    Claim { kind, key: key.to_owned(), owner: deployment_name(owner), detail: String::new() }
}
