//! A node's side: one session with whoever leads, heartbeats in it, and the lease that comes back.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jaco_proto::v1;
use jaco_proto::v1::session_request::Message as Request;
use jaco_proto::v1::session_response::Message as Response;
use jaco_scheduler::{RECONNECT, UNREACHABLE_AFTER};
use jaco_state::{Clock, Leadership, Store};
use jaco_task::TaskContext;
use jaco_types::{ErrorCode, Node, NodeId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::dial::{DialError, SessionDialer, SessionStream};
use super::{HEARTBEAT, SessionTable, request};

/// Heartbeats that wait for the network; more of them would only be late.
const QUEUE: usize = 4;
/// While no leader is known it is looked for this often.
const NO_LEADER: Duration = Duration::from_millis(100);
/// The wait after the first session that ended; it doubles up to [`RECONNECT`], each spread from nothing to all of it.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The right to run exclusive replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Until then, on the boot-time clock.
    pub until: Duration,
    /// Within this time after it everything exclusive has to be stopped.
    pub stop_within: Duration,
}

/// What a node says of itself at the beginning of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionIdentity {
    /// Incarnation of its data directory.
    pub incarnation: u64,
    /// Version of its daemon.
    pub version: String,
    /// Newest feature level that it is able to.
    pub feature_level: u32,
    /// Address that the other nodes reach it by.
    pub address: String,
    /// `host:port` of its API.
    pub grpc_address: String,
    /// `host:port` of its members' port.
    pub cluster_address: String,
    /// What it can give to replicas: billionths of a core; 0 where that is not known.
    pub nano_cpus: u64,
    /// The same in bytes.
    pub memory_bytes: u64,
}

/// What a node says of itself with each heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NodeSample {
    /// Nothing runs here any more that is not wanted here.
    pub reconciled: bool,
    /// Share of the processors in use, 0 to 1; given once in each `node_status_interval`.
    pub cpu: Option<f64>,
    /// The same of the memory.
    pub memory: Option<f64>,
    /// Longest sync of the log since the heartbeat before; zero when there was none.
    pub sync: Duration,
    /// The disk of the log has no room for more.
    pub disk_full: bool,
}

/// Where a session takes from what it says.
pub trait SessionSource: Send + Sync + 'static {
    /// Asked at the beginning of each session.
    fn identity(&self) -> SessionIdentity;
    /// Asked for each heartbeat. Must not block.
    fn sample(&self) -> NodeSample;
}

/// Is told what a session brings. Neither may block.
pub trait SessionEvents: Send + Sync + 'static {
    /// The leader has answered a heartbeat: a majority has confirmed it since that was sent, whether or not a lease came with it.
    fn confirmed(&self) {}
    /// A new lease, longer than the one before.
    fn lease(&self, lease: Lease);
    /// This node is no member any more: it is to clean up. May be told more than once.
    fn removed(&self);
}

/// Keeps this node's session.
pub struct SessionClient {
    store: Arc<dyn Store>,
    /// Serves this node while it leads itself.
    own: SessionTable,
    clock: Arc<dyn Clock>,
    dialer: Arc<dyn SessionDialer>,
    source: Arc<dyn SessionSource>,
    events: Arc<dyn SessionEvents>,
    jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Stopping,
    Removed,
    /// It worked, and another node leads now.
    Moved,
    Failed(String),
}

/// A session that is open.
struct Open {
    with: NodeId,
    heartbeats: mpsc::Sender<v1::SessionRequest>,
    /// When each heartbeat that has no answer yet was sent.
    sent: BTreeMap<u64, Duration>,
    sequence: u64,
    acked: u64,
    answered: Instant,
}

impl SessionClient {
    /// A client over this store. `own` is this node's table and `clock` its clock.
    pub fn new(
        store: Arc<dyn Store>,
        own: SessionTable,
        clock: Arc<dyn Clock>,
        dialer: Arc<dyn SessionDialer>,
        source: Arc<dyn SessionSource>,
        events: Arc<dyn SessionEvents>,
    ) -> Self {
        let jitter: Arc<dyn Fn() -> f64 + Send + Sync> = Arc::new(rand::random::<f64>);
        SessionClient { store, own, clock, dialer, source, events, jitter }
    }

    /// Spreads waits by these numbers in `0.0..1.0` instead of random ones.
    #[must_use]
    pub fn with_jitter(mut self, jitter: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.jitter = Arc::new(jitter);
        self
    }

