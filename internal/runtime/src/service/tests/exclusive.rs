//! Exclusive replicas in the loop: lease, slot and guard together.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures_util::FutureExt;
use jaco_state::{Clock, Commit, Leadership, ProposeError, TooManyWatchers, Transaction, View, WatchFrom, Watcher};
use jaco_types::{NodeOperation, NodeOperationKind, ReplicaId};

use super::*;
use crate::lease::{Charge, Exclusive, Guard, Lease, LeaseHandle};

/// Remembers what it is charged with; refuses when it is told to be absent.
#[derive(Default)]
struct FakeGuard {
    charge: Mutex<Charge>,
    writes: AtomicU64,
    absent: AtomicBool,
}

impl Guard for FakeGuard {
    fn charged(&self) -> Charge {
        self.charge.lock().unwrap().clone()
    }

    fn charge(&self, charge: &Charge) -> Result<(), String> {
        if self.absent.load(Ordering::Relaxed) {
            return Err("it is gone".to_owned());
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        *self.charge.lock().unwrap() = charge.clone();
        Ok(())
    }
}

/// What the cluster answers to a read, while this node's own view stays as it is.
#[derive(Clone)]
enum Answer {
    /// The same.
    Same,
    /// It has moved on to this.
    View(View),
    /// It cannot.
    Refused(ProposeError),
    /// It never does.
    Never,
}

/// The store of a node that may be behind its cluster.
struct Behind {
    local: Arc<LocalStore>,
    answer: Mutex<Answer>,
    reads: AtomicU64,
}

impl Store for Behind {
    fn propose(&self, transaction: Transaction) -> jaco_state::BoxFuture<'_, Result<Commit, ProposeError>> {
        self.local.propose(transaction)
    }

    fn view(&self) -> View {
        self.local.view()
    }

    fn linearizable_view(&self) -> jaco_state::BoxFuture<'_, Result<View, ProposeError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        match self.answer.lock().unwrap().clone() {
            Answer::Same => self.local.linearizable_view(),
            Answer::View(view) => std::future::ready(Ok(view)).boxed(),
            Answer::Refused(error) => std::future::ready(Err(error)).boxed(),
            Answer::Never => std::future::pending().boxed(),
        }
    }

    fn reached(&self, index: u64) -> jaco_state::BoxFuture<'_, Result<View, ProposeError>> {
        self.local.reached(index)
    }

    fn watch(&self, from: WatchFrom) -> Watcher {
        self.local.watch(from)
    }

    fn watch_client(&self, from: WatchFrom) -> Result<Watcher, TooManyWatchers> {
        self.local.watch_client(from)
    }

    fn leadership(&self) -> Leadership {
        self.local.leadership()
    }
}

struct Lab {
    store: Arc<Behind>,
    fixture: Fixture,
    guard: Arc<FakeGuard>,
    lease: LeaseHandle,
    clock: Arc<TokioClock>,
}

impl Lab {
    fn new() -> Self {
        Lab::on(Arc::default())
    }

    fn on(guard: Arc<FakeGuard>) -> Self {
        let clock = TokioClock::start();
        let bench = Bench::new(clock.clone(), "c1", "10.244.0.0/16");
        let engine = FakeEngine::new(clock.clone());
        engine.state().images.push("image".to_owned());
        let answer = Mutex::new(Answer::Same);
        let store = Arc::new(Behind { local: bench.store.clone(), answer, reads: AtomicU64::new(0) });
        let lease = LeaseHandle::default();
        let exclusive = Exclusive { lease: lease.clone(), clock: clock.clone(), guard: guard.clone() };
        let options = Options {
            clock: clock.clone(),
            exclusive: Some(exclusive),
            ..Options::new(engine.clone(), store.clone(), NODE)
        };
        let runtime = Arc::new(Runtime::new(options));
        let mut fixture = Fixture { bench, engine, runtime, stop: CancellationToken::new(), tasks: Default::default() };
        fixture.run();
        Lab { store, fixture, guard, lease, clock }
    }

    fn want(&self) {
        let service = jaco_types::ServiceSpec { exclusive: true, ..testing::service("image") };
        let desired = testing::desired("shop", "web", &service);
        self.fixture.bench.want(testing::deployment("shop", [("web", service)]), 1, vec![desired]);
    }

    fn give_slot(&self, epoch: u64) {
        let mut transaction = jaco_state::Transaction::new("test");
        let replica = ReplicaId::new("shop-web-0").unwrap();
        transaction.put(ExclusiveSlot { replica, owner: NODE, epoch, stop_within: None, released: false });
        self.fixture.bench.store.commit(transaction).unwrap();
    }

