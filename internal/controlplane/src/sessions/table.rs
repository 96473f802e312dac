//! The leader's side: whom it heard, when, and what each said.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use jaco_proto::v1;
use jaco_proto::v1::session_request::Message as Request;
use jaco_proto::v1::session_response::Message as Response;
use jaco_scheduler::{Capacity, Facts, LeaseTerms, Leases, Sessions};
use jaco_state::{Clock, Leadership, Store, View};
use jaco_types::{ErrorCode, NodeId, Tombstone};
use tokio::sync::{Notify, mpsc};

use super::dial::SessionStream;
use super::withheld::{Handover, is_withheld};
use super::{HEARTBEAT, millis, response};

/// Heartbeats that may be without an answer before the way back counts as closed.
const UNACKED: u64 = 3;
/// Sync times kept of each node.
const SYNCS: usize = 5;
/// Answers that wait for a node to take them.
const ANSWERS: usize = 8;
/// A session without a heartbeat for this long is given up: its node has opened another one, or is gone.
const IDLE: Duration = Duration::from_secs(10);
/// Sessions at a time: far beyond what one cluster has.
const MAX_SESSIONS: usize = 4_096;

/// What consensus knows of the leader before this one.
pub trait Predecessor: Send + Sync + 'static {
    /// The last other node that this one followed, and for how long nothing has come from it: neither as a leader nor, since this node
    /// leads, in answer to it. `None` while this node does not lead, or has followed nobody.
    fn silence(&self) -> Option<(NodeId, Duration)>;
}

/// A consensus without a history.
impl Predecessor for () {
    fn silence(&self) -> Option<(NodeId, Duration)> {
        None
    }
}

/// What a table is made of.
pub struct SessionTableOptions {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The consensus below the store.
    pub predecessor: Arc<dyn Predecessor>,
    /// This node.
    pub own: NodeId,
    /// The clock of leases; [`super::BootClock`] outside tests.
    pub clock: Arc<dyn Clock>,
    /// The cluster's values.
    pub terms: LeaseTerms,
}

/// The sessions of this node's term as leader. Cheap to clone; all clones are the same table.
#[derive(Clone)]
pub struct SessionTable {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) store: Arc<dyn Store>,
    predecessor: Arc<dyn Predecessor>,
    own: NodeId,
    clock: Arc<dyn Clock>,
    terms: LeaseTerms,
    pub(super) state: Mutex<State>,
    /// A heartbeat waits for its confirmation.
    pub(super) arrived: Notify,
}

#[derive(Default)]
pub(super) struct State {
    /// The term that everything below belongs to.
    term: u64,
    /// When this node was first seen to lead in it, or to be awake again after a pause of its own.
    since: Duration,
    pub(super) elected: Duration,
    ticked: Option<Duration>,
    peers: BTreeMap<NodeId, Peer>,
    pub(super) answered: BTreeMap<NodeId, Duration>,
    pub(super) waiting: Vec<Waiting>,
    /// What is being taken from nodes, see [`super::withheld`].
    pub(super) withheld: Vec<Handover>,
    sessions: usize,
}

/// A heartbeat that waits to be answered.
pub(super) struct Waiting {
    node: NodeId,
    sequence: u64,
    /// The way back is open, as far as is known: a lease may be given.
    open: bool,
    offset_ms: i64,
    answers: mpsc::Sender<v1::SessionResponse>,
}

/// What a node said in this term.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// Its hello.
    pub hello: v1::SessionHello,
    /// When it was last heard with its way back open, on the table's clock.
    pub heard: Duration,
    /// How far its wall clock is ahead of this node's, milliseconds.
    pub clock_offset_ms: i64,
    /// Everything that it is no longer to run has been stopped.
    pub reconciled: bool,
    /// Its lease lapsed, and no answer has reached it since.
    pub lease_lapsed: bool,
    /// Log index that it had applied.
    pub applied_index: u64,
    /// Its newest sample: shares of the processors and of the memory in use, and when it came.
    pub pressure: Option<(f64, f64, Duration)>,
    /// Sync times of its log in its last heartbeats, newest last.
    pub syncs: VecDeque<Duration>,
    /// The disk of its log had no room for more.
    pub disk_full: bool,
}

