//! A network in memory: delays, losses, duplicates, and links that can be cut one way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jaco_controlplane::{
    BoxStream, PeerRequest, PeerResponse, PeerService, RaftTarget, Randomness, Transport, TransportError,
};
use jaco_state::BoxFuture;
use jaco_types::NodeId;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::SeededRandomness;

/// What hangs on a connection over which nothing comes any more fails after this, however long its sender would have waited: so long the
/// keepalive of a daemon's connections takes to notice.
const NOTICED: Duration = Duration::from_secs(3);

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

/// How the network is at the moment. Chances are of a thousand messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weather {
    /// A message takes so long.
    pub delay: Range<Duration>,
    /// So many take up to `late` instead, also beyond the sender's patience: they overtake each other across connections.
    pub late_chance: u64,
    /// See `late_chance`.
    pub late: Duration,
    /// So many are lost; in a stream, which cannot lose one message, the connection breaks.
    pub loss_chance: u64,
    /// So many calls arrive twice.
    pub duplicate_chance: u64,
}

impl Default for Weather {
    /// One to two milliseconds, and nothing goes wrong.
    fn default() -> Self {
        Weather {
            delay: Duration::from_millis(1)..Duration::from_millis(2),
            late_chance: 0,
            late: Duration::ZERO,
            loss_chance: 0,
            duplicate_chance: 0,
        }
    }
}

type Judge = Arc<dyn Fn(NodeId, NodeId, &PeerRequest) -> Fate + Send + Sync>;
type Forger = Arc<dyn Fn(NodeId, &PeerRequest) -> Option<Bytes> + Send + Sync>;

#[derive(Default)]
struct State {
    services: BTreeMap<NodeId, Attached>,
    /// Counts the nodes that were ever attached.
    lives: u64,
    /// Links that are cut: from, to.
    cut: BTreeSet<(NodeId, NodeId)>,
    judge: Option<Judge>,
    forger: Option<Forger>,
    /// Links whose requests are answered by it.
    forged: BTreeSet<(NodeId, NodeId)>,
    weather: Weather,
}

/// A node in one of its lives: a connection ends with either side's.
#[derive(Clone)]
struct Attached {
    life: u64,
    service: Arc<dyn PeerService>,
}

/// The two ends of a connection.
#[derive(Clone, Copy)]
struct Connection {
    from: (NodeId, u64),
    to: (NodeId, u64),
}

impl Connection {
    fn back(self) -> Self {
        Connection { from: self.to, to: self.from }
    }
}

/// The network. All clones are the same one. Messages travel in their encoded form.
#[derive(Clone)]
pub struct MemoryNetwork {
    state: Arc<Mutex<State>>,
    randomness: Arc<SeededRandomness>,
    /// Calls on their way: they arrive also when nobody waits for the answer any more.
    calls: Arc<Mutex<JoinSet<()>>>,
}