    fn lend(&self, seconds: u64) {
        let until = self.clock.monotonic() + Duration::from_secs(seconds);
        self.lease.renew(Lease { until, stop_within: Duration::from_secs(10) });
    }

    fn up(&self) -> Vec<String> {
        let state = self.fixture.engine.state();
        state.containers.values().filter(|container| container.is_up()).map(|found| found.id.clone()).collect()
    }

    async fn until_up(&self, count: usize) {
        let end = tokio::time::Instant::now() + SOON;
        while self.up().len() != count {
            assert!(tokio::time::Instant::now() < end, "not {count} up: {:?}", self.fixture.engine.state().calls);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_runs_as_long_as_the_lease_is_renewed_and_the_guard_knows_it() {
    let lab = Lab::new();
    lab.want();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(lab.fixture.engine.state().containers.is_empty(), "neither slot nor lease");
    lab.give_slot(3);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(lab.fixture.engine.state().containers.is_empty(), "no lease yet, as after a boot");
    for _ in 0..30 {
        lab.lend(6);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let up = lab.up();
    assert_eq!(up.len(), 1);
    assert_eq!(lab.guard.charged().containers.into_keys().collect::<Vec<_>>(), up);
    assert_eq!(lab.guard.charged().lease, lab.lease.get());
    let until = lab.lease.get().unwrap().until;
    tokio::time::sleep(until - lab.clock.monotonic() + Duration::from_millis(50)).await;
    lab.until_up(0).await;
    assert!(lab.clock.monotonic() < until + Duration::from_millis(200), "at once");
    let calls = lab.fixture.engine.state().calls.clone();
    assert_eq!(calls.last().map(String::as_str), Some("stop shop-web-0 9"), "its grace cut to what is left");
    let slot = lab.fixture.bench.store.view().get::<ExclusiveSlot>("shop-web-0").cloned().unwrap();
    assert!(!slot.released, "it is wanted here still");
    lab.lend(60);
    lab.until_up(1).await;
    assert_eq!(lab.up(), up, "nobody else had it");
}

#[tokio::test(start_paused = true)]
async fn without_a_guard_nothing_exclusive_starts_and_with_one_it_does() {
    let lab = Lab::new();
    lab.guard.absent.store(true, Ordering::Relaxed);
    lab.want();
    lab.give_slot(3);
    lab.lend(600);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(lab.up().is_empty());
    lab.guard.absent.store(false, Ordering::Relaxed);
    lab.until_up(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_was_faster_is_no_failure_of_the_replica() {
    let lab = Lab::new();
    lab.want();
    lab.give_slot(3);
    for _ in 0..4 {
        lab.lend(10);
        lab.until_up(1).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let until = lab.lease.get().unwrap().until;
        tokio::time::sleep(until - lab.clock.monotonic()).await;
        lab.fixture.engine.exit("shop-web-0", 137);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(lab.up().is_empty());
    }
    assert_eq!(lab.fixture.bench.observed("shop-web-0").unwrap().failures, 0);
}

/// The slot as the cluster has it, beside what this node has applied.
fn cluster_with(slot: Option<ExclusiveSlot>) -> View {
    let store = LocalStore::new(TokioClock::start());
    let mut transaction = Transaction::new("test");
    transaction.put(testing::cluster("c1", "10.244.0.0/16"));
    if let Some(slot) = slot {
        transaction.put(slot);
    }
    store.commit(transaction).unwrap();
    store.view()
}

/// This node has applied that the slot is its own, and the cluster has gone on since: nothing may be started by the old word.
#[tokio::test(start_paused = true)]
async fn nothing_starts_by_a_view_that_is_behind_the_cluster() {
    let replica = ReplicaId::new("shop-web-0").unwrap();
    let held = ExclusiveSlot { replica, owner: NODE, epoch: 3, stop_within: None, released: false };
    let short = Some(Duration::from_secs(2));
    let answers = [
        ("another owner", Answer::View(cluster_with(Some(ExclusiveSlot { owner: NodeId(99), ..held.clone() })))),
        ("another epoch", Answer::View(cluster_with(Some(ExclusiveSlot { epoch: 4, ..held.clone() })))),
        ("released", Answer::View(cluster_with(Some(ExclusiveSlot { released: true, ..held.clone() })))),
        ("less time to stop", Answer::View(cluster_with(Some(ExclusiveSlot { stop_within: short, ..held })))),
        ("no slot", Answer::View(cluster_with(None))),
        ("no leader", Answer::Refused(ProposeError::NoLeader)),
        ("no answer", Answer::Never),
    ];
    for (what, answer) in answers {
        let lab = Lab::new();
        lab.want();
        lab.lend(3_600);
        // What the loop reads at its own start is no answer yet.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = lab.store.reads.load(Ordering::Relaxed);
        *lab.store.answer.lock().unwrap() = answer;
        lab.give_slot(3);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(lab.fixture.engine.state().containers.len(), 1, "{what}: it is made");
        let calls = lab.fixture.engine.state().calls.clone();
        assert!(!calls.iter().any(|call| call.starts_with("start")), "{what}: {calls:?}");
        let reads = lab.store.reads.load(Ordering::Relaxed) - before;
        assert!((2..=20).contains(&reads), "{what}: it is asked again, and not too often: {reads}");
        let observed = lab.fixture.bench.observed("shop-web-0").unwrap();
        assert_eq!((observed.failures, observed.code), (0, None), "{what}: that is no failure of the replica");
        *lab.store.answer.lock().unwrap() = Answer::Same;
        lab.until_up(1).await;
    }
}

/// The answer came, and the lease ended while it was waited for.
#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_during_the_read_starts_nothing() {
    let lab = Lab::new();
    lab.want();
    tokio::time::sleep(Duration::from_secs(1)).await;
    *lab.store.answer.lock().unwrap() = Answer::Never;
    lab.lend(3);
    lab.give_slot(3);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    *lab.store.answer.lock().unwrap() = Answer::Same;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(lab.up().is_empty());
    assert!(!lab.fixture.engine.state().calls.iter().any(|call| call.starts_with("start")));
}

/// One that has run before is started again by the same rule.
#[tokio::test(start_paused = true)]
async fn a_restart_asks_the_cluster_as_well() {
    let lab = Lab::new();
    lab.want();
    lab.give_slot(3);
    lab.lend(3_600);
    lab.until_up(1).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    *lab.store.answer.lock().unwrap() = Answer::Refused(ProposeError::QuorumLost);
    lab.fixture.engine.exit("shop-web-0", 1);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(lab.up().is_empty());
    *lab.store.answer.lock().unwrap() = Answer::Same;
    lab.until_up(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_daemon_takes_the_lease_over_that_its_guard_knows() {
    let guard = Arc::new(FakeGuard::default());
    let clock = Duration::from_secs(30);
    let id = "f".repeat(64);
    let lease = Lease { until: clock, stop_within: Duration::from_secs(10) };
    *guard.charge.lock().unwrap() =
        Charge { lease: Some(lease), containers: BTreeMap::from([(id.clone(), Duration::from_secs(10))]) };
    let lab = Lab::on(guard);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(lab.lease.get(), Some(lease));
    lab.want();
    lab.give_slot(3);
    lab.until_up(1).await;
    assert!(!lab.guard.charged().containers.contains_key(&id), "the full look has shown that it is not there");
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_without_exclusive_replicas_charges_nobody() {
    let lab = Lab::new();
    lab.fixture.want("image", 1);
    lab.fixture.running().await;
    for _ in 0..60 {
        lab.lend(6);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(lab.guard.writes.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_node_that_returns_while_it_is_to_be_emptied_goes_on_with_that() {
    for (timed_out, expected) in [(false, NodeState::Draining), (true, NodeState::DrainTimeout)] {
        let store = LocalStore::new(TokioClock::start());
        let mut transaction = jaco_state::Transaction::new("test");
        transaction.put(NodeStatus { id: NODE, state: NodeState::Joining, details: Default::default() });
        transaction.put(NodeOperation {
            node: NODE,
            kind: NodeOperationKind::Drain,
            force: false,
            requested_by: "local".to_owned(),
            requested_at_ms: 1,
            replicas: Vec::new(),
            migrated: Vec::new(),
            dropped: Vec::new(),
            timed_out,
        });
        store.commit(transaction).unwrap();
        let change = report::node_status(&store.view(), NODE, Ok(()), true).unwrap();
        store.commit(change).unwrap();
        let view = store.view();
        assert_eq!(view.get::<NodeStatus>(&NODE.to_string()).unwrap().state, expected);
        let record = view.get::<jaco_types::NodeSchedulability>(&NODE.to_string()).unwrap();
        assert!(!record.schedulable);
    }
}
