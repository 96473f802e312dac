mod withheld;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use jaco_scheduler::LeaseTerms;
use jaco_state::{Clock, LocalStore, Store, Transaction};
use jaco_types::{ClusterMeta, Hostname, Node, NodeId, NodeState, NodeStatus, Tombstone};
use tokio::sync::mpsc;

use super::*;

const OWN: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
const TERM: u64 = 1;

#[derive(Default)]
struct Hand(AtomicU64);

impl Hand {
    fn go_on(&self, by: Duration) {
        self.0.fetch_add(millis(by), Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now_ms(&self) -> u64 {
        1_000_000 + self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

fn node(id: NodeId) -> Node {
    Node {
        id,
        hostname: Hostname::new(format!("n{id}")).unwrap(),
        address: "192.0.2.1".to_owned(),
        grpc_address: "192.0.2.1:7000".to_owned(),
        cluster_address: "192.0.2.1:7001".to_owned(),
        public_keys: Vec::new(),
        seal_key: String::new(),
        version: "1".to_owned(),
        joined_at_ms: 1,
        labels: BTreeMap::new(),
    }
}

fn table() -> (SessionTable, Arc<LocalStore>, Arc<Hand>) {
    let clock = Arc::new(Hand::default());
    let store = Arc::new(LocalStore::new(clock.clone()));
    let mut transaction = Transaction::new("test");
    transaction.put(ClusterMeta {
        cluster_id: "c".to_owned(),
        name: "c".to_owned(),
        incarnation: 7,
        feature_level: 1,
        created_at_ms: 1,
        ipam_pool: "10.244.0.0/16".parse().unwrap(),
        mesh_cidr: "10.243.0.0/16".parse().unwrap(),
        node_down_after_ms: 10_000,
    });
    for id in [OWN, OTHER] {
        transaction.put(node(id)).put(NodeStatus { id, state: NodeState::Ready, details: BTreeMap::new() });
    }
    store.commit(transaction).unwrap();
    let shared: Arc<dyn Store> = store.clone();
    let terms = LeaseTerms::default();
    let predecessor = Arc::new(());
    let options = SessionTableOptions { store: shared, predecessor, own: OWN, clock: clock.clone(), terms };
    (SessionTable::new(options), store, clock)
}

fn hello() -> v1::SessionHello {
    v1::SessionHello {
        node_id: OTHER.0,
        incarnation: 7,
        version: "1".to_owned(),
        feature_level: FEATURE_LEVEL,
        ..Default::default()
    }
}

struct Wire {
    up: mpsc::Sender<v1::SessionRequest>,
    down: SessionStream<v1::SessionResponse>,
}

impl Wire {
    fn open(table: &SessionTable) -> Self {
        let (up, mut messages) = mpsc::channel(16);
        let messages: SessionStream<_> = Box::pin(futures_util::stream::poll_fn(move |cx| messages.poll_recv(cx)));
        Wire { up, down: table.serve(OTHER, messages) }
    }

    async fn say(&mut self, message: Request) {
        self.up.send(request(message)).await.unwrap();
    }

    async fn beat(&mut self, sequence: u64, acked: u64) {
        let heartbeat = v1::Heartbeat { sequence, acked, now_ms: 1_000_000, ..Default::default() };
        self.say(Request::Heartbeat(heartbeat)).await;
    }

    /// What is there to be heard now.
    fn hear(&mut self) -> Option<Response> {
        self.down.next().now_or_never().flatten()?.message
    }
}

async fn greeted(hello: v1::SessionHello) -> Option<Response> {
    let (table, _store, _clock) = table();
    let mut wire = Wire::open(&table);
    wire.say(Request::Hello(hello)).await;
    let answer = wire.hear();
    if !matches!(answer, Some(Response::Welcome(_))) {
        assert_eq!(wire.down.next().await, None, "a refusal is the end");
    }
    answer
}

#[tokio::test]
async fn a_session_begins_with_a_hello_of_this_life_of_the_cluster() {
    assert!(matches!(greeted(hello()).await, Some(Response::Welcome(v1::SessionWelcome { term: TERM }))));
    let refused = |answer: Option<Response>| match answer {
        Some(Response::Refused(refused)) => refused.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(greeted(v1::SessionHello { incarnation: 8, ..hello() }).await), "cluster_incarnation_mismatch");
    assert_eq!(refused(greeted(v1::SessionHello { feature_level: 0, ..hello() }).await), "version_incompatible");
    assert_eq!(refused(greeted(v1::SessionHello { node_id: 3, ..hello() }).await), "permission_denied");
    let (table, ..) = table();
    let mut wire = Wire::open(&table);
    wire.beat(1, 0).await;
    assert_eq!(wire.down.next().await, None, "a heartbeat is no hello");
}

#[tokio::test]
async fn nothing_is_answered_before_the_confirmation_and_everything_that_waited_is_after_it() {
    let (table, _store, clock) = table();
    let mut wire = Wire::open(&table);
    wire.say(Request::Hello(hello())).await;
    assert!(wire.hear().is_some());
    wire.beat(1, 0).await;
    wire.beat(2, 0).await;
    assert_eq!(wire.hear(), None);
    assert!(table.facts().leases.unwrap().answered.is_empty());
    clock.go_on(Duration::from_millis(40));
    let waiting = std::mem::take(&mut table.state().waiting);
    table.answer(waiting, Some(TERM));
    assert_eq!(table.facts().leases.unwrap().answered, BTreeMap::from([(OTHER, Duration::from_millis(40))]));
    for sequence in [1, 2] {
        let Some(Response::Answer(answer)) = wire.hear() else { panic!("no answer to {sequence}") };
        assert_eq!((answer.sequence, answer.lease_ms, answer.stop_ms), (sequence, 6_000, 30_000));
    }
    wire.beat(3, 2).await;
    assert_eq!(wire.hear(), None);
    let waiting = std::mem::take(&mut table.state().waiting);
    table.answer(waiting, None);
    assert!(matches!(wire.hear(), Some(Response::NotLeader(_))), "no majority, no lease");
}

#[tokio::test]
async fn an_answer_of_another_term_is_none() {
    let (table, ..) = table();
    let mut wire = Wire::open(&table);
    wire.say(Request::Hello(hello())).await;
    wire.hear();
    wire.beat(1, 0).await;
    assert_eq!(wire.hear(), None);
    let waiting = std::mem::take(&mut table.state().waiting);
    table.answer(waiting, Some(TERM + 1));
    assert_eq!(wire.hear(), None);
}

#[tokio::test]
async fn one_that_hears_nothing_gets_no_lease_and_counts_as_silent_until_it_does() {
    let (table, _store, clock) = table();
    let mut wire = Wire::open(&table);
    wire.say(Request::Hello(hello())).await;
    wire.hear();
    let mut leases = Vec::new();
    for sequence in 1..=8 {
        clock.go_on(HEARTBEAT);
        wire.beat(sequence, 0).await;
        wire.hear();
        let waiting = std::mem::take(&mut table.state().waiting);
        table.answer(waiting, Some(TERM));
        let Some(Response::Answer(answer)) = wire.hear() else { panic!("no answer") };
        leases.push(answer.lease_ms > 0);
        let _ticks = table.sessions();
    }
    assert_eq!(leases, [true, true, true, false, false, false, false, false]);
    let (_, sessions) = table.sessions().unwrap();
    assert_eq!(sessions.silent_for[&OTHER], 5 * HEARTBEAT);
    wire.beat(9, 8).await;
    wire.hear();
    assert_eq!(table.sessions().unwrap().1.silent_for[&OTHER], Duration::ZERO);
}

#[tokio::test]
async fn a_leader_that_was_paused_itself_judges_nobody_by_its_pause() {
    let (table, _store, clock) = table();
    let mut wire = Wire::open(&table);
    wire.say(Request::Hello(hello())).await;
    wire.hear();
    wire.beat(1, 0).await;
    wire.hear();
    table.sessions();
    clock.go_on(Duration::from_secs(60));
    let (_, sessions) = table.sessions().unwrap();
    assert_eq!((sessions.leading_for, sessions.silent_for.len()), (Duration::ZERO, 0));
}

#[tokio::test]
async fn a_removed_node_is_told_in_the_middle_of_its_session() {
    let (table, store, _clock) = table();
    let mut wire = Wire::open(&table);
    wire.say(Request::Hello(hello())).await;
    wire.hear();
    let mut transaction = Transaction::new("test");
    let gone = node(OTHER);
    transaction.delete::<Node>(OTHER.to_string()).put(Tombstone {
        node: OTHER,
        hostname: gone.hostname,
        public_keys: Vec::new(),
        removed_at_ms: 5,
    });
    store.commit(transaction).unwrap();
    wire.beat(1, 0).await;
    let Some(Response::Refused(refused)) = wire.hear() else { panic!("not refused") };
    assert_eq!(refused.code, "node_removed");
    assert_eq!(wire.down.next().await, None);
}

fn peer(clock_offset_ms: i64) -> Peer {
    Peer {
        hello: hello(),
        heard: Duration::ZERO,
        clock_offset_ms,
        reconciled: true,
        lease_lapsed: false,
        applied_index: 1,
        pressure: None,
        syncs: VecDeque::new(),
        disk_full: false,
    }
}

#[tokio::test]
async fn only_what_differs_is_published() {
    let (_table, store, _clock) = table();
    let published = |peer: &Peer| publish(&store.view(), TERM, &node(OTHER), peer);
    assert_eq!(published(&peer(0)), None);
    assert_eq!(published(&peer(1_999)), None);
    let mut moved = peer(0);
    moved.hello.cluster_address = "192.0.2.9:7001".to_owned();
    let transaction = published(&moved).unwrap();
    assert_eq!(transaction.writes.len(), 1);
    store.commit(transaction).unwrap();
    assert_eq!(store.view().get::<Node>(&OTHER.to_string()).unwrap().cluster_address, "192.0.2.9:7001");
    for offset in [-2_001, 86_400_000, i64::MIN] {
        assert!(published(&peer(offset)).is_some(), "{offset}");
    }
    store.commit(published(&peer(5_000)).unwrap()).unwrap();
    let status = store.view().get::<NodeStatus>(&OTHER.to_string()).cloned().unwrap();
    assert_eq!(status.details["clock_skew"], "its clock is about 5 s ahead of the leader's");
    let again = |offset| {
        let known = store.view().get::<Node>(&OTHER.to_string()).cloned().unwrap();
        let mut peer = peer(offset);
        peer.hello.cluster_address.clone_from(&known.cluster_address);
        publish(&store.view(), TERM, &known, &peer)
    };
    assert_eq!(again(7_000), None, "not with every tick");
    assert_eq!(again(1_500), None, "just about there");
    store.commit(again(500).unwrap()).unwrap();
    assert!(store.view().get::<NodeStatus>(&OTHER.to_string()).unwrap().details.is_empty());
}

#[tokio::test]
async fn a_full_disk_is_a_condition_as_long_as_it_is_full() {
    let (_table, store, _clock) = table();
    let published = |disk_full: bool| {
        let peer = Peer { disk_full, ..peer(0) };
        publish(&store.view(), TERM, &node(OTHER), &peer)
    };
    let conditions = || store.view().get::<NodeStatus>(&OTHER.to_string()).unwrap().details.clone();
    assert_eq!(published(false), None);
    store.commit(published(true).unwrap()).unwrap();
    assert_eq!(conditions().keys().collect::<Vec<_>>(), ["disk_full"]);
    assert_eq!(published(true), None, "said once");
    store.commit(published(false).unwrap()).unwrap();
    assert!(conditions().is_empty());
}

#[test]
fn the_boot_time_clock_goes_on() {
    let (first, second) = (BootClock.monotonic(), BootClock.monotonic());
    assert!(first > Duration::ZERO && second >= first);
}
