//! A network in memory whose links can be cut one way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use jaco_controlplane::{
    BoxStream, PeerRequest, PeerResponse, PeerService, RaftTarget, Randomness, Transport, TransportError,
};
use jaco_state::BoxFuture;
use jaco_types::NodeId;

use super::SeededRandomness;

/// A message takes this long, and up to as long again.
const DELAY: Duration = Duration::from_millis(1);

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Delivered,
    /// It is lost, and the sender waits in vain.
    Lost,
    /// It arrives, and its answer is lost.
    AnswerLost,
}

type Judge = Arc<dyn Fn(NodeId, NodeId, &PeerRequest) -> Fate + Send + Sync>;

#[derive(Default)]
struct State {
    services: BTreeMap<NodeId, Arc<dyn PeerService>>,
    /// Links that are cut: from, to.
    cut: BTreeSet<(NodeId, NodeId)>,
    judge: Option<Judge>,
}

/// The network. All clones are the same one. Messages travel in their encoded form.
#[derive(Clone)]
pub struct MemoryNetwork {
    state: Arc<Mutex<State>>,
    randomness: Arc<SeededRandomness>,
}

impl MemoryNetwork {
    /// A network with nobody in it.
    pub fn new(seed: u64) -> Self {
        MemoryNetwork { state: Arc::default(), randomness: Arc::new(SeededRandomness::new(seed)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a node reaches the others.
    pub fn transport(&self, node: NodeId) -> Arc<dyn Transport> {
        Arc::new(Port { network: self.clone(), node })
    }

    /// From now on the node is reached; also a new one in the place of an old one.
    pub fn attach(&self, node: NodeId, service: Arc<dyn PeerService>) {
        self.state().services.insert(node, service);
    }

    /// From now on connections to the node are refused, and it reaches nobody.
    pub fn detach(&self, node: NodeId) {
        self.state().services.remove(&node);
    }

    /// Messages from one node to the other are lost from now on; not those the other way.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.state().cut.insert((from, to));
    }

    /// Nobody hears from a node, nor it from anybody of these.
    pub fn isolate(&self, node: NodeId, from: impl IntoIterator<Item = NodeId>) {
        for other in from.into_iter().filter(|other| *other != node) {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    /// Every link works again, and every request is delivered.
    pub fn heal(&self) {
        let mut state = self.state();
        state.cut.clear();
        state.judge = None;
    }

    /// Has every request judged, those in streams excepted.
    pub fn judge(&self, judge: impl Fn(NodeId, NodeId, &PeerRequest) -> Fate + Send + Sync + 'static) {
        self.state().judge = Some(Arc::new(judge));
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        let state = self.state();
        state.cut.contains(&(from, to)) || !state.services.contains_key(&from)
    }

    fn fate(&self, from: NodeId, to: NodeId, request: &PeerRequest) -> Fate {
        let judge = self.state().judge.clone();
        judge.map_or(Fate::Delivered, |judge| judge(from, to, request))
    }

    fn service(&self, node: NodeId) -> Result<Arc<dyn PeerService>, TransportError> {
        let refused = || TransportError::Unreachable { reason: format!("node {} is not there", node.0) };
        self.state().services.get(&node).cloned().ok_or_else(refused)
    }

    /// A message on its way; never arrives on a link that is cut.
    async fn travel(&self, from: NodeId, to: NodeId) {
        let extra = self.randomness.next_u64() % (DELAY.as_micros() as u64 + 1);
        tokio::time::sleep(DELAY + Duration::from_micros(extra)).await;
        if self.is_cut(from, to) {
            std::future::pending().await
        }
    }
}

struct Port {
    network: MemoryNetwork,
    node: NodeId,
}

fn read(bytes: Bytes) -> Result<PeerResponse, TransportError> {
    PeerResponse::decode(bytes).map_err(|error| TransportError::Unreachable { reason: error.to_string() })
}

impl Transport for Port {
    fn call(
        &self,
        target: RaftTarget,
        request: PeerRequest,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<PeerResponse, TransportError>> {
        let (network, from, to) = (self.network.clone(), self.node, target.node_id);
        let answered = async move {
            let service = network.service(to)?;
            network.travel(from, to).await;
            let fate = network.fate(from, to, &request);
            if fate == Fate::Lost {
                std::future::pending().await
            }
            let answer = service.receive_encoded(from, request.encode()).await;
            network.travel(to, from).await;
            if fate == Fate::AnswerLost {
                std::future::pending().await
            }
            read(answer)
        };
        Box::pin(async move { tokio::time::timeout(deadline, answered).await.unwrap_or(Err(TransportError::TimedOut)) })
    }

    fn stream(
        &self,
        target: RaftTarget,
        requests: BoxStream<PeerRequest>,
    ) -> BoxFuture<'static, Result<BoxStream<Result<PeerResponse, TransportError>>, TransportError>> {
        let (network, from, to) = (self.network.clone(), self.node, target.node_id);
        Box::pin(async move {
            let service = network.service(to)?;
            let there = network.clone();
            let sent = requests.then(move |request| {
                let network = there.clone();
                async move {
                    network.travel(from, to).await;
                    request.encode()
                }
            });
            let answers = service.receive_stream_encoded(from, Box::pin(sent));
            let received = answers.then(move |answer| {
                let network = network.clone();
                async move {
                    network.travel(to, from).await;
                    read(answer)
                }
            });
            let received: BoxStream<Result<PeerResponse, TransportError>> = Box::pin(received);
            Ok(received)
        })
    }
}
