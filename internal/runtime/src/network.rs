//! Networks of this node: the subnet is recorded first, then the bridge is made; in the other direction the bridge goes first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use jaco_state::{ProposeError, Store};
use jaco_types::{
    ClusterMeta, DeploymentName, ErrorCode, NetworkName, NetworkSpec, NodeId, Subnet, bridge_name, label, network_name,
};

use crate::engine::{Engine, EngineError, Network};
use crate::subnet;

/// Attempts to take a subnet while others take theirs.
const ATTEMPTS: u32 = 8;

/// Why a network is not here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    #[error(
        "no free subnet is left in the pool {pool} for network {network:?}; delete deployments, or begin a cluster with a larger ipam_pool"
    )]
    PoolExhausted { pool: String, network: String },
    #[error("an engine network {name:?} exists that is not this cluster's; remove or rename it")]
    Foreign { name: String },
    #[error(
        "network {name:?} is to be rebuilt with another range and is still in use; it is rebuilt when the last container in it has stopped"
    )]
    Rebuilding { name: String },
    #[error("the subnet of network {network:?} cannot be recorded: {source}")]
    Store { network: String, source: ProposeError },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl NetworkError {
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            NetworkError::PoolExhausted { .. } => ErrorCode::SubnetPoolExhausted,
            NetworkError::Foreign { .. } | NetworkError::Rebuilding { .. } | NetworkError::Engine(_) => {
                ErrorCode::DockerError
            }
            NetworkError::Store { source, .. } => source.user_error().code,
        }
    }
}

/// A network as a deployment has it.
pub(crate) struct Asked<'a> {
    pub(crate) cluster: &'a ClusterMeta,
    pub(crate) deployment: &'a DeploymentName,
    pub(crate) key: &'a NetworkName,
    pub(crate) spec: &'a NetworkSpec,
}

/// Makes and removes networks; one at a time per name.
pub(crate) struct Networks {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) node: NodeId,
    pub(crate) mtu: u32,
    locks: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Networks {
    pub(crate) fn new(engine: Arc<dyn Engine>, store: Arc<dyn Store>, node: NodeId, mtu: u32) -> Self {
        Networks { engine, store, node, mtu, locks: Mutex::new(BTreeMap::new()) }
    }

    fn lock(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(name.to_owned()).or_default())
    }

    /// Makes sure that the network is there with its recorded range.
    pub(crate) async fn ensure(&self, asked: Asked<'_>) -> Result<Network, NetworkError> {
        let name = network_name(asked.deployment, asked.key);
        let lock = self.lock(&name);
        let _one_at_a_time = lock.lock().await;
        let subnet = self.subnet(&asked).await?;
        if let Some(found) = self.engine.network(&name).await? {
            if found.labels.get(label::CLUSTER_ID) != Some(&asked.cluster.cluster_id) {
                return Err(NetworkError::Foreign { name });
            }
            if found.subnet == subnet.cidr.to_string() {
                return Ok(found);
            }
            match self.engine.remove_network(&found.id).await {
                Ok(()) => {}
                Err(EngineError::Conflict { .. } | EngineError::Refused { .. }) => {
                    return Err(NetworkError::Rebuilding { name });
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.engine.create_network(request(&asked, &subnet, self.mtu)).await?;
        self.engine
            .network(&name)
            .await?
            .ok_or_else(|| EngineError::NotFound { message: format!("network {name:?} is gone again") }.into())
    }

    async fn subnet(&self, asked: &Asked<'_>) -> Result<Subnet, NetworkError> {
        let key = Subnet::key_of(asked.deployment, asked.key, self.node);
        let store = |source| NetworkError::Store { network: asked.key.to_string(), source };
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            let view = self.store.view();
            if let Some(known) = view.get::<Subnet>(&key) {
                return Ok(known.clone());
            }
            let used = view.list::<Subnet>().map(|subnet| subnet.cidr);
            let Some(cidr) = subnet::lowest_free(asked.cluster.ipam_pool, used) else {
                return Err(NetworkError::PoolExhausted {
                    pool: asked.cluster.ipam_pool.to_string(),
                    network: asked.key.to_string(),
                });
            };
            let record = subnet::record(asked.deployment, asked.key, self.node, cidr);
            match self.store.propose(subnet::take(record.clone())).await {
                Ok(_) => return Ok(record),
                Err(ProposeError::Refused { failed, index }) => {
                    self.store.reached(index).await.map_err(store)?;
                    refused = Some(ProposeError::Refused { failed, index });
                }
                Err(error) => return Err(store(error)),
            }
        }
        Err(store(refused.unwrap_or(ProposeError::OutcomeUnknown)))
    }

    /// Removes a network that nobody needs, and then its record. `needed` is asked again once no one else works on it.
    pub(crate) async fn remove(
        &self,
        name: &str,
        cluster_id: &str,
        record: Option<(Subnet, u64)>,
        needed: impl Fn() -> bool,
    ) -> Result<(), NetworkError> {
        let lock = self.lock(name);
        let _one_at_a_time = lock.lock().await;
        if needed() {
            return Ok(());
        }
        // One of that name that is not ours is nobody's business here; by its id, as names are not unique.
        if let Some(found) = self.engine.network(name).await?
            && found.labels.get(label::CLUSTER_ID).is_some_and(|id| id == cluster_id)
        {
            self.engine.remove_network(&found.id).await?;
        }
        let Some((subnet, version)) = record else { return Ok(()) };
        match self.store.propose(subnet::free(&subnet, version)).await {
            // Refused: it was taken anew or freed meanwhile; the next look decides.
            Ok(_) | Err(ProposeError::Refused { .. }) => Ok(()),
            Err(source) => Err(NetworkError::Store { network: subnet.network.to_string(), source }),
        }
    }
}

fn request(asked: &Asked<'_>, subnet: &Subnet, mtu: u32) -> NetworkCreateRequest {
    let mut labels: std::collections::HashMap<_, _> = asked.spec.labels.clone().into_iter().collect();
    labels.extend([
        (label::CLUSTER_ID.to_owned(), asked.cluster.cluster_id.clone()),
        (label::DEPLOYMENT.to_owned(), asked.deployment.to_string()),
        (label::NETWORK.to_owned(), asked.key.to_string()),
        (label::SUBNET.to_owned(), subnet.cidr.to_string()),
    ]);
    NetworkCreateRequest {
        name: network_name(asked.deployment, asked.key),
        driver: Some("bridge".to_owned()),
        internal: Some(asked.spec.internal),
        ipam: Some(Ipam {
            driver: Some("default".to_owned()),
            config: Some(vec![IpamConfig {
                subnet: Some(subnet.cidr.to_string()),
                gateway: Some(subnet.gateway().to_string()),
                ..Default::default()
            }]),
            options: None,
        }),
        options: Some(
            [
                ("com.docker.network.bridge.name".to_owned(), bridge_name(asked.deployment, asked.key)),
                ("com.docker.network.driver.mtu".to_owned(), mtu.to_string()),
            ]
            .into(),
        ),
        labels: Some(labels),
        ..Default::default()
    }
}