/// What one session has said so far.
struct Session {
    node: NodeId,
    hello: v1::SessionHello,
    answers: mpsc::Sender<v1::SessionResponse>,
}

impl SessionTable {
    /// An empty table.
    pub fn new(options: SessionTableOptions) -> Self {
        let SessionTableOptions { store, predecessor, own, clock, terms } = options;
        let (state, arrived) = (Mutex::default(), Notify::new());
        SessionTable { inner: Arc::new(Inner { store, predecessor, own, clock, terms, state, arrived }) }
    }

    /// This node.
    pub fn own(&self) -> NodeId {
        self.inner.own
    }

    /// The table's clock.
    pub fn now(&self) -> Duration {
        self.inner.clock.monotonic()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Whole after any panic elsewhere: nothing is left half-done between two statements that could panic.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The term this node leads in with its majority, with everything of an earlier one forgotten.
    pub(super) fn lead(&self) -> Option<u64> {
        let Leadership::Leader { term } = self.inner.store.leadership() else { return None };
        let now = self.now();
        let mut state = self.state();
        if state.term != term {
            let (waiting, sessions) = (std::mem::take(&mut state.waiting), state.sessions);
            *state = State { term, since: now, elected: now, sessions, waiting, ..State::default() };
        }
        Some(term)
    }

    /// Serves a node's session until either side ends it. Whose session it is has been proved by its connection.
    pub fn serve(
        &self,
        node: NodeId,
        messages: SessionStream<v1::SessionRequest>,
    ) -> SessionStream<v1::SessionResponse> {
        let (answers, receiver) = mpsc::channel(ANSWERS);
        let table = self.clone();
        let place = Place::take(self);
        let state = (table, messages, receiver, Stage::Begin { node, answers }, place);
        Box::pin(futures_util::stream::unfold(state, |(table, mut messages, mut receiver, stage, place)| async move {
            let (answer, stage) = table.step(stage, &mut messages, &mut receiver).await?;
            Some((answer, (table, messages, receiver, stage, place)))
        }))
    }

    /// The next thing to say in a session, and what it is after that; `None` when it has ended.
    async fn step(
        &self,
        stage: Stage,
        messages: &mut SessionStream<v1::SessionRequest>,
        answers: &mut mpsc::Receiver<v1::SessionResponse>,
    ) -> Option<(v1::SessionResponse, Stage)> {
        let session = match stage {
            Stage::Ended => return None,
            Stage::Begin { node, answers } => {
                let first = tokio::time::timeout(IDLE, messages.next()).await.ok()??;
                let Some(Request::Hello(hello)) = first.message else { return None };
                return Some(match self.greet(node, &hello) {
                    Ok(welcome) => (welcome, Stage::Open(Session { node, hello, answers })),
                    Err(refusal) => (refusal, Stage::Ended),
                });
            }
            Stage::Open(session) => session,
        };
        loop {
            tokio::select! {
                answer = answers.recv() => return Some((answer?, Stage::Open(session))),
                message = tokio::time::timeout(IDLE, messages.next()) => {
                    // A hello in the middle is not a session of ours.
                    let Some(Request::Heartbeat(heartbeat)) = message.ok()??.message else { return None };
                    if let Err(refusal) = self.heartbeat(&session, &heartbeat) {
                        return Some((refusal, Stage::Ended));
                    }
                }
            }
        }
    }

    fn greet(&self, node: NodeId, hello: &v1::SessionHello) -> Result<v1::SessionResponse, v1::SessionResponse> {
        let term = self.lead();
        // A tombstone is final: whoever knows of it says so, to one that was away when it was removed and finds no leader.
        let refusal = refusal(&self.inner.store.view(), node, hello)
            .filter(|(code, _)| term.is_some() || *code == ErrorCode::NodeRemoved);
        if let Some((code, message)) = refusal {
            let code = code.as_str().to_owned();
            return Err(response(Response::Refused(v1::SessionRefused { code, message })));
        }
        if self.state().sessions > MAX_SESSIONS {
            let code = ErrorCode::RequestTooLarge.as_str().to_owned();
            let message = format!("this node serves {MAX_SESSIONS} sessions already");
            return Err(response(Response::Refused(v1::SessionRefused { code, message })));
        }
        let Some(term) = term else { return Err(self.not_leader()) };
        Ok(response(Response::Welcome(v1::SessionWelcome { term })))
    }

    fn not_leader(&self) -> v1::SessionResponse {
        let leader = match self.inner.store.leadership() {
            Leadership::Follower { leader } => leader,
            Leadership::Leader { .. } => None,
        };
        response(Response::NotLeader(v1::NotLeader { leader: leader.map(|leader| leader.0) }))
    }

    fn heartbeat(&self, session: &Session, heartbeat: &v1::Heartbeat) -> Result<(), v1::SessionResponse> {
        if self.lead().is_none() {
            return Err(self.not_leader());
        }
        if let Some((code, message)) = refusal(&self.inner.store.view(), session.node, &session.hello) {
            let code = code.as_str().to_owned();
            return Err(response(Response::Refused(v1::SessionRefused { code, message })));
        }
        let now = self.now();
        let open = heartbeat.sequence.saturating_sub(heartbeat.acked) <= UNACKED;
        let offset = i128::from(heartbeat.now_ms) - i128::from(self.inner.clock.now_ms());
        let offset_ms = i64::try_from(offset).unwrap_or(i64::MAX);
        let mut state = self.state();
        let before = state.peers.remove(&session.node);
        let (heard, pressure, mut syncs) =
            before.map_or((None, None, VecDeque::new()), |peer| (Some(peer.heard), peer.pressure, peer.syncs));
        syncs.push_back(Duration::from_micros(heartbeat.fsync_us));
        if syncs.len() > SYNCS {
            syncs.pop_front();
        }
        let sample = heartbeat.cpu.zip(heartbeat.memory).map(|(cpu, memory)| (share(cpu), share(memory), now));
        let peer = Peer {
            hello: session.hello.clone(),
            // One that was never heard with its way back open has been silent since before its first word.
            heard: if open { now } else { heard.unwrap_or(state.since) },
            clock_offset_ms: offset_ms,
            reconciled: heartbeat.reconciled,
            lease_lapsed: heartbeat.lease_lapsed,
            applied_index: heartbeat.applied_index,
            pressure: sample.or(pressure),
            syncs,
            disk_full: heartbeat.disk_full,
        };
        state.peers.insert(session.node, peer);
        let (node, sequence, answers) = (session.node, heartbeat.sequence, session.answers.clone());
        state.waiting.push(Waiting { node, sequence, open, offset_ms, answers });
        drop(state);
        self.inner.arrived.notify_one();
        Ok(())
    }

    /// Answers what waited, when a quorum has confirmed this term meanwhile.
    pub(super) fn answer(&self, waiting: Vec<Waiting>, confirmed: Option<u64>) {
        let view = self.inner.store.view();
        for waiting in waiting {
            let message = match confirmed {
                None => self.not_leader(),
                Some(term) => {
                    let mut state = self.state();
                    if state.term != term {
                        continue;
                    }
                    let open = waiting.open && !is_withheld(&mut state.withheld, &view, waiting.node);
                    // Noted before it is sent, so that no lease is ever unknown here.
                    if open {
                        state.answered.insert(waiting.node, self.now());
                    }
                    drop(state);
                    let terms = &self.inner.terms;
                    response(Response::Answer(v1::HeartbeatAnswer {
                        sequence: waiting.sequence,
                        lease_ms: if open { millis(terms.lease) } else { 0 },
                        stop_ms: millis(terms.grace),
                        clock_offset_ms: waiting.offset_ms,
                    }))
                }
            };
            // Full: the node takes no answers, and a late one would be worth nothing. Closed: it is gone.
            let _nobody_waits = waiting.answers.try_send(message);
        }
    }

    /// What the leader knows of silence, for [`jaco_scheduler::judge`], with its term; `None` on any other node. To be asked
    /// regularly: after a pause of its own it grants every node a full period anew, since it could hear nobody.
    pub fn sessions(&self) -> Option<(u64, Sessions)> {
        self.lead()?;
        let now = self.now();
        let mut state = self.state();
        let slept = state.ticked.is_some_and(|ticked| now.saturating_sub(ticked) > 2 * HEARTBEAT);
        state.ticked = Some(now);
        if slept {
            state.since = now;
        }
        drop(state);
        self.peek()
    }

    /// The same without counting as having been asked.
    pub(crate) fn peek(&self) -> Option<(u64, Sessions)> {
        let term = self.lead()?;
        let now = self.now();
        let state = self.state();
        let since = state.since;
        let silent = |peer: &Peer| now.saturating_sub(peer.heard.max(since));
        let heard = state.peers.iter().filter(|(_, peer)| peer.heard >= since);
        let silent_for = heard.map(|(node, peer)| (*node, silent(peer))).collect();
        drop(state);
        let predecessor = self.inner.predecessor.silence();
        Some((term, Sessions { leading_for: now.saturating_sub(since), silent_for, predecessor }))
    }

    /// What the scheduler needs to know beside the view.
    pub fn facts(&self) -> Facts {
        let now = self.now();
        if self.lead().is_none() {
            return Facts::default();
        }
        let state = self.state();
        let capacity = |peer: &Peer| {
            let (nano_cpus, memory) = (peer.hello.nano_cpus, peer.hello.memory_bytes);
            let or_all = |value: u64| if value == 0 { u64::MAX } else { value };
            Capacity { nano_cpus: or_all(nano_cpus), memory: or_all(memory) }
        };
        Facts {
            capacity: state.peers.iter().map(|(node, peer)| (*node, capacity(peer))).collect(),
            leases: Some(Leases {
                now,
                elected: state.elected,
                answered: state.answered.clone(),
                terms: self.inner.terms,
            }),
        }
    }

    /// What each node said in this term.
    pub fn peers(&self) -> BTreeMap<NodeId, Peer> {
        match self.lead() {
            Some(_) => self.state().peers.clone(),
            None => BTreeMap::new(),
        }
    }
}

/// A share between 0 and 1, whatever was sent.
fn share(value: f64) -> f64 {
    if value.is_finite() { value.clamp(0.0, 1.0) } else { 1.0 }
}

/// Why a node may have no session.
fn refusal(view: &View, node: NodeId, hello: &v1::SessionHello) -> Option<(ErrorCode, String)> {
    let cluster = view.cluster()?;
    let key = node.to_string();
    if view.get::<Tombstone>(&key).is_some() {
        return Some((ErrorCode::NodeRemoved, "this node is no member of the cluster any more".to_owned()));
    }
    if hello.node_id != node.0 {
        return Some((ErrorCode::PermissionDenied, "a session is opened by its own node only".to_owned()));
    }
    if hello.incarnation != cluster.incarnation {
        let text = "this node belongs to an older life of the cluster: it has to join anew";
        return Some((ErrorCode::ClusterIncarnationMismatch, text.to_owned()));
    }
    if hello.feature_level < cluster.feature_level {
        let text = format!(
            "this node (version {}) reaches feature level {}, and the cluster is at {}: install a newer jacod",
            hello.version, hello.feature_level, cluster.feature_level
        );
        return Some((ErrorCode::VersionIncompatible, text));
    }
    None
}

enum Stage {
    Begin { node: NodeId, answers: mpsc::Sender<v1::SessionResponse> },
    Open(Session),
    Ended,
}

/// A session's place among those that are served.
struct Place(SessionTable);

impl Place {
    fn take(table: &SessionTable) -> Self {
        table.state().sessions += 1;
        Place(table.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.sessions = state.sessions.saturating_sub(1);
    }
}
