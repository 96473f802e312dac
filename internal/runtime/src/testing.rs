//! Small makers of records for this crate's tests.

pub(crate) mod lab;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jaco_state::{Clock, LocalStore, Store, Transaction};
use jaco_types::{
    ClusterMeta, ContainerSpec, DeploymentName, DeploymentRevision, DeploymentSpec, Hostname, NodeId, PullPolicy,
    ReplaceOrder, ReplicaDesired, ReplicaId, ReplicaIndex, ReplicaObserved, RevisionKind, ServiceName, ServiceSpec,
};

pub(crate) const NODE: NodeId = NodeId(7);

/// Follows tokio's time, which tests pause.
pub(crate) struct TokioClock(pub(crate) tokio::time::Instant);

impl TokioClock {
    pub(crate) fn start() -> Arc<Self> {
        Arc::new(TokioClock(tokio::time::Instant::now()))
    }
}

impl Clock for TokioClock {
    fn now_ms(&self) -> u64 {
        1_800_000_000_000 + u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

pub(crate) fn service(image: &str) -> ServiceSpec {
    ServiceSpec {
        replicas: 1,
        placement: Default::default(),
        exclusive: false,
        reschedule: Default::default(),
        restart: Default::default(),
        pull_policy: PullPolicy::Missing,
        depends_on: BTreeMap::new(),
        ports: Vec::new(),
        hidden_environment: Vec::new(),
        container: ContainerSpec { image: image.to_owned(), ..Default::default() },
    }
}

pub(crate) fn deployment<const N: usize>(name: &str, services: [(&str, ServiceSpec); N]) -> DeploymentSpec {
    DeploymentSpec {
        name: DeploymentName::new(name).unwrap(),
        services: services.into_iter().map(|(name, spec)| (ServiceName::new(name).unwrap(), spec)).collect(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        routes: Vec::new(),
        acme_email: None,
    }
}

pub(crate) fn desired(deployment: &str, name: &str, service: &ServiceSpec) -> ReplicaDesired {
    ReplicaDesired {
        id: ReplicaId::new(format!("{deployment}-{name}-0")).unwrap(),
        deployment: DeploymentName::new(deployment).unwrap(),
        service: ServiceName::new(name).unwrap(),
        index: ReplicaIndex::Index(0),
        node: NODE,
        hostname: Hostname::new("n1").unwrap(),
        revision: 1,
        spec_hash: service.hash(),
        generation: 1,
        attempt: 1,
        order: ReplaceOrder::StartFirst,
        waiting_on: Vec::new(),
    }
}

pub(crate) fn cluster(id: &str, pool: &str) -> ClusterMeta {
    ClusterMeta {
        cluster_id: id.to_owned(),
        name: id.to_owned(),
        incarnation: 1,
        feature_level: 1,
        created_at_ms: 0,
        ipam_pool: pool.parse().unwrap(),
        mesh_cidr: "10.243.0.0/16".parse().unwrap(),
        node_down_after_ms: 10_000,
    }
}

/// A store with a cluster, as the scheduler would fill it.
pub(crate) struct Bench {
    pub(crate) store: Arc<LocalStore>,
}

impl Bench {
    pub(crate) fn new(clock: Arc<dyn Clock>, cluster_id: &str, pool: &str) -> Self {
        let store = Arc::new(LocalStore::new(clock));
        let mut transaction = Transaction::new("test");
        transaction.put(cluster(cluster_id, pool));
        store.commit(transaction).unwrap();
        Bench { store }
    }

    /// Stores a revision, and its replicas as desired here; earlier ones of the same id are replaced.
    pub(crate) fn want(&self, spec: DeploymentSpec, revision: u64, replicas: Vec<ReplicaDesired>) {
        let mut transaction = Transaction::new("test");
        transaction.put(DeploymentRevision {
            deployment: spec.name.clone(),
            revision,
            spec: Arc::new(spec),
            jaco_yaml: String::new(),
            compose_yaml: String::new(),
            identity: "test".to_owned(),
            applied_at_ms: 0,
            kind: RevisionKind::Apply,
        });
        for replica in replicas {
            transaction.put(ReplicaDesired { revision, ..replica });
        }
        self.store.commit(transaction).unwrap();
    }

    pub(crate) fn drop_replica(&self, id: &str) {
        let mut transaction = Transaction::new("test");
        transaction.delete::<ReplicaDesired>(id);
        self.store.commit(transaction).unwrap();
    }

    pub(crate) fn observed(&self, id: &str) -> Option<ReplicaObserved> {
        self.store.view().get::<ReplicaObserved>(id).cloned()
    }

    /// Waits until the observation is as asked for.
    pub(crate) async fn until(&self, id: &str, limit: Duration, what: impl Fn(Option<&ReplicaObserved>) -> bool) {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let now = self.observed(id);
            if what(now.as_ref()) {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "{id} is not as expected after {limit:?}: {now:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
