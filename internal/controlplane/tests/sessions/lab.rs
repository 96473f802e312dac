//! Nodes with stores in memory, sessions between them that can be cut each way, and all loops of the leader.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use jaco_controlplane::{
    DialError, LeaderLoops, Lease, NodeSample, SessionClient, SessionDialer, SessionEvents, SessionIdentity,
    SessionSource, SessionStream, SessionTable, SessionTableOptions, Status,
};
use jaco_proto::v1;
use jaco_scheduler::LeaseTerms;
use jaco_state::{BoxFuture, Clock, Store, Transaction};
use jaco_task::{Backoff, OnExit, Supervisor};
use jaco_testkit::{INCARNATION, MemoryCluster, SeededStore, ready_node};
use jaco_types::{Hostname, Node, NodeId, NodeSchedulability, NodeState, NodeStatus};
use tokio::time::Instant;

/// One clock for all, with a wall that can be shifted.
struct LabClock {
    start: Instant,
    shift_ms: AtomicI64,
}

impl Clock for LabClock {
    fn now_ms(&self) -> u64 {
        let now = 1_000_000 + i64::try_from(self.start.elapsed().as_millis()).unwrap();
        u64::try_from(now + self.shift_ms.load(Ordering::Relaxed)).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// What connects the nodes' sessions.
#[derive(Default)]
struct Wires {
    tables: Mutex<BTreeMap<NodeId, SessionTable>>,
    /// Nodes whose messages to others, and whose answers from others, get lost.
    cuts: Mutex<BTreeMap<NodeId, (bool, bool)>>,
    generations: Mutex<BTreeMap<NodeId, u64>>,
}

struct Dialer {
    own: NodeId,
    wires: Arc<Wires>,
}

impl Wires {
    fn is_cut(&self, node: NodeId) -> (bool, bool) {
        self.cuts.lock().unwrap().get(&node).copied().unwrap_or_default()
    }

    fn generation(&self, node: NodeId) -> u64 {
        self.generations.lock().unwrap().get(&node).copied().unwrap_or_default()
    }
}

impl SessionDialer for Dialer {
    fn open<'a>(
        &'a self,
        node: NodeId,
        _address: &'a str,
        messages: SessionStream<v1::SessionRequest>,
    ) -> BoxFuture<'a, Result<SessionStream<Result<v1::SessionResponse, DialError>>, DialError>> {
        Box::pin(async move {
            if self.wires.is_cut(self.own) != (false, false) || self.wires.is_cut(node) != (false, false) {
                return Err(DialError::Failed("no route".to_owned()));
            }
            let table = self.wires.tables.lock().unwrap().get(&node).cloned();
            let Some(table) = table else { return Err(DialError::Failed("connection refused".to_owned())) };
            let own = self.own;
            let (up, down) = (Arc::clone(&self.wires), Arc::clone(&self.wires));
            let messages = messages.filter(move |_| {
                let lost = up.is_cut(own).0 || up.is_cut(node).1;
                async move { !lost }
            });
            let generation = self.wires.generation(own);
            let answers = table.serve(own, Box::pin(messages));
            let ended = Arc::clone(&down);
            let answers = answers
                .filter(move |_| {
                    let lost = down.is_cut(own).1 || down.is_cut(node).0;
                    async move { !lost }
                })
                .map(Ok)
                .take_while(move |_| {
                    let goes_on = ended.generation(own) == generation;
                    async move { goes_on }
                });
            let answers: SessionStream<_> = Box::pin(answers);
            Ok(answers)
        })
    }
}

struct Voice {
    identity: Mutex<SessionIdentity>,
    sync_ms: AtomicU64,
    lease: Mutex<Option<Lease>>,
    removed: AtomicBool,
}

impl SessionSource for Voice {
    fn identity(&self) -> SessionIdentity {
        self.identity.lock().unwrap().clone()
    }

    fn sample(&self) -> NodeSample {
        let sync = Duration::from_millis(self.sync_ms.load(Ordering::Relaxed));
        NodeSample { reconciled: true, sync, ..NodeSample::default() }
    }
}

