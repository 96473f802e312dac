//! Tests against the real transaction logic: plans are committed to a [`LocalStore`], and nodes are played by [`World`].

mod exclusive;
mod gates;
mod intents;
mod moves;
mod nodes;
mod placement;
mod property;
mod replicas;
mod rolling;
mod scale;
mod status;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jaco_state::{Clock, Commit, LocalStore, ProposeError, Store, Transaction, View};
use jaco_types::*;

use crate::intent::{self, Applied, ApplyRequest};
use crate::{Facts, Plan, Planner, plan};

const TERM: u64 = 1;

/// A clock that goes on by a millisecond with each look.
#[derive(Debug, Default)]
struct CountingClock(AtomicU64);

impl Clock for CountingClock {
    fn now_ms(&self) -> u64 {
        1_000_000 + self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }
}

fn deployment(name: &str) -> DeploymentName {
    DeploymentName::new(name).unwrap()
}

fn service_name(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

pub(crate) fn host(name: &str) -> Hostname {
    Hostname::new(name).unwrap()
}

pub(crate) fn node_id(name: &str) -> NodeId {
    let fold = |sum: u64, byte: u8| sum.wrapping_mul(131).wrapping_add(u64::from(byte));
    NodeId(name.bytes().fold(7, fold))
}

/// A stateless service on a plain image.
pub(crate) fn service(replicas: u32) -> ServiceSpec {
    ServiceSpec {
        replicas,
        placement: Placement::Spread,
        exclusive: false,
        reschedule: Reschedule::Auto,
        restart: RestartMode::Always,
        pull_policy: PullPolicy::PreferRemote,
        depends_on: BTreeMap::new(),
        ports: Vec::new(),
        hidden_environment: Vec::new(),
        container: ContainerSpec { image: "web:1".to_owned(), ..ContainerSpec::default() },
    }
}

fn with_image(mut service: ServiceSpec, image: &str) -> ServiceSpec {
    service.container.image = image.to_owned();
    service
}

pub(crate) fn with_placement(mut service: ServiceSpec, placement: Placement) -> ServiceSpec {
    service.placement = placement;
    service
}

pub(crate) fn with_volume(mut service: ServiceSpec) -> ServiceSpec {
    service.container.mounts.push(Mount::Volume {
        source: VolumeName::new("data").unwrap(),
        target: "/data".to_owned(),
        read_only: false,
        nocopy: false,
        subpath: None,
    });
    service
}

fn with_dependency(mut service: ServiceSpec, on: &str, condition: DependencyCondition, required: bool) -> ServiceSpec {
    service.depends_on.insert(service_name(on), Dependency { condition, required });
    service
}

pub(crate) fn hosts(names: &[&str]) -> Placement {
    Placement::Hosts(names.iter().map(|name| host(name)).collect())
}

pub(crate) fn spec<const N: usize>(name: &str, services: [(&str, ServiceSpec); N]) -> DeploymentSpec {
    DeploymentSpec {
        name: deployment(name),
        services: services.into_iter().map(|(name, service)| (service_name(name), service)).collect(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        routes: Vec::new(),
        acme_email: None,
    }
}

/// A cluster whose nodes do what the test says.
pub(crate) struct World {
    store: LocalStore,
    /// Sees every view that is planned, and must find what a planner that knows nothing finds.
    planner: RefCell<Planner>,
    facts: RefCell<Facts>,
}

impl World {
    /// A cluster with these nodes, all ready.
    pub(crate) fn new(nodes: &[&str]) -> Self {
        let world = World {
            store: LocalStore::new(Arc::new(CountingClock::default())),
            planner: RefCell::default(),
            facts: RefCell::default(),
        };
        for (number, name) in nodes.iter().enumerate() {
            if number == 0 {
                let init = intent::init(&world.view(), cluster_meta(), node(name), "local").unwrap();
                world.commit(init).unwrap();
            }
            world.add_node(name);
        }
        world
    }

    pub(crate) fn view(&self) -> View {
        self.store.view()
    }

    pub(crate) fn commit(&self, transaction: Transaction) -> Result<Commit, ProposeError> {
        self.store.commit(transaction)
    }

    fn add_node(&self, name: &str) {
        let mut transaction = Transaction::new("test");
        transaction.put(node(name));
        transaction.put(NodeSchedulability { id: node_id(name), schedulable: true });
        self.commit(transaction).unwrap();
        self.set_node(name, NodeState::Ready);
    }

    pub(crate) fn set_node(&self, name: &str, state: NodeState) {
        let mut transaction = Transaction::new("test");
        transaction.put(NodeStatus { id: node_id(name), state, details: BTreeMap::new() });
        self.commit(transaction).unwrap();
    }

    fn remove_node(&self, name: &str) {
        let mut transaction = Transaction::new("test");
        let key = node_id(name).to_string();
        transaction.delete::<Node>(key.as_str()).delete::<NodeStatus>(key.as_str());
        transaction.delete::<NodeSchedulability>(key.as_str());
        self.commit(transaction).unwrap();
    }

    fn request(spec: DeploymentSpec) -> ApplyRequest {
        ApplyRequest {
            spec: Arc::new(spec),
            jaco_yaml: "deployment: test".to_owned(),
            compose_yaml: "services: {}".to_owned(),
            identity: "local".to_owned(),
            now_ms: 5,
        }
    }

    fn try_apply(&self, spec: DeploymentSpec) -> Result<Applied, UserError> {
        let applied = intent::apply(&self.view(), &World::request(spec))?;
        self.commit(applied.transaction.clone()).unwrap();
        Ok(applied)
    }

    pub(crate) fn apply(&self, spec: DeploymentSpec) -> u64 {
        self.try_apply(spec).unwrap().revision
    }

    fn plan(&self) -> Plan {
        let view = self.view();
        let facts = self.facts.borrow();
        let planned = plan(&view, TERM, &facts);
        assert_eq!(self.planner.borrow_mut().plan_with(&view, TERM, &facts), planned);
        planned
    }

    /// Plans once and commits; returns whether there was anything to do.
    pub(crate) fn plan_once(&self) -> bool {
        let plan = self.plan();
        let any = !plan.transactions.is_empty();
        for transaction in plan.transactions {
            assert!(!transaction.is_empty(), "an empty transaction");
            self.commit(transaction).unwrap();
        }
        any
    }

    /// Reports a state for a replica as its node would, for its present generation and attempt.
    fn observe(&self, id: &str, state: ReplicaState, code: Option<ErrorCode>) {
        let view = self.view();
        let desired = view.get::<ReplicaDesired>(id).unwrap_or_else(|| panic!("no replica {id}"));
        let mut transaction = Transaction::new("node");
        transaction.put(observation(desired, state, code));
        self.commit(transaction).unwrap();
    }

    fn is_alive(view: &View, node: NodeId) -> bool {
        view.get::<NodeStatus>(&node.to_string()).is_some_and(|status| match status.state {
            NodeState::Down | NodeState::Unreachable => false,
            NodeState::Joining
            | NodeState::Ready
            | NodeState::IsolationUnavailable
            | NodeState::DrainTimeout
            | NodeState::Draining => true,
        })
    }

    /// Nodes that are there forget what they need not run any more, and say that it is gone.
    fn stop_all(&self) -> bool {
        let view = self.view();
        let runs = |id: &ReplicaId, node: NodeId| {
            view.get::<ReplicaDesired>(id.as_str()).is_some_and(|desired| desired.node == node)
        };
        let mut transaction = Transaction::new("node");
        let observed = view.list::<ReplicaObserved>();
        for gone in observed.filter(|gone| !runs(&gone.id, gone.node) && World::is_alive(&view, gone.node)) {
            transaction.delete::<ReplicaObserved>(gone.id.as_str());
        }
        let slots = view.list::<ExclusiveSlot>().filter(|slot| !slot.released);
        for slot in slots.filter(|slot| !runs(&slot.replica, slot.owner) && World::is_alive(&view, slot.owner)) {
            transaction.put(ExclusiveSlot { released: true, ..slot.clone() });
        }
        let any = !transaction.is_empty();
        if any {
            self.commit(transaction).unwrap();
        }
        any
    }

    /// Brings up every replica that may start and is not up, on nodes that are there; what is to stop has stopped.
    pub(crate) fn start_all(&self) -> bool {
        let stopped = self.stop_all();
        let view = self.view();
        let mut started = Vec::new();
        for desired in view.list::<ReplicaDesired>().filter(|desired| World::is_alive(&view, desired.node)) {
            let observed = view.get::<ReplicaObserved>(desired.id.as_str());
            let current =
                observed.filter(|observed| observed.generation == desired.generation && observed.node == desired.node);
            let runs = current.is_some_and(|observed| observed.state == ReplicaState::Running);
            if !runs && desired.waiting_on.is_empty() {
                started.push(observation(desired, ReplicaState::Running, None));
            }
        }
        for chunk in started.chunks(500) {
            let mut transaction = Transaction::new("node");
            for observed in chunk {
                transaction.put(observed.clone());
            }
            self.commit(transaction).unwrap();
        }
        stopped || !started.is_empty()
    }

    /// Plans and starts until nothing changes any more.
    pub(crate) fn settle(&self) {
        for _ in 0..200 {
            let planned = self.plan_once();
            let started = self.start_all();
            if !planned && !started {
                return;
            }
        }
        panic!("no fixpoint after 200 passes");
    }

    fn replica(&self, id: &str) -> ReplicaDesired {
        self.view().get::<ReplicaDesired>(id).cloned().unwrap_or_else(|| panic!("no replica {id}"))
    }

    pub(crate) fn replicas(&self, of: &str) -> Vec<ReplicaDesired> {
        self.view().list::<ReplicaDesired>().filter(|replica| replica.deployment.as_str() == of).cloned().collect()
    }

    fn ids(&self, of: &str) -> Vec<String> {
        self.replicas(of).into_iter().map(|replica| replica.id.to_string()).collect()
    }

    /// Host names with the number of replicas each has of a deployment.
    fn spread(&self, of: &str) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for replica in self.replicas(of) {
            *counts.entry(replica.hostname.to_string()).or_insert(0) += 1;
        }
        counts
    }

    fn deployment(&self, name: &str) -> Deployment {
        self.view().get::<Deployment>(name).cloned().unwrap_or_else(|| panic!("no deployment {name}"))
    }

    fn reason(&self, name: &str) -> Option<String> {
        self.deployment(name).status_details.get("reason").cloned()
    }
}

fn cluster_meta() -> ClusterMeta {
    ClusterMeta {
        cluster_id: "c".to_owned(),
        name: "test".to_owned(),
        incarnation: 1,
        feature_level: 1,
        created_at_ms: 1,
        ipam_pool: "10.244.0.0/16".parse().unwrap(),
        mesh_cidr: "10.243.0.0/16".parse().unwrap(),
        node_down_after_ms: 10_000,
    }
}

pub(crate) fn node(name: &str) -> Node {
    Node {
        id: node_id(name),
        hostname: host(name),
        address: "127.0.0.1".to_owned(),
        grpc_address: "127.0.0.1:7000".to_owned(),
        version: "0".to_owned(),
        joined_at_ms: 1,
        cluster_address: String::new(),
        public_keys: Vec::new(),
        seal_key: String::new(),
        labels: BTreeMap::new(),
    }
}

fn observation(desired: &ReplicaDesired, state: ReplicaState, code: Option<ErrorCode>) -> ReplicaObserved {
    ReplicaObserved {
        id: desired.id.clone(),
        deployment: desired.deployment.clone(),
        service: desired.service.clone(),
        node: desired.node,
        generation: desired.generation,
        attempt: desired.attempt,
        state,
        code,
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