    /// Keeps a session with the leader until `context` is to stop.
    ///
    /// # Errors
    /// None; the type is the one that services have.
    pub async fn run(&self, context: TaskContext) -> Result<(), Infallible> {
        let (mut lease, mut failures): (Option<Lease>, u32) = (None, 0);
        let mut leaderless: Option<Instant> = None;
        let mut asked = 0;
        while !context.shutdown.is_cancelled() {
            let begun = Instant::now();
            let leader = self.leader();
            if leader.is_some() {
                leaderless = None;
            }
            let lost = *leaderless.get_or_insert(begun);
            // Raft tells nothing to one that was removed while it was away; any member does.
            let other = || (begun.duration_since(lost) > UNREACHABLE_AFTER).then(|| self.any_member(asked)).flatten();
            let target = leader.or_else(other);
            asked = asked.wrapping_add(1);
            let end = match target {
                Some((node, address)) => {
                    tokio::select! {
                        () = context.shutdown.cancelled() => End::Stopping,
                        end = self.session(node, &address, &mut lease) => end,
                    }
                }
                None => {
                    let _stopping = tokio::time::timeout(NO_LEADER, context.shutdown.cancelled()).await;
                    continue;
                }
            };
            match end {
                End::Stopping => break,
                End::Removed => {
                    tracing::warn!("this node was removed from the cluster");
                    self.events.removed();
                    context.shutdown.cancelled().await;
                    break;
                }
                End::Moved => failures = 0,
                End::Failed(reason) => {
                    failures = if begun.elapsed() > RECONNECT { 1 } else { failures.saturating_add(1) };
                    tracing::debug!(reason, failures, "the session with the leader ended");
                }
            }
            let longest = FIRST_WAIT.saturating_mul(1 << failures.min(8)).min(RECONNECT);
            let wait = longest.mul_f64((self.jitter)().clamp(0.0, 1.0));
            let _stopping = tokio::time::timeout(wait, context.shutdown.cancelled()).await;
        }
        Ok(())
    }

    /// Who leads and where it is reached. This node's own address is not needed.
    fn leader(&self) -> Option<(NodeId, String)> {
        match self.store.leadership() {
            Leadership::Leader { .. } => Some((self.own.own(), String::new())),
            Leadership::Follower { leader } => {
                let leader = leader?;
                let view = self.store.view();
                Some((leader, view.get::<Node>(&leader.to_string())?.cluster_address.clone()))
            }
        }
    }

    /// One of the other members that this node knows of, another one each time.
    fn any_member(&self, number: usize) -> Option<(NodeId, String)> {
        let view = self.store.view();
        let own = self.own.own();
        let others = view.list::<Node>().filter(|node| node.id != own && !node.cluster_address.is_empty());
        let others: Vec<_> = others.map(|node| (node.id, node.cluster_address.clone())).collect();
        others.get(number.checked_rem(others.len())?).cloned()
    }