impl SessionEvents for Voice {
    fn lease(&self, lease: Lease) {
        let mut known = self.lease.lock().unwrap();
        assert!(known.is_none_or(|known| known.until < lease.until));
        *known = Some(lease);
    }

    fn removed(&self) {
        self.removed.store(true, Ordering::Relaxed);
    }
}

struct Host {
    store: SeededStore,
    table: SessionTable,
    clock: Arc<LabClock>,
    voice: Arc<Voice>,
    supervisor: Supervisor,
}

pub(crate) struct Lab {
    cluster: MemoryCluster,
    wires: Arc<Wires>,
    hosts: BTreeMap<u64, Host>,
    start: Instant,
}

pub(crate) fn hostname_of(id: u64) -> Hostname {
    Hostname::new(format!("n{id}")).unwrap()
}

pub(crate) fn node(id: u64) -> Node {
    let cluster_address = format!("node-{id}:7001");
    Node { cluster_address, ..ready_node(id, hostname_of(id).as_str()).node }
}

impl Lab {
    /// Voters that are all ready.
    pub(crate) async fn start(size: u64) -> Lab {
        let cluster = MemoryCluster::start(11, size).await.unwrap();
        let mut lab = Lab { cluster, wires: Arc::default(), hosts: BTreeMap::new(), start: Instant::now() };
        let mut transaction = Transaction::new("test");
        for id in 1..=size {
            put_ready(&mut transaction, id);
        }
        lab.cluster.store(NodeId(1)).unwrap().propose(transaction).await.unwrap();
        for id in 1..=size {
            lab.run(id);
        }
        lab
    }

    /// Another node, as a join leaves it, which says at once that it is ready.
    pub(crate) async fn join(&mut self, id: u64) {
        self.cluster.open(NodeId(id)).await.unwrap();
        let mut transaction = Transaction::new("test");
        put_ready(&mut transaction, id);
        self.cluster.store(NodeId(1)).unwrap().propose(transaction).await.unwrap();
        self.run(id);
    }

    fn run(&mut self, id: u64) {
        let own = NodeId(id);
        let store = self.cluster.store(own).unwrap().clone();
        let clock = Arc::new(LabClock { start: self.start, shift_ms: AtomicI64::new(0) });
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let table = SessionTable::new(SessionTableOptions {
            store: Arc::clone(&shared),
            predecessor: Arc::new(store.clone()),
            own,
            clock: clock.clone(),
            terms: LeaseTerms::default(),
        });
        let node = node(id);
        let identity = SessionIdentity {
            incarnation: INCARNATION,
            version: node.version,
            feature_level: jaco_controlplane::FEATURE_LEVEL,
            address: node.address,
            grpc_address: node.grpc_address,
            cluster_address: node.cluster_address,
            nano_cpus: 0,
            memory_bytes: 0,
        };
        let voice = Arc::new(Voice {
            identity: Mutex::new(identity),
            sync_ms: AtomicU64::new(1),
            lease: Mutex::default(),
            removed: AtomicBool::new(false),
        });
        let dialer = Arc::new(Dialer { own, wires: Arc::clone(&self.wires) });
        let client =
            SessionClient::new(Arc::clone(&shared), table.clone(), clock.clone(), dialer, voice.clone(), voice.clone());
        let client = Arc::new(client.with_jitter(|| 0.9));
        let supervisor = Supervisor::with_jitter(|| 0.5);
        LeaderLoops::new(shared, table.clone(), Arc::new(store.clone())).spawn(&supervisor);
        supervisor.spawn_service("session", OnExit::Restart(Backoff::default()), move |context| {
            let client = Arc::clone(&client);
            async move { client.run(context).await }
        });
        self.wires.tables.lock().unwrap().insert(own, table.clone());
        self.hosts.insert(id, Host { store, table, clock, voice, supervisor });
    }