impl MemoryNetwork {
    /// A network with nobody in it.
    pub fn new(seed: u64) -> Self {
        MemoryNetwork {
            state: Arc::default(),
            randomness: Arc::new(SeededRandomness::new(seed)),
            calls: Arc::new(Mutex::new(JoinSet::new())),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a node reaches the others.
    pub fn transport(&self, node: NodeId) -> Arc<dyn Transport> {
        Arc::new(Port { network: self.clone(), node })
    }

    /// From now on the node is reached; also a new one in the place of an old one, whose connections end.
    pub fn attach(&self, node: NodeId, service: Arc<dyn PeerService>) {
        let mut state = self.state();
        state.lives += 1;
        let life = state.lives;
        state.services.insert(node, Attached { life, service });
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

    /// Every link works again, and every request is delivered. The weather stays.
    pub fn heal(&self) {
        let mut state = self.state();
        state.cut.clear();
        state.judge = None;
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Has every request judged, those in streams excepted.
    pub fn judge(&self, judge: impl Fn(NodeId, NodeId, &PeerRequest) -> Fate + Send + Sync + 'static) {
        self.state().judge = Some(Arc::new(judge));
    }

    /// From now on requests on these links go no further where this makes an answer to them, in the place of the node that they are for: to
    /// see that somebody notices.
    pub fn forge(
        &self,
        links: impl IntoIterator<Item = (NodeId, NodeId)>,
        forger: impl Fn(NodeId, &PeerRequest) -> Option<Bytes> + Send + Sync + 'static,
    ) {
        let mut state = self.state();
        state.forger = Some(Arc::new(forger));
        state.forged = links.into_iter().collect();
    }

    fn forger(&self, connection: Connection) -> Option<Forger> {
        let state = self.state();
        let is_forged = state.forged.contains(&(connection.from.0, connection.to.0));
        state.forger.clone().filter(|_| is_forged)
    }

    /// A message of another kind between two nodes: returns when it has arrived, with whether it did.
    pub async fn pass(&self, from: NodeId, to: NodeId) -> bool {
        let Ok((connection, _service)) = self.connect(from, to) else { return false };
        self.travel(connection).await
    }

    fn fate(&self, connection: Connection, request: &PeerRequest) -> Fate {
        let judge = self.state().judge.clone();
        judge.map_or(Fate::Delivered, |judge| judge(connection.from.0, connection.to.0, request))
    }

    fn connect(&self, from: NodeId, to: NodeId) -> Result<(Connection, Arc<dyn PeerService>), TransportError> {
        let state = self.state();
        let refused = |node: NodeId| TransportError::Unreachable { reason: format!("node {} is not there", node.0) };
        // A node may speak before it is spoken to, as at its start.
        let from = (from, state.services.get(&from).map_or(0, |attached| attached.life));
        let there = state.services.get(&to).ok_or_else(|| refused(to))?;
        Ok((Connection { from, to: (to, there.life) }, there.service.clone()))
    }

    /// A chance of so many in a thousand.
    fn chance(&self, of_thousand: u64) -> bool {
        of_thousand > 0 && self.randomness.next_u64() % 1000 < of_thousand
    }

    fn within(&self, range: &Range<Duration>) -> Duration {
        let width = u64::try_from(range.end.saturating_sub(range.start).as_micros()).unwrap_or(u64::MAX);
        range.start + Duration::from_micros(self.randomness.next_u64() % width.saturating_add(1))
    }

    /// A message on its way; false when it is lost, which one on a link that is cut is in any case.
    async fn travel(&self, connection: Connection) -> bool {
        let weather = self.state().weather.clone();
        let delay = match self.chance(weather.late_chance) {
            true => self.within(&(weather.delay.start..weather.late)),
            false => self.within(&weather.delay),
        };
        tokio::time::sleep(delay).await;
        let is_lost = self.chance(weather.loss_chance);
        let state = self.state();
        let lives = |(node, life): (NodeId, u64)| state.services.get(&node).is_some_and(|there| there.life == life);
        let is_cut = state.cut.contains(&(connection.from.0, connection.to.0));
        !is_lost && !is_cut && lives(connection.from) && lives(connection.to)
    }

    /// Starts what goes on without its caller.
    fn detached(&self, call: impl Future<Output = ()> + Send + 'static) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        while calls.try_join_next().is_some() {}
        calls.spawn(call);
    }

    /// A call from one end to the other and back; nothing when it, or its answer, is lost.
    async fn carry(
        &self,
        connection: Connection,
        service: Arc<dyn PeerService>,
        request: PeerRequest,
    ) -> Option<Bytes> {
        if !self.travel(connection).await {
            return None;
        }
        let fate = self.fate(connection, &request);
        if fate == Fate::Lost {
            return None;
        }
        let forged = self.forger(connection).and_then(|forger| forger(connection.to.0, &request));
        let answer = match forged {
            Some(forged) => forged,
            None => service.receive_encoded(connection.from.0, request.encode()).await,
        };
        let arrived = self.travel(connection.back()).await;
        (arrived && fate == Fate::Delivered).then_some(answer)
    }

    /// Messages of a stream as they arrive. Without a word on a link that is cut, for as long as anybody waits; ended when one is lost
    /// otherwise.
    fn arriving<T: Send + 'static>(
        &self,
        connection: Connection,
        messages: impl Stream<Item = T> + Send + 'static,
    ) -> impl Stream<Item = T> + Send + 'static {
        let network = self.clone();
        let arrived = messages.then(move |message| {
            let network = network.clone();
            async move {
                if network.travel(connection).await {
                    return Some(message);
                }
                let is_cut = network.state().cut.contains(&(connection.from.0, connection.to.0));
                if is_cut { std::future::pending().await } else { None }
            }
        });
        arrived.take_while(|message| std::future::ready(message.is_some())).filter_map(std::future::ready)
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
        let network = self.network.clone();
        let connected = network.connect(self.node, target.node_id);
        Box::pin(async move {
            let (connection, service) = connected?;
            let (answered, answer) = oneshot::channel();
            let duplicate_chance = network.state().weather.duplicate_chance;
            if network.chance(duplicate_chance) {
                let (there, service, request) = (network.clone(), service.clone(), request.clone());
                network.detached(async move { drop(there.carry(connection, service, request).await) });
            }
            let there = network.clone();
            network.detached(async move {
                if let Some(answer) = there.carry(connection, service, request).await {
                    // Nobody waits any more when the deadline has passed.
                    let _ = answered.send(answer);
                }
            });
            let answer = async {
                match answer.await {
                    Ok(answer) => read(answer),
                    // Lost: nobody says so.
                    Err(_lost) => {
                        tokio::time::sleep(NOTICED).await;
                        Err(TransportError::TimedOut)
                    }
                }
            };
            tokio::time::timeout(deadline, answer).await.unwrap_or(Err(TransportError::TimedOut))
        })
    }

    fn stream(
        &self,
        target: RaftTarget,
        requests: BoxStream<PeerRequest>,
    ) -> BoxFuture<'static, Result<BoxStream<Result<PeerResponse, TransportError>>, TransportError>> {
        let network = self.network.clone();
        let connected = network.connect(self.node, target.node_id);
        Box::pin(async move {
            let (connection, service) = connected?;
            let mut requests = requests.peekable();
            let forger = match network.forger(connection) {
                // Streams are of one kind of request.
                Some(forger) => {
                    let first = std::pin::Pin::new(&mut requests).peek().await;
                    first.and_then(|first| forger(connection.to.0, first)).map(|_answer| forger)
                }
                None => None,
            };
            if let Some(forger) = forger {
                let forged = requests.map(move |request| forger(connection.to.0, &request));
                let forged = forged.take_while(|answer| std::future::ready(answer.is_some()));
                let forged = network.arriving(connection, forged.filter_map(std::future::ready)).map(read);
                let forged: BoxStream<Result<PeerResponse, TransportError>> = Box::pin(forged);
                return Ok(forged);
            }
            let sent = network.arriving(connection, requests.map(|request| request.encode()));
            let answers = service.receive_stream_encoded(connection.from.0, Box::pin(sent));
            let received = network.arriving(connection.back(), answers).map(read);
            let received: BoxStream<Result<PeerResponse, TransportError>> = Box::pin(received);
            Ok(received)
        })
    }
}