    async fn session(&self, with: NodeId, address: &str, lease: &mut Option<Lease>) -> End {
        let (heartbeats, mut queue) = mpsc::channel(QUEUE);
        let messages: SessionStream<_> = Box::pin(futures_util::stream::poll_fn(move |cx| queue.poll_recv(cx)));
        if heartbeats.try_send(request(Request::Hello(self.hello()))).is_err() {
            return End::Failed("the hello was not taken".to_owned());
        }
        let opening = async {
            let mut answers = self.open(with, address, messages).await?;
            let welcome = answers.next().await;
            Ok::<_, DialError>((answers, welcome))
        };
        let (answers, welcome) = match tokio::time::timeout(UNREACHABLE_AFTER, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(DialError::Removed)) => return End::Removed,
            Ok(Err(DialError::Failed(reason))) => return End::Failed(reason),
            Err(_elapsed) => return End::Failed("the leader does not open the session".to_owned()),
        };
        let mut open =
            Open { with, heartbeats, sent: BTreeMap::new(), sequence: 0, acked: 0, answered: Instant::now() };
        if let Some(end) = self.take(&mut open, welcome, lease) {
            return end;
        }
        self.beat(open, answers, lease).await
    }

    async fn open(
        &self,
        with: NodeId,
        address: &str,
        messages: SessionStream<v1::SessionRequest>,
    ) -> Result<SessionStream<Result<v1::SessionResponse, DialError>>, DialError> {
        if with == self.own.own() {
            return Ok(Box::pin(self.own.serve(with, messages).map(Ok)));
        }
        self.dialer.open(with, address, messages).await
    }

    /// Sends heartbeats and takes answers until the session ends.
    async fn beat(
        &self,
        mut open: Open,
        mut answers: SessionStream<Result<v1::SessionResponse, DialError>>,
        lease: &mut Option<Lease>,
    ) -> End {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                // An answer that is there must not wait for a heartbeat.
                biased;
                answer = answers.next() => {
                    if let Some(end) = self.take(&mut open, answer, lease) {
                        return end;
                    }
                }
                () = tokio::time::sleep_until(open.answered + UNREACHABLE_AFTER) => {
                    return End::Failed("the leader does not answer".to_owned());
                }
                () = tokio::time::sleep_until(next) => {
                    if self.leader().is_some_and(|(leader, _)| leader != open.with) {
                        return End::Moved;
                    }
                    if let Some(end) = self.send(&mut open, *lease) {
                        return end;
                    }
                    next = (next + HEARTBEAT).max(Instant::now());
                }
            }
        }
    }

    fn send(&self, open: &mut Open, lease: Option<Lease>) -> Option<End> {
        let sample = self.source.sample();
        let applied_index = self.store.view().index();
        open.sequence += 1;
        // The time before it is on its way, so that the lease ends too early rather than too late.
        let now = self.clock.monotonic();
        open.sent.insert(open.sequence, now);
        let heartbeat = v1::Heartbeat {
            sequence: open.sequence,
            now_ms: self.clock.now_ms(),
            reconciled: sample.reconciled,
            lease_lapsed: lease.is_some_and(|lease| lease.until <= now),
            applied_index,
            cpu: sample.cpu,
            memory: sample.memory,
            fsync_us: u64::try_from(sample.sync.as_micros()).unwrap_or(u64::MAX),
            acked: open.acked,
            disk_full: sample.disk_full,
        };
        let queued = open.heartbeats.try_send(request(Request::Heartbeat(heartbeat)));
        queued.is_err().then(|| End::Failed("the connection takes no heartbeats".to_owned()))
    }

    /// Takes what the leader says; the reason when the session is over.
    fn take(
        &self,
        open: &mut Open,
        answer: Option<Result<v1::SessionResponse, DialError>>,
        lease: &mut Option<Lease>,
    ) -> Option<End> {
        let message = match answer {
            None => return Some(End::Failed("the session was closed".to_owned())),
            Some(Err(DialError::Removed)) => return Some(End::Removed),
            Some(Err(DialError::Failed(reason))) => return Some(End::Failed(reason)),
            Some(Ok(response)) => response.message,
        };
        open.answered = Instant::now();
        match message {
            Some(Response::Answer(answer)) => self.answered(open, &answer, lease),
            // A message of a newer version means nothing here.
            Some(Response::Welcome(_)) | None => {}
            Some(Response::NotLeader(_)) => return Some(End::Failed("the node does not lead".to_owned())),
            Some(Response::Refused(refused)) if refused.code == ErrorCode::NodeRemoved.as_str() => {
                return Some(End::Removed);
            }
            Some(Response::Refused(refused)) => {
                tracing::warn!(code = refused.code, "the leader refuses this node: {}", refused.message);
                return Some(End::Failed(refused.message));
            }
        }
        None
    }

    fn answered(&self, open: &mut Open, answer: &v1::HeartbeatAnswer, lease: &mut Option<Lease>) {
        let Some(sent) = open.sent.get(&answer.sequence).copied() else { return };
        open.sent.retain(|sequence, _| *sequence > answer.sequence);
        open.acked = open.acked.max(answer.sequence);
        self.events.confirmed();
        if answer.lease_ms == 0 {
            return;
        }
        let until = sent.saturating_add(Duration::from_millis(answer.lease_ms));
        if lease.is_none_or(|lease| lease.until < until) {
            let new = Lease { until, stop_within: Duration::from_millis(answer.stop_ms) };
            *lease = Some(new);
            self.events.lease(new);
        }
    }

    fn hello(&self) -> v1::SessionHello {
        let identity = self.source.identity();
        v1::SessionHello {
            node_id: self.own.own().0,
            incarnation: identity.incarnation,
            version: identity.version,
            feature_level: identity.feature_level,
            address: identity.address,
            grpc_address: identity.grpc_address,
            cluster_address: identity.cluster_address,
            now_ms: self.clock.now_ms(),
            nano_cpus: identity.nano_cpus,
            memory_bytes: identity.memory_bytes,
        }
    }
}