    /// Loses what a node says to others, and what they answer it.
    pub(crate) fn cut(&mut self, id: u64, up: bool, down: bool) {
        self.wires.cuts.lock().unwrap().insert(NodeId(id), (up, down));
    }

    /// Cuts a node off altogether, its store included.
    pub(crate) fn cut_store(&mut self, id: u64) {
        self.cut(id, true, true);
        self.cluster.network.isolate(NodeId(id), self.hosts.keys().map(|other| NodeId(*other)));
    }

    pub(crate) fn heal(&mut self) {
        self.wires.cuts.lock().unwrap().clear();
        self.cluster.network.heal();
    }

    pub(crate) fn reconnect(&mut self, id: u64) {
        *self.wires.generations.lock().unwrap().entry(NodeId(id)).or_default() += 1;
    }

    pub(crate) async fn crash(&mut self, id: u64) {
        self.wires.tables.lock().unwrap().remove(&NodeId(id));
        self.cut(id, true, true);
        let host = self.hosts.remove(&id).unwrap();
        drop(host.supervisor);
        self.cluster.crash(NodeId(id)).await;
    }

    pub(crate) fn store(&self, id: u64) -> &SeededStore {
        &self.hosts[&id].store
    }

    pub(crate) fn table(&self, id: u64) -> &SessionTable {
        &self.hosts[&id].table
    }

    pub(crate) fn status(&self, id: u64) -> Status {
        self.store(id).status()
    }

    pub(crate) fn leader(&self) -> Option<u64> {
        self.cluster.leader().map(|leader| leader.0)
    }

    pub(crate) fn state(&self, id: u64) -> Option<NodeState> {
        let judge = self.leader()?;
        let view = self.store(judge).view();
        view.get::<NodeStatus>(&NodeId(id).to_string()).map(|status| status.state)
    }

    pub(crate) fn lease(&self, id: u64) -> Option<Lease> {
        *self.hosts[&id].voice.lease.lock().unwrap()
    }

    pub(crate) fn lease_left(&self, id: u64) -> Duration {
        let until = self.lease(id).map(|lease| lease.until).unwrap_or_default();
        until.saturating_sub(self.hosts[&id].clock.monotonic())
    }

    pub(crate) fn was_removed(&self, id: u64) -> bool {
        self.hosts[&id].voice.removed.load(Ordering::Relaxed)
    }

    pub(crate) fn say(&self, id: u64, change: impl FnOnce(&mut SessionIdentity)) {
        change(&mut self.hosts[&id].voice.identity.lock().unwrap());
    }

    pub(crate) fn shift_clock(&self, id: u64, by_ms: i64) {
        self.hosts[&id].clock.shift_ms.store(by_ms, Ordering::Relaxed);
    }

    pub(crate) fn set_sync(&self, id: u64, sync: Duration) {
        self.hosts[&id].voice.sync_ms.store(u64::try_from(sync.as_millis()).unwrap(), Ordering::Relaxed);
    }

    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut(&Lab) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !holds(self) {
            if Instant::now() >= deadline {
                let tasks: Vec<_> = self.hosts.values().map(|host| host.supervisor.status()).collect();
                let statuses: Vec<_> = self.hosts.values().map(|host| host.store.status()).collect();
                let peers: Vec<_> = self.hosts.values().map(|host| host.table.peers()).collect();
                panic!("not within two minutes: {what}\n{tasks:#?}\n{statuses:#?}\n{peers:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn end(&mut self) {
        for host in std::mem::take(&mut self.hosts).into_values() {
            host.supervisor.drain(&[], Duration::from_secs(5)).await;
        }
        let nodes: Vec<NodeId> = self.cluster.stores().map(|(node, _)| node).collect();
        for node in nodes {
            self.cluster.crash(node).await;
        }
    }
}

fn put_ready(transaction: &mut Transaction, id: u64) {
    transaction.put(node(id));
    transaction.put(NodeStatus { id: NodeId(id), state: NodeState::Ready, details: BTreeMap::new() });
    transaction.put(NodeSchedulability { id: NodeId(id), schedulable: true });
}
